/* The commit rule: an actor that is killed between any two of its stores, and again while it recovers.

   Each step quotes the line of code that it is (a test sees that the line still stands there). What lies in shared memory
   is global here and survives a kill; what is the process's own is local to `actor` and is lost. The events' fate is
   followed by `counted` and `fold`, which no code can see: they are moved at the commit point, and there alone.

   Properties: at each commit point the events are the next ones (none lost, none repeated, order kept) and the state is
   the fold of all so far; recovery always finds exactly that; no event is overwritten before it was committed; the sink
   gets each output once, whole and in order; everybody ends (no message is stuck).

   Gates that the supervisor detaches are not part of it.

   Sizes: INPUTS, MESSAGES an input, BATCH, KILLS. QUIET: an event gives an output or none. NO_OUTPUT: none has one.
   Mutants, each of which must fail: TAG_LAST, RECOVER_NOT, RECOVER_LATE, RELEASE_FIRST, OUTPUT_LAST, ANY_COPY,
   FIRST_REFUSED. */

#ifndef INPUTS
#define INPUTS 1
#endif
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef BATCH
#define BATCH 2
#endif
#ifndef KILLS
#define KILLS 2
#endif
#define IN_SLOTS 2
#define OUT_SLOTS 2

/* The input rings, each with the actor as its gate. */
byte in_cursor[INPUTS];
byte in_release[INPUTS];
byte in_slot[INPUTS * IN_SLOTS];
/* The output ring and its gate, the sink. A slot says which event it comes from, and the state after it. */
byte out_cursor;
byte out_input[OUT_SLOTS];
byte out_event[OUT_SLOTS];
byte out_state[OUT_SLOTS];
byte sink_cursor;
/* The state segment: two copies. */
byte tag[2];              /* COPY_TAG_AT */
byte copy_output[2];      /* COPY_OUTPUT_AT */
byte copy_input[2 * INPUTS]; /* COPY_INPUTS_AT */
byte copy_state[2];       /* COPY_STATE_AT */

byte kills;
byte counted[INPUTS];
byte fold;

#define FOLD(state, input, event) ((state) * 3 + (input) * 5 + (event))
#define IN_PLACE(i, n) ((i) * IN_SLOTS + ((n) - 1) % IN_SLOTS)
#define OUT_PLACE(n) (((n) - 1) % OUT_SLOTS)
/* A store, or death right before it. */
#define STORE(x) if :: x :: kills < KILLS -> kills++; goto dead fi

/* The sources write as fast as the actor's released cursor lets them. */
proctype source(byte i) {
  byte n;
  do
  :: n < MESSAGES ->
    (n - in_release[i] < IN_SLOTS);
    n++;
    in_slot[IN_PLACE(i, n)] = n;
    in_cursor[i] = n
  :: else -> break
  od
}

/* The sink sees outputs in order; with an output for each event it knows exactly what must come. */
proctype sink() {
  byte expected[INPUTS];
  byte state, i, n;
end:
  do
  :: sink_cursor < out_cursor ->
    i = out_input[OUT_PLACE(sink_cursor + 1)];
    n = out_event[OUT_PLACE(sink_cursor + 1)];
#ifdef QUIET
    assert(n > expected[i]);
#else
    assert(n == expected[i] + 1);
    state = FOLD(state, i, n);
    assert(out_state[OUT_PLACE(sink_cursor + 1)] == state);
#endif
    expected[i] = n;
    sink_cursor++
  od
}

/* The commit point, as nobody in the code sees it: `t` events of input `i` are over, in copy `c`. */
inline committed(i, t, c) {
  x = 0;
  do
  :: x < t ->
    counted[i]++;
    fold = FOLD(fold, i, counted[i]);
    x++
  :: else -> break
  od;
  assert(copy_state[c] == fold);
  assert(copy_input[c * INPUTS + i] == counted[i])
}

