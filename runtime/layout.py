"""Where everything stands: the one descriptor of each layout in shared memory.

    ring segment    page 0: description, writer's words │ schema pages │ one page a reader │ slots
    state segment   page 0: description │ schema pages │ copy A │ copy B
    node segment    page 0: control │ one block an actor (counters, then histograms)

Offsets are bytes. Words are little-endian u64 unless said otherwise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sovereign.runtime import limits

NO_ACTOR = 65_535
# The cursor of a gate that the supervisor has detached: no writer waits for it.
DETACHED = 2**63 - 1

HEADER_DTYPE: np.dtype[np.void] = np.dtype(
    {
        "names": [
            "sequence", "origin_ns", "publish_ns", "cause_seq", "type_id", "cause_actor",
            "flags", "length", "halt_epoch", "generation",
        ],
        "formats": ["<u8", "<i8", "<i8", "<u8", "<u4", "<u2", "<u2", "<u2", "<u2", "<u4"],
        "offsets": [0, 8, 16, 24, 32, 36, 38, 40, 42, 44],
        "itemsize": limits.SLOT_HEADER_BYTES,
    }
)  # fmt: skip

# Archives of manifest version 1: `length` took the place of itself and of `halt_epoch`, which was nought.
HEADER_DTYPE_V1: np.dtype[np.void] = np.dtype(
    {
        "names": [name for name in HEADER_DTYPE.names or () if name != "halt_epoch"],
        "formats": ["<u8", "<i8", "<i8", "<u8", "<u4", "<u2", "<u2", "<u4", "<u4"],
        "offsets": [0, 8, 16, 24, 32, 36, 38, 40, 44],
        "itemsize": limits.SLOT_HEADER_BYTES,
    }
)  # fmt: skip

SLOT_SEQUENCE = 0
SLOT_ORIGIN_NS = 8
SLOT_PUBLISH_NS = 16
SLOT_CAUSE_SEQ = 24
SLOT_TYPE_ID = 32
SLOT_CAUSE_ACTOR = 36
SLOT_FLAGS = 38
SLOT_LENGTH = 40
SLOT_HALT_EPOCH = 42
SLOT_GENERATION = 44
SLOT_PAYLOAD = limits.SLOT_HEADER_BYTES

RING_MAGIC = b"SOVRING\x00"
RING_VERSION_AT = 8
RING_CAPACITY_AT = 16
RING_STRIDE_AT = 24
RING_READERS_AT = 32
RING_SCHEMA_AT = 40
RING_GENERATION_AT = 48
RING_ACTOR_AT = 56
RING_BYTES_AT = 64
RING_TEXT_BYTES_AT = 72
RING_DIGEST_AT = 80
RING_CURSOR_AT = 1024
RING_CLAIM_AT = 1024 + limits.CACHE_LINE_BYTES

READER_CURSOR_AT = 0
READER_PARKED_AT = limits.CACHE_LINE_BYTES
READER_OVERRUN_AT = 2 * limits.CACHE_LINE_BYTES
READER_DURABLE_AT = 3 * limits.CACHE_LINE_BYTES
READER_GATE_AT = 2048
READER_NAME_AT = 2056

RING_FIRST_READER_AT = (1 + limits.RING_SCHEMA_PAGES) * limits.PAGE_BYTES

STATE_MAGIC = b"SOVSTAT\x00"
STATE_VERSION_AT = 8
STATE_SCHEMA_AT = 16
STATE_BYTES_AT = 24
STATE_INPUTS_AT = 32
STATE_TEXT_BYTES_AT = 48
STATE_FIRST_COPY_AT = (1 + limits.STATE_SCHEMA_PAGES) * limits.PAGE_BYTES
COPY_TAG_AT = 0
COPY_OUTPUT_AT = 8
COPY_INPUTS_AT = 128
COPY_STATE_AT = 128 + 8 * limits.ACTOR_MAX_INPUTS

NODE_MAGIC = b"SOVNODE\x00"
NODE_ACTORS_AT = 16
NODE_EPOCH_AT = 128
NODE_STARTED_AT = 256
NODE_SUPERVISOR_BEAT_AT = 264


def round_up(value: int, unit: int) -> int:
    """`value`, raised to a multiple of `unit`."""
    return -(-value // unit) * unit


def stride_for(payload_bytes: int) -> int:
    """Bytes of a slot that holds `payload_bytes`."""
    return round_up(limits.SLOT_HEADER_BYTES + payload_bytes, limits.SLOT_ALIGN_BYTES)


def slot_dtype(stride: int, header: np.dtype[np.void] = HEADER_DTYPE) -> np.dtype[np.void]:
    """The record of one slot: the header's fields, then `payload`, opaque."""
    fields = header.fields
    assert fields is not None and header.names is not None
    return np.dtype(
        {
            "names": [*header.names, "payload"],
            "formats": [
                *(fields[name][0] for name in header.names),
                f"V{stride - limits.SLOT_HEADER_BYTES}",
            ],
            "offsets": [*(fields[name][1] for name in header.names), SLOT_PAYLOAD],
            "itemsize": stride,
        }
    )


def reader_page(index: int) -> int:
    """Offset of reader `index`'s page in a ring."""
    return RING_FIRST_READER_AT + index * limits.PAGE_BYTES


def slots_at(readers: int) -> int:
    """Offset of the first slot of a ring with `readers` readers."""
    return reader_page(readers)


def payload(slots: npt.NDArray[np.void], dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
    """The payloads of `slots` seen as `dtype`: a view, no copy."""
    assert dtype.fields is not None and dtype.names is not None
    view = np.dtype(
        {
            "names": list(dtype.names),
            "formats": [dtype.fields[name][0] for name in dtype.names],
            "offsets": [dtype.fields[name][1] + SLOT_PAYLOAD for name in dtype.names],
            "itemsize": slots.dtype.itemsize,
        }
    )
    return slots.view(view)
