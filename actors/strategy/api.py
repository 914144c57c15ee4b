"""What a strategy author writes: one class, with one function for each message type.

    class Taker(Strategy):
        class Params(Message):
            threshold: np.float64 = 0.6

        class State(Message):
            sent: np.int64

        @staticmethod
        def on_book(event: BookLevel, state: State, params: Params, out: NewOrder) -> int:
            ...
            return 1            # `out` goes; 0: it does not

A handler that may send several at once says how many: `out: Annotated[NewOrder, 2]`; then `out` is an array of records,
and what is returned is how many of them go, in order.

The annotations wire it: `event` names the type taken, `out` the type given. A handler is deterministic: no clock, no
randomness, no I/O; time comes in as `Tick`. The same function runs compiled, in a test, and in a replay.

Large memory that follows from the events alone, such as an order book, is `Scratch`: `learn_<something>(event, scratch,
params)` keeps it, and handlers read it, between `params` and `out`. It is private to the process and never copied; at a
start the host calls the learners with the last `history` events of each input (None: with all of them).

`migrate(old)`, a static method that returns `State.new(...)`, takes over a State of another layout. docs/strategies.md
has the whole of it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sovereign.actors.strategy.parameters import unfit
from sovereign.actors.strategy.signatures import (
    Handler,
    Learner,
    Route,
    by_type,
    handler_of,
    learner_of,
    where_is,
)
from sovereign.runtime import limits
from sovereign.runtime.errors import PluginError
from sovereign.runtime.message import Message


class Nothing(Message):
    """An empty State or Params."""

    unused: np.uint8 = 0  # type: ignore[assignment]


class Strategy:
    """Base of strategies. `compiled = False` runs the handlers as plain Python."""

    compiled: ClassVar[bool] = True
    history: ClassVar[int | None] = None
    State: ClassVar[type[Message]] = Nothing
    Params: ClassVar[type[Message]] = Nothing
    Scratch: ClassVar[type[Message] | None] = None

    @classmethod
    def handlers(cls) -> tuple[Handler, ...]:
        """The `on_*` functions, by name. PluginError names the one whose annotations do not fit."""
        names = [name for name in dir(cls) if name.startswith("on_")]
        if not names:
            raise PluginError(
                f"strategy {cls.__name__} handles nothing",
                where=where_is(cls),
                expected="a static method on_<something>(event, state, params, out)",
            )
        return tuple(handler_of(cls, name) for name in sorted(names))

    @classmethod
    def learners(cls) -> tuple[Learner, ...]:
        """The `learn_*` functions, by name. PluginError when they and Scratch do not fit each other."""
        names = [name for name in dir(cls) if name.startswith("learn_")]
        form = "a static method learn_<something>(event, scratch, params)"
        if cls.Scratch is None:
            if names:
                raise PluginError(
                    f"{cls.__name__}.{names[0]} has nothing to learn into",
                    where=where_is(cls),
                    expected="a class Scratch(Message) in the strategy",
                )
            return ()
        if not names:
            raise PluginError(
                f"nothing fills the Scratch of {cls.__name__}", where=where_is(cls), expected=form
            )
        if cls.Scratch.dtype.itemsize > limits.SCRATCH_MAX_BYTES:
            raise PluginError(
                f"the Scratch of {cls.__name__} is too large",
                where=where_is(cls),
                got=f"{cls.Scratch.dtype.itemsize} bytes",
                expected=f"at most {limits.SCRATCH_MAX_BYTES} bytes",
            )
        if cls.history is not None and (not isinstance(cls.history, int) or cls.history < 0):
            raise PluginError(
                f"the history of {cls.__name__} is no number of events",
                where=where_is(cls),
                got=repr(cls.history),
                expected="events of each input, 0 or more; None for all of them",
            )
        return tuple(learner_of(cls, name) for name in sorted(names))

    @classmethod
    def routes(cls) -> tuple[Route, ...]:
        """What is called for each message type."""
        return by_type(cls, cls.handlers(), cls.learners())

    @classmethod
    def params(cls, given: dict[str, Any]) -> Any:
        """A Params record from the topology's values. PluginError for a name or a value that does not fit."""
        for _, error in unfit(cls.__name__, cls.Params, given):
            raise error
        return cls.Params.new(**given)
