"""Loads, stores and fences on raw addresses, for compiled loops.

What each guarantees is LLVM's (LangRef, "Atomic Memory Ordering Constraints"):

- `load_acquire`: nothing after it in program order moves before it.
- `store_release`: nothing before it in program order moves after it.
- `fence_acquire` / `fence_release` / `fence_full`: the same between any accesses.

Right on x86-64 and on AArch64. Addresses are int64; an address that is not mapped kills the process.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from sovereign.runtime.jit import external, intrinsic

_I64 = ir.IntType(64)


def _pointer(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


@intrinsic
def load_acquire(typing: Any, address: Any) -> Any:
    """u64 at `address`, acquire."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(builder, args[0], _I64), "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def store_release(typing: Any, address: Any, value: Any) -> Any:
    """Store a u64 at `address`, release."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[1], _pointer(builder, args[0], _I64), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _fence(ordering: str) -> Any:
    def typed(typing: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.fence(ordering)
            return context.get_dummy_value()

        return types.void(), generate

    return typed


@intrinsic
def fence_acquire(typing: Any) -> Any:
    """No load before it moves after a later access."""
    return _fence("acquire")(typing)


@intrinsic
def fence_release(typing: Any) -> Any:
    """No store after it moves before an earlier access."""
    return _fence("release")(typing)


@intrinsic
def fence_full(typing: Any) -> Any:
    """Sequentially consistent fence (what a parked reader and its writer need)."""
    return _fence("seq_cst")(typing)


def _loader(kind: Any, bits: int) -> Any:
    def typed(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(_pointer(builder, args[0], ir.IntType(bits)), align=1)
            return value

        return kind(types.int64), generate

    return typed


def _storer(bits: int) -> Any:
    def typed(typing: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            small = args[1] if bits == 64 else builder.trunc(args[1], ir.IntType(bits))
            builder.store(small, _pointer(builder, args[0], ir.IntType(bits)), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return typed


@intrinsic
def load_u8(typing: Any, address: Any) -> Any:
    """Plain load, any alignment."""
    return _loader(types.uint8, 8)(typing, address)


@intrinsic
def load_u16(typing: Any, address: Any) -> Any:
    """Plain load, any alignment, host byte order."""
    return _loader(types.uint16, 16)(typing, address)


@intrinsic
def load_u32(typing: Any, address: Any) -> Any:
    """Plain load, any alignment, host byte order."""
    return _loader(types.uint32, 32)(typing, address)


@intrinsic
def load_i64(typing: Any, address: Any) -> Any:
    """Plain load, any alignment, host byte order."""
    return _loader(types.int64, 64)(typing, address)


@intrinsic
def store_u8(typing: Any, address: Any, value: Any) -> Any:
    """Plain store of the low 8 bits."""
    return _storer(8)(typing, address, value)


@intrinsic
def store_u16(typing: Any, address: Any, value: Any) -> Any:
    """Plain store of the low 16 bits."""
    return _storer(16)(typing, address, value)


@intrinsic
def store_u32(typing: Any, address: Any, value: Any) -> Any:
    """Plain store of the low 32 bits."""
    return _storer(32)(typing, address, value)


@intrinsic
def store_i64(typing: Any, address: Any, value: Any) -> Any:
    """Plain store of 64 bits."""
    return _storer(64)(typing, address, value)


@intrinsic
def copy_bytes(typing: Any, target: Any, source: Any, count: Any) -> Any:
    """memcpy of `count` bytes between addresses that do not overlap."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8)
        kind = ir.FunctionType(
            ir.VoidType(), [byte.as_pointer(), byte.as_pointer(), _I64, ir.IntType(1)]
        )
        name = "llvm.memcpy.p0i8.p0i8.i64"
        module = builder.module
        function = module.globals.get(name) or ir.Function(module, kind, name)
        builder.call(
            function,
            [
                _pointer(builder, args[0], byte),
                _pointer(builder, args[1], byte),
                args[2],
                ir.Constant(ir.IntType(1), 0),
            ],
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def pause(typing: Any) -> Any:
    """Tell the core that this is a spin loop (`pause` on x86-64, `yield` on AArch64)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        module = builder.module
        arm = "aarch64" in module.triple
        name = "llvm.aarch64.hint" if arm else "llvm.x86.sse2.pause"
        words = [ir.IntType(32)] if arm else []
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(ir.VoidType(), words), name
        )
        builder.call(function, [ir.Constant(word, 1) for word in words])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line at `address`, to read; harmless when it is not mapped."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        module, name = builder.module, "llvm.prefetch.p0"
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(ir.VoidType(), [byte, word, word, word]), name
        )
        pointer = _pointer(builder, args[0], ir.IntType(8))
        builder.call(function, [pointer, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


sched_yield = external("sched_yield", types.int32())
