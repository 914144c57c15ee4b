"""Time comes in as messages: handlers never read a clock, so a replay sees the same time."""

from __future__ import annotations

import numpy as np

from sovereign.runtime.message import Message


class Tick(Message):
    """Inserted by the bus every `period_ns`. `time_ns`: CLOCK_REALTIME of the tick, a multiple of the period."""

    time_ns: np.int64
    period_ns: np.int64
    number: np.uint64
