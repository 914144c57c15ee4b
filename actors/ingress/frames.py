"""The one frame interface: where each frame lies in memory, how long it is, and when it was recorded."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass
class Frames:
    """`n` frames: offset and length in `content` (bytes), `time_ns` (CLOCK_REALTIME of the recording, 0: unknown).

    `address` and `port` say where a UDP packet went; a negative address -1 - i is the IPv6 address `six[i]`. `cut_at`:
    where a cut-short file ends; -1: it is whole. `skipped`: what a capture held beside these frames, by reason.
    """

    content: npt.NDArray[np.uint8]
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    time_ns: npt.NDArray[np.int64]
    address: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    port: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    cut_at: int = -1
    six: list[ipaddress.IPv6Address] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offset)

    def channels(self) -> npt.NDArray[np.int64]:
        """Each frame's channel, as `claim.K_CHANNEL` has it; 0 for the frames of a plain file."""
        if len(self.address) != len(self):
            return np.zeros(len(self), np.int64)
        return self.address << 16 | self.port

    def destinations(self) -> list[str]:
        """`address:port` of all channels, in the order of their first frames."""
        keys, first = np.unique(self.channels(), return_index=True)
        return [self._destination(int(key)) for key in keys[np.argsort(first)]]

    def _destination(self, key: int) -> str:
        address, port = key >> 16, key & 0xFFFF
        if address < 0:
            return f"[{self.six[-1 - address]}]:{port}"
        return f"{ipaddress.IPv4Address(address)}:{port}"

    def only(self, groups: set[tuple[int, int]]) -> Frames:
        """The frames that went to one of `groups` (address as in `address`, port)."""
        keep = np.zeros(len(self), bool)
        for address, port in groups:
            keep |= (self.address == address) & (self.port == port)
        return Frames(
            self.content,
            self.offset[keep],
            self.length[keep],
            self.time_ns[keep],
            self.address[keep],
            self.port[keep],
            self.cut_at,
            self.six,
            self.skipped,
        )