proctype actor() {
  byte step, newer, next;      /* S_STEP, S_NEWER, W_NEXT */
  byte at[INPUTS];             /* R_CURSOR */
  byte older, i, j, k, x, n, taken, produced;
  bool found;

recovery:
  atomic {
    next = out_cursor; /* runtime/writer.py: (kernels.W_NEXT, ring.cursor) */
    j = 0;
    do
    :: j < INPUTS -> at[j] = in_release[j]; j++ /* runtime/reader.py: self.seek(committed) */
    :: else -> break
    od;
    found = false; step = 0; newer = 0; j = 0;
    do
    :: j < 2 ->
      /* runtime/state_segment.py: if tags[copy] > 0 and self._word(copy, layout.COPY_OUTPUT_AT) == published */
      if
#ifdef ANY_COPY
      :: tag[j] > step -> found = true; step = tag[j]; newer = j
#else
      :: tag[j] > step && copy_output[j] == next -> found = true; step = tag[j]; newer = j /* runtime/state_segment.py: return max(fits)[1] */
#endif
      :: else
      fi;
      j++
    :: else -> break
    od;
    if
    :: found
    :: else -> /* refused, unless nothing was ever committed */
#ifdef FIRST_REFUSED
      assert(next == 0 && tag[0] == 0 && tag[1] == 0);
#else
      assert(next == 0 && tag[0] == 0 && tag[1] <= 1); /* runtime/state_segment.py: if published or tags[0] or tags[1] > 1: */
#endif
      j = 0;
      do
      :: j < INPUTS -> at[j] = 0; j++ /* runtime/state.py: self._resume(number, 0) */
      :: else -> break
      od
    fi;
    assert(copy_state[newer] == fold);
    j = 0
  }
  do
  :: j < INPUTS && found ->
    assert(copy_input[newer * INPUTS + j] == counted[j]);
#ifndef RECOVER_NOT
    if
    :: at[j] > copy_input[newer * INPUTS + j] -> /* only a gate that was detached (or a mutant): its page is ahead */
      at[j] = copy_input[newer * INPUTS + j] /* runtime/state.py: reader.words[kernels.R_CURSOR] = reader.words[kernels.R_SEEN] = committed */
    :: else ->
      at[j] = copy_input[newer * INPUTS + j]; /* runtime/reader.py: self.words[kernels.R_CURSOR] = self.words[kernels.R_SEEN] = cursor */
#ifndef RECOVER_LATE
      STORE(in_release[j] = at[j]) /* runtime/reader.py: self._page.word(layout.READER_CURSOR_AT)[0] = cursor */
#endif
    fi;
#endif
    j++
  :: else -> break
  od;

  do
  :: atomic {
      /* Any input that has something, any number of its events, up to a batch. */
      if
      :: in_cursor[0] > at[0] -> i = 0
#if INPUTS > 1
      :: in_cursor[1] > at[1] -> i = 1
#endif
      :: at[0] == MESSAGES && at[INPUTS - 1] == MESSAGES -> break
      fi;
      if
      :: taken = 1
      :: in_cursor[i] - at[i] >= 2 && BATCH >= 2 -> taken = 2
      fi
    };
    older = 1 - newer;
    STORE(tag[older] = 0);                       /* runtime/commit.py: atomics.store_release(older + layout.COPY_TAG_AT, 0) */
    STORE(copy_state[older] = copy_state[newer]); /* runtime/commit.py: atomics.copy_bytes(older + layout.COPY_STATE_AT, newer + layout.COPY_STATE_AT, s[S_BYTES]) */
#ifndef NO_OUTPUT
    (OUT_SLOTS - (next - sink_cursor) >= taken); /* runtime/kernels.py: free = w[W_CAPACITY] - (w[W_NEXT] - w[W_LOWEST]) */
#endif
    produced = 0;
    k = 1;
    do
    :: k <= taken ->
      n = at[i] + k;
      assert(in_slot[IN_PLACE(i, n)] == n); /* not overwritten before it was committed */
      STORE(copy_state[older] = FOLD(copy_state[older], i, n)); /* the handler, in place */
#ifndef NO_OUTPUT
      if
      :: produced++;
        STORE(out_input[OUT_PLACE(next + produced)] = i); /* the handler's message: open_slot, stamp, copy_bytes */
        STORE(out_event[OUT_PLACE(next + produced)] = n);
        STORE(out_state[OUT_PLACE(next + produced)] = copy_state[older])
#ifdef QUIET
      :: skip
#endif
      fi;
#endif
      k++
    :: else -> break
    od;

    j = 0;
    do
    :: j < INPUTS ->
      STORE(copy_input[older * INPUTS + j] = at[j] + (j == i -> taken : 0)); /* runtime/commit.py: atomics.store_i64(copy + layout.COPY_INPUTS_AT + 8 * i, cursor) */
      j++
    :: else -> break
    od;
#ifndef OUTPUT_LAST
    STORE(copy_output[older] = next + produced); /* runtime/commit.py: atomics.store_i64(copy + layout.COPY_OUTPUT_AT, w[kernels.W_NEXT] + produced) */
#endif
#ifndef TAG_LAST
    if
    :: produced > 0 -> STORE(tag[older] = step + 1) /* runtime/commit.py: atomics.store_release(copy + layout.COPY_TAG_AT, step) */
    :: else -> STORE(d_step { tag[older] = step + 1; committed(i, taken, older) }) /* with no output, this is the commit point */
    fi;
#endif
#ifdef RELEASE_FIRST
    STORE(in_release[i] = at[i] + taken);
#endif
    if
    :: produced > 0 ->
      STORE(d_step { out_cursor = next + produced; committed(i, taken, older) }); /* runtime/commit.py: kernels.publish(w, produced) */
      next = next + produced
    :: else
    fi;
#ifdef OUTPUT_LAST
    STORE(copy_output[older] = next);
#endif
#ifdef TAG_LAST
    if
    :: produced > 0 -> STORE(tag[older] = step + 1)
    :: else -> STORE(d_step { tag[older] = step + 1; committed(i, taken, older) })
    fi;
#endif
    at[i] = at[i] + taken;
    STORE(in_release[i] = at[i]); /* runtime/commit.py: kernels.release(readers[i], taken[i]) */
    step = step + 1;              /* runtime/commit.py: s[S_STEP] = step */
    newer = older                 /* runtime/commit.py: s[S_NEWER] = 1 - s[S_NEWER] */
  od;
  goto over;

dead:
  /* The process's own memory is gone. */
  atomic {
    step = 0; newer = 0; next = 0; older = 0; i = 0; k = 0; x = 0; n = 0; taken = 0; produced = 0; j = 0;
    do
    :: j < INPUTS -> at[j] = 0; j++
    :: else -> break
    od;
    j = 0;
    goto recovery
  };

over:
  j = 0;
  do
  :: j < INPUTS -> assert(counted[j] == MESSAGES); j++
  :: else -> break
  od
}

init {
  atomic {
    run source(0);
#if INPUTS > 1
    run source(1);
#endif
#ifndef NO_OUTPUT
    run sink();
#endif
    run actor()
  }
}
