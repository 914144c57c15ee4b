"""The strategy's compiled loop: entered once, left at shutdown; nothing in it allocates or calls Python.

Each turn takes what one input has, up to a batch, and commits it as one step. The handler writes into a record of its own
that is zeroed before, so that a message's bytes depend on the handler alone.

An event is learned right before it is handled, and only when there is room for all that its handler may give: from there
on the step ends in the commit, or the process ends. So Scratch is never ahead of State.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sovereign.actors.strategy.compiling import (
    T_ADDRESS,
    T_LEARNER,
    T_MOST,
    T_OUT_BYTES,
    T_OUT_TYPE,
    T_SEES_SCRATCH,
    T_TYPE,
    call_handler,
    call_handler_many,
    call_handler_scratch,
    call_handler_scratch_many,
    call_learner,
)
from sovereign.runtime import atomics, histogram, kernels, layout
from sovereign.runtime.commit import begin, commit
from sovereign.runtime.jit import inlined, njit
from sovereign.runtime.loop import (
    C_CLOCK_AT,
    C_EVENTS_AT,
    C_HOP_AT,
    C_IDLES_AT,
    C_IGNORED_AT,
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

X_RESULT_AT, X_OUT_AT, X_MOST, X_PARAMS_AT, X_BAD_INPUT, X_BAD_SEQUENCE, X_SCRATCH_AT = range(7)
X_WORDS = 8


@njit
def _emit(
    w: Any,
    produced: Any,
    slot_in: Any,
    reader: Any,
    sequence: Any,
    out: Any,
    row: Any,
    now: Any,
    epoch: Any,
) -> Any:
    """Fill the next output slot from the record at `out`; the rest of the slot is zeroed."""
    target = kernels.open_slot(
        w[kernels.W_SLOTS], w[kernels.W_MASK], w[kernels.W_STRIDE], w[kernels.W_NEXT] + produced + 1
    )
    origin = atomics.load_i64(slot_in + layout.SLOT_ORIGIN_NS)
    kernels.stamp(target, origin, now, reader[kernels.R_ACTOR], sequence, w[kernels.W_GENERATION])
    size = row[T_OUT_BYTES]
    kernels.describe(target, row[T_OUT_TYPE], 0, size, epoch)
    atomics.copy_bytes(target + layout.SLOT_PAYLOAD, out, size)
    for at in range(layout.SLOT_PAYLOAD + size, w[kernels.W_STRIDE]):
        atomics.store_u8(target + at, 0)
    return origin


@inlined
def _decide(x: Any, table: Any, row: Any, event: Any, state: Any) -> Any:
    """Run the handler of a row of the table; its status."""
    address, size, most = table[row, T_ADDRESS], table[row, T_OUT_BYTES], table[row, T_MOST]
    result, params, scratch, out = x[X_RESULT_AT], x[X_PARAMS_AT], x[X_SCRATCH_AT], x[X_OUT_AT]
    for at in range(size * most):
        atomics.store_u8(out + at, 0)
    if table[row, T_SEES_SCRATCH] != 0:
        if most == 1:
            return call_handler_scratch(address, result, event, state, params, scratch, out)
        return call_handler_scratch_many(
            address, result, event, state, params, scratch, out, most, size
        )
    if most == 1:
        return call_handler(address, result, event, state, params, out)
    return call_handler_many(address, result, event, state, params, out, most, size)


@inlined
def _handle(x: Any, table: Any, slot: Any, state: Any) -> Any:
    """Learn and handle the slot: row of the table and what is given; row -1: none takes it; given -2: it failed."""
    kind = np.int64(atomics.load_u32(slot + layout.SLOT_TYPE_ID))
    for row in range(table.shape[0]):
        if table[row, T_TYPE] == kind:
            event, result = slot + layout.SLOT_PAYLOAD, x[X_RESULT_AT]
            learner = table[row, T_LEARNER]
            if learner != 0 and (
                call_learner(learner, result, event, x[X_SCRATCH_AT], x[X_PARAMS_AT]) != 0
            ):
                return row, np.int64(-2)
            if table[row, T_ADDRESS] == 0:
                return row, np.int64(0)
            if _decide(x, table, row, event, state) != 0:
                return row, np.int64(-2)
            given = atomics.load_i64(result)
            if given < 0 or given > table[row, T_MOST]:  # told as a mistake, like what raised
                return row, np.int64(-2)
            return row, given
    return -1, np.int64(0)


@njit
def learn(at: Any, stride: Any, count: Any, table: Any, x: Any) -> Any:
    """Learn `count` slots that stand from `at` on, and decide nothing: how many were learned before one raised."""
    for i in range(count):
        slot = at + i * stride
        kind = np.int64(atomics.load_u32(slot + layout.SLOT_TYPE_ID))
        for row in range(table.shape[0]):
            learner = table[row, T_LEARNER]
            if learner != 0 and table[row, T_TYPE] == kind:
                event = slot + layout.SLOT_PAYLOAD
                status = call_learner(
                    learner, x[X_RESULT_AT], event, x[X_SCRATCH_AT], x[X_PARAMS_AT]
                )
                if status != 0:
                    return np.int64(i)
    return np.int64(count)


@njit
def _step(
    c: Any, s: Any, w: Any, readers: Any, taken: Any, table: Any, x: Any, i: Any, wanted: Any
) -> Any:
    """One step over at most `wanted` slots of input i: events taken, or -1 when a handler raised."""
    reader = readers[i]
    started = beat(c)
    now = kernels.now_ns(0, c[C_CLOCK_AT])
    epoch = kernels.halt_epoch(w)
    in_hand(c, i, reader[kernels.R_CURSOR] + 1)
    state = begin(s)
    produced, handled, ignored = 0, 0, 0
    free = kernels.room(w, wanted * x[X_MOST])
    while handled < wanted and produced + x[X_MOST] <= free:
        sequence = reader[kernels.R_CURSOR] + handled + 1
        slot = kernels.fetch(reader, sequence)
        if slot == 0:  # overrun: it is counted, and over
            handled += 1
            continue
        row, result = _handle(x, table, slot, state)
        if result == -2:
            x[X_BAD_INPUT], x[X_BAD_SEQUENCE] = i, sequence
            in_hand(c, i, sequence)
            return -1
        ignored += row < 0
        histogram.record(c[C_HOP_AT], now - atomics.load_i64(slot + layout.SLOT_PUBLISH_NS), 1)
        for k in range(result):
            out = x[X_OUT_AT] + k * table[row, T_OUT_BYTES]
            origin = _emit(w, produced, slot, reader, sequence, out, table[row], now, epoch)
            histogram.record(c[C_ORIGIN_AT], now - origin, 1)
            produced += 1
        handled += 1
    if handled == 0:
        count(c[C_WAITS_AT], 1)
        return 0
    taken[:] = 0
    taken[i] = handled
    commit(s, w, readers, taken, produced)
    count(c[C_EVENTS_AT], handled)
    count(c[C_OUTPUTS_AT], produced)
    count(c[C_IGNORED_AT], ignored)
    count(c[C_STEPS_AT], 1)
    histogram.record(
        c[C_SERVICE_AT], (kernels.now_ns(1, c[C_CLOCK_AT]) - started) // handled, handled
    )
    return handled


@njit
def run(c: Any, s: Any, w: Any, readers: Any, taken: Any, table: Any, x: Any) -> Any:
    """The loop. 0: stopped; 1: a handler raised, see `x`."""
    idles = 0
    while True:
        stop = atomics.load_acquire(c[C_STOP_AT])
        if stop == STOP:
            return 0
        worked = 0
        waiting = 0
        for i in range(s[5]):
            ready = kernels.available(readers[i])
            if ready > 0:
                waiting += 1
                done = _step(c, s, w, readers, taken, table, x, i, batch(c, ready))
                if done < 0:
                    return 1
                worked += done
        if worked > 0:
            idles = 0
            continue
        if stop != RUN and waiting == 0:
            return 0
        idles += 1
        beat(c)
        count(c[C_IDLES_AT], 1)
        parkable = s[5] if waiting == 0 else 0
        kernels.idle(c[C_WAIT], idles, readers, parkable, c[C_PARK_AT])
