"""A node drawn: as indented text for a terminal, as Mermaid for a page, or as plain data for a program."""

from __future__ import annotations

from typing import Any

from sovereign.runtime.node_ring import node_ring
from sovereign.runtime.ring import ring_bytes
from sovereign.runtime.spec import ActorSpec, InputSpec, NodeSpec, RingSpec
from sovereign.topology.plan import start_order

__all__ = ["as_data", "draw_mermaid", "draw_text"]


def draw_text(spec: NodeSpec) -> str:
    """One block an actor, in the order of the wiring: what it reads, and what its ring carries."""
    lines = [f"node {spec.name}"]
    for index in start_order(spec):
        actor = spec.actors[index]
        cpu = f"  cpu {actor.cpu}" if actor.cpu is not None else ""
        lines += ["", f"{actor.name}  ({actor.kind}){cpu}"]
        for wire in actor.inputs:
            lines.append(f"  ◄── {wire.ring}{_marks(wire)}")
        if actor.output is not None:
            lines += _ring(actor.output)
    own = node_ring(spec)
    lines += ["", f"{own.name}  (the supervisor's own ring)", *_ring(own)]
    return "\n".join(lines)


def _ring(ring: RingSpec) -> list[str]:
    types = ", ".join(kind.__name__ for kind in ring.types)
    readers = ", ".join(one.name for one in ring.readers) or "nobody"
    size = ring.capacity * ring.stride / (1 << 20)
    return [
        f"  ──► {types}",
        f"      {ring.capacity:,} slots of {ring.stride} bytes, {size:.1f} MiB, read by {readers}",
    ]


def _marks(wire: InputSpec) -> str:
    marks = [word for word, on in (("feedback", wire.feedback), ("observer", not wire.gate)) if on]
    return f"  [{', '.join(marks)}]" if marks else ""


def draw_mermaid(spec: NodeSpec) -> str:
    """A Mermaid flowchart. Solid: gates; dotted: observers; thick: feedback."""
    lines = ["flowchart LR"]
    for actor in spec.actors:
        lines.append(f'    a{actor.index}["{actor.name}<br/>{actor.kind}"]')
    own = node_ring(spec)
    if own.readers:
        lines.append(f'    a{own.actor_index}["{own.name}<br/>supervisor"]')
    for actor in spec.actors:
        for wire in actor.inputs:
            arrow = "==feedback==>" if wire.feedback else "-->" if wire.gate else "-.->"
            lines.append(f"    a{wire.actor_index} {arrow} a{actor.index}")
    return "\n".join(lines)


def as_data(spec: NodeSpec) -> dict[str, Any]:
    """The node as plain data, actors in the order in which they start.

    {"node", "actors": [{"actor", "kind", "cpu" (null: any), "inputs": [{"ring", "gate", "feedback"}], "output": RING or
    null}], "own_ring": RING}; RING: {"ring", "types", "capacity" (slots), "stride", "bytes", "readers": [{"actor",
    "gate", "archives"}]}.
    """
    return {
        "node": spec.name,
        "actors": [_actor_data(spec.actors[index]) for index in start_order(spec)],
        "own_ring": _ring_data(node_ring(spec)),
    }


def _actor_data(actor: ActorSpec) -> dict[str, Any]:
    return {
        "actor": actor.name,
        "kind": actor.kind,
        "cpu": actor.cpu,
        "inputs": [
            {"ring": one.ring, "gate": one.gate, "feedback": one.feedback} for one in actor.inputs
        ],
        "output": None if actor.output is None else _ring_data(actor.output),
    }


def _ring_data(ring: RingSpec) -> dict[str, Any]:
    return {
        "ring": ring.name,
        "types": [kind.__name__ for kind in ring.types],
        "capacity": ring.capacity,
        "stride": ring.stride,
        "bytes": ring_bytes(ring),
        "readers": [
            {"actor": one.name, "gate": one.gate, "archives": one.archives} for one in ring.readers
        ],
    }
