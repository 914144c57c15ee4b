"""Looking at a running node from outside: lags and idleness, through read-only mappings.

Looking never disturbs: nothing here can write to what it looks at.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from sovereign.runtime import layout
from sovereign.runtime.control import Control
from sovereign.runtime.host import load_entry
from sovereign.runtime.node_ring import NODE_RING
from sovereign.runtime.ring import Ring, open_ring
from sovereign.runtime.spec import ActorSpec, NodeSpec
from sovereign.runtime.wiring import sources

LOOKS = 3
LOOK_GAP_NS = 20_000_000


class Lag(NamedTuple):
    """How far one reader is behind one ring, in slots."""

    ring: str
    reader: str
    gate: bool
    slots: int
    overrun: int = 0
    detached: bool = False


def _most_of_a_step(writer: ActorSpec) -> int:
    return load_entry(writer.entry).max_step_outputs(writer.config)


class NodeView:
    """The rings and counters of one node, mapped read-only."""

    def __init__(self, spec: NodeSpec) -> None:
        self.spec = spec
        self.control = Control(spec.name)
        # Room that the writer of a feedback ring needs for one step, by (writer, reader).
        self._feedback = {
            (one.ring, actor.name): _most_of_a_step(spec.actors[one.actor_index])
            for actor in spec.actors
            for one in actor.inputs
            if one.feedback
        }
        names = [actor.output.name for actor in spec.actors if actor.output is not None]
        self.rings: dict[str, Ring] = {
            name: open_ring(spec.name, name) for name in (*names, NODE_RING)
        }

    def lags(self) -> list[Lag]:
        """Every reader's lag. The reader's cursor is read first, so a lag is never below zero."""
        found = []
        for name, ring in self.rings.items():
            for index, reader in enumerate(ring.readers):
                at = ring.reader_cursor(index)
                away = at == layout.DETACHED
                slots = 0 if away else ring.cursor - at
                lost = ring.overrun(index)
                found.append(Lag(name, reader.name, reader.gate, slots, lost, away))
        return found

    def lag_of(self, actor: str) -> int:
        """Slots that wait for `actor` on all its inputs."""
        return sum(lag.slots for lag in self.lags() if lag.reader == actor)

    def drained(self) -> bool:
        """Whether no gate is behind."""
        return all(lag.slots == 0 for lag in self.lags() if lag.gate)

    def full_feedback(self) -> list[tuple[str, str]]:
        """(writer, reader) of every feedback input whose ring has no room left for what one step may give."""
        found = []
        for name, ring in self.rings.items():
            for index, reader in enumerate(ring.readers):
                if (name, reader.name) in self._feedback:
                    left = ring.capacity - (ring.cursor - ring.reader_cursor(index))
                    if left < self._feedback[name, reader.name]:
                        found.append((name, reader.name))
        return found

    def inflight(self) -> int:
        """Requests that wait for an answer, of all actors."""
        return sum(self.control.counters(actor.index)["inflight"] for actor in self.spec.actors)

    def close(self) -> None:
        """Unmap."""
        for ring in self.rings.values():
            ring.segment.close()
        self.control.close()


class Quiet:
    """Whether the node has nothing left to do: its sources are done, and what they said is handled.

    Ticks go on for ever, so empty rings alone would be the wrong question. Asked is: has everyone passed what stood in
    the rings at the last look, as often as the wiring is deep? Then everything that the sources caused is through.
    Empty rings at several looks in a row answer sooner.
    """

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._sources = [actor.index for actor in sources(view.spec)]
        self._rounds = 2 * len(view.spec.actors) + 2
        self._empty = self._passed = 0
        self._marks: dict[str, int] = {}
        self._next_ns = 0

    def look(self, ended: set[int] | None = None) -> bool:
        """One look; True when the node is idle. `ended`: actors that have stopped by themselves (they count as done)."""
        now_ns = time.monotonic_ns()
        if now_ns < self._next_ns:
            return False
        self._next_ns = now_ns + LOOK_GAP_NS
        control = self._view.control
        done = all(
            control.counters(index)["done"] or index in (ended or set()) for index in self._sources
        )
        if not done or self._view.inflight():
            self._empty = self._passed = 0
            self._marks = {}
            return False
        self._empty = self._empty + 1 if self._view.drained() else 0
        if self._empty >= LOOKS:
            return True
        return self._look_at_marks()

    def _look_at_marks(self) -> bool:
        rings = self._view.rings
        if self._marks and all(ring.lowest_gate() >= self._marks[n] for n, ring in rings.items()):
            self._passed += 1
            self._marks = {}
        if not self._marks:
            self._marks = {name: ring.cursor for name, ring in rings.items()}
        return self._passed >= self._rounds
