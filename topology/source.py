"""A topology file as read: its tree, its overrides, and the place of every key path in it.

Overrides (`--set a.b=1`) are laid over the tree; what they set has its place in the argument, so a mistake in an
argument points into that argument.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sovereign.topology.mistake import Mistake
from sovereign.topology.places import KeyPath, Place, Span, Spans, scan

__all__ = ["Source", "dotted", "read_source"]

_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")
_BARE_WORD = re.compile(r"^[^\s\"'\[\]{},#=]+$")
_PLAIN_KEY = re.compile(r"^[A-Za-z0-9_-]+$")
_STEP = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[A-Za-z0-9_-]+")
_SET = "--set"


@dataclass(frozen=True)
class _Override:
    """One argument `a.b.c=value`, where its value begins, and the places in that (as value of `x`, `before` to the left)."""

    argument: str
    value_at: int
    before: int
    spans: Spans

    @property
    def value(self) -> Place:
        size = len(self.argument) - self.value_at
        return Place(_SET, 1, self.value_at + 1, size, self.argument)

    def within(self, path: KeyPath, *, at_key: bool) -> Place:
        """Where `path`, or what is nearest around it, stands in the value."""
        for end in range(len(path), 0, -1):
            short = ("x", *path[:end])
            spans = self.spans.keys if at_key and end == len(path) else self.spans.values
            span = spans.get(short) or self.spans.values.get(short)
            if span is not None:
                column = self.value_at + self.before + span.start + 1
                return Place(_SET, 1, column, span.end - span.start, self.argument)
        return self.value

    def key(self, steps: int) -> Place:
        """Where the key of so many steps ends: its last step."""
        words = list(_STEP.finditer(self.argument[: self.value_at - 1]))
        word = words[min(steps, len(words)) - 1]
        return Place(_SET, 1, word.start() + 1, word.end() - word.start(), self.argument)


class Source:
    """A tree of plain values, and where each stands. `mistakes` are those of reading it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.name = str(path)
        self.tree: dict[str, Any] = {}
        self.mistakes: list[Mistake] = []
        self._text = text.replace("\r\n", "\n")
        self._spans = Spans({}, {})
        self._set: dict[KeyPath, _Override] = {}
        self._parse()

    def _parse(self) -> None:
        try:
            self.tree = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            self.mistakes.append(self._syntax(str(error)))
        else:
            self._spans = scan(self._text)

    def _syntax(self, said: str) -> Mistake:
        found = _AT.search(said)
        if found:
            line, column = int(found[1]), int(found[2])
        else:  # at the end of the document
            line = max(1, len(self._text.splitlines()))
            column = len(self._line(line)) + 1
        said = _AT.sub("", said).replace(" (at end of document)", ", at the end of the file")
        return Mistake(
            "syntax",
            f"this is not TOML: {said[:1].lower()}{said[1:]}",
            Place(self.name, line, column, 1, self._line(line)),
            hint="nothing else was checked: mend this first",
        )

    def _line(self, number: int) -> str:
        lines = self._text.split("\n")
        return lines[number - 1] if number <= len(lines) else ""

    def _place(self, span: Span) -> Place:
        line = self._text.count("\n", 0, span.start) + 1
        first = self._text.rfind("\n", 0, span.start) + 1
        text = self._line(line)
        column = span.start - first + 1
        length = min(span.end - span.start, len(text) - column + 1)
        return Place(self.name, line, column, max(1, length), text)

    def key(self, path: KeyPath) -> Place | None:
        """Where the key of `path` is written; the nearest that encloses it when it is not."""
        return self._find(path, self._spans.keys, at_key=True)

    def value(self, path: KeyPath) -> Place | None:
        """Where the value of `path` is written; the nearest that encloses it when it is not."""
        return self._find(path, self._spans.values, at_key=False)

    def _find(self, path: KeyPath, spans: dict[KeyPath, Span], *, at_key: bool) -> Place | None:
        for end in range(len(path), 0, -1):
            short = path[:end]
            override = self._set.get(short)
            if override is not None:
                if end == len(path):
                    return override.key(end) if at_key else override.value
                return override.within(path[end:], at_key=at_key)
            span = spans.get(short) or self._spans.values.get(short)
            if span is not None:
                return self._place(span)
            below = [one for one in self._set if one[:end] == short]
            if below:  # a table that only overrides have made
                return self._set[below[0]].key(end)
        return Place(self.name, 1, 1, 1, self._line(1))

    def in_file(self, path: KeyPath) -> bool:
        """Whether `path` is written in the file itself."""
        return path in self._spans.values or path in self._spans.keys

    def has(self, path: KeyPath) -> bool:
        """Whether `path` is written in the file or set by an override."""
        return path in self._set or path in self._spans.values or path in self._spans.keys

    def override(self, argument: str) -> None:
        """Lay `a.b.c=value` over the tree. The value is TOML; a bare word is a string."""
        key, equals, raw = argument.partition("=")
        path = _key_path(key) if equals else None
        if not path:
            self._refuse(argument, "is not KEY=VALUE", 0, len(argument))
            return
        inner = f"x = {raw.strip()}"
        try:
            value = tomllib.loads(inner)["x"]
            spans = scan(inner)
        except tomllib.TOMLDecodeError:
            if not _BARE_WORD.match(raw.strip()):
                self._refuse(argument, "its value is not TOML", len(key) + 1, len(raw))
                return
            value, spans = raw.strip(), Spans({}, {})
        before = (
            len(raw) - len(raw.lstrip()) - len("x = ")
        )  # from a place in `inner` to one in `raw`
        self._lay(_Override(argument, len(key) + 1, before, spans), path, value)

    def _lay(self, override: _Override, path: KeyPath, value: Any) -> None:
        node: Any = self.tree
        for name in path[:-1]:
            node = _step_into(node, name)
            if node is None:
                break
        last: Any = path[-1]
        if isinstance(node, dict):
            node[last] = value
        elif isinstance(node, list) and str(last).isdecimal() and int(last) < len(node):
            node[int(last)] = value
            path = (*path[:-1], int(last))
        else:
            why = "goes through something that is no table"
            self._refuse(override.argument, why, 0, override.value_at - 1)
            return
        self._spans.values = {k: v for k, v in self._spans.values.items() if k[: len(path)] != path}
        self._set[path] = override

    def _refuse(self, argument: str, why: str, start: int, length: int) -> None:
        place = Place(_SET, 1, start + 1, max(1, length), argument)
        expected = "actors.taker.params.threshold=0.7"
        self.mistakes.append(Mistake("set", f"this override {why}", place, expected=expected))


