"""Harness 1, the chain: actors forked from this warm process and killed, from inside between two stores or from outside.

The loops are compiled with a place to die between any two stores of the commit rule (`runtime/commit.py`), and the
Python actors have such places between their effects; a word in shared memory counts them down. This process is the
source, the venue, and a reader of every ring.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sovereign.benchmarks.chaos import ways
from sovereign.benchmarks.chaos.forked import ended, fork_actor, pods_of
from sovereign.benchmarks.chaos.receiver import Receiver
from sovereign.benchmarks.chaos.strategies import Count
from sovereign.benchmarks.chaos.ways import Fault
from sovereign.benchmarks.chaos.wired import KILLABLE, SIGNER, SOURCE, node_spec
from sovereign.runtime.control import Control
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.estate import settle
from sovereign.runtime.host import EXIT_FAILED
from sovereign.runtime.reader import Reader
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.spec import NodeSpec, ReaderSpec
from sovereign.runtime.wiring import in_order
from sovereign.runtime.writer import Writer

READER = "sim"
STANDSTILL_S = 60.0
QUIET_LOOKS = 20
IDLE_S = 0.000_4
RATE_PER_S, BURST = 800, 16


def _overheard(spec: NodeSpec) -> NodeSpec:
    """The node with one more reader, us, at every ring."""
    actors = [
        one if one.output is None else replace(
            one, output=replace(one.output, readers=(*one.output.readers, ReaderSpec(READER)))
        )
        for one in spec.actors
    ]  # fmt: skip
    return replace(spec, actors=tuple(actors))


class Chain:
    """One episode. `fault` kills and waits for the recovery; `finish` ends it in order; `close` removes it."""

    def __init__(self, seed: int, episode: int, first: Fault) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sovereign-chaos-"))
        self.receiver = Receiver()
        self._dice = random.Random(f"load {seed} {episode}")
        name, variant = (
            f"chaos{os.getpid()}",
            random.Random(f"variant {seed} {episode}").randrange(4),
        )
        self.spec = _overheard(node_spec(name, self.folder, self.receiver.ports, variant))
        settle(self.spec)
        self._control = Control(name)
        self._writer = Writer(name, SOURCE, (Count,))
        rings = [one.output.name for one in self.spec.actors if one.output is not None]
        self._readers = {ring: Reader(name, ring, READER) for ring in rings}
        self.heard: dict[str, Any] = {ring: hashlib.sha256() for ring in rings}
        self._countdown = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.int64)
        self._pids: dict[str, int] = {}
        self._codes: dict[str, int] = {}
        self._asked, self._feeding, self._filling, self._next_s = 0, True, False, 0.0
        for actor in KILLABLE:
            self._start(actor, first.countdown if actor in first.victims else 0)

    def _index(self, actor: str) -> int:
        return self.spec.actor(actor).index

    def _events(self, actor: str) -> int:
        """Messages that it took, over all its lives."""
        return self._control.counters(self._index(actor))["events"]

    def _start(self, actor: str, countdown: int = 0) -> None:
        index = self._index(actor)
        self._countdown[index] = countdown
        at = int(self._countdown.ctypes.data) + 8 * index
        self._codes.pop(actor, None)
        self._pids[actor] = fork_actor(self.spec, index, at)

    def _pump(self) -> bool:
        """Feed the source's ring; take what the venue and our readers were given. Whether anything moved."""
        count = self._due()
        for _ in range(count):
            self._asked += 1
            self._writer.put(Count, {"number": self._asked}, origin_ns=self._asked)
        self._writer.publish()
        moved = self.receiver.drain() or count > 0
        for ring, reader in self._readers.items():
            ready = reader.available()
            for part in reader.slots(ready) if ready else ():
                self.heard[ring].update(part.tobytes())
            reader.commit(ready)
            moved = moved or ready > 0
        return moved

    def _due(self) -> int:
        """Counts to feed now: in bursts, at a rate that leaves a successor room to start in; while filling, all."""
        if not self._feeding:
            return 0
        now_s = time.monotonic()
        if self._filling:
            self._next_s = now_s
            return self._writer.free
        if now_s < self._next_s:
            return 0
        count = min(self._writer.free, self._dice.randrange(1, 2 * BURST))
        self._next_s = now_s + count / RATE_PER_S
        return count

    def _until(
        self, condition: Callable[[], object], what: str, seconds: float = STANDSTILL_S
    ) -> None:
        """Pump until `condition()`. SovereignError when that takes too long, or an actor ends by itself."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not self._pump():
                time.sleep(IDLE_S)
            self._look()
            if time.monotonic() > deadline:
                raise SovereignError(f"the chain waits in vain for {what}", got=self._said())

    def _look(self) -> None:
        """Reap who has ended; who was neither killed nor lost its pod may not."""
        for actor, pid in list(self._pids.items()):
            code = ended(pid)
            if code is None:
                continue
            del self._pids[actor]
            self._codes[actor] = code
            if code not in (-signal.SIGKILL, 0) and not (actor == SIGNER and code == EXIT_FAILED):
                raise SovereignError(f"{actor} ended by itself, {code}", got=self._log(actor))

    def _log(self, actor: str) -> str:
        log = self.spec.run_dir / "logs" / f"{actor}.log"
        return log.read_text()[-2_000:] if log.exists() else "no log"

    def _said(self) -> str:
        lags = {ring: reader.ring.cursor for ring, reader in self._readers.items()}
        return f"cursors {lags}, living {sorted(self._pids)}"

    def _dead(self, actor: str) -> bool:
        return actor not in self._pids

    def _kill(self, actor: str) -> None:
        """SIGKILL, unless it was quicker itself."""
        if actor in self._pids:
            os.kill(self._pids[actor], signal.SIGKILL)

    def _wait_us(self, delay_us: int) -> None:
        until_s = time.monotonic() + delay_us / 1e6
        self._until(lambda: time.monotonic() >= until_s, "a moment")

    def fault(self, fault: Fault) -> list[int]:
        """Kill as the card says, and start again: ns from each death seen to the successor's first step."""
        actor = fault.victims[0]
        if fault.way == ways.PAUSED:
            return self._pause(actor, fault.delay_us)
        if fault.way == ways.FIRST_START:  # its countdown runs since then
            self._until(partial(self._dead, actor), f"the death of {actor} at its first start", 180)
            took_ns = self._recover(fault.victims)
            self._until(lambda: all(self._events(one) for one in KILLABLE), "the start", 180)
            return took_ns
        if fault.way == ways.RING_FULL:
            self._fill(actor)
        elif fault.countdown:
            self._countdown[self._index(actor)] = fault.countdown
        else:
            self._wait_us(fault.delay_us)
            if fault.way == ways.POD:
                for pod in pods_of(self.folder):
                    os.kill(pod, signal.SIGKILL)
            else:
                for one in fault.victims:
                    self._kill(one)
        for one in fault.victims:
            self._until(partial(self._dead, one), f"the death of {one}")
        if fault.way == ways.IN_RECOVERY:
            self._start(actor, fault.again_countdown)
            if not fault.again_countdown:
                time.sleep(fault.again_us / 1e6)
                self._kill(actor)
            self._until(partial(self._dead, actor), f"the death of {actor} in recovery")
        return self._recover(fault.victims)

    def _pause(self, actor: str, delay_us: int) -> list[int]:
        """Stopped for less than a supervisor would bear: it goes on where it was."""
        before = self._events(actor)
        os.kill(self._pids[actor], signal.SIGSTOP)
        self._wait_us(delay_us)
        os.kill(self._pids[actor], signal.SIGCONT)
        self._until(lambda: self._events(actor) > before, f"{actor} to go on")
        return []

    def _fill(self, actor: str) -> None:
        """Stop a reader until a ring that it reads holds its writer back, then kill it."""
        os.kill(self._pids[actor], signal.SIGSTOP)
        self._filling = True
        self._until(partial(self._full, actor), f"a ring before {actor} to be full")
        self._filling = False
        self._kill(actor)

    def _full(self, actor: str) -> bool:
        for one in self.spec.actor(actor).inputs:
            if one.ring not in self._readers:
                continue
            ring = self._readers[one.ring].ring
            at = next(i for i, reader in enumerate(ring.readers) if reader.name == actor)
            if ring.capacity - (ring.cursor - ring.reader_cursor(at)) < 2:
                return True
        return False

    def _recover(self, victims: tuple[str, ...]) -> list[int]:
        died_ns = time.monotonic_ns()
        before = {one: self._events(one) for one in victims}
        for one in victims:
            self._start(one)
        took = []
        for one in victims:
            self._until(lambda one=one: self._events(one) > before[one], f"{one} to recover")  # type: ignore[misc]
            took.append(time.monotonic_ns() - died_ns)
        if SIGNER in victims:
            self._until(lambda: len(pods_of(self.folder)) == 1, "the dead proxy's pod to be gone")
        return took

    def _quiet(self) -> bool:
        """Whether everything that the source said is through; ticks go on, and cause nothing."""
        rings = [reader.ring for reader in self._readers.values()]
        return all(ring.cursor - ring.lowest_gate() <= 1 for ring in rings)

    def finish(self) -> dict[str, int]:
        """No more input; when all is through, stop in order. The rings' cursors."""
        self._feeding = False
        for _ in range(QUIET_LOOKS):
            self._until(self._quiet, "the end of what was fed")
            self._wait_us(2_000)
        for one in in_order(self.spec):
            if one.name not in self._pids:
                continue
            os.kill(self._pids[one.name], signal.SIGTERM)
            self._until(partial(self._dead, one.name), f"{one.name} to stop")
            if self._codes[one.name] != 0:
                raise SovereignError(f"{one.name} did not stop in order", got=self._log(one.name))
        while self._pump():
            pass
        self.receiver.settle()
        return {ring: reader.ring.cursor for ring, reader in self._readers.items()}

    def close(self, *, keep: bool = False) -> None:
        """End what runs; remove what was made, but for the folder when it is to be looked at."""
        for pid in self._pids.values():
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        self.receiver.close()
        for segment in segments_of(self.spec.name):
            unlink(segment)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
