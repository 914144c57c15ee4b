"""Gaps by length, in HdrHistogram's own buckets: three significant digits, from 1 ns to 104 days, counted by a kernel.

Two views of the same gaps, and both ask by *time*, as an event does that comes when it likes:

- `by_time`: the length x such that p % of the run passed in intervals between two looks no longer than x. The ordinary looks
  fill all time that no gap does; a percentile that falls among them is their mean length.
- `delay`: how long an event at a random moment waits until the core is back. An event in a gap of length L waits for what
  is left of it, so P(wait > x) = sum of (L - x) over the gaps longer than x, over the run.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sovereign.runtime.jit import njit

Counts = npt.NDArray[np.int64]

SIGNIFICANT_DIGITS = 3
SUB = 2048
HALF = SUB // 2
LONGEST_NS = (1 << 53) - 1
OCTAVES = 43
BUCKETS = (OCTAVES + 1) * HALF
POINTS = {"p50": 50.0, "p99": 99.0, "p99_9": 99.9, "p99_99": 99.99, "p99_999": 99.999}


@njit
def count(counts: Any, value_ns: Any) -> Any:
    """Count one gap."""
    octave = 0
    top = value_ns
    while top >= SUB:
        top >>= 1
        octave += 1
    bucket = octave * HALF + top
    counts[min(bucket, BUCKETS - 1)] += 1


def _tops_ns() -> Counts:
    index = np.arange(BUCKETS, dtype=np.int64)
    octave = np.maximum(index // HALF - 1, 0)
    tops: Counts = ((index - octave * HALF + 1) << octave) - 1
    return tops


TOPS_NS: Counts = _tops_ns()  # the largest value of each bucket
assert TOPS_NS[-1] == LONGEST_NS


class Run(NamedTuple):
    """One core's gaps within `wall_ns`, the longest exactly; `ordinary_ns` is the mean of the looks that were no gap."""

    counts: Counts
    wall_ns: int
    longest_ns: int
    ordinary_ns: float


def _filled(run: Run) -> tuple[Counts, Counts]:
    """Lengths (the top of each bucket that holds something, none above the longest) and how many, longest first."""
    used = np.flatnonzero(run.counts)[::-1]
    return np.minimum(TOPS_NS[used], run.longest_ns), run.counts[used]


def by_time(run: Run, percent: float) -> int:
    """ns: `percent` of the run passed between looks no further apart than this."""
    lengths, times = _filled(run)
    passed = np.cumsum(lengths.astype(np.float64) * times)
    share = (1 - percent / 100) * run.wall_ns
    longer = int(np.searchsorted(passed, share, side="right"))
    return int(lengths[longer]) if longer < len(lengths) else round(run.ordinary_ns)


def delay(run: Run, percent: float) -> int:
    """ns that an event at a random moment waits for the core, at `percent` of all moments; 0 when it need not."""
    lengths, times = _filled(run)
    share = (1 - percent / 100) * run.wall_ns
    number, passed = np.cumsum(times), np.cumsum(lengths.astype(np.float64) * times)
    # At each length, longest first: the time that lies beyond it.
    beyond = passed - number * lengths.astype(np.float64)
    first = int(np.searchsorted(beyond, share, side="right")) - 1
    if first < 0 or passed[-1] <= share:
        return 0
    return max(0, round(float(passed[first] - share) / float(number[first])))


def stretch(run: Run, step_ns: float, percent: float) -> int:
    """ns that a step of `step_ns` is stretched at `percent` of all steps: it begins on the core, and a gap may begin in it."""
    lengths, times = _filled(run)
    allowed = (1 - percent / 100) * run.wall_ns / max(step_ns, 1.0)
    longer = int(np.searchsorted(np.cumsum(times), allowed, side="right"))
    return int(lengths[longer]) if longer < len(lengths) else 0


def percentiles(run: Run) -> dict[str, int]:
    """`by_time` at each of POINTS."""
    return {name: by_time(run, percent) for name, percent in POINTS.items()}


def delays(run: Run) -> dict[str, int]:
    """`delay` at each of POINTS."""
    return {name: delay(run, percent) for name, percent in POINTS.items()}
