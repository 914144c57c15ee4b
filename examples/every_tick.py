"""The strategy that `bench node` and `bench start` run: one order a tick."""

from __future__ import annotations

import numpy as np

from sovereign.actors.strategy import Strategy
from sovereign.messages.orders import BUY, IMMEDIATE_OR_CANCEL, NewOrder
from sovereign.messages.time import Tick
from sovereign.runtime.message import Message


class EveryTick(Strategy):
    """Answers each tick with an order for one."""

    class State(Message):
        """How many ticks there were."""

        ticks: np.int64

    @staticmethod
    def on_tick(event: Tick, state: State, params: Message, out: NewOrder) -> int:
        """Count, and order."""
        state.ticks += 1
        out.instrument = 1
        out.side = BUY
        out.px_e9 = 1_000_000_000
        out.qty = 1
        out.time_in_force = IMMEDIATE_OR_CANCEL
        out.client_tag = state.ticks
        return 1
