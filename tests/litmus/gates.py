"""Claims on gates: a slot is whole when it can be seen, a batch comes whole, order is kept, nothing is overwritten."""

from __future__ import annotations

from typing import Any

import numpy as np

from litmus.loops import fill, input_slot, is_whole, pauses, wait_for_room, waited
from litmus.stage import Claim, Outcome, Stage
from sovereign.runtime import atomics, kernels
from sovereign.runtime.jit import njit, types
from sovereign.runtime.reader import Reader
from sovereign.runtime.writer import Writer

PUBLISH_FIRST = "published before it is filled"
ONE_BY_ONE = "a batch published slot by slot"
SECOND_FIRST = "the second published before the first"
NO_GATE = "the writer minds no gate"
COMMIT_FIRST = "the gate commits before it reads"
ONE_GATE = "the writer minds only the first gate"
ATTACHED = 24
_WORD, _LINE = types.int64, types.int64[::1]


@njit
def write(w: Any, rounds: Any, batch: Any, early: Any, single: Any) -> Any:
    """Write `rounds` messages in batches. `early`: publish, then fill; `single`: publish each slot of a batch alone."""
    for _ in range(rounds // batch):
        wait_for_room(w, batch)
        first = w[kernels.W_NEXT] + 1
        if early:
            kernels.publish(w, batch)
        for k in range(batch):
            fill(w, first + k)
            if single:
                kernels.publish(w, 1)
        if not early and not single:
            kernels.publish(w, batch)


@njit
def read(r: Any, rounds: Any, batch: Any, early: Any, again: Any, out: Any) -> Any:
    """Take all, in order. Counts at `out` what was not whole (or had another number) when seen, and, with `again`, when
    looked at again right before the commit; and cursors that stood inside a batch. `early`: commit, then read."""
    seen = spins = 0
    while seen < rounds:
        ready = kernels.available(r)
        if ready == 0:
            spins = waited(spins)
            continue
        bad = np.int64(r[kernels.R_SEEN] % batch != 0)
        if early:
            kernels.release(r, ready)
        for k in range(ready):
            bad += not is_whole(input_slot(r, seen + 1 + k), seen + 1 + k)
        if again:
            pauses(seen % 64)
            for k in range(ready):
                bad += not is_whole(input_slot(r, seen + 1 + k), seen + 1 + k)
        if not early:
            kernels.release(r, ready)
        seen += ready
        atomics.store_i64(out, atomics.load_i64(out) + bad)
    atomics.store_i64(out + 8, seen)


@njit
def write_both(cause: Any, effect: Any, rounds: Any, swapped: Any) -> Any:
    """Publish n in the ring `cause`, then n in the ring `effect`."""
    for n in range(1, rounds + 1):
        wait_for_room(cause, 1)
        wait_for_room(effect, 1)
        fill(cause, n)
        fill(effect, n)
        if swapped:
            kernels.publish(effect, 1)
            pauses(2)
            kernels.publish(cause, 1)
        else:
            kernels.publish(cause, 1)
            kernels.publish(effect, 1)


@njit
def read_both(cause: Any, effect: Any, rounds: Any, out: Any) -> Any:
    """Look at `effect` first: whatever is there must have its cause there too."""
    seen = spins = 0
    while seen < rounds:
        later = atomics.load_acquire(effect[kernels.R_CURSOR_AT])
        sooner = atomics.load_acquire(cause[kernels.R_CURSOR_AT])
        if later == seen:
            spins = waited(spins)
            continue
        bad = np.int64(sooner < later)
        for n in range(seen + 1, min(later, sooner) + 1):
            bad += not is_whole(input_slot(cause, n), n)
        kernels.release(cause, later - seen)
        kernels.release(effect, later - seen)
        seen = later
        atomics.store_i64(out, atomics.load_i64(out) + bad)
    atomics.store_i64(out + 8, seen)


def load() -> None:
    """Compile before the fork."""
    write.compile((_LINE, _WORD, _WORD, types.boolean, types.boolean))
    read.compile((_LINE, _WORD, _WORD, types.boolean, types.boolean, _WORD))
    write_both.compile((_LINE, _LINE, _WORD, types.boolean))
    read_both.compile((_LINE, _LINE, _WORD, _WORD))


def _one_ring(
    rounds: int, broken: str, *, slots: int, batch: int, readers: int = 1, again: bool = False
) -> Outcome:
    load()
    rounds -= rounds % batch
    names = [f"r{i}" for i in range(readers)]
    with Stage() as stage:
        stage.ring("x", slots, *names)

        def writer() -> None:
            end = Writer(stage.node, "x")
            if broken in (NO_GATE, ONE_GATE):
                end.words[kernels.W_GATES] = int(broken == ONE_GATE)
            while any(stage.said(ATTACHED + place) == 0 for place in range(readers)):
                pass  # a writer that minds no gate would be far ahead, and the reader refused
            write(end.words, rounds, batch, broken == PUBLISH_FIRST, broken == ONE_BY_ONE)

        def reader(place: int) -> None:
            end = Reader(stage.node, "x", names[place])
            atomics.store_release(stage.at(ATTACHED + place), 1)
            read(end.words, rounds, batch, broken == COMMIT_FIRST, again, stage.at(place))

        stage.run(writer, *(lambda place=i: reader(place) for i in range(readers)))
        bad = sum(stage.said(i) for i in range(readers))
        seen = [int(stage.words[16 * i + 1]) for i in range(readers)]
    return Outcome(rounds, bad, seen == [rounds] * readers)


def _whole(rounds: int, broken: str) -> Outcome:
    return _one_ring(rounds, broken, slots=64, batch=1)


def _batch(rounds: int, broken: str) -> Outcome:
    return _one_ring(rounds, broken, slots=64, batch=16)


def _held(rounds: int, broken: str) -> Outcome:
    return _one_ring(rounds, broken, slots=8, batch=1, again=True)


def _everyone(rounds: int, broken: str) -> Outcome:
    return _one_ring(rounds, broken, slots=64, batch=4, readers=2)


def _order(rounds: int, broken: str) -> Outcome:
    load()
    with Stage() as stage:
        for name in ("cause", "effect"):
            stage.ring(name, 64, "r")

        def writer() -> None:
            cause, effect = (Writer(stage.node, name) for name in ("cause", "effect"))
            write_both(cause.words, effect.words, rounds, broken == SECOND_FIRST)

        def reader() -> None:
            cause, effect = (Reader(stage.node, name, "r") for name in ("cause", "effect"))
            read_both(cause.words, effect.words, rounds, stage.at(0))

        stage.run(writer, reader)
        return Outcome(rounds, stage.said(0), int(stage.words[1]) == rounds)


# The orders of the accesses are broken below, not their strengths: x86-64 makes every store a release and every load an
# acquire, so a plain store in the place of `store_release` shows nothing here (and must not be concluded to be enough).
CLAIMS = (
    Claim(
        "whole-slot",
        "a reader sees a slot whose sequence, header and payload do not agree",
        _whole,
        (PUBLISH_FIRST,),
        1_000_000,
    ),
    Claim(
        "whole-batch",
        "a reader sees the cursor inside a batch that was published with one store, or a slot of the batch not whole",
        _batch,
        (ONE_BY_ONE, PUBLISH_FIRST),
        1_000_000,
    ),
    Claim(
        "order",
        "publish(2) is visible, and publish(1), which came before it, is not",
        _order,
        (SECOND_FIRST,),
        500_000,
    ),
    Claim(
        "gate",
        "a slot changes between a gate's first look and its commit",
        _held,
        (NO_GATE, COMMIT_FIRST),
        300_000,
    ),
    Claim(
        "everyone",
        "one of two readers of a ring misses a message, sees it twice, or out of order",
        _everyone,
        (ONE_GATE,),
        500_000,
    ),
)
