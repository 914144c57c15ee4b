"""A ring: one shared-memory segment of fixed-size slots, one writer, many readers.

Who owns what: the writer owns the cursor and the slots; each reader owns one page with its cursor. Nobody else writes
there, and a reader's process has the slots mapped read-only. Gates are known when the ring is made, so a gate holds
the writer back even before its process runs. Roles are leases that the kernel holds (`lease.py`).

What a late reader sees: a gate misses nothing; an observer that was overrun counts what it lost and goes on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sovereign.runtime import kernels, layout, limits
from sovereign.runtime.errors import LayoutError, LimitError, SovereignError
from sovereign.runtime.message import Message
from sovereign.runtime.shm import Segment, segment_name, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec

__all__ = ["Observer", "Reader", "Ring", "Writer", "create_ring", "open_ring", "schema_of"]

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
    needed = max((kind.dtype.itemsize for kind in spec.types), default=0)
    if spec.stride % limits.SLOT_ALIGN_BYTES or spec.stride < limits.SLOT_HEADER_BYTES + needed:
        raise LimitError(
            f"ring {spec.name}: a slot of {spec.stride} bytes cannot hold its messages",
            expected=f"{layout.stride_for(needed)} bytes, a multiple of {limits.SLOT_ALIGN_BYTES}",
        )


def create_ring(spec: RingSpec, node: str, generation: int = 1) -> None:
    """Make the ring's segment. LimitError, ResourceError (name taken, memory short)."""
    _check_spec(spec)
    text = json.dumps(
        {
            "ring": spec.name,
            "types": [kind.schema() for kind in spec.types],
            "readers": [{"name": reader.name, "gate": reader.gate} for reader in spec.readers],
        }
    ).encode()
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
    for offset, value in (
        (layout.RING_VERSION_AT, limits.RING_LAYOUT_VERSION),
        (layout.RING_CAPACITY_AT, spec.capacity),
        (layout.RING_STRIDE_AT, spec.stride),
        (layout.RING_READERS_AT, len(spec.readers)),
        (layout.RING_SCHEMA_AT, schema_of(spec.types)),
        (layout.RING_GENERATION_AT, generation),
        (layout.RING_ACTOR_AT, spec.actor_index),
        (layout.RING_BYTES_AT, size),
        (layout.RING_TEXT_BYTES_AT, len(text)),
    ):
        segment.word(offset)[0] = value
    memory[0:8] = np.frombuffer(layout.RING_MAGIC, np.uint8)  # last: a ring half made has no magic
    segment.close()


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
        """The cursor of the slowest gate; the ring's own cursor when it has no gate."""
        gates = [self.reader_cursor(i) for i, reader in enumerate(self.readers) if reader.gate]
        return min(gates, default=self.cursor)

    def slots(self) -> SlotArray:
        """All slots, as records."""
        first = layout.slots_at(len(self.readers))
        raw = self.segment.memory[first : first + self.capacity * self.stride]
        return raw.view(layout.slot_dtype(self.stride))

    @property
    def slots_address(self) -> int:
        """Where the first slot stands in this mapping."""
        return self.segment.address + layout.slots_at(len(self.readers))


def _refuse(name: str, what: str, got: object, expected: object) -> LayoutError:
    return LayoutError(
        f"ring {name}: {what}",
        where=f"/dev/shm{name}",
        got=str(got),
        expected=str(expected),
        hint="`sovereign up --fresh` seals what it holds and makes it anew",
    )


def open_ring(node: str, name: str, *, writable: bool = False) -> Ring:
    """Map and check a ring. LayoutError says what was found and expected; ResourceError when it is not there."""
    full = segment_name(node, name)
    segment = Segment.open(full, writable=writable)
    magic = segment.memory[0:8].tobytes()
    if magic != layout.RING_MAGIC:
        raise _refuse(full, "is not a ring", magic, layout.RING_MAGIC)
    words = {
        key: int(segment.word(at)[0])
        for key, at in (
            ("version", layout.RING_VERSION_AT),
            ("capacity", layout.RING_CAPACITY_AT),
            ("stride", layout.RING_STRIDE_AT),
            ("readers", layout.RING_READERS_AT),
            ("bytes", layout.RING_BYTES_AT),
            ("text", layout.RING_TEXT_BYTES_AT),
            ("cursor", layout.RING_CURSOR_AT),
        )
    }
    if words["version"] != limits.RING_LAYOUT_VERSION:
        raise _refuse(
            full, "has another layout version", words["version"], limits.RING_LAYOUT_VERSION
        )
    if words["bytes"] != segment.bytes or words["bytes"] != (
        layout.slots_at(words["readers"]) + words["capacity"] * words["stride"]
    ):
        raise _refuse(full, "its size does not fit its description", segment.bytes, words["bytes"])
    if not 0 < words["text"] <= limits.RING_SCHEMA_PAGES * limits.PAGE_BYTES:
        raise _refuse(full, "its description is corrupt", words["text"], "a length in its pages")
    text = segment.memory[limits.PAGE_BYTES : limits.PAGE_BYTES + words["text"]].tobytes()
    said = json.loads(text)
    for index in range(words["readers"]):
        at = layout.reader_page(index) + layout.READER_CURSOR_AT
        if int(segment.word(at)[0]) > words["cursor"] and not writable:
            # The writer may have moved since its cursor was read: look again, in order.
            reader, writer = int(segment.word(at)[0]), int(segment.word(layout.RING_CURSOR_AT)[0])
            if reader > writer:
                raise _refuse(full, f"reader {index} is beyond the writer", reader, f"≤ {writer}")
    return Ring(
        segment,
        said["ring"],
        words["capacity"],
        words["stride"],
        int(segment.word(layout.RING_SCHEMA_AT)[0]),
        int(segment.word(layout.RING_GENERATION_AT)[0]),
        int(segment.word(layout.RING_ACTOR_AT)[0]),
        tuple(said["types"]),
        tuple(ReaderSpec(one["name"], one["gate"]) for one in said["readers"]),
    )


