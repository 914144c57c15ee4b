"""The writing end of a ring, for tools, tests and slow actors; hot loops take its `words` (`kernels.py`).

Keep the Writer as long as its words are used: the mapping goes with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sovereign.runtime import kernels, layout, limits
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.message import Message
from sovereign.runtime.ring import check_types, open_ring


class Writer:
    """The writing end. `words` is what kernels take. One batch is claimed, filled, published."""

    def __init__(
        self, node: str, name: str, types: tuple[type[Message], ...] | None = None
    ) -> None:
        self.ring = open_ring(node, name, writable=True, resident=True)
        if types is not None:
            check_types(self.ring, types)
        ring, base = self.ring, self.ring.segment.address
        self.words = np.zeros(kernels.W_WORDS, np.int64)
        gates = [i for i, reader in enumerate(ring.readers) if reader.gate]
        for at, value in (
            (kernels.W_CURSOR_AT, base + layout.RING_CURSOR_AT),
            (kernels.W_SLOTS, ring.slots_address),
            (kernels.W_MASK, ring.capacity - 1),
            (kernels.W_STRIDE, ring.stride),
            (kernels.W_CAPACITY, ring.capacity),
            (kernels.W_GENERATION, ring.generation),
            (kernels.W_ACTOR, ring.actor_index),
            (kernels.W_NEXT, ring.cursor),
            (kernels.W_GATES, len(gates)),
            (kernels.W_READERS, len(ring.readers)),
        ):
            self.words[at] = value
        for place, index in enumerate(gates):
            at = base + layout.reader_page(index) + layout.READER_CURSOR_AT
            self.words[kernels.W_FIRST_GATE + place] = at
        for index in range(len(ring.readers)):
            at = base + layout.reader_page(index) + layout.READER_PARKED_AT
            self.words[kernels.W_FIRST_PARKED + index] = at
        self.words[kernels.W_LOWEST] = ring.lowest_gate()
        self._slots = ring.slots()
        self._raw = ring.segment.memory
        self._types = {kind.type_id: kind for kind in types or ()}
        self.filled = 0
        kernels.register_membarrier()

    @property
    def cursor(self) -> int:
        """Last sequence published."""
        return int(self.words[kernels.W_NEXT])

    @property
    def free(self) -> int:
        """Slots that may be filled now, those filled and not yet published included."""
        return int(kernels.room(self.words, self.ring.capacity))

    def put(
        self,
        kind: type[Message],
        record: Any,
        *,
        origin_ns: int,
        publish_ns: int = 0,
        cause_actor: int = layout.NO_ACTOR,
        cause_seq: int = 0,
        flags: int = 0,
        halt_epoch: int = 0,
    ) -> int:
        """Fill the next slot with `record` (bytes, a record, or a dict of fields); the sequence it will have.

        SovereignError when the ring is full: ask `free` first.
        """
        sequence = self.cursor + self.filled + 1
        if self.filled >= self.free:
            raise SovereignError(
                f"ring {self.ring.name} is full", got=f"{self.ring.capacity} slots held"
            )
        slot = self._slots[(sequence - 1) & (self.ring.capacity - 1)]
        words = self.words
        kernels.open_slot(
            int(words[kernels.W_SLOTS]), self.ring.capacity - 1, self.ring.stride, sequence
        )
        for name, value in (
            ("origin_ns", origin_ns),
            ("publish_ns", publish_ns),
            ("cause_seq", cause_seq),
            ("type_id", kind.type_id),
            ("cause_actor", cause_actor),
            ("flags", flags),
            ("length", kind.dtype.itemsize),
            ("halt_epoch", halt_epoch & limits.HALT_EPOCH_MASK),
            ("generation", self.ring.generation),
        ):
            slot[name] = value
        self._fill(kind, record, sequence)
        self.filled += 1
        return sequence

    def _fill(self, kind: type[Message], record: Any, sequence: int) -> None:
        """The payload's bytes, and zeros behind them."""
        if isinstance(record, dict):
            record = kind.new(**record)
        data = record if isinstance(record, bytes | bytearray | memoryview) else record.tobytes()
        if len(data) != kind.dtype.itemsize:
            raise SovereignError(
                f"a {kind.__name__} of the wrong size",
                got=f"{len(data)} bytes",
                expected=f"{kind.dtype.itemsize} bytes",
            )
        first = layout.slots_at(len(self.ring.readers)) + layout.SLOT_PAYLOAD
        at = first + ((sequence - 1) & (self.ring.capacity - 1)) * self.ring.stride
        end = at + self.ring.stride - layout.SLOT_PAYLOAD
        self._raw[at : at + len(data)] = np.frombuffer(data, np.uint8)
        self._raw[at + len(data) : end] = 0  # a slot's bytes depend on its message alone

    def publish(self) -> int:
        """Publish all that was put since the last time; the new cursor."""
        if self.filled:
            kernels.publish(self.words, self.filled)
            self.filled = 0
        return self.cursor

    def close(self) -> None:
        """Unmap."""
        self._raw = np.empty(0, np.uint8)
        self._slots = self._raw.view(layout.HEADER_DTYPE)
        self.ring.segment.close()
