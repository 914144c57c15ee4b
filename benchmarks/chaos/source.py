"""The source under a supervisor: counts at a steady rate, under the commit rule like everyone else."""

from __future__ import annotations

import time

import msgspec
import numpy as np

from sovereign.benchmarks.chaos.strategies import Count
from sovereign.runtime.actor import Actor, Types
from sovereign.runtime.message import Message

BATCH = 32


class SourceConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`rate_per_s`: counts a second."""

    rate_per_s: int = 400


class Counted(Message):
    """The newest count."""

    number: np.int64


class Source(Actor):
    """Kind `sovereign.benchmarks.chaos.source:Source`. The pace is the clock's, the content is not."""

    Config = SourceConfig
    State = Counted
    needs_inputs = (0, 0)
    is_source = True

    @classmethod
    def gives(cls, config: SourceConfig, upstream: tuple[Types, ...]) -> Types:
        """Counts."""
        return (Count,)

    @classmethod
    def max_step_outputs(cls, config: SourceConfig) -> int:
        """One batch."""
        return BATCH

    def setup(self) -> None:
        """The pace begins with the process."""
        self._began_s, self._said = time.monotonic(), 0

    def step(self) -> int:
        """What is due by the clock and fits."""
        output = self.host.output
        assert output is not None
        due = int((time.monotonic() - self._began_s) * self.config.rate_per_s) - self._said
        count = min(due, output.free, BATCH)
        if count <= 0:
            return 0
        state = self.host.steps.begin()
        assert state is not None
        for _ in range(count):
            state["number"] += 1
            record = {"number": int(state["number"])}
            self.host.steps.put(Count, record, origin_ns=time.time_ns())
        self.host.steps.commit()
        self._said += count
        self.host.counters["events"] += count
        self.host.counters["outputs"] += count
        return count
