"""Databento Binary Encoding, versions 1 to 3: a metadata header, then fixed C records.

Source: Databento's DBN specification (record header: length in 4-byte words, rtype, publisher, instrument, ts_event).
MBO records become OrderEvent, MBP-1/TBBO/BBO Quote, trades Trade, the rest Raw. Prices are 1e-9 in 64 bits already and are
copied, quantities are 32 bits: nothing can overflow. Records carry no number that says what is missing.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from sovereign.actors.ingress.claim import (
    D_NEXT,
    K_COUNT,
    MALFORMED,
    TOO_SMALL,
    next_slot,
    put_raw,
)
from sovereign.actors.ingress.decoder import Bytes, Decoder, type_words
from sovereign.actors.ingress.frames import Frames
from sovereign.messages.market import NULL_PX, OrderEvent, Quote, Raw, Trade
from sovereign.runtime import atomics
from sovereign.runtime.errors import InputError
from sovereign.runtime.jit import njit

RTYPE_MBO, RTYPE_TRADE, RTYPE_MBP1 = 160, 0, 1
_QUOTES = (
    1,
    0xC3,
    0xC4,
    0xB1,
    0xC0,
    0xC1,
    0xC2,
)  # mbp-1, bbo-1s, bbo-1m, cmbp-1, cbbo-1s, cbbo-1m, tcbbo
HEADER_BYTES = 16
_UNDEFINED_PX = 2**63 - 1


@njit
def _px(at: Any) -> Any:
    """A price; DBN's undefined becomes NULL_PX."""
    value = atomics.load_i64(at)
    return np.int64(NULL_PX) if value == _UNDEFINED_PX else value


@njit
def _side(letter: Any) -> Any:
    """A ask, B bid, N none."""
    return 1 if letter == 66 else 2 if letter == 65 else 0


@njit
def _mbo(to: Any, at: Any, seq: Any) -> Any:
    """MboMsg, 56 bytes."""
    atomics.store_i64(to, atomics.load_i64(at + 8))
    atomics.store_i64(to + 8, atomics.load_i64(at + 16))
    atomics.store_i64(to + 24, _px(at + 24))
    atomics.store_i64(to + 32, np.int64(atomics.load_u32(at + 32)))
    atomics.store_u32(to + 40, np.int64(atomics.load_u32(at + 4)))
    atomics.store_u32(to + 44, np.int64(atomics.load_u32(at + 52)))
    atomics.store_u16(to + 48, RTYPE_MBO)
    action = np.int64(atomics.load_u8(at + 38))
    if action == 67:  # C: cancelled, wholly or in part
        action = np.int64(88)
    elif action == 82:  # R: the book is cleared
        action = np.int64(67)
    atomics.store_u8(to + 50, action)
    atomics.store_u8(to + 51, _side(np.int64(atomics.load_u8(at + 39))))
    atomics.store_u8(to + 52, np.int64(atomics.load_u8(at + 36)))
    atomics.store_u8(to + 53, np.int64(atomics.load_u16(at + 2)) & 255)


@njit
def _quote(to: Any, at: Any, kind: Any) -> Any:
    """Mbp1Msg and its kin, 80 bytes: the trade or order part, then one level."""
    atomics.store_i64(to, atomics.load_i64(at + 8))
    atomics.store_i64(to + 8, _px(at + 48))
    atomics.store_i64(to + 16, _px(at + 56))
    atomics.store_i64(to + 24, _px(at + 16))
    for i in range(4):
        atomics.store_u32(to + 32 + 4 * i, np.int64(atomics.load_u32(at + 64 + 4 * i)))
    atomics.store_u32(to + 48, np.int64(atomics.load_u32(at + 24)))
    atomics.store_u32(to + 52, np.int64(atomics.load_u32(at + 4)))
    atomics.store_u32(to + 56, np.int64(atomics.load_u32(at + 44)))
    atomics.store_u16(to + 60, kind)
    atomics.store_u8(to + 62, np.int64(atomics.load_u8(at + 28)))
    atomics.store_u8(to + 63, _side(np.int64(atomics.load_u8(at + 29))))


@njit
def _trade(to: Any, at: Any) -> Any:
    """TradeMsg, 48 bytes."""
    atomics.store_i64(to, atomics.load_i64(at + 8))
    atomics.store_i64(to + 8, _px(at + 16))
    atomics.store_i64(to + 16, np.int64(atomics.load_u32(at + 24)))
    atomics.store_u32(to + 24, np.int64(atomics.load_u32(at + 4)))
    atomics.store_u32(to + 28, np.int64(atomics.load_u32(at + 44)))
    atomics.store_u16(to + 40, RTYPE_TRADE)
    atomics.store_u16(to + 44, 1)
    atomics.store_u8(to + 46, np.int64(atomics.load_u8(at + 28)))
    atomics.store_u8(to + 47, _side(np.int64(atomics.load_u8(at + 29))))


