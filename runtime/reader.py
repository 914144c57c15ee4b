"""The reading end of a ring: a page of its own, the slots read-only; hot loops take its `words` (`kernels.py`).

Keep the Reader as long as its words are used: the mapping goes with it.
"""

from __future__ import annotations

import numpy as np

from sovereign.runtime import kernels, layout, limits
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.message import Message
from sovereign.runtime.ring import SlotArray, check_types, open_ring
from sovereign.runtime.shm import Segment


class Reader:
    """A reading end with a page of its own. `words` is what kernels take. The slots are mapped read-only."""

    def __init__(
        self, node: str, name: str, reader: str, types: tuple[type[Message], ...] | None = None
    ) -> None:
        self.ring = open_ring(node, name, resident=True)
        if types is not None:
            check_types(self.ring, types)
        names = [one.name for one in self.ring.readers]
        if reader not in names:
            raise SovereignError(
                f"ring {name} has no reader {reader!r}",
                expected=", ".join(names) or "none",
                exit_code=4,
            )
        self.index = names.index(reader)
        self._page = Segment.open_part(
            self.ring.segment.name, layout.reader_page(self.index), limits.PAGE_BYTES
        )
        ring = self.ring
        self.gate = ring.readers[self.index].gate
        self._copy = np.zeros(0 if self.gate else ring.stride, np.uint8)
        self.words = np.zeros(kernels.R_WORDS, np.int64)
        for at, value in (
            (kernels.R_CURSOR_AT, ring.segment.address + layout.RING_CURSOR_AT),
            (kernels.R_SLOTS, ring.slots_address),
            (kernels.R_MASK, ring.capacity - 1),
            (kernels.R_STRIDE, ring.stride),
            (kernels.R_CAPACITY, ring.capacity),
            (kernels.R_OWN_AT, self._page.address + layout.READER_CURSOR_AT),
            (kernels.R_PARKED_AT, self._page.address + layout.READER_PARKED_AT),
            (kernels.R_ACTOR, ring.actor_index),
            (kernels.R_COPY_AT, 0 if self.gate else self._copy.ctypes.data),
            (kernels.R_OVERRUN_AT, self._page.address + layout.READER_OVERRUN_AT),
        ):
            self.words[at] = value
        committed = int(self._page.word(layout.READER_CURSOR_AT)[0])
        self.detached = committed == layout.DETACHED
        if not self.detached:
            self.seek(committed)
        self._slots = ring.slots()

    def seek(self, cursor: int) -> None:
        """Set the committed cursor (recovery only); it is stored at once."""
        self.words[kernels.R_CURSOR] = self.words[kernels.R_SEEN] = cursor
        self._page.word(layout.READER_CURSOR_AT)[0] = cursor

    def reattach(self) -> int:
        """Become a gate again after the supervisor detached this one: the cursor from where on nothing is missed.

        A writer may have looked at the gates right before it could see this one, and believes the ring free up to
        then. Behind the membarrier it has seen it, and cannot have looked at a later cursor than the one read now.
        """
        self.seek(self.ring.cursor)
        kernels.fence_everyone()
        self.seek(self.ring.cursor)
        self.detached = False
        return self.cursor

    @property
    def overtaken(self) -> bool:
        """Whether the writer passed this gate by, as a kill within `reattach` may leave it."""
        behind = self.ring.cursor - self.cursor
        return self.gate and not self.detached and behind > self.ring.capacity

    def durable(self, sequence: int) -> None:
        """Say up to which sequence this reader's archive has reached the disk (auditors only)."""
        self._page.word(layout.READER_DURABLE_AT)[0] = sequence

    @property
    def overrun(self) -> int:
        """Slots that the writer overran before this reader had them; always 0 for a gate."""
        return int(self._page.word(layout.READER_OVERRUN_AT)[0])

    @property
    def cursor(self) -> int:
        """Last sequence committed."""
        return int(self.words[kernels.R_CURSOR])

    @property
    def lag(self) -> int:
        """Slots published and not yet committed."""
        return self.ring.cursor - self.cursor

    def available(self) -> int:
        """Slots that may be read now. Looks at the writer's cursor each time; kernels look when they have none left."""
        self.words[kernels.R_SEEN] = self.words[kernels.R_CURSOR]
        return int(kernels.available(self.words))

    def slots(self, count: int) -> tuple[SlotArray, ...]:
        """Views of the next `count` available slots: one array, or two where they wrap.

        For a reader that is no gate: copies, without those that were overrun meanwhile (counted).
        """
        if not self.gate:
            found = [self._fetched(self.cursor + 1 + offset) for offset in range(count)]
            return tuple(slot for slot in found if len(slot))
        first = self.cursor & (self.ring.capacity - 1)
        last = first + count
        if last <= self.ring.capacity:
            return (self._slots[first:last],)
        return (self._slots[first:], self._slots[: last - self.ring.capacity])

    def _fetched(self, sequence: int) -> SlotArray:
        """A copy of one slot, as an array of one; of none when it was overrun."""
        at = kernels.fetch(self.words, sequence)
        kind = layout.slot_dtype(self.ring.stride)
        return self._copy.view(kind).copy() if at else np.empty(0, kind)

    def commit(self, count: int) -> None:
        """Give `count` slots back to the writer."""
        kernels.release(self.words, count)

    def close(self) -> None:
        """Unmap; the cursor stays."""
        self._slots = np.empty(0, layout.HEADER_DTYPE)
        self._page.close()
        self.ring.segment.close()
