"""Damaged, cut and foreign rings: refused with what was found and what was expected, and never a crash."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovereign.runtime import layout, limits
from sovereign.runtime.control import Control, create_node
from sovereign.runtime.errors import LayoutError, LimitError
from sovereign.runtime.message import Message
from sovereign.runtime.observer import Observer
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import create_ring, open_ring
from sovereign.runtime.ring_description import WORDS, digest
from sovereign.runtime.shm import SHM_FOLDER, Segment, segment_name, segments_of, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec
from sovereign.runtime.writer import Writer


class Item(Message):
    """What flows."""

    value: np.int64


NODE = f"bad{os.getpid()}"
FILE = SHM_FOLDER / f"sovereign.{NODE}.x"
READERS = (ReaderSpec("gate"), ReaderSpec("other", gate=False))
WHOLE = layout.slots_at(len(READERS)) + 8 * 64
TEXT_AT = limits.PAGE_BYTES


@pytest.fixture(autouse=True)
def _ring() -> Iterator[None]:
    _made()
    yield
    for name in segments_of(NODE):
        unlink(name)


def _made() -> Segment:
    """A ring of eight slots with three messages in it, of which the gate took one; mapped for damage."""
    unlink(segment_name(NODE, "x"))
    create_ring(RingSpec("x", 8, 64, (Item,), READERS, 5), NODE, generation=3)
    writer, reader = Writer(NODE, "x", (Item,)), Reader(NODE, "x", "gate")
    for value in range(3):
        writer.put(Item, {"value": value}, origin_ns=1)
    writer.publish()
    reader.commit(1)
    return Segment.open(segment_name(NODE, "x"), writable=True)


def _refused() -> LayoutError:
    """What all who attach are told; it names the segment, what was found and what was expected."""
    told = set()
    for attach in (
        lambda: open_ring(NODE, "x"),
        lambda: Writer(NODE, "x"),
        lambda: Reader(NODE, "x", "gate"),
        lambda: Observer(NODE, "x"),
    ):
        with pytest.raises(LayoutError) as refused:
            attach()
        told.add(str(refused.value))
    assert len(told) == 1
    error = refused.value
    assert error.where == f"/dev/shm/sovereign.{NODE}.x"
    assert error.got
    assert error.expected
    return error


def _sealed(segment: Segment, text: bytes) -> None:
    """Put another description there, with a digest that fits: as somebody else's program might have written it."""
    segment.memory[TEXT_AT : TEXT_AT + len(text)] = np.frombuffer(text, np.uint8)
    segment.word(layout.RING_TEXT_BYTES_AT)[0] = len(text)
    segment.word(layout.RING_DIGEST_AT)[0] = digest(segment, text)


def _text(segment: Segment) -> bytes:
    length = int(segment.word(layout.RING_TEXT_BYTES_AT)[0])
    return segment.memory[TEXT_AT : TEXT_AT + length].tobytes()


@pytest.mark.parametrize("bit", [0, 1, 7, 15, 31, 47, 62, 63])
@pytest.mark.parametrize("at", [0, layout.RING_DIGEST_AT, *WORDS.values()])
def test_a_flipped_bit_in_any_word_of_the_description_is_refused(at: int, bit: int) -> None:
    segment = Segment.open(segment_name(NODE, "x"), writable=True)
    segment.memory[at + bit // 8] ^= 1 << bit % 8
    _refused()


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        ("capacity", 0, "capacity"),
        ("capacity", -8, "capacity"),
        ("capacity", 12, "capacity"),
        ("capacity", 2 * limits.RING_MAX_SLOTS, "capacity"),
        ("capacity", 16, "does not fit"),
        ("stride", 0, "slot size"),
        ("stride", 48, "slot size"),
        ("stride", -64, "slot size"),
        ("stride", 1 << 62, "slot size"),
        ("readers", -1, "number of readers"),
        ("readers", limits.RING_MAX_READERS + 1, "number of readers"),
        ("readers", 1, "does not fit"),
        ("actor", layout.NO_ACTOR + 1, "number of its actor"),
        ("generation", -1, "generation"),
        ("bytes", 0, "does not fit"),
        ("text", 0, "description is corrupt"),
        ("text", -1, "description is corrupt"),
        ("text", limits.RING_SCHEMA_PAGES * limits.PAGE_BYTES + 1, "description is corrupt"),
        ("version", limits.RING_LAYOUT_VERSION - 1, "layout version"),
        ("version", limits.RING_LAYOUT_VERSION + 1, "layout version"),
    ],
)
def test_a_word_out_of_its_limits_is_named_with_both_values(
    word: str, value: int, said: str
) -> None:
    segment = Segment.open(segment_name(NODE, "x"), writable=True)
    segment.word(WORDS[word])[0] = value
    assert said in _refused().what


