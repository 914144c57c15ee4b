"""The bus's compiled loop: one step takes a batch of one input and copies it into the output, in order.

Feedback inputs first: their writers never wait for us. Between inputs the order is the bus's own choice; within one
input it is the input's. A tick is inserted when its time has come, between batches: by CLOCK_MONOTONIC and the offset to
UTC that was taken at start, so a step of the host's clock neither stops ticks nor makes their time go back.
"""

from __future__ import annotations

from typing import Any

from sovereign.runtime import atomics, histogram, kernels, layout
from sovereign.runtime.commit import S_NEWER, begin, commit
from sovereign.runtime.jit import njit
from sovereign.runtime.loop import (
    C_CLOCK_AT,
    C_EVENTS_AT,
    C_HOP_AT,
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
    STOP,
    batch,
    beat,
    count,
    in_hand,
)

B_TICK_NS, B_TICK_TYPE, B_TICK_BYTES, B_TICKS_AT, B_MISSED_AT, B_OFFSET_NS = range(6)
_NUMBER_AT, _LAST_AT, _MISSED_AT = 0, 8, 16


@njit
def _forward(w: Any, reader: Any, source: Any, sequence: Any, made: Any, now: Any) -> Any:
    """Copy the slot at `source` behind the `made` ones of this step; its header but for cause and time."""
    target = kernels.open_slot(
        w[kernels.W_SLOTS], w[kernels.W_MASK], w[kernels.W_STRIDE], w[kernels.W_NEXT] + made + 1
    )
    origin = atomics.load_i64(source + layout.SLOT_ORIGIN_NS)
    kernels.stamp(target, origin, now, reader[kernels.R_ACTOR], sequence, w[kernels.W_GENERATION])
    kernels.describe(
        target,
        atomics.load_u32(source + layout.SLOT_TYPE_ID),
        atomics.load_u16(source + layout.SLOT_FLAGS),
        atomics.load_u16(source + layout.SLOT_LENGTH),
        atomics.load_u16(source + layout.SLOT_HALT_EPOCH),
    )
    room = min(reader[kernels.R_STRIDE], w[kernels.W_STRIDE]) - layout.SLOT_PAYLOAD
    atomics.copy_bytes(target + layout.SLOT_PAYLOAD, source + layout.SLOT_PAYLOAD, room)
    for word in range((w[kernels.W_STRIDE] - layout.SLOT_PAYLOAD - room) // 8):
        atomics.store_i64(target + layout.SLOT_PAYLOAD + room + 8 * word, 0)
    return origin


@njit
def _step(c: Any, s: Any, w: Any, readers: Any, taken: Any, i: Any, wanted: Any) -> Any:
    """Forward up to `wanted` slots of input i as one step; how many."""
    reader = readers[i]
    started = beat(c)
    now = kernels.now_ns(0, c[C_CLOCK_AT])
    number = min(wanted, kernels.room(w, wanted))
    if number <= 0:
        count(c[C_WAITS_AT], 1)
        return 0
    in_hand(c, i, reader[kernels.R_CURSOR] + 1)
    begin(s)
    made = 0
    for offset in range(number):
        sequence = reader[kernels.R_CURSOR] + offset + 1
        source = kernels.fetch(reader, sequence)
        if source == 0:  # overrun: it is counted, and over
            continue
        origin = _forward(w, reader, source, sequence, made, now)
        made += 1
        histogram.record(c[C_HOP_AT], now - atomics.load_i64(source + layout.SLOT_PUBLISH_NS), 1)
        histogram.record(c[C_ORIGIN_AT], now - origin, 1)
    taken[:] = 0
    taken[i] = number
    commit(s, w, readers, taken, made)
    count(c[C_EVENTS_AT], number)
    count(c[C_OUTPUTS_AT], made)
    count(c[C_STEPS_AT], 1)
    histogram.record(
        c[C_SERVICE_AT], (kernels.now_ns(1, c[C_CLOCK_AT]) - started) // number, number
    )
    return number


@njit
def _tick(c: Any, s: Any, w: Any, readers: Any, taken: Any, b: Any) -> Any:
    """Insert the tick whose time has come; whether one was. Periods that have passed since the last one are counted."""
    period = b[B_TICK_NS]
    steady = kernels.now_ns(1, c[C_CLOCK_AT]) + b[B_OFFSET_NS]
    last = atomics.load_i64(s[s[S_NEWER]] + layout.COPY_STATE_AT + _LAST_AT)
    if steady < last + period or kernels.room(w, 1) < 1:
        return False
    now = kernels.now_ns(0, c[C_CLOCK_AT])
    state = begin(s)
    number = atomics.load_i64(state + _NUMBER_AT) + 1
    due = steady - steady % period
    missed = atomics.load_i64(state + _MISSED_AT)
    if last > 0:
        missed += (due - last) // period - 1
    atomics.store_i64(state + _NUMBER_AT, number)
    atomics.store_i64(state + _LAST_AT, due)
    atomics.store_i64(state + _MISSED_AT, missed)
    slot = kernels.open_slot(
        w[kernels.W_SLOTS], w[kernels.W_MASK], w[kernels.W_STRIDE], w[kernels.W_NEXT] + 1
    )
    for word in range((w[kernels.W_STRIDE] - layout.SLOT_PAYLOAD) // 8):
        atomics.store_i64(slot + layout.SLOT_PAYLOAD + 8 * word, 0)
    kernels.stamp(slot, now, now, layout.NO_ACTOR, number, w[kernels.W_GENERATION])
    kernels.describe(slot, b[B_TICK_TYPE], 0, b[B_TICK_BYTES], 0)
    atomics.store_i64(slot + layout.SLOT_PAYLOAD, due)
    atomics.store_i64(slot + layout.SLOT_PAYLOAD + 8, period)
    atomics.store_i64(slot + layout.SLOT_PAYLOAD + 16, number)
    taken[:] = 0
    commit(s, w, readers, taken, 1)
    count(c[C_OUTPUTS_AT], 1)
    count(b[B_TICKS_AT], 1)
    atomics.store_i64(b[B_MISSED_AT], missed)
    return True


@njit
def run(c: Any, s: Any, w: Any, readers: Any, taken: Any, order: Any, b: Any) -> Any:
    """The loop; `order`: the inputs' indices, feedback first."""
    idles = 0
    while True:
        stop = atomics.load_acquire(c[C_STOP_AT])
        if stop == STOP:
            return 0
        worked, waiting = 0, 0
        if b[B_TICK_NS] > 0 and stop == RUN and _tick(c, s, w, readers, taken, b):
            worked += 1
        for i in order:
            ready = kernels.available(readers[i])
            if ready > 0:
                waiting += 1
                worked += _step(c, s, w, readers, taken, i, batch(c, ready))
        if worked > 0:
            idles = 0
            continue
        if stop != RUN and waiting == 0:
            return 0
        idles += 1
        beat(c)
        count(c[C_IDLES_AT], 1)
        kernels.idle(c[C_WAIT], idles, readers, s[5] if waiting == 0 else 0, c[C_PARK_AT])
