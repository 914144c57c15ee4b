"""What a node that should end once it is idle still waits for, said every few seconds: nobody watches a silent command.

While the sources read and everyone moves on there is nothing to say. Said is: who has messages before it and takes none,
which answers are outstanding, and which source does not come to its end.
"""

from __future__ import annotations

from sovereign.runtime.watch import NodeView
from sovereign.runtime.wiring import in_order, sources

TELL_EVERY_S = 5.0
TOLD_MOST = 3


class Waiting:
    """Looks at one node. `look` now and then; its text is for people."""

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._sources = {actor.name for actor in sources(view.spec)}
        self._order = [actor.name for actor in in_order(view.spec)]
        self._next_s = 0.0
        self._before: dict[str, int] = {}

    def look(self, now_s: float) -> str:
        """What holds the node up, every 5 s; "" in between, and while it gets on. `now_s`: CLOCK_MONOTONIC."""
        if now_s < self._next_s:
            return ""
        first, self._next_s = not self._before, now_s + TELL_EVERY_S
        moved = {one.name: self._done(one.index) for one in self._view.spec.actors}
        stands = {name for name, count in moved.items() if count == self._before.get(name)}
        self._before = moved
        return "" if first else self._told(stands)

    def _done(self, index: int) -> int:
        counters = self._view.control.counters(index)
        return sum(counters[name] for name in ("events", "packets", "outputs", "ignored"))

    def _told(self, stands: set[str]) -> str:
        """`stands`: actors that did nothing since the last look."""
        counters = {
            one.name: self._view.control.counters(one.index) for one in self._view.spec.actors
        }
        behind = [
            (lag.reader, f"{lag.reader} is {lag.slots} messages behind {lag.ring}")
            for lag in self._view.lags()
            if lag.gate and lag.slots and lag.reader in stands
        ]
        behind.sort(key=lambda one: -self._order.index(one[0]) if one[0] in self._order else 0)
        found = behind + [
            (name, f"{name} waits for {block['inflight']} answers")
            for name, block in counters.items()
            if block["inflight"] and name in stands
        ]
        if not found:
            open_ones = [name for name in self._sources if not counters[name]["done"]]
            found = [(n, f"{n} has not come to its end") for n in sorted(open_ones) if n in stands]
        if not found:
            return ""
        texts = [text for _, text in found[:TOLD_MOST]]
        more = [f"{len(found) - TOLD_MOST} more"] if len(found) > TOLD_MOST else []
        why = f"; `sovereign logs {found[0][0]}` may say why"
        return f"still waiting: {', '.join([*texts, *more])}{why}"
