"""Which code handled what follows: the plugin's version and the hash of its file, as a message in its own ring."""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np

from sovereign.actors.strategy.api import Strategy
from sovereign.actors.strategy.loading import source_hash
from sovereign.runtime.host import Host
from sovereign.runtime.loop import DRAIN, STOP
from sovereign.runtime.message import Message

_LOOK_S = 0.001


class PluginVersion(Message):
    """Published before the first event that this code handles. `file_sha256`: of the plugin's source file."""

    name: Annotated[bytes, 32]
    file_sha256: Annotated[bytes, 32]
    state_schema: np.uint64


def identify(host: Host, strategy: type[Strategy]) -> bool:
    """Publish the plugin's identity, unless the newest one in the ring is the same. False: the actor is to end.

    Called in the loop's thread: while a slow gate holds the ring full it waits as the loop does, beating, for room or
    for the end.
    """
    if host.output is None:
        return True
    record = PluginVersion.new(
        name=f"{strategy.__module__}:{strategy.__qualname__}".encode()[-32:],
        file_sha256=source_hash(strategy),
        state_schema=strategy.State.schema_id,
    )
    if _newest(host) == record.tobytes():
        return True
    if not _room(host):
        return False
    host.steps.begin()
    host.steps.put(PluginVersion, record, origin_ns=time.time_ns())
    host.steps.commit()
    return True


def _room(host: Host) -> bool:
    """Wait for a free slot. False when the actor is to stop first, or to drain and has nothing to handle."""
    assert host.output is not None
    held = False
    while host.output.free < 1:
        host.counters["heartbeat_ns"] = time.monotonic_ns()
        host.counters["waits"] += not held
        held = True
        stop = int(host.loop.stop[0])
        if stop == STOP or (stop == DRAIN and not any(one.available() for one in host.inputs)):
            return False
        time.sleep(_LOOK_S)
    return True


def _newest(host: Host) -> bytes | None:
    """The payload of the newest PluginVersion that still stands in the ring."""
    assert host.output is not None
    slots = host.output.ring.slots()
    mine = slots[(slots["type_id"] == PluginVersion.type_id) & (slots["sequence"] > 0)]
    mine = mine[mine["sequence"] <= host.output.cursor]
    if not len(mine):
        return None
    newest = mine[int(np.argmax(mine["sequence"]))]
    return bytes(newest["payload"])[: PluginVersion.dtype.itemsize]