def test_a_version_says_both() -> None:
    Segment.open(segment_name(NODE, "x"), writable=True).word(layout.RING_VERSION_AT)[0] = 1
    error = _refused()
    assert (error.got, error.expected) == ("1", str(limits.RING_LAYOUT_VERSION))


@pytest.mark.parametrize(
    "size",
    [0, 1, 4095, 4096, 5000, limits.RING_SCHEMA_PAGES * 4096, WHOLE - 4096, WHOLE - 1, WHOLE + 1],
)
def test_a_segment_that_was_cut_or_grew_is_refused_with_both_sizes(size: int) -> None:
    os.truncate(FILE, size)
    assert f"{size} bytes" in _refused().got


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 60_000,
        b'{"ring":"x","types":[],"readers":' + b"[" * 60_000,
        b'{"ring":"x"}',
        b'{"ring":"x","types":[1],"readers":[]}',
        b'{"ring":"x","types":[{"name":"Item"}],"readers":[]}',
        b'{"ring":7,"types":[],"readers":[]}',
        b'{"ring":"x","types":[],"readers":[],"more":1}',
        b'{"ring":"x","types":[],"readers":[{"name":"gate","gate":1}]}',
    ],
)
def test_a_description_that_is_none_is_refused_even_with_a_fitting_digest(text: bytes) -> None:
    _sealed(Segment.open(segment_name(NODE, "x"), writable=True), text)
    assert "description is corrupt" in _refused().what


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"ring":"x"', b'"ring":"y"', "another ring"),
        (b'"schema_id":"', b'"schema_id":"f', "schema is not that"),
        (b'"schema_id":"', b'"schema_id":"g', "description is corrupt"),
        (b'"bytes":8', b'"bytes":80', "do not hold"),
        (b'"name":"gate"', b'"name":"late"', "readers' pages"),
        (b'"gate":false', b'"gate":true', "readers' pages"),
    ],
)
def test_a_description_that_contradicts_the_segment_is_refused(
    old: bytes, new: bytes, said: str
) -> None:
    segment = Segment.open(segment_name(NODE, "x"), writable=True)
    assert old in _text(segment)
    _sealed(segment, _text(segment).replace(old, new, 1))
    assert said in _refused().what


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("at", "value"),
    [(layout.READER_GATE_AT, 2), (layout.READER_GATE_AT, -1), (layout.READER_NAME_AT, 0xFFFF)],
)
def test_a_readers_page_that_contradicts_the_description_is_refused(
    index: int, at: int, value: int
) -> None:
    segment = Segment.open(segment_name(NODE, "x"), writable=True)
    segment.word(layout.reader_page(index) + at)[0] = value
    assert "readers' pages" in _refused().what


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (layout.reader_page(0), 4, "beyond the writer"),
        (layout.reader_page(1), 1 << 40, "beyond the writer"),
        (layout.reader_page(0), -1, "cursor of reader 0 is corrupt"),
        (layout.reader_page(1), -(2**63), "cursor of reader 1 is corrupt"),
        (layout.RING_CURSOR_AT, 0, "beyond the writer"),
        (layout.RING_CURSOR_AT, -1, "cursor is corrupt"),
    ],
)
def test_cursors_that_cannot_be_are_refused(at: int, value: int, said: str) -> None:
    Segment.open(segment_name(NODE, "x"), writable=True).word(at)[0] = value
    assert said in _refused().what


