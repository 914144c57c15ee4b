"""Which code handled what follows: the plugin's version and the hash of its file, as a message in its own ring."""

from __future__ import annotations

import hashlib
import inspect
import time
from pathlib import Path
from typing import Annotated

import numpy as np

from sovereign.actors.strategy.api import Strategy
from sovereign.runtime.host import Host
from sovereign.runtime.message import Message


class PluginVersion(Message):
    """Published before the first event that this code handles. `file_sha256`: of the plugin's source file."""

    name: Annotated[bytes, 32]
    file_sha256: Annotated[bytes, 32]
    state_schema: np.uint64


def identify(host: Host, strategy: type[Strategy]) -> None:
    """Publish the plugin's identity, unless the newest one in the ring is the same."""
    if host.output is None:
        return
    source = Path(inspect.getsourcefile(strategy) or "")
    record = PluginVersion.new(
        name=f"{strategy.__module__}:{strategy.__qualname__}".encode()[-32:],
        file_sha256=hashlib.sha256(source.read_bytes()).digest(),
        state_schema=strategy.State.schema_id,
    )
    if _newest(host) == record.tobytes():
        return
    deadline = time.monotonic() + 5
    while host.output.free < 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    host.steps.begin()
    host.steps.put(PluginVersion, record, origin_ns=time.time_ns())
    host.steps.commit()


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
