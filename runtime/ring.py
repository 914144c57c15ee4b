"""A ring: one shared-memory segment of fixed-size slots; made, described and checked here.

Who owns what: the writer owns the cursor and the slots; each reader owns one page with its cursor. Nobody else writes
there, and a reader's process has the slots mapped read-only. Gates are known when the ring is made, so a gate holds
the writer back even before its process runs. Roles are leases that the kernel holds (`lease.py`).

What a late reader sees: a gate misses nothing; an observer that was overrun counts what it lost and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sovereign.runtime import layout, limits
from sovereign.runtime.errors import LayoutError, LimitError
from sovereign.runtime.message import Message
from sovereign.runtime.ring_description import (
    WORDS,
    check_description,
    check_words,
    described,
    digest,
    refuse,
)
from sovereign.runtime.shm import Segment, segment_name, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec

__all__ = [
    "Ring",
    "SlotArray",
    "check_types",
    "create_ring",
    "detach_reader",
    "open_ring",
    "remove_ring",
    "ring_bytes",
    "schema_of",
]

SlotArray = npt.NDArray[np.void]


def schema_of(types: tuple[type[Message], ...]) -> int:
    """One number for a set of message types; independent of their order."""
    value = 0
    for kind in types:
        value ^= kind.schema_id
    return value


def _check_spec(spec: RingSpec) -> None:
    capacity = spec.capacity
    if capacity & (capacity - 1) or not limits.RING_MIN_SLOTS <= capacity <= limits.RING_MAX_SLOTS:
        raise LimitError(
            f"ring {spec.name}: capacity {capacity} is not usable",
            expected=f"a power of two from {limits.RING_MIN_SLOTS} to {limits.RING_MAX_SLOTS} slots",
        )
    if len(spec.readers) > limits.RING_MAX_READERS:
        raise LimitError(
            f"ring {spec.name} has {len(spec.readers)} readers",
            expected=f"at most {limits.RING_MAX_READERS}",
        )
    if spec.stride > limits.SLOT_MAX_BYTES:
        raise LimitError(
            f"ring {spec.name}: a slot of {spec.stride} bytes is too large",
            expected=f"at most {limits.SLOT_MAX_BYTES} bytes, {limits.SLOT_HEADER_BYTES} of them the header",
            hint="split the message into parts, as `Raw` does",
        )
    needed = max((kind.dtype.itemsize for kind in spec.types), default=0)
    if spec.stride % limits.SLOT_ALIGN_BYTES or spec.stride < limits.SLOT_HEADER_BYTES + needed:
        raise LimitError(
            f"ring {spec.name}: a slot of {spec.stride} bytes cannot hold its messages",
            expected=f"{layout.stride_for(needed)} bytes, a multiple of {limits.SLOT_ALIGN_BYTES}",
        )


def ring_bytes(spec: RingSpec) -> int:
    """Shared memory that the ring takes, in whole pages."""
    size = layout.slots_at(len(spec.readers)) + spec.capacity * spec.stride
    return layout.round_up(size, limits.PAGE_BYTES)


def create_ring(spec: RingSpec, node: str, generation: int = 1) -> None:
    """Make the ring's segment. LimitError, ResourceError (name taken, memory short)."""
    _check_spec(spec)
    text = described(spec)
    if len(text) > limits.RING_SCHEMA_PAGES * limits.PAGE_BYTES:
        raise LimitError(f"ring {spec.name}: its message layouts do not fit the schema pages")
    size = layout.slots_at(len(spec.readers)) + spec.capacity * spec.stride
    segment = Segment.create(segment_name(node, spec.name), size)
    memory = segment.memory
    memory[limits.PAGE_BYTES : limits.PAGE_BYTES + len(text)] = np.frombuffer(text, np.uint8)
    for index, reader in enumerate(spec.readers):
        page = layout.reader_page(index)
        name = reader.name.encode()
        segment.word(page + layout.READER_GATE_AT)[0] = int(reader.gate)
        at = page + layout.READER_NAME_AT
        memory[at : at + len(name)] = np.frombuffer(name, np.uint8)
    for key, value in (
        ("version", limits.RING_LAYOUT_VERSION),
        ("capacity", spec.capacity),
        ("stride", spec.stride),
        ("readers", len(spec.readers)),
        ("schema", schema_of(spec.types)),
        ("generation", generation),
        ("actor", spec.actor_index),
        ("bytes", size),
        ("text", len(text)),
    ):
        segment.word(WORDS[key])[0] = value
    segment.word(layout.RING_DIGEST_AT)[0] = digest(segment, text)
    memory[0:8] = np.frombuffer(layout.RING_MAGIC, np.uint8)  # last: a ring half made has no magic
    segment.close()


