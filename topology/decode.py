"""Decoding plain values into msgspec Structs, with *all* mistakes and the key path of each.

`msgspec.convert` stops at the first mistake. This walk takes the Struct apart, gives every leaf to `msgspec.convert`
(strict: no "3" for 3), and reports each refusal with its path; only a tree without mistakes becomes a Struct.
"""

from __future__ import annotations

import json
import re
import types
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from sovereign.topology.mistake import Mistake, nearest
from sovereign.topology.places import KeyPath
from sovereign.topology.source import Source, dotted

__all__ = ["Decoder"]

S = TypeVar("S", bound=msgspec.Struct)
_LONG_NUMBER = re.compile(r"\d{5,}")

_TOML_NAMES = {
    dict: "a table",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
}
_SAID_NAMES = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "object": "a table",
    "array": "an array",
}


def toml_name(value: Any) -> str:
    """What a TOML author would call this value."""
    return _TOML_NAMES.get(type(value), "a date or time")


@dataclass
class Decoder:
    """Collects the mistakes of decoding parts of one source."""

    source: Source
    mistakes: list[Mistake] = field(default_factory=list)

    def struct(
        self, kind: type[S], table: Any, path: KeyPath, more_keys: tuple[str, ...] = ()
    ) -> S | None:
        """`table` as a `kind`; None when it has mistakes. `more_keys`: known, but somebody else's."""
        before = len(self.mistakes)
        self._table(kind, table, path, more_keys)
        if len(self.mistakes) > before:
            return None
        return self._convert(kind, table, path)

    def _convert(self, kind: type[S], table: Any, path: KeyPath) -> S | None:
        try:
            return msgspec.convert(table, kind, strict=True)
        except msgspec.ValidationError as error:
            self._refuse(path, str(error))
        except Exception as error:  # a Config's own __post_init__
            self._refuse(path, f"{type(error).__name__}: {error}")
        return None

    def _table(
        self, kind: type[msgspec.Struct], table: Any, path: KeyPath, more_keys: tuple[str, ...]
    ) -> None:
        if not isinstance(table, dict):
            self._add("type", f"{dotted(path)} must be a table", path, toml_name(table), "a table")
            return
        fields = {one.encode_name: one for one in msgspec.structs.fields(kind)}
        info = kind.__struct_config__
        known = [*fields, *more_keys, *([info.tag_field] if info.tag_field else [])]
        for key, value in table.items():
            if key in fields:
                self.walk(fields[key].type, value, (*path, key))
            elif key not in known and info.forbid_unknown_fields:
                self._unknown(key, known, path)
        for name, one in fields.items():
            if one.required and name not in table:
                where = dotted(path)
                what = f'[{where}] lacks the key "{name}"'
                close = [key for key in table if key not in known and nearest(key, [name])]
                if not close:  # else the unknown key's mistake says it already
                    self._add("missing-key", what, path, expected=_spell(one.type), at_key=True)

    def _unknown(self, key: str, known: list[str], path: KeyPath) -> None:
        close = nearest(key, known)
        self._add(
            "unknown-key",
            f'[{dotted(path)}] has no key "{key}"',
            (*path, key),
            expected=", ".join(known),
            hint=f'did you mean "{close}"?' if close else "",
            at_key=True,
        )

    def walk(self, hint: Any, value: Any, path: KeyPath) -> None:
        """Check `value` against the annotation `hint`."""
        while typing.get_origin(hint) is typing.Annotated and _parts(hint):
            hint = typing.get_args(hint)[0]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            self._table(hint, value, path, ())
        elif _is_union(hint):
            self._union(hint, value, path)
        elif typing.get_origin(hint) in (list, tuple, dict):
            self._many(hint, value, path)
        else:
            self._leaf(hint, value, path)

    def _many(self, hint: Any, value: Any, path: KeyPath) -> None:
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin is dict and isinstance(value, dict):
            for key, one in value.items():
                self.walk(inner[1], one, (*path, key))
        elif (
            origin is list
            and isinstance(value, list)
            or origin is tuple
            and isinstance(value, list)
            and len(inner) == 2
            and inner[1] is ...
        ):
            for index, one in enumerate(value):
                self.walk(inner[0], one, (*path, index))
        else:
            self._leaf(hint, value, path)

    def _union(self, hint: Any, value: Any, path: KeyPath) -> None:
        structs = [one for one in typing.get_args(hint) if _is_struct(one)]
        if not isinstance(value, dict) or not structs:
            self._leaf(hint, value, path)
            return
        tag_field = structs[0].__struct_config__.tag_field
        if tag_field is None:
            self._table(structs[0], value, path, ())
            return
        tags = {str(one.__struct_config__.tag): one for one in structs}
        if tag_field not in value:
            what = f'{dotted(path)} lacks the key "{tag_field}"'
            self._add("missing-key", what, path, expected=", ".join(tags))
        elif str(value[tag_field]) not in tags:
            close = nearest(str(value[tag_field]), tags)
            self._add(
                "value",
                f'{dotted(path)} has no {tag_field} "{value[tag_field]}"',
                (*path, tag_field),
                expected=", ".join(tags),
                hint=f'did you mean "{close}"?' if close else "",
            )
        else:
            self._table(tags[str(value[tag_field])], value, path, ())

    def _leaf(self, hint: Any, value: Any, path: KeyPath) -> None:
        try:
            msgspec.convert(value, hint, strict=True)
        except msgspec.ValidationError as error:
            self._refuse(path, str(error), value, hint)

    def _refuse(self, path: KeyPath, said: str, value: Any = None, hint: Any = None) -> None:
        """Tell msgspec's refusal in the words of the file."""
        said, _, inner = said.partition(" - at `$")
        wrong_type = said.startswith("Expected") and ", got" in said
        choices = _choices(hint)
        close = nearest(str(value), choices) if choices else None
        got = "" if hint is None else f"{toml_name(value)}, {_show(value)}"
        if choices:
            expected = " or ".join([", ".join(choices), *_other_than_words(hint)])
        else:
            expected = _described(hint) or _in_toml_words(said)
        self._add(
            "type" if wrong_type else "value",
            f"{dotted(path)}{inner.rstrip('`')} has the wrong {'type' if wrong_type else 'value'}",
            path,
            got,
            expected,
            f'did you mean "{close}"?' if close else "",
        )

    def _add(
        self,
        code: str,
        what: str,
        path: KeyPath,
        got: str = "",
        expected: str = "",
        hint: str = "",
        *,
        at_key: bool = False,
    ) -> None:
        place = self.source.key(path) if at_key else self.source.value(path)
        self.mistakes.append(Mistake(code, what, place, dotted(path), got, expected, hint))


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _parts(hint: Any) -> bool:
    """Whether a mistake could lie inside a value of this annotation."""
    if _is_struct(hint):
        return True
    return any(_parts(one) for one in typing.get_args(hint))


