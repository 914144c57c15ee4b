"""Where the recorded data lies: $SOVEREIGN_DATA, else shared/data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sovereign.actors.ingress import claim
from sovereign.actors.ingress.decoder import Decoder
from sovereign.actors.ingress.drivers.file import PcapDriver, load_frames
from sovereign.messages.market import OrderEvent
from sovereign.runtime import layout

ROOT = Path(os.environ.get("SOVEREIGN_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (ROOT / "market").is_dir(), reason=f"the recorded market data is not in {ROOT}"
)


def market(path: str) -> Path:
    """A file of the recorded market data."""
    return ROOT / "market" / path


def order_events(decoder: Decoder, path: Path, most: int = 1 << 17) -> npt.NDArray[np.void]:
    """The OrderEvents of a recorded file, by our own decoder."""
    stride = 128
    slots = np.zeros(most, layout.slot_dtype(stride))
    words = np.zeros(claim.CLAIM_WORDS, np.int64)
    words[:5] = [slots.ctypes.data, most - 1, stride, 1, most]
    state = np.zeros(claim.STATE_WORDS, np.int64)
    frames = load_frames(PcapDriver(path=str(path)), decoder)
    base = frames.content.ctypes.data
    for at, size in zip(frames.offset.tolist(), frames.length.tolist(), strict=True):
        tables = decoder.tables.ctypes.data
        decoder.kernel(base + at, size, tables, state.ctypes.data, words.ctypes.data)
    made = slots[: int(words[claim.K_COUNT])]
    orders = layout.payload(made[made["type_id"] == OrderEvent.type_id], OrderEvent.dtype)
    return orders.astype(OrderEvent.dtype)
