"""The graph: order of the wiring, cycles, and which message types stand in which ring.

Edges run from writer to reader. Feedback inputs are no edges of the order: they are what makes a cycle allowed.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from sovereign.runtime.errors import SovereignError
from sovereign.topology.blame import blame
from sovereign.topology.frames import place_of
from sovereign.topology.mistake import Mistake
from sovereign.topology.model import Part, Topology, Types, Wire
from sovereign.topology.source import dotted

__all__ = [
    "certain",
    "components",
    "find_cycle",
    "flow_types",
    "is_silent",
    "is_wired",
    "reaches",
    "told",
    "wiring_order",
]


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


def flow_types(topology: Topology) -> None:
    """Fill `gives`, `carries` and `max_step` of every part, or its `trouble`: what flows, to the fixed point.

    A ring's types may depend on its inputs' (the bus forwards), and a cycle brings them around, so rounds are made
    until nothing changes.
    """
    order = wiring_order(topology)
    for _ in range(len(order) + 1):
        changed = False
        for part in order:
            above = [topology.part(wire.upstream) for wire in part.wires]
            part.carries = tuple(one.gives if one else () for one in above)
            gives = _ask(topology, part)
            changed |= gives != part.gives
            part.gives = gives
        if not changed:
            break


def _ask(topology: Topology, part: Part) -> Types:
    """What the part's class says it gives. Its failure is its author's mistake, and told as one."""
    if not part.known or part.cls is None:
        return part.gives
    try:
        part.max_step = part.cls.max_step_outputs(part.config)
        return tuple(part.cls.gives(part.config, part.carries))
    except (Exception, SystemExit) as error:
        part.trouble = told(topology, part, error)
        return ()


def told(topology: Topology, part: Part, error: BaseException) -> Mistake:
    """What a kind's own code raised when it was asked about its configuration."""
    if isinstance(error, SovereignError):
        return blame(topology, part, str(error), "plugin")
    path = (*part.path, "kind")
    what = f'kind "{part.common.kind}" failed when asked about its configuration'
    frames = traceback.extract_tb(error.__traceback__)
    place = place_of([(one.filename, one.lineno or 0) for one in reversed(frames)])
    got = f"{type(error).__name__}: {error}, at {place}"
    return Mistake("plugin", what, topology.source.value(path), dotted(path), got)


def is_wired(topology: Topology, part: Part) -> bool:
    """Whether what it reads is known: every input names an actor, and none is missing. Else that is told as a mistake."""
    fewest = part.cls.needs_inputs[0] if part.cls is not None else 0
    named = all(topology.part(wire.upstream) is not None for wire in part.wires)
    return part.inputs_known and named and len(part.wires) >= fewest


def certain(topology: Topology, part: Part) -> bool:
    """Whether all is known that decides what the part gives: itself, and all that it reads, directly or not."""
    seen: dict[str, Part] = {part.name: part}
    for one in (rest := [part]):
        if not one.known or not is_wired(topology, one):
            return False
        for wire in one.wires:
            above = topology.part(wire.upstream)
            if above is not None and above.name not in seen:
                seen[above.name] = above
                rest.append(above)
    return True


def is_silent(topology: Topology, part: Part) -> bool:
    """Whether the part certainly has no output ring: its kind gives nothing, and not for want of inputs that speak."""
    if part.gives or not certain(topology, part):
        return False
    above = [topology.part(wire.upstream) for wire in part.wires]
    return all(one is not None and one.gives for one in above)
