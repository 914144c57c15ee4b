"""Look into a ring without holding its writer back: no page, no lease, no cursor that anyone minds."""

from __future__ import annotations

import numpy as np

from sovereign.runtime import atomics, layout
from sovereign.runtime.jit import njit
from sovereign.runtime.ring import SlotArray, open_ring


class Observer:
    """Looks without holding the writer back; needs no page and no lease."""

    def __init__(self, node: str, name: str, start: str = "newest") -> None:
        self.ring = open_ring(node, name)
        self._slots = self.ring.slots()
        cursor = self.ring.cursor
        self.cursor = cursor if start == "newest" else max(0, cursor - self.ring.capacity)
        self.overrun = 0

    def read(self, most: int = 256) -> SlotArray:
        """Copies of up to `most` slots that followed; those overwritten while copying are counted in `overrun`."""
        published = self.ring.cursor
        behind = published - self.cursor - self.ring.capacity
        if behind > 0:
            self.overrun += behind
            self.cursor += behind
        wanted = np.arange(self.cursor + 1, min(published, self.cursor + most) + 1, dtype=np.uint64)
        places = (wanted - np.uint64(1)) & np.uint64(self.ring.capacity - 1)
        copied = self._slots[places.astype(np.int64)]
        _fence()
        whole = (copied["sequence"] == wanted) & (
            self._slots["sequence"][places.astype(np.int64)] == wanted
        )
        self.cursor += len(wanted)
        self.overrun += int(len(wanted) - np.count_nonzero(whole))
        kept: SlotArray = copied[whole]
        return kept

    def close(self) -> None:
        """Unmap."""
        self._slots = np.empty(0, layout.HEADER_DTYPE)
        self.ring.segment.close()


@njit
def _fence() -> None:
    """The copy happens before the second look at the sequences."""
    atomics.fence_acquire()
