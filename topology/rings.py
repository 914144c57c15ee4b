"""The size of every ring: given, or chosen so that the node can neither stall nor lose.

A feedback ring must hold all that can be outstanding on its cycle, because its writer never waits. Each slot of a ring
on the cycle can become up to (product of the `max_step_outputs` on the way) answers, so

    needed = Σ over rings r of the cycle, capacity(r) × amplification(r → feedback ring)

Left out of the file, a feedback ring gets the next power of two; given too small, it is a mistake.
"""

from __future__ import annotations

from collections.abc import Iterator

from sovereign.runtime import limits
from sovereign.topology.mistake import Mistake
from sovereign.topology.model import Part, Topology
from sovereign.topology.source import dotted
from sovereign.topology.wiring import components, is_silent, wiring_order

__all__ = ["size_rings"]


def next_power(count: int) -> int:
    """The least power of two that is not below `count`."""
    return 1 << max(1, (count - 1).bit_length())


def size_rings(topology: Topology) -> list[Mistake]:
    """Fill `capacity` of every part; mistakes for capacities that cannot work. `flow_types` must have run."""
    closing = _feedback_pairs(topology)
    for part in topology.parts:
        part.capacity = _plain(part)
    mistakes: list[Mistake] = []
    for part in wiring_order(topology):  # a ring above on the cycle is sized before it is counted
        mistakes += _alone(topology, part)
        needed = max(
            (outstanding(topology, part, one) for w, one in closing if w is part), default=0
        )
        if needed and not _given(part):
            part.capacity = next_power(needed)
            if part.capacity > limits.RING_MAX_SLOTS:
                mistakes.append(_too_small(topology, part, needed))
        elif needed > part.capacity:
            mistakes.append(_too_small(topology, part, needed))
    return mistakes


def _plain(part: Part) -> int:
    if part.common.ring is not None and part.common.ring.capacity is not None:
        return part.common.ring.capacity
    return max(limits.RING_DEFAULT_SLOTS, next_power(part.max_step))


def _given(part: Part) -> bool:
    return part.common.ring is not None and part.common.ring.capacity is not None


def _feedback_pairs(topology: Topology) -> list[tuple[Part, Part]]:
    """(writer, reader) of every feedback input."""
    return [
        (above, part)
        for part in topology.parts
        for wire in part.wires
        if wire.feedback and (above := topology.part(wire.upstream)) is not None
    ]


def outstanding(topology: Topology, writer: Part, reader: Part) -> int:
    """Most slots that events now on the cycle can put into the feedback ring; 0 when there is no cycle."""
    on_cycle = set(components(topology, writer.name, reader.name))
    if not on_cycle:
        return 0
    amplification = {writer.name: 1}
    total = 0
    for part in reversed(wiring_order(topology)):
        if part.name not in on_cycle or part is writer:
            continue
        below = [p for p, wire in topology.readers(part.name) if not wire.feedback]
        amplification[part.name] = sum(
            p.max_step * amplification.get(p.name, 0) for p in below if p.name in on_cycle
        )
        total += part.capacity * amplification[part.name]
    return total


def _alone(topology: Topology, part: Part) -> Iterator[Mistake]:
    """What a capacity must be whatever the graph."""
    if part.common.ring is None:
        return
    path = (*part.path, "ring", "capacity")
    place, key = topology.source.value(path), dotted(path)
    capacity = part.capacity
    if capacity & (capacity - 1):
        what = f'the capacity of "{part.name}" is no power of two'
        yield Mistake(
            "capacity",
            what,
            place,
            key,
            f"{capacity:,}",
            hint=f"capacity = {next_power(capacity):_}",
        )
    if is_silent(topology, part):
        what = f'"{part.name}" has no output ring: kind "{part.common.kind}" gives no messages'
        yield Mistake("capacity", what, topology.source.key(path[:-1]), dotted(path[:-1]))
    if capacity < part.max_step:
        what = f'the ring of "{part.name}" cannot hold what one step of it may give'
        expected = f"at least {part.max_step} slots"
        hint = f"capacity = {next_power(part.max_step):_}"
        yield Mistake("capacity", what, place, key, f"{capacity}", expected, hint)


def _too_small(topology: Topology, part: Part, needed: int) -> Mistake:
    path = (*part.path, "ring", "capacity")
    enough = next_power(needed)
    possible = enough <= limits.RING_MAX_SLOTS
    smaller = "make the rings on the cycle smaller"
    return Mistake(
        "feedback-capacity",
        f'the feedback ring of "{part.name}" is smaller than what its cycle can have outstanding',
        topology.source.value(path),
        dotted(path),
        f"{part.capacity:,} slots",
        f"at least {needed:,} slots: a full feedback ring halts the node",
        f"capacity = {enough:_}, or {smaller}" if possible else smaller,
    )
