"""What the killed node trades: a compiled taker whose orders show the bus's order, and an echo in plain Python."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from sovereign.actors.strategy import Strategy
from sovereign.messages.orders import BUY, NewOrder
from sovereign.messages.time import Tick
from sovereign.runtime.message import Message

TWICE_EVERY = 8
QTY_MOST = 8


class Count(Message):
    """What the source says: 1, 2, 3 and so on."""

    number: np.int64


class Echoed(Message):
    """What the echo says of each order; `number` counts from 1."""

    number: np.int64
    client_tag: np.uint64


class Taker(Strategy):
    """An order for each count, two for each eighth. The quantity tells how many ticks and echoes came before."""

    class State(Message):
        """What there was of each."""

        orders: np.int64
        others: np.int64

    @staticmethod
    def on_count(event: Count, state: State, params: Message, out: Annotated[NewOrder, 2]) -> int:
        """Order once or twice; every eighth quantity is above what the pod's policy allows."""
        many = 2 if event.number % TWICE_EVERY == 0 else 1
        for k in range(many):
            state.orders += 1
            order = out[k]  # type: ignore[index]  # an array, as the annotation's 2 says
            order.instrument = 1
            order.side = BUY
            order.px_e9 = event.number * 1_000_000_000 + k
            order.qty = 1 + (state.orders + state.others) % QTY_MOST
            order.client_tag = state.orders
        return many

    @staticmethod
    def on_echo(event: Echoed, state: State, params: Message, out: NewOrder) -> int:
        """Count it."""
        state.others += 1
        return 0

    @staticmethod
    def on_tick(event: Tick, state: State, params: Message, out: NewOrder) -> int:
        """Count it."""
        state.others += 1
        return 0


class Echo(Strategy):
    """Sends every order back, so that the node has a cycle."""

    class State(Message):
        """How many there were."""

        number: np.int64

    @staticmethod
    def on_order(event: NewOrder, state: State, params: Message, out: Echoed) -> int:
        """One for one."""
        state.number += 1
        out.number = state.number
        out.client_tag = event.client_tag
        return 1
