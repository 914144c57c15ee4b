"""One core's run: a thread pinned to it spins, and what it found is put beside what the kernel counted meanwhile."""

from __future__ import annotations

import os
import time

import msgspec
import numpy as np

from sovereign.benchmarks import gap_histogram, spin
from sovereign.benchmarks.activity import Activity, activity
from sovereign.runtime import cycles
from sovereign.runtime.cycles import Rate, Source

WARM_S = 0.002
OWN_MOST_NS = 20_000
CAUSES = ("unknown", "switched", "blocked", "faulted")


class Plan(msgspec.Struct, frozen=True):
    """What is to be measured and how: made by `jitter.plan`, which refuses what cannot be."""

    cpus: tuple[int, ...]
    seconds: float
    threshold_ns: int
    source: Source
    rate: Rate


class Gap(msgspec.Struct, frozen=True):
    """One of the largest: CLOCK_REALTIME ns when it began, its length, and what getrusage told of it (one of CAUSES)."""

    at_ns: int
    ns: int
    cause: str


class CoreRun(msgspec.Struct, frozen=True):
    """One core's run. Times in ns; `wall_ns` = gaps + own + the ordinary looks. `counts`: bucket and times, the used ones."""

    cpu: int
    started_ns: int
    wall_ns: int
    looks: int
    gap_ns: int
    own_ns: int
    longest_ns: int
    caused: dict[str, tuple[int, int]]
    counts: list[tuple[int, int]]
    largest: list[Gap]
    activity: Activity
    off_ppm: float

    @property
    def gaps(self) -> int:
        """How many."""
        return sum(times for times, _ in self.caused.values())

    @property
    def run(self) -> gap_histogram.Run:
        """As the percentiles want it."""
        counts = np.zeros(gap_histogram.BUCKETS, np.int64)
        for bucket, times in self.counts:
            counts[bucket] = times
        ordinary = (self.wall_ns - self.gap_ns - self.own_ns) / max(self.looks - self.gaps, 1)
        return gap_histogram.Run(counts, self.wall_ns, self.longest_ns, ordinary)


class Arrays:
    """What the loop writes to, every page touched before it runs."""

    def __init__(self) -> None:
        self.counts = np.full(gap_histogram.BUCKETS, 1, np.int64)
        self.largest = np.full((spin.LARGEST, spin.GAP_WORDS), 1, np.int64)
        self.found = np.full(spin.FOUND_WORDS, 1, np.int64)
        self._scratch = np.full(2, 1, np.int64)
        self._usage = np.full(spin.RUSAGE_BYTES // 8, 1, np.int64)

    def spin(self, plan: Plan, seconds: float) -> None:
        """Clear, and look for so long."""
        for array in (self.counts, self.largest, self.found):
            array[:] = 0
        per_ns = 1 / plan.rate.ns_per_tick
        spin.spin(
            plan.source.number,
            self._scratch.ctypes.data,
            self._usage.ctypes.data,
            int(seconds * 1e9 * per_ns),
            max(1, int(plan.threshold_ns * per_ns)),
            int(max(OWN_MOST_NS, plan.threshold_ns) * per_ns),
            plan.rate.ns_per_tick,
            self.counts,
            self.largest,
            self.found,
        )


def measure_here(cpu: int, plan: Plan) -> CoreRun:
    """Spin on `cpu` in this process, and stay pinned to it."""
    os.sched_setaffinity(0, {cpu})
    arrays = Arrays()
    arrays.spin(plan, min(WARM_S, plan.seconds))  # its own first-time faults are not the host's
    activity(cpu)
    before = activity(cpu)
    began, started_ns = cycles.pair(plan.source.number), time.time_ns()
    arrays.spin(plan, plan.seconds)
    ended = cycles.pair(plan.source.number)
    return _core_run(cpu, plan, arrays, activity(cpu).minus(before), began, ended, started_ns)


def _core_run(
    cpu: int,
    plan: Plan,
    arrays: Arrays,
    did: Activity,
    began: tuple[int, int],
    ended: tuple[int, int],
    started_ns: int,
) -> CoreRun:
    worth, found = plan.rate.ns_per_tick, arrays.found
    off_ppm = ((ended[0] - began[0]) * worth / max(ended[1] - began[1], 1) - 1) * 1e6
    times = found[spin.BY_CAUSE : spin.BY_CAUSE + spin.CAUSES]
    ticks = found[spin.BY_CAUSE + spin.CAUSES :]
    used = np.flatnonzero(arrays.counts)
    lines = arrays.largest[arrays.largest[:, spin.GAP_LENGTH] > 0]
    lines = lines[np.argsort(-lines[:, spin.GAP_LENGTH], kind="stable")]
    return CoreRun(
        cpu=cpu,
        started_ns=started_ns,
        wall_ns=int((found[spin.LAST] - found[spin.FIRST]) * worth),
        looks=int(found[spin.LOOKS]),
        gap_ns=int(found[spin.GAP_TICKS] * worth),
        own_ns=int(found[spin.OWN_TICKS] * worth),
        longest_ns=int(found[spin.LONGEST] * worth),
        caused={name: (int(times[i]), int(ticks[i] * worth)) for i, name in enumerate(CAUSES)},
        counts=[(int(bucket), int(arrays.counts[bucket])) for bucket in used],
        largest=[
            Gap(started_ns + int((at - began[0]) * worth), int(length * worth), CAUSES[cause])
            for length, at, cause in lines.tolist()
        ],
        activity=did,
        off_ppm=round(off_ppm, 1),
    )
