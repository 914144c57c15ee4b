"""Orders on their way out: what a strategy asks, what the pod signed, what was refused, what left.

An order's name is its actor, its ring's generation and its sequence there. The name goes with it to the pod and to the
venue, so that doing it again is seen to be the same.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from sovereign.runtime.message import Message

BUY, SELL = 1, 2
GOOD_TILL_CANCEL, IMMEDIATE_OR_CANCEL, FILL_OR_KILL = 0, 1, 2
ED25519, SECP256K1 = 1, 2


class NewOrder(Message):
    """A strategy's wish. Price in 1e-9 of the currency, quantity in the instrument's units."""

    instrument: np.uint32
    side: np.uint8
    time_in_force: np.uint8
    strategy_flags: np.uint16
    px_e9: np.int64
    qty: np.int64
    client_tag: np.uint64


class SignedOrder(Message):
    """The order as it was signed. `signature` covers the 64 bytes of `OrderPreimage` (docs/pod.md)."""

    order_actor: np.uint16
    scheme: np.uint8
    side: np.uint8
    order_generation: np.uint32
    order_seq: np.uint64
    instrument: np.uint32
    key_id: np.uint32
    px_e9: np.int64
    qty: np.int64
    client_tag: np.uint64
    halt_epoch: np.uint64
    time_in_force: np.uint8
    public_key_bytes: np.uint8
    strategy_flags: np.uint16
    public_key: Annotated[bytes, 33]
    signature: Annotated[bytes, 64]


class OrderRefused(Message):
    """An order that nobody signed, or that did not leave. `rule`: who refused it and why, ASCII."""

    order_actor: np.uint16
    stage: np.uint16
    order_generation: np.uint32
    order_seq: np.uint64
    halt_epoch: np.uint64
    rule: Annotated[bytes, 48]


class Sending(Message):
    """Published before the bytes leave: the intent. `order_*`: which order; `attempt`: 1 for the first."""

    order_actor: np.uint16
    attempt: np.uint16
    order_generation: np.uint32
    order_seq: np.uint64
    sent_bytes: np.uint32
    transport: np.uint32


class Sent(Message):
    """The kernel took all the bytes, on a connection that stood. `sent_ns`: CLOCK_REALTIME right after the call."""

    order_actor: np.uint16
    attempt: np.uint16
    order_generation: np.uint32
    order_seq: np.uint64
    sent_bytes: np.uint32
    transport: np.uint32
    sent_ns: np.int64


class Uncertain(Message):
    """It may have reached the venue or not: to be reconciled. It has a `Sending`, and maybe a `Sent`, before it.

    `reason`: 1 the egress was killed, 2 the connection ended, 3 a halt cut the connection.
    """

    order_actor: np.uint16
    reason: np.uint16
    order_generation: np.uint32
    order_seq: np.uint64


class HaltAck(Message):
    """An actor's acknowledgement: from here on nothing leaves it. `epoch`: of the halt."""

    epoch: np.uint64
    seen_ns: np.int64
    halted: np.uint8
