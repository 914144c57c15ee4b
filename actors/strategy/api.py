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
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sovereign.runtime import limits
from sovereign.runtime.errors import PluginError
from sovereign.runtime.message import Message


class Nothing(Message):
    """An empty State or Params."""

    unused: np.uint8 = 0  # type: ignore[assignment]


class Handler(NamedTuple):
    """One `on_*` function and the types that its annotations name."""

    name: str
    function: Callable[..., int]
    takes: type[Message]
    gives: type[Message]
    most: int = 1


class Strategy:
    """Base of strategies. `compiled = False` runs the handlers as plain Python."""

    compiled: ClassVar[bool] = True
    State: ClassVar[type[Message]] = Nothing
    Params: ClassVar[type[Message]] = Nothing

    @classmethod
    def handlers(cls) -> tuple[Handler, ...]:
        """The `on_*` functions, by name. PluginError names the one whose annotations do not fit."""
        names = [name for name in dir(cls) if name.startswith("on_")]
        if not names:
            raise PluginError(
                f"strategy {cls.__name__} handles nothing",
                where=_where(cls),
                expected="a static method on_<something>(event, state, params, out)",
            )
        return tuple(cls._handler(name) for name in sorted(names))

    @classmethod
    def _handler(cls, name: str) -> Handler:
        raw = inspect.getattr_static(cls, name)
        function = raw.__func__ if isinstance(raw, staticmethod) else raw
        scope = {
            **vars(inspect.getmodule(cls)),
            **{k: getattr(cls, k) for k in ("State", "Params")},
        }
        try:
            hints = typing.get_type_hints(function, scope, include_extras=True)
        except NameError as error:
            raise PluginError(
                f"{cls.__name__}.{name}: an annotation does not resolve: {error}",
                where=_where(function),
            ) from error
        words = list(inspect.signature(function).parameters)
        if len(words) != 4 or not isinstance(raw, staticmethod):
            raise PluginError(
                f"{cls.__name__}.{name} has another form",
                where=_where(function),
                got=f"({', '.join(words)})",
                expected="a @staticmethod with (event, state, params, out)",
            )
        given, most = hints.get(words[3]), 1
        if typing.get_origin(given) is typing.Annotated:
            given, most = typing.get_args(given)[:2]
        kinds = hints.get(words[0]), given
        for word, kind in zip((words[0], words[3]), kinds, strict=True):
            if not (isinstance(kind, type) and issubclass(kind, Message)):
                raise PluginError(
                    f"{cls.__name__}.{name}: parameter {word!r} names no message type",
                    where=_where(function),
                    got=str(kind),
                    expected="a subclass of Message as its annotation",
                )
        takes, gives = typing.cast(tuple[type[Message], type[Message]], kinds)
        if not 1 <= most <= limits.STEP_MAX_OUTPUTS_PER_EVENT:
            raise PluginError(
                f"{cls.__name__}.{name} gives {most} messages at once",
                where=_where(function),
                expected=f"1 to {limits.STEP_MAX_OUTPUTS_PER_EVENT}",
            )
        return Handler(name, function, takes, gives, most)

    @classmethod
    def params(cls, given: dict[str, Any]) -> Any:
        """A Params record from the topology's values. PluginError for a name or a value that does not fit."""
        known = cls.Params.dtype.names or ()
        for name, value in given.items():
            if name not in known:
                raise PluginError(
                    f"strategy {cls.__name__} has no parameter {name!r}", expected=", ".join(known)
                )
            if not isinstance(value, int | float):
                raise PluginError(
                    f"parameter {name!r} of {cls.__name__} is no number", got=repr(value)
                )
        missing = [name for name in known if name not in {**cls.Params.defaults, **given}]
        if missing:
            raise PluginError(
                f"strategy {cls.__name__} needs the parameter {missing[0]!r}",
                hint=f"params = {{ {missing[0]} = … }}",
            )
        try:
            return cls.Params.new(**given)
        except (OverflowError, ValueError, TypeError) as error:
            raise PluginError(f"a parameter of {cls.__name__} does not fit: {error}") from error


def _where(thing: Any) -> str:
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return str(thing)
