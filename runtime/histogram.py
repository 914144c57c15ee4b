"""Log-linear histograms of nanoseconds in shared memory: 32 buckets an octave, so a value is known to 3 %.

Bucket of v: v itself below 32, else (octave, top five bits below the leading one). Values above 2**52 fall into the
last bucket. One writer; anyone may read, and a read that races with a write is off by at most that one value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sovereign.runtime import atomics, limits
from sovereign.runtime.jit import njit

SUB_BITS = 5
SUB = 1 << SUB_BITS


@njit
def record(address: Any, value: Any, times: Any) -> Any:
    """Count `value` (ns; below zero counts as zero) `times` in the histogram at `address`."""
    v = max(value, 0)
    bucket = v
    if v >= SUB:
        octave = 0
        top = v
        while top >= 2 * SUB:
            top >>= 1
            octave += 1
        bucket = SUB + octave * SUB + (top - SUB)
    if bucket >= limits.HISTOGRAM_BUCKETS:
        bucket = limits.HISTOGRAM_BUCKETS - 1
    at = address + 8 * bucket
    atomics.store_i64(at, atomics.load_i64(at) + times)


def bucket_top_ns(bucket: int) -> int:
    """Largest value that falls into `bucket`."""
    if bucket < SUB:
        return bucket
    octave, sub = divmod(bucket - SUB, SUB)
    return ((SUB + sub + 1) << octave) - 1


TOPS_NS: npt.NDArray[np.int64] = np.array(
    [bucket_top_ns(i) for i in range(limits.HISTOGRAM_BUCKETS)], np.int64
)


def percentiles(counts: npt.NDArray[np.int64], points: tuple[float, ...]) -> list[int]:
    """The value at each percentile (0-100), ns; zeros when nothing was counted."""
    total = int(counts.sum())
    if total == 0:
        return [0 for _ in points]
    summed = np.cumsum(counts)
    ranks = [max(1, int(np.ceil(total * point / 100))) for point in points]
    return [int(TOPS_NS[int(np.searchsorted(summed, rank))]) for rank in ranks]
