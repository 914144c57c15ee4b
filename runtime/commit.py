"""The commit rule, compiled: exactly once after kill -9 at any instruction.

Two tagged copies of the state. A step clears the tag of the older copy, writes the new state there and fills the
claimed slots; tags it; publishes the output cursor, the commit point; releases the inputs. Recovery takes the newest
tagged copy whose output sequence equals the published cursor (`state.py`).

    state  s[S_*]   addresses of the copies, the step's number, which copy is the newer
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from sovereign.runtime import atomics, kernels, layout
from sovereign.runtime.jit import njit

S_COPY_A = 0
S_COPY_B = 1
S_STEP = 2
S_NEWER = 3
S_BYTES = 4
S_INPUTS = 5
S_KILL_AT = 6
S_WORDS = 8

# `sovereign chaos` compiles the loops with a place to die between any two stores; else these are no code at all.
KILL_POINTS = os.environ.get("SOVEREIGN_KILL_POINTS") == "1"
_KILL, _GETPID = (129, 172) if kernels._FUTEX == 98 else (62, 39)


@njit
def _may_die(s: Any) -> Any:
    """Count down the word at `s[S_KILL_AT]`; at nought, SIGKILL ourselves here."""
    if KILL_POINTS and s[S_KILL_AT] != 0:
        left = atomics.load_i64(s[S_KILL_AT]) - 1
        if left >= 0:
            atomics.store_i64(s[S_KILL_AT], left)
        if left == 0:
            pid = kernels._syscall6(_GETPID, 0, 0, 0, 0, 0, 0)
            kernels._syscall6(_KILL, pid, 9, 0, 0, 0, 0)


_here = np.zeros(S_WORDS, np.int64)


def kill_point() -> None:
    """The same place to die in an actor's Python code, between two of its effects. Off: a look at a constant."""
    if KILL_POINTS:
        _here[S_KILL_AT] = int(os.environ.get("SOVEREIGN_KILL_AT", "0"))
        _may_die(_here)


@njit
def begin(s: Any) -> Any:
    """Start a step: the older copy becomes the working copy. Address of its user state."""
    newer = s[S_COPY_A + s[S_NEWER]]
    older = s[S_COPY_A + 1 - s[S_NEWER]]
    atomics.store_release(older + layout.COPY_TAG_AT, 0)
    atomics.fence_full()
    _may_die(s)
    if s[S_BYTES] > 0:
        atomics.copy_bytes(older + layout.COPY_STATE_AT, newer + layout.COPY_STATE_AT, s[S_BYTES])
    _may_die(s)
    return older + layout.COPY_STATE_AT


@njit
def commit(s: Any, w: Any, readers: Any, taken: Any, produced: Any) -> Any:
    """End a step that took `taken[i]` slots of input i and filled `produced` slots. `w[W_CURSOR_AT]` 0: no output."""
    copy = s[S_COPY_A + 1 - s[S_NEWER]]
    step = s[S_STEP] + 1
    for i in range(s[S_INPUTS]):
        cursor = readers[i, kernels.R_CURSOR] + taken[i]
        atomics.store_i64(copy + layout.COPY_INPUTS_AT + 8 * i, cursor)
        _may_die(s)
    atomics.store_i64(copy + layout.COPY_OUTPUT_AT, w[kernels.W_NEXT] + produced)
    _may_die(s)
    atomics.store_release(copy + layout.COPY_TAG_AT, step)
    _may_die(s)
    if produced > 0:
        kernels.publish(w, produced)
    _may_die(s)
    for i in range(s[S_INPUTS]):
        if taken[i] > 0:
            kernels.release(readers[i], taken[i])
            _may_die(s)
    s[S_STEP] = step
    s[S_NEWER] = 1 - s[S_NEWER]
