"""Exactly once where the outside world is: an egress's ring and the venue's arrivals, against the orders that were signed.

Each order: the intent before each attempt, one end. Where the venue deduplicates the end is `Sent`, and the same bytes may
have come as often as was tried; elsewhere there is one attempt, and the end is `Sent` (came once) or `Uncertain` (came
once or not at all). Never other bytes under a name, never nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from sovereign.actors.egress.actor import EgressConfig
from sovereign.benchmarks.chaos.compare import Findings, timeless
from sovereign.benchmarks.chaos.receiver import Name
from sovereign.messages.orders import Sending, Sent, SignedOrder, Uncertain
from sovereign.runtime import layout
from sovereign.runtime.message import Message
from sovereign.runtime.ring import SlotArray
from sovereign.runtime.spec import NodeSpec


def _of(slots: SlotArray, kind: type[Message]) -> list[tuple[Name, np.void]]:
    """The payloads of a kind, in order, and the orders that they name."""
    mine = layout.payload(np.ascontiguousarray(slots[slots["type_id"] == kind.type_id]), kind.dtype)
    names = zip(mine["order_actor"], mine["order_generation"], mine["order_seq"], strict=True)
    return [(Name(int(a), int(g), int(s)), row) for (a, g, s), row in zip(names, mine, strict=True)]


def _signed(slots: SlotArray) -> Iterator[tuple[Name, bytes]]:
    """The orders that were signed, and the bytes that must leave."""
    names = [name for name, _ in _of(slots, SignedOrder)]
    mine = slots[slots["type_id"] == SignedOrder.type_id]
    for name, slot in zip(names, mine, strict=True):
        yield name, bytes(slot["payload"])[: SignedOrder.dtype.itemsize]


def check_egress(
    spec: NodeSpec, egress: str, recorded: dict[str, SlotArray], arrived: dict[Name, list[bytes]]
) -> Findings:
    """One egress against the signer's ring and the venue."""
    found, ring = Findings(), recorded[egress]
    config = spec.actor(egress).config
    assert isinstance(config, EgressConfig)
    signed = recorded[spec.actor(egress).inputs[0].ring]
    orders: dict[Name, bytes] = {}
    for name, data in _signed(signed):
        if name in orders:
            found.note(f"{egress}: {name} stands in the signer's ring twice", repeated=1)
        orders[name] = data
    tried: dict[Name, list[int]] = defaultdict(list)
    for name, row in _of(ring, Sending):
        tried[name].append(int(row["attempt"]))
    sent = [name for name, _ in _of(ring, Sent)]
    unsure = [name for name, _ in _of(ring, Uncertain)]
    ends = Counter(sent + unsure)
    doubtful = set(unsure)
    if config.dedupes and unsure:
        found.note(f"{egress}: {len(unsure)} uncertain although the venue dedupes", wrong=1)
    for name, data in orders.items():
        _one(found, f"{egress}, {name}", (tried[name], ends[name], arrived.get(name, []), data),
             dedupes=config.dedupes, sure=name not in doubtful)  # fmt: skip
    strangers = (set(arrived) | set(tried) | set(ends)) - set(orders)
    if strangers:
        found.note(
            f"{egress}: names that nobody signed: {sorted(strangers)[:3]}", wrong=len(strangers)
        )
    return found


def _one(
    found: Findings,
    what: str,
    facts: tuple[list[int], int, list[bytes], bytes],
    *,
    dedupes: bool,
    sure: bool,
) -> None:
    tries, ends, arrivals, data = facts
    if tries != list(range(1, len(tries) + 1)) or (len(tries) > 1 and not dedupes):
        found.note(f"{what}: attempts {tries}", repeated=1)
    if ends != 1:
        found.note(f"{what}: {ends} ends", lost=int(ends < 1), repeated=max(0, ends - 1))
    if any(one != data for one in arrivals):
        found.note(f"{what}: other bytes arrived than were signed", wrong=1)
    if not arrivals and sure:
        found.note(f"{what}: never arrived", lost=1)
    if len(arrivals) > max(1, len(tries)):
        found.note(f"{what}: arrived {len(arrivals)} times in {len(tries)} attempts", repeated=1)


def calm(slots: SlotArray, spec: NodeSpec, egress: str, unsure: set[int]) -> SlotArray:
    """An egress's slots as if it had never died: one intent an order, its attempt 1; ends of the `unsure` left out.

    `unsure`: causes whose end was `Uncertain`.
    """
    found = timeless(slots, spec, egress)
    found["sequence"] = 0
    for kind in (Sending, Sent):
        first = layout.SLOT_PAYLOAD + int(kind.dtype.fields["attempt"][1])  # type: ignore[index]
        raw = found.view(np.uint8).reshape(len(found), -1)
        raw[found["type_id"] == kind.type_id, first : first + 2] = [1, 0]
    causes = np.isin(found["cause_seq"], np.array(sorted(unsure), np.uint64))
    ends = np.isin(found["type_id"], [Sent.type_id, Uncertain.type_id])
    found = found[~(causes & ends)]
    again = np.zeros(len(found), bool)
    if len(found) > 1:
        intent = found["type_id"][1:] == Sending.type_id
        again[1:] = intent & np.array(
            [a == b for a, b in zip(found[1:].tolist(), found[:-1].tolist(), strict=True)]
        )
    return found[~again]


def unsure_causes(slots: SlotArray) -> set[int]:
    """The signer's sequences whose sending ended uncertain."""
    return set(slots["cause_seq"][slots["type_id"] == Uncertain.type_id].tolist())