def _step_into(node: Any, name: str | int) -> Any:
    """The table or list below `name`, made when it is absent; None when something else stands there."""
    if isinstance(node, list):
        index = int(name) if str(name).isdecimal() else len(node)
        below = node[index] if index < len(node) else None
    elif isinstance(node, dict):
        below = node.setdefault(name, {})
    else:
        return None
    return below if isinstance(below, dict | list) else None


def _key_path(key: str) -> KeyPath | None:
    try:
        tree: Any = tomllib.loads(f"{key.strip()} = 0")
    except tomllib.TOMLDecodeError:
        return None
    path: list[str | int] = []
    while isinstance(tree, dict):
        name = next(iter(tree))
        path.append(name)
        tree = tree[name]
    return tuple(path)


def dotted(path: KeyPath) -> str:
    """`actors.bus.inputs[1]`: a path as people write it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part if _PLAIN_KEY.match(part) else f'"{part}"'
            text += f".{plain}" if text else plain
    return text


def read_source(path: Path, overrides: Sequence[str] = ()) -> Source:
    """Read `path` and lay `overrides` over it. A file that cannot be read is a mistake like others."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        source = Source(path, "")
        source.mistakes.append(
            Mistake("file", f"cannot read {path}: {(error.strerror or 'error').lower()}")
        )
        return source
    except UnicodeDecodeError as error:
        source = Source(path, "")
        what = f"{path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
        source.mistakes.append(Mistake("file", what))
        return source
    source = Source(path, text.removeprefix("\ufeff"))
    for argument in overrides if not source.mistakes else ():
        source.override(argument)
    return source
