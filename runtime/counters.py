"""One table of counters makes the code, `sovereign ps`, the docs and every export.

Each actor has a block in the node's segment: a page of counters, then its histograms. The actor is the only writer of
its block; everyone else maps it read-only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sovereign.runtime import histogram, limits


class Counter(NamedTuple):
    """One word of an actor's page."""

    name: str
    unit: str
    help: str


COUNTERS: tuple[Counter, ...] = (
    Counter("heartbeat_ns", "ns", "CLOCK_MONOTONIC at the last turn of the loop"),
    Counter("phase", "enum", "0 starting, 1 running, 2 draining, 3 stopped, 4 failed"),
    Counter("done", "bool", "1 when a source has no more input"),
    Counter("halt_epoch", "count", "the halt that this actor acknowledged last"),
    Counter("halt_ack_ns", "ns", "CLOCK_MONOTONIC when it did"),
    Counter("events", "messages", "messages taken from the inputs"),
    Counter("outputs", "messages", "messages published"),
    Counter("steps", "steps", "commits"),
    Counter("waits", "count", "turns in which a full output ring held the actor back"),
    Counter("idles", "count", "turns in which there was nothing to do"),
    Counter("ignored", "messages", "messages of a type that the actor does not handle"),
    Counter("errors", "count", "events that failed"),
    Counter("drops", "messages", "messages that were given up"),
    Counter("inflight", "requests", "requests sent and not yet answered"),
    Counter("packets", "packets", "packets received"),
    Counter("bytes", "bytes", "bytes received or sent"),
    Counter("gaps", "packets", "packets that are missing by sequence"),
    Counter("duplicates", "packets", "packets seen before"),
    Counter(
        "late", "packets", "packets that come after a gap was told for them, and are not decoded"
    ),
    Counter("malformed", "packets", "packets that are not what they should be"),
    Counter("signed", "messages", "signatures made"),
    Counter("refused", "messages", "orders refused"),
    Counter("sent", "messages", "messages that left the node"),
    Counter("uncertain", "messages", "messages whose sending is not known"),
    Counter("reconnects", "count", "connections made anew"),
    Counter("durable", "messages", "messages known to be on disk"),
    Counter("segments", "files", "archive segments sealed"),
    Counter("ticks", "messages", "ticks inserted"),
    Counter("starts", "count", "times that this actor was started"),
    Counter("hand_input", "input", "which input the event in hand came from"),
    Counter(
        "hand_sequence",
        "sequence",
        "the first event of the step in hand; not committed means not handled",
    ),
    Counter("full_drops", "packets", "packets given up because the ring was full (on_full = drop)"),
    Counter(
        "overrun", "messages", "messages that an input without a gate missed, or a detached one"
    ),
    Counter("quarantined", "messages", "events that killed the actor and were set aside"),
    Counter("ready_ns", "ns", "CLOCK_REALTIME when it was ready"),
    Counter("held", "count", "turns in which the venue's unacknowledged bytes held an order back"),
    Counter("received_bytes", "bytes", "bytes that the venue sent, read and set aside"),
    Counter("unheard", "datagrams", "datagrams that the venue's host refused (ICMP)"),
    Counter("overlaps", "packets", "packets seen before in part: the rest is decoded"),
    Counter("implausible", "packets", "packets held for a jump too long to believe at once"),
    Counter("resets", "count", "changes of session, and numbers begun anew, told as Reset"),
    Counter("overflows", "values", "prices and quantities that do not fit, given as none"),
    Counter("channel_drops", "packets", "packets of one channel more than an ingress follows"),
    Counter(
        "skipped", "packets", "packets of a file that carry nothing to decode; the log has why"
    ),
    Counter("ticks_missed", "periods", "periods that passed without their tick"),
)
OFFSETS: dict[str, int] = {counter.name: 8 * i for i, counter in enumerate(COUNTERS)}

HISTOGRAMS: tuple[Counter, ...] = (
    Counter("hop", "ns", "published by the writer before this actor until taken by it"),
    Counter("origin", "ns", "entered the node until published by this actor"),
    Counter("service", "ns", "one step of this actor: a batch, or an event"),
)
HISTOGRAM_BYTES = 8 * limits.HISTOGRAM_BUCKETS
BLOCK_BYTES = limits.PAGE_BYTES + len(HISTOGRAMS) * HISTOGRAM_BYTES
assert BLOCK_BYTES % limits.PAGE_BYTES == 0
assert 8 * len(COUNTERS) <= limits.PAGE_BYTES

STARTING, RUNNING, DRAINING, STOPPED, FAILED = range(5)


class Counters:
    """An actor's block. `counters["events"] += 1`; kernels use `address` and `OFFSETS`."""

    def __init__(self, memory: npt.NDArray[np.uint8], address: int) -> None:
        self.address = address
        self._words = memory[: limits.PAGE_BYTES].view(np.int64)
        self._memory = memory

    def __getitem__(self, name: str) -> int:
        return int(self._words[OFFSETS[name] // 8])

    def __setitem__(self, name: str, value: int) -> None:
        self._words[OFFSETS[name] // 8] = value

    def at(self, name: str) -> int:
        """Address of a counter."""
        return self.address + OFFSETS[name]

    def histogram_at(self, name: str) -> int:
        """Address of a histogram."""
        names = [one.name for one in HISTOGRAMS]
        return self.address + limits.PAGE_BYTES + names.index(name) * HISTOGRAM_BYTES

    def histogram(self, name: str) -> npt.NDArray[np.int64]:
        """A copy of a histogram's buckets."""
        at = self.histogram_at(name) - self.address
        return self._memory[at : at + HISTOGRAM_BYTES].view(np.int64).copy()

    def observe(self, name: str, value_ns: int, times: int = 1) -> None:
        """Count a value (for actors in Python)."""
        histogram.record(self.histogram_at(name), value_ns, times)

    def clear(self) -> None:
        """Begin anew, the histograms too. Only while no actor writes this block."""
        self._memory[:] = 0

    def as_dict(self) -> dict[str, int]:
        """All counters by name."""
        return {counter.name: self[counter.name] for counter in COUNTERS}
