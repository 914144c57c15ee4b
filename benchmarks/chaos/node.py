"""Harness 2, the node: `sovereign up` in a process of its own, its supervisor real, killed from outside.

Here die: actors (the supervisor brings them back), an actor that hangs (it kills it first), the pod, and the supervisor
itself, after which `up` goes on from the rings.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sovereign.benchmarks.chaos import ways
from sovereign.benchmarks.chaos.forked import pods_of
from sovereign.benchmarks.chaos.receiver import Receiver
from sovereign.benchmarks.chaos.ways import Fault
from sovereign.benchmarks.chaos.wired import (
    HEARTBEAT_LIMIT_NS,
    KILLABLE,
    SIGNER,
    SOURCE,
    node_spec,
)
from sovereign.runtime.control import Control
from sovereign.runtime.control_socket import Request, ask
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.ring import open_ring
from sovereign.runtime.shm import segments_of, unlink

STANDSTILL_S = 90.0
QUIET_LOOKS = 10
_OWN_WORDS = ("SOVEREIGN_KILL_POINTS", "SOVEREIGN_KILL_AT", "NUMBA_CACHE_DIR")


def _signal(pidfd: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def _over(pidfd: int) -> bool:
    """Whether the process has ended, its last thread too."""
    return bool(select.select([pidfd], [], [], 0)[0])


class Node:
    """One node under its supervisor. The same verbs as `Chain`."""

    def __init__(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sovereign-chaos-"))
        self.receiver = Receiver()
        name, variant = f"chaosn{os.getpid()}", random.Random(f"variant {seed} node").randrange(4)
        self.spec = node_spec(name, self.folder, self.receiver.ports, variant)
        self.heard: dict[str, Any] = {}
        self._env = {k: v for k, v in os.environ.items() if k not in _OWN_WORDS}
        self._env["SOVEREIGN_RUN_DIR"] = str(self.folder / "run")
        self._up = self._start_up()
        self._until(self._running, "every actor to run", 240)
        self._control = Control(name)
        rings = [one.output.name for one in self.spec.actors if one.output is not None]
        self._rings = {ring: open_ring(name, ring) for ring in rings}
        self._until(lambda: all(self._count(one) for one in KILLABLE), "the first events")

    def _start_up(self) -> subprocess.Popen[bytes]:
        words = (sys.executable, "-P", "-m", "sovereign.cli.main", "up")
        with (self.folder / "up.log").open("ab") as log:
            return subprocess.Popen(
                (*words, str(self.spec.source_path)), env=self._env, stdout=log, stderr=log
            )

    def _ps(self) -> dict[str, Any]:
        """Rows by actor; empty while the supervisor cannot answer."""
        try:
            rows = ask(self.spec.run_dir, Request(op="ps"))["actors"]
        except (SovereignError, OSError):
            return {}
        found = {row["actor"]: row for row in rows}
        if fatal := [name for name, row in found.items() if row["state"] == "FATAL"]:
            raise SovereignError(f"{fatal[0]} could not be kept", got=self._log(fatal[0]))
        return found

    def _running(self) -> bool:
        rows = self._ps()
        return bool(rows) and all(row["state"] == "RUNNING" for row in rows.values())

    def _log(self, actor: str) -> str:
        log = self.spec.run_dir / "logs" / f"{actor}.log"
        return log.read_text()[-2_000:] if log.exists() else "no log"

    def _count(self, actor: str, counter: str = "events") -> int:
        return self._control.counters(self.spec.actor(actor).index)[counter]

    def _pidfd(self, actor: str) -> int:
        """The process that runs now; waits until there is one."""
        rows: dict[str, Any] = {}

        def there() -> bool:
            rows.update(self._ps())
            return bool(rows.get(actor, {}).get("pid"))

        self._until(there, f"a process of {actor}")
        return os.pidfd_open(rows[actor]["pid"])

    def _until(
        self, condition: Callable[[], object], what: str, seconds: float = STANDSTILL_S
    ) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            self.receiver.drain()
            if self._up.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "up.log").read_text()[-2_000:]
                raise SovereignError(f"the node waits in vain for {what}", got=said)
            time.sleep(0.000_5)

    def _wait_us(self, delay_us: int) -> None:
        until_s = time.monotonic() + delay_us / 1e6
        self._until(lambda: time.monotonic() >= until_s, "a moment")

    def fault(self, fault: Fault) -> list[int]:
        """Kill as the card says: ns from each death to the successor's first step."""
        self._until(self._running, "every actor to run")
        if fault.way == ways.SUPERVISOR:
            return self._orphan(fault)
        if fault.way == ways.SUPERVISOR_TWICE:
            return self._orphan_twice(fault)
        starts = {one: self._count(one, "starts") for one in fault.victims}
        if fault.way == ways.PAUSED:
            return self._pause(fault.victims[0], fault.delay_us)
        doomed = {one: self._pidfd(one) for one in fault.victims}
        self._wait_us(fault.delay_us)
        if fault.way == ways.POD:
            for pod in pods_of(self.folder):
                os.kill(pod, signal.SIGKILL)
        else:
            for pidfd in doomed.values():
                _signal(pidfd, signal.SIGSTOP if fault.way == ways.HUNG else signal.SIGKILL)
        died = {one: self._death(one, pidfd) for one, pidfd in doomed.items()}
        if fault.way == ways.IN_RECOVERY:
            one = fault.victims[0]
            self._until(partial(self._again, one, starts[one]), f"{one} to start again")
            starts[one] = self._count(one, "starts")
            pidfd = self._pidfd(one)
            self._wait_us(fault.again_us)
            _signal(pidfd, signal.SIGKILL)
            died[one] = self._death(one, pidfd)
        return [self._stepped(one, starts[one]) - died_ns for one, died_ns in died.items()]

    def _death(self, actor: str, pidfd: int) -> int:
        """CLOCK_MONOTONIC ns of its end."""
        self._until(partial(_over, pidfd), f"the death of {actor}")
        os.close(pidfd)
        return time.monotonic_ns()

    def _again(self, actor: str, starts: int) -> bool:
        return self._count(actor, "starts") > starts

    def _stepped(self, actor: str, starts: int) -> int:
        """CLOCK_MONOTONIC ns of the first step of a life after the `starts`-th."""
        self._until(partial(self._again, actor, starts), f"{actor} to start again")
        before = self._count(actor)
        self._until(lambda: self._count(actor) > before, f"{actor} to step")
        at_ns = time.monotonic_ns()
        if actor == SIGNER:
            self._until(lambda: len(pods_of(self.folder)) == 1, "the dead proxy's pod to be gone")
        return at_ns

    def _pause(self, actor: str, delay_us: int) -> list[int]:
        """Stopped for less than its heartbeat's limit: the same process goes on."""
        pidfd, starts = self._pidfd(actor), self._count(actor, "starts")
        began_ns = time.monotonic_ns()
        _signal(pidfd, signal.SIGSTOP)
        self._wait_us(delay_us)
        _signal(pidfd, signal.SIGCONT)
        took_ns, before = time.monotonic_ns() - began_ns, self._count(actor)
        self._until(lambda: self._count(actor) > before, f"{actor} to go on")
        os.close(pidfd)
        if self._again(actor, starts) and took_ns < HEARTBEAT_LIMIT_NS // 2:
            raise SovereignError(f"{actor} was killed for a pause of {took_ns} ns")
        return []

    def _orphan(self, fault: Fault) -> list[int]:
        """Kill the supervisor, and `up` at once, while one of the old one's actors is held up and still there."""
        late = self._pidfd(fault.victims[0])
        self._wait_us(fault.delay_us)
        starts = self._starts()
        _signal(late, signal.SIGSTOP)
        died_ns = self._up_again()
        self._wait_us(fault.again_us)
        _signal(late, signal.SIGCONT)
        os.close(late)
        return [max(self._stepped(one, starts[one]) for one in KILLABLE) - died_ns]

    def _orphan_twice(self, fault: Fault) -> list[int]:
        """Kill the supervisor, and the next one while it starts."""
        self._wait_us(fault.delay_us)
        self._up_again()
        self._wait_us(fault.again_us)
        died_ns = self._up_again()
        self._until(self._running, "every actor to run")
        before = {one: self._count(one) for one in KILLABLE}
        for one in KILLABLE:
            self._until(lambda one=one: self._count(one) > before[one], f"{one} to step")  # type: ignore[misc]
        return [time.monotonic_ns() - died_ns]

    def _starts(self) -> dict[str, int]:
        return {one: self._count(one, "starts") for one in KILLABLE}

    def _up_again(self) -> int:
        """Kill the supervisor and start another; CLOCK_MONOTONIC ns of the death."""
        self._up.kill()
        self._up.wait()
        died_ns = time.monotonic_ns()
        self._up = self._start_up()
        return died_ns

    def _quiet(self) -> bool:
        return all(ring.cursor - ring.lowest_gate() <= 1 for ring in self._rings.values())

    def finish(self) -> dict[str, int]:
        """Stop the source; when all is through, `sovereign down`. The rings' cursors."""
        self._until(self._running, "every actor to run")
        ask(self.spec.run_dir, Request(op="stop", actor=SOURCE))
        for _ in range(QUIET_LOOKS):
            self._until(self._quiet, "the end of what was fed")
            self._wait_us(5_000)
        ask(self.spec.run_dir, Request(op="down"))
        deadline = time.monotonic() + STANDSTILL_S
        while self._up.poll() is None and time.monotonic() < deadline:
            self.receiver.drain()
            time.sleep(0.001)
        if self._up.poll() != 0 or segments_of(self.spec.name):
            said = (self.folder / "up.log").read_text()[-2_000:]
            raise SovereignError(f"the node did not end in order: {self._up.poll()}", got=said)
        self.receiver.settle()
        return {name: ring.cursor for name, ring in self._rings.items()}

    def close(self, *, keep: bool = False) -> None:
        """End what runs; remove what was made, but for the folder when it is to be looked at."""
        if self._up.poll() is None:
            self._up.terminate()
            try:
                self._up.wait(20)
            except subprocess.TimeoutExpired:
                self._up.kill()
                self._up.wait()
        self.receiver.close()
        for segment in segments_of(self.spec.name):
            unlink(segment)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
