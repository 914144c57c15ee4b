"""The state segment: what is refused, and what recovery chooses."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sovereign.runtime import commit, layout, limits
from sovereign.runtime.errors import LayoutError, PluginError
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import create_ring, open_ring, remove_ring
from sovereign.runtime.shm import SHM_FOLDER, Segment, segment_name, segments_of, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec
from sovereign.runtime.state import StateStore
from sovereign.runtime.state_segment import StateSegment
from sovereign.runtime.step import Step
from sovereign.runtime.writer import Writer


class Item(Message):
    """What flows."""

    value: np.int64


class Total(Message):
    """What is kept; begins at 100."""

    total: np.int64 = 100


class Wider(Message):
    """The same with one field more."""

    total: np.int64 = 100
    extra: np.int64 = 0


def _ring(name: str, index: int) -> RingSpec:
    return RingSpec(name, 8, 64, (Item,), (ReaderSpec("r"),), index)


@pytest.fixture
def node() -> Iterator[str]:
    name = f"state{os.getpid()}"
    for index, ring in enumerate(("in", "out")):
        create_ring(_ring(ring, index), name)
    yield name
    for segment in segments_of(name):
        unlink(segment)


def _store(node: str, state: type[Message] = Total) -> StateStore:
    return StateStore(node, "actor", state, [Reader(node, "in", "r")], Writer(node, "out"))


def _total(store: StateStore) -> int:
    record = store.committed()
    assert record is not None
    return int(record["total"])


def test_state_begins_with_its_defaults(node: str) -> None:
    assert _total(_store(node)) == 100


def test_a_step_that_was_not_committed_never_was(node: str) -> None:
    source, store = Writer(node, "in", (Item,)), _store(node)
    source.put(Item, {"value": 1}, origin_ns=1)
    source.publish()
    step = Step(store)
    state = step.begin()
    assert state is not None
    state["total"] = 7
    step.put(Item, {"value": 9}, origin_ns=1)
    again = _store(node)
    assert _total(again) == 100
    assert again.inputs[0].cursor == 0
    assert again.output is not None
    assert again.output.cursor == 0


@pytest.mark.parametrize("outputs", [0, 1, 3])
def test_after_a_kill_between_publication_and_release_the_inputs_are_released(
    node: str, outputs: int
) -> None:
    source, store = Writer(node, "in", (Item,)), _store(node)
    for value in range(5):
        source.put(Item, {"value": value}, origin_ns=1)
    source.publish()
    step = Step(store)
    state = step.begin()
    assert state is not None
    state["total"] += 4
    for value in range(outputs):
        step.put(Item, {"value": value}, origin_ns=1)
    step.commit([4])
    store.inputs[0].seek(0)  # as if killed right before the release
    again = _store(node)
    assert _total(again) == 104
    assert again.inputs[0].cursor == 4
    assert int(again.words[commit.S_STEP]) == 1


def test_a_tagged_copy_that_was_not_published_is_passed_over(node: str) -> None:
    store = _store(node)
    step = Step(store)
    step.begin()
    step.put(Item, {"value": 1}, origin_ns=1)
    step.commit()
    state = step.begin()
    assert state is not None
    state["total"] = 55
    copy = int(store.words[commit.S_COPY_A + 1 - int(store.words[commit.S_NEWER])])
    first = copy - store._segment.mapped.address
    store._segment.mapped.word(first + layout.COPY_OUTPUT_AT)[0] = 2
    store._segment.mapped.word(first + layout.COPY_TAG_AT)[0] = 2  # tagged, and then killed
    assert _total(_store(node)) == 100


def test_the_first_step_may_be_killed_between_its_tag_and_its_publication(node: str) -> None:
    source, store = Writer(node, "in", (Item,)), _store(node)
    source.put(Item, {"value": 1}, origin_ns=1)
    source.publish()
    step = Step(store)
    state = step.begin()
    assert state is not None
    state["total"] = 55
    step.put(Item, {"value": 1}, origin_ns=1)
    mapped = store._segment.mapped
    copy = store._segment.copy_at(1) - mapped.address
    mapped.word(copy + layout.COPY_OUTPUT_AT)[0] = 1
    mapped.word(copy + layout.COPY_TAG_AT)[0] = 1
    again = _store(node)
    assert _total(again) == 100
    assert again.inputs[0].cursor == 0
    assert again.words[commit.S_STEP] == 0


@pytest.mark.parametrize("bytes_written", [0, 4096])
def test_a_state_whose_maker_was_killed_is_made_anew(node: str, bytes_written: int) -> None:
    """It is made under another name, which is no state's yet."""
    draft = SHM_FOLDER / f"sovereign.{node}.actor.new.state"
    draft.write_bytes(bytes(bytes_written))
    assert _total(_store(node)) == 100
    assert not draft.exists()


