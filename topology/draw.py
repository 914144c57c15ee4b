"""A node drawn: as indented text for a terminal, or as Mermaid for a page."""

from __future__ import annotations

from sovereign.runtime.spec import ActorSpec, InputSpec, NodeSpec
from sovereign.topology.plan import start_order

__all__ = ["draw_mermaid", "draw_text"]


def draw_text(spec: NodeSpec) -> str:
    """One block an actor, in the order of the wiring: what it reads, and what its ring carries."""
    lines = [f"node {spec.name}"]
    for index in start_order(spec):
        actor = spec.actors[index]
        cpu = f"  cpu {actor.cpu}" if actor.cpu is not None else ""
        lines += ["", f"{actor.name}  ({actor.kind}){cpu}"]
        for wire in actor.inputs:
            lines.append(f"  ◄── {wire.ring}{_marks(wire)}")
        lines += _ring(spec, actor)
    return "\n".join(lines)


def _ring(spec: NodeSpec, actor: ActorSpec) -> list[str]:
    ring = actor.output
    if ring is None:
        return []
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
    for actor in spec.actors:
        for wire in actor.inputs:
            arrow = "==feedback==>" if wire.feedback else "-->" if wire.gate else "-.->"
            lines.append(f"    a{wire.actor_index} {arrow} a{actor.index}")
    return "\n".join(lines)
