"""Takes liquidity when the top of the book leans to one side: the example on price-level feeds (CME)."""

from __future__ import annotations

import numpy as np

from sovereign.actors.strategy import Strategy
from sovereign.messages.market import ASK, BID, DELETE, NULL_PX, BookLevel
from sovereign.messages.orders import BUY, IMMEDIATE_OR_CANCEL, SELL, NewOrder
from sovereign.runtime.message import Message


class Imbalance(Strategy):
    """Keeps the best level of one instrument (the first that it sees, when none is named)."""

    class Params(Message):
        """`threshold`: share of the top quantity on one side; `gap`: updates between two orders."""

        threshold: np.float64 = 0.8
        gap: np.int64 = 50
        qty: np.int64 = 1
        instrument: np.int64 = 0

    class State(Message):
        """The top of the book, and when the last order went."""

        instrument: np.int64
        bid_px_e9: np.int64
        ask_px_e9: np.int64
        bid_qty: np.int64
        ask_qty: np.int64
        updates: np.int64
        last: np.int64
        orders: np.int64

    @staticmethod
    def on_level(event: BookLevel, state: State, params: Params, out: NewOrder) -> int:
        """Follow the best level; order when it leans."""
        if state.instrument == 0:
            state.instrument = (
                params.instrument if params.instrument else np.int64(event.instrument)
            )
        if event.level != 1 or event.instrument != state.instrument or event.px_e9 == NULL_PX:
            return 0
        qty = 0 if event.action == DELETE else event.qty
        if event.side == BID:
            state.bid_px_e9, state.bid_qty = event.px_e9, qty
        elif event.side == ASK:
            state.ask_px_e9, state.ask_qty = event.px_e9, qty
        state.updates += 1
        total = state.bid_qty + state.ask_qty
        if state.bid_qty <= 0 or state.ask_qty <= 0 or state.updates - state.last < params.gap:
            return 0
        lean = state.bid_qty / total
        if 1.0 - params.threshold < lean < params.threshold:
            return 0
        buying = lean >= params.threshold
        out.instrument = state.instrument
        out.side = BUY if buying else SELL
        out.px_e9 = state.ask_px_e9 if buying else state.bid_px_e9
        out.qty = params.qty
        out.time_in_force = IMMEDIATE_OR_CANCEL
        state.orders += 1
        out.client_tag = state.orders
        state.last = state.updates
        return 1
