"""A decoder fed packet by packet, as the ingress does: one state for all channels, undone when a packet is refused."""

from __future__ import annotations

import ctypes
import mmap
import struct
from typing import Any

import numpy as np

from sovereign.actors.ingress import claim
from sovereign.actors.ingress.decoder import Decoder
from sovereign.runtime import layout

STRIDE, SLOTS = 128, 1024
_libc = ctypes.CDLL(None, use_errno=True)


def mold(session: str, first: int, count: int, *, claimed: int | None = None) -> bytes:
    """A MoldUDP64 packet of `count` system events, each of which holds its own number as its time."""
    head = session.encode().ljust(10) + struct.pack(">QH", first, claimed or count)
    return head + b"".join(
        struct.pack(">HcHH", 12, b"S", 0, 0) + _time(first + i) for i in range(count)
    )


def _time(number: int) -> bytes:
    return (number & (1 << 48) - 1).to_bytes(6, "big") + b"O"


class Line:
    """`hear(packet, channel)`: the messages it gave, as (type, record); each packet ends at a page that cannot be read."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._map = mmap.mmap(-1, 18 * 4096)
        self._memory = np.frombuffer(self._map, np.uint8)
        self._end = int(self._memory.ctypes.data) + 17 * 4096
        assert _libc.mprotect(ctypes.c_void_p(self._end), 4096, 0) == 0
        self._slots = np.full((SLOTS + 1) * STRIDE, 0xAA, np.uint8)
        self._undo = np.zeros(claim.CHANNEL_WORDS, np.int64)
        self._claim = np.zeros(claim.CLAIM_WORDS, np.int64)
        self._claim[:5] = [self._slots.ctypes.data, SLOTS - 1, STRIDE, 1, SLOTS]
        self._claim[claim.K_UNDO_AT] = self._undo.ctypes.data
        self.state = np.zeros(claim.STATE_WORDS, np.int64)

    def __getitem__(self, word: int) -> int:
        """One of the counts (claim.D_*)."""
        return int(self.state[word])

    def decode(self, packet: bytes, channel: int = 0) -> int:
        """The decoder's answer; as in the loop, a refused packet leaves no trace in the state."""
        before = self.state.copy()
        self._claim[[claim.K_COUNT, claim.K_TOUCHED_AT]] = 0
        self._claim[claim.K_CHANNEL] = channel
        self._memory[17 * 4096 - len(packet) : 17 * 4096] = np.frombuffer(packet, np.uint8)
        made = int(
            self.decoder.kernel(
                self._end - len(packet),
                len(packet),
                self.decoder.tables.ctypes.data,
                self.state.ctypes.data,
                self._claim.ctypes.data,
            )
        )
        assert claim.TOO_SMALL <= made <= SLOTS
        assert (self._slots[SLOTS * STRIDE :] == 0xAA).all(), "wrote behind the claim"
        if made < 0:
            self._undo_refused(before)
        return made

    def _undo_refused(self, before: Any) -> None:
        """What `loop._decode` does; it must bring back all words."""
        self.state[: claim.HEAD_WORDS] = before[: claim.HEAD_WORDS]
        touched = int(self._claim[claim.K_TOUCHED_AT])
        if touched:
            at = (touched - self.state.ctypes.data) // 8
            self.state[at : at + claim.CHANNEL_WORDS] = self._undo
        known = claim.HEAD_WORDS + int(before[claim.D_CHANNELS]) * claim.CHANNEL_WORDS
        assert np.array_equal(self.state[:known], before[:known])

    def hear(self, packet: bytes, channel: int = 0) -> list[tuple[str, Any]]:
        """The messages that the packet gave. A refused packet is a failed assertion."""
        made = self.decode(packet, channel)
        assert made >= 0, made
        kinds = {kind.type_id: kind for kind in self.decoder.gives}
        found = []
        for i in range(made):
            raw = self._slots[i * STRIDE : (i + 1) * STRIDE]
            kind = kinds[int(raw[layout.SLOT_TYPE_ID :][:4].view(np.uint32)[0])]
            body = raw[layout.SLOT_PAYLOAD :][: kind.dtype.itemsize]
            found.append((kind.__name__, kind.view(bytearray(body.tobytes()))))
        return found

    def numbers(self, packet: bytes, channel: int = 0) -> list[Any]:
        """As `hear`, in short: a number for a message, (first, last) for a Gap, a Reset as [old, new] next numbers."""
        short: list[Any] = []
        for name, one in self.hear(packet, channel):
            if name == "Gap":
                short.append((int(one["first"]), int(one["last"])))
            elif name == "Reset":
                short.append([int(one["old_next"]), int(one["new_next"])])
            else:
                short.append(int(one["packet_seq"]))
        return short