def _stepped(node: str, steps: int = 2) -> StateStore:
    source, store = Writer(node, "in", (Item,)), _store(node)
    for _ in range(steps):
        source.put(Item, {"value": 1}, origin_ns=1)
        source.publish()
        step = Step(store)
        step.put(Item, {"value": 1}, origin_ns=1)
        step.commit([1])
    return store


def test_a_state_that_is_gone_is_not_begun_anew_over_what_was_taken(node: str) -> None:
    _stepped(node)
    unlink(segment_name(node, "actor.state"))
    for _ in range(2):
        with pytest.raises(LayoutError, match="fits what it published and took") as refused:
            _store(node)
        assert "published 2, taken [2]" in str(refused.value)


def test_a_truncated_state_is_refused_with_both_sizes(node: str) -> None:
    whole = _stepped(node)._segment.mapped.bytes
    for size in (whole - 1, whole - limits.PAGE_BYTES, limits.PAGE_BYTES, 100):
        os.truncate(SHM_FOLDER / f"sovereign.{node}.actor.state", size)
        with pytest.raises(LayoutError) as refused:
            _store(node)
        assert str(size) in str(refused.value)


@pytest.mark.parametrize(
    "at",
    [
        0,
        8,
        layout.STATE_SCHEMA_AT,
        layout.STATE_BYTES_AT,
        layout.STATE_INPUTS_AT,
        layout.STATE_TEXT_BYTES_AT,
    ],
)
def test_each_word_of_a_states_description_is_checked(node: str, at: int) -> None:
    store = _stepped(node)
    store._segment.mapped.word(at)[0] ^= 1 << 40
    with pytest.raises(LayoutError) as refused:
        _store(node)
    assert "got: " in str(refused.value) and "expected: " in str(refused.value)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (layout.COPY_OUTPUT_AT, 99, "equals the published cursor"),
        (layout.COPY_TAG_AT, 7, "one step apart"),
        (layout.COPY_INPUTS_AT, 99, "at most 2, which was written"),
        (layout.COPY_INPUTS_AT, -1, "at most 2, which was written"),
    ],
)
def test_a_copy_that_fits_nothing_is_refused_and_moves_no_cursor(
    node: str, at: int, value: int, said: str
) -> None:
    store = _stepped(node)
    newer = int(store.words[commit.S_COPY_A + int(store.words[commit.S_NEWER])])
    store._segment.mapped.word(newer - store._segment.mapped.address + at)[0] = value
    with pytest.raises(LayoutError, match="fits what it published and took") as refused:
        _store(node)
    assert said in str(refused.value)
    assert open_ring(node, "in").reader_cursor(0) == 2


def _page(node: str, cursor: int) -> None:
    """What stands as the cursor of the input's gate."""
    mapped = Segment.open(segment_name(node, "in"), writable=True)
    mapped.word(layout.reader_page(0) + layout.READER_CURSOR_AT)[0] = cursor


def test_a_gate_that_the_writer_passed_by_is_refused(node: str) -> None:
    _stepped(node)
    mapped = Segment.open(segment_name(node, "in"), writable=True)
    mapped.word(layout.RING_CURSOR_AT)[0] = 11
    with pytest.raises(LayoutError, match="fits what it published and took") as refused:
        _store(node)
    assert refused.value.got == "its gate in in stands at 2"
    assert refused.value.expected.startswith("at least 3")


def test_a_kill_within_the_reattaching_of_a_gate_costs_no_more_than_it_missed(node: str) -> None:
    """The writer had looked at the gates right before this one stood there again, and went on by a whole ring."""
    _stepped(node)
    _page(node, layout.DETACHED)
    source = Writer(node, "in", (Item,))
    for value in range(20):
        source.put(Item, {"value": value}, origin_ns=1)
        source.publish()
    _page(
        node, 13
    )  # the first of the two readings of the cursor, made when it was 13; it is 22 now
    store = _store(node)
    assert store.missed == [20]
    assert open_ring(node, "in").reader_cursor(0) == 22
    Step(store).commit(store.missed)
    assert store.inputs[0].cursor == 22


