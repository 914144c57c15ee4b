/* A plain ring in C11, one writer and up to three readers: the peer that a Python runtime is asked to match.
 *
 * 64 bytes a message; cursors on lines of their own; both ends remember the other's cursor and look again only when
 * they must; release on publication, acquire on the look. No schema, no state, no leases. As it stands, a slot is the
 * message alone (64 bytes, no header); with -DHEADER, each slot carries a header of 48 bytes, filled for each message,
 * and is 128 bytes long, which is what Sovereign's slots are; with -DPREFETCH, whoever waits asks for the next slot
 * meanwhile, which is what Sovereign's readers do.
 *
 * Whoever waits spins; after SPINS looks in vain it yields, if the flag `yielding` says that cores are shared (a
 * writer before a full ring yields always), which is what the loops of `kernels.py` do. Functions that read return how
 * many words were wrong: 0 = all arrived.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

/* -DSLOTS=n, a power of two, says how many slots. */
enum { WORDS = 8, SPINS = 2000, LOOKS = 16, MOST_TAKEN = 1024, MOST_FORWARDED = 256, READERS = 3, PAGE = 4096 };

struct slot {
#ifdef HEADER
    int64_t sequence, origin_ns, publish_ns, cause;
    int32_t type;
    int16_t cause_actor, flags, length, halt_epoch;
    int32_t generation;
#endif
    int64_t words[WORDS];
#ifdef HEADER
    int64_t unused[2];
#endif
};

struct cursor { _Alignas(128) _Atomic int64_t at; };

struct ring {
    struct cursor written;
    struct cursor taken[READERS];
    _Alignas(128) int64_t readers; /* set before anyone runs */
    _Alignas(4096) struct slot slots[SLOTS];
};

int64_t ring_bytes(void) { return sizeof(struct ring); }
int64_t slot_bytes(void) { return sizeof(struct slot); }
void set_readers(struct ring *ring, int64_t readers) { ring->readers = readers; }

/* Each process calls this before it begins: no page of the ring faults later. */
void touch(struct ring *ring) {
    for (size_t at = 0; at < sizeof *ring; at += PAGE)
        atomic_fetch_add((_Atomic int64_t *)((char *)ring + at), 0);
}

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t look(struct cursor *cursor) { return atomic_load_explicit(&cursor->at, memory_order_acquire); }

static inline void set(struct cursor *cursor, int64_t value) {
    atomic_store_explicit(&cursor->at, value, memory_order_release);
}

static inline struct slot *slot_of(struct ring *ring, int64_t sequence) {
    return &ring->slots[(sequence - 1) & (SLOTS - 1)];
}

/* With -DPREFETCH the slot `next` is asked for after some looks in vain, so that it travels beside the cursor. */
static inline int64_t await(struct cursor *cursor, int64_t at_least, int64_t yielding, struct slot *next) {
    int64_t seen, spins = 0;
    while ((seen = look(cursor)) < at_least) {
        if (++spins > SPINS && yielding) sched_yield();
#ifdef PREFETCH
        if (next && spins > LOOKS)
            for (size_t line = 0; line < sizeof *next; line += 64) __builtin_prefetch((char *)next + line);
#else
        (void)next;
#endif
    }
    return seen;
}

static inline int64_t await_message(struct ring *ring, int64_t sequence, int64_t yielding) {
    return await(&ring->written, sequence, yielding, slot_of(ring, sequence));
}

/* Until slots up to `last` may be filled; `seen`: the slowest reader, when last looked at. */
static inline void room(struct ring *ring, int64_t last, int64_t *seen) {
    if (last - *seen <= SLOTS) return;
    int64_t slowest = INT64_MAX;
    for (int64_t reader = 0; reader < ring->readers; reader++) {
        int64_t at = await(&ring->taken[reader], last - SLOTS, 1, 0);
        if (at < slowest) slowest = at;
    }
    *seen = slowest;
}

