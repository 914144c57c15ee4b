"""Look into a ring without holding its writer back: no page, no lease, no cursor that anyone minds.

Contract. An observer may be overrun at any moment, even while it copies. It copies a slot and looks at the slot's
sequence again: the writer makes a slot's new sequence visible before it touches the bytes (`kernels.open_slot`), so a
sequence that still stands says that the copy is whole. Every slot is either given out whole or counted in `overrun`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sovereign.runtime import atomics, kernels, layout
from sovereign.runtime.jit import njit
from sovereign.runtime.ring import SlotArray, open_ring


@njit
def take(
    cursor_at: Any, slots: Any, capacity: Any, stride: Any, after: Any, most: Any, out: Any
) -> Any:
    """Copy up to `most` slots that follow `after` to the address `out`: (last sequence passed, slots copied whole).

    What lies further behind than the ring is long is passed at once. The acquire load orders the copies after the cursor.
    """
    published = atomics.load_acquire(cursor_at)
    first = max(after, published - capacity)
    last = min(published, first + most)
    whole = 0
    for sequence in range(first + 1, last + 1):
        slot = kernels.slot_of(slots, capacity - 1, stride, sequence)
        whole += kernels.copy_whole(slot, out + whole * stride, stride, sequence)
    return last, whole


class Observer:
    """Looks without holding the writer back; needs no page and no lease."""

    def __init__(self, node: str, name: str, start: str = "newest") -> None:
        self.ring = open_ring(node, name)
        cursor = self.ring.cursor
        self.cursor = cursor if start == "newest" else max(0, cursor - self.ring.capacity)
        self.overrun = 0

    def read(self, most: int = 256) -> SlotArray:
        """Copies of up to `most` slots that followed; those overwritten before they were whole are counted in `overrun`."""
        ring = self.ring
        most = min(most, ring.capacity)
        copies = np.empty(most, layout.slot_dtype(ring.stride))
        last, whole = take(
            ring.segment.address + layout.RING_CURSOR_AT,
            ring.slots_address,
            ring.capacity,
            ring.stride,
            self.cursor,
            most,
            copies.ctypes.data,
        )
        self.overrun += last - self.cursor - whole
        self.cursor = last
        return copies[:whole]

    def close(self) -> None:
        """Unmap."""
        self.ring.segment.close()
