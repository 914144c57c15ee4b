"""Actors and strategies that misbehave on purpose, for the tests of the supervisor's policies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sovereign.actors.strategy import Strategy
from sovereign.runtime.actor import Actor, Types
from sovereign.runtime.message import Message


class Number(Message):
    """What the source says: 1, 2, 3, …"""

    value: np.int64


class Said(Message):
    """What strategies and echoes say of it."""

    value: np.int64


class SourceConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Numbers 1 to `count`, at most `burst` a step, each step `pause_s` long."""

    count: int
    burst: int = 64
    pause_s: float = 0.0


class Progress(Message):
    value: np.int64


class Source(Actor):
    """Says the numbers, then is done."""

    Config = SourceConfig
    State = Progress
    needs_inputs = (0, 0)
    is_source = True

    @classmethod
    def gives(cls, config: Any, upstream: tuple[Types, ...]) -> Types:
        return (Number,)

    @classmethod
    def max_step_outputs(cls, config: Any) -> int:
        return int(config.burst)

    def setup(self) -> None:
        self.host.counters["done"] = 0

    def step(self) -> int:
        output = self.host.output
        assert output is not None
        state = self.host.store.committed()
        assert state is not None
        said = int(state["value"])
        count = min(self.config.burst, self.config.count - said, output.free)
        if said == self.config.count:
            self.host.counters["done"] = 1
        if count <= 0:
            return 0
        time.sleep(self.config.pause_s)
        working = self.host.steps.begin()
        assert working is not None
        working["value"] = said + count
        for value in range(said + 1, said + count + 1):
            self.host.steps.put(Number, {"value": value}, origin_ns=time.time_ns())
        self.host.steps.commit()
        self.host.counters["events"] += count
        self.host.counters["outputs"] += count
        return count


class SinkConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Appends what it read to `into`. While `broken` exists it fails; `pause_s` a step; `setup_s` to start."""

    into: str = ""
    broken: str = ""
    pause_s: float = 0.0
    setup_s: float = 0.0


class Sink(Actor):
    """Reads, writes down, gives nothing."""

    Config = SinkConfig
    needs_inputs = (1, 1)

    def setup(self) -> None:
        time.sleep(self.config.setup_s)

    def step(self) -> int:
        if self.config.broken and Path(self.config.broken).exists():
            raise RuntimeError("broken on purpose")
        reader = self.host.inputs[0]
        ready = reader.available()
        if not ready:
            return 0
        ready = self.host.batch(0, ready)
        time.sleep(self.config.pause_s)
        with Path(self.config.into).open("a") as file:
            for block in reader.slots(ready):
                for slot in block:
                    value = int.from_bytes(slot["payload"].tobytes()[:8], "little")
                    file.write(f"{value}\n")
        self.host.steps.begin()
        self.host.steps.commit([ready])
        self.host.counters["events"] += ready
        return ready


class Liar(Actor):
    """Says that an event gives one message, and gives up to three: its feedback ring is then too small."""

    needs_inputs = (1, 1)

    @classmethod
    def gives(cls, config: Any, upstream: tuple[Types, ...]) -> Types:
        return (Said,)

    def step(self) -> int:
        reader, output = self.host.inputs[0], self.host.output
        assert output is not None
        if not reader.available() or output.free < 1:
            return 0
        slot = reader.slots(1)[0][0]
        self.host.steps.begin()
        if slot["type_id"] == Number.type_id:
            for _ in range(min(3, output.free)):
                self.host.steps.put(Said, {"value": 1}, origin_ns=1)
        self.host.steps.commit([1])
        self.host.counters["events"] += 1
        return 1


class Repeat(Strategy):
    """Says each number again; raises at `boom`."""

    class Params(Message):
        boom: np.int64 = -1

    @staticmethod
    def on_number(event: Number, state: Message, params: Params, out: Said) -> int:
        if event.value == params.boom:
            raise ValueError("poison")
        out.value = event.value
        return 1


class Dies(Strategy):
    """The same in plain Python; at `boom` its process is gone without a word."""

    compiled = False

    class Params(Message):
        boom: np.int64 = -1

    @staticmethod
    def on_number(event: Number, state: Message, params: Params, out: Said) -> int:
        if event.value == params.boom:
            os.kill(os.getpid(), signal.SIGKILL)
        out.value = event.value
        return 1
