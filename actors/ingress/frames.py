"""The one frame interface: where each frame lies in memory, how long it is, and when it was recorded."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass
class Frames:
    """`n` frames: offset and length in `content` (bytes), `time_ns` (CLOCK_REALTIME of the recording, 0: unknown).

    `address` and `port` say where a UDP packet went. `cut_at`: where a cut-short file ends; -1: it is whole.
    """

    content: npt.NDArray[np.uint8]
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    time_ns: npt.NDArray[np.int64]
    address: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    port: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    cut_at: int = -1

    def __len__(self) -> int:
        return len(self.offset)

    def only(self, groups: set[tuple[int, int]]) -> Frames:
        """The frames that went to one of `groups` (IPv4 address as an integer, port)."""
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
        )
