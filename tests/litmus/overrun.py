"""The observer's claims: what it accepts is whole, and what it does not accept is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from litmus.loops import fill, fill_rest, is_whole, pauses, waited
from litmus.stage import STRIDE_BYTES, Claim, Outcome, Stage, address
from sovereign.runtime import atomics, kernels, layout
from sovereign.runtime.jit import njit, types
from sovereign.runtime.observer import Observer, take
from sovereign.runtime.reader import Reader
from sovereign.runtime.writer import Writer

NO_SECOND_LOOK = "the observer does not look again"
SEQUENCE_LAST = "the writer stores the sequence after the payload"
_SLOTS, _MOST = 8, 8
_WORD, _LINE = types.int64, types.int64[::1]


@njit
def write_freely(w: Any, rounds: Any, sequence_last: Any) -> Any:
    """Write as fast as the core allows, in bursts: nobody holds the writer back."""
    for n in range(1, rounds + 1):
        if sequence_last:
            slot = kernels.slot_of(w[kernels.W_SLOTS], w[kernels.W_MASK], w[kernels.W_STRIDE], n)
            fill_rest(slot, n)
            atomics.fence_release()
            atomics.store_i64(slot + layout.SLOT_SEQUENCE, n)
        else:
            fill(w, n)
        kernels.publish(w, 1)
        pauses(n & 15 if n & 64 else 0)


@njit
def take_blindly(place: Any, after: Any, most: Any, out: Any) -> Any:
    """`observer.take` without the second look."""
    published = atomics.load_acquire(place[0])
    first = max(after, published - place[2])
    last = min(published, first + most)
    whole = 0
    for sequence in range(first + 1, last + 1):
        copy = out + whole * place[3]
        slot = kernels.slot_of(place[1], place[2] - 1, place[3], sequence)
        atomics.copy_bytes(copy, slot, place[3])
        whole += atomics.load_i64(copy) == sequence
    return last, whole


@njit
def observe(place: Any, rounds: Any, copies: Any, blindly: Any, out: Any) -> Any:
    """Take what can be had until the writer is done; counts torn copies, whole ones, and those overrun."""
    after = spins = 0
    accepted = overrun = torn = 0
    while after < rounds:
        if blindly:
            last, whole = take_blindly(place, after, _MOST, copies)
        else:
            last, whole = take(place[0], place[1], place[2], place[3], after, _MOST, copies)
        before = after
        for k in range(whole):
            sequence = atomics.load_i64(copies + k * place[3])
            torn += sequence <= before or not is_whole(copies + k * place[3], sequence)
            before = sequence
        accepted += whole
        overrun += last - after - whole
        if last == after:
            spins = waited(spins)
        after = last
    for at, value in ((0, torn), (8, accepted), (16, overrun)):
        atomics.store_i64(out + at, value)


@njit
def observe_input(r: Any, rounds: Any, out: Any) -> Any:
    """The same as an actor's loop does it, on an input that is no gate; its overruns are counted on the reader's page."""
    accepted = torn = spins = 0
    while r[kernels.R_CURSOR] < rounds:
        ready = kernels.available(r)
        if ready == 0:
            spins = waited(spins)
            continue
        for k in range(ready):
            sequence = r[kernels.R_CURSOR] + 1 + k
            copy = kernels.fetch(r, sequence)
            if copy != 0:
                accepted += 1
                torn += not is_whole(copy, sequence)
        kernels.release(r, ready)
    overrun = atomics.load_i64(r[kernels.R_OVERRUN_AT])
    for at, value in ((0, torn), (8, accepted), (16, overrun)):
        atomics.store_i64(out + at, value)


def load() -> None:
    """Compile before the fork."""
    write_freely.compile((_LINE, _WORD, types.boolean))
    observe.compile((_LINE, _WORD, _WORD, types.boolean, _WORD))
    observe_input.compile((_LINE, _WORD, _WORD))


def _overrun(rounds: int, broken: str, observer: Callable[[Stage], object]) -> Outcome:
    """Let a writer loose on a small ring beside `observer`."""
    load()
    with Stage() as stage:
        stage.ring("x", _SLOTS, "r", gate=False)

        def writer() -> None:
            end = Writer(stage.node, "x")
            while stage.said(1) == 0:  # the observer is there from the first message on
                pass
            write_freely(end.words, rounds, broken == SEQUENCE_LAST)

        stage.run(writer, lambda: observer(stage))
        torn, accepted, overrun = (int(one) for one in stage.words[:3])
    # Both must be plenty, or nothing was shown.
    busy = accepted > rounds // 1000 and overrun > rounds // 1000
    return Outcome(rounds, torn, accepted + overrun == rounds and busy)


def _observer(rounds: int, broken: str) -> Outcome:
    def observer(stage: Stage) -> None:
        ring = Observer(stage.node, "x", "oldest").ring
        cursor_at = ring.segment.address + layout.RING_CURSOR_AT
        place = np.array([cursor_at, ring.slots_address, ring.capacity, ring.stride])
        copies = np.zeros(_MOST * STRIDE_BYTES, np.uint8)
        stage.words[16] = 1
        observe(place, rounds, address(copies), broken == NO_SECOND_LOOK, stage.at(0))

    return _overrun(rounds, broken, observer)


def _input(rounds: int, broken: str) -> Outcome:
    def observer(stage: Stage) -> None:
        end = Reader(stage.node, "x", "r")
        stage.words[16] = 1
        observe_input(end.words, rounds, stage.at(0))

    return _overrun(rounds, broken, observer)


CLAIMS = (
    # That the fence before the second look is needed cannot be shown on x86-64, which keeps loads in order among
    # themselves: there it only binds the compiler. On AArch64 its absence is the NO_SECOND_LOOK of the variants below.
    Claim(
        "observer",
        "an observer accepts a torn slot, or a slot that it neither accepts nor counts as overrun",
        _observer,
        (NO_SECOND_LOOK, SEQUENCE_LAST),
        1_000_000,
    ),
    Claim(
        "observing-input",
        "an input that is no gate hands out a torn slot, or misses one that it does not count",
        _input,
        (SEQUENCE_LAST,),
        1_000_000,
    ),
)
