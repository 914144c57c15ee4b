"""The ring: order, gates, wrap, observers, and what is refused at attach."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovereign.runtime import layout, limits
from sovereign.runtime.errors import LayoutError, LimitError, ResourceError
from sovereign.runtime.message import Message
from sovereign.runtime.observer import Observer
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import create_ring, open_ring
from sovereign.runtime.shm import Segment, segment_name, segments_of, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec
from sovereign.runtime.writer import Writer


class Item(Message):
    """What flows."""

    value: np.int64


class Other(Message):
    """Another layout."""

    value: np.int32


NODE = f"ring{os.getpid()}"


def _spec(capacity: int = 8, readers: tuple[ReaderSpec, ...] = (ReaderSpec("r"),)) -> RingSpec:
    return RingSpec("x", capacity, 64, (Item,), readers, 0)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    _unlink()


def _unlink() -> None:
    for segment in segments_of(NODE):
        unlink(segment)


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_interleaving_keeps_order_and_holds_the_writer_back(
    steps: list[tuple[bool, int]],
) -> None:
    _unlink()
    create_ring(_spec(), NODE)
    writer, reader = Writer(NODE, "x", (Item,)), Reader(NODE, "x", "r", (Item,))
    sent: list[int] = []
    got: list[int] = []
    for writes, count in steps:
        if writes:
            assert writer.free == 8 - (len(sent) - len(got))
            for _ in range(min(count, writer.free)):
                sent.append(len(sent))
                writer.put(Item, {"value": sent[-1]}, origin_ns=1)
            writer.publish()
        else:
            assert reader.available() == len(sent) - len(got)
            count = min(count, reader.available())
            for block in reader.slots(count):
                got += layout.payload(block, Item.dtype)["value"].tolist()
            reader.commit(count)
    assert got == sent[: len(got)]


def test_an_observer_never_holds_the_writer_and_counts_what_it_lost() -> None:
    create_ring(_spec(readers=()), NODE)
    writer, observer = Writer(NODE, "x", (Item,)), Observer(NODE, "x", "oldest")
    for value in range(20):
        writer.put(Item, {"value": value}, origin_ns=1)
        writer.publish()
    seen = layout.payload(observer.read(), Item.dtype)["value"].tolist()
    assert seen == list(range(12, 20))
    assert observer.overrun == 12


def test_no_cursor_shares_a_cache_line_with_another() -> None:
    create_ring(_spec(readers=(ReaderSpec("a"), ReaderSpec("b"))), NODE)
    cursors = [layout.RING_CURSOR_AT]
    cursors += [layout.reader_page(i) + layout.READER_CURSOR_AT for i in range(2)]
    cursors += [layout.reader_page(i) + layout.READER_PARKED_AT for i in range(2)]
    apart = np.diff(sorted(cursors))
    assert (apart >= limits.CACHE_LINE_BYTES).all()


def test_a_reader_cannot_write_slots() -> None:
    create_ring(_spec(), NODE)
    reader = Reader(NODE, "x", "r")
    with pytest.raises(ValueError, match="read-only"):
        reader.ring.slots()["sequence"][0] = 1


def test_another_schema_is_refused_with_both_layouts() -> None:
    create_ring(_spec(), NODE)
    with pytest.raises(LayoutError) as refused:
        Reader(NODE, "x", "r", (Other,))
    assert "int64" in str(refused.value)
    assert "int32" in str(refused.value)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (layout.RING_VERSION_AT, 99, "layout version"),
        (layout.RING_CAPACITY_AT, 16, "size does not fit"),
        (0, 0, "is not a ring"),
        (layout.RING_TEXT_BYTES_AT, 1 << 40, "corrupt"),
        (layout.reader_page(0) + layout.READER_CURSOR_AT, 5, "beyond the writer"),
    ],
)
def test_a_corrupt_or_foreign_ring_is_refused(at: int, value: int, said: str) -> None:
    create_ring(_spec(), NODE)
    Segment.open(segment_name(NODE, "x"), writable=True).word(at)[0] = value
    with pytest.raises(LayoutError, match=said):
        open_ring(NODE, "x")


def test_a_ring_that_stands_is_not_made_again() -> None:
    create_ring(_spec(), NODE)
    with pytest.raises(ResourceError, match="exists already"):
        create_ring(_spec(), NODE)


@pytest.mark.parametrize("capacity", [0, 1, 3, 1000, limits.RING_MAX_SLOTS * 2])
def test_a_capacity_that_does_not_work_is_refused(capacity: int) -> None:
    with pytest.raises(LimitError, match="not usable"):
        create_ring(_spec(capacity), NODE)


def test_exhausted_shared_memory_is_an_error_and_leaves_nothing() -> None:
    free = os.statvfs("/dev/shm")
    with pytest.raises(ResourceError, match="no shared memory"):
        Segment.create(segment_name(NODE, "big"), 2 * free.f_blocks * free.f_frsize)
    assert segments_of(NODE) == []
