"""Takes liquidity when the best level of an order book leans: the example of a strategy with Scratch."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from sovereign.actors.strategy import Strategy, piece
from sovereign.messages.market import (
    BID,
    NULL_PX,
    ORDER_ADD,
    ORDER_CANCEL,
    ORDER_CLEAR,
    ORDER_DELETE,
    ORDER_EXECUTE,
    ORDER_MODIFY,
    ORDER_REPLACE,
    OrderEvent,
)
from sovereign.messages.orders import BUY, IMMEDIATE_OR_CANCEL, SELL, NewOrder
from sovereign.runtime.message import Message

ORDERS = 1 << 16
LEVELS = 1 << 15


@piece
def find(book: Any, order_id: Any) -> Any:
    """Where the order stands in the table, or the free place where it would; -1 when the table is full."""
    place = np.int64(order_id % np.uint64(ORDERS))
    for _ in range(ORDERS):
        if book.side[place] == 0 or book.order_id[place] == order_id:
            return place
        place = (place + 1) % ORDERS
    return -1


@piece
def move_best(book: Any) -> Any:
    """Walk the best prices down to levels that hold something."""
    while book.best_bid >= 0 and book.bid_qty[book.best_bid] == 0:
        book.best_bid -= 1
    while book.best_ask < LEVELS and book.ask_qty[book.best_ask] == 0:
        book.best_ask += 1


@piece
def add(book: Any, order_id: Any, side: Any, level: Any, qty: Any) -> Any:
    """A new order. What has no place on the ladder or in the table is counted in `left_out`."""
    place = find(book, order_id)
    if side == 0 or qty <= 0 or level < 0 or level >= LEVELS or place < 0 or book.side[place] != 0:
        book.left_out += 1
        return
    book.order_id[place] = order_id
    book.side[place] = side
    book.level[place] = level
    book.qty[place] = qty
    if side == BID:
        book.bid_qty[level] += qty
        book.best_bid = max(book.best_bid, level)
    else:
        book.ask_qty[level] += qty
        book.best_ask = min(book.best_ask, level)


@piece
def close_up(book: Any, hole: Any) -> Any:
    """Free a place, and move up what was put behind it because it was taken."""
    place = hole
    while True:
        book.side[hole] = 0
        while True:
            place = (place + 1) % ORDERS
            if book.side[place] == 0:
                return
            home = np.int64(book.order_id[place] % np.uint64(ORDERS))
            if (place - home) % ORDERS >= (place - hole) % ORDERS:
                break
        book.order_id[hole], book.side[hole] = book.order_id[place], book.side[place]
        book.level[hole], book.qty[hole] = book.level[place], book.qty[place]
        hole = place


@piece
def take(book: Any, place: Any, qty: Any) -> Any:
    """Less of an order; it goes when nothing is left."""
    qty = min(qty, book.qty[place])
    level = book.level[place]
    if book.side[place] == BID:
        book.bid_qty[level] -= qty
    else:
        book.ask_qty[level] -= qty
    book.qty[place] -= qty
    if book.qty[place] == 0:
        close_up(book, place)
    move_best(book)


class Lean(Strategy):
    """Keeps the book of one instrument (the first that it sees, when none is named)."""

    class Params(Message):
        """`tick_e9`: of the ladder; `threshold`: share of the best quantity on one side; `gap`: events between orders."""

        tick_e9: np.int64 = 10_000_000
        instrument: np.int64 = 0
        threshold: np.float64 = 0.8
        gap: np.int64 = 50
        qty: np.int64 = 1

    class State(Message):
        """What a restart must not forget: how many events there were, and our orders."""

        events: np.int64
        last: np.int64
        orders: np.int64

    class Scratch(Message):
        """The book: a table of orders by id (open addressing; side 0 is free), and quantities by level."""

        instrument: np.int64
        left_out: np.int64
        best_bid: np.int64 = -1
        best_ask: np.int64 = LEVELS
        order_id: Annotated[np.uint64, ORDERS]
        qty: Annotated[np.int64, ORDERS]
        level: Annotated[np.int64, ORDERS]
        side: Annotated[np.uint8, ORDERS]
        bid_qty: Annotated[np.int64, LEVELS]
        ask_qty: Annotated[np.int64, LEVELS]

    @staticmethod
    def learn_order(event: OrderEvent, scratch: Scratch, params: Params) -> None:
        """The book after this event. Called once an event: before `on_order`, and at a start for those before."""
        if scratch.instrument == 0:
            scratch.instrument = (
                params.instrument if params.instrument else np.int64(event.instrument)
            )
        if event.instrument != scratch.instrument:
            return
        level = np.int64(-1) if event.px_e9 == NULL_PX else event.px_e9 // params.tick_e9
        if event.action == ORDER_ADD:
            add(scratch, event.order_id, event.side, level, event.qty)
            return
        if event.action == ORDER_CLEAR:
            scratch.side[:] = 0
            scratch.bid_qty[:] = 0
            scratch.ask_qty[:] = 0
            move_best(scratch)
            return
        place = find(scratch, event.order_id)
        if place < 0 or scratch.side[place] == 0:
            return
        side = scratch.side[place]
        if event.action == ORDER_CANCEL or event.action == ORDER_EXECUTE:
            take(scratch, place, event.qty)
        elif event.action == ORDER_DELETE:
            take(scratch, place, scratch.qty[place])
        elif event.action == ORDER_MODIFY or event.action == ORDER_REPLACE:
            take(scratch, place, scratch.qty[place])
            following = event.other_id if event.action == ORDER_REPLACE else event.order_id
            add(scratch, following, side, level, event.qty)

    @staticmethod
    def on_order(
        event: OrderEvent, state: State, params: Params, scratch: Scratch, out: NewOrder
    ) -> int:
        """Order when the best level leans."""
        if event.instrument != scratch.instrument:
            return 0
        state.events += 1
        if scratch.best_bid < 0 or scratch.best_ask >= LEVELS:
            return 0
        bid = scratch.bid_qty[scratch.best_bid]
        ask = scratch.ask_qty[scratch.best_ask]
        lean = bid / (bid + ask)
        if state.events - state.last < params.gap or (
            1.0 - params.threshold < lean < params.threshold
        ):
            return 0
        buying = lean >= params.threshold
        level = scratch.best_ask if buying else scratch.best_bid
        state.last = state.events
        state.orders += 1
        out.instrument = scratch.instrument
        out.side = BUY if buying else SELL
        out.px_e9 = level * params.tick_e9
        out.qty = params.qty
        out.time_in_force = IMMEDIATE_OR_CANCEL
        out.client_tag = state.orders
        return 1
