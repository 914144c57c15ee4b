"""The late gate's claim: a gate that was detached and comes back holds the writer from where it says on.

The writer looks at the gates only when what it knows of them does not give it room. So when a gate comes back, the writer
may just have looked, and believe the ring free beyond the cursor that the gate has read.
"""

from __future__ import annotations

from typing import Any

from litmus.loops import fill, input_slot, is_whole, pauses, waited
from litmus.stage import Claim, Outcome, Stage
from sovereign.runtime import atomics, kernels, layout
from sovereign.runtime.jit import njit, types
from sovereign.runtime.reader import Reader
from sovereign.runtime.writer import Writer

# The fence between the two readings cannot be missed here: between two of Python's stores the store buffer drains.
ONE_READING = "the cursor read once, before the writer can have seen the gate"
_SLOTS = 8
_LOOKS = 20
_WORD, _LINE = types.int64, types.int64[::1]


@njit
def write_until(w: Any, stop: Any) -> Any:
    """Write as fast as the gates allow."""
    spins = 0
    while atomics.load_acquire(stop) == 0:
        if kernels.room(w, 1) < 1:
            spins = waited(spins)
            continue
        fill(w, w[kernels.W_NEXT] + 1)
        kernels.publish(w, 1)


@njit
def pass_by(cursor_at: Any, count: Any) -> Any:
    """Until `count` more messages were published: the writer minds nobody."""
    until = atomics.load_acquire(cursor_at) + count
    spins = 0
    while atomics.load_acquire(cursor_at) < until:
        spins = waited(spins)


@njit
def hold(r: Any) -> Any:
    """Look again and again at what follows the gate's cursor, and commit nothing: slots that were overwritten."""
    bad = 0
    for _ in range(_LOOKS):
        r[kernels.R_SEEN] = r[kernels.R_CURSOR]
        ready = kernels.available(r)
        bad += ready > r[kernels.R_CAPACITY]
        for k in range(min(ready, r[kernels.R_CAPACITY])):
            sequence = r[kernels.R_CURSOR] + 1 + k
            bad += not is_whole(input_slot(r, sequence), sequence)
        pauses(4)
    return bad


def load() -> None:
    """Compile before the fork."""
    write_until.compile((_LINE, _WORD))
    pass_by.compile((_WORD, _WORD))
    hold.compile((_LINE,))


def _late_gate(rounds: int, broken: str) -> Outcome:
    load()
    with Stage() as stage:
        stage.ring("x", _SLOTS, "r")

        def writer() -> None:
            end = Writer(stage.node, "x")
            write_until(end.words, stage.at(1))

        def gate() -> None:
            end = Reader(stage.node, "x", "r")
            cursor_at = int(end.words[kernels.R_CURSOR_AT])
            bad = 0
            for turn in range(rounds):
                end._page.word(layout.READER_CURSOR_AT)[0] = layout.DETACHED
                pass_by(cursor_at, 2 * _SLOTS + turn % 32)
                if broken:
                    end.seek(end.ring.cursor)
                else:
                    end.reattach()
                bad += hold(end.words)
            stage.words[0:2] = bad, rounds
            stage.words[16] = 1

        stage.run(writer, gate)
        return Outcome(rounds, stage.said(0), int(stage.words[1]) == rounds)


CLAIMS = (
    Claim(
        "late-gate",
        "a slot behind the cursor at which a detached gate comes back is overwritten before the gate commits it",
        _late_gate,
        (ONE_READING,),
        10_000,
    ),
)
