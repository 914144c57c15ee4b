"""What a ring's first pages say of it, and whether that can be true.

Nothing is believed: each word is held against its limits before anything is computed from it, then the words against the
segment's size, the schema pages, and each reader's own page. So a damaged ring, or one of another version, is refused
with what was found and what was expected, and no later access can leave the mapping.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from sovereign.runtime import layout, limits
from sovereign.runtime.errors import LayoutError
from sovereign.runtime.shm import Segment
from sovereign.runtime.spec import RingSpec


def refuse(name: str, what: str, got: object, expected: object) -> LayoutError:
    """The error for a ring that is not what it should be."""
    return LayoutError(
        f"ring {name}: {what}",
        where=f"/dev/shm{name}",
        got=str(got),
        expected=str(expected),
        hint="`sovereign up --fresh` seals what it holds and makes it anew",
    )


class Layout(msgspec.Struct, forbid_unknown_fields=True):
    """One message layout as `Message.schema` spells it."""

    name: str
    schema_id: str
    type_id: int
    bytes: int
    fields: list[tuple[str, str, int]]


class _Reader(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    gate: bool
    archives: bool


class Description(msgspec.Struct, forbid_unknown_fields=True):
    """What stands in the schema pages."""

    ring: str
    types: list[Layout]
    readers: list[_Reader]

    def layouts(self) -> tuple[dict[str, Any], ...]:
        """The types as plain data, as `Message.schema` gives them."""
        return tuple(msgspec.to_builtins(kind) for kind in self.types)


def described(spec: RingSpec) -> bytes:
    """The text of the schema pages."""
    return msgspec.json.encode(
        {
            "ring": spec.name,
            "types": [kind.schema() for kind in spec.types],
            "readers": [
                {"name": one.name, "gate": one.gate, "archives": one.archives}
                for one in spec.readers
            ],
        }
    )


WORDS = {
    "version": layout.RING_VERSION_AT,
    "capacity": layout.RING_CAPACITY_AT,
    "stride": layout.RING_STRIDE_AT,
    "readers": layout.RING_READERS_AT,
    "schema": layout.RING_SCHEMA_AT,
    "generation": layout.RING_GENERATION_AT,
    "actor": layout.RING_ACTOR_AT,
    "bytes": layout.RING_BYTES_AT,
    "text": layout.RING_TEXT_BYTES_AT,
}


def digest(segment: Segment, text: bytes) -> int:
    """Of words and text, as they stand: a bit that changed is seen even where its value would do."""
    said = segment.memory[layout.RING_VERSION_AT : layout.RING_DIGEST_AT].tobytes() + text
    return int.from_bytes(hashlib.sha256(said).digest()[:8], "little", signed=True)


def check_words(full: str, segment: Segment) -> dict[str, int]:
    """The description's words, each within its limits: what follows may rely on them."""
    magic = segment.memory[0:8].tobytes()
    if magic != layout.RING_MAGIC:
        raise refuse(full, "is not a ring", magic, layout.RING_MAGIC)
    words = {key: int(segment.word(at)[0]) for key, at in WORDS.items()}
    version, capacity, stride = words["version"], words["capacity"], words["stride"]
    if version != limits.RING_LAYOUT_VERSION:
        raise refuse(full, "has another layout version", version, limits.RING_LAYOUT_VERSION)
    for what, key, most in (
        ("number of readers", "readers", limits.RING_MAX_READERS),
        ("number of its actor", "actor", layout.NO_ACTOR),
        ("generation", "generation", limits.RING_GENERATION_MAX),
    ):
        if not 0 <= words[key] <= most:
            raise refuse(full, f"its {what} is corrupt", words[key], f"0 to {most}")
    if capacity & (capacity - 1) or not limits.RING_MIN_SLOTS <= capacity <= limits.RING_MAX_SLOTS:
        expected = f"a power of two from {limits.RING_MIN_SLOTS} to {limits.RING_MAX_SLOTS}"
        raise refuse(full, "its capacity is corrupt", capacity, expected)
    fits = limits.SLOT_HEADER_BYTES <= stride <= limits.SLOT_MAX_BYTES
    if not fits or stride % limits.SLOT_ALIGN_BYTES:
        expected = f"a multiple of {limits.SLOT_ALIGN_BYTES} up to {limits.SLOT_MAX_BYTES} bytes"
        raise refuse(full, "its slot size is corrupt", stride, expected)
    size = layout.slots_at(words["readers"]) + capacity * stride
    if not words["bytes"] == segment.bytes == size:
        got = f"{segment.bytes} bytes, {words['bytes']} by its own word"
        raise refuse(full, "its size does not fit its description", got, f"{size} bytes")
    if not 0 < words["text"] <= limits.RING_SCHEMA_PAGES * limits.PAGE_BYTES:
        raise refuse(full, "its description is corrupt", words["text"], "a length in its pages")
    return words


def check_description(full: str, name: str, segment: Segment, words: dict[str, int]) -> Description:
    """The schema pages, in agreement with the words and with the readers' own pages."""
    text = segment.memory[limits.PAGE_BYTES : limits.PAGE_BYTES + words["text"]].tobytes()
    stands, computed = int(segment.word(layout.RING_DIGEST_AT)[0]), digest(segment, text)
    if stands != computed:
        raise refuse(full, "its description was changed", f"digest {computed:x}", f"{stands:x}")
    try:
        said = msgspec.json.decode(text, type=Description)
        ids = [int(kind.schema_id, 16) for kind in said.types]
    except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors
        raise refuse(full, "its description is corrupt", error, "its layouts as JSON") from None
    schema = 0
    for one in ids:
        schema ^= one
    pages = [_page_says(segment, index) for index in range(words["readers"])]
    readers = [(one.name, one.gate) for one in said.readers]
    for what, got, expected in (
        ("it is another ring", said.ring, name),
        ("its schema is not that of its layouts", words["schema"], schema),
        ("its readers' pages and its description disagree", pages, readers),
    ):
        if got != expected:
            raise refuse(full, what, got, expected)
    needed = max((kind.bytes for kind in said.types), default=0)
    if words["stride"] < limits.SLOT_HEADER_BYTES + needed:
        raise refuse(full, "its slots do not hold its messages", words["stride"], f"{needed} more")
    return said


def _page_says(segment: Segment, index: int) -> tuple[str, bool | int]:
    """Name of a reader, and whether it is a gate, as its own page has them."""
    page = layout.reader_page(index)
    raw = segment.memory[page + layout.READER_NAME_AT : page + limits.PAGE_BYTES].tobytes()
    gate = int(segment.word(page + layout.READER_GATE_AT)[0])
    return raw.split(b"\0")[0].decode(errors="replace"), bool(gate) if gate in (0, 1) else gate
