"""The supervisor: starts the actors in the order of the wiring, keeps them alive, and stops them in order.

Guarantees: one supervisor a node (a lock that dies with it); a dead actor comes back by its policy, a hung one is killed
first; an actor that cannot be kept halts the node; what was not archived is never unlinked.
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sovereign.runtime import halting, launch
from sovereign.runtime.control import Control
from sovereign.runtime.control_socket import ControlServer, Peer, Request
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.estate import clear, is_settled, leftovers, settle
from sovereign.runtime.log import file_log
from sovereign.runtime.managed import BACKOFF, FATAL, RUNNING, STOPPED, Managed
from sovereign.runtime.node_ring import (
    BY_BYTES,
    REASON_BYTES,
    ActorDied,
    ActorStarted,
    Halt,
    Journal,
    NodeStarted,
    OperatorAction,
    Resume,
    exact,
    fitting,
)
from sovereign.runtime.rundir import NodeLock
from sovereign.runtime.shm import unlink
from sovereign.runtime.spec import NodeSpec
from sovereign.runtime.watch import NodeView, Quiet
from sovereign.runtime.wiring import feeders, in_order

POLL_MS = 20
STOP_GRACE_S = 10.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How long the node runs: until asked to end, for `seconds`, or until it has nothing left to do."""

    seconds: float = 0.0
    until_idle: bool = False
    fresh: bool = False


