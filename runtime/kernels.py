"""The ring's compiled side: what hot loops do to rings, by address.

A ring's ends are small int64 arrays, private to their process:

    writer  w[W_*]   where the ring lies, the local copy of its cursor, the cached lowest gate
    reader  r[R_*]   where the ring lies, the local cursor, the cached writer's cursor

Contract. The writer fills slots `next+1 .. next+room` and publishes them with one store-release; nobody sees them
before. A reader sees slots `cursor+1 .. cursor+available` whole, and may read them until it commits. An observer
copies and checks the slot's sequence again: `open_slot` makes a slot's new sequence visible before its bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sovereign.runtime import atomics, layout, limits
from sovereign.runtime.jit import external, njit, types

Words = npt.NDArray[np.int64]

W_CURSOR_AT = 0
W_SLOTS = 1
W_MASK = 2
W_STRIDE = 3
W_CAPACITY = 4
W_GENERATION = 5
W_ACTOR = 6
W_NEXT = 7
W_LOWEST = 8
W_GATES = 9
W_READERS = 10
W_EPOCH_AT = 11
W_FIRST_GATE = 16
W_FIRST_PARKED = W_FIRST_GATE + limits.RING_MAX_READERS
W_WORDS = W_FIRST_PARKED + limits.RING_MAX_READERS + 16

R_CURSOR_AT = 0
R_SLOTS = 1
R_MASK = 2
R_STRIDE = 3
R_CAPACITY = 4
R_OWN_AT = 5
R_PARKED_AT = 6
R_CURSOR = 7
R_SEEN = 8
R_ACTOR = 9
R_EMPTY = 10
R_COPY_AT = 11
R_OVERRUN_AT = 12
R_WORDS = 16

P_TIMEOUT = 0
P_HAS_WAITV = 2
P_DEADLINE = 3
P_WAITERS = 5
P_WORDS = P_WAITERS + 3 * limits.ACTOR_MAX_INPUTS

WAIT_SPIN = 0
WAIT_YIELD = 1
WAIT_PARK = 2

_LOOKS_BEFORE_PREFETCH = 16
_SPINS_BEFORE_YIELD = 64
_YIELDS_BEFORE_PARK = 96
_FUTEX_WAIT = 0
_FUTEX_WAKE = 1
_MEMBARRIER_GLOBAL_EXPEDITED = 2
_FUTEX_WAITV = 449
_FUTEX2_SIZE_U32 = 2
_CLOCK_MONOTONIC = 1

_syscall6 = external(
    "syscall",
    types.int64(
        types.int64, types.int64, types.int64, types.int64, types.int64, types.int64, types.int64
    ),
)
_clock_gettime = external("clock_gettime", types.int32(types.int32, types.int64))


def _machine_calls() -> tuple[int, int]:
    import platform

    return (98, 283) if platform.machine() == "aarch64" else (202, 324)


_FUTEX, _MEMBARRIER = _machine_calls()


@njit
def now_ns(clock: Any, scratch: Any) -> Any:
    """Nanoseconds of `clock` (0 = CLOCK_REALTIME, 1 = MONOTONIC); `scratch`: address of 16 bytes."""
    _clock_gettime(np.int32(clock), scratch)
    return atomics.load_i64(scratch) * 1_000_000_000 + atomics.load_i64(scratch + 8)


@njit
def room(w: Any, wanted: Any) -> Any:
    """Free slots; looks at the gates only when the cached lowest does not give `wanted`."""
    free = w[W_CAPACITY] - (w[W_NEXT] - w[W_LOWEST])
    if free >= wanted or w[W_GATES] == 0:
        return w[W_CAPACITY] if w[W_GATES] == 0 else free
    lowest = w[W_NEXT]
    for gate in range(w[W_GATES]):
        cursor = atomics.load_acquire(w[W_FIRST_GATE + gate])
        lowest = min(lowest, cursor)
    w[W_LOWEST] = lowest
    return w[W_CAPACITY] - (w[W_NEXT] - lowest)


@njit
def slot_of(base: Any, mask: Any, stride: Any, sequence: Any) -> Any:
    """Address of the slot of `sequence` (1-based)."""
    return base + ((sequence - 1) & mask) * stride


@njit
def open_slot(base: Any, mask: Any, stride: Any, sequence: Any) -> Any:
    """Begin to fill the slot of `sequence`: observers of what stood there will notice. Its address."""
    slot = base + ((sequence - 1) & mask) * stride
    atomics.store_i64(slot + layout.SLOT_SEQUENCE, sequence)
    atomics.fence_release()
    return slot


@njit
def stamp(
    slot: Any, origin_ns: Any, publish_ns: Any, cause_actor: Any, cause_seq: Any, generation: Any
) -> Any:
    """Fill the times, the cause and the generation of an opened slot."""
    atomics.store_i64(slot + layout.SLOT_ORIGIN_NS, origin_ns)
    atomics.store_i64(slot + layout.SLOT_PUBLISH_NS, publish_ns)
    atomics.store_i64(slot + layout.SLOT_CAUSE_SEQ, cause_seq)
    atomics.store_u16(slot + layout.SLOT_CAUSE_ACTOR, cause_actor)
    atomics.store_u32(slot + layout.SLOT_GENERATION, generation)


@njit
def describe(slot: Any, type_id: Any, flags: Any, length: Any, epoch: Any) -> Any:
    """Fill the type, flags, length and halt epoch (its low 16 bits) of an opened slot."""
    atomics.store_u32(slot + layout.SLOT_TYPE_ID, type_id)
    atomics.store_u16(slot + layout.SLOT_FLAGS, flags)
    atomics.store_u16(slot + layout.SLOT_LENGTH, length)
    atomics.store_u16(slot + layout.SLOT_HALT_EPOCH, epoch)


@njit
def halt_epoch(w: Any) -> Any:
    """The halts that there were so far, as the node's page says; 0 for a writer outside a node.

    An actor reads it when a step begins: what it then decides belongs to that epoch, whenever it is published.
    """
    return atomics.load_acquire(w[W_EPOCH_AT]) if w[W_EPOCH_AT] != 0 else 0


@njit
def publish(w: Any, count: Any) -> Any:
    """Make the next `count` filled slots visible: one store-release. Wakes who is parked."""
    following = w[W_NEXT] + count
    w[W_NEXT] = following
    atomics.store_release(w[W_CURSOR_AT], following)
    for reader in range(w[W_READERS]):
        word = w[W_FIRST_PARKED + reader]
        if atomics.load_i64(word) != 0:
            atomics.store_release(word, 0)
            _syscall6(_FUTEX, word, _FUTEX_WAKE, 1, 0, 0, 0)


@njit
def available(r: Any) -> Any:
    """Slots that may be read now.

    After some looks in vain the next slot's first two lines are asked for at each look: they then travel beside the
    cursor and not after it (a round trip of 64 bytes went from 1.9 to 1.7 times the limit). Not at the first looks: a
    reader that keeps up with a fast writer would only take from it the lines that it is about to fill.
    """
    if r[R_SEEN] <= r[R_CURSOR]:
        r[R_SEEN] = atomics.load_acquire(r[R_CURSOR_AT])
        if r[R_SEEN] == r[R_CURSOR]:
            r[R_EMPTY] += 1
            if r[R_EMPTY] > _LOOKS_BEFORE_PREFETCH:
                slot = r[R_SLOTS] + (r[R_CURSOR] & r[R_MASK]) * r[R_STRIDE]
                atomics.prefetch(slot)
                atomics.prefetch(slot + 64)
        else:
            r[R_EMPTY] = 0
            if r[R_COPY_AT] != 0:
                _skip_overrun(r)
    return r[R_SEEN] - r[R_CURSOR]


@njit
def _overrun(r: Any, count: Any) -> Any:
    at = r[R_OVERRUN_AT]
    atomics.store_i64(at, atomics.load_i64(at) + count)


@njit
def _skip_overrun(r: Any) -> Any:
    """An observer that fell behind by more than the ring goes on at the oldest slot that can still be whole."""
    gone = r[R_SEEN] - r[R_CURSOR] - r[R_CAPACITY]
    if gone > 0:
        r[R_CURSOR] += gone
        _overrun(r, gone)


@njit
def copy_whole(slot: Any, copy: Any, stride: Any, sequence: Any) -> Any:
    """Copy a slot that may be overrun meanwhile; whether the copy is whole: the fence orders the second look after it."""
    atomics.copy_bytes(copy, slot, stride)
    atomics.fence_acquire()
    again = atomics.load_i64(slot + layout.SLOT_SEQUENCE)
    return again == sequence and atomics.load_i64(copy + layout.SLOT_SEQUENCE) == sequence


@njit
def fetch(r: Any, sequence: Any) -> Any:
    """Address of the slot of an available `sequence`; 0 when the writer overran it (counted).

    A gate reads where the slot stands. An observer's writer does not wait: it gets a private copy, whose sequence is
    looked at again behind an acquire fence, so that a torn copy is never handed out.
    """
    slot = r[R_SLOTS] + ((sequence - 1) & r[R_MASK]) * r[R_STRIDE]
    copy = r[R_COPY_AT]
    if copy == 0:
        return slot
    if copy_whole(slot, copy, r[R_STRIDE], sequence):
        return copy
    _overrun(r, 1)
    return 0


@njit
def release(r: Any, count: Any) -> Any:
    """Give `count` slots back to the writer: one store-release."""
    r[R_CURSOR] += count
    atomics.store_release(r[R_OWN_AT], r[R_CURSOR])


@njit
def _sleep(readers: Any, count: Any, park_at: Any) -> Any:
    """Sleep on the parked words of all inputs: futex(2), or futex_waitv(2) (Linux 5.16) for more than one."""
    if count == 1 or atomics.load_i64(park_at + 8 * P_HAS_WAITV) == 0:
        word = readers[0, R_PARKED_AT]
        _syscall6(_FUTEX, word, _FUTEX_WAIT, 1, park_at + 8 * P_TIMEOUT, 0, 0)
        return
    deadline = park_at + 8 * P_DEADLINE
    timeout = park_at + 8 * P_TIMEOUT
    most = atomics.load_i64(timeout) * 1_000_000_000 + atomics.load_i64(timeout + 8)
    when = now_ns(_CLOCK_MONOTONIC, deadline) + most
    atomics.store_i64(deadline, when // 1_000_000_000)
    atomics.store_i64(deadline + 8, when % 1_000_000_000)
    waiters = park_at + 8 * P_WAITERS
    for i in range(count):
        atomics.store_i64(waiters + 24 * i, 1)
        atomics.store_i64(waiters + 24 * i + 8, readers[i, R_PARKED_AT])
        atomics.store_i64(waiters + 24 * i + 16, _FUTEX2_SIZE_U32)
    _syscall6(_FUTEX_WAITV, waiters, count, 0, deadline, _CLOCK_MONOTONIC, 0)


@njit
def _park(readers: Any, count: Any, park_at: Any) -> Any:
    """Sleep until one of the inputs moves, at most the timeout.

    The flag's store and the cursor's load need a full fence on both sides. The writer must not pay for it, so the
    reader makes every running writer pay, once, by membarrier(2).
    """
    for i in range(count):
        atomics.store_release(readers[i, R_PARKED_AT], 1)
    atomics.fence_full()
    _syscall6(_MEMBARRIER, _MEMBARRIER_GLOBAL_EXPEDITED, 0, 0, 0, 0, 0)
    ready = False
    for i in range(count):
        if atomics.load_acquire(readers[i, R_CURSOR_AT]) != readers[i, R_CURSOR]:
            ready = True
    if not ready:
        _sleep(readers, count, park_at)
    for i in range(count):
        atomics.store_release(readers[i, R_PARKED_AT], 0)


@njit
def idle(mode: Any, idles: Any, readers: Any, count: Any, park_at: Any) -> Any:
    """Wait a little, by strategy; `idles` counts the calls since there was work. `park_at`: `park_words`."""
    if mode == WAIT_SPIN or idles < _SPINS_BEFORE_YIELD:
        atomics.pause()
    elif mode == WAIT_YIELD or count == 0 or idles < _YIELDS_BEFORE_PARK:
        atomics.sched_yield()
    else:
        _park(readers, count, park_at)


def park_words() -> Words:
    """Memory that `idle` needs to sleep: the time-out, and the list of words to wait for."""
    import ctypes
    import errno

    words = np.zeros(P_WORDS, np.int64)
    words[P_TIMEOUT + 1] = limits.PARK_TIMEOUT_NS
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(_FUTEX_WAITV, None, 0, 0, None, 0)  # of nothing: EINVAL where the call exists
    words[P_HAS_WAITV] = int(ctypes.get_errno() != errno.ENOSYS)
    return words


def fence_everyone() -> bool:
    """A full fence on every running thread that registered for it (membarrier(2)). False on an old kernel."""
    import ctypes

    call = ctypes.CDLL(None).syscall
    return bool(call(_MEMBARRIER, _MEMBARRIER_GLOBAL_EXPEDITED, 0, 0) == 0)


def register_membarrier() -> bool:
    """Let parked readers fence this process (membarrier(2), GLOBAL_EXPEDITED). False on an old kernel."""
    import ctypes

    return bool(ctypes.CDLL(None).syscall(_MEMBARRIER, 4, 0, 0) == 0)
