"""What a packet's numbers say: expected, a gap before it, seen before, late, of a new session, or not to be believed.

Guarantees, per channel and session: a number is decoded once, and a number that is passed over stands in one Gap. A packet
that overlaps what was seen gives its new tail. A jump forward beyond `limits.INGRESS_MAX_JUMP` is held (counted, not
decoded) until the next packet goes on from there: one forged or damaged datagram changes nothing; the held packet's own
numbers then stand in the Gap. Nothing jumps back on a number alone: only where the feed says so, by a new session or by
its first number, sent later than all before; or when a line's very first packet is one that nothing near it confirms.
Else what is old was a gap (`late`) or is a duplicate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sovereign.actors.ingress.channel import (
    B_CURRENT,
    B_KEY,
    HOLES,
    S_FLOOR,
    S_HOLES,
    S_NAME,
    S_NAME_TAIL,
    S_NEXT,
    S_SENT,
    S_SUSPECT,
    S_TAKEN,
    find_channel,
    find_session,
    get,
    number_of,
    put,
    session_at,
)
from sovereign.actors.ingress.claim import (
    D_CHANNEL_DROPS,
    D_DUPLICATES,
    D_GAPS,
    D_IMPLAUSIBLE,
    D_LATE,
    D_OVERLAPS,
    D_RESETS,
    MALFORMED,
    TOO_SMALL,
    next_slot,
    tally,
)
from sovereign.runtime import atomics, limits
from sovereign.runtime.jit import njit

DROPPED = -3
HELD = -4
FIRST_NUMBER = 1
NUMBER_MAX = 1 << 62


@njit
def _told(claim_at: Any, type_at: Any, state_at: Any, block: Any, first: Any, last: Any) -> Any:
    """A Gap or a Reset (the type words at `type_at`): its two numbers and its channel; 0: no room."""
    to = next_slot(claim_at, atomics.load_i64(type_at), atomics.load_i64(type_at + 8))
    if to != 0:
        key = get(block, B_KEY)
        atomics.store_i64(to, first)
        atomics.store_i64(to + 8, last)
        atomics.store_u32(to + 16, number_of(state_at, block))
        atomics.store_u32(to + 20, key >> 16)
        atomics.store_u16(to + 24, key)
    return to


@njit
def _tell_reset(
    claim_at: Any, types_at: Any, state_at: Any, block: Any, was: Any, now: Any, first: Any
) -> Any:
    """A Reset from session `was` to `now`, which goes on with `first`; False: no room."""
    to = _told(claim_at, types_at + 16, state_at, block, get(was, S_NEXT), first)
    if to == 0:
        return False
    for at, session in ((to + 26, was), (to + 36, now)):
        atomics.store_i64(at, get(session, S_NAME))
        atomics.store_u16(at + 8, get(session, S_NAME_TAIL))
    tally(state_at, D_RESETS, 1)
    return True


@njit
def _begin(session: Any, number: Any) -> Any:
    """The session's numbers begin with `number`, and no hole is known."""
    put(session, S_NEXT, number)
    put(session, S_FLOOR, number)
    put(session, S_TAKEN, 0)
    put(session, S_SENT, 0)
    for word in range(2 * HOLES):
        put(session, S_HOLES + word, 0)


@njit
def _remember_hole(session: Any, first: Any, end: Any) -> Any:
    """Numbers `first` to `end` - 1 are missing. The oldest hole gives way; below it nothing is remembered then."""
    oldest = 0
    for hole in range(1, HOLES):
        if get(session, S_HOLES + 2 * hole + 1) < get(session, S_HOLES + 2 * oldest + 1):
            oldest = hole
    gone = get(session, S_HOLES + 2 * oldest + 1)
    put(session, S_FLOOR, max(get(session, S_FLOOR), gone))
    put(session, S_HOLES + 2 * oldest, first)
    put(session, S_HOLES + 2 * oldest + 1, end)


