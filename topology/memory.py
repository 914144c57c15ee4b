"""Whether the host has shared memory for the rings that a start would make anew."""

from __future__ import annotations

from collections.abc import Iterator

from sovereign.runtime.estate import shortage
from sovereign.runtime.spec import NodeSpec
from sovereign.topology.mistake import Mistake
from sovereign.topology.model import Topology
from sovereign.topology.source import dotted

__all__ = ["check_memory"]


def check_memory(topology: Topology, spec: NodeSpec) -> Iterator[Mistake]:
    """At most one mistake, at the largest ring's capacity, or at its actor where the file does not give one."""
    short = shortage(spec)
    if short is None:
        return
    path = ("actors", short.largest.name, "ring", "capacity")
    source = topology.source
    yield Mistake(
        "memory",
        "the rings that a start would make do not fit into shared memory",
        source.value(path) if source.has(path) else source.key(path[:2]),
        dotted(path),
        short.free_text,
        short.needed_text,
        short.hint,
    )