def test_a_detached_gate_is_no_gate_that_is_beyond_the_writer() -> None:
    segment = Segment.open(segment_name(NODE, "x"), writable=True)
    segment.word(layout.reader_page(0) + layout.READER_CURSOR_AT)[0] = layout.DETACHED
    assert Reader(NODE, "x", "gate").detached


def test_what_could_not_be_opened_is_not_made() -> None:
    for spec in (
        RingSpec("y", 8, limits.SLOT_MAX_BYTES + 64, (Item,), READERS, 0),
        RingSpec("y", 8, 64, (Item,), tuple(ReaderSpec(f"r{i}") for i in range(33)), 0),
    ):
        with pytest.raises(LimitError):
            create_ring(spec, NODE)


@pytest.mark.parametrize("actors", [0, 3, -1, 1 << 60])
def test_a_nodes_page_that_does_not_fit_its_size_is_refused(actors: int) -> None:
    create_node(NODE, 2)
    Control(NODE).close()
    Segment.open(segment_name(NODE), writable=True).word(layout.NODE_ACTORS_AT)[0] = actors
    with pytest.raises(LayoutError) as refused:
        Control(NODE)
    assert f"{actors} actors" in refused.value.got


# The words, the cursor, the beginning of the text, and what readers' pages hold: where damage could mislead.
PLACES = st.one_of(
    st.integers(0, 96),
    st.integers(layout.RING_CURSOR_AT, layout.RING_CURSOR_AT + 8),
    st.integers(TEXT_AT, TEXT_AT + 400),
    st.builds(lambda page, at: layout.reader_page(page) + at, st.integers(0, 1), st.integers(0, 8)),
    st.builds(
        lambda page, at: layout.reader_page(page) + layout.READER_GATE_AT + at,
        st.integers(0, 1),
        st.integers(0, 80),
    ),
    st.integers(0, WHOLE - 9),
)
DAMAGE = st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)


@given(damage=DAMAGE, sealed=st.booleans(), size=st.one_of(st.none(), st.integers(0, WHOLE + 5000)))
@settings(max_examples=300, deadline=None)
def test_whatever_the_first_pages_hold_a_ring_is_opened_or_refused(
    damage: list[tuple[int, bytes]], sealed: bool, size: int | None
) -> None:
    segment = _made()
    for at, data in damage:
        segment.memory[at : at + len(data)] = np.frombuffer(data, np.uint8)
    if sealed:
        length = int(segment.word(layout.RING_TEXT_BYTES_AT)[0])
        if 0 < length < limits.RING_SCHEMA_PAGES * limits.PAGE_BYTES:
            segment.word(layout.RING_DIGEST_AT)[0] = digest(segment, _text(segment))
    segment.close()
    if size is not None:
        os.truncate(FILE, size)
    refused: LayoutError | None = None
    try:
        ring = open_ring(NODE, "x")
    except LayoutError as error:
        refused = error
    if refused is not None:
        assert refused.got
        assert refused.expected
        return
    # What is opened can be used, all of it: reading, writing and looking stay within the mapping.
    reader = Reader(NODE, "x", ring.readers[0].name)
    Observer(NODE, "x", "oldest").read()
    if not reader.detached:
        for part in reader.slots(reader.available()):
            part.tobytes()
    assert Writer(NODE, "x").free <= ring.capacity
    ring.slots().tobytes()


@given(words=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=9, max_size=9))
@settings(max_examples=200, deadline=None)
def test_random_words_are_refused(words: list[int]) -> None:
    segment = _made()
    for at, value in zip(WORDS.values(), words, strict=True):
        segment.word(at)[0] = value
    segment.close()
    with pytest.raises(LayoutError):
        open_ring(NODE, "x")
