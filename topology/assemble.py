"""From the tree of a file to a `Topology`: keys, kinds and each kind's own configuration, with all mistakes."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import msgspec

from sovereign.runtime import limits
from sovereign.runtime.errors import PluginError
from sovereign.topology import registry
from sovereign.topology.decode import Decoder
from sovereign.topology.files import resolve_files
from sovereign.topology.importing import own_folder
from sovereign.topology.mistake import Mistake, nearest
from sovereign.topology.model import Part, Topology, Wire
from sovereign.topology.places import KeyPath
from sovereign.topology.schema import (
    COMMON_KEYS,
    NAME_PATTERN,
    NAME_SPELT,
    RESERVED,
    Common,
    Input,
    Node,
)
from sovereign.topology.source import Source, dotted

__all__ = ["assemble"]

_SECTIONS = ("node", "actors")
_COMMON_TYPES = {one.encode_name: one.type for one in msgspec.structs.fields(Common)}


def assemble(source: Source) -> tuple[Topology, list[Mistake]]:
    """Decode all that can be decoded of `source`."""
    decoder = Decoder(source)
    own_folder(str(source.path.absolute().parent))  # an author's own module beside the topology
    with contextlib.suppress(FileNotFoundError):  # the working directory may be deleted
        own_folder(str(Path.cwd()))
    for key in source.tree:
        if key not in _SECTIONS:
            close = nearest(key, _SECTIONS)
            decoder.mistakes.append(
                Mistake(
                    "unknown-key",
                    f'a topology has no section "{key}"',
                    source.key((key,)),
                    key,
                    expected="node, actors",
                    hint=f'did you mean "{close}"?' if close else "",
                )
            )
    topology = Topology(source, _node(decoder))
    actors = source.tree.get("actors", {})
    if not isinstance(actors, dict) or not actors:
        place = source.key(("actors",))
        what = "a topology needs actors: at least one table [actors.NAME]"
        decoder.mistakes.append(Mistake("no-actors", what, place, "actors"))
        actors = {}
    strays = _strays(decoder, actors)
    for name, table in actors.items():
        if name not in strays:
            topology.parts.append(_part(decoder, len(topology.parts), name, table))
    return topology, decoder.mistakes


def _strays(decoder: Decoder, actors: dict[str, Any]) -> set[str]:
    """Actors that are only in overrides, and without a kind: their names are slips, and told as such."""
    source = decoder.source
    strays = {
        name
        for name, table in actors.items()
        if not source.in_file(("actors", name)) and isinstance(table, dict) and "kind" not in table
    }
    known = [name for name in actors if name not in strays]
    for name in strays:
        close = nearest(name, known)
        decoder.mistakes.append(
            Mistake(
                "set",
                f'no actor is named "{name}"',
                source.key(("actors", name)),
                dotted(("actors", name)),
                expected=", ".join(known),
                hint=f'did you mean "{close}"?' if close else "a new actor needs a kind",
            )
        )
    return strays


def _node(decoder: Decoder) -> Node | None:
    table = decoder.source.tree.get("node")
    if table is None:
        what = 'a topology needs a [node] with a "name"'
        place = decoder.source.key(("node",))
        hint = 'begin the file with: [node] name = "demo"'
        decoder.mistakes.append(Mistake("missing-key", what, place, "node", hint=hint))
        return None
    node = decoder.struct(Node, table, ("node",))
    if node is not None and isinstance(table, dict):
        resolve_files(decoder.source, table, ("node",), Node, decoder.mistakes)
        node = msgspec.convert(table, Node)
    return node


def _part(decoder: Decoder, index: int, name: str, table: Any) -> Part:
    path: KeyPath = ("actors", name)
    _check_name(decoder, name, path)
    if not isinstance(table, dict):
        decoder.struct(Common, table, path)
        return Part(index, name, Common(kind=""), ())
    part = Part(index, name, _common(decoder, table, path), ())
    part.wires = _wires(table.get("inputs"), (*path, "inputs"))
    part.inputs_known = _all_understood(part, table)
    own = {key: value for key, value in table.items() if key not in COMMON_KEYS}
    if isinstance(table.get("kind"), str):
        _find_kind(decoder, part, (*path, "kind"))
    if part.cls is None:
        return part
    if not part.wires and "inputs" not in table:
        part.inputs_known = not _misspelt("inputs", own, part.cls.Config)
    resolve_files(decoder.source, own, path, part.cls.Config, decoder.mistakes)
    part.config = decoder.struct(part.cls.Config, own, path, COMMON_KEYS)
    return part


def _all_understood(part: Part, table: dict[str, Any]) -> bool:
    written = table.get("inputs", [])
    return isinstance(written, list) and len(written) == len(part.wires)


def _misspelt(key: str, own: dict[str, Any], kind: type[msgspec.Struct]) -> bool:
    """Whether one of the keys that the kind does not know was meant to be `key`."""
    unknown = set(own) - {one.encode_name for one in msgspec.structs.fields(kind)}
    return any(nearest(one, [key]) for one in unknown)


def _check_name(decoder: Decoder, name: str, path: KeyPath) -> None:
    expected = NAME_SPELT
    if name in RESERVED:
        what, expected = f'no actor can be named "{name}": {RESERVED[name]}', "another name"
    elif not re.match(NAME_PATTERN, name) or len(name) > limits.ACTOR_NAME_MAX_BYTES:
        what = f'"{name}" is no name for an actor'
    else:
        return
    place = decoder.source.key(path)
    decoder.mistakes.append(Mistake("name", what, place, dotted(path), name, expected))


def _common(decoder: Decoder, table: dict[str, Any], path: KeyPath) -> Common:
    """The common keys; those with mistakes are told and left at their defaults."""
    good: dict[str, Any] = {"kind": ""}
    whole = {key: table[key] for key in COMMON_KEYS if key in table}
    if decoder.struct(Common, whole, path, tuple(table)) is None:
        quiet = Decoder(decoder.source)
        for key, value in whole.items():
            before = len(quiet.mistakes)
            quiet.walk(_COMMON_TYPES[key], value, (*path, key))
            if len(quiet.mistakes) == before:
                good[key] = value
    else:
        good = whole
    return msgspec.convert(good, Common)


def _wires(inputs: Any, path: KeyPath) -> tuple[Wire, ...]:
    """The inputs that can be understood; the others were told by `_common`."""
    found = []
    for index, one in enumerate(inputs if isinstance(inputs, list) else []):
        if isinstance(one, str):
            found.append(Wire(one, (*path, index)))
            continue
        try:
            entry = msgspec.convert(one, Input)
        except msgspec.ValidationError:
            continue
        found.append(Wire(entry.source, (*path, index), entry.gate, entry.feedback))
    return tuple(found)


def _find_kind(decoder: Decoder, part: Part, path: KeyPath) -> None:
    kind = decoder.source.tree["actors"][part.name]["kind"]
    try:
        part.entry, part.cls = registry.actor_class(kind)
    except PluginError as error:
        place = decoder.source.value(path)
        decoder.mistakes.append(
            Mistake("kind", error.what, place, dotted(path), error.got, error.expected, error.hint)
        )
