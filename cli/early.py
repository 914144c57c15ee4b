"""Signals before a verb minds them itself: one line, and the exit code that a shell gives such an end.

Imports take a good part of a second. A Ctrl-C in them would show a traceback of whatever was being imported; and
`sovereign up` makes things that must be taken back, so it minds signals without a gap: this guard stands until its
supervisor has handlers of its own. All other verbs get the usual ones back when they begin.
"""

from __future__ import annotations

import os
import signal
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM)
_kept: dict[int, Any] = {}


def exit_code(number: int) -> int:
    """What a shell shows for a process that this signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def _stop(number: int, _: object) -> None:
    os.write(2, b"stopped before it ran\n")
    os._exit(exit_code(number))  # nothing was made yet, and an import cannot be unwound


def guard() -> None:
    """End the process with a line on SIGINT and SIGTERM, unless they are ignored. Twice is as once."""
    for number in NUMBERS:
        if number not in _kept and signal.getsignal(number) is not signal.SIG_IGN:
            _kept[number] = signal.signal(number, _stop)


def release() -> None:
    """Give the usual handlers back: Ctrl-C is KeyboardInterrupt again."""
    while _kept:
        number, handler = _kept.popitem()
        signal.signal(number, handler)
