"""The ingress's compiled loop over frames in memory: decode into claimed slots, stamp, commit.

One step takes up to a batch of frames. State: the next frame, then the decoder's words; so after kill -9 the file goes
on at the very frame that was not published. A packet with more messages than its decoder declares, or than the ring
holds, ends the loop: no waiting and no dropping would mend that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sovereign.actors.ingress import claim
from sovereign.runtime import atomics, histogram, kernels, layout
from sovereign.runtime.commit import S_BYTES, S_NEWER, begin, commit
from sovereign.runtime.jit import njit
from sovereign.runtime.loop import (
    C_CLOCK_AT,
    C_IDLES_AT,
    C_ORIGIN_AT,
    C_OUTPUTS_AT,
    C_PARK_AT,
    C_SERVICE_AT,
    C_STEPS_AT,
    C_STOP_AT,
    C_WAIT,
    C_WAITS_AT,
    RUN,
    beat,
    count,
)

(G_DECODE, G_TABLES_AT, G_RESULT_AT, G_CLAIM_AT, G_SAVED_AT, G_FRAMES, G_PACE_E6, G_STARTED_NS, G_FIRST_NS, G_BATCH,
 G_MOST, G_PACKETS_AT, G_BYTES_AT, G_DONE_AT, G_BAD_FRAME, G_DROP_AT) = range(16)  # fmt: skip
# Where the decoder's counts are shown; `claim.D_GAPS` is the first of them.
G_COUNTS_AT = 16
TOLD = (
    "gaps", "duplicates", "late", "malformed", "overlaps", "implausible", "resets", "overflows",
    "channel_drops",
)  # fmt: skip
_TOLD = len(TOLD)
assert claim.D_GAPS + _TOLD - 1 == claim.D_CHANNEL_DROPS
G_WORDS = 32

_NANOSLEEP = 101 if kernels._FUTEX == 98 else 35
_FRAME_AT = 0
_DECODER_AT = 8


@njit
def _decode(
    g: Any, w: Any, produced: Any, free: Any, packet: Any, size: Any, channel: Any, state: Any
) -> Any:
    """Decode one packet behind the `produced` slots of this step; the number of its messages, or negative."""
    claim_at, words_at = g[G_CLAIM_AT], state + _DECODER_AT
    atomics.store_i64(claim_at + 8 * claim.K_NEXT, w[kernels.W_NEXT] + produced + 1)
    atomics.store_i64(claim_at + 8 * claim.K_ROOM, min(free - produced, g[G_MOST]))
    atomics.store_i64(claim_at + 8 * claim.K_COUNT, 0)
    atomics.store_i64(claim_at + 8 * claim.K_CHANNEL, channel)
    atomics.store_i64(claim_at + 8 * claim.K_TOUCHED_AT, 0)
    atomics.copy_bytes(g[G_SAVED_AT], words_at, 8 * claim.HEAD_WORDS)
    status = claim.call_decoder(
        g[G_DECODE], g[G_RESULT_AT], packet, size, g[G_TABLES_AT], words_at, claim_at
    )
    made = atomics.load_i64(g[G_RESULT_AT]) if status == 0 else np.int64(claim.MALFORMED)
    if made < 0:
        atomics.copy_bytes(words_at, g[G_SAVED_AT], 8 * claim.HEAD_WORDS)
        touched = atomics.load_i64(claim_at + 8 * claim.K_TOUCHED_AT)
        if touched != 0:
            undo = atomics.load_i64(claim_at + 8 * claim.K_UNDO_AT)
            atomics.copy_bytes(touched, undo, 8 * claim.CHANNEL_WORDS)
    if made == claim.MALFORMED:
        claim.tally(words_at, claim.D_MALFORMED, 1)
    return made


@njit
def _stamp(w: Any, produced: Any, made: Any, origin_ns: Any, now: Any, frame: Any) -> Any:
    """Header fields of the `made` slots behind `produced`; cause: the packet's number, 1-based."""
    for k in range(made):
        slot = kernels.slot_of(
            w[kernels.W_SLOTS],
            w[kernels.W_MASK],
            w[kernels.W_STRIDE],
            w[kernels.W_NEXT] + produced + 1 + k,
        )
        kernels.stamp(slot, origin_ns, now, layout.NO_ACTOR, frame + 1, w[kernels.W_GENERATION])


@njit
def _tell(g: Any, state: Any) -> Any:
    """Copy the decoder's counts into the actor's counters."""
    words = state + _DECODER_AT + 8 * claim.D_GAPS
    for i in range(_TOLD):
        atomics.store_i64(g[G_COUNTS_AT + i], atomics.load_i64(words + 8 * i))


@njit
def _finish(s: Any, w: Any, readers: Any, taken: Any, produced: Any, state: Any) -> Any:
    """Commit. Of the table only the channels that are in use are copied from step to step: a new one is cleared first."""
    channels = atomics.load_i64(state + _DECODER_AT + 8 * claim.D_CHANNELS)
    commit(s, w, readers, taken, produced)
    s[S_BYTES] = _DECODER_AT + 8 * (claim.HEAD_WORDS + channels * claim.CHANNEL_WORDS)


