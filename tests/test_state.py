"""The state segment: what is refused, and what recovery chooses."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from sovereign.runtime import commit, layout, limits
from sovereign.runtime.errors import LayoutError
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import create_ring, remove_ring
from sovereign.runtime.shm import SHM_FOLDER, segment_name, segments_of, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec
from sovereign.runtime.state import StateStore
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
    first = copy - store._segment.address
    store._segment.word(first + layout.COPY_OUTPUT_AT)[0] = 2
    store._segment.word(first + layout.COPY_TAG_AT)[0] = 2  # tagged, and then killed
    assert _total(_store(node)) == 100


@pytest.mark.parametrize("made_bytes", [0, limits.PAGE_BYTES, 3 * limits.PAGE_BYTES])
def test_a_state_whose_maker_was_killed_is_made_anew(node: str, made_bytes: int) -> None:
    """Killed before the magic was written: nobody has used it, whatever else stands in it."""
    name = segment_name(node, "actor.state")
    (SHM_FOLDER / name[1:]).write_bytes(bytes(made_bytes))
    store = _store(node)
    assert _total(store) == 100


def test_another_layout_of_state_is_refused_with_both(node: str) -> None:
    _store(node)
    with pytest.raises(LayoutError) as refused:
        _store(node, Wider)
    assert str(Wider.schema_id) in str(refused.value)
    assert str(Total.schema_id) in str(refused.value)


def test_a_ring_made_anew_does_not_meet_an_old_state(node: str) -> None:
    _store(node)
    remove_ring(node, "out")
    create_ring(_ring("out", 1), node, generation=2)
    with pytest.raises(LayoutError, match="another layout"):
        _store(node)


def test_copies_stand_on_pages_of_their_own(node: str) -> None:
    store = _store(node)
    copies = [int(store.words[commit.S_COPY_A + i]) for i in (0, 1)]
    assert all(copy % limits.PAGE_BYTES == 0 for copy in copies)
    assert abs(copies[1] - copies[0]) >= limits.PAGE_BYTES
