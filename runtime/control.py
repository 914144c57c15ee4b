"""The node's segment: the halt epoch, and a block of counters an actor.

Only the supervisor writes page 0. Signer proxy, pod and egress look at the halt epoch right before they act, and
acknowledge in their own block: an acknowledgement says that nothing is half done.
"""

from __future__ import annotations

import time

from sovereign.runtime import layout, limits
from sovereign.runtime.counters import BLOCK_BYTES, Counters
from sovereign.runtime.errors import LayoutError
from sovereign.runtime.shm import Segment, segment_name


def create_node(node: str, actors: int) -> None:
    """Make the node's segment with room for `actors` blocks."""
    segment = Segment.create(segment_name(node), limits.PAGE_BYTES + actors * BLOCK_BYTES)
    segment.word(8)[0] = limits.NODE_LAYOUT_VERSION
    segment.word(layout.NODE_ACTORS_AT)[0] = actors
    segment.word(layout.NODE_STARTED_AT)[0] = time.time_ns()
    segment.memory[0:8] = bytearray(layout.NODE_MAGIC)
    segment.close()


def _open(node: str, *, writable: bool) -> Segment:
    segment = Segment.open(segment_name(node), writable=writable)
    found = segment.memory[0:8].tobytes(), int(segment.word(8)[0])
    expected = layout.NODE_MAGIC, limits.NODE_LAYOUT_VERSION
    if found != expected:
        raise LayoutError(
            f"the segment of node {node} has another layout",
            where=f"/dev/shm{segment.name}",
            got=str(found),
            expected=str(expected),
            hint="`sovereign up --fresh` makes it anew",
        )
    actors = int(segment.word(layout.NODE_ACTORS_AT)[0])
    if segment.bytes != limits.PAGE_BYTES + actors * BLOCK_BYTES:
        raise LayoutError(
            f"the segment of node {node} does not fit its description",
            where=f"/dev/shm{segment.name}",
            got=f"{segment.bytes} bytes for {actors} actors",
            expected=f"a page, and {BLOCK_BYTES} bytes an actor",
            hint="`sovereign up --fresh` makes it anew",
        )
    return segment


def is_halt(epoch: int) -> bool:
    """Whether an epoch is one of halt: odd."""
    return epoch % 2 == 1


class Control:
    """The halt epoch as everyone sees it, and as the supervisor moves it on (`writable=True`).

    One word tells all: it counts every halt and every resumption, so it is odd while the node is halted. There is no
    moment at which somebody could see the new epoch and not the halt, on any machine; and what was made before a halt, or
    while it stood, is of another epoch than what may leave after it.
    """

    def __init__(self, node: str, *, writable: bool = False) -> None:
        self.segment = _open(node, writable=writable)
        self._epoch = self.segment.word(layout.NODE_EPOCH_AT)

    @property
    def epoch(self) -> int:
        """How many halts and resumptions there were; orders carry the epoch of their making."""
        return int(self._epoch[0])

    @property
    def halted(self) -> bool:
        """Whether nothing may leave. One load."""
        return is_halt(self.epoch)

    @property
    def epoch_address(self) -> int:
        """Address of the epoch, for kernels."""
        return self.segment.address + layout.NODE_EPOCH_AT

    def halt(self) -> int:
        """Begin a halt (supervisor only), or a further one while the node is halted; its epoch."""
        self._epoch[0] = self.epoch + (2 if self.halted else 1)
        return self.epoch

    def resume(self) -> int:
        """End the halt (supervisor only); the epoch from here on."""
        self._epoch[0] = self.epoch + int(self.halted)
        return self.epoch

    def restore(self, epoch: int) -> int:
        """Take up what was persisted, unless the page has a later word (supervisor only); the epoch."""
        self._epoch[0] = max(self.epoch, epoch)
        return self.epoch

    @property
    def actors(self) -> int:
        """Blocks in the segment."""
        return int(self.segment.word(layout.NODE_ACTORS_AT)[0])

    def counters(self, index: int) -> Counters:
        """Actor `index`'s block, read-only unless the whole segment is mapped writable."""
        at = limits.PAGE_BYTES + index * BLOCK_BYTES
        return Counters(self.segment.memory[at : at + BLOCK_BYTES], self.segment.address + at)

    def close(self) -> None:
        """Unmap."""
        self._epoch = self.segment.word(0)[:0]
        self.segment.close()


def own_counters(node: str, index: int) -> tuple[Segment, Counters]:
    """Actor `index`'s block, writable, and nothing else of the segment."""
    at = limits.PAGE_BYTES + index * BLOCK_BYTES
    part = Segment.open_part(segment_name(node), at, BLOCK_BYTES)
    return part, Counters(part.memory, part.address)
