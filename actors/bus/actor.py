"""The bus: merges rings into one total order, here and nowhere else, so strategy and auditor see the same.

Guarantees: each input message once, in its input's order; its origin time kept, its cause the input's slot. Ticks
come at the period that the topology names, with times that are multiples of it and never go back, whatever happens to
the host's clock. A period without its tick (the ring was full, the bus was not running) is counted: `ticks_missed`.
"""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
import numpy as np

from sovereign.actors.bus import loop
from sovereign.messages.time import Tick
from sovereign.runtime import limits
from sovereign.runtime.actor import Actor, Types
from sovereign.runtime.message import Message


class BusConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`tick_ns`: period of the ticks that the bus inserts, ns; 0: none."""

    tick_ns: Annotated[int, msgspec.Meta(ge=0, le=limits.TICK_MAX_NS)] = 0


class Ticks(Message):
    """The bus's state: how many ticks there were, when the last one was (UTC, ns), and how many periods had none."""

    number: np.int64
    last_ns: np.int64
    missed: np.int64


class Bus(Actor):
    """Kind `bus`."""

    Config = BusConfig
    State = Ticks
    needs_inputs = (1, limits.ACTOR_MAX_INPUTS)
    compiled = True

    @classmethod
    def gives(cls, config: BusConfig, upstream: tuple[Types, ...]) -> Types:
        """All that its inputs carry, and ticks when they are asked for."""
        kinds = dict.fromkeys(kind for kinds in upstream for kind in kinds)
        if config.tick_ns:
            kinds[Tick] = None
        return tuple(kinds)

    @classmethod
    def check(cls, config: BusConfig) -> list[str]:
        """A period below a microsecond is a mistake in the unit."""
        if config.tick_ns and config.tick_ns < limits.TICK_MIN_NS:
            return [
                f"tick_ns: a period of {config.tick_ns} ns is below {limits.TICK_MIN_NS:_} ns\n"
                "  fix: a period of milliseconds is usual: tick_ns = 1_000_000"
            ]
        return []

    def setup(self) -> None:
        """Compile the loop by entering it with the stop word set."""
        inputs = self.host.input_specs
        self._order = np.array(
            sorted(range(len(inputs)), key=lambda i: not inputs[i].feedback), np.int64
        )
        self._taken = np.zeros(len(inputs), np.int64)
        self._b = np.array(
            [
                self.config.tick_ns,
                Tick.type_id,
                Tick.dtype.itemsize,
                self.host.counters.at("ticks"),
                self.host.counters.at("ticks_missed"),
                self._offset_ns(),
            ],
            np.int64,
        )
        stop = int(self.host.loop.stop[0])
        self.host.loop.stop[0] = 2
        self.run()
        self.host.loop.stop[0] = stop

    def _offset_ns(self) -> int:
        """UTC less CLOCK_MONOTONIC, ns; where UTC stands before the last tick, ticks go on from that one."""
        state = self.host.store.committed()
        last_ns = int(state["last_ns"]) if state is not None else 0
        steady_ns = time.monotonic_ns()
        return max(time.time_ns(), last_ns) - steady_ns

    def run(self) -> None:
        """The compiled loop."""
        store = self.host.store
        loop.run(
            self.host.loop.words,
            store.words,
            store.out_words,
            store.readers,
            self._taken,
            self._order,
            self._b,
        )