def detach_reader(node: str, name: str, reader: str) -> int:
    """Let no writer wait for `reader` any more (the supervisor only, once its process is dead); where it stood."""
    ring = open_ring(node, name)
    index = [one.name for one in ring.readers].index(reader)
    before = ring.reader_cursor(index)
    ring.segment.close()
    with Segment.open_part(
        segment_name(node, name), layout.reader_page(index), limits.PAGE_BYTES
    ) as page:
        page.word(layout.READER_CURSOR_AT)[0] = layout.DETACHED
    return before


def remove_ring(node: str, name: str) -> None:
    """Unlink a ring's segment."""
    unlink(segment_name(node, name))


@dataclass(frozen=True)
class Ring:
    """What a ring's first pages say of it, checked."""

    segment: Segment
    name: str
    capacity: int
    stride: int
    schema: int
    generation: int
    actor_index: int
    types: tuple[dict[str, Any], ...]
    readers: tuple[ReaderSpec, ...]

    @property
    def cursor(self) -> int:
        """Last sequence published."""
        return int(self.segment.word(layout.RING_CURSOR_AT)[0])

    def reader_cursor(self, index: int) -> int:
        """Last sequence that reader `index` committed."""
        return int(self.segment.word(layout.reader_page(index) + layout.READER_CURSOR_AT)[0])

    def lowest_gate(self) -> int:
        """The cursor of the slowest gate; the ring's own cursor when it has no gate, or a detached one."""
        gates = [self.reader_cursor(i) for i, reader in enumerate(self.readers) if reader.gate]
        return min((at for at in gates if at != layout.DETACHED), default=self.cursor)

    def overrun(self, index: int) -> int:
        """Slots that the writer overran before reader `index` (no gate) had them."""
        return int(self.segment.word(layout.reader_page(index) + layout.READER_OVERRUN_AT)[0])

    def durable_cursor(self, index: int) -> int:
        """Last sequence that the archive of reader `index` (an auditor) has on disk."""
        return int(self.segment.word(layout.reader_page(index) + layout.READER_DURABLE_AT)[0])

    def slots(self) -> SlotArray:
        """All slots, as records."""
        first = layout.slots_at(len(self.readers))
        raw = self.segment.memory[first : first + self.capacity * self.stride]
        return raw.view(layout.slot_dtype(self.stride))

    @property
    def slots_address(self) -> int:
        """Where the first slot stands in this mapping."""
        return self.segment.address + layout.slots_at(len(self.readers))


def _check_cursors(full: str, ring: Ring) -> None:
    """No cursor is below nought, and no reader is beyond the writer, whose cursor is read after it: it may move meanwhile.

    A gate that was passed by is for its own process to judge (`Reader.overtaken`): the others can do without it.
    """
    if ring.cursor < 0:
        raise refuse(full, "its cursor is corrupt", ring.cursor, "0 or more")
    for index in range(len(ring.readers)):
        at, writer = ring.reader_cursor(index), ring.cursor
        if at == layout.DETACHED:
            continue
        if at < 0:
            raise refuse(full, f"the cursor of reader {index} is corrupt", at, f"0 to {writer}")
        if at > writer:
            raise refuse(full, f"reader {index} is beyond the writer", at, f"≤ {writer}")


def open_ring(node: str, name: str, *, writable: bool = False, resident: bool = False) -> Ring:
    """Map and check a ring; `resident`: no page of it will fault later.

    LayoutError says what was found and expected; ResourceError when it is not there.
    """
    full = segment_name(node, name)
    segment = Segment.open(full, writable=writable, resident=resident)
    try:
        words = check_words(full, segment)
        said = check_description(full, name, segment, words)
        ring = Ring(
            segment,
            said.ring,
            words["capacity"],
            words["stride"],
            words["schema"],
            words["generation"],
            words["actor"],
            said.layouts(),
            tuple(ReaderSpec(one.name, one.gate, one.archives) for one in said.readers),
        )
        _check_cursors(full, ring)
    except LayoutError:
        segment.close()
        raise
    return ring


def check_types(ring: Ring, types: tuple[type[Message], ...]) -> None:
    """LayoutError when the ring carries other layouts than `types`; the text shows both."""
    if ring.schema == schema_of(types):
        return
    theirs = "; ".join(f"{one['name']} {one['schema_id']} {one['fields']}" for one in ring.types)
    ours = "; ".join(f"{k.__name__} {k.schema_id:016x} {k.schema()['fields']}" for k in types)
    raise refuse(ring.segment.name, "carries other message layouts", theirs, ours)
