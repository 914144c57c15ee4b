"""Scratch: memory that follows from the events alone, private to the process, rebuilt at each start.

    rebuild: for every event up to the committed input cursors, oldest first, the learner and not the handler

Guarantees: when the first new event comes, Scratch is what the learners made of the events before it; an event that
cannot be had any more ends the start with an error that names it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sovereign.actors.strategy.api import Strategy
from sovereign.runtime.archived import Archived
from sovereign.runtime.errors import ResourceError
from sovereign.runtime.history import History, replay
from sovereign.runtime.host import Host
from sovereign.runtime.message import Message
from sovereign.runtime.node_ring import AUDITOR_KIND
from sovereign.runtime.observer import Observer
from sovereign.runtime.quarantine import set_aside_of
from sovereign.runtime.ring import Ring, SlotArray


class ScratchMemory:
    """The record and where it lies. Every page is there before the loop begins, on huge pages where the host has them."""

    def __init__(self, kind: type[Message]) -> None:
        size = max(kind.dtype.itemsize, 1)
        try:
            self._mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise ResourceError(
                "no memory for Scratch", got=str(error), expected=f"{size} bytes"
            ) from error
        if size >= 1 << 21 and hasattr(mmap, "MADV_HUGEPAGE"):
            self._mapping.madvise(mmap.MADV_HUGEPAGE)
        self._kind = kind
        self._memory = np.frombuffer(self._mapping, np.uint8)
        self.address = int(self._memory.ctypes.data)
        array = self._memory[: kind.dtype.itemsize].view(kind.dtype).view(np.recarray)
        self.record: np.record = array[0]
        seen = array.view()
        seen.setflags(write=False)
        self.read_only: np.record = seen[0]
        self.wipe()

    def wipe(self) -> None:
        """As it is before the first event: zeros, and the defaults of the class."""
        self._memory[:] = 0
        for name, value in self._kind.defaults.items():
            self.record[name] = value


def _archives(host: Host, ring: Ring) -> list[Archived]:
    """Where the auditors that read `ring` write it."""
    found = []
    readers = [one.name for one in ring.readers]
    for actor in host.node_spec.actors:
        if actor.kind == AUDITOR_KIND and actor.name in readers:
            own = str(getattr(actor.config, "dir", ""))
            index = readers.index(actor.name)
            folder = Path(own) if own else host.archive_dir
            found.append(Archived(folder, ring, lambda i=index: ring.reader_cursor(i)))  # type: ignore[misc]
    return found


def events_so_far(host: Host, strategy: type[Strategy]) -> Iterator[tuple[int, SlotArray]]:
    """(input, run of slots): all that `strategy` asks of what was committed. InputError when it cannot be had."""
    spans = []
    observers = []
    for reader, spec in zip(host.inputs, host.input_specs, strict=True):
        last, asked = reader.cursor, strategy.history
        first = 1 if asked is None else max(1, last - asked + 1)
        observers.append(Observer(host.node, spec.ring))
        spans.append((History(observers[-1], _archives(host, reader.ring)), first, last))
    aside = [set_aside_of(host.node_spec, host.name, reader.ring) for reader in host.inputs]
    for number, slots in replay(spans):
        # What killed the actor was passed over, and is not learned from either.
        yield number, slots[~np.isin(slots["sequence"], aside[number])] if aside[number] else slots
    for observer in observers:
        observer.close()


def warn_when_nothing_is_kept(host: Host) -> None:
    """A ring that no auditor reads forgets: say so while there is time."""
    for reader in host.inputs:
        if not _archives(host, reader.ring):
            host.log.warning(
                "Scratch may not be rebuilt after a crash: no auditor reads the ring",
                ring=reader.ring.name,
                slots=reader.ring.capacity,
            )