def check_types(ring: Ring, types: tuple[type[Message], ...]) -> None:
    """LayoutError when the ring carries other layouts than `types`; the text shows both."""
    if ring.schema == schema_of(types):
        return
    theirs = "; ".join(f"{one['name']} {one['schema_id']} {one['fields']}" for one in ring.types)
    ours = "; ".join(f"{k.__name__} {k.schema_id:016x} {k.schema()['fields']}" for k in types)
    raise _refuse(ring.segment.name, "carries other message layouts", theirs, ours)


class Writer:
    """The writing end. `words` is what kernels take. One batch is claimed, filled, published."""

    def __init__(self, node: str, name: str, types: tuple[type[Message], ...] | None = None) -> None:
        self.ring = open_ring(node, name, writable=True)
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
    ) -> int:
        """Fill the next slot with `record` (bytes, a record, or a dict of fields); the sequence it will have.

        SovereignError when the ring is full: ask `free` first.
        """
        sequence = self.cursor + self.filled + 1
        if self.filled >= self.free:
            raise SovereignError(f"ring {self.ring.name} is full", got=f"{self.ring.capacity} slots held")
        slot = self._slots[(sequence - 1) & (self.ring.capacity - 1)]
        words = self.words
        kernels.open_slot(
            int(words[kernels.W_SLOTS]), self.ring.capacity - 1, self.ring.stride, sequence
        )
        slot["origin_ns"] = origin_ns
        slot["publish_ns"] = publish_ns
        slot["cause_seq"] = cause_seq
        slot["type_id"] = kind.type_id
        slot["cause_actor"] = cause_actor
        slot["flags"] = flags
        slot["length"] = kind.dtype.itemsize
        slot["generation"] = self.ring.generation
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
        self.filled += 1
        return sequence

    def publish(self) -> int:
        """Publish all that was put since the last time; the new cursor."""
        if self.filled:
            kernels.publish(self.words, self.filled)
            self.filled = 0
        return self.cursor

    def close(self) -> None:
        """Unmap."""
        self._slots = self._raw = np.empty(0, np.uint8)
        self.ring.segment.close()


class Reader:
    """A reading end with a page of its own. `words` is what kernels take. The slots are mapped read-only."""

    def __init__(
        self, node: str, name: str, reader: str, types: tuple[type[Message], ...] | None = None
    ) -> None:
        self.ring = open_ring(node, name)
        if types is not None:
            check_types(self.ring, types)
        names = [one.name for one in self.ring.readers]
        if reader not in names:
            raise SovereignError(
                f"ring {name} has no reader {reader!r}", expected=", ".join(names) or "none", exit_code=4
            )
        self.index = names.index(reader)
        self._page = Segment.open_part(
            self.ring.segment.name, layout.reader_page(self.index), limits.PAGE_BYTES
        )
        ring = self.ring
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
        ):
            self.words[at] = value
        self.seek(int(self._page.word(layout.READER_CURSOR_AT)[0]))
        self._slots = ring.slots()

    def seek(self, cursor: int) -> None:
        """Set the committed cursor (recovery only); it is stored at once."""
        self.words[kernels.R_CURSOR] = self.words[kernels.R_SEEN] = cursor
        self._page.word(layout.READER_CURSOR_AT)[0] = cursor

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
        """Views of the next `count` available slots: one array, or two where they wrap."""
        first = self.cursor & (self.ring.capacity - 1)
        last = first + count
        if last <= self.ring.capacity:
            return (self._slots[first:last],)
        return (self._slots[first:], self._slots[: last - self.ring.capacity])

    def commit(self, count: int) -> None:
        """Give `count` slots back to the writer."""
        kernels.release(self.words, count)

    def close(self) -> None:
        """Unmap; the cursor stays."""
        self._slots = np.empty(0, np.uint8)
        self._page.close()
        self.ring.segment.close()


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
        whole = (copied["sequence"] == wanted) & (self._slots["sequence"][places.astype(np.int64)] == wanted)
        self.cursor += len(wanted)
        self.overrun += int(len(wanted) - np.count_nonzero(whole))
        kept: SlotArray = copied[whole]
        return kept

    def close(self) -> None:
        """Unmap."""
        self._slots = np.empty(0, np.uint8)
        self.ring.segment.close()


@kernels.njit
def _fence() -> None:
    """The copy happens before the second look at the sequences."""
    kernels.atomics.fence_acquire()
