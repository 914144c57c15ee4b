"""What came out against what must have: each finding is something lost, repeated, or wrong.

Slots are compared byte for byte but for times. Where the order is free (the bus) each input must be there once, in its
own order; everything behind the bus is compared with a rerun over the bus's own slots, so it must agree with the
order that the bus gave.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sovereign.actors.auditor.verify import verify_archive
from sovereign.actors.strategy.identity import PluginVersion
from sovereign.benchmarks.chaos.wired import BUS
from sovereign.messages.time import Tick
from sovereign.runtime import layout
from sovereign.runtime.ring import SlotArray
from sovereign.runtime.spec import NodeSpec

_TEXTS_MOST = 20
_OWN_FIELDS = frozenset({"sequence", "publish_ns", "cause_actor", "cause_seq", "generation"})


@dataclass
class Findings:
    """Counts, and the first of them in words."""

    lost: int = 0
    repeated: int = 0
    wrong: int = 0
    texts: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Nothing was found."""
        return not (self.lost or self.repeated or self.wrong)

    def note(self, text: str, *, lost: int = 0, repeated: int = 0, wrong: int = 0) -> None:
        """Count, and say."""
        self.lost, self.repeated = self.lost + lost, self.repeated + repeated
        self.wrong += wrong
        if len(self.texts) < _TEXTS_MOST:
            self.texts.append(text)

    def add(self, other: Findings) -> None:
        """Take up what another comparison found."""
        self.lost, self.repeated = self.lost + other.lost, self.repeated + other.repeated
        self.wrong += other.wrong
        self.texts = (self.texts + other.texts)[:_TEXTS_MOST]

    def same(self, what: str, got: SlotArray, wanted: SlotArray) -> None:
        """Compare rows of bytes, in order."""
        if got.tobytes() == wanted.tobytes():
            return
        rows, ideal = _rows(got), _rows(wanted)
        extra = (Counter(rows) - Counter(ideal)).total()
        missing = (Counter(ideal) - Counter(rows)).total()
        both = min(extra, missing)
        pairs = enumerate(zip(rows, ideal, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(rows), len(ideal)))
        self.note(
            f"{what}: row {at} of {len(got)} is {_shown(got, at)}, expected {_shown(wanted, at)} of {len(wanted)}",
            lost=missing - both,
            repeated=extra - both,
            wrong=both if extra or missing else 1,
        )


def _rows(slots: SlotArray) -> list[bytes]:
    size, raw = slots.dtype.itemsize, slots.tobytes()
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def _shown(slots: SlotArray, at: int) -> str:
    if at >= len(slots):
        return "missing"
    return " ".join(
        f"{name}={value}" for name, value in zip(slots.dtype.names or (), slots[at], strict=True)
    )[:400]


def timeless(slots: SlotArray, spec: NodeSpec, ring: str) -> SlotArray:
    """A copy without the times of the writer's own clock: publication, and fields named `*_ns`."""
    found = np.ascontiguousarray(slots).copy()
    found["publish_ns"] = 0
    raw = found.view(np.uint8).reshape(len(found), -1)
    output = spec.actor(ring).output
    assert output is not None
    for kind in output.types:
        for name in [one for one in kind.dtype.names or () if one.endswith("_ns")]:
            size, offset = kind.dtype.fields[name][:2]  # type: ignore[index]
            first = layout.SLOT_PAYLOAD + int(offset)
            raw[found["type_id"] == kind.type_id, first : first + size.itemsize] = 0
    return found


def without_versions(slots: SlotArray) -> SlotArray:
    """A strategy's slots without the records of its code, which a start repeats when the ring forgot them; unnumbered."""
    found: SlotArray = slots[slots["type_id"] != PluginVersion.type_id].copy()
    found["sequence"] = 0
    return found


