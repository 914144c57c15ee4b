"""What an operator asks of a running node, through the control socket: each question answered, each action archived.

Starting and stopping an actor may take seconds. The supervisor goes on turning meanwhile: a halt is never behind a restart,
other actors come back when they die, and whoever asks gets an answer. One actor is operated on by one at a time.
"""

from __future__ import annotations

import difflib
import signal
import time
from typing import TYPE_CHECKING, Any

from sovereign.runtime import halting
from sovereign.runtime.control_socket import Peer, Request
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.managed import RUNNING, Managed
from sovereign.runtime.node_ring import (
    BY_BYTES,
    REASON_BYTES,
    Halt,
    OperatorAction,
    Resume,
    exact,
    fitting,
)

if TYPE_CHECKING:
    from sovereign.runtime.supervisor import Supervisor

STOP_GRACE_S = 10.0
_ON_ACTORS = ("stop", "start", "restart")


class Operations:
    """The operators' side of one `Supervisor`."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._node = supervisor

    def handle(self, request: Request, peer: Peer) -> Any:
        """Answer one question. SovereignError goes to the peer."""
        if request.op == "ps":
            return self._node.status()
        if request.op == "halt":
            return self.halt(request.by, request.reason, peer.uid)
        if request.op == "resume":
            return self.resume(request.by, peer.uid)
        if request.op == "down":
            self._archive(request, peer)
            self._node.end("down")
            return {"node": self._node.spec.name}
        if request.op in _ON_ACTORS:
            actor = self._named(request.actor)
            if actor.busy or self._node.ending:
                raise SovereignError(
                    f"{actor.spec.name} cannot be operated on now",
                    got=f"{actor.busy or 'the node ends'} is under way",
                    hint="ask again when it is over; `sovereign ps` shows the state",
                )
            self._archive(request, peer)
            actor.busy = request.op
            try:
                return self._operate(request.op, actor)
            finally:
                actor.busy = ""
        raise SovereignError(f"no operation is named {request.op!r}", exit_code=2)

    def _archive(self, request: Request, peer: Peer) -> None:
        said = {"action": fitting(request.op, 16), "actor": fitting(request.actor, 48)}
        self._node.journal.write(OperatorAction, {"uid": peer.uid, "pid": peer.pid, **said})

    def _named(self, name: str) -> Managed:
        actors = self._node.actors
        if name in actors:
            return actors[name]
        close = difflib.get_close_matches(name, actors, 1)
        raise SovereignError(
            f"no actor is named {name!r}",
            expected=", ".join(actors),
            hint=f"did you mean {close[0]!r}?" if close else "`sovereign ps` lists them",
            exit_code=4,
        )

    def _operate(self, operation: str, actor: Managed) -> dict[str, Any]:
        """Stop, start or restart one actor; answers when it is done."""
        began = time.monotonic_ns()
        if operation != "start":
            self._end_one(actor)
        if operation != "stop" and actor.process is None:
            self._start_one(actor, restarted=operation == "restart")
        took = time.monotonic_ns() - began
        return {"actor": actor.spec.name, "state": actor.state, "pid": actor.pid, "took_ns": took}

    def _start_one(self, actor: Managed, *, restarted: bool) -> None:
        actor.clock.forget()
        actor.restarts += restarted
        self._node.start(actor)
        while actor.process is not None and not actor.process.ended:
            if actor.tick(time.monotonic_ns()) or actor.state == RUNNING:
                break
            self._node.serve(0.5)
        if actor.process is None or actor.process.ended:
            raise SovereignError(
                f"{actor.spec.name} does not start",
                got=actor.hung or "its process ended",
                hint=f"`sovereign logs {actor.spec.name}`",
            )

    def _end_one(self, actor: Managed) -> None:
        """Drain and end one actor, killing it after the grace."""
        actor.stop()
        deadline = time.monotonic() + STOP_GRACE_S
        while actor.process is not None:
            if actor.process.ended:
                actor.reap(time.monotonic_ns())
            elif time.monotonic() > deadline:
                actor.process.signal(signal.SIGKILL)
            self._node.serve(0.5)

    def halt(self, by: str, reason: str, uid: int) -> dict[str, Any]:
        """The kill switch: set the word, wait for the acknowledgements, persist, archive."""
        node = self._node
        names = exact(by, BY_BYTES, "--by"), exact(reason, REASON_BYTES, "--reason")
        alive = {one.spec.index for one in node.actors.values() if one.process is not None}
        result = halting.halt(node.control, node.spec, halting.acknowledging(node.spec), alive)
        record = halting.HaltRecord(
            halted=True, epoch=result.epoch, by=by, reason=reason, at_ns=time.time_ns()
        )
        unwritten = halting.persist(node.spec, record)
        fields = {"epoch": result.epoch, "uid": uid, "by": names[0], "reason": names[1]}
        node.journal.write(Halt, fields)
        node.log.warning("halted", by=by, reason=reason, epoch=result.epoch, unwritten=unwritten)
        return {
            "epoch": result.epoch,
            "acknowledged": result.acknowledged,
            "missing": result.missing,
            "already": result.already,
            "not_persisted": unwritten,
        }

    def resume(self, by: str, uid: int) -> dict[str, Any]:
        """Lift the halt, by a named person."""
        node = self._node
        halting.refuse_if_not_halted(node.control)
        name = exact(by, BY_BYTES, "--by")
        epoch = node.control.epoch + 1
        record = halting.HaltRecord(halted=False, epoch=epoch, by=by, at_ns=time.time_ns())
        unwritten = halting.persist(node.spec, record)
        if unwritten:  # a crash would find it halted; the operator must know before, not after
            raise SovereignError(
                "the resumption cannot be put on disk: the node stays halted",
                got="; ".join(unwritten),
                hint="free the disk, then `sovereign resume` again",
            )
        node.control.resume()
        node.journal.write(Resume, {"epoch": epoch, "uid": uid, "by": name})
        node.log.warning("resumed", by=by, epoch=epoch)
        return {"epoch": epoch}
