"""From handlers to addresses: each `on_*` function compiled once, cached on disk, called through its address.

A handler is compiled with Numba's own calling convention (return pointer, exception pointer, then the four record
pointers), whose status word tells an exception from a return: no wrapper is compiled, so a warm start compiles
nothing. `tests/test_strategy_compiled.py` pins that convention for the locked Numba version.
"""

from __future__ import annotations

import dis
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from sovereign.actors.strategy.api import Handler, Strategy, _where
from sovereign.runtime.author import is_theirs
from sovereign.runtime.compile_error import reason_and_place
from sovereign.runtime.errors import PluginError
from sovereign.runtime.jit import intrinsic, njit


class Compiled(NamedTuple):
    """A handler's address, and what keeps its code alive."""

    handler: Handler
    address: int
    keep: Any


@intrinsic
def call_handler(
    typing: Any, address: Any, result: Any, event: Any, state: Any, params: Any, out: Any
) -> Any:
    """Call a compiled handler; its status (0: returned, and the value stands at `result`)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, byte = ir.IntType(64), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [word.as_pointer(), byte.as_pointer()] + [byte] * 4)
        target = builder.inttoptr(args[0], kind.as_pointer())
        raised = cgutils.alloca_once(builder, byte)
        records = [builder.inttoptr(arg, byte) for arg in args[2:]]
        return builder.call(
            target, [builder.inttoptr(args[1], word.as_pointer()), raised, *records]
        )

    return types.int32(*[types.int64] * 6), generate


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
    """The same for a handler whose `out` is an array of `most` records of `size` bytes (Numba's array, flattened)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, byte = ir.IntType(64), ir.IntType(8).as_pointer()
        array = [byte, byte, word, word, byte, word, word]
        kind = ir.FunctionType(
            ir.IntType(32), [word.as_pointer(), byte.as_pointer()] + [byte] * 3 + array
        )
        target = builder.inttoptr(args[0], kind.as_pointer())
        raised = cgutils.alloca_once(builder, byte)
        records = [builder.inttoptr(arg, byte) for arg in args[2:5]]
        nothing = ir.Constant(byte, None)
        data = builder.inttoptr(args[5], byte)
        flat = [nothing, nothing, args[6], args[7], data, args[6], args[7]]
        return builder.call(
            target, [builder.inttoptr(args[1], word.as_pointer()), raised, *records, *flat]
        )

    return types.int32(*[types.int64] * 8), generate


def compile_handlers(strategy: type[Strategy]) -> tuple[Compiled, ...]:
    """Compile every handler. PluginError carries Numba's own message and the place in the author's file."""
    made = []
    for handler in strategy.handlers():
        kinds = (handler.takes, strategy.State, strategy.Params, handler.gives)
        records = [numba.from_dtype(kind.dtype) for kind in kinds]
        if handler.most > 1:
            records[3] = types.Array(records[3], 1, "C")
        signature = types.int64(*records)
        try:
            dispatcher: Any = njit(handler.function)
            dispatcher.compile(signature)
        except (
            Exception
        ) as error:  # Numba's own errors, and what escapes it: KeyError for a field's name
            reason, place = _reason(handler, error)
            raise PluginError(
                f"strategy {strategy.__name__} does not compile: {handler.name}",
                where=place or _where(handler.function),
                got=reason.replace("\n", "\n    "),
                hint="mend it, or set `compiled = False` on the class to run it as plain Python",
            ) from error
        result = dispatcher.overloads[signature.args]
        address = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
        made.append(Compiled(handler, int(address), dispatcher))
    return tuple(made)


def _reason(handler: Handler, error: Exception) -> tuple[str, str]:
    """Why a handler does not compile, and `file:line` where that is known."""
    if not isinstance(error, KeyError):
        return reason_and_place(error, is_theirs)
    field = str(error.args[0])
    code = handler.function.__code__
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


T_TYPE, T_ADDRESS, T_OUT_TYPE, T_OUT_BYTES, T_MOST = range(5)


def dispatch_table(compiled: tuple[Compiled, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """One row a handler: type taken, address, type given, bytes given, most at once."""
    rows = [
        (
            c.handler.takes.type_id,
            c.address,
            c.handler.gives.type_id,
            c.handler.gives.dtype.itemsize,
            c.handler.most,
        )
        for c in compiled
    ]
    return np.array(rows, np.int64)