def test_another_layout_of_state_is_refused_with_both(node: str) -> None:
    _store(node)
    with pytest.raises(LayoutError) as refused:
        _store(node, Wider)
    said = str(refused.value)
    assert (
        f"got: Total {Total.schema_id:016x}\n          0  int64      total\n          8  bytes"
        in said
    )
    assert f"expected: Wider {Wider.schema_id:016x}\n" in said
    assert "          8  int64      extra\n" in said
    assert "migrate(old)" in said


def test_a_ring_made_anew_does_not_meet_an_old_state(node: str) -> None:
    _store(node)
    remove_ring(node, "out")
    create_ring(_ring("out", 1), node, generation=2)
    with pytest.raises(LayoutError, match="belongs to other rings"):
        _store(node)


def test_a_state_of_another_layout_version_is_refused(node: str) -> None:
    store = _store(node)
    store._segment.mapped.word(8)[0] = 1
    with pytest.raises(LayoutError, match="written by another version") as refused:
        _store(node)
    assert "version 1\n" in str(refused.value)
    assert f"version {limits.STATE_LAYOUT_VERSION}\n" in str(refused.value)


def test_a_state_that_is_cut_short_is_refused(node: str) -> None:
    _store(node)
    name = segment_name(node, "actor.state")
    os.truncate(f"/dev/shm{name}", layout.STATE_FIRST_COPY_AT + limits.PAGE_BYTES)
    with pytest.raises(LayoutError, match="does not fit its own description"):
        _store(node)


def test_the_layout_stands_in_the_segment_as_text(node: str) -> None:
    _store(node)
    found = StateSegment(node, "actor")
    assert found.schema == Total.schema()
    record = found.record(found.read(0).state)
    assert record is not None
    assert record.total == 100


def test_copies_stand_on_pages_of_their_own(node: str) -> None:
    store = _store(node)
    copies = [int(store.words[commit.S_COPY_A + i]) for i in (0, 1)]
    assert all(copy % limits.PAGE_BYTES == 0 for copy in copies)
    assert abs(copies[1] - copies[0]) >= limits.PAGE_BYTES


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[" * 60_000,
        b'{"schema":{},"rings":[]}',
        b'{"schema":{},"rings":[["out"]]}',
        b'{"schema":[],"rings":[["out",1],["in",1]]}',
        b'{"schema":{"name":"Total"},"rings":[["out",1],["in",1]]}',
        b'{"schema":{"name":"T","schema_id":"0","type_id":0,"bytes":8,"fields":[["a","no",0]]},'
        b'"rings":[["out",1],["in",1]]}',
    ],
)
def test_a_description_of_a_state_that_is_none_is_refused(node: str, text: bytes) -> None:
    mapped = _stepped(node)._segment.mapped
    mapped.memory[limits.PAGE_BYTES : limits.PAGE_BYTES + len(text)] = np.frombuffer(text, np.uint8)
    mapped.word(layout.STATE_TEXT_BYTES_AT)[0] = len(text)
    with pytest.raises(LayoutError, match="is damaged"):
        _store(node)


# Words, text, and the words of the copies: where damage could mislead.
_PLACES = st.one_of(
    st.integers(0, 64),
    st.integers(limits.PAGE_BYTES, limits.PAGE_BYTES + 300),
    st.integers(layout.STATE_FIRST_COPY_AT, layout.STATE_FIRST_COPY_AT + 140),
    st.integers(0, layout.STATE_FIRST_COPY_AT + 8192 - 8),
)


@given(
    damage=st.lists(st.tuples(_PLACES, st.binary(min_size=1, max_size=8)), min_size=1, max_size=3),
    size=st.one_of(st.none(), st.integers(0, 2 * layout.STATE_FIRST_COPY_AT)),
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_a_state_segment_holds_it_is_recovered_or_refused(
    node: str, damage: list[tuple[int, bytes]], size: int | None
) -> None:
    for name in segments_of(node):
        unlink(name)
    for index, ring in enumerate(("in", "out")):
        create_ring(_ring(ring, index), node)
    mapped = _stepped(node)._segment.mapped
    for at, data in damage:
        mapped.memory[at : at + len(data)] = np.frombuffer(data, np.uint8)
    if size is not None:
        os.truncate(SHM_FOLDER / f"sovereign.{node}.actor.state", size)
    for state, migrate in ((Total, None), (Wider, lambda _: Wider.new())):
        with contextlib.suppress(LayoutError, PluginError):
            inputs = [Reader(node, "in", "r")]
            StateStore(node, "actor", state, inputs, Writer(node, "out"), migrate)
