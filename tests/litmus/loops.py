"""The pieces that every litmus loop is made of: waiting, filling a slot from its sequence, and seeing that it is whole.

Every word of a slot follows from its sequence, so one look says whether header and payload belong together.
"""

from __future__ import annotations

from typing import Any

from litmus.stage import PAYLOAD_WORDS
from sovereign.runtime import atomics, kernels, layout
from sovereign.runtime.jit import njit

_SPINS = 500
_NUMBERED = (layout.SLOT_ORIGIN_NS, layout.SLOT_PUBLISH_NS, layout.SLOT_CAUSE_SEQ)


@njit
def waited(spins: Any) -> Any:
    """One look in vain more; gives the core away now and then, since three roles may share two cores."""
    if spins % _SPINS == _SPINS - 1:
        atomics.sched_yield()
    return spins + 1


@njit
def pauses(count: Any) -> Any:
    """Let the other side's moment pass by a little."""
    for _ in range(count):
        atomics.pause()


@njit
def fill(w: Any, sequence: Any) -> Any:
    """Fill the slot of `sequence` as the hot loops do: its sequence first, then all the rest."""
    slot = kernels.open_slot(w[kernels.W_SLOTS], w[kernels.W_MASK], w[kernels.W_STRIDE], sequence)
    fill_rest(slot, sequence)


@njit
def fill_rest(slot: Any, sequence: Any) -> Any:
    """What follows the sequence in a slot."""
    for at in _NUMBERED:
        atomics.store_i64(slot + at, sequence)
    for word in range(PAYLOAD_WORDS):
        atomics.store_i64(slot + layout.SLOT_PAYLOAD + 8 * word, sequence * PAYLOAD_WORDS + word)


@njit
def is_whole(slot: Any, sequence: Any) -> Any:
    """Whether sequence, header and payload all say `sequence`."""
    good = atomics.load_i64(slot + layout.SLOT_SEQUENCE) == sequence
    for at in _NUMBERED:
        good = good and atomics.load_i64(slot + at) == sequence
    for word in range(PAYLOAD_WORDS):
        found = atomics.load_i64(slot + layout.SLOT_PAYLOAD + 8 * word)
        good = good and found == sequence * PAYLOAD_WORDS + word
    return good


@njit
def input_slot(r: Any, sequence: Any) -> Any:
    """Address of a slot as a reader sees it."""
    return kernels.slot_of(r[kernels.R_SLOTS], r[kernels.R_MASK], r[kernels.R_STRIDE], sequence)


@njit
def wait_for_room(w: Any, count: Any) -> Any:
    """Until `count` slots are free."""
    spins = 0
    while kernels.room(w, count) < count:
        spins = waited(spins)
