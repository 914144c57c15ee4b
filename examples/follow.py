"""Follows large orders: the example on order-by-order feeds (ITCH, DBN)."""

from __future__ import annotations

import numpy as np

from sovereign.actors.strategy import Strategy
from sovereign.messages.market import BID, NULL_PX, ORDER_ADD, OrderEvent, Quote
from sovereign.messages.orders import BUY, IMMEDIATE_OR_CANCEL, SELL, NewOrder
from sovereign.runtime.message import Message


class Follow(Strategy):
    """When an order of at least `min_qty` is added, send one on the same side at its price."""

    class Params(Message):
        """`min_qty`: of the order followed; `every`: follow each so-many-th of them."""

        min_qty: np.int64 = 100
        every: np.int64 = 10
        qty: np.int64 = 1

    class State(Message):
        """How many large orders there were, and how many of ours."""

        seen: np.int64
        orders: np.int64

    @staticmethod
    def on_order(event: OrderEvent, state: State, params: Params, out: NewOrder) -> int:
        """Count the large ones; follow some."""
        if event.action != ORDER_ADD or event.qty < params.min_qty or event.px_e9 == NULL_PX:
            return 0
        state.seen += 1
        if state.seen % params.every != 0:
            return 0
        state.orders += 1
        out.instrument = event.instrument
        out.side = BUY if event.side == BID else SELL
        out.px_e9 = event.px_e9
        out.qty = params.qty
        out.time_in_force = IMMEDIATE_OR_CANCEL
        out.client_tag = state.orders
        return 1

    @staticmethod
    def on_quote(event: Quote, state: State, params: Params, out: NewOrder) -> int:
        """On quote feeds: follow the heavier side of the best bid and offer."""
        if max(event.bid_qty, event.ask_qty) < params.min_qty:
            return 0
        state.seen += 1
        if state.seen % params.every != 0:
            return 0
        state.orders += 1
        buying = event.bid_qty >= event.ask_qty
        out.instrument = event.instrument
        out.side = BUY if buying else SELL
        out.px_e9 = event.ask_px_e9 if buying else event.bid_px_e9
        out.qty = params.qty
        out.time_in_force = IMMEDIATE_OR_CANCEL
        out.client_tag = state.orders
        return 1
