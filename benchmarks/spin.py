"""The loop that looks at the counter as often as it can, and writes down each time that it was kept from looking.

Contract. Every tick between `FIRST` and `LAST` is in exactly one of three sums: gaps, the loop's own book-keeping after a gap,
and the ordinary looks, which are what is left. After each gap one getrusage(2) tells whether this thread was switched out or
took a page fault in it; nothing else is asked while it runs. Book-keeping takes about a µs; when it took `own_most_ticks`
or more, the core was taken in it, and it counts as a gap too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sovereign.benchmarks import gap_histogram
from sovereign.runtime import atomics
from sovereign.runtime.cycles import look
from sovereign.runtime.jit import external, njit, types

# What the loop reports.
FIRST, LAST, LOOKS, GAP_TICKS, OWN_TICKS, LONGEST = range(6)
BY_CAUSE = 8  # gaps of each cause; then their ticks
UNKNOWN, SWITCHED, BLOCKED, FAULTED, CAUSES = range(5)
FOUND_WORDS = BY_CAUSE + 2 * CAUSES
# One line of the largest gaps.
GAP_LENGTH, GAP_BEGAN, GAP_CAUSE, GAP_WORDS = range(4)
LARGEST = 32

_RUSAGE_THREAD = 1
RUSAGE_BYTES = 144
_MINOR_FAULTS, _MAJOR_FAULTS, _VOLUNTARY, _NONVOLUNTARY = 64, 72, 128, 136
_getrusage = external("getrusage", types.int32(types.int32, types.int64))


@njit
def _cause(usage: Any, before: Any) -> Any:
    """Why the kernel says that the thread did not run since the last call; `before` is brought up to date."""
    _getrusage(np.int32(_RUSAGE_THREAD), usage)
    forced = atomics.load_i64(usage + _NONVOLUNTARY)
    blocked = atomics.load_i64(usage + _VOLUNTARY)
    faults = atomics.load_i64(usage + _MINOR_FAULTS) + atomics.load_i64(usage + _MAJOR_FAULTS)
    cause = UNKNOWN
    if forced != before[SWITCHED]:
        cause = SWITCHED
    elif blocked != before[BLOCKED]:
        cause = BLOCKED
    elif faults != before[FAULTED]:
        cause = FAULTED
    before[SWITCHED], before[BLOCKED], before[FAULTED] = forced, blocked, faults
    return cause


@njit
def _keep(largest: Any, length: Any, began: Any, cause: Any) -> Any:
    """Put a gap among the largest when it is longer than the least of them."""
    least = 0
    for i in range(1, LARGEST):
        if largest[i, GAP_LENGTH] < largest[least, GAP_LENGTH]:
            least = i
    if length > largest[least, GAP_LENGTH]:
        largest[least, GAP_LENGTH] = length
        largest[least, GAP_BEGAN] = began
        largest[least, GAP_CAUSE] = cause


@njit
def spin(
    source: Any,
    scratch: Any,
    usage: Any,
    run_ticks: Any,
    threshold_ticks: Any,
    own_most_ticks: Any,
    ns_per_tick: Any,
    counts: Any,
    largest: Any,
    found: Any,
) -> Any:
    """Look for `run_ticks`. `scratch`: 16 bytes for a clock, `usage`: RUSAGE_BYTES; the arrays are ours, zeroed and touched."""
    before = np.zeros(CAUSES, np.int64)
    _cause(usage, before)
    first = look(source, scratch)
    last = first
    looks = 0
    while last - first < run_ticks:
        now = look(source, scratch)
        looks += 1
        length = now - last
        while length >= threshold_ticks:
            cause = _cause(usage, before)
            gap_histogram.count(counts, np.int64(length * ns_per_tick))
            _keep(largest, length, now - length, cause)
            found[GAP_TICKS] += length
            found[LONGEST] = max(found[LONGEST], length)
            found[BY_CAUSE + cause] += 1
            found[BY_CAUSE + CAUSES + cause] += length
            done = look(source, scratch)
            length, now = done - now, done
            if length < own_most_ticks:
                found[OWN_TICKS] += length
                break
        last = now
    found[FIRST], found[LAST], found[LOOKS] = first, last, looks
