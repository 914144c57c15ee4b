"""A chain source → bus → strategy → sink whose actors are killed by a seed's choice, and what came out of it.

The source says ticks, the strategy answers each with an order that carries its own count, so what must come out is known
beforehand, byte for byte but for times: order k for tick k. The loops are compiled with a place to die between any two
stores of the commit rule (`runtime/commit.py`), so kills land there and not only where the clock happens to hit.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sovereign.actors.bus.actor import BusConfig
from sovereign.actors.strategy.actor import StrategyConfig
from sovereign.messages.orders import NewOrder
from sovereign.messages.time import Tick
from sovereign.runtime import commit, control, kernels, layout
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.host import load_entry, run_actor
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import create_ring
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.spec import ActorSpec, InputSpec, NodeSpec, ReaderSpec, RingSpec
from sovereign.runtime.writer import Writer

CHAIN = (
    ("bus", "sovereign.actors.bus.actor:Bus", BusConfig()),
    (
        "taker",
        "sovereign.actors.strategy.actor:StrategyHost",
        StrategyConfig(plugin="sovereign.examples.every_tick:EveryTick"),
    ),
)
SLOTS = 256
KILL_POINT, RANDOM_MOMENT, IN_RECOVERY, BOTH = "kill point", "random moment", "in recovery", "both"
WAYS = (KILL_POINT, KILL_POINT, KILL_POINT, RANDOM_MOMENT, IN_RECOVERY, BOTH)


class Outcome(NamedTuple):
    """What a run of kills gave. `recovery_ns`: from the death seen to the successor's first step."""

    kills: dict[str, int]
    messages: int
    lost: int
    repeated: int
    wrong: int
    recovery_ns: list[int]


def _spec(node: str, folder: Path) -> NodeSpec:
    """The chain, its last ring read by `sink`."""
    given: list[tuple[type[Message], ...]] = [(Tick,)]
    names = ["source", *(name for name, _, _ in CHAIN), "sink"]

    def ring(index: int) -> RingSpec:
        stride = layout.stride_for(max(kind.dtype.itemsize for kind in given[index]))
        readers = (ReaderSpec(names[index + 1]),)
        return RingSpec(names[index], SLOTS, stride, given[index], readers, index)

    actors = [ActorSpec(0, "source", "source", "", None, output=ring(0))]
    for index, (name, entry, config) in enumerate(CHAIN, 1):
        given.append(load_entry(entry).gives(config, (given[-1],)))
        inputs = (InputSpec(names[index - 1], index - 1),)
        actors.append(
            ActorSpec(
                index, name, name, entry, config, inputs, ring(index), upstream=(given[index - 1],)
            )
        )
    return NodeSpec(node, tuple(actors), folder, folder / "archive")


