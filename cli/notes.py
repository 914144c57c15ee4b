"""Counts that a table has no column for, as lines under it: what was refused, lost, malformed, uncertain; and by which rule."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from sovereign.messages.orders import OrderRefused
from sovereign.runtime import layout
from sovereign.runtime.ring import Ring

LINE_MAX = 100
# Counters that say how much went well, so that the others can be judged by them.
_WELL = (("signed", "signed"), ("sent", "sent"))
_ILL = (
    ("refused", "refused"),
    ("uncertain", "uncertain (may have left, or not)"),
    ("malformed", "malformed"),
    ("gaps", "missing in gaps"),
    ("duplicates", "duplicates"),
    ("late", "late"),
    ("implausible", "implausible jumps"),
    ("overflows", "values that do not fit"),
    ("drops", "dropped"),
    ("full_drops", "dropped because the ring was full"),
    ("channel_drops", "dropped, of one channel too many"),
    ("unheard", "refused by the venue's host"),
    ("ticks_missed", "ticks missed"),
    ("overrun", "overrun"),
    ("quarantined", "quarantined"),
    ("errors", "errors"),
    ("reconnects", "reconnects"),
)
Rules = dict[str, int]


def rules_of(ring: Ring, since_ns: int) -> Rules:
    """How many of the refusals that still stand in a ring came from which rule. `since_ns`: CLOCK_REALTIME of the first."""
    slots = ring.slots()
    mine = slots[(slots["type_id"] == OrderRefused.type_id) & (slots["publish_ns"] >= since_ns)]
    mine = mine[mine["sequence"] <= ring.cursor]
    if not len(mine):
        return {}
    rules = layout.payload(np.ascontiguousarray(mine), OrderRefused.dtype)["rule"]
    found, counts = np.unique(rules, axis=0, return_counts=True)
    texts = [one.tobytes().rstrip(b"\0").decode(errors="replace") for one in found]
    return dict(sorted(zip(texts, map(int, counts), strict=True), key=lambda one: -one[1]))


def _refused(count: int, rules: Rules) -> str:
    """The rules of the newest refusals, and how many older ones the ring has no more."""
    parts = [f"{rule} {times}" for rule, times in rules.items()]
    if rules and (older := count - sum(rules.values())) > 0:
        parts.append(f"earlier ones {older}")
    return f"{count} refused" + (f" ({', '.join(parts)})" if parts else "")


def notes(rows: list[dict[str, Any]], refusals: dict[str, Rules]) -> list[str]:
    """A line an actor that has something to tell; rows as in `ps --json`, `refusals` by actor."""
    found = []
    for row in rows:
        counters, actor = row["counters"], row["actor"]
        parts = [
            _refused(counters[name], refusals.get(actor, {}))
            if name == "refused"
            else f"{counters[name]} {word}"
            for name, word in _ILL
            if counters[name]
        ]
        if not parts:
            continue
        well = [f"{counters[name]} {word}" for name, word in _WELL if counters[name]]
        text = f"{actor}: {', '.join([*well, *parts])}"
        found += textwrap.wrap(text, LINE_MAX, subsequent_indent="  ", break_long_words=False)
    return found
