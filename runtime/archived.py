"""Where a ring's slots stand in an archive, and how a slot is found there by its sequence.

    <archive>/<ring>/g<generation>/<first sequence>.npy      4096 bytes of header, then the slots

The auditor writes these files (`actors/auditor`); who needs a ring's past reads them here. Reading is by pread: a file
that is cut while it is read gives fewer slots, and never a bus error.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sovereign.runtime import layout
from sovereign.runtime.ring import Ring, SlotArray

HEADER_BYTES = 4096


def generation_folder(archive: Path, ring: Ring) -> Path:
    """The folder of a ring's segments since it was made."""
    return archive / ring.name / f"g{ring.generation:010d}"


def segment_path(folder: Path, first_sequence: int) -> Path:
    """The file of the segment that begins with `first_sequence`."""
    return folder / f"{first_sequence:020d}.npy"


def run_length(slots: SlotArray, first: int) -> int:
    """How many of `slots` follow each other from the sequence `first` on."""
    right = slots["sequence"] == np.arange(first, first + len(slots), dtype=np.uint64)
    return len(slots) if right.all() else int(np.argmin(right))


class Archived:
    """The slots of one ring in one archive. `written()`: up to which sequence its auditor has written whole slots."""

    def __init__(self, archive: Path, ring: Ring, written: Callable[[], int]) -> None:
        self.folder = generation_folder(archive, ring)
        self._dtype = layout.slot_dtype(ring.stride)
        self._generation = ring.generation
        self._written = written
        self._starts: list[int] = []

    def read(self, first: int, most: int) -> SlotArray:
        """Up to `most` slots that follow each other from `first` on; none when `first` does not stand there."""
        most = min(most, self._written() - first + 1)
        slots = self._read(first, most)
        if not len(slots):
            self._look()
            slots = self._read(first, most)
        return slots

    def _look(self) -> None:
        """List the segments: those that begin after the last look are new."""
        self._starts = sorted(int(one.stem) for one in self.folder.glob("*.npy"))

    def _read(self, first: int, most: int) -> SlotArray:
        place = bisect.bisect_right(self._starts, first) - 1
        if place < 0 or most <= 0:
            return np.empty(0, self._dtype)
        path = segment_path(self.folder, self._starts[place])
        at = HEADER_BYTES + (first - int(path.stem)) * self._dtype.itemsize
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return np.empty(0, self._dtype)
        try:
            raw = os.pread(fd, most * self._dtype.itemsize, at)
        finally:
            os.close(fd)
        slots = np.frombuffer(raw, self._dtype, len(raw) // self._dtype.itemsize)
        slots = slots[: run_length(slots, first)]
        return slots if (slots["generation"] == self._generation).all() else slots[:0]

    def following(self, sequence: int) -> int | None:
        """The first sequence from `sequence` on at which something stands; None when nothing follows."""
        self._look()
        for start in (sequence, *(start for start in self._starts if start > sequence)):
            if len(self.read(start, 1)):
                return start
        return None
