"""The channels of one ingress: a table in the decoder's committed words, a block a channel, in it two sessions.

    state   counts (claim.D_*) │ block of channel 0 │ block of channel 1 │ …
    block   B_KEY where its packets go · B_CURRENT the session in use (1, 2; 0: none yet) │ session │ session
    session S_NAME (10 bytes) · S_NEXT the number expected (0: not begun) · S_TAKEN packets since it began (0, 1, 2: more)
            · S_SUSPECT the number behind a held packet (0: none) · S_FLOOR below it nothing is remembered · S_SENT latest
            sending time · S_HOLES pairs: a number that is missing, and the first one behind that is not

Guarantees: channels never share a word; one channel more than `limits.INGRESS_MAX_CHANNELS` gets no block. Of a channel the
session in use and the one before it are kept, so a datagram of a session that never was does not cost the true one its
place. A block is copied to the claim's undo words before it is changed.
"""

from __future__ import annotations

from typing import Any

from sovereign.actors.ingress.claim import (
    CHANNEL_WORDS,
    D_CHANNELS,
    D_LAST,
    HEAD_WORDS,
    K_CHANNEL,
    K_TOUCHED_AT,
    K_UNDO_AT,
)
from sovereign.runtime import atomics, limits
from sovereign.runtime.jit import njit

B_KEY, B_CURRENT = range(2)
_SESSIONS_AT = 2
S_NAME, S_NAME_TAIL, S_NEXT, S_TAKEN, S_SUSPECT, S_FLOOR, S_SENT, S_HOLES = range(8)
HOLES = 4
_SESSION_WORDS = S_HOLES + 2 * HOLES
assert _SESSIONS_AT + 2 * _SESSION_WORDS <= CHANNEL_WORDS


@njit
def get(at: Any, word: Any) -> Any:
    """A word of a block or of a session."""
    return atomics.load_i64(at + 8 * word)


@njit
def put(at: Any, word: Any, value: Any) -> Any:
    """Store a word of a block or of a session."""
    atomics.store_i64(at + 8 * word, value)


@njit
def _block(state_at: Any, index: Any) -> Any:
    return state_at + 8 * (HEAD_WORDS + index * CHANNEL_WORDS)


@njit
def _clear(at: Any, words: Any) -> Any:
    for word in range(words):
        put(at, word, 0)


@njit
def number_of(state_at: Any, block: Any) -> Any:
    """The channel's number: 0 is the one that came first."""
    return (block - _block(state_at, 0)) // (8 * CHANNEL_WORDS)


@njit
def find_channel(state_at: Any, claim_at: Any) -> Any:
    """The block of the claim's channel, made when it is new; 0: the table is full."""
    key, known = get(claim_at, K_CHANNEL), get(state_at, D_CHANNELS)
    index = get(state_at, D_LAST)
    if index >= known or get(_block(state_at, index), B_KEY) != key:
        index = 0
        while index < known and get(_block(state_at, index), B_KEY) != key:
            index += 1
        if index == limits.INGRESS_MAX_CHANNELS:
            return 0
        put(state_at, D_LAST, index)
    block = _block(state_at, index)
    if index == known:
        _clear(block, CHANNEL_WORDS)
        put(block, B_KEY, key)
        put(state_at, D_CHANNELS, known + 1)
    if get(claim_at, K_UNDO_AT) != 0:
        atomics.copy_bytes(get(claim_at, K_UNDO_AT), block, 8 * CHANNEL_WORDS)
        put(claim_at, K_TOUCHED_AT, block)
    return block


@njit
def session_at(block: Any, which: Any) -> Any:
    """Address of the first (1) or second (2) session of a block."""
    return block + 8 * (_SESSIONS_AT + (which - 1) * _SESSION_WORDS)


@njit
def find_session(block: Any, name: Any, tail: Any) -> Any:
    """Which session of the block has this name: 1 or 2. A new one takes the place that is not in use."""
    for which in range(1, 3):
        at = session_at(block, which)
        if get(at, S_NAME) == name and get(at, S_NAME_TAIL) == tail:
            return which
    which = 2 if get(block, B_CURRENT) == 1 else 1
    at = session_at(block, which)
    _clear(at, _SESSION_WORDS)
    put(at, S_NAME, name)
    put(at, S_NAME_TAIL, tail)
    return which
