"""CME MDP 3.0: SBE messages in a 12-byte packet header, decoded by a table made from the published template file.

Source: CME Group's MDP 3.0 message specification and templates_FixBinary.xml; FIX Simple Binary Encoding 1.0. The
block lengths that stand in the packet are honoured, so a newer version with longer blocks decodes. Templates with a
NoMDEntries group become BookLevel, Trade or Statistic, an entry a record; heartbeats become Heartbeat, others Raw.
A price that does not fit 1e-9 in 64 bits is given as none (NULL_PX) and counted. A channel's packet numbers begin anew
each week: a packet 1 that was sent later than all before it says so.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from sovereign.actors.ingress.claim import (
    D_OVERFLOWS,
    K_COUNT,
    MALFORMED,
    TOO_SMALL,
    next_slot,
    put_raw,
    tally,
)
from sovereign.actors.ingress.decoder import Decoder, type_words
from sovereign.actors.ingress.decoders import sbe_templates as t
from sovereign.actors.ingress.sequence import DROPPED, HELD, arrive
from sovereign.messages.market import (
    NULL_PX,
    BookLevel,
    Gap,
    Heartbeat,
    Raw,
    Reset,
    Statistic,
    Trade,
)
from sovereign.runtime import atomics
from sovereign.runtime.jit import njit

PACKET_HEADER_BYTES = 12
MESSAGE_HEADER_BYTES = 10
_WORD = 8
_BOOK_AT, _GAP_AT, _RAW_AT, _BEAT_AT = 0, 6, 10, 12
_ROWS_AT = 14
_TABLE_AT = 15
_LARGEST = 2**63 - 1


@njit
def _row(tables_at: Any, template: Any, column: Any) -> Any:
    return atomics.load_i64(tables_at + _WORD * (_TABLE_AT + template * t.COLUMNS + column))


@njit
def _field(base: Any, offset: Any, width: Any, block: Any) -> Any:
    """The unsigned field at `offset` of a block; 0 when the block does not have it."""
    if offset < 0 or offset + width > block:
        return np.int64(0)
    at = base + offset
    if width == 1:
        return np.int64(atomics.load_u8(at))
    if width == 2:
        return np.int64(atomics.load_u16(at))
    if width == 4:
        return np.int64(atomics.load_u32(at))
    return atomics.load_i64(at)


@njit
def _signed(value: Any) -> Any:
    """A u32 seen as i32."""
    return value - (1 << 32) if value >= (1 << 31) else value


@njit
def _px(mantissa: Any, scale: Any, state_at: Any) -> Any:
    """A price in 1e-9; NULL_PX where the feed says none, and where it does not fit (counted)."""
    if mantissa == _LARGEST:
        return np.int64(NULL_PX)
    if abs(mantissa) > _LARGEST // scale or mantissa == NULL_PX:
        tally(state_at, D_OVERFLOWS, 1)
        return np.int64(NULL_PX)
    return mantissa * scale


@njit
def _entry(
    claim_at: Any, tables_at: Any, state_at: Any, template: Any, kind: Any, entry: Any, block: Any
) -> Any:
    """One record from the group entry at `entry` (0: the message has none); its address, 0: no room."""
    types_at = tables_at + _WORD * (_BOOK_AT + 2 * kind)
    to = next_slot(claim_at, atomics.load_i64(types_at), atomics.load_i64(types_at + _WORD))
    if to == 0:
        return to
    px = np.int64(NULL_PX)
    if block > 0:
        at = _row(tables_at, template, t.PX)
        if at >= 0 and at + 8 <= block:
            scale = _row(tables_at, template, t.PX_SCALE)
            px = _px(atomics.load_i64(entry + at), scale, state_at)
        size = _signed(_field(entry, _row(tables_at, template, t.SIZE), 4, block))
        atomics.store_i64(to + 16, 0 if size == 2**31 - 1 else size)
        security = _row(tables_at, template, t.SECURITY)
        atomics.store_u32(to + 24, _field(entry, security, 4, block))
        atomics.store_u32(to + 32, _field(entry, _row(tables_at, template, t.RPT), 4, block))
        orders = _field(entry, _row(tables_at, template, t.ORDERS), 4, block)
        atomics.store_u32(to + 36, 0 if orders == 2**31 - 1 else orders)
        atomics.store_u8(to + 48, _field(entry, _row(tables_at, template, t.ACTION), 1, block))
        atomics.store_u8(to + 49, _field(entry, _row(tables_at, template, t.LEVEL), 1, block))
        entry_type = _row(tables_at, template, t.TYPE_CONSTANT)
        if entry_type == 0:
            entry_type = _field(entry, _row(tables_at, template, t.TYPE), 1, block)
        side = _field(entry, _row(tables_at, template, t.AGGRESSOR), 1, block)
        if entry_type == 48 or entry_type == 69:  # '0' bid, 'E' implied bid
            side = 1
        elif entry_type == 49 or entry_type == 70:  # '1' offer, 'F' implied offer
            side = 2
        atomics.store_u8(to + 46, entry_type)
        atomics.store_u8(to + 47, side if side <= 2 else 0)
    atomics.store_i64(to + 8, px)
    return to


@njit
def _entries(
    claim_at: Any,
    tables_at: Any,
    state_at: Any,
    template: Any,
    kind: Any,
    body: Any,
    end: Any,
    root: Any,
    seq: Any,
) -> Any:
    """The records of one message's first group: 1, or MALFORMED, or TOO_SMALL."""
    time = _field(body, _row(tables_at, template, t.TIME), 8, root)
    indicator = _field(body, _row(tables_at, template, t.INDICATOR), 1, root)
    dimension = _row(tables_at, template, t.GROUP_HEADER)
    group = body + root
    if group + dimension > end:
        return MALFORMED
    block = np.int64(atomics.load_u16(group))
    number = _field(
        group,
        _row(tables_at, template, t.GROUP_COUNT),
        _row(tables_at, template, t.GROUP_COUNT_BYTES),
        dimension,
    )
    entry = group + dimension
    if entry + block * number > end or (number > 0 and block == 0):
        return MALFORMED
    for i in range(max(1, number)):
        size = block if number > 0 else 0
        to = _entry(claim_at, tables_at, state_at, template, kind, entry + i * block, size)
        if to == 0:
            return TOO_SMALL
        atomics.store_i64(to, time)
        atomics.store_u32(to + 28, seq)
        atomics.store_u16(to + 40, template)
        atomics.store_u16(to + 42, i)
        atomics.store_u16(to + 44, number)
        atomics.store_u8(to + 50, indicator)
    return 1


