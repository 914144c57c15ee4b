"""The compiled loops that are timed: the limit (one cache line), and the ring."""

from __future__ import annotations

from typing import Any

from sovereign.runtime import atomics, kernels, layout
from sovereign.runtime.jit import njit
from sovereign.runtime.kernels import now_ns

WORDS = 8
SPINS = 2_000
MOST_FORWARDED = 256  # a step of an actor takes at most as many events


@njit
def _wait(spins: Any, yielding: Any) -> Any:
    """Spin; give the core away now and then where processes share it."""
    if yielding and spins > SPINS:
        atomics.sched_yield()
    return spins + 1


@njit
def limit_ping(line: Any, rounds: Any, out: Any, clock: Any) -> Any:
    """Store-release, then load-acquire until it comes back: ns a round trip."""
    for i in range(1, rounds + 1):
        before = now_ns(1, clock)
        atomics.store_release(line, i)
        while atomics.load_acquire(line + 8) != i:
            pass
        out[i - 1] = now_ns(1, clock) - before


@njit
def limit_pong(line: Any, rounds: Any) -> Any:
    """The other side."""
    for i in range(1, rounds + 1):
        while atomics.load_acquire(line) != i:
            pass
        atomics.store_release(line + 8, i)


@njit
def send(w: Any, value: Any, count: Any) -> Any:
    """Fill and publish `count` slots of 64 payload bytes as one batch."""
    spins = 0
    while kernels.room(w, count) < count:
        spins = _wait(spins, True)
    for k in range(count):
        slot = kernels.open_slot(
            w[kernels.W_SLOTS],
            w[kernels.W_MASK],
            w[kernels.W_STRIDE],
            w[kernels.W_NEXT] + 1 + k,
        )
        kernels.stamp(slot, value, value, 0, value, 1)
        kernels.describe(slot, 1, 0, 8 * WORDS, 0)
        for word in range(WORDS):
            atomics.store_i64(slot + layout.SLOT_PAYLOAD + 8 * word, value + word)
    kernels.publish(w, count)


@njit
def receive(r: Any, most: Any, yielding: Any) -> Any:
    """Read what is there, up to `most` slots, whole, and release it: how many; their sum keeps the reads alive."""
    spins = 0
    ready = kernels.available(r)
    while ready == 0:
        spins = _wait(spins, yielding)
        ready = kernels.available(r)
    taken = min(ready, most)
    total = 0
    for k in range(taken):
        slot = kernels.slot_of(
            r[kernels.R_SLOTS],
            r[kernels.R_MASK],
            r[kernels.R_STRIDE],
            r[kernels.R_CURSOR] + 1 + k,
        )
        for word in range(WORDS):
            total += atomics.load_i64(slot + layout.SLOT_PAYLOAD + 8 * word)
    kernels.release(r, taken)
    return taken, total


@njit
def ring_ping(w: Any, r: Any, rounds: Any, out: Any, clock: Any) -> Any:
    """A message there and one back: ns a round trip; how many came back wrong (`ring_pong` answers with the sum)."""
    wrong = 0
    for i in range(rounds):
        before = now_ns(1, clock)
        send(w, i, 1)
        _, total = receive(r, 1, False)
        out[i] = now_ns(1, clock) - before
        ends = WORDS * (WORDS - 1) // 2
        wrong += int(total != WORDS * (WORDS * i + ends) + ends)
    return wrong


@njit
def ring_pong(w: Any, r: Any, rounds: Any) -> Any:
    """The other side."""
    for _ in range(rounds):
        _, value = receive(r, 1, False)
        send(w, value, 1)


@njit
def produce(w: Any, messages: Any, batch: Any) -> Any:
    """Send all, in batches."""
    for i in range(messages // batch):
        send(w, i, batch)


@njit
def consume(r: Any, messages: Any, yielding: Any) -> Any:
    """Take all; a sum of everything read."""
    taken = total = 0
    while taken < messages:
        count, part = receive(r, 1024, yielding)
        taken += count
        total += part
    return total


@njit
def forward(r: Any, w: Any, messages: Any, yielding: Any) -> Any:
    """Hand on all: what is there as one batch, restamped, its payload copied into our own ring."""
    taken = 0
    while taken < messages:
        spins = 0
        ready = kernels.available(r)
        while ready == 0:
            spins = _wait(spins, yielding)
            ready = kernels.available(r)
        count = min(ready, MOST_FORWARDED)
        while kernels.room(w, count) < count:
            spins = _wait(spins, True)
        for k in range(count):
            cause = r[kernels.R_CURSOR] + 1 + k
            source = kernels.slot_of(
                r[kernels.R_SLOTS], r[kernels.R_MASK], r[kernels.R_STRIDE], cause
            )
            slot = kernels.open_slot(
                w[kernels.W_SLOTS],
                w[kernels.W_MASK],
                w[kernels.W_STRIDE],
                w[kernels.W_NEXT] + 1 + k,
            )
            origin = atomics.load_i64(source + layout.SLOT_ORIGIN_NS)
            kernels.stamp(slot, origin, origin, r[kernels.R_ACTOR], cause, 1)
            kernels.describe(slot, 1, 0, 8 * WORDS, 0)
            at = layout.SLOT_PAYLOAD
            atomics.copy_bytes(slot + at, source + at, 8 * WORDS)
        kernels.publish(w, count)
        kernels.release(r, count)
        taken += count


@njit
def join(a: Any, b: Any, messages: Any, yielding: Any) -> Any:
    """Take all of both rings in step, each message when both have it; a sum of everything read."""
    taken = total = 0
    while taken < messages:
        spins = 0
        ready = min(kernels.available(a), kernels.available(b))
        while ready == 0:
            spins = _wait(spins, yielding)
            ready = min(kernels.available(a), kernels.available(b))
        _, first = receive(a, ready, yielding)
        _, second = receive(b, ready, yielding)
        total += first + second
        taken += ready
    return total


@njit
def copy_through(target: Any, source: Any, bytes_: Any, times: Any) -> Any:
    """The limit of throughput on one core: the same bytes written and read, with no other side."""
    for i in range(times):
        atomics.store_i64(source, i)
        atomics.copy_bytes(target, source, bytes_)
