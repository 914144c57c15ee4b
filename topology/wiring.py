"""The graph: order of the wiring, cycles, and which message types stand in which ring.

Edges run from writer to reader. Feedback inputs are no edges of the order: they are what makes a cycle allowed.
"""

from __future__ import annotations

from collections.abc import Iterator

from sovereign.runtime.errors import SovereignError
from sovereign.topology.mistake import Mistake
from sovereign.topology.model import Part, Topology, Types, Wire
from sovereign.topology.source import dotted

__all__ = ["components", "find_cycle", "flow_types", "is_silent", "reaches", "told", "wiring_order"]


def _upstream(topology: Topology, part: Part) -> Iterator[Part]:
    for wire in part.wires:
        above = topology.part(wire.upstream)
        if above is not None and not wire.feedback:
            yield above


def wiring_order(topology: Topology) -> list[Part]:
    """Sources first, each actor after what it reads; the order of the file where the graph leaves a choice.

    Actors on a cycle without feedback (a mistake) come last, in the order of the file.
    """
    order: list[Part] = []
    done: set[str] = set()
    rest = list(topology.parts)
    while rest:
        ready = [p for p in rest if all(above.name in done for above in _upstream(topology, p))]
        if not ready:
            return order + rest
        order.append(ready[0])
        done.add(ready[0].name)
        rest.remove(ready[0])
    return order


def reaches(topology: Topology, start: str, end: str) -> list[str] | None:
    """Names on a shortest way from `start` to `end` down the wires, both included; feedback is not followed."""
    ways = [[start]]
    seen = {start}
    for way in ways:
        if way[-1] == end:
            return way
        for part, wire in topology.readers(way[-1]):
            if part.name not in seen and not wire.feedback:
                seen.add(part.name)
                ways.append([*way, part.name])
    return None


def find_cycle(topology: Topology) -> Iterator[tuple[Part, Wire, list[str]]]:
    """Each input that closes a cycle without feedback: its reader, the input, and the names around the cycle.

    One a cycle: the first in the file whose writer stands at or below its reader; inputs told once are left out of
    the search for the next.
    """
    cut: set[tuple[str, ...]] = set()
    for part in topology.parts:
        for wire in part.wires:
            above = topology.part(wire.upstream)
            if above is None or wire.feedback or above.index < part.index:
                continue
            way = reaches(topology, part.name, above.name)
            if way is not None and tuple(sorted(way)) not in cut:
                cut.add(tuple(sorted(way)))
                yield part, wire, [*way, part.name]


def components(topology: Topology, writer: str, reader: str) -> list[str]:
    """Actors on some way from `reader` to `writer`, both included: the cycle that a feedback input closes."""
    return [
        part.name
        for part in topology.parts
        if reaches(topology, reader, part.name) and reaches(topology, part.name, writer)
    ]


def flow_types(topology: Topology) -> list[Mistake]:
    """Fill `gives`, `carries` and `max_step` of every part: what flows, to the fixed point.

    A ring's types may depend on its inputs' (the bus forwards), and a cycle brings them around, so rounds are made
    until nothing changes.
    """
    mistakes: dict[str, Mistake] = {}
    order = wiring_order(topology)
    for _ in range(len(order) + 1):
        changed = False
        for part in order:
            above = [topology.part(wire.upstream) for wire in part.wires]
            part.carries = tuple(one.gives if one else () for one in above)
            gives = _ask(topology, part, mistakes)
            changed |= gives != part.gives
            part.gives = gives
        if not changed:
            break
    return list(mistakes.values())


def _ask(topology: Topology, part: Part, mistakes: dict[str, Mistake]) -> Types:
    """What the part's class says it gives. Its failure is its author's mistake, and told as one."""
    if part.cls is None or part.config is None or part.name in mistakes:
        return part.gives
    try:
        part.max_step = part.cls.max_step_outputs(part.config)
        return tuple(part.cls.gives(part.config, part.carries))
    except Exception as error:
        mistakes[part.name] = told(topology, part, error)
        return ()


def told(topology: Topology, part: Part, error: Exception) -> Mistake:
    """What a kind's own code raised when it was asked about its configuration."""
    path = (*part.path, "kind")
    place = topology.source.value(path)
    if isinstance(error, SovereignError):
        what = f"[{dotted(part.path)}] {error.what}"
        return Mistake("plugin", what, place, dotted(path), error.got, error.expected, error.hint)
    what = f'kind "{part.common.kind}" failed when asked about its configuration'
    return Mistake("plugin", what, place, dotted(path), f"{type(error).__name__}: {error}")


def is_silent(topology: Topology, part: Part) -> bool:
    """Whether the part certainly has no output ring: its kind gives nothing, and not for want of known inputs."""
    if part.gives or not part.known:
        return False
    above = [topology.part(wire.upstream) for wire in part.wires]
    return all(
        one is not None and one.known and reaches(topology, part.name, one.name) is None
        for one in above
    )
