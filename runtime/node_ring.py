"""The node's own ring: what the supervisor and the operators did, in one order, for the auditors.

The ring is named `node`; no actor may have that name. The supervisor is its writer, every auditor reads it. It is
never waited for: a supervisor that blocks on its own journal could not restart the auditor that holds it back. What
does not fit is counted as `lost` and logged.
"""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np

from sovereign.runtime import layout
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.message import Message
from sovereign.runtime.spec import NodeSpec, ReaderSpec, RingSpec
from sovereign.runtime.writer import Writer

NODE_RING = "node"
AUDITOR_KIND = "auditor"
NODE_ACTOR = 65_534
NODE_RING_SLOTS = 1024
REASON_BYTES = 256
BY_BYTES = 64
NAME_BYTES = 48


class Halt(Message):
    """The kill switch was thrown. `epoch` counts halts; times are CLOCK_REALTIME ns; texts are UTF-8, zero-padded."""

    epoch: np.uint64
    at_ns: np.int64
    uid: np.uint32
    by: Annotated[bytes, BY_BYTES]
    reason: Annotated[bytes, REASON_BYTES]


class Resume(Message):
    """Halt `epoch` was lifted."""

    epoch: np.uint64
    at_ns: np.int64
    uid: np.uint32
    by: Annotated[bytes, BY_BYTES]


class NodeStarted(Message):
    """The supervisor took the node. `went_on`: 1 when rings of an earlier run were gone on from."""

    generation: np.uint32
    actors: np.uint32
    pid: np.uint32
    went_on: np.uint32
    at_ns: np.int64


class ActorStarted(Message):
    """An actor's process was started; `starts` counts from 1."""

    actor: np.uint32
    pid: np.uint32
    starts: np.uint32
    at_ns: np.int64
    name: Annotated[bytes, NAME_BYTES]


class ActorDied(Message):
    """An actor's process ended unasked. `exit_code`: negative for a signal; `failures`: those in the window."""

    actor: np.uint32
    pid: np.uint32
    exit_code: np.int32
    failures: np.uint32
    at_ns: np.int64
    name: Annotated[bytes, NAME_BYTES]
    reason: Annotated[bytes, REASON_BYTES]


class Quarantined(Message):
    """An event killed its actor `kills` times and was set aside. `actor` read it from the ring of `source`."""

    actor: np.uint32
    source: np.uint32
    sequence: np.uint64
    kills: np.uint32
    skipped: np.uint32
    at_ns: np.int64
    name: Annotated[bytes, NAME_BYTES]


class Detached(Message):
    """A dead gate that could not be kept: the writer of `source` waits for it no more. `cursor`: where it stood."""

    actor: np.uint32
    source: np.uint32
    cursor: np.uint64
    at_ns: np.int64
    name: Annotated[bytes, NAME_BYTES]


class OperatorAction(Message):
    """Someone asked for `action` (stop, start, restart, down) of `actor` (empty: the node)."""

    at_ns: np.int64
    uid: np.uint32
    pid: np.uint32
    action: Annotated[bytes, 16]
    actor: Annotated[bytes, NAME_BYTES]


NODE_TYPES: tuple[type[Message], ...] = (
    Halt,
    Resume,
    NodeStarted,
    ActorStarted,
    ActorDied,
    Quarantined,
    Detached,
    OperatorAction,
)


def node_ring(spec: NodeSpec) -> RingSpec:
    """The ring named `node`, read by the actors whose inputs name it."""
    readers = tuple(
        ReaderSpec(actor.name, one.gate, actor.kind == AUDITOR_KIND)
        for actor in spec.actors
        for one in actor.inputs
        if one.ring == NODE_RING
    )
    stride = layout.stride_for(max(kind.dtype.itemsize for kind in NODE_TYPES))
    return RingSpec(NODE_RING, NODE_RING_SLOTS, stride, NODE_TYPES, readers, NODE_ACTOR)


def fitting(text: str, most_bytes: int) -> bytes:
    """`text` as UTF-8 of at most `most_bytes`, cut at a character, an ellipsis where it was cut."""
    raw = text.encode()
    if len(raw) <= most_bytes:
        return raw
    mark = "…".encode()
    return raw[: most_bytes - len(mark)].decode(errors="ignore").encode() + mark


def exact(text: str, most_bytes: int, what: str) -> bytes:
    """`text` as UTF-8; refused when it does not fit, since what an operator says is kept whole."""
    raw = text.encode()
    if not raw or len(raw) > most_bytes:
        raise SovereignError(
            f"{what} does not fit the archive's record",
            got=f"{len(raw)} bytes",
            expected=f"1 to {most_bytes} bytes of UTF-8",
            exit_code=2,
        )
    return raw


class Journal:
    """Writes the node's ring. `lost` counts messages for which there was no room."""

    def __init__(self, node: str) -> None:
        self._writer = Writer(node, NODE_RING, NODE_TYPES)
        self.lost = 0

    def write(self, kind: type[Message], fields: dict[str, object]) -> bool:
        """Publish one message, its time filled in; False (and counted) when the ring is full."""
        now_ns = time.time_ns()
        if self._writer.free < 1:
            self.lost += 1
            return False
        self._writer.put(kind, {**fields, "at_ns": now_ns}, origin_ns=now_ns, publish_ns=now_ns)
        self._writer.publish()
        return True

    def close(self) -> None:
        """Unmap."""
        self._writer.close()
