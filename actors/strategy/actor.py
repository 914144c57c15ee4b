"""The strategy host: one plugin, its State under the commit rule, its messages in one ring.

Guarantees: every event is handled exactly once, whatever kills the process; an exception in a handler ends the actor
with a traceback into the author's file and the event's values, and the event stays unhandled for the next start.
"""

from __future__ import annotations

import traceback
from typing import Any

import msgspec
import numpy as np

from sovereign.actors.strategy import loop
from sovereign.actors.strategy.api import Handler, Strategy
from sovereign.actors.strategy.compiling import compile_handlers, dispatch_table
from sovereign.actors.strategy.identity import PluginVersion, identify
from sovereign.actors.strategy.loading import load_strategy
from sovereign.runtime import limits
from sovereign.runtime.actor import Actor, Types
from sovereign.runtime.errors import PluginError
from sovereign.runtime.host import Host
from sovereign.runtime.message import Message


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
        return tuple(dict.fromkeys(h.takes for h in load_strategy(config.plugin).handlers()))

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
    def check(cls, config: StrategyConfig) -> list[str]:
        """Whether the plugin imports, and its parameters fit."""
        try:
            strategy = load_strategy(config.plugin)
            strategy.handlers()
            strategy.params(config.params)
        except PluginError as error:
            return [str(error)]
        return []

    def __init__(self, host: Host, config: StrategyConfig) -> None:
        super().__init__(host, config)
        self.strategy: type[Strategy] = load_strategy(config.plugin)
        wanted = config.compiled
        self.is_compiled = self.strategy.compiled if wanted is None else wanted

    def setup(self) -> None:
        """Compile, and say in the ring which code handles what follows."""
        self.params = self.strategy.params(self.config.params)
        self._params = np.frombuffer(bytearray(self.params.tobytes().ljust(8, b"\0")), np.uint8)
        self._handlers: dict[int, Handler] = {h.takes.type_id: h for h in self.strategy.handlers()}
        if self.is_compiled:
            self._compiled = compile_handlers(self.strategy)
            self._table = dispatch_table(self._compiled)
            size = max(c.handler.gives.dtype.itemsize * c.handler.most for c in self._compiled)
            self._scratch = np.zeros(size // 8 + 1, np.int64)
            self._result = np.zeros(1, np.int64)
            self._x = np.zeros(8, np.int64)
            self._x[loop.X_RESULT_AT] = self._result.ctypes.data
            self._x[loop.X_SCRATCH_AT] = self._scratch.ctypes.data
            self._x[loop.X_MOST] = max(c.handler.most for c in self._compiled)
            self._x[loop.X_PARAMS_AT] = self._params.ctypes.data
            self._taken = np.zeros(max(1, len(self.host.inputs)), np.int64)
            self._warm()
        identify(self.host, self.strategy)

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
        """The compiled loop, or the same in plain Python."""
        if not self.is_compiled:
            self.host.run_steps(self._python_step)
            return
        if loop.run(*self._arguments()) != 0:
            self._explain(int(self._x[loop.X_BAD_INPUT]), int(self._x[loop.X_BAD_SEQUENCE]))

    def _python_step(self) -> int:
        """One event of one input, in plain Python."""
        for i, reader in enumerate(self.host.inputs):
            most = max(h.most for h in self._handlers.values())
            if reader.available() == 0 or (self.host.output and self.host.output.free < most):
                continue
            self.host.batch(i, 1)
            found = reader.slots(1)
            state = self.host.steps.begin()
            slot = found[0][0] if found else None  # None: overrun, which is counted
            handler = None if slot is None else self._handlers.get(int(slot["type_id"]))
            if handler is not None:
                self._answer(i, slot, handler, state)
            else:
                self.host.counters["ignored"] += 1
            self.host.steps.commit([int(j == i) for j in range(len(self.host.inputs))])
            self.host.counters["events"] += 1
            return 1
        return 0

    def _answer(self, i: int, slot: Any, handler: Handler, state: Any) -> None:
        """Run a handler on the slot and put what it gives."""
        sequence = int(slot["sequence"])
        event = handler.takes.view(bytes(slot["payload"])[: handler.takes.dtype.itemsize])
        outs = handler.gives.array(handler.most)
        out = outs if handler.most > 1 else outs[0]
        for k in range(min(self._call(handler, event, state, out, sequence), handler.most)):
            cause = (self.host.input_specs[i].actor_index, sequence)
            self.host.steps.put(
                handler.gives, outs[k], origin_ns=int(slot["origin_ns"]), cause=cause
            )
            self.host.counters["outputs"] += 1

    def _call(self, handler: Handler, event: Any, state: Any, out: Any, sequence: int) -> int:
        """Run a handler as plain Python; PluginError carries the author's traceback and the values."""
        shown = repr(event), repr(state)
        try:
            return int(handler.function(event, state, self.params, out))
        except Exception as error:
            self.host.counters["errors"] += 1
            frames = traceback.extract_tb(error.__traceback__)[1:]
            raise PluginError(
                f"{self.strategy.__name__}.{handler.name} raised {type(error).__name__}: {error}",
                where=f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "",
                got=f"event {sequence} = {shown[0]} {event.dtype.names}, state = {shown[1]}",
                hint="mend the handler and `sovereign restart` this actor: the event is still unhandled",
            ) from error

    def _explain(self, i: int, sequence: int) -> None:
        """Run the failed batch again in plain Python, on copies, up to the event that raised."""
        reader = self.host.inputs[i]
        state = self.host.store.committed()
        for block in reader.slots(sequence - reader.cursor):
            for slot in block:
                handler = self._handlers.get(int(slot["type_id"]))
                if handler is not None:
                    raw = bytes(slot["payload"])[: handler.takes.dtype.itemsize]
                    event = handler.takes.view(raw)
                    outs = handler.gives.array(handler.most)
                    out = outs if handler.most > 1 else outs[0]
                    self._call(handler, event, state, out, int(slot["sequence"]))
        raise PluginError(
            f"{self.strategy.__name__} raised on event {sequence} when compiled, and not as plain Python",
            hint="compiled arithmetic differs: look for integer overflow and division by zero",
        )
