"""The halt epoch's claim, on the word of the node's control page: an acknowledgement is a promise.

Supervisor, maker of orders, and the actor that acts on them. An act takes a while; an acknowledgement says that none is
under way, and none on an order of an older epoch will follow, not even after `resume`.
"""

from __future__ import annotations

from typing import Any

from litmus.loops import fill, input_slot, pauses, waited
from litmus.stage import Claim, Outcome, Stage
from sovereign.runtime import atomics, control, kernels, layout
from sovereign.runtime.jit import njit, types
from sovereign.runtime.reader import Reader
from sovereign.runtime.writer import Writer

NO_EPOCH = "orders are not asked for their epoch"
EARLY_ACK = "acknowledged in the middle of an act"
ACT_PAUSES = 4
_WORD, _LINE = types.int64, types.int64[::1]


@njit
def supervise(word: Any, ack: Any, acts: Any, stop: Any, rounds: Any, out: Any) -> Any:
    """Halt, wait for the acknowledgement, look for an act that is under way or follows, resume."""
    bad = 0
    for turn in range(rounds):
        epoch = 2 * turn + 1  # odd: halted
        atomics.store_release(word, epoch)
        spins = 0
        while atomics.load_acquire(ack) < epoch:
            spins = waited(spins)
        before = atomics.load_acquire(acts)
        pauses(16 + turn % 64)
        after = atomics.load_acquire(acts)
        bad += before % 2 == 1 or after != before
        atomics.store_release(word, epoch + 1)
        until = after + 2 * (turn % 8)  # some acts, or none, before the next halt
        while atomics.load_acquire(acts) < until:
            spins = waited(spins)
    atomics.store_i64(out, bad)
    atomics.store_release(stop, 1)


@njit
def make(w: Any, word: Any, stop: Any) -> Any:
    """Orders, each with the epoch of its making, as many as the ring holds."""
    spins = 0
    while atomics.load_acquire(stop) == 0:
        if kernels.room(w, 1) < 1:
            spins = waited(spins)
            continue
        epoch = atomics.load_acquire(word)
        sequence = w[kernels.W_NEXT] + 1
        fill(w, sequence)
        slot = kernels.slot_of(w[kernels.W_SLOTS], w[kernels.W_MASK], w[kernels.W_STRIDE], sequence)
        atomics.store_i64(slot + layout.SLOT_PAYLOAD, epoch)
        kernels.publish(w, 1)


@njit
def act(
    r: Any, word: Any, ack: Any, acts: Any, stop: Any, careless: Any, hasty: Any, out: Any
) -> Any:
    """Look at the halt epoch right before each act; acknowledge with nothing half done."""
    acknowledged = -1
    bad = done = spins = 0
    while atomics.load_acquire(stop) == 0:
        epoch = atomics.load_acquire(word)
        if epoch % 2 == 1:
            if epoch != acknowledged:
                acknowledged = epoch
                atomics.store_release(ack, epoch)
            spins = waited(spins)
            continue
        if kernels.available(r) == 0:
            spins = waited(spins)
            continue
        slot = input_slot(r, r[kernels.R_CURSOR] + 1)
        made = atomics.load_i64(slot + layout.SLOT_PAYLOAD)
        if careless or made == epoch:
            bad += made <= acknowledged
            done += 1
            atomics.store_release(acts, 2 * done - 1)  # odd: under way
            pauses(ACT_PAUSES)
            if hasty and atomics.load_acquire(word) % 2 == 1:
                acknowledged = atomics.load_acquire(word)
                atomics.store_release(ack, acknowledged)
            pauses(ACT_PAUSES)
            atomics.store_release(acts, 2 * done)
        kernels.release(r, 1)
    atomics.store_i64(out, bad)


def load() -> None:
    """Compile before the fork."""
    supervise.compile((_WORD,) * 6)
    make.compile((_LINE, _WORD, _WORD))
    act.compile((_LINE, _WORD, _WORD, _WORD, _WORD, types.boolean, types.boolean, _WORD))


def _halted(rounds: int, broken: str) -> Outcome:
    load()
    with Stage() as stage:
        control.create_node(stage.node, 1)
        stage.ring("orders", 8, "actor")
        acts, stop = stage.at(2), stage.at(3)

        def supervisor() -> None:
            page = control.Control(stage.node, writable=True)
            ack = page.counters(0).at("halt_epoch")
            supervise(page.epoch_address, ack, acts, stop, rounds, stage.at(0))

        def maker() -> None:
            page, end = control.Control(stage.node), Writer(stage.node, "orders")
            make(end.words, page.epoch_address, stop)

        def actor() -> None:
            page, (_block, counters) = (
                control.Control(stage.node),
                control.own_counters(stage.node, 0),
            )
            end = Reader(stage.node, "orders", "actor")
            act(
                end.words, page.epoch_address, counters.at("halt_epoch"), acts, stop,
                broken == NO_EPOCH, broken == EARLY_ACK, stage.at(1),
            )  # fmt: skip

        stage.run(supervisor, actor, maker)
        return Outcome(rounds, stage.said(0) + stage.said(1), stage.said(2) > 0)


CLAIMS = (
    Claim(
        "halt",
        "an actor that acknowledged epoch e acts before the node resumes, or acts on an order made before it did",
        _halted,
        (NO_EPOCH, EARLY_ACK),
        20_000,
    ),
)
