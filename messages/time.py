"""Time comes in as messages: handlers never read a clock, so a replay sees the same time."""

from __future__ import annotations

import numpy as np

from sovereign.runtime.message import Message


class Tick(Message):
    """Inserted by the bus every `period_ns`. `time_ns`: UTC, a multiple of the period that never goes back.

    It advances with CLOCK_MONOTONIC from UTC as it was when the bus started: a step of the host's clock does not show in
    it before the next start. Two ticks that are further apart than the period have missed those between.
    """

    time_ns: np.int64
    period_ns: np.int64
    number: np.uint64