def _described(hint: Any) -> str:
    """The description that an annotation carries; it says more than a pattern does."""
    if typing.get_origin(hint) is typing.Annotated:
        for meta in typing.get_args(hint)[1:]:
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return ""


def _in_toml_words(said: str) -> str:
    """msgspec's `Expected `int | null`, got `str`` as "an integer"."""
    expected = said.removeprefix("Expected ").partition(", got")[0].replace("`", "")
    words = [_SAID_NAMES.get(word, word) for word in expected.split(" | ") if word != "null"]
    first, _, rest = " or ".join(words).partition(" ")
    text = f"{_SAID_NAMES.get(first, first)} {rest}".strip()
    return _LONG_NUMBER.sub(lambda found: f"{int(found[0]):_}", text)


def _choices(hint: Any) -> list[str]:
    """The words of a Literal, or of those in a union."""
    if typing.get_origin(hint) is typing.Literal:
        return [str(one) for one in typing.get_args(hint)]
    if _is_union(hint):
        return [word for one in typing.get_args(hint) for word in _choices(one)]
    return []


def _other_than_words(hint: Any) -> list[str]:
    """What a union takes beside its words, as people say it."""
    if not _is_union(hint):
        return []
    others = [one for one in typing.get_args(hint) if not _choices(one)]
    return [_spell(one) + _bounds(one) for one in others if one is not type(None)]


def _bounds(hint: Any) -> str:
    """` > 0` of an annotation that has such a bound."""
    metas = [one for one in typing.get_args(hint)[1:] if isinstance(one, msgspec.Meta)]
    pairs = [(">=", "ge"), (">", "gt"), ("<=", "le"), ("<", "lt")]
    return "".join(
        f" {sign} {bound:_}"
        for meta in metas
        for sign, name in pairs
        if (bound := getattr(meta, name)) is not None
    )


def _show(value: Any) -> str:
    text = _as_toml(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _as_toml(value: Any) -> str:
    """Roughly as the file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_as_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_as_toml, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def _spell(hint: Any) -> str:
    while typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    for kind, name in _TOML_NAMES.items():
        if hint is kind or typing.get_origin(hint) is kind or (kind is dict and _is_struct(hint)):
            return name
    return ", ".join(_choices(hint))
