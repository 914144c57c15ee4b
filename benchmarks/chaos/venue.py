"""Exactly once where the outside world is: an egress's ring and the venue's arrivals, against the orders that were signed.

Each order: the intent before each attempt, and one of these ends. `Sent`: the bytes came once; or, where the venue
deduplicates, as often as was tried. `Uncertain` where it does not deduplicate: one attempt, which came once or not at
all. Over TCP also `Sent` and then, when the connection ended before they were acknowledged, `Uncertain`: they may have
come or not. Never other bytes under a name, never nothing without a word, never more often than was tried.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from sovereign.actors.egress.actor import EgressConfig
from sovereign.actors.egress.transport import TcpTransport
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
    ends = _ends(ring)
    allowed = _allowed(config)
    for name, data in orders.items():
        came = arrived.get(name, [])
        _one(found, f"{egress}, {name}", (tried[name], ends[name], came, data), allowed)
        if len(tried[name]) > 1 and not config.dedupes:
            found.note(f"{egress}, {name}: tried {len(tried[name])} times", repeated=1)
    strangers = (set(arrived) | set(tried) | set(ends)) - set(orders)
    if strangers:
        found.note(
            f"{egress}: names that nobody signed: {sorted(strangers)[:3]}", wrong=len(strangers)
        )
    return found


def _ends(ring: SlotArray) -> dict[Name, tuple[str, ...]]:
    """What was said of each order's end, in order."""
    said: dict[Name, tuple[str, ...]] = defaultdict(tuple)
    for slot in ring:
        for kind in (Sent, Uncertain):
            if slot["type_id"] == kind.type_id:
                row = kind.view(bytes(slot["payload"])[: kind.dtype.itemsize])
                name = Name(*(int(row[f"order_{part}"]) for part in ("actor", "generation", "seq")))
                said[name] += (kind.__name__,)
    return said


def _allowed(config: EgressConfig) -> set[tuple[str, ...]]:
    """The ends that an order may have."""
    found: set[tuple[str, ...]] = {("Sent",)}
    if not config.dedupes:
        found.add(("Uncertain",))
    if isinstance(config.transport, TcpTransport):
        found.add(("Sent", "Uncertain"))
    return found


def _one(
    found: Findings,
    what: str,
    facts: tuple[list[int], tuple[str, ...], list[bytes], bytes],
    allowed: set[tuple[str, ...]],
) -> None:
    tries, ends, arrivals, data = facts
    if tries != list(range(1, len(tries) + 1)):
        found.note(f"{what}: attempts {tries}", repeated=1)
    if not ends:
        found.note(f"{what}: no end", lost=1)
    elif ends not in allowed:
        twice = len(set(ends)) < len(ends)
        found.note(f"{what}: ends {ends}", repeated=int(twice), wrong=int(not twice))
    if any(one != data for one in arrivals):
        found.note(f"{what}: other bytes arrived than were signed", wrong=1)
    if not arrivals and ends == ("Sent",):
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
