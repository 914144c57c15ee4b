"""The commit rule's claim: state, cursor and release become visible in that order, as a third process sees them.

The actor reads one message a step, adds it to its total, and writes one message, so step n goes with output n, input n
and the total n. The bystander looks in the reverse order: what is later must never be there without what is earlier.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from litmus.loops import fill, pauses, wait_for_room, waited
from litmus.stage import Claim, Outcome, Stage
from sovereign.runtime import atomics, commit, kernels, layout
from sovereign.runtime.jit import njit, types
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.shm import Segment, segment_name
from sovereign.runtime.state import StateStore
from sovereign.runtime.writer import Writer

TAG_LAST = "published before it is tagged"
RELEASE_FIRST = "the input released before the publication"
_WORD, _LINE, _TABLE = types.int64, types.int64[::1], types.int64[:, ::1]
_WIDTH = 2  # what a preemption would do now and then: the stores that are swapped stand apart for a moment
V_INPUT, V_OUTPUT, V_COPY_A, V_COPY_B = range(4)


class Total(Message):
    """The fold of what was read."""

    total: np.int64 = 0


@njit
def commit_broken(s: Any, w: Any, readers: Any, taken: Any, release_first: Any) -> Any:
    """`commit.commit` of one message with two of its stores swapped."""
    copy = s[commit.S_COPY_A + 1 - s[commit.S_NEWER]]
    step = s[commit.S_STEP] + 1
    cursor = readers[0, kernels.R_CURSOR] + taken[0]
    atomics.store_i64(copy + layout.COPY_INPUTS_AT, cursor)
    atomics.store_i64(copy + layout.COPY_OUTPUT_AT, w[kernels.W_NEXT] + 1)
    if release_first:
        atomics.store_release(copy + layout.COPY_TAG_AT, step)
        kernels.release(readers[0], taken[0])
        pauses(_WIDTH)
        kernels.publish(w, 1)
    else:
        kernels.publish(w, 1)
        pauses(_WIDTH)
        atomics.store_release(copy + layout.COPY_TAG_AT, step)
        kernels.release(readers[0], taken[0])
    s[commit.S_STEP] = step
    s[commit.S_NEWER] = 1 - s[commit.S_NEWER]


@njit
def work(
    source: Any,
    s: Any,
    w: Any,
    readers: Any,
    taken: Any,
    rounds: Any,
    broken: Any,
    release_first: Any,
) -> Any:
    """Feed the input, and commit one step a message."""
    taken[0] = 1
    for n in range(1, rounds + 1):
        fill(source, n)
        kernels.publish(source, 1)
        while kernels.available(readers[0]) == 0:
            atomics.pause()
        wait_for_room(w, 1)
        state = commit.begin(s)
        atomics.store_i64(state, atomics.load_i64(state) + 1)
        fill(w, n)
        if broken:
            commit_broken(s, w, readers, taken, release_first)
        else:
            commit.commit(s, w, readers, taken, 1)


@njit
def _stands(copy: Any, step: Any) -> Any:
    """Whether the copy holds step `step`: its tag, its output, its input's cursor, its state."""
    return (
        atomics.load_acquire(copy + layout.COPY_TAG_AT) == step
        and atomics.load_i64(copy + layout.COPY_OUTPUT_AT) == step
        and atomics.load_i64(copy + layout.COPY_INPUTS_AT) == step
        and atomics.load_i64(copy + layout.COPY_STATE_AT) == step
    )


@njit
def watch(view: Any, rounds: Any, out: Any) -> Any:
    """Look at the release, then at the cursor, then at the copies. A step's copy stands until the step after the next
    begins, so a copy that is missing counts only when the cursor has not moved since."""
    bad = judged = spins = 0
    released = np.int64(0)
    while released < rounds:
        released = atomics.load_acquire(view[V_INPUT])
        published = atomics.load_acquire(view[V_OUTPUT])
        bad += published < released
        if published > 0:
            stands = _stands(view[V_COPY_A], published) or _stands(view[V_COPY_B], published)
            atomics.fence_acquire()
            if atomics.load_acquire(view[V_OUTPUT]) == published:
                judged += 1
                bad += not stands
        spins = waited(spins)
    atomics.store_i64(out, bad)
    atomics.store_i64(out + 8, judged)


def load() -> None:
    """Compile before the fork."""
    work.compile((_LINE, _LINE, _LINE, _TABLE, _LINE, _WORD, types.boolean, types.boolean))
    watch.compile((_LINE, _WORD, _WORD))


def _view(stage: Stage) -> tuple[Any, list[Segment]]:
    """The bystander's addresses, and the mappings that they lie in."""
    source, output, state = (
        Segment.open(segment_name(stage.node, name)) for name in ("in", "out", "actor.state")
    )
    first = state.address + layout.STATE_FIRST_COPY_AT
    copy_bytes = (state.bytes - layout.STATE_FIRST_COPY_AT) // 2
    view = np.array(
        [
            source.address + layout.reader_page(0) + layout.READER_CURSOR_AT,
            output.address + layout.RING_CURSOR_AT,
            first,
            first + copy_bytes,
        ]
    )
    return view, [source, output, state]


def _committed(rounds: int, broken: str) -> Outcome:
    load()
    with Stage() as stage:
        stage.ring("in", 8, "r")
        stage.ring("out", 8)

        def store() -> StateStore:
            inputs = [Reader(stage.node, "in", "r")]
            return StateStore(stage.node, "actor", Total, inputs, Writer(stage.node, "out"))

        store().close()  # the state segment stands before the bystander looks

        def actor() -> None:
            own, source = store(), Writer(stage.node, "in")
            taken = np.zeros(1, np.int64)
            work(
                source.words, own.words, own.out_words, own.readers, taken, rounds,
                broken != "", broken == RELEASE_FIRST,
            )  # fmt: skip

        def bystander() -> None:
            view, _mappings = _view(stage)
            watch(view, rounds, stage.at(0))

        stage.run(actor, bystander)
        return Outcome(rounds, stage.said(0), int(stage.words[1]) > 0)


CLAIMS = (
    Claim(
        "commit",
        "a release is visible whose publication is not, or a publication whose tagged state is not",
        _committed,
        (TAG_LAST, RELEASE_FIRST),
        500_000,
    ),
)