@njit
def _message(
    claim_at: Any, tables_at: Any, state_at: Any, at: Any, end: Any, seq: Any, sent: Any
) -> Any:
    """One message from its SBE header on: 1, or MALFORMED, or TOO_SMALL."""
    root = np.int64(atomics.load_u16(at))
    template = np.int64(atomics.load_u16(at + 2))
    body = at + 8
    if body + root > end:
        return MALFORMED
    rows = atomics.load_i64(tables_at + _WORD * _ROWS_AT)
    kind = _row(tables_at, template, t.KIND) if template < rows else -1
    if 0 <= kind <= 2:
        return _entries(claim_at, tables_at, state_at, template, kind, body, end, root, seq)
    if kind == t.KIND_HEARTBEAT:
        types_at = tables_at + _WORD * _BEAT_AT
        to = next_slot(claim_at, atomics.load_i64(types_at), atomics.load_i64(types_at + _WORD))
        if to == 0:
            return TOO_SMALL
        atomics.store_i64(to, sent)
        atomics.store_u32(to + 8, seq)
        atomics.store_u16(to + 12, template)
        return 1
    types_at = tables_at + _WORD * _RAW_AT
    kept = put_raw(
        claim_at,
        atomics.load_i64(types_at),
        atomics.load_i64(types_at + _WORD),
        body,
        end - body,
        template,
        seq,
    )
    return 1 if kept else TOO_SMALL


@njit
def decode(packet: Any, size: Any, tables_at: Any, state_at: Any, claim_at: Any) -> Any:
    """One UDP payload. The result as in `claim.py`."""
    if size < PACKET_HEADER_BYTES:
        return np.int64(MALFORMED)
    seq = np.int64(atomics.load_u32(packet))
    sent = atomics.load_i64(packet + 4)
    judged = arrive(state_at, claim_at, tables_at + _WORD * _GAP_AT, seq, 1, 0, 0, sent)
    if judged == DROPPED:
        return np.int64(0)
    if judged < 0 and judged != HELD:
        return np.int64(judged)
    at, end = packet + PACKET_HEADER_BYTES, packet + size
    while at < end:
        if at + MESSAGE_HEADER_BYTES > end:
            return np.int64(MALFORMED)
        length = np.int64(atomics.load_u16(at))
        if length < MESSAGE_HEADER_BYTES or at + length > end:
            return np.int64(MALFORMED)
        done = _message(claim_at, tables_at, state_at, at + 2, at + length, seq, sent)
        if done < 0:
            return np.int64(done)
        at += length
    return np.int64(0) if judged == HELD else atomics.load_i64(claim_at + 8 * K_COUNT)


class CmeConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`templates`: path of the published template file (XML) of the version on the line."""

    templates: str


class CmeMdp3(Decoder):
    """Kind `cme-mdp3`."""

    Config = CmeConfig
    gives = (BookLevel, Trade, Statistic, Heartbeat, Gap, Reset, Raw)

    def __init__(self, config: CmeConfig) -> None:
        super().__init__(config)
        rows = t.load_templates(config.templates)
        head = type_words(BookLevel, Trade, Statistic, Gap, Reset, Raw, Heartbeat)
        self.tables = np.concatenate([np.array([*head, len(rows)], np.int64), rows.reshape(-1)])

    @property
    def kernel(self) -> Any:
        """The compiled function."""
        return decode
