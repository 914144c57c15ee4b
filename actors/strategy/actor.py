"""The strategy host: one plugin, its State under the commit rule, its messages in one ring.

Guarantees: every event is handled exactly once, whatever kills the process; an exception in a handler ends the actor
with a traceback into the author's file and the event's values, and the event stays unhandled for the next start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from sovereign.actors.strategy import loop
from sovereign.actors.strategy.api import Strategy
from sovereign.actors.strategy.compiling import compile_routes, dispatch_table
from sovereign.actors.strategy.identity import PluginVersion, identify
from sovereign.actors.strategy.loading import load_strategy
from sovereign.actors.strategy.parameters import unfit
from sovereign.actors.strategy.plain import PlainStrategy
from sovereign.actors.strategy.scratch import (
    ScratchMemory,
    events_so_far,
    warn_when_nothing_is_kept,
)
from sovereign.runtime import commit, limits
from sovereign.runtime.actor import Actor, Types
from sovereign.runtime.errors import PluginError
from sovereign.runtime.host import Host
from sovereign.runtime.message import Message
from sovereign.runtime.ring import SlotArray


class StrategyConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`plugin`: an entry point of `sovereign.strategies`, or `module:Class`. `params`: its parameters."""

    plugin: str
    params: dict[str, int | float] = {}
    compiled: bool | None = None