class Chain:
    """The running chain; `pump` feeds it and checks what comes out."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="sovereign-chaos-"))
        self.spec = _spec(f"chaos{os.getpid()}", self.folder)
        control.create_node(self.spec.name, len(self.spec.actors))
        for actor in self.spec.actors:
            assert actor.output is not None
            create_ring(actor.output, self.spec.name)
        self.control = control.Control(self.spec.name)
        self.writer = Writer(self.spec.name, "source", (Tick,))
        self.reader = Reader(self.spec.name, "taker", "sink")
        self._countdown = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.int64)
        self.pids: dict[int, int] = {}
        self.asked = self.seen = self.lost = self.repeated = self.wrong = 0
        for index in (1, 2):
            self.start(index)

    def start(self, index: int) -> None:
        """Fork the actor."""
        self._countdown[index] = 0
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                at = int(self._countdown.ctypes.data) + 8 * index
                os.environ["SOVEREIGN_KILL_AT"] = str(at)
                run_actor(self.spec, index)
            os._exit(99)
        self.pids[index] = pid

    def pump(self) -> None:
        """Fill the source's ring, and take and check what the sink was given."""
        room = self.writer.free - self.writer.filled
        for _ in range(min(room, self.random.randrange(1, 64))):
            self.asked += 1
            tick = {"due_ns": self.asked, "period_ns": 1, "number": self.asked}
            fields = dict(zip(Tick.dtype.names or (), tick.values(), strict=True))
            self.writer.put(Tick, fields, origin_ns=self.asked)
        self.writer.publish()
        self.drain()

    def drain(self) -> None:
        """Check each order that is there: the next count, and nothing in it but what the tick gives."""
        ready = self.reader.available()
        for part in self.reader.slots(ready):
            orders = np.ascontiguousarray(part[part["type_id"] == NewOrder.type_id])
            tags = layout.payload(orders, NewOrder.dtype)["client_tag"].astype(np.int64)
            self.wrong += int(np.count_nonzero(orders["origin_ns"] != tags))
            self.wrong += int(np.count_nonzero(orders["cause_actor"] != 1))
            self.wrong += int(np.count_nonzero(orders["cause_seq"].astype(np.int64) != tags))
            for tag in tags.tolist():
                self.lost += max(0, tag - self.seen - 1)
                self.repeated += tag <= self.seen
                self.seen = max(self.seen, tag)
        self.reader.commit(ready)

    def steps(self, index: int) -> int:
        """Commits of the actor, over all its lives."""
        return self.control.counters(index)["steps"]

    def _stepped(self, index: int, before: int) -> bool:
        return self.steps(index) > before

    def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Pump until `condition()`. SovereignError when the chain stands still."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.pump()
            if time.monotonic() > deadline:
                raise SovereignError("the chain stands still", got=f"{self.seen} of {self.asked}")

    def _dead(self, index: int) -> bool:
        pid, status = os.waitpid(self.pids[index], os.WNOHANG)
        if pid and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            log = self.folder / "logs" / f"{self.spec.actors[index].name}.log"
            raise SovereignError("an actor ended by itself", got=log.read_text()[-2000:])
        return pid != 0

    def kill(self, way: str) -> list[int]:
        """One kill (or two at once), and the recovery: ns of each recovery."""
        first = self.random.choice((1, 2))
        victims = [first, 3 - first] if way == BOTH else [first]
        if way == KILL_POINT:
            self._countdown[first] = self.random.randrange(1, 60)
        else:
            begun, wait = time.monotonic(), self.random.random() * 0.004
            self.until(lambda: time.monotonic() - begun > wait)
            for index in victims:
                os.kill(self.pids[index], signal.SIGKILL)
        for index in victims:
            self.until(partial(self._dead, index))
        if way == IN_RECOVERY:
            self.start(first)
            time.sleep(self.random.random() * 0.02)
            os.kill(self.pids[first], signal.SIGKILL)
            self.until(lambda: self._dead(first))
        return self._recover(victims)

    def _recover(self, victims: list[int]) -> list[int]:
        died = time.monotonic_ns()
        before = {index: self.steps(index) for index in victims}
        for index in victims:
            self.start(index)
        took = []
        for index in victims:
            self.until(partial(self._stepped, index, before[index]))
            took.append(time.monotonic_ns() - died)
        return took

    def close(self) -> None:
        """End what runs; remove what was made."""
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        for segment in segments_of(self.spec.name):
            unlink(segment)
        shutil.rmtree(self.folder, ignore_errors=True)


def run(seed: int, kills: int, told: Callable[[int], None] | None = None) -> Outcome:
    """`kills` kills by `seed`; after each `told(done)`. SovereignError when an actor fails or the chain stands still."""
    if not commit.KILL_POINTS:
        raise SovereignError("the loops were compiled without kill points", exit_code=5)
    from sovereign.actors import warm

    assert warm.LOADED and kernels.register_membarrier()
    chain = Chain(seed)
    ways: dict[str, int] = {}
    recovery: list[int] = []
    try:
        chain.until(lambda: chain.seen > 0, 120)
        while sum(ways.values()) < kills:
            way = chain.random.choice(WAYS)
            recovery += chain.kill(way)
            ways[way] = ways.get(way, 0) + (2 if way in (BOTH, IN_RECOVERY) else 1)
            if told is not None:
                told(sum(ways.values()))
        asked = chain.asked
        chain.until(lambda: chain.seen >= asked)
    finally:
        chain.close()
    return Outcome(ways, chain.seen, chain.lost, chain.repeated, chain.wrong, recovery)
