"""What a decoder is: a plugin of the entry point group `sovereign.decoders`."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from sovereign.actors.ingress.frames import Frames
from sovereign.runtime.message import Message

Bytes = npt.NDArray[np.uint8]


class Decoder:
    """`kernel` is a compiled function with the signature of `claim.SIGNATURE`; `tables` what it reads.

    `most_per_packet`: messages; a packet that gives more ends the ingress with an error that names it.
    """

    Config: ClassVar[type[msgspec.Struct]]
    gives: ClassVar[tuple[type[Message], ...]]
    most_per_packet: ClassVar[int] = 512

    def __init__(self, config: Any) -> None:
        self.config = config
        self.tables: npt.NDArray[np.int64] = np.zeros(1, np.int64)

    @property
    def kernel(self) -> Any:
        """The compiled function."""
        raise NotImplementedError("a decoder names its kernel")

    def frames(self, content: Bytes, where: str) -> Frames | None:
        """Cut a plain file of this format into frames; None when the format lives in packets only."""
        return None


def type_words(*kinds: type[Message]) -> list[int]:
    """type_id and size of each, as kernels read them from the head of `tables`."""
    return [word for kind in kinds for word in (kind.type_id, kind.dtype.itemsize)]
