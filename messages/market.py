"""Market data as every feed's decoder gives it: fixed layouts, prices in 1e-9, times in ns since the Unix epoch.

A feed's message with several entries becomes one record an entry (`entry` of `entries`), so that messages can be
counted (`entry == 0`); one without entries becomes one record. `template`: the feed's own message type.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from sovereign.runtime.message import Message

NULL_PX = -(2**63)

ADD, CHANGE, DELETE = 0, 1, 2
BID, ASK, NO_SIDE = 1, 2, 0


class _Entry(Message):
    """What the records of price-level feeds share."""

    exchange_ns: np.int64
    px_e9: np.int64
    qty: np.int64
    instrument: np.uint32
    packet_seq: np.uint32
    rpt_seq: np.uint32
    orders: np.uint32
    template: np.uint16
    entry: np.uint16
    entries: np.uint16
    kind: np.uint8
    side: np.uint8
    action: np.uint8
    level: np.uint8
    indicator: np.uint8


class BookLevel(_Entry):
    """A price level was added, changed or deleted. `level`: 1 is the best; `kind`: the feed's entry type (ASCII)."""


class Trade(_Entry):
    """A trade. `side`: of the aggressor; `orders`: how many took part; `level`: 0."""


class Statistic(_Entry):
    """Volume, open, high, low, settlement and the like. `kind`: the feed's entry type (ASCII)."""


ORDER_ADD, ORDER_MODIFY, ORDER_CANCEL, ORDER_EXECUTE, ORDER_REPLACE = b"AMXER"
ORDER_DELETE, ORDER_CLEAR, ORDER_TRADE, ORDER_FILL, ORDER_NONE = b"DCTFN"


class OrderEvent(Message):
    """One order in the book changed. `action`: ASCII, see ORDER_*; `other_id`: new id, or match number."""

    exchange_ns: np.int64
    order_id: np.uint64
    other_id: np.uint64
    px_e9: np.int64
    qty: np.int64
    instrument: np.uint32
    packet_seq: np.uint32
    template: np.uint16
    action: np.uint8
    side: np.uint8
    flags: np.uint8
    publisher: np.uint8


class Quote(Message):
    """Best bid and offer, and what changed it."""

    exchange_ns: np.int64
    bid_px_e9: np.int64
    ask_px_e9: np.int64
    px_e9: np.int64
    bid_qty: np.uint32
    ask_qty: np.uint32
    bid_orders: np.uint32
    ask_orders: np.uint32
    qty: np.uint32
    instrument: np.uint32
    packet_seq: np.uint32
    template: np.uint16
    action: np.uint8
    side: np.uint8


class Heartbeat(Message):
    """The feed is alive and had nothing to say."""

    exchange_ns: np.int64
    packet_seq: np.uint32
    template: np.uint16


class Gap(Message):
    """Packets (or messages, where the feed numbers these) are missing: `first` to `last`.

    `channel`: channels are numbered from 0 in the order in which the ingress first met them; `address` and `port`: where
    its packets go (IPv4; a file's IPv6 destinations count down from 2**32 - 1; 0: no packet's, or not known).
    """

    first: np.uint64
    last: np.uint64
    channel: np.uint32
    address: np.uint32
    port: np.uint16


class Reset(Message):
    """What follows on this channel is another session, or the numbers begin anew: books of it are void.

    `old_next`: the number that was expected; `new_next`: the first that is there now. Numbers of the new session that
    are missing before it are told as a Gap. Sessions are the feed's own names, zeros where it has none. An older session
    that goes on is told as well. `channel`, `address`, `port`: as in Gap.
    """

    old_next: np.uint64
    new_next: np.uint64
    channel: np.uint32
    address: np.uint32
    port: np.uint16
    old_session: Annotated[bytes, 10]
    new_session: Annotated[bytes, 10]


class Raw(Message):
    """A message that has no layout of its own here: its bytes, in parts of 64. `whole_bytes`: of all parts."""

    packet_seq: np.uint32
    whole_bytes: np.uint32
    template: np.uint16
    part: np.uint16
    parts: np.uint16
    data: Annotated[bytes, 64]