class StrategyHost(Actor):
    """Kind `strategy`."""

    Config = StrategyConfig
    needs_inputs = (1, limits.ACTOR_MAX_INPUTS)
    compiled = True

    @classmethod
    def takes(cls, config: StrategyConfig) -> Types | None:
        """Anything may stand in its inputs: what it does not handle is counted as ignored."""
        return tuple(one.takes for one in load_strategy(config.plugin).routes())

    @classmethod
    def gives(cls, config: StrategyConfig, upstream: tuple[Types, ...]) -> Types:
        """The types that the handlers' last parameters name, and the record of the plugin's version."""
        handlers = load_strategy(config.plugin).handlers()
        return (*dict.fromkeys(h.gives for h in handlers), PluginVersion)

    @classmethod
    def max_step_outputs(cls, config: StrategyConfig) -> int:
        """The most that one of its handlers gives at once."""
        return max(h.most for h in load_strategy(config.plugin).handlers())

    @classmethod
    def state_type(cls, config: StrategyConfig) -> type[Message]:
        """The plugin's State."""
        return load_strategy(config.plugin).State

    @classmethod
    def migration(cls, config: StrategyConfig) -> Callable[[Any], Any] | None:
        """The plugin's `migrate`, when it has one."""
        found: Callable[[Any], Any] | None = getattr(load_strategy(config.plugin), "migrate", None)
        return found

    @classmethod
    def check(cls, config: StrategyConfig) -> list[str]:
        """Whether the plugin imports, its functions have the right form, and its parameters fit."""
        try:
            strategy = load_strategy(config.plugin)
            strategy.routes()
        except PluginError as error:
            return [f"plugin: {error}"]
        unfit_ones = unfit(strategy.__name__, strategy.Params, config.params)
        return [f"params.{name}: {error}" for name, error in unfit_ones]

    @classmethod
    def compiles(cls, config: StrategyConfig) -> list[str]:
        """Every handler and learner."""
        strategy = load_strategy(config.plugin)
        if not (strategy.compiled if config.compiled is None else config.compiled):
            return []
        try:
            compile_routes(strategy)
        except PluginError as error:
            return [f"plugin: {error}"]
        return []

    def __init__(self, host: Host, config: StrategyConfig) -> None:
        super().__init__(host, config)
        self.strategy: type[Strategy] = load_strategy(config.plugin)
        wanted = config.compiled
        self.is_compiled = self.strategy.compiled if wanted is None else wanted

    def setup(self) -> None:
        """Compile, and rebuild Scratch."""
        if (old := self.host.store.migrated_from) is not None:
            new = self.strategy.State.schema()
            step = int(self.host.store.words[commit.S_STEP])
            self.host.log.info("state migrated", old=old, new=new, step=step)
        self.params = self.strategy.params(self.config.params)
        self._params = np.frombuffer(bytearray(self.params.tobytes().ljust(8, b"\0")), np.uint8)
        kind = self.strategy.Scratch
        self._scratch = None if kind is None else ScratchMemory(kind)
        self._plain = PlainStrategy(self.strategy, self.params, self._scratch)
        if self.is_compiled:
            self._compile()
        if self._scratch is not None:
            warn_when_nothing_is_kept(self.host)
            count = self._rebuild()
            self.host.log.info("scratch rebuilt", events=count)

    def _compile(self) -> None:
        self._compiled = compile_routes(self.strategy)
        self._table = dispatch_table(self._compiled)
        handlers = self.strategy.handlers()
        self._out = np.zeros(
            max(h.gives.dtype.itemsize * h.most for h in handlers) // 8 + 1, np.int64
        )
        self._result = np.zeros(1, np.int64)
        self._x = np.zeros(loop.X_WORDS, np.int64)
        self._x[loop.X_RESULT_AT] = self._result.ctypes.data
        self._x[loop.X_OUT_AT] = self._out.ctypes.data
        self._x[loop.X_MOST] = self._plain.most
        self._x[loop.X_PARAMS_AT] = self._params.ctypes.data
        self._x[loop.X_SCRATCH_AT] = 0 if self._scratch is None else self._scratch.address
        self._taken = np.zeros(max(1, len(self.host.inputs)), np.int64)
        self._warm()

    def _rebuild(self) -> int:
        """Scratch as the committed events made it; how many there were."""
        assert self._scratch is not None
        self._scratch.wipe()
        count = 0
        for _, slots in events_so_far(self.host, self.strategy):
            self._learn(slots)
            count += len(slots)
        return count

    def _learn(self, slots: SlotArray) -> None:
        if not self.is_compiled:
            for slot in slots:
                self._plain.learn(slot)
            return
        at, stride = int(slots.ctypes.data), int(slots.dtype.itemsize)
        learned = int(loop.learn(at, stride, len(slots), self._table, self._x))
        if learned < len(slots):
            self._plain.learn(slots[learned])  # for the traceback
            raise _only_when_compiled(self.strategy, int(slots[learned]["sequence"]))

    def _arguments(self) -> tuple[Any, ...]:
        store = self.host.store
        return (
            self.host.loop.words,
            store.words,
            store.out_words,
            store.readers,
            self._taken,
            self._table,
            self._x,
        )

    def _warm(self) -> None:
        """Enter the loop once with the stop word set, so that it is compiled before the actor is ready."""
        stop = int(self.host.loop.stop[0])
        self.host.loop.stop[0] = 2
        loop.run(*self._arguments())
        self.host.loop.stop[0] = stop

    def run(self) -> None:
        """Say which code handles what follows; then the compiled loop, or the same in plain Python."""
        if not identify(self.host, self.strategy):
            return
        if not self.is_compiled:
            self.host.run_steps(self._python_step)
            return
        if loop.run(*self._arguments()) != 0:
            self._explain(int(self._x[loop.X_BAD_INPUT]), int(self._x[loop.X_BAD_SEQUENCE]))

    def _python_step(self) -> int:
        """One event of each input that has one, in plain Python; each is a step."""
        host, done = self.host, 0
        for i, reader in enumerate(host.inputs):
            if reader.available() == 0:
                continue
            if host.output and host.output.free < self._plain.most:
                host.counters["waits"] += 1
                break
            host.batch(i, 1)
            found = reader.slots(1)
            state = host.steps.begin()
            if found:  # else it was overrun, which is counted
                slot = found[0][0]
                self._answer(i, slot, state)
                host.counters["ignored"] += not self._plain.takes(slot)
            host.steps.commit([int(j == i) for j in range(len(host.inputs))])
            host.counters["events"] += 1
            host.counters["steps"] += 1
            done += 1
        return done

    def _answer(self, i: int, slot: Any, state: Any) -> None:
        """Handle the slot and put what its handler gives."""
        try:
            handler, outs, given = self._plain.handle(slot, state)
        except PluginError:
            self.host.counters["errors"] += 1
            raise
        if handler is None:
            return
        cause = (self.host.input_specs[i].actor_index, int(slot["sequence"]))
        for k in range(given):
            origin_ns = int(slot["origin_ns"])
            self.host.steps.put(handler.gives, outs[k], origin_ns=origin_ns, cause=cause)
            self.host.counters["outputs"] += 1

    def _explain(self, i: int, sequence: int) -> None:
        """Run the failed batch again in plain Python, on copies, up to the event that raised."""
        reader = self.host.inputs[i]
        state = self.host.store.committed()
        self.host.counters["errors"] += 1
        if self._scratch is not None:
            self._rebuild()  # it has learned a part of the batch
        for block in reader.slots(sequence - reader.cursor):
            for slot in block:
                self._plain.handle(slot, state)
        raise _only_when_compiled(self.strategy, sequence)


def _only_when_compiled(strategy: type[Strategy], sequence: int) -> PluginError:
    return PluginError(
        f"{strategy.__name__} raised on event {sequence} when compiled, and not as plain Python",
        hint="compiled arithmetic differs: look for integer overflow and division by zero",
    )
