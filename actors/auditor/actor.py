"""The auditor: a gate on every ring it reads. What it has not written, nobody may overwrite: no audit, no trade.

Guarantees: every slot once, byte for byte, in order; after kill -9 it goes on where it was, and what it writes twice
overwrites itself. A disk that refuses ends the actor with the reason; the rings hold what is not yet written.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from sovereign.actors.auditor.recorder import Recorder
from sovereign.runtime import commit, limits
from sovereign.runtime.actor import Actor, Types

BATCH_SLOTS = 8_192


class AuditorConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`dir`: the archive, else the node's. `segment_records`: slots a segment, a power of two.

    `durability`: what a power failure may cost: nothing that was committed ("batch"), `interval_ms` ("interval"), or
    the open segment ("segment"). A kill of the process costs nothing in any of them.
    """

    dir: str = ""
    segment_records: int = 65_536
    durability: Literal["batch", "interval", "segment"] = "interval"
    interval_ms: Annotated[int, msgspec.Meta(ge=1, le=limits.SYNC_INTERVAL_MAX_MS)] = 100


class Auditor(Actor):
    """Kind `auditor`."""

    Config = AuditorConfig
    needs_inputs = (1, 16)
    gates_only = True

    @classmethod
    def gives(cls, config: AuditorConfig, upstream: tuple[Types, ...]) -> Types:
        """Nothing: what it knows stands in files."""
        return ()

    @classmethod
    def check(cls, config: AuditorConfig) -> list[str]:
        """The segment's size."""
        records, least = config.segment_records, limits.SEGMENT_MIN_RECORDS
        most = limits.SEGMENT_MAX_RECORDS
        if not least <= records <= most or records & (records - 1):
            expected = f"a power of two from {least} to {most:_}"
            return [
                "segment_records: the size of a segment is not usable\n"
                f"  got: {records}\n  expected: {expected}"
            ]
        return []

    def setup(self) -> None:
        """Open a recorder a ring; seal what older generations left open."""
        host = self.host
        archive = Path(self.config.dir) if self.config.dir else host.archive_dir
        self._recorders = [
            Recorder(archive, host.node, reader.ring, self.config.segment_records)
            for reader in host.inputs
        ]
        self._unsynced = 0
        self._synced_ns = time.monotonic_ns()

    def step(self) -> int:
        """Write what each ring has, then commit it."""
        host = self.host
        taken = []
        for reader, recorder in zip(host.inputs, self._recorders, strict=True):
            ready = min(reader.available(), BATCH_SLOTS)
            if ready:
                recorder.write(reader.cursor + 1, reader.slots(ready))
            taken.append(ready)
        total = sum(taken)
        if total:
            commit.kill_point()
            host.steps.begin()
            if self.config.durability == "batch":
                self._sync(taken)
            host.steps.commit(taken)
            host.counters["events"] += total
            host.counters["steps"] += 1
            host.counters["segments"] = sum(one.sealed for one in self._recorders)
            self._unsynced += total
        self._mind_interval()
        return total

    def _mind_interval(self) -> None:
        due = self.config.interval_ms * 1_000_000
        if self.config.durability == "segment" or not self._unsynced:
            return
        if time.monotonic_ns() - self._synced_ns >= due:
            self._sync([0] * len(self._recorders))

    def _sync(self, taken: list[int]) -> None:
        """Until the disk has what was written: what is committed, and `taken` slots more of each ring."""
        parts = zip(self.host.inputs, self._recorders, taken, strict=True)
        for reader, recorder, more in parts:
            recorder.sync()
            reader.durable(reader.cursor + more)
        self._synced_ns = time.monotonic_ns()
        self.host.counters["durable"] = self.host.counters["events"]
        self._unsynced = 0

    def close(self) -> None:
        """The node stops: seal what is open."""
        for reader, recorder in zip(self.host.inputs, self._recorders, strict=True):
            recorder.finish()
            reader.durable(reader.cursor)
        self.host.counters["durable"] = self.host.counters["events"]
        self.host.counters["segments"] = sum(one.sealed for one in self._recorders)
