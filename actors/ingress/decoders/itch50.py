"""Nasdaq TotalView-ITCH 5.0 over MoldUDP64, and as a plain file of length-prefixed messages.

Source: Nasdaq TotalView-ITCH 5.0 specification, MoldUDP64 1.00. Orders become OrderEvent, trades Trade, the rest Raw.
Prices have four decimals; times are ns since midnight of the trading day. A type whose length is not the
specification's is another feed's, and becomes Raw. Each MoldUDP64 session has numbers of its own, from 1 on; `packet_seq`
is a message's number, its low 32 bits. A quantity of 2**63 and more is given as 0, and counted (`overflows`).
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sovereign.actors.ingress.claim import (
    D_NEXT,
    D_OVERFLOWS,
    K_COUNT,
    MALFORMED,
    TOO_SMALL,
    big_u16,
    big_u32,
    big_u48,
    big_u64,
    next_slot,
    put_raw,
    tally,
)
from sovereign.actors.ingress.decoder import Bytes, Decoder, type_words
from sovereign.actors.ingress.frames import Frames
from sovereign.actors.ingress.sequence import DROPPED, HELD, arrive
from sovereign.messages.market import Gap, OrderEvent, Raw, Reset, Trade
from sovereign.runtime import atomics
from sovereign.runtime.errors import InputError
from sovereign.runtime.jit import njit

MOLD_HEADER_BYTES = 20
LENGTHS: dict[str, int] = {
    "S": 12, "R": 39, "H": 25, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "h": 21,
    "A": 36, "F": 40, "E": 31, "C": 36, "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40, "B": 19,
    "I": 50, "N": 20, "O": 48,
}  # fmt: skip
_PX_SCALE = 100_000
_FRAMED, _GAP_AT, _RAW_AT, _ORDER_AT, _TRADE_AT, _LENGTHS_AT = 0, 1, 5, 7, 9, 11


@njit
def _side(letter: Any) -> Any:
    """1 buy, 2 sell, 0 neither."""
    return 1 if letter == 66 else 2 if letter == 83 else 0


@njit
def _order(to: Any, at: Any, kind: Any, seq: Any) -> Any:
    """Fill an OrderEvent from A F E C X D U."""
    atomics.store_i64(to, big_u48(at + 5))
    atomics.store_i64(to + 8, big_u64(at + 11))
    atomics.store_u32(to + 40, big_u16(at + 1))
    atomics.store_u32(to + 44, seq)
    atomics.store_u16(to + 48, kind)
    action = 65
    if kind == 65 or kind == 70:  # A, F
        atomics.store_u8(to + 51, _side(np.int64(atomics.load_u8(at + 19))))
        atomics.store_i64(to + 32, big_u32(at + 20))
        atomics.store_i64(to + 24, big_u32(at + 32) * _PX_SCALE)
    elif kind == 69 or kind == 67:  # E, C
        action = 69
        atomics.store_i64(to + 32, big_u32(at + 19))
        atomics.store_i64(to + 16, big_u64(at + 23))
        if kind == 67:
            atomics.store_u8(to + 52, np.int64(atomics.load_u8(at + 31)))
            atomics.store_i64(to + 24, big_u32(at + 32) * _PX_SCALE)
    elif kind == 88:  # X
        action = 88
        atomics.store_i64(to + 32, big_u32(at + 19))
    elif kind == 68:  # D
        action = 68
    else:  # U
        action = 82
        atomics.store_i64(to + 16, big_u64(at + 19))
        atomics.store_i64(to + 32, big_u32(at + 27))
        atomics.store_i64(to + 24, big_u32(at + 31) * _PX_SCALE)
    atomics.store_u8(to + 50, action)


@njit
def _trade(to: Any, at: Any, kind: Any, seq: Any, state_at: Any) -> Any:
    """Fill a Trade from P or Q."""
    atomics.store_i64(to, big_u48(at + 5))
    atomics.store_u32(to + 24, big_u16(at + 1))
    atomics.store_u32(to + 28, seq)
    atomics.store_u16(to + 40, kind)
    atomics.store_u16(to + 44, 1)
    atomics.store_u8(to + 46, kind)
    if kind == 80:  # P
        atomics.store_u8(to + 47, _side(np.int64(atomics.load_u8(at + 19))))
        atomics.store_i64(to + 16, big_u32(at + 20))
        atomics.store_i64(to + 8, big_u32(at + 32) * _PX_SCALE)
    else:
        shares = big_u64(at + 11)
        if shares < 0:
            shares = np.int64(0)
            tally(state_at, D_OVERFLOWS, 1)
        atomics.store_i64(to + 16, shares)
        atomics.store_i64(to + 8, big_u32(at + 27) * _PX_SCALE)


@njit
def _slot(claim_at: Any, tables: Any, types_at: Any) -> Any:
    """A slot for the type whose words stand at `types_at` in the tables."""
    at = tables + 8 * types_at
    return next_slot(claim_at, atomics.load_i64(at), atomics.load_i64(at + 8))


@njit
def _message(tables: Any, claim_at: Any, at: Any, size: Any, seq: Any, state_at: Any) -> Any:
    """One ITCH message: 1, or TOO_SMALL."""
    kind = np.int64(atomics.load_u8(at))
    known = atomics.load_i64(tables + 8 * (_LENGTHS_AT + kind)) == size
    is_order = kind == 65 or kind == 70 or 67 <= kind <= 69 or kind == 85 or kind == 88
    if known and is_order:
        to = _slot(claim_at, tables, _ORDER_AT)
        if to == 0:
            return TOO_SMALL
        _order(to, at, kind, seq)
        return 1
    if known and (kind == 80 or kind == 81):
        to = _slot(claim_at, tables, _TRADE_AT)
        if to == 0:
            return TOO_SMALL
        _trade(to, at, kind, seq, state_at)
        return 1
    raw_at = tables + 8 * _RAW_AT
    raw_type, raw_size = atomics.load_i64(raw_at), atomics.load_i64(raw_at + 8)
    return 1 if put_raw(claim_at, raw_type, raw_size, at, size, kind, seq) else TOO_SMALL


@njit
def _messages(
    packet: Any, size: Any, tables: Any, state_at: Any, claim_at: Any, count: Any, skip: Any
) -> Any:
    """The messages of a MoldUDP64 packet but for the first `skip`: 1, or MALFORMED, or TOO_SMALL."""
    first = big_u64(packet + 10)
    at, end = packet + MOLD_HEADER_BYTES, packet + size
    for i in range(count):
        if at + 2 > end:
            return MALFORMED
        length = big_u16(at)
        if length < 1 or at + 2 + length > end:
            return MALFORMED
        if i >= skip and _message(tables, claim_at, at + 2, length, first + i, state_at) < 0:
            return TOO_SMALL
        at += 2 + length
    return 1


@njit
def decode(packet: Any, size: Any, tables: Any, state_at: Any, claim_at: Any) -> Any:
    """One MoldUDP64 packet, or (tables[0] = 1) one message of a plain file."""
    if atomics.load_i64(tables) == 1:
        if size < 1:
            return np.int64(MALFORMED)
        seq = max(np.int64(1), atomics.load_i64(state_at + 8 * D_NEXT))
        atomics.store_i64(state_at + 8 * D_NEXT, seq + 1)
        done = _message(tables, claim_at, packet, size, seq, state_at)
        return np.int64(done) if done < 0 else atomics.load_i64(claim_at + 8 * K_COUNT)
    if size < MOLD_HEADER_BYTES:
        return np.int64(MALFORMED)
    count = big_u16(packet + 18)
    if count == 0xFFFF:  # end of session
        count = np.int64(0)
    name, tail = atomics.load_i64(packet), np.int64(atomics.load_u16(packet + 8))
    skip = arrive(
        state_at, claim_at, tables + 8 * _GAP_AT, big_u64(packet + 10), count, name, tail, 0
    )
    if skip == DROPPED:
        return np.int64(0)
    if skip < 0 and skip != HELD:
        return np.int64(skip)
    done = _messages(packet, size, tables, state_at, claim_at, count, skip)
    if done < 0:
        return np.int64(done)
    return np.int64(0) if skip == HELD else atomics.load_i64(claim_at + 8 * K_COUNT)


@njit
def _cut(content: Any, lengths: Any, out: Any) -> Any:
    """Messages of a plain file: rows, and where it is cut (-1: nowhere). A length word of 0: by the type."""
    at, kept, size = np.int64(0), np.int64(0), np.int64(len(content))
    while at < size:
        if at + 3 > size:
            return kept, at
        length = np.int64(content[at]) << 8 | np.int64(content[at + 1])
        if length == 0:
            length = lengths[content[at + 2]]
        if length == 0 or at + 2 + length > size:
            return kept, at
        out[kept, 0], out[kept, 1] = at + 2, length
        kept += 1
        at += 2 + length
    return kept, np.int64(-1)


@njit
def _cut_mold(content: Any, out: Any) -> Any:
    """MoldUDP64 packets that stand one behind the other: rows, and where the file is cut (-1: nowhere)."""
    at, kept, size = np.int64(0), np.int64(0), np.int64(len(content))
    while at < size:
        end = at + MOLD_HEADER_BYTES
        if end > size:
            return kept, at
        count = np.int64(content[at + 18]) << 8 | np.int64(content[at + 19])
        for _ in range(0 if count == 0xFFFF else count):
            if end + 2 > size:
                return kept, at
            end += 2 + (np.int64(content[end]) << 8 | np.int64(content[end + 1]))
            if end > size:
                return kept, at
        out[kept, 0], out[kept, 1] = at, end - at
        kept += 1
        at = end
    return kept, np.int64(-1)


class ItchConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """No keys: the format says all."""


class Itch50(Decoder):
    """Kind `itch50`."""

    Config = ItchConfig
    gives = (OrderEvent, Trade, Gap, Reset, Raw)

    def __init__(self, config: ItchConfig) -> None:
        super().__init__(config)
        self.lengths: npt.NDArray[np.int64] = np.zeros(256, np.int64)
        for letter, length in LENGTHS.items():
            self.lengths[ord(letter)] = length
        head = [0, *type_words(Gap, Reset, Raw, OrderEvent, Trade)]
        self.tables = np.concatenate([np.array(head, np.int64), self.lengths])

    @property
    def kernel(self) -> Any:
        """The compiled function."""
        return decode

    def frames(self, content: Bytes, where: str) -> Frames:
        """Cut a plain file into messages, or into MoldUDP64 packets. InputError when it is neither."""
        self.tables[_FRAMED] = 1
        out = np.empty((len(content) // 3 + 1, 2), np.int64)
        kept, cut = _cut(content, self.lengths, out)
        if kept == 0:
            self.tables[_FRAMED] = 0
            kept, cut = _cut_mold(content, out)
        if kept == 0:
            raise InputError(
                "this is no file of ITCH messages",
                where=where,
                got=content[:8].tobytes().hex(" ") or "nothing",
                expected="a 2-byte length and a message that ITCH 5.0 knows, or MoldUDP64 packets",
            )
        zeros = np.zeros(kept, np.int64)
        return Frames(content, out[:kept, 0].copy(), out[:kept, 1].copy(), zeros, cut_at=int(cut))