@njit
def _step(
    c: Any,
    s: Any,
    w: Any,
    readers: Any,
    taken: Any,
    g: Any,
    base: Any,
    offset: Any,
    length: Any,
    time_ns: Any,
    channel: Any,
    due: Any,
    live: Any,
) -> Any:
    """One step from the state's next frame on: frames taken; 0: the ring is full; -1: a packet never fits.

    `live`: the arrays begin with the datagram at hand, whatever its number, and `time_ns` is when the kernel got it:
    its time of origin. A recording's own times are not: what it causes enters the node now.
    """
    started = beat(c)
    state = begin(s)
    frame = atomics.load_i64(state + _FRAME_AT)
    first, produced, size = frame, np.int64(0), np.int64(0)
    shift = frame if live else np.int64(0)
    capacity, made = w[kernels.W_CAPACITY], np.int64(0)
    free = kernels.room(w, max(capacity // 2, min(g[G_MOST], capacity)))
    while frame < due and frame - first < g[G_BATCH] and produced < free:
        now = kernels.now_ns(0, c[C_CLOCK_AT])
        at = frame - shift
        made = _decode(g, w, produced, free, base + offset[at], length[at], channel[at], state)
        if made == claim.TOO_SMALL:
            if frame == first and free >= min(g[G_MOST], capacity):
                g[G_BAD_FRAME] = frame
                return -1
            break
        if made > 0:
            origin = time_ns[at] if live and time_ns[at] > 0 else now
            _stamp(w, produced, made, origin, kernels.now_ns(0, c[C_CLOCK_AT]), frame)
            produced += made
        size += length[at]
        frame += 1
    never_sure = made == claim.TOO_SMALL and capacity < g[G_MOST]
    if frame == first and (g[G_DROP_AT] == 0 or never_sure):  # an empty ring will tell if it fits
        count(c[C_WAITS_AT], 1)
        return 0
    if frame == first:  # given up, counted, and seen as a gap when the next one is decoded
        count(g[G_DROP_AT], 1)
        frame += 1
    atomics.store_i64(state + _FRAME_AT, frame)
    _tell(g, state)
    _finish(s, w, readers, taken, produced, state)
    ended = kernels.now_ns(1, c[C_CLOCK_AT])
    histogram.record(c[C_SERVICE_AT], (ended - started) // (frame - first), frame - first)
    if produced > 0:
        histogram.record(c[C_ORIGIN_AT], (ended - started) // (frame - first), produced)
    count(c[C_OUTPUTS_AT], produced)
    count(c[C_STEPS_AT], 1)
    count(g[G_PACKETS_AT], frame - first)
    count(g[G_BYTES_AT], size)
    return frame - first


@njit
def _due(c: Any, g: Any, frame: Any, time_ns: Any) -> Any:
    """How many frames the pace has released by now; `G_PACE_E6`: millionths of recorded time a ns, 0: all."""
    if g[G_PACE_E6] == 0:
        return g[G_FRAMES]
    passed = kernels.now_ns(1, c[C_CLOCK_AT]) - g[G_STARTED_NS]
    until = (
        g[G_FIRST_NS]
        + passed // 1_000_000 * g[G_PACE_E6]
        + passed % 1_000_000 * g[G_PACE_E6] // 1_000_000
    )
    due = frame
    while due < g[G_FRAMES] and time_ns[due] <= until:
        due += 1
        if due - frame >= g[G_BATCH]:
            break
    return due


@njit
def run(
    c: Any,
    s: Any,
    w: Any,
    readers: Any,
    taken: Any,
    g: Any,
    base: Any,
    offset: Any,
    length: Any,
    time_ns: Any,
    channel: Any,
) -> Any:
    """The loop. 0: stopped; 1: the frame `g[G_BAD_FRAME]` gives more messages than may be."""
    idles = 0
    while True:
        if atomics.load_acquire(c[C_STOP_AT]) != RUN:  # a source has nothing to drain
            return 0
        newest = s[s[S_NEWER]] + layout.COPY_STATE_AT
        frame = atomics.load_i64(newest + _FRAME_AT)
        if frame >= g[G_FRAMES]:
            atomics.store_i64(g[G_DONE_AT], 1)
        else:
            due = _due(c, g, frame, time_ns)
            if due > frame:
                taken_frames = _step(
                    c, s, w, readers, taken, g, base, offset, length, time_ns, channel, due, False
                )
                if taken_frames < 0:
                    return 1
                if taken_frames > 0:
                    idles = 0
                    continue
        idles += 1
        beat(c)
        count(c[C_IDLES_AT], 1)
        if idles > 1000 and c[C_WAIT] == kernels.WAIT_PARK:
            nap(c[C_PARK_AT])
        else:
            kernels.idle(c[C_WAIT], idles, readers, 0, c[C_PARK_AT])


@njit
def nap(timeout_at: Any) -> Any:
    """Sleep for the park time-out: a paced source has no ring to wait on."""
    kernels._syscall6(_NANOSLEEP, timeout_at, 0, 0, 0, 0, 0)
