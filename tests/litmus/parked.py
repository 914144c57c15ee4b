"""The parked reader's claim: no wake-up is lost, whichever of its inputs the message came by.

The writer aims at the moment at which the reader parks: the reader says that it is about to, both let a varying moment
pass, and the writer publishes. A wake-up is lost when the reader slept out its time although a message had been waiting for
more than half of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from litmus.loops import fill, input_slot, pauses, waited
from litmus.stage import LINE_WORDS, Claim, Outcome, Stage, address
from sovereign.runtime import atomics, kernels, layout
from sovereign.runtime.jit import njit, types
from sovereign.runtime.reader import Reader
from sovereign.runtime.writer import Writer

NO_FENCE = "park without a fence between the flag and the look"
ONE_FENCE = "the reader fences, and does not make the writer fence"
FLAG_LAST = "the flag is set after the look"
FIRST_INPUT_ONLY = "sleep on the first input's word only"
_TIMEOUT_NS = 400_000_000
_SHORT_TIMEOUT_NS = 20_000_000  # for the broken variants, which do sleep it out
_ENOUGH_LOST = 3
_BURDEN_LINES = 8
_READER_MOMENTS, _WRITER_MOMENTS = 61, 43  # no common factor: every pair of moments comes up
_REAL, _UNFENCED, _FENCED, _LATE, _SINGLE = range(5)
_VARIANTS = {
    "": _REAL,
    NO_FENCE: _UNFENCED,
    ONE_FENCE: _FENCED,
    FLAG_LAST: _LATE,
    FIRST_INPUT_ONLY: _SINGLE,
}
_WORD, _LINE, _TABLE = types.int64, types.int64[::1], types.int64[:, ::1]


@njit
def _moved(readers: Any, count: Any) -> Any:
    """Whether one of the inputs has something."""
    moved = False
    for i in range(count):
        cursor = atomics.load_acquire(readers[i, kernels.R_CURSOR_AT])
        moved = moved or cursor != readers[i, kernels.R_CURSOR]
    return moved


@njit
def park_broken(readers: Any, count: Any, timeout_at: Any, variant: Any) -> Any:
    """`kernels._park` without its membarrier, or without its fence too, or with the flag after the look."""
    late = variant == _LATE
    if late and _moved(readers, count):
        return
    for i in range(count):
        atomics.store_release(readers[i, kernels.R_PARKED_AT], 1)
    if variant == _FENCED:
        atomics.fence_full()
    if late or not _moved(readers, count):
        kernels._sleep(readers, count, timeout_at)
    for i in range(count):
        atomics.store_release(readers[i, kernels.R_PARKED_AT], 0)


@njit
def burden(turn: Any, value: Any) -> Any:
    """Store to lines that the other side owns: the stores that follow wait behind these, and the loads do not."""
    for line in range(1, _BURDEN_LINES + 1):
        atomics.store_i64(turn + 8 * LINE_WORDS * line, value)


@njit
def sleep(
    readers: Any,
    count: Any,
    rounds: Any,
    turn: Any,
    timeout_at: Any,
    clock: Any,
    variant: Any,
    out: Any,
) -> Any:
    """Park for each message; count wake-ups by time-out although a message waited. Ends early when enough were lost."""
    limit = atomics.load_i64(timeout_at) * 1_000_000_000 + atomics.load_i64(timeout_at + 8)
    lost = seen = 0
    while seen < rounds and (variant == _REAL or lost < _ENOUGH_LOST):
        burden(turn, seen)
        atomics.store_release(turn, seen + 1)
        pauses(seen * 5 % _READER_MOMENTS)
        ready = 0
        while ready == 0:
            started = kernels.now_ns(1, clock)
            if variant in (_REAL, _SINGLE):
                kernels.idle(kernels.WAIT_PARK, 1_000_000, readers, count, timeout_at)
            else:
                park_broken(readers, count, timeout_at, variant)
            ended = kernels.now_ns(1, clock)
            for i in range(count):
                if kernels.available(readers[i]) > 0:
                    ready += 1
                    slot = input_slot(readers[i], readers[i, kernels.R_CURSOR] + 1)
                    published = atomics.load_i64(slot + layout.SLOT_PUBLISH_NS)
                    slept_out = ended - started >= limit
                    lost += slept_out and ended - published > limit // 2
                    kernels.release(readers[i], 1)
        seen += 1
    atomics.store_i64(out, lost)
    atomics.store_i64(out + 8, seen)
    atomics.store_release(turn, -1)


@njit
def wake(first: Any, second: Any, rounds: Any, turn: Any, clock: Any) -> Any:
    """Publish one message a turn, now in this ring and now in that, at a varying moment after the reader's word."""
    for n in range(rounds):
        spins = 0
        told = atomics.load_acquire(turn)
        while told != n + 1:
            if told < 0:
                return
            spins = waited(spins)
            told = atomics.load_acquire(turn)
        pauses(n * 7 % _WRITER_MOMENTS)
        w = first if n % 2 == 0 else second
        fill(w, w[kernels.W_NEXT] + 1)
        slot = kernels.slot_of(
            w[kernels.W_SLOTS], w[kernels.W_MASK], w[kernels.W_STRIDE], w[kernels.W_NEXT] + 1
        )
        atomics.store_i64(slot + layout.SLOT_PUBLISH_NS, kernels.now_ns(1, clock))
        burden(turn, n)
        kernels.publish(w, 1)


def load() -> None:
    """Compile before the fork."""
    sleep.compile((_TABLE, _WORD, _WORD, _WORD, _WORD, _WORD, _WORD, _WORD))
    wake.compile((_LINE, _LINE, _WORD, _WORD, _WORD))


def _parked(rounds: int, broken: str, names: tuple[str, ...]) -> Outcome:
    load()
    with Stage() as stage:
        for name in names:
            stage.ring(name, 8, "r")

        def writer() -> None:
            ends = [Writer(stage.node, name) for name in names]
            clock = np.zeros(2, np.int64)
            wake(ends[0].words, ends[-1].words, rounds, stage.at(1), address(clock))

        def reader() -> None:
            ends = [Reader(stage.node, name, "r") for name in names]
            table = np.stack([end.words for end in ends])
            timeout = kernels.park_words()
            timeout[kernels.P_TIMEOUT + 1] = _SHORT_TIMEOUT_NS if broken else _TIMEOUT_NS
            if broken == FIRST_INPUT_ONLY:
                timeout[kernels.P_HAS_WAITV] = 0
            clock = np.zeros(2, np.int64)
            sleep(
                table, len(ends), rounds, stage.at(1), address(timeout), address(clock),
                _VARIANTS[broken], stage.at(0),
            )  # fmt: skip

        stage.run(writer, reader)
        return Outcome(int(stage.words[1]), stage.said(0), int(stage.words[1]) == rounds)


def _one_input(rounds: int, broken: str) -> Outcome:
    return _parked(rounds, broken, ("x",))


def _two_inputs(rounds: int, broken: str) -> Outcome:
    return _parked(rounds, broken, ("x", "y"))


CLAIMS = (
    Claim(
        "parked",
        "a parked reader sleeps out its time while a message waits",
        _one_input,
        (FLAG_LAST, NO_FENCE, ONE_FENCE),
        30_000,
    ),
    Claim(
        "parked-two-inputs",
        "a reader that is parked on two rings sleeps out its time while a message waits in one of them",
        _two_inputs,
        (FIRST_INPUT_ONLY,),
        20_000,
    ),
)
