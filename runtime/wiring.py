"""The order of the wiring: who feeds whom, feedback aside.

Consumers start before the sources, so no message waits for somebody who is not there yet; stopping is the mirror of it:
sources first, then everyone whose feeders have ended and whose inputs are empty.
"""

from __future__ import annotations

from sovereign.runtime.spec import ActorSpec, NodeSpec


def feeders(spec: NodeSpec) -> dict[str, set[str]]:
    """For each actor, the actors whose rings it reads; feedback inputs and the node's own ring left out."""
    names = {actor.name for actor in spec.actors}
    return {
        actor.name: {one.ring for one in actor.inputs if not one.feedback and one.ring in names}
        for actor in spec.actors
    }


def in_order(spec: NodeSpec) -> list[ActorSpec]:
    """Actors so that each stands after its feeders; file order decides between equals."""
    left = feeders(spec)
    ordered: list[ActorSpec] = []
    while left:
        ready = [actor for actor in spec.actors if actor.name in left and not left[actor.name]]
        # A cycle without feedback never gets here (`check` refuses it); file order is the way out all the same.
        chosen = ready or [actor for actor in spec.actors if actor.name in left][:1]
        for actor in chosen:
            ordered.append(actor)
            del left[actor.name]
        done = {actor.name for actor in chosen}
        for name in left:
            left[name] -= done
    return ordered


def sources(spec: NodeSpec) -> list[ActorSpec]:
    """Actors that nobody feeds and that write a ring."""
    fed = feeders(spec)
    return [actor for actor in spec.actors if not fed[actor.name] and actor.output is not None]
