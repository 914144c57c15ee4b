/* A plain single-producer single-consumer ring in C11: the peer that a Python runtime is asked to match.
 *
 * 64 bytes a message in a 64-byte slot, cursors on lines of their own, both ends caching the other's cursor; no
 * header, no schema, no state, one reader. Every function returns how many words were wrong: 0 = all arrived.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 4096, WORDS = 8, SPINS = 4095, MOST = 1024 };

struct ring {
    _Alignas(128) _Atomic int64_t written;
    _Alignas(128) _Atomic int64_t taken;
    _Alignas(128) int64_t slots[SLOTS][WORDS];
};

int64_t ring_bytes(void) { return sizeof(struct ring); }

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t await(_Atomic int64_t *word, int64_t at_least) {
    int64_t seen, spins = 0;
    while ((seen = atomic_load_explicit(word, memory_order_acquire)) < at_least)
        if ((++spins & SPINS) == 0) sched_yield();
    return seen;
}

static inline void room(struct ring *ring, int64_t last, int64_t *seen) {
    if (last - *seen > SLOTS) *seen = await(&ring->taken, last - SLOTS);
}

static inline void fill(struct ring *ring, int64_t sequence, int64_t value) {
    int64_t *slot = ring->slots[(sequence - 1) & (SLOTS - 1)];
    for (int word = 0; word < WORDS; word++) slot[word] = value + word;
}

static inline int64_t check(struct ring *ring, int64_t sequence) {
    const int64_t *slot = ring->slots[(sequence - 1) & (SLOTS - 1)];
    int64_t wrong = 0;
    for (int word = 0; word < WORDS; word++) wrong += slot[word] != sequence + word;
    return wrong;
}

int64_t ping(struct ring *there, struct ring *back, int64_t *samples_ns, int64_t count) {
    int64_t wrong = 0, seen = 0;
    for (int64_t k = 1; k <= count; k++) {
        int64_t before = now_ns();
        room(there, k, &seen);
        fill(there, k, k);
        atomic_store_explicit(&there->written, k, memory_order_release);
        await(&back->written, k);
        wrong += check(back, k);
        atomic_store_explicit(&back->taken, k, memory_order_release);
        samples_ns[k - 1] = now_ns() - before;
    }
    return wrong;
}

int64_t pong(struct ring *there, struct ring *back, int64_t count) {
    int64_t seen = 0;
    for (int64_t k = 1; k <= count; k++) {
        await(&there->written, k);
        room(back, k, &seen);
        memcpy(back->slots[(k - 1) & (SLOTS - 1)], there->slots[(k - 1) & (SLOTS - 1)], sizeof *there->slots);
        atomic_store_explicit(&back->written, k, memory_order_release);
        atomic_store_explicit(&there->taken, k, memory_order_release);
    }
    return 0;
}

int64_t produce(struct ring *ring, int64_t messages, int64_t batch) {
    int64_t seen = 0;
    for (int64_t k = 0; k < messages; k += batch) {
        room(ring, k + batch, &seen);
        for (int64_t i = 1; i <= batch; i++) fill(ring, k + i, k + i);
        atomic_store_explicit(&ring->written, k + batch, memory_order_release);
    }
    return 0;
}

int64_t consume(struct ring *ring, int64_t messages) {
    int64_t taken = 0, wrong = 0;
    while (taken < messages) {
        int64_t seen = await(&ring->written, taken + 1);
        if (seen - taken > MOST) seen = taken + MOST;
        for (int64_t k = taken + 1; k <= seen; k++) wrong += check(ring, k);
        taken = seen;
        atomic_store_explicit(&ring->taken, taken, memory_order_release);
    }
    return wrong;
}
