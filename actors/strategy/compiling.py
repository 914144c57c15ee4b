"""From an author's functions to addresses: each compiled once, cached on disk, called through its address.

They are compiled with Numba's own calling convention (return pointer, exception pointer, then the pointers of the
records), whose status word tells an exception from a return: no wrapper is compiled, so a warm start compiles
nothing. `tests/test_strategy_compiled.py` pins that convention for the locked Numba version.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from sovereign.actors.strategy.api import Strategy
from sovereign.actors.strategy.signatures import Route, where_is
from sovereign.runtime.author import is_theirs
from sovereign.runtime.compile_error import reason_and_place
from sovereign.runtime.errors import PluginError
from sovereign.runtime.jit import checked, intrinsic


class Compiled(NamedTuple):
    """The addresses of a route's functions (0: none), and what keeps their code alive."""

    route: Route
    handler: int
    learner: int
    keep: tuple[Any, ...]


def _call(builder: Any, address: Any, result: Any, records: list[Any], rest: list[Any]) -> Any:
    """The call of a compiled function: its status, 0 when it returned and the value stands at `result`."""
    word, byte = ir.IntType(64), ir.IntType(8).as_pointer()
    shapes = [word.as_pointer(), byte.as_pointer(), *[byte] * len(records), *[r.type for r in rest]]
    kind = ir.FunctionType(ir.IntType(32), shapes)
    target = builder.inttoptr(address, kind.as_pointer())
    raised = cgutils.alloca_once(builder, byte)
    pointers = [builder.inttoptr(record, byte) for record in records]
    return builder.call(
        target, [builder.inttoptr(result, word.as_pointer()), raised, *pointers, *rest]
    )


def _flat(builder: Any, data: Any, most: Any, size: Any) -> list[Any]:
    """Numba's array of `most` records of `size` bytes, as it is passed: parent, items, itemsize, data, shape, strides."""
    byte = ir.IntType(8).as_pointer()
    nothing = ir.Constant(byte, None)
    return [nothing, nothing, most, size, builder.inttoptr(data, byte), most, size]


@intrinsic
def call_learner(
    typing: Any, address: Any, result: Any, event: Any, scratch: Any, params: Any
) -> Any:
    """Call a compiled learner; its status."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, args[0], args[1], args[2:], [])

    return types.int32(*[types.int64] * 5), generate


@intrinsic
def call_handler(
    typing: Any, address: Any, result: Any, event: Any, state: Any, params: Any, out: Any
) -> Any:
    """Call a compiled handler; its status (0: returned, and the value stands at `result`)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, args[0], args[1], args[2:], [])

    return types.int32(*[types.int64] * 6), generate


@intrinsic
def call_handler_scratch(
    typing: Any,
    address: Any,
    result: Any,
    event: Any,
    state: Any,
    params: Any,
    scratch: Any,
    out: Any,
) -> Any:
    """The same for a handler that sees scratch."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, args[0], args[1], args[2:], [])

    return types.int32(*[types.int64] * 7), generate


@intrinsic
def call_handler_many(
    typing: Any,
    address: Any,
    result: Any,
    event: Any,
    state: Any,
    params: Any,
    out: Any,
    most: Any,
    size: Any,
) -> Any:
    """The same for a handler whose `out` is an array of `most` records of `size` bytes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, args[0], args[1], args[2:5], _flat(builder, *args[5:]))

    return types.int32(*[types.int64] * 8), generate


@intrinsic
def call_handler_scratch_many(
    typing: Any,
    address: Any,
    result: Any,
    event: Any,
    state: Any,
    params: Any,
    scratch: Any,
    out: Any,
    most: Any,
    size: Any,
) -> Any:
    """The same for a handler that sees scratch and gives several."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, args[0], args[1], args[2:6], _flat(builder, *args[6:]))

    return types.int32(*[types.int64] * 9), generate


def _reason(function: Callable[..., Any], error: Exception) -> tuple[str, str]:
    """Why a handler does not compile, and `file:line` where that is known."""
    if not isinstance(error, KeyError):
        return reason_and_place(error, is_theirs)
    field = str(error.args[0])
    code = function.__code__
    lines = [
        one.positions.lineno
        for one in dis.get_instructions(code)
        if one.opname in ("LOAD_ATTR", "STORE_ATTR", "LOAD_METHOD")
        and one.argval == field
        and one.positions is not None
    ]
    return (
        f"no message of it has a field {field!r}",
        f"{code.co_filename}:{lines[0]}" if lines else "",
    )


def _compile(
    strategy: type[Strategy], function: Callable[..., Any], result: Any, records: list[Any]
) -> tuple[int, Any]:
    """(address, its keeper). PluginError carries Numba's own message and the place in the author's file."""
    signature = result(*records)
    try:
        dispatcher: Any = checked(function)
        dispatcher.compile(signature)
    except Exception as error:  # Numba's own, and what escapes it: KeyError for a field's name
        reason, place = _reason(function, error)
        raise PluginError(
            f"strategy {strategy.__name__} does not compile: {function.__name__}",
            where=place or where_is(function),
            got=reason.replace("\n", "\n    "),
            hint="mend it, or set `compiled = False` on the class to run it as plain Python",
        ) from error
    made = dispatcher.overloads[signature.args]
    address = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
    return int(address), dispatcher


def compile_routes(strategy: type[Strategy]) -> tuple[Compiled, ...]:
    """Compile every function of a strategy. PluginError for one that does not compile."""
    state, params = (numba.from_dtype(kind.dtype) for kind in (strategy.State, strategy.Params))
    scratch = None if strategy.Scratch is None else numba.from_dtype(strategy.Scratch.dtype)
    found = []
    for route in strategy.routes():
        event = numba.from_dtype(route.takes.dtype)
        handler, learner = (0, None), (0, None)
        if route.handler is not None:
            out = numba.from_dtype(route.handler.gives.dtype)
            if route.handler.most > 1:
                out = types.Array(out, 1, "C")
            seen = [scratch] if route.handler.sees_scratch else []
            handler = _compile(
                strategy, route.handler.function, types.int64, [event, state, params, *seen, out]
            )
        if route.learner is not None:
            learner = _compile(
                strategy, route.learner.function, types.void, [event, scratch, params]
            )
        found.append(Compiled(route, handler[0], learner[0], (handler[1], learner[1])))
    return tuple(found)


T_TYPE, T_ADDRESS, T_OUT_TYPE, T_OUT_BYTES, T_MOST, T_SEES_SCRATCH, T_LEARNER = range(7)


def dispatch_table(compiled: tuple[Compiled, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """One row a type taken: its handler, what that gives and how many at most, whether it sees scratch; its learner."""
    rows = []
    for one in compiled:
        handler = one.route.handler
        gives = (0, 0, 0, 0)
        if handler is not None:
            size = handler.gives.dtype.itemsize
            gives = (handler.gives.type_id, size, handler.most, int(handler.sees_scratch))
        rows.append((one.route.takes.type_id, one.handler, *gives, one.learner))
    return np.array(rows, np.int64)
