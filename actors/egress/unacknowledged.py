"""Orders that the kernel took and that the venue's host has not acknowledged: none of them is forgotten.

Their names stand in the egress's State, put there by the step that publishes `Sent`, so that after a kill too each can
still become `Uncertain`; where each ends in the stream is known only while the connection is.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Annotated, Any, NamedTuple

import numpy as np

from sovereign.actors.egress.tcp import LENGTH_BYTES
from sovereign.messages.orders import SignedOrder
from sovereign.runtime import limits
from sovereign.runtime.message import Message

_ENTRY = struct.Struct("<HHIQQQ")
FRAME_BYTES = LENGTH_BYTES + SignedOrder.dtype.itemsize
# As many as the bound of the bytes lets in, and one that is acknowledged in part.
ORDERS_MAX = limits.EGRESS_QUEUED_MAX_BYTES // FRAME_BYTES + 1


class Order(NamedTuple):
    """What an `Uncertain` needs of an order: its name, and its slot's cause and origin time."""

    actor: int
    cause_actor: int
    generation: int
    sequence: int
    cause_seq: int
    origin_ns: int


class Pending(Message):
    """The egress's state: the order whose intent is published (`sequence` 0: none), and those not acknowledged.

    `first`, `last`: how many orders ever left and entered `unacknowledged`, a circle of entries.
    """

    input: np.uint64
    sequence: np.uint64
    attempt: np.uint64
    first: np.uint64
    last: np.uint64
    unacknowledged: Annotated[bytes, _ENTRY.size * ORDERS_MAX]


class Unacknowledged:
    """The book. `record` after every change and before the commit; `lost` are those to be told as `Uncertain`."""

    def __init__(self, state: Any, reason: int) -> None:
        """What a process before us left is lost, for `reason`."""
        self._last = int(state["last"])
        self._entered: Order | None = None
        self._waiting: deque[tuple[int, Order]] = deque()
        self.lost: deque[tuple[int, Order]] = deque()
        raw = bytes(state["unacknowledged"])
        for number in range(int(state["first"]), self._last):
            at = number % ORDERS_MAX * _ENTRY.size
            self.lost.append((reason, Order(*_ENTRY.unpack_from(raw, at))))

    def __len__(self) -> int:
        return len(self._waiting) + len(self.lost)

    def enter(self, order: Order, end: int) -> None:
        """`order` ends at byte `end` of the stream. At most one between two `record`s."""
        assert len(self) < ORDERS_MAX and self._entered is None
        self._waiting.append((end, order))
        self._entered = order
        self._last += 1

    def retire(self, acked: int) -> int:
        """Orders that end at `acked` or before are acknowledged; how many those were."""
        before = len(self._waiting)
        while self._waiting and self._waiting[0][0] <= acked:
            self._waiting.popleft()
        return before - len(self._waiting)

    def lose(self, reason: int) -> int:
        """The connection is gone: all that wait are lost; how many those are."""
        count = len(self._waiting)
        self.lost.extend((reason, order) for _, order in self._waiting)
        self._waiting.clear()
        return count

    def record(self, state: Any) -> None:
        """Write the changes into the step's working copy."""
        if self._entered is not None:
            at = (self._last - 1) % ORDERS_MAX * _ENTRY.size
            packed = np.frombuffer(_ENTRY.pack(*self._entered), np.uint8)
            state["unacknowledged"][at : at + _ENTRY.size] = packed
            self._entered = None
        state["first"], state["last"] = self._last - len(self), self._last
