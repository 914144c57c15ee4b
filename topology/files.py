"""Keys that name files: relative paths are made absolute from the topology's folder, and inputs must exist.

A Config says that a key is a path by `Annotated[str, Meta(extra={"path": "input"})]`, or `"output"` where it need not
exist yet. Without that, names decide: `path`, `file` and `templates` are inputs; `dir` and what ends with `_dir`,
`_path` or `_file` are outputs.
"""

from __future__ import annotations

import os
import typing
from pathlib import Path
from typing import Any

import msgspec

from sovereign.topology.mistake import Mistake, nearest
from sovereign.topology.places import KeyPath
from sovereign.topology.source import Source, dotted

__all__ = ["resolve_files"]

_INPUTS = frozenset({"path", "file", "templates"})
_OUTPUT_ENDS = ("_dir", "_path", "_file")
_INPUT, _OUTPUT = "input", "output"


def resolve_files(
    source: Source, table: dict[str, Any], path: KeyPath, kind: Any, mistakes: list[Mistake]
) -> None:
    """Make the paths in `table` (and the tables within) absolute; tell those that must exist and do not."""
    for key, value in table.items():
        here = (*path, key)
        if isinstance(value, dict):
            resolve_files(source, value, here, _below(kind, key, value), mistakes)
        elif isinstance(value, str) and value:
            role = _role(kind, key)
            if role is None:
                continue
            full = source.path.absolute().parent / Path(value).expanduser()
            table[key] = os.path.normpath(full)
            if role == _INPUT and not full.exists():
                mistakes.append(_missing(source, here, value, full))


def _field(kind: Any, key: str) -> Any:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return None
    return next((f.type for f in msgspec.structs.fields(kind) if f.encode_name == key), None)


def _below(kind: Any, key: str, value: dict[str, Any]) -> Any:
    """The Struct that describes the table `value` under `key`, if there is one."""
    hint = _field(kind, key)
    options = [hint, *typing.get_args(hint)]
    structs = [one for one in options if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    for one in structs:
        info = one.__struct_config__
        if info.tag_field is None or value.get(info.tag_field) == info.tag:
            return one
    return None


def _role(kind: Any, key: str) -> str | None:
    hint = _field(kind, key)
    for part in (hint, *typing.get_args(hint)):
        if typing.get_origin(part) is typing.Annotated:
            for meta in typing.get_args(part)[1:]:
                if isinstance(meta, msgspec.Meta) and meta.extra and "path" in meta.extra:
                    return str(meta.extra["path"])
    if key in _INPUTS:
        return _INPUT
    return _OUTPUT if key == "dir" or key.endswith(_OUTPUT_ENDS) else None


def _missing(source: Source, path: KeyPath, value: str, full: Path) -> Mistake:
    folder = full.parent
    if folder.is_dir():
        close = nearest(full.name, sorted(one.name for one in folder.iterdir())[:1000])
        hint = f'did you mean "{close}"?' if close else ""
        got, expected = "", f"a file in {folder}"
    else:
        hint, got, expected = "", f"there is no folder {folder}", ""
    what = f'{dotted(path)} names a file that is not there: "{value}"'
    return Mistake("file", what, source.value(path), dotted(path), got, expected, hint)
