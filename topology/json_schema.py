"""The JSON Schema (2020-12) of topology files: the common keys, and each installed kind's own.

It is made from the same Structs that decode the file, so it cannot say anything else. A kind that does not import is
left out; a table of an unregistered kind (`module:Class`) may hold any further keys.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sovereign.runtime import limits
from sovereign.runtime.errors import PluginError
from sovereign.topology import registry
from sovereign.topology.importing import trials
from sovereign.topology.schema import NAME_PATTERN, RESERVED, Common, Node

__all__ = ["topology_schema"]

_REFS = "#/$defs/{name}"


def topology_schema() -> dict[str, Any]:
    """The schema as plain data."""
    with trials():
        kinds = _kinds()
    structs = [Node, Common, *kinds.values()]
    refs, found = msgspec.json.schema_components(structs, ref_template=_REFS)
    defs = {name: dict(one) for name, one in found.items()}
    for one in defs.values():
        one.pop("title", None)
    node, common, *own = refs
    branches = [
        _branch(_named(defs, common), name, _named(defs, ref))
        for name, ref in zip(kinds, own, strict=True)
    ]
    other = {"properties": {"kind": {"type": "string", "pattern": ":"}}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sovereign topology",
        "type": "object",
        "required": ["node", "actors"],
        "additionalProperties": False,
        "properties": {
            "node": node,
            "actors": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {
                    "pattern": NAME_PATTERN,
                    "maxLength": limits.ACTOR_NAME_MAX_BYTES,
                    "not": {"enum": sorted(RESERVED)},
                },
                "additionalProperties": {"allOf": [common, {"anyOf": [*branches, other]}]},
            },
        },
        "$defs": defs,
    }


def _kinds() -> dict[str, type[msgspec.Struct]]:
    """The Config of each registered kind that imports."""
    found = {}
    for plugin in registry.plugins(registry.ACTORS):
        try:
            _, cls = registry.actor_class(plugin.name)
        except PluginError:
            continue
        found[plugin.name] = cls.Config
    return found


def _named(defs: dict[str, Any], ref: dict[str, Any]) -> dict[str, Any]:
    """The definition that `ref` points to."""
    one: dict[str, Any] = defs[ref["$ref"].rsplit("/", 1)[1]]
    return one


def _branch(common: dict[str, Any], kind: str, own: dict[str, Any]) -> dict[str, Any]:
    """What an actor of this kind may hold: the common keys and its own, and no others."""
    shared = dict.fromkeys(common["properties"], True)
    return {
        "title": kind,
        "description": own.get("description", ""),
        "properties": {**shared, **own.get("properties", {}), "kind": {"const": kind}},
        "required": ["kind", *own.get("required", [])],
        "additionalProperties": False,
    }
