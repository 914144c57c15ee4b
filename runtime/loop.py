"""What every compiled loop needs beside its rings: where to count, when to stop, how to wait.

    loop  c[C_*]   addresses of the actor's counters and histograms, the stop word, scratch for the clock

The stop word is private to the process: RUN, DRAIN (stop when the inputs are empty) or STOP (at once).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sovereign.runtime import atomics, kernels, limits
from sovereign.runtime.counters import Counters
from sovereign.runtime.jit import njit

RUN, DRAIN, STOP = range(3)

C_STOP_AT = 0
C_HEARTBEAT_AT = 1
C_EVENTS_AT = 2
C_OUTPUTS_AT = 3
C_STEPS_AT = 4
C_WAITS_AT = 5
C_IDLES_AT = 6
C_IGNORED_AT = 7
C_HOP_AT = 8
C_ORIGIN_AT = 9
C_SERVICE_AT = 10
C_CLOCK_AT = 11
C_PARK_AT = 12
C_WAIT = 13
C_CAREFUL = 14
C_HAND_INPUT_AT = 15
C_HAND_SEQUENCE_AT = 16
C_WORDS = 24

_COUNTED = {
    C_HEARTBEAT_AT: "heartbeat_ns",
    C_EVENTS_AT: "events",
    C_OUTPUTS_AT: "outputs",
    C_STEPS_AT: "steps",
    C_WAITS_AT: "waits",
    C_IDLES_AT: "idles",
    C_IGNORED_AT: "ignored",
    C_HAND_INPUT_AT: "hand_input",
    C_HAND_SEQUENCE_AT: "hand_sequence",
}
_HISTOGRAMS = {C_HOP_AT: "hop", C_ORIGIN_AT: "origin", C_SERVICE_AT: "service"}
WAITS = {"spin": kernels.WAIT_SPIN, "yield": kernels.WAIT_YIELD, "park": kernels.WAIT_PARK}


class LoopWords:
    """Owns the memory behind a loop's words; keep it as long as the loop runs."""

    def __init__(self, counters: Counters, wait: int, careful: int = 0) -> None:
        self.stop = np.zeros(1, np.int64)
        self._clock = np.zeros(2, np.int64)
        self._park = kernels.park_words()
        self.words = np.zeros(C_WORDS, np.int64)
        for place, name in _COUNTED.items():
            self.words[place] = counters.at(name)
        for place, name in _HISTOGRAMS.items():
            self.words[place] = counters.histogram_at(name)
        self.words[C_STOP_AT] = self.stop.ctypes.data
        self.words[C_CLOCK_AT] = self._clock.ctypes.data
        self.words[C_PARK_AT] = self._park.ctypes.data
        self.words[C_WAIT] = wait
        self.words[C_CAREFUL] = careful


@njit
def count(address: Any, by: Any) -> Any:
    """Add to a counter of our own block: a plain load and store, since nobody else writes it."""
    atomics.store_i64(address, atomics.load_i64(address) + by)


@njit
def beat(c: Any) -> Any:
    """Say that the loop is alive. CLOCK_MONOTONIC, ns."""
    now = kernels.now_ns(1, c[C_CLOCK_AT])
    atomics.store_i64(c[C_HEARTBEAT_AT], now)
    return now


@njit
def batch(c: Any, ready: Any) -> Any:
    """How many of `ready` events make the next step: one, while the actor goes carefully after a death."""
    if c[C_CAREFUL] > 0:
        c[C_CAREFUL] -= 1
        return 1
    return min(ready, limits.STEP_MAX_EVENTS)


@njit
def in_hand(c: Any, number: Any, sequence: Any) -> Any:
    """Say which event is handled now: the supervisor asks when the actor dies of it."""
    atomics.store_i64(c[C_HAND_INPUT_AT], number)
    atomics.store_i64(c[C_HAND_SEQUENCE_AT], sequence)
