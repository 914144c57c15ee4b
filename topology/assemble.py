"""From the tree of a file to a `Topology`: keys, kinds and each kind's own configuration, with all mistakes."""

from __future__ import annotations

import re
import sys
from typing import Any

import msgspec

from sovereign.runtime import limits
from sovereign.runtime.errors import PluginError
from sovereign.topology import registry
from sovereign.topology.decode import Decoder
from sovereign.topology.files import resolve_files
from sovereign.topology.mistake import Mistake, nearest
from sovereign.topology.model import Part, Topology, Wire
from sovereign.topology.places import KeyPath
from sovereign.topology.schema import COMMON_KEYS, NAME_PATTERN, RESERVED, Common, Input, Node
from sovereign.topology.source import Source, dotted

__all__ = ["assemble"]

_SECTIONS = ("node", "actors")
_COMMON_TYPES = {one.encode_name: one.type for one in msgspec.structs.fields(Common)}


def assemble(source: Source) -> tuple[Topology, list[Mistake]]:
    """Decode all that can be decoded of `source`."""
    decoder = Decoder(source)
    folder = str(source.path.absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # an author's own module beside the topology
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
    for index, (name, table) in enumerate(actors.items()):
        topology.parts.append(_part(decoder, index, name, table))
    return topology, decoder.mistakes


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
    own = {key: value for key, value in table.items() if key not in COMMON_KEYS}
    if isinstance(table.get("kind"), str):
        _find_kind(decoder, part, (*path, "kind"))
    if part.cls is None:
        return part
    resolve_files(decoder.source, own, path, part.cls.Config, decoder.mistakes)
    part.config = decoder.struct(part.cls.Config, own, path, COMMON_KEYS)
    return part


def _check_name(decoder: Decoder, name: str, path: KeyPath) -> None:
    expected = f"letters, digits, - and _, at most {limits.ACTOR_NAME_MAX_BYTES}"
    if name in RESERVED:
        what = f'no actor can be named "{name}": that is the supervisor\'s own ring'
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