@njit
def _was_missing(session: Any, first: Any, end: Any) -> Any:
    """Whether one of the old numbers `first` to `end` - 1 was told as missing, or is too old to know; no longer missing."""
    late = first < get(session, S_FLOOR) and first < end
    for hole in range(HOLES):
        at = S_HOLES + 2 * hole
        low, high = get(session, at), get(session, at + 1)
        if low >= end or first >= high:
            continue
        late = True
        put(session, at, low if low < first else min(end, high))
        put(session, at + 1, first if low < first else high)
        if low < first and end < high:
            _remember_hole(session, end, high)
        elif get(session, at) >= get(session, at + 1):
            put(session, at, 0)
            put(session, at + 1, 0)
    return late


@njit
def _expected(state_at: Any, block: Any, session: Any, first: Any, sent: Any) -> Any:
    """The number that the session expects; and whether its numbers begin anew with this packet."""
    expected = get(session, S_NEXT)
    if (
        expected == 0
    ):  # of a line that was never heard nothing is missing; a new session begins with 1
        return (np.int64(FIRST_NUMBER) if get(block, B_CURRENT) != 0 else first), False
    if first == FIRST_NUMBER and expected > first and get(session, S_SENT) < sent:
        return first, True
    if get(session, S_TAKEN) == 1 and first + limits.INGRESS_MAX_JUMP < expected:
        tally(state_at, D_IMPLAUSIBLE, 1)
        return first, True
    return expected, False


@njit
def _accept(
    state_at: Any, claim_at: Any, types_at: Any, block: Any, which: Any, first: Any, count: Any,
    expected: Any, anew: Any,
) -> Any:  # fmt: skip
    """Tell what stands between `expected` and `first`, and go on behind the packet; numbers to leave out, or TOO_SMALL."""
    session, current = session_at(block, which), get(block, B_CURRENT)
    if anew or (current != 0 and current != which):
        was = session_at(block, current)
        if not _tell_reset(claim_at, types_at, state_at, block, was, session, first):
            return np.int64(TOO_SMALL)
    put(block, B_CURRENT, which)
    if anew or get(session, S_NEXT) == 0:
        _begin(session, expected)
    if first > expected:
        if _told(claim_at, types_at, state_at, block, expected, first - 1) == 0:
            return np.int64(TOO_SMALL)
        tally(state_at, D_GAPS, first - expected)
        _remember_hole(session, expected, first)
    elif first < expected:
        tally(state_at, D_OVERLAPS, 1)
    put(session, S_NEXT, first + count)
    put(session, S_TAKEN, min(get(session, S_TAKEN) + 1, 2))
    put(session, S_SUSPECT, 0)
    return max(np.int64(0), expected - first)


@njit
def arrive(
    state_at: Any, claim_at: Any, types_at: Any, first: Any, count: Any, name: Any, tail: Any,
    sent: Any,
) -> Any:  # fmt: skip
    """Judge a packet of the claim's channel that carries `count` numbers from `first`; Reset and Gap go before it.

    `types_at`: type words of Gap, then of Reset. `name`, `tail`: the session's ten bytes, 0 where the feed has none.
    `sent`: the feed's own sending time, 0 where it has none. How many of its first numbers to leave out (0: it is whole
    and new), or DROPPED, HELD (look at the packet, but give nothing), MALFORMED or TOO_SMALL.
    """
    if first < 0 or first > NUMBER_MAX:
        return np.int64(MALFORMED)
    block = find_channel(state_at, claim_at)
    if block == 0:
        tally(state_at, D_CHANNEL_DROPS, 1)
        return np.int64(DROPPED)
    which = find_session(block, name, tail)
    session = session_at(block, which)
    expected, anew = _expected(state_at, block, session, first, sent)
    if first < expected and first + count <= expected:
        late = _was_missing(session, first, first + count)
        tally(state_at, D_LATE if late else D_DUPLICATES, 1)
        return np.int64(DROPPED)
    suspect = get(session, S_SUSPECT)
    follows = suspect != 0 and suspect <= first <= suspect + limits.INGRESS_MAX_JUMP
    if first > expected + limits.INGRESS_MAX_JUMP and not follows:
        put(session, S_SUSPECT, first + count)
        tally(state_at, D_IMPLAUSIBLE, 1)
        return np.int64(HELD)
    skip = _accept(state_at, claim_at, types_at, block, which, first, count, expected, anew)
    put(session, S_SENT, max(sent, get(session, S_SENT)))
    return skip
