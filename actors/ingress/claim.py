"""How a decoder fills slots: the claim, and the call by address.

    decode(packet_at, packet_bytes, tables_at, state_at, claim_at) -> messages, or MALFORMED, or TOO_SMALL

A decoder fills payload, type and length of as many slots as the packet has messages. What it must remember are
`STATE_WORDS` words, which commit with the messages: counts (D_*), `OWN_WORDS` of its own from D_OWN on, and the channels
(`channel.py`), whose words it changes through `sequence.arrive` alone. When it returns a negative number, nothing that it
did counts. It never reads outside the packet. The claim's K_CHANNEL says where the packet went, as far as the driver knows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from sovereign.runtime import atomics, kernels, layout, limits
from sovereign.runtime.jit import intrinsic, njit, types

MALFORMED = -1
TOO_SMALL = -2

(K_SLOTS, K_MASK, K_STRIDE, K_NEXT, K_ROOM, K_COUNT, K_CHANNEL, K_UNDO_AT, K_TOUCHED_AT) = range(9)
CLAIM_WORDS = 16

(D_NEXT, D_GAPS, D_DUPLICATES, D_LATE, D_MALFORMED, D_OVERLAPS, D_IMPLAUSIBLE, D_RESETS, D_OVERFLOWS, D_CHANNEL_DROPS,
 D_CHANNELS, D_LAST) = range(12)  # fmt: skip
D_OWN = 16
OWN_WORDS = 8
HEAD_WORDS = D_OWN + OWN_WORDS
CHANNEL_WORDS = 32
STATE_WORDS = HEAD_WORDS + limits.INGRESS_MAX_CHANNELS * CHANNEL_WORDS

SIGNATURE = types.int64(*[types.int64] * 5)


def channel_key(address: int, port: int) -> int:
    """What K_CHANNEL holds for packets to `address` (IPv4; negative: a file's IPv6 destination) and `port`."""
    return address << 16 | port


def compiled_address(decode: Any) -> tuple[int, Any]:
    """Address of a decoder's kernel, and what keeps its code alive. It is compiled once and cached."""
    decode.compile(SIGNATURE)
    result = decode.overloads[SIGNATURE.args]
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name)), decode


@intrinsic
def call_decoder(
    typing: Any,
    address: Any,
    result: Any,
    packet: Any,
    size: Any,
    tables: Any,
    state: Any,
    claim: Any,
) -> Any:
    """Call a decoder by address; its status (0: returned; the value stands at `result`)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, byte = ir.IntType(64), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [word.as_pointer(), byte.as_pointer()] + [word] * 5)
        target = builder.inttoptr(args[0], kind.as_pointer())
        raised = cgutils.alloca_once(builder, byte)
        back = builder.inttoptr(args[1], word.as_pointer())
        return builder.call(target, [back, raised, *args[2:]])

    return types.int32(*[types.int64] * 7), generate


@njit
def next_slot(claim_at: Any, type_id: Any, size: Any) -> Any:
    """The payload's address of the next claimed slot, zeroed and described; 0 when the claim is used up."""
    used = atomics.load_i64(claim_at + 8 * K_COUNT)
    if used >= atomics.load_i64(claim_at + 8 * K_ROOM):
        return np.int64(0)
    stride = atomics.load_i64(claim_at + 8 * K_STRIDE)
    slot = kernels.open_slot(
        atomics.load_i64(claim_at + 8 * K_SLOTS),
        atomics.load_i64(claim_at + 8 * K_MASK),
        stride,
        atomics.load_i64(claim_at + 8 * K_NEXT) + used,
    )
    kernels.describe(slot, type_id, 0, size, 0)
    for at in range(layout.SLOT_PAYLOAD, stride, 8):
        atomics.store_i64(slot + at, 0)
    atomics.store_i64(claim_at + 8 * K_COUNT, used + 1)
    return slot + layout.SLOT_PAYLOAD


@njit
def big_u16(at: Any) -> Any:
    """Big-endian u16."""
    return np.int64(atomics.load_u8(at)) << 8 | np.int64(atomics.load_u8(at + 1))


@njit
def big_u32(at: Any) -> Any:
    """Big-endian u32."""
    return big_u16(at) << 16 | big_u16(at + 2)


@njit
def big_u48(at: Any) -> Any:
    """Big-endian u48."""
    return big_u16(at) << 32 | big_u32(at + 2)


@njit
def big_u64(at: Any) -> Any:
    """Big-endian u64, as i64."""
    return big_u32(at) << 32 | big_u32(at + 4)


@njit
def tally(state_at: Any, word: Any, by: Any) -> Any:
    """Add to one of the decoder's counts (D_*)."""
    at = state_at + 8 * word
    atomics.store_i64(at, atomics.load_i64(at) + by)


@njit
def put_raw(
    claim_at: Any, raw_type: Any, raw_size: Any, source: Any, size: Any, template: Any, seq: Any
) -> Any:
    """Emit a message's bytes as Raw parts; False when the claim is used up."""
    parts = max(1, (size + 63) // 64)
    for part in range(parts):
        to = next_slot(claim_at, raw_type, raw_size)
        if to == 0:
            return False
        atomics.store_u32(to, seq)
        atomics.store_u32(to + 4, size)
        atomics.store_u16(to + 8, template)
        atomics.store_u16(to + 10, part)
        atomics.store_u16(to + 12, parts)
        atomics.copy_bytes(to + 14, source + 64 * part, min(64, size - 64 * part))
    return True