class Supervisor:
    """One node from start to end: `run`."""

    def __init__(self, spec: NodeSpec, options: Options, tell: Tell) -> None:
        self.spec, self.options, self.tell = spec, options, tell
        self._ending = ""
        self.fatal: list[str] = []
        self.started_s = time.monotonic()

    def run(self) -> list[dict[str, Any]]:
        """The whole life; the actors' last rows. SovereignError when the node cannot start."""
        lock = NodeLock(self.spec.run_dir, self.spec.name)
        try:
            return self._live()
        finally:
            lock.release()

    def _live(self) -> list[dict[str, Any]]:
        spec = self.spec
        self.log = file_log(spec.run_dir / "logs" / "supervisor.log", actor="supervisor")
        spec.archive_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        launch.warm()
        if self.options.fresh:
            clear(spec, self._seal_leftovers, self.tell)
        estate = settle(spec)
        if estate.went_on:
            self.tell(f"going on from the rings that generation {estate.generation} left")
        self.control = Control(spec.name, writable=True)
        record = halting.restored(spec)
        self.control.restore(record.epoch, halted=record.halted)
        if record.halted:
            by = record.by or "someone"
            self.tell(f"the node was halted by {by} and starts halted; `sovereign resume` lifts it")
        self.view = NodeView(spec)
        self.quiet = Quiet(self.view)
        self.journal = Journal(spec.name)
        self.alive, self._alive_write = launch.alive_pipe()
        self.actors = {
            one.name: Managed(one, self.control.counters(one.index)) for one in spec.actors
        }
        self.server = ControlServer(spec.run_dir, self._handle)
        started = {"generation": estate.generation, "actors": len(spec.actors), "pid": 0}
        self.journal.write(NodeStarted, {**started, "went_on": int(estate.went_on)})
        kept = {
            number: signal.signal(number, lambda *_: self.end("signal"))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            for one in in_order(spec):
                self._start(self.actors[one.name])
            while not self._ending:
                self._turn()
            return self._finish()
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
            self.server.close()

    def _seal_leftovers(self) -> None:
        """Run only the auditors over the rings that a dead node left, until they have all."""
        auditors = [one for one in self.spec.actors if one.kind == "auditor"]
        control = Control(self.spec.name)
        alive, _ = launch.alive_pipe()
        running = [launch.Launched(self.spec, one.index, alive) for one in auditors]
        for process in running:
            process.signal(0)
        view = NodeView(self.spec)
        deadline = time.monotonic() + STOP_GRACE_S
        while time.monotonic() < deadline and any(view.lag_of(one.name) for one in auditors):
            time.sleep(0.01)
        for process in running:
            process.signal(signal.SIGTERM)
            process.reap()
        control.close()
        view.close()

    def end(self, why: str) -> None:
        """Leave the loop at its next turn."""
        self._ending = self._ending or why

    def _start(self, actor: Managed) -> None:
        actor.start(self.spec, self.alive)
        self.log.info("started", which=actor.spec.name, pid=actor.pid)
        fields = {"actor": actor.spec.index, "pid": actor.pid or 0, "starts": actor.restarts + 1}
        self.journal.write(ActorStarted, {**fields, "name": fitting(actor.spec.name, 48)})

    def _turn(self) -> None:
        """One look at everything."""
        poll = select.poll()
        for fd in self.server.filenos():
            poll.register(fd, select.POLLIN)
        for actor in self.actors.values():
            if actor.process is not None and actor.process.pidfd >= 0:
                poll.register(actor.process.pidfd, select.POLLIN)
        for fd, _ in poll.poll(POLL_MS):
            self.server.on_readable(fd)
        now_ns = time.monotonic_ns()
        for actor in self.actors.values():
            if actor.tick(now_ns):
                self._reap(actor, now_ns)
            if actor.state == BACKOFF and now_ns >= actor.next_start_ns:
                actor.restarts += 1
                self._start(actor)
        self._mind_end()

    def _reap(self, actor: Managed, now_ns: int) -> None:
        """An actor's process has ended."""
        hung = actor.hung
        code = actor.reap(now_ns)
        name = actor.spec.name
        if actor.asked_to_stop or actor.state == STOPPED:
            self.log.info("stopped", which=name, exit_code=code)
            return
        reason = "hung: no heartbeat" if hung else f"exit code {code}"
        self.tell(f"{name} died ({reason}): {actor.state}; see `sovereign logs {name}`")
        self.log.error("died", which=name, exit_code=code, state=actor.state)
        fields = {"actor": actor.spec.index, "pid": 0, "exit_code": code}
        failures = actor.clock.failures(now_ns)
        said = {"name": fitting(name, 48), "reason": fitting(reason, REASON_BYTES)}
        self.journal.write(ActorDied, {**fields, "failures": failures, **said})
        if actor.state == FATAL:
            self._give_up(actor, reason)

    def _give_up(self, actor: Managed, reason: str) -> None:
        """An actor that cannot be kept: nothing may leave the node any more."""
        self.fatal.append(f"{actor.spec.name}: {reason}")
        never_ran = all(one.counters["events"] == 0 for one in self.actors.values())
        if not self.control.halted and not never_ran:
            self._halt("supervisor", f"{actor.spec.name} cannot be kept: {reason}", 0)
            self.tell(f"the node is halted: {actor.spec.name} cannot be kept")
        if never_ran or self.options.until_idle or self.options.seconds:
            self.end("fatal")

    def _mind_end(self) -> None:
        options = self.options
        if options.seconds and time.monotonic() - self.started_s >= options.seconds:
            self.end("time")
        settled = all(one.state in (RUNNING, STOPPED, FATAL) for one in self.actors.values())
        if options.until_idle and settled:
            ended = {one.spec.index for one in self.actors.values() if one.state == STOPPED}
            if self.quiet.look(ended):
                self.end("idle")

    def _finish(self) -> list[dict[str, Any]]:
        """Stop in order, sources first, each after its feeders; unlink what is archived."""
        self.tell(f"stopping ({self._ending})")
        left = feeders(self.spec)
        self.journal.close()
        deadline = time.monotonic() + STOP_GRACE_S
        order = [one.name for one in in_order(self.spec)]
        order.sort(key=lambda name: self.actors[name].spec.kind == "auditor")
        for name in order:
            actor = self.actors[name]
            actor.stop()
            while actor.process is not None:
                if actor.process.ended:
                    actor.reap(time.monotonic_ns())
                elif time.monotonic() > deadline:
                    self.tell(f"{name} does not end: killed")
                    actor.process.signal(signal.SIGKILL)
                    deadline = time.monotonic() + 1
                time.sleep(0.001)
            left.pop(name, None)
        rows = [one.row(halted=self.control.halted) for one in self.actors.values()]
        if is_settled(self.spec):
            for segment in leftovers(self.spec):
                unlink(segment)
        else:
            self.tell("the rings hold what is not archived: `sovereign up` goes on from there")
        return rows

    def _handle(self, request: Request, peer: Peer) -> Any:
        """Answer one question from the control socket."""
        if request.op == "ps":
            return self.status()
        if request.op in ("down", "stop", "start", "restart"):
            said = {"action": fitting(request.op, 16), "actor": fitting(request.actor, 48)}
            self.journal.write(OperatorAction, {"uid": peer.uid, "pid": peer.pid, **said})
        if request.op == "down":
            self.end("down")
            return {"node": self.spec.name}
        if request.op == "halt":
            return self._halt(request.by, request.reason, peer.uid)
        if request.op == "resume":
            return self._resume(request.by, peer.uid)
        if request.op in ("stop", "start", "restart"):
            return self._operate(request.op, self._named(request.actor))
        raise SovereignError(f"no operation is named {request.op!r}", exit_code=2)

    def _named(self, name: str) -> Managed:
        import difflib

        if name in self.actors:
            return self.actors[name]
        close = difflib.get_close_matches(name, self.actors, 1)
        raise SovereignError(
            f"no actor is named {name!r}",
            expected=", ".join(self.actors),
            hint=f"did you mean {close[0]!r}?" if close else "`sovereign ps` lists them",
            exit_code=4,
        )

    def _operate(self, operation: str, actor: Managed) -> dict[str, Any]:
        """Stop, start or restart one actor; answers when it is done."""
        began = time.monotonic_ns()
        if operation != "start":
            self._end_one(actor)
        if operation != "stop" and actor.process is None:
            actor.clock.forget()
            actor.restarts += operation == "restart"
            self._start(actor)
            while actor.process is not None and not actor.process.ended:
                actor.tick(time.monotonic_ns())
                if actor.state == RUNNING:
                    break
                time.sleep(0.000_5)
            if actor.process is None or actor.process.ended:
                raise SovereignError(
                    f"{actor.spec.name} does not start", hint=f"`sovereign logs {actor.spec.name}`"
                )
        took = time.monotonic_ns() - began
        return {"actor": actor.spec.name, "state": actor.state, "pid": actor.pid, "took_ns": took}

    def _end_one(self, actor: Managed) -> None:
        """Drain and end one actor, killing it after the grace."""
        actor.stop()
        deadline = time.monotonic() + STOP_GRACE_S
        while actor.process is not None:
            if actor.process.ended:
                actor.reap(time.monotonic_ns())
            elif time.monotonic() > deadline:
                actor.process.signal(signal.SIGKILL)
            time.sleep(0.000_5)

    def _halt(self, by: str, reason: str, uid: int) -> dict[str, Any]:
        """The kill switch: set the word, wait for the acknowledgements, persist, archive."""
        names = exact(by, BY_BYTES, "--by"), exact(reason, REASON_BYTES, "--reason")
        result = halting.halt(self.control, self.spec, halting.acknowledging(self.spec))
        record = halting.HaltRecord(
            halted=True, epoch=result.epoch, by=by, reason=reason, at_ns=time.time_ns()
        )
        halting.persist(self.spec, record)
        fields = {"epoch": result.epoch, "uid": uid, "by": names[0], "reason": names[1]}
        self.journal.write(Halt, fields)
        self.log.warning("halted", by=by, reason=reason, epoch=result.epoch)
        return {
            "epoch": result.epoch,
            "acknowledged": result.acknowledged,
            "missing": result.missing,
        }

    def _resume(self, by: str, uid: int) -> dict[str, Any]:
        """Lift the halt, by a named person."""
        halting.refuse_if_not_halted(self.control)
        name = exact(by, BY_BYTES, "--by")
        epoch = self.control.epoch
        record = halting.HaltRecord(halted=False, epoch=epoch, by=by, at_ns=time.time_ns())
        halting.persist(self.spec, record)
        self.control.resume()
        self.journal.write(Resume, {"epoch": epoch, "uid": uid, "by": name})
        self.log.warning("resumed", by=by, epoch=epoch)
        return {"epoch": epoch}

    def status(self) -> dict[str, Any]:
        """What `sovereign ps --json` prints."""
        return {
            "node": self.spec.name,
            "halted": self.control.halted,
            "epoch": self.control.epoch,
            "run_dir": str(self.spec.run_dir),
            "archive_dir": str(self.spec.archive_dir),
            "uptime_s": round(time.monotonic() - self.started_s, 3),
            "actors": [one.row(halted=self.control.halted) for one in self.actors.values()],
            "lags": [lag._asdict() for lag in self.view.lags()],
        }
