"""The supervisor: starts the actors in the order of the wiring, keeps them alive, and stops them in order.

Guarantees: one supervisor a node (a lock that dies with it); a dead actor comes back by its policy, a hung one is killed
first; an actor that cannot be kept halts the node, or is detached where the topology says so; an event that kills its
actor again and again is set aside; a full feedback ring halts the node; what was not archived is never unlinked.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from sovereign.runtime import halting, launch
from sovereign.runtime.control import Control
from sovereign.runtime.control_socket import ControlServer
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.estate import Estate, clear, is_settled, leftovers, settle
from sovereign.runtime.log import file_log
from sovereign.runtime.managed import BACKOFF, FATAL, RUNNING, STOPPED, Managed
from sovereign.runtime.node_ring import (
    REASON_BYTES,
    ActorDied,
    ActorStarted,
    Detached,
    Journal,
    NodeStarted,
    Quarantined,
    fitting,
)
from sovereign.runtime.operating import Operations
from sovereign.runtime.options import Options
from sovereign.runtime.poison import InHand
from sovereign.runtime.quarantine import set_aside
from sovereign.runtime.restart import NEVER_NS
from sovereign.runtime.ring import detach_reader
from sovereign.runtime.rundir import NodeLock
from sovereign.runtime.sealing import seal_leftovers
from sovereign.runtime.shm import unlink
from sovereign.runtime.spec import NodeSpec
from sovereign.runtime.stopping import all_begun, stop_in_order
from sovereign.runtime.waiting import Waiting
from sovereign.runtime.watch import NodeView, Quiet
from sovereign.runtime.wiring import in_order

POLL_MS = 20
TELL_LOADING_S = 3.0
BY_SUPERVISOR = "supervisor"
Tell = Callable[[str], None]


class _StoppedEarly(Exception):
    """Asked to end before any actor was started."""


def _processes(actors: list[Managed]) -> list[launch.Launched]:
    return [one.process for one in actors if one.process is not None]


class Supervisor:
    """One node from start to end: `run`."""

    def __init__(self, spec: NodeSpec, options: Options, tell: Tell) -> None:
        self.spec, self.options, self.tell = spec, options, tell
        self.ending = ""
        self.fatal: list[str] = []
        self.ended_halted = False
        self.signals: list[int] = []
        self.ran = False
        self.started_s, self.started_ns = time.monotonic(), time.time_ns()
        self.actors: dict[str, Managed] = {}
        self._estate: Estate | None = None
        self._loading: launch.Loading | None = None
        self._orphans_s = 0.0

    def run(self) -> list[dict[str, Any]]:
        """The whole life; the actors' last rows, none when it was asked to end before it began. SovereignError when
        the node cannot start. `signals`: what it was ended by; `ran`: whether every actor got past its start.
        """
        numbers = (signal.SIGINT, signal.SIGTERM)
        kept = {number: signal.signal(number, self._signalled) for number in numbers}
        try:
            lock = NodeLock(self.spec.run_dir, self.spec.name)
            try:
                return self._live()
            finally:
                self._abandon()
                lock.release()
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, _: object) -> None:
        self.signals.append(number)
        self.end("signal")

    def _go_on(self) -> None:
        if self.ending:
            raise _StoppedEarly

    def _loaded(self) -> None:
        """Until actors can be forked."""
        assert self._loading is not None
        began, told = time.monotonic(), False
        while not self._loading.done(0.05):
            self._go_on()
            if not told and time.monotonic() - began > TELL_LOADING_S:
                told = True
                self.tell("loading; what is compiled for the first time takes about a minute")
        self._go_on()

    def _live(self) -> list[dict[str, Any]]:
        try:
            self._open()
        except BaseException as error:
            if self._loading is not None:
                self._loading.give_up()
            if self._estate is not None and not self._estate.went_on:
                self._estate.take_back()  # nothing is in it: no actor was started
            if isinstance(error, _StoppedEarly):
                return []
            raise
        # What came before belongs to the run before.
        self.started_s, self.started_ns = time.monotonic(), time.time_ns()
        try:
            for one in in_order(self.spec):
                if not self.ending:
                    self.start(self.actors[one.name])
            while not self.ending:
                self._turn()
            return self._finish()
        finally:
            self.server.close()

    def _open(self) -> None:
        """Take what stands in shared memory, or make it; restore the halt word; listen. A signal ends it in between."""
        spec = self.spec
        self.log = file_log(spec.run_dir / "logs" / "supervisor.log", actor="supervisor")
        spec.archive_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        launch.become_subreaper()
        self._loading = launch.Loading()
        self._go_on()
        if self.options.fresh:
            self._loaded()
            clear(spec, lambda: seal_leftovers(spec), self.tell)
            self._go_on()
        estate = self._estate = settle(spec)
        self._go_on()
        if estate.went_on:
            self.tell(f"going on from the rings that generation {estate.generation} left")
        self.control = Control(spec.name, writable=True)
        record = halting.restored(spec)
        # The page's own word may be later: a crash came before it was on disk.
        self.control.restore(record.epoch)
        self.view = NodeView(spec)
        self.quiet, self.waiting = Quiet(self.view), Waiting(self.view)
        self.journal = Journal(spec.name)
        self.alive, self._alive_write = launch.alive_pipe()
        self.actors = {
            one.name: Managed(one, self.control.counters(one.index)) for one in spec.actors
        }
        if estate.went_on:  # nobody writes them now; what they count from here on is this run
            for actor in self.actors.values():
                actor.counters.clear()
        self.operations = Operations(self)
        self._loaded()
        self.server = ControlServer(spec.run_dir, self.operations.handle)
        self.tell(f"node {spec.name}: {len(spec.actors)} actors, {self.options.ended_by} ends it")
        started = {"generation": estate.generation, "actors": len(spec.actors), "pid": os.getpid()}
        self.journal.write(NodeStarted, {**started, "went_on": int(estate.went_on)})
        if self.control.halted and self.options.resume_by:
            self.operations.resume(self.options.resume_by, os.getuid())
        elif self.control.halted:
            self.tell(halting.told(record))

    def _abandon(self) -> None:
        """Leave nothing that runs: after an error of ours no actor may go on without anyone who minds it."""
        left = [one for one in self.actors.values() if one.process is not None]
        if not left:
            return
        self.control.halt()
        self.log.critical("the supervisor fails: the node is halted, its actors are ended")
        for number, wait_s in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 5.0)):
            for one in left:
                if one.process is not None:
                    one.process.signal(number)
            until = time.monotonic() + wait_s
            while time.monotonic() < until and any(not p.ended for p in _processes(left)):
                time.sleep(0.005)
        for process in _processes(left):
            process.reap()

    def end(self, why: str) -> None:
        """Leave the loop at its next turn."""
        self.ending = self.ending or why

    def start(self, actor: Managed) -> None:
        """Fork an actor's process, and archive that. A host that has no room for it counts as a death of the actor."""
        try:
            actor.start(self.spec, self.alive)
        except SovereignError as error:
            self.log.error("cannot be started", which=actor.spec.name, reason=str(error))
            actor.could_not_start(time.monotonic_ns())
            if actor.state == FATAL:
                self._give_up(actor, error.what)
            return
        self.log.info("started", which=actor.spec.name, pid=actor.pid)
        fields = {"actor": actor.spec.index, "pid": actor.pid or 0, "starts": actor.restarts + 1}
        self.journal.write(ActorStarted, {**fields, "name": fitting(actor.spec.name, 48)})

    def serve(self, wait_ms: float) -> None:
        """Answer who asks, and mind every actor that nobody is operating on. Sleeps for `wait_ms` at most."""
        poll = select.poll()
        for fd in self.server.filenos():
            poll.register(fd, select.POLLIN)
        for actor in self.actors.values():
            if actor.process is not None and actor.process.pidfd >= 0:
                poll.register(actor.process.pidfd, select.POLLIN)
        for fd, _ in poll.poll(wait_ms):
            self.server.on_readable(fd)
        if self.ending:
            return
        now_ns = time.monotonic_ns()
        for actor in self.actors.values():
            if actor.busy:
                continue
            if actor.tick(now_ns):
                self._reap(actor, now_ns)
            if actor.state == BACKOFF and now_ns >= actor.next_start_ns:
                actor.restarts += 1
                self.start(actor)

    def _turn(self) -> None:
        """One look at everything."""
        self.serve(POLL_MS)
        self._mind_feedback()
        if time.monotonic() > self._orphans_s:
            self._orphans_s = time.monotonic() + 1
            launch.reap_orphans({one.pid or 0 for one in self.actors.values()})
        self._mind_end()

    def _reap(self, actor: Managed, now_ns: int) -> None:
        """An actor's process has ended."""
        hung, pid = actor.hung, actor.pid or 0
        code = actor.reap(now_ns)
        name = actor.spec.name
        if actor.asked_to_stop or actor.state == STOPPED:
            self.log.info("stopped", which=name, exit_code=code)
            return
        reason = hung or f"exit code {code}"
        self.tell(f"{name} died ({reason}): {actor.state}; see `sovereign logs {name}`")
        self.log.error("died", which=name, exit_code=code, state=actor.state)
        fields = {"actor": actor.spec.index, "pid": pid, "exit_code": code}
        failures = actor.clock.failures(now_ns)
        said = {"name": fitting(name, 48), "reason": fitting(reason, REASON_BYTES)}
        self.journal.write(ActorDied, {**fields, "failures": failures, **said})
        poison = self._suspect(actor)
        if poison is not None:
            reason = self._set_aside(actor, poison) or reason
        if actor.state == FATAL:
            self._give_up(actor, reason)

    def _suspect(self, actor: Managed) -> InHand | None:
        """The event that the dead actor had in hand, when it has killed it too often."""
        event = actor.in_hand()
        if event is None:
            return actor.suspicion.died(None, next_is=0)
        ring = self.view.rings[actor.spec.inputs[event.input].ring]
        index = [reader.name for reader in ring.readers].index(actor.spec.name)
        next_is = ring.reader_cursor(index) + 1
        uncommitted = event if event.sequence >= next_is else None
        return actor.suspicion.died(uncommitted, next_is=next_is)

    def _set_aside(self, actor: Managed, event: InHand) -> str:
        """Quarantine a poison event: skip it at the next start, or give the actor up; why, in the latter case."""
        spec, policy = actor.spec, actor.spec.poison
        source = spec.inputs[event.input]
        path = set_aside(self.spec, spec.name, self.view.rings[source.ring], event)
        skipped = policy.then == "skip"
        self.tell(
            f"event {event.sequence} of {source.ring} killed {spec.name} {policy.kills} times: "
            f"{'skipped' if skipped else 'the actor is given up'}; kept in {path}"
        )
        fields = {"actor": spec.index, "source": source.actor_index, "sequence": event.sequence}
        fields |= {"kills": policy.kills, "skipped": int(skipped)}
        self.journal.write(Quarantined, {**fields, "name": fitting(spec.name, 48)})
        now_ns = time.monotonic_ns()
        if skipped and actor.quarantines.failed(now_ns) != NEVER_NS:
            actor.suspicion.skip(event)
            actor.clock.forget()
            actor.state, actor.next_start_ns = BACKOFF, now_ns
            return ""
        actor.state = FATAL
        return f"event {event.sequence} of {source.ring} kills it; kept in {path}"

    def _give_up(self, actor: Managed, reason: str) -> None:
        """An actor that cannot be kept: nothing may leave the node any more, or no writer waits for it."""
        name = actor.spec.name
        self.fatal.append(f"{name}: {reason}")
        if actor.spec.restart.then == "detach":
            self._detach(actor)
            return
        # What never ran has not traded: the node ends, and the mended one need not be resumed.
        if actor.ever_ran and not self.control.halted:
            self._halt(f"{name} cannot be kept: {reason}")
            self.tell(f"the node is halted: {name} cannot be kept")
        if not actor.ever_ran or self.options.until_idle or self.options.seconds:
            self.end("fatal")

    def _halt(self, reason: str) -> None:
        text = fitting(reason, REASON_BYTES).decode()
        self.operations.halt(BY_SUPERVISOR, text, 0)

    def _detach(self, actor: Managed) -> None:
        """Let the node go on without this gate; what it misses is counted when it is started again."""
        actor.detached = True
        for source in actor.spec.inputs:
            cursor = detach_reader(self.spec.name, source.ring, actor.spec.name)
            fields = {"actor": actor.spec.index, "source": source.actor_index, "cursor": cursor}
            self.journal.write(Detached, {**fields, "name": fitting(actor.spec.name, 48)})
        self.tell(f"{actor.spec.name} is detached: its writers wait for it no more")

    def _mind_feedback(self) -> None:
        """What cannot be held back halts the node: nobody may wait on a full feedback ring."""
        if self.control.halted:
            return
        for name, reader in self.view.full_feedback():
            self._halt(f"the feedback ring of {name} is full: {reader} is behind")
            self.tell(
                f"the node is halted: the feedback ring of {name} is full, {reader} is behind"
            )
            return

    def _mind_end(self) -> None:
        options = self.options
        if options.seconds and time.monotonic() - self.started_s >= options.seconds:
            self.end("time")
        self.ran = self.ran or all_begun(self)
        settled = all(one.state in (RUNNING, STOPPED, FATAL) for one in self.actors.values())
        if options.until_idle and self.ran and (why := self.waiting.look(time.monotonic())):
            self.tell(why)
        if options.until_idle and settled:
            over = (STOPPED, FATAL)
            ended = {one.spec.index for one in self.actors.values() if one.state in over}
            if self.quiet.look(ended):
                self.end("idle")

    def _finish(self) -> list[dict[str, Any]]:
        """Stop in order, sources first, each after its feeders; unlink what is archived."""
        self.tell(f"stopping ({self.ending})")
        stop_in_order(self)
        self.journal.close()
        self.ended_halted = self.control.halted
        rows = [one.row(halted=self.control.halted) for one in self.actors.values()]
        if is_settled(self.spec):
            for segment in leftovers(self.spec):
                unlink(segment)
        else:
            self.tell("the rings hold what is not archived: `sovereign up` goes on from there")
        return rows

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