static inline struct slot *opened(struct ring *ring, int64_t sequence, int64_t origin, int64_t cause) {
    struct slot *slot = slot_of(ring, sequence);
#ifdef HEADER
    slot->sequence = sequence;
    atomic_thread_fence(memory_order_release);
    slot->origin_ns = slot->publish_ns = origin;
    slot->cause = cause;
    slot->type = slot->generation = 1;
    slot->cause_actor = slot->flags = slot->halt_epoch = 0;
    slot->length = sizeof slot->words;
#else
    (void)origin, (void)cause;
#endif
    return slot;
}

static inline int64_t origin_of(const struct slot *slot) {
#ifdef HEADER
    return slot->origin_ns;
#else
    (void)slot;
    return 0;
#endif
}

static inline void fill(struct ring *ring, int64_t sequence) {
    struct slot *slot = opened(ring, sequence, sequence, sequence);
    for (int word = 0; word < WORDS; word++) slot->words[word] = sequence + word;
}

static inline int64_t check(struct ring *ring, int64_t sequence) {
    const struct slot *slot = slot_of(ring, sequence);
    int64_t wrong = 0;
    for (int word = 0; word < WORDS; word++) wrong += slot->words[word] != sequence + word;
    return wrong;
}

static inline void hand_on(struct ring *to, struct ring *from, int64_t sequence) {
    const struct slot *source = slot_of(from, sequence);
    struct slot *slot = opened(to, sequence, origin_of(source), sequence);
    memcpy(slot->words, source->words, sizeof slot->words);
}

int64_t ping(struct ring *there, struct ring *back, int64_t *samples_ns, int64_t count) {
    int64_t wrong = 0, seen = 0;
    for (int64_t k = 1; k <= count; k++) {
        int64_t before = now_ns();
        room(there, k, &seen);
        fill(there, k);
        set(&there->written, k);
        await_message(back, k, 0);
        wrong += check(back, k);
        set(&back->taken[0], k);
        samples_ns[k - 1] = now_ns() - before;
    }
    return wrong;
}

int64_t pong(struct ring *there, struct ring *back, int64_t count) {
    int64_t seen = 0;
    for (int64_t k = 1; k <= count; k++) {
        await_message(there, k, 0);
        room(back, k, &seen);
        hand_on(back, there, k);
        set(&back->written, k);
        set(&there->taken[0], k);
    }
    return 0;
}

int64_t produce(struct ring *ring, int64_t messages, int64_t batch) {
    int64_t seen = 0;
    for (int64_t k = 0; k < messages; k += batch) {
        room(ring, k + batch, &seen);
        for (int64_t i = 1; i <= batch; i++) fill(ring, k + i);
        set(&ring->written, k + batch);
    }
    return 0;
}

int64_t consume(struct ring *ring, int64_t reader, int64_t messages, int64_t yielding) {
    int64_t taken = 0, wrong = 0;
    while (taken < messages) {
        int64_t seen = await_message(ring, taken + 1, yielding);
        if (seen - taken > MOST_TAKEN) seen = taken + MOST_TAKEN;
        for (int64_t k = taken + 1; k <= seen; k++) wrong += check(ring, k);
        set(&ring->taken[reader], taken = seen);
    }
    return wrong;
}

int64_t forward(struct ring *from, int64_t reader, struct ring *to, int64_t messages, int64_t yielding) {
    int64_t taken = 0, seen_taken = 0;
    while (taken < messages) {
        int64_t seen = await_message(from, taken + 1, yielding);
        if (seen - taken > MOST_FORWARDED) seen = taken + MOST_FORWARDED;
        room(to, seen, &seen_taken);
        for (int64_t k = taken + 1; k <= seen; k++) hand_on(to, from, k);
        set(&to->written, seen);
        set(&from->taken[reader], taken = seen);
    }
    return 0;
}

int64_t join(struct ring *a, struct ring *b, int64_t messages, int64_t yielding) {
    int64_t taken = 0, wrong = 0;
    while (taken < messages) {
        int64_t seen = await_message(a, taken + 1, yielding), other = await_message(b, taken + 1, yielding);
        if (other < seen) seen = other;
        for (int64_t k = taken + 1; k <= seen; k++) wrong += check(a, k) + check(b, k);
        taken = seen;
        set(&a->taken[0], taken);
        set(&b->taken[0], taken);
    }
    return wrong;
}