@njit
def _slot(claim_at: Any, tables: Any, kind: Any) -> Any:
    """A slot for the kind-th type of the tables' head."""
    at = tables + 16 * kind
    return next_slot(claim_at, atomics.load_i64(at), atomics.load_i64(at + 8))


@njit
def _record(at: Any, size: Any, tables: Any, claim_at: Any, seq: Any) -> Any:
    """One record: 1, or TOO_SMALL."""
    kind = np.int64(atomics.load_u8(at + 1))
    target = 0
    if kind == RTYPE_MBO and size == 56:
        target = 1
    elif kind == RTYPE_TRADE and size == 48:
        target = 3
    elif size == 80:
        for one in _QUOTES:
            if kind == one:
                target = 2
    if target == 0:
        raw_type, raw_size = atomics.load_i64(tables), atomics.load_i64(tables + 8)
        kept = put_raw(claim_at, raw_type, raw_size, at, size, kind, seq)
        return 1 if kept else TOO_SMALL
    to = _slot(claim_at, tables, target)
    if to == 0:
        return TOO_SMALL
    if target == 1:
        _mbo(to, at, seq)
    elif target == 2:
        _quote(to, at, kind)
    else:
        _trade(to, at)
    return 1


@njit
def decode(packet: Any, size: Any, tables: Any, state_at: Any, claim_at: Any) -> Any:
    """One or more whole records."""
    at, end = packet, packet + size
    if size < HEADER_BYTES:
        return np.int64(MALFORMED)
    seq = atomics.load_i64(state_at + 8 * D_NEXT) + 1
    while at < end:
        length = 4 * np.int64(atomics.load_u8(at))
        if length < HEADER_BYTES or at + length > end:
            return np.int64(MALFORMED)
        done = _record(at, length, tables, claim_at, seq)
        if done < 0:
            return np.int64(done)
        at += length
        seq += 1
    atomics.store_i64(state_at + 8 * D_NEXT, seq - 1)
    return atomics.load_i64(claim_at + 8 * K_COUNT)


@njit
def _cut(content: Any, start: Any, out: Any) -> Any:
    """Records after the metadata: rows, and where the file is cut (-1: nowhere)."""
    at, kept, size = np.int64(start), np.int64(0), np.int64(len(content))
    while at < size:
        length = 4 * np.int64(content[at])
        if length < HEADER_BYTES or at + length > size:
            return kept, at
        out[kept, 0], out[kept, 1] = at, length
        time = np.int64(0)
        for i in range(8):
            time |= np.int64(content[at + 8 + i]) << (8 * i)
        out[kept, 2] = time
        kept += 1
        at += length
    return kept, np.int64(-1)


class DbnConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """No keys: the format says all."""


class Dbn(Decoder):
    """Kind `dbn`."""

    Config = DbnConfig
    gives = (OrderEvent, Quote, Trade, Raw)

    def __init__(self, config: DbnConfig) -> None:
        super().__init__(config)
        self.tables = np.array(type_words(Raw, OrderEvent, Quote, Trade), np.int64)

    @property
    def kernel(self) -> Any:
        """The compiled function."""
        return decode

    def frames(self, content: Bytes, where: str) -> Frames:
        """Cut a DBN file into records. InputError when it has no DBN header, or one of another version."""
        head = content[:8].tobytes()
        if head[:3] != b"DBN" or len(head) < 8:
            raise InputError(
                "this is no DBN file", where=where, got=head.hex(" ") or "nothing", expected="DBN"
            )
        if not 1 <= head[3] <= 3:
            raise InputError(f"DBN version {head[3]}", where=where, expected="versions 1 to 3")
        start = 8 + int.from_bytes(head[4:8], "little")
        if start > len(content):
            raise InputError(
                "the DBN metadata is cut short",
                where=where,
                got=f"{len(content)} bytes",
                expected=f"at least {start} bytes",
            )
        out = np.empty((len(content) // HEADER_BYTES + 1, 3), np.int64)
        kept, cut = _cut(content, start, out)
        columns = [out[:kept, i].copy() for i in range(3)]
        return Frames(content, columns[0], columns[1], columns[2], cut_at=int(cut))
