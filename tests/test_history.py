"""What stood in a ring: from the ring, from sealed and open segments, and what is said when it is nowhere."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sovereign.actors.auditor.recorder import Recorder
from sovereign.runtime.archived import Archived, segment_path
from sovereign.runtime.errors import InputError
from sovereign.runtime.history import History, replay
from sovereign.runtime.message import Message
from sovereign.runtime.observer import Observer
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import create_ring
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec
from sovereign.runtime.writer import Writer

RECORDS = 256
CAPACITY = 64


class Item(Message):
    """What flows."""

    value: np.int64


class Taped:
    """A ring with an auditor's reader, whose slots go into an archive as far as `record` says."""

    def __init__(self, node: str, name: str, archive: Path) -> None:
        create_ring(RingSpec(name, CAPACITY, 64, (Item,), (ReaderSpec("auditor"),), 0), node)
        self.writer = Writer(node, name, (Item,))
        self.reader = Reader(node, name, "auditor")
        self.recorder = Recorder(archive, node, self.reader.ring, RECORDS)
        self.archived = Archived(archive, self.reader.ring, lambda: self.reader.cursor)
        self.history = History(Observer(node, name), [self.archived])

    def put(self, count: int, *, record: bool = True, ns: int = 0) -> None:
        """Publish, a slot at a time; `ns`: between two of them."""
        for _ in range(count):
            value = self.writer.cursor + 1
            self.writer.put(Item, {"value": value}, origin_ns=1, publish_ns=value * (ns or 1))
            self.writer.publish()
            if record:
                self.record()

    def record(self) -> None:
        """What the auditor does: write, then commit."""
        ready = self.reader.available()
        self.recorder.write(self.reader.cursor + 1, self.reader.slots(ready))
        self.reader.commit(ready)

    def values(self, first: int, last: int) -> list[int]:
        """The payloads, by the history."""
        found: list[int] = []
        while len(found) <= last - first:
            slots = self.history.read(first + len(found), last)
            found += slots["payload"].copy().view(np.int64)[:: 16 // 8].tolist()
        return found


@pytest.fixture
def node() -> Iterator[str]:
    name = f"history{os.getpid()}x{time.monotonic_ns() % 1_000_000}"
    yield name
    for segment in segments_of(name):
        unlink(segment)


def test_all_that_there_was_from_segments_sealed_and_open_and_from_the_ring(
    node: str, tmp_path: Path
) -> None:
    ring = Taped(node, "r", tmp_path)
    ring.put(3 * RECORDS + 100)
    ring.put(CAPACITY // 2, record=False)
    last = ring.writer.cursor
    assert ring.recorder.sealed == 3
    assert ring.values(1, last) == list(range(1, last + 1))
    assert ring.values(RECORDS, RECORDS + 1) == [RECORDS, RECORDS + 1]
    assert ring.values(last, last) == [last]


def test_an_archive_that_grows_is_looked_at_again(node: str, tmp_path: Path) -> None:
    ring = Taped(node, "r", tmp_path)
    ring.put(100)
    assert ring.values(1, 100) == list(range(1, 101))
    ring.put(RECORDS)
    assert ring.values(1, 300) == list(range(1, 301))


def test_what_the_auditor_did_not_commit_does_not_count(node: str, tmp_path: Path) -> None:
    """A slot may be half written in the file until the auditor's cursor is past it."""
    ring = Taped(node, "r", tmp_path)
    ring.put(10, record=False)
    ring.recorder.write(1, ring.reader.slots(10))
    assert len(ring.archived.read(1, 10)) == 0
    ring.reader.commit(4)
    assert ring.archived.read(1, 10)["sequence"].tolist() == [1, 2, 3, 4]


def test_a_torn_or_foreign_slot_ends_what_can_be_had(node: str, tmp_path: Path) -> None:
    ring = Taped(node, "r", tmp_path)
    ring.put(200)
    path = segment_path(ring.archived.folder, 1)
    at = 4096 + 64 * 49
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(64))
    assert len(ring.archived.read(1, 200)) == 49
    with pytest.raises(InputError) as missing:
        ring.values(1, 200)
    assert "50 to 136 are missing" in str(missing.value)
    assert "the ring holds 137 to 200; its archive does not hold the rest" in missing.value.got


@pytest.mark.parametrize(("gone", "said"), [(1, "1 to 256"), (2, "257 to 512")])
def test_a_segment_that_is_gone_is_named_by_its_sequences(
    node: str, tmp_path: Path, gone: int, said: str
) -> None:
    ring = Taped(node, "r", tmp_path)
    ring.put(3 * RECORDS)
    segment_path(ring.archived.folder, (gone - 1) * RECORDS + 1).unlink()
    with pytest.raises(InputError, match=f"{said} are missing") as missing:
        ring.values(1, 3 * RECORDS)
    assert str(ring.archived.folder) in missing.value.where
    assert "declare a shorter `history`" in missing.value.hint


def test_without_an_archive_only_the_ring_is_asked(node: str, tmp_path: Path) -> None:
    ring = Taped(node, "r", tmp_path)
    ring.put(100)
    shutil.rmtree(tmp_path / "r")
    assert ring.values(100 - CAPACITY + 1, 100) == list(range(37, 101))
    with pytest.raises(InputError, match="36 to 36 are missing"):
        ring.values(36, 100)


def test_slots_that_are_overwritten_between_two_reads_come_from_the_archive(
    node: str, tmp_path: Path
) -> None:
    ring = Taped(node, "r", tmp_path)
    ring.put(CAPACITY)
    first = ring.history.read(1, 16)
    ring.put(CAPACITY)  # everything that the ring held is another
    second = ring.history.read(17, CAPACITY)
    assert [*first["sequence"], *second["sequence"]] == list(range(1, CAPACITY + 1))


def _order(*rings: Taped) -> list[tuple[int, int]]:
    spans = [(ring.history, 1, ring.writer.cursor) for ring in rings]
    return [(place, int(one)) for place, slots in replay(spans) for one in slots["sequence"]]


def test_rings_are_replayed_by_time_of_publication_each_in_its_own_order(
    node: str, tmp_path: Path
) -> None:
    slow, fast, none = (Taped(node, name, tmp_path) for name in ("slow", "fast", "none"))
    slow.put(300, ns=30)
    fast.put(900, ns=10)
    order = _order(slow, fast, none)
    expected = sorted(
        [(30 * n, 0, n) for n in range(1, 301)] + [(10 * n, 1, n) for n in range(1, 901)]
    )
    assert order == [(place, sequence) for _, place, sequence in expected]


def test_a_clock_that_went_back_does_not_change_a_rings_own_order(
    node: str, tmp_path: Path
) -> None:
    one, two = Taped(node, "one", tmp_path), Taped(node, "two", tmp_path)
    times: dict[Any, list[int]] = {one: [10, 50, 20, 60], two: [30, 40, 55, 70]}
    for ring, values in times.items():
        for at in values:
            ring.writer.put(Item, {"value": at}, origin_ns=1, publish_ns=at)
        ring.writer.publish()
    order = _order(one, two)
    assert [n for place, n in order if place == 0] == [1, 2, 3, 4]
    assert [n for place, n in order if place == 1] == [1, 2, 3, 4]
    assert order == [(0, 1), (1, 1), (1, 2), (0, 2), (0, 3), (1, 3), (0, 4), (1, 4)]