def archived(archive: Path, ring: str, stride: int) -> SlotArray:
    """All slots of a ring in the archive, by plain NumPy."""
    parts = [np.load(path) for path in sorted(archive.glob(f"{ring}/g*/*.npy"))]
    return np.concatenate([np.zeros(0, layout.slot_dtype(stride)), *parts])


def check_archive(
    archive: Path, recorded: dict[str, SlotArray], cursors: dict[str, int], heard: dict[str, Any]
) -> Findings:
    """The project's own verdict; each slot of each ring once; and, where someone listened along, the bytes heard."""
    found = Findings()
    verdict = verify_archive(archive)
    for failure in verdict.failures:
        found.note(f"archive: {failure}", wrong=1)
    if verdict.open_segments:
        found.note(f"archive: {verdict.open_segments} segments are not sealed", wrong=1)
    for ring, slots in recorded.items():
        numbers = slots["sequence"].astype(np.int64)
        once = np.unique(numbers)
        missing = cursors[ring] - len(once[(once >= 1) & (once <= cursors[ring])])
        if missing or len(once) != len(numbers):
            said = f"archive: ring {ring} has {len(numbers)} slots of {cursors[ring]}"
            found.note(said, lost=missing, repeated=len(numbers) - len(once))
        elif not (numbers == np.arange(1, len(numbers) + 1)).all():
            found.note(f"archive: ring {ring} is out of order", wrong=1)
        elif ring in heard and hashlib.sha256(slots.tobytes()).digest() != heard[ring].digest():
            found.note(f"archive: ring {ring} has other bytes than were read from it", wrong=1)
    return found


def _forwarded(slots: SlotArray, numbers: str, payload_bytes: int) -> SlotArray:
    """What the bus must keep of a slot: its number in the input, and all but what is the bus's own."""
    kept = [name for name in layout.HEADER_DTYPE.names or () if name not in _OWN_FIELDS]
    formats = [layout.HEADER_DTYPE[name] for name in kept]
    dtype = np.dtype(
        {"names": ["number", *kept, "payload"], "formats": ["<u8", *formats, f"V{payload_bytes}"]}
    )
    found = np.zeros(len(slots), dtype)
    found["number"] = slots[numbers]
    for name in kept:
        found[name] = slots[name]
    room = min(payload_bytes, slots.dtype["payload"].itemsize)
    target = found.view(np.uint8).reshape(len(found), dtype.itemsize)
    source = np.ascontiguousarray(slots).view(np.uint8).reshape(len(slots), slots.dtype.itemsize)
    at = int(dtype.fields["payload"][1])  # type: ignore[index]
    target[:, at : at + room] = source[:, layout.SLOT_PAYLOAD : layout.SLOT_PAYLOAD + room]
    return found


def check_bus(spec: NodeSpec, recorded: dict[str, SlotArray]) -> Findings:
    """Each input's slots once, in their order; ticks numbered without a hole; nothing else."""
    found, bus = Findings(), recorded[BUS]
    room = bus.dtype["payload"].itemsize
    known: npt.NDArray[np.bool_] = np.zeros(len(bus), bool)
    for one in spec.actor(BUS).inputs:
        mine = bus["cause_actor"] == one.actor_index
        known |= mine
        got = _forwarded(bus[mine], "cause_seq", room)
        found.same(f"bus, from {one.ring}", got, _forwarded(recorded[one.ring], "sequence", room))
    ticks = (bus["cause_actor"] == layout.NO_ACTOR) & (bus["type_id"] == Tick.type_id)
    numbers = bus[ticks]["cause_seq"].astype(np.int64)
    ideal = np.arange(1, len(numbers) + 1)
    told = layout.payload(bus[ticks], Tick.dtype)["number"].astype(np.int64)
    if not (numbers == ideal).all() or not (told == ideal).all():
        found.note("bus: the ticks are not numbered one by one", wrong=1)
    if strangers := int(np.count_nonzero(~(known | ticks))):
        found.note(f"bus: {strangers} slots of no input", repeated=strangers)
    return found
