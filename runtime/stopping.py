"""How a node's actors end: sources first, each after its feeders, auditors last, so that nothing published stays unhandled.

A node that is asked to end while it still starts ends the same way, with one difference: an actor that is not there yet
is first let begin if messages wait for it, and is ended on the spot if none do.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from sovereign.runtime.managed import STARTING, STOPPED, Managed
from sovereign.runtime.operating import STOP_GRACE_S
from sovereign.runtime.wiring import in_order

if TYPE_CHECKING:
    from sovereign.runtime.supervisor import Supervisor


def all_begun(node: Supervisor) -> bool:
    """Whether every actor was started, and none is still on its way."""
    return all(one.started_ns and one.state != STARTING for one in node.actors.values())


def stop_in_order(node: Supervisor) -> None:
    """Drain and end every actor; one that does not end within the grace is killed."""
    for one in node.actors.values():
        one.tick(time.monotonic_ns())  # who became ready since the last turn
    node.ran = node.ran or all_begun(node)
    deadline = time.monotonic() + STOP_GRACE_S
    order = [one.name for one in in_order(node.spec)]
    order.sort(key=lambda name: node.actors[name].spec.kind == "auditor")
    for name in order:
        actor = node.actors[name]
        if _begins_yet(node, actor):
            deadline = time.monotonic() + STOP_GRACE_S
        if actor.process is not None:  # else its state stays as it was: FATAL is worth seeing
            idle = actor.state == STARTING and not node.view.lag_of(name)
            actor.stop(signal.SIGKILL if idle and not node.ran else signal.SIGTERM)
        while actor.process is not None:
            if actor.process.ended:
                actor.reap(time.monotonic_ns())
            elif time.monotonic() > deadline:
                node.tell(f"{name} does not end: killed")
                actor.process.signal(signal.SIGKILL)
                deadline = time.monotonic() + 1
            node.serve(1)


def _begins_yet(node: Supervisor, actor: Managed) -> bool:
    """Let an actor that has messages to handle begin, when the node never got to run; whether that was waited for.

    Else what the others have published already would stay in the rings. A second signal does not wait for it.
    """
    if node.ran or not node.view.lag_of(actor.spec.name):
        return False
    if actor.process is None and actor.state == STOPPED and actor.exit_code is None:
        node.start(actor)
    waited = False
    while actor.state == STARTING and actor.process is not None and len(node.signals) < 2:
        waited = True
        node.serve(1)
        if actor.tick(time.monotonic_ns()):
            break
    return waited
