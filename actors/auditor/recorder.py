"""One ring into its segments: <archive>/<ring>/g<generation>/<first sequence>.npy, and a manifest beside each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sovereign.actors.auditor import manifest
from sovereign.actors.auditor.segment import OpenSegment, whole_slots
from sovereign.runtime import commit
from sovereign.runtime.archived import generation_folder, segment_path
from sovereign.runtime.ring import Ring


class Recorder:
    """Takes slots in order, rolls segments, seals. `sealed`: how many it has sealed."""

    def __init__(self, archive: Path, node: str, ring: Ring, records: int) -> None:
        self.folder = generation_folder(archive, ring)
        self._records = records
        self._about: dict[str, Any] = {
            "node": node,
            "ring": ring.name,
            "actor": ring.actor_index,
            "generation": ring.generation,
            "types": list(ring.types),
            "recovered": False,
        }
        self._stride = ring.stride
        self.sealed = 0
        self._seal_what_others_left(archive / ring.name)
        self._open = self._left_open()

    def _left_open(self) -> OpenSegment | None:
        """The segment that a killed predecessor was writing: ours to seal, even when no slot follows."""
        newest = max(self.folder.glob("*.npy"), default=None)
        if newest is None or newest.with_suffix(".json").exists():
            return None
        return OpenSegment(self.folder, int(newest.stem), self._records, self._stride)

    def _seal_what_others_left(self, ring_folder: Path) -> None:
        """Segments of older generations that nobody sealed: cut at their torn tail, sealed as recovered."""
        for path in sorted(ring_folder.glob("g*/*.npy")):
            if path.parent != self.folder and not path.with_suffix(".json").exists():
                seal_recovered(path, self._about)

    def write(self, sequence: int, blocks: tuple[npt.NDArray[np.void], ...]) -> None:
        """Slots from `sequence` on, in one or two runs; segments roll as they fill."""
        for block in blocks:
            at = 0
            while at < len(block):
                segment = self._segment_for(sequence)
                part = block[at : at + segment.end - sequence]
                segment.write(sequence, [part])
                at += len(part)
                sequence += len(part)
                if sequence == segment.end:
                    self._seal(segment, segment.records)

    def _segment_for(self, sequence: int) -> OpenSegment:
        first = (sequence - 1) // self._records * self._records + 1
        if self._open is None or self._open.first_sequence != first:
            if self._open is not None:  # begun by a predecessor, behind what it had committed
                self._open.close()
            self._open = OpenSegment(self.folder, first, self._records, self._stride)
        return self._open

    def _seal(self, segment: OpenSegment, count: int) -> None:
        segment.seal(count)
        commit.kill_point()
        self._open = None
        previous = segment_path(self.folder, segment.first_sequence - self._records)
        before = previous.with_suffix(".json")
        said = manifest.describe(
            segment.path,
            np.load(segment.path, mmap_mode="r"),
            self._about,
            before if before.exists() else None,
        )
        manifest.write(segment.path, said)
        commit.kill_point()
        self.sealed += 1

    def sync(self) -> None:
        """Until the disk has all that was written."""
        if self._open is not None:
            self._open.sync()

    def pause(self) -> None:
        """The end of a run: what is open stays open on disk, whole, and the next run goes on in it."""
        self.sync()

    def finish(self) -> None:
        """Seal what is open, however short. The next run of this generation opens it again, and seals it anew."""
        if self._open is None:
            return
        if count := len(whole_slots(self._open.path)):
            self._seal(self._open, count)
        else:
            self._open.remove()
        self._open = None


def seal_recovered(path: Path, about: dict[str, Any]) -> None:
    """Seal a segment that its writer left open; an empty one is removed."""
    slots = whole_slots(path)
    if len(slots) == 0:
        path.unlink()
        return
    segment = OpenSegment(path.parent, int(path.stem), len(slots), slots.dtype.itemsize)
    segment.seal(len(slots))
    generation = int(path.parent.name[1:])
    before = sorted(one for one in path.parent.glob("*.json") if one.stem < path.stem)
    said = manifest.describe(
        path,
        np.load(path, mmap_mode="r"),
        {**about, "generation": generation, "recovered": True},
        before[-1] if before else None,
    )
    manifest.write(path, said)
