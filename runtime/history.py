"""What stood in a ring, in order: from the ring as long as it holds it, and before that from the archive.

A ring of capacity C holds its last C slots, and its writer overwrites them while they are read: so each batch is
copied, and its sequences are looked at again behind the copy. What was overwritten has passed every gate; where an
auditor is one of them, it stands in the archive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sovereign.runtime import limits
from sovereign.runtime.archived import Archived, run_length
from sovereign.runtime.errors import InputError
from sovereign.runtime.observer import Observer
from sovereign.runtime.ring import SlotArray


class History:
    """The slots of one ring by sequence. `archives`: where its auditors write."""

    def __init__(self, observer: Observer, archives: Sequence[Archived]) -> None:
        self._observer, self._archives = observer, archives

    def read(self, first: int, last: int) -> SlotArray:
        """A run of slots from `first` on, at most to `last`. InputError names what is missing."""
        most = min(limits.REBUILD_BATCH_SLOTS, last - first + 1)
        slots = self._from_ring(first, most)
        for archive in self._archives:
            if len(slots):
                break
            slots = archive.read(first, most)
        if not len(slots):
            raise self._missing(first, last)
        return slots

    def _from_ring(self, first: int, most: int) -> SlotArray:
        """Copies, up to the first slot that was overwritten."""
        ring = self._observer.ring
        self._observer.cursor = first - 1
        slots = self._observer.read(most if first > ring.cursor - ring.capacity else 0)
        return slots[: run_length(slots, first)]

    def _missing(self, first: int, last: int) -> InputError:
        ring = self._observer.ring
        oldest = max(1, ring.cursor - ring.capacity + 1)
        found = [one.following(first) for one in self._archives]
        until = min([oldest, *(at for at in found if at is not None)])
        folders = ", ".join(str(one.folder) for one in self._archives)
        return InputError(
            f"the history of ring {ring.name} is not whole: {first} to {min(until - 1, last)} are missing",
            where=folders or f"/dev/shm{ring.segment.name}",
            got=f"the ring holds {oldest} to {ring.cursor}; "
            + ("its archive does not hold the rest" if folders else "no auditor reads it"),
            expected=f"every message from {first} to {last}",
            hint=f"let an auditor read {ring.name}, declare a shorter `history`, or begin anew: `sovereign up --fresh`",
        )


class _Tape:
    """One ring's history from `first` to `last`, a batch at hand."""

    def __init__(self, index: int, history: History, first: int, last: int) -> None:
        self.index, self._history, self._next, self._last = index, history, first, last
        self._batch: SlotArray | None = None

    def batch(self) -> SlotArray | None:
        """What follows; None at the end."""
        if (self._batch is None or not len(self._batch)) and self._next <= self._last:
            self._batch = self._history.read(self._next, self._last)
            self._next += len(self._batch)
        return self._batch if self._batch is not None and len(self._batch) else None

    def take(self, before_ns: int | None) -> SlotArray:
        """The leading slots of the batch: one, and what follows it that was published before `before_ns`."""
        assert self._batch is not None
        count = len(self._batch)
        if before_ns is not None:
            later = self._batch["publish_ns"] >= before_ns
            count = max(1, int(later.argmax()) if later.any() else count)
        taken, self._batch = self._batch[:count], self._batch[count:]
        return taken


def replay(spans: Sequence[tuple[History, int, int]]) -> Iterator[tuple[int, SlotArray]]:
    """Every ring's slots (history, first, last), as (ring's place, run of slots).

    Each ring in its own order; between rings by the time of publication, and at the same nanosecond by place.
    """
    tapes = [_Tape(i, *span) for i, span in enumerate(spans)]
    while live := [(tape, batch) for tape in tapes if (batch := tape.batch()) is not None]:
        heads: list[tuple[int, Any]] = [(int(batch[0]["publish_ns"]), tape) for tape, batch in live]
        _, tape = min(heads, key=lambda head: head[0])
        others = [ns for ns, other in heads if other is not tape]
        yield tape.index, tape.take(min(others) if others else None)
