/* The ring: one writer, two gates, one observer, every interleaving of their loads and stores.

   Each step quotes the line of code that it is (a test sees that the line still stands there). A slot has three words:
   its sequence and two of payload, so that it can be torn. Loads and stores are taken in program order, as x86-64 and
   the acquires, releases and fences of the code keep them; that these are in the right places is what tests/litmus shows.

   Sizes: SLOTS, MESSAGES, BATCH. Mutants, each of which must fail: PUBLISH_FIRST, NO_GATE, SEQUENCE_LAST,
   NO_SECOND_LOOK, COMMIT_FIRST, ONE_GATE. */

#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef MESSAGES
#define MESSAGES 5
#endif
#ifndef BATCH
#define BATCH 2
#endif

byte cursor;          /* RING_CURSOR_AT */
byte gate_cursor[2];  /* READER_CURSOR_AT, a page each */
byte sequence[SLOTS]; /* SLOT_SEQUENCE */
byte first[SLOTS];    /* the payload's words */
byte second[SLOTS];

#ifdef ONE_GATE
#define LAST_GATE 0
#else
#define LAST_GATE 1
#endif
#define PLACE(s) (((s) - 1) % SLOTS)

/* The payload's words in any order: a copy of bytes promises none. */
inline fill_payload(s) {
  if
  :: first[PLACE(s)] = s; second[PLACE(s)] = s
  :: second[PLACE(s)] = s; first[PLACE(s)] = s
  fi
}

inline fill(s) {
#ifdef SEQUENCE_LAST
  fill_payload(s);
  sequence[PLACE(s)] = s
#else
  sequence[PLACE(s)] = s; /* runtime/kernels.py: atomics.store_i64(slot + layout.SLOT_SEQUENCE, sequence) */
  fill_payload(s)         /* runtime/kernels.py: atomics.fence_release() */
#endif
}

/* What a process holds for a moment is set to nought after use: a value that nobody reads must not part states. */
active proctype writer() {
  byte next, lowest, found, count, k, at;
  do
  :: next < MESSAGES ->
    if
    :: count = 1
    :: next + 2 <= MESSAGES && BATCH >= 2 -> count = 2
    fi;
#ifndef NO_GATE
    if
    :: SLOTS - (next - lowest) >= count /* runtime/kernels.py: free = w[W_CAPACITY] - (w[W_NEXT] - w[W_LOWEST]) */
    :: else ->
      /* The loops look again and again; here the writer sleeps until a look will do. */
      (SLOTS - (next - gate_cursor[0]) >= count && SLOTS - (next - gate_cursor[LAST_GATE]) >= count);
      found = next; /* runtime/kernels.py: lowest = w[W_NEXT] */
      k = 0;
      do
      :: k <= LAST_GATE ->
        at = gate_cursor[k]; /* runtime/kernels.py: cursor = atomics.load_acquire(w[W_FIRST_GATE + gate]) */
        atomic {
          if
          :: at < found -> found = at /* runtime/kernels.py: lowest = min(lowest, cursor) */
          :: else
          fi;
          at = 0;
          k++
        }
      :: else -> break
      od;
      atomic { lowest = found; found = 0 } /* runtime/kernels.py: w[W_LOWEST] = lowest */
    fi;
#endif
#ifdef PUBLISH_FIRST
    cursor = next + count;
#endif
    k = 1;
    do
    :: k <= count -> fill(next + k); k++
    :: else -> break
    od;
    atomic {
      next = next + count; /* runtime/kernels.py: w[W_NEXT] = following */
      cursor = next;       /* runtime/kernels.py: atomics.store_release(w[W_CURSOR_AT], following) */
      k = 0
    }
  :: else -> break
  od
}

/* Sequence and payload of the slots that a gate holds all say what they should. */
inline held(from, count) {
  d_step {
    k = 1;
    do
    :: k <= count ->
      assert(sequence[PLACE(from + k)] == from + k);
      assert(first[PLACE(from + k)] == from + k);
      assert(second[PLACE(from + k)] == from + k);
      k++
    :: else -> break
    od;
    k = 0
  }
}

/* A gate: sees every message once, whole and in order, from its first look until it commits it. */
proctype gate(byte me) {
  byte at, k, taken;
  do
  :: at < MESSAGES ->
    atomic {
      (cursor != at);
      assert(cursor - at <= SLOTS);
      if
      :: taken = cursor - at /* runtime/kernels.py: r[R_SEEN] = atomics.load_acquire(r[R_CURSOR_AT]) */
      :: taken = 1
      fi
    };
#ifdef COMMIT_FIRST
    gate_cursor[me] = at + taken;
#endif
    held(at, taken);
    held(at, taken);
    atomic {
      at = at + taken;      /* runtime/kernels.py: r[R_CURSOR] += count */
      gate_cursor[me] = at; /* runtime/kernels.py: atomics.store_release(r[R_OWN_AT], r[R_CURSOR]) */
      taken = 0
    }
  :: else -> break
  od;
  assert(at == MESSAGES)
}

/* The observer: accepts no torn slot, and counts what it did not accept. */
active proctype observer() {
  byte after, last, accepted, overrun, s, a, b, copied, again;
  do
  :: after < MESSAGES ->
    (cursor != after);
    atomic {
      last = cursor; /* runtime/observer.py: published = atomics.load_acquire(cursor_at) */
      s = after;
      if
      :: last > after + SLOTS -> s = last - SLOTS /* runtime/observer.py: first = max(after, published - capacity) */
      :: else
      fi;
      overrun = overrun + (s - after)
    };
    do
    :: s < last ->
      s++;
      /* runtime/kernels.py: atomics.copy_bytes(copy, slot, stride) */
      if
      :: copied = sequence[PLACE(s)]; a = first[PLACE(s)]; b = second[PLACE(s)]
      :: b = second[PLACE(s)]; a = first[PLACE(s)]; copied = sequence[PLACE(s)]
      fi;
#ifdef NO_SECOND_LOOK
      again = s;
#else
      again = sequence[PLACE(s)]; /* runtime/kernels.py: again = atomics.load_i64(slot + layout.SLOT_SEQUENCE) */
#endif
      atomic {
        if
        :: again == s && copied == s -> /* runtime/kernels.py: return again == sequence and atomics.load_i64(copy + layout.SLOT_SEQUENCE) == sequence */
          assert(a == s && b == s);
          accepted++
        :: else -> overrun++
        fi;
        a = 0; b = 0; copied = 0; again = 0
      }
    :: else -> break
    od;
    atomic { after = last; last = 0; s = 0 }
  :: else -> break
  od;
  assert(accepted + overrun == MESSAGES)
}

init {
  atomic { run gate(0); run gate(1) }
}
