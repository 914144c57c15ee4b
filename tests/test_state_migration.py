"""A State whose layout changed: migrated whole or not at all, whatever kills it and whenever."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sovereign.runtime import commit
from sovereign.runtime.errors import LayoutError, PluginError
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import create_ring
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec
from sovereign.runtime.state import Migrate, StateStore
from sovereign.runtime.step import Step
from sovereign.runtime.writer import Writer

STEPS = 3


class Item(Message):
    """What flows."""

    value: np.int64


class Old(Message):
    """What was kept."""

    count: np.int32
    total: np.int64 = 100


class New(Message):
    """What is kept now: wider, renamed, with an array."""

    sums: np.int64
    count: np.int64
    seen: np.int64 = 7


class Newer(Message):
    """A third layout."""

    sums: np.float64


def to_new(old: Any) -> np.record:
    """By field."""
    return New.new(sums=old.total, count=old.count)


@pytest.fixture
def node() -> Iterator[str]:
    """Two rings, and a state three steps old: each took one slot and gave one, and added ten."""
    name = f"migrate{os.getpid()}x{time.monotonic_ns() % 1_000_000}"
    for index, ring in enumerate(("in", "out")):
        create_ring(RingSpec(ring, 8, 64, (Item,), (ReaderSpec("r"),), index), name)
    source = Writer(name, "in", (Item,))
    for value in range(5):
        source.put(Item, {"value": value}, origin_ns=1)
    source.publish()
    step = Step(_store(name, Old))
    for _ in range(STEPS):
        state = step.begin()
        assert state is not None
        state.count += 1
        state.total += 10
        step.put(Item, {"value": 1}, origin_ns=1)
        step.commit([1])
    yield name
    for segment in segments_of(name):
        unlink(segment)


def _store(node: str, state: type[Message], migrate: Migrate | None = None) -> StateStore:
    reader, writer = Reader(node, "in", "r"), Writer(node, "out")
    return StateStore(node, "actor", state, [reader], writer, migrate)


def _values(store: StateStore) -> dict[str, Any]:
    record = store.committed()
    assert record is not None
    return {name: record[name].item() for name in record.dtype.names or ()}


def test_a_migrated_state_keeps_its_step_its_output_and_its_inputs(node: str) -> None:
    store = _store(node, New, to_new)
    assert store.migrated_from == Old.schema()
    assert _values(store) == {"sums": 130, "count": 3, "seen": 7}
    assert int(store.words[commit.S_STEP]) == STEPS
    assert store.inputs[0].cursor == STEPS
    assert store.output is not None
    assert store.output.cursor == STEPS
    step = Step(store)
    state = step.begin()
    assert state is not None
    state.sums += 1
    step.put(Item, {"value": 1}, origin_ns=1)
    step.commit([1])
    again = _store(node, New)
    assert again.migrated_from is None
    assert _values(again) == {"sums": 131, "count": 3, "seen": 7}
    assert again.inputs[0].cursor == STEPS + 1
    assert again.output is not None
    assert again.output.cursor == STEPS + 1


def test_a_copy_that_was_not_committed_is_not_what_migrates(node: str) -> None:
    store = _store(node, Old)
    state = Step(store).begin()
    assert state is not None
    state.total = 5_000
    assert _values(_store(node, New, to_new))["sums"] == 130


def test_migrations_follow_one_another(node: str) -> None:
    _store(node, New, to_new)
    store = _store(node, Newer, lambda old: Newer.new(sums=old.sums / 2))
    assert store.migrated_from == New.schema()
    assert _values(store) == {"sums": 65.0}


def test_a_state_before_its_first_step_migrates_too(node: str) -> None:
    for segment in segments_of(node):
        if segment.endswith(".state"):
            unlink(segment)
    _fresh_rings(node)
    _store(node, Old)
    store = _store(node, New, to_new)
    assert _values(store) == {"sums": 100, "count": 0, "seen": 7}
    assert int(store.words[commit.S_STEP]) == 0


def _fresh_rings(node: str) -> None:
    for index, ring in enumerate(("in", "out")):
        unlink(f"/sovereign.{node}.{ring}")
        create_ring(RingSpec(ring, 8, 64, (Item,), (ReaderSpec("r"),), index), node)


def _raises(old: Any) -> np.record:
    raise KeyError(f"no such venue {old.count}")


@pytest.mark.parametrize(
    ("migrate", "said"),
    [
        (_raises, "migrate raised KeyError: 'no such venue 3'"),
        (lambda old: None, "migrate returned no record of the new State"),
        (lambda old: Old.new(), "migrate returned no record of the new State"),
        (lambda old: {"sums": 1}, "migrate returned no record of the new State"),
    ],
)
def test_a_migration_that_fails_leaves_the_old_state(
    node: str, migrate: Migrate, said: str
) -> None:
    with pytest.raises(PluginError) as failed:
        _store(node, New, migrate)
    assert said in str(failed.value)
    if migrate is _raises:
        assert "test_state_migration.py" in failed.value.where
        assert isinstance(failed.value.__cause__, KeyError)
    assert _values(_store(node, Old)) == {"count": 3, "total": 130}
    with pytest.raises(LayoutError):
        _store(node, New)
    assert _values(_store(node, New, to_new))["sums"] == 130


def _die_at_line(number: int) -> Callable[..., Any]:
    """A trace function that kills this process before the `number`-th line in the modules that migrate."""
    left = [number]

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(("state.py", "state_segment.py", "shm.py")):
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def _migrate_in_a_child(node: str, line: int) -> int:
    """Migrate in a process that dies at `line` (0: nowhere): its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            reader, writer = Reader(node, "in", "r"), Writer(node, "out")
            sys.settrace(_die_at_line(line) if line else None)
            StateStore(node, "actor", New, [reader], writer, to_new)
            sys.settrace(None)
            code = 0
        finally:
            os._exit(code)
    if line == 0:
        return pid
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _old_stands(node: str) -> bool:
    """Whether the old state is still what stands there; then it is whole."""
    try:
        store = _store(node, Old)
    except LayoutError:
        return False
    assert _values(store) == {"count": 3, "total": 130}
    return True


def _check(node: str) -> None:
    """The new state stands, or comes by another migration."""
    store = _store(node, New, to_new)
    assert _values(store) == {"sums": 130, "count": 3, "seen": 7}
    assert int(store.words[commit.S_STEP]) == STEPS
    assert store.inputs[0].cursor == STEPS
    assert [s for s in segments_of(node) if ".new." in s] == []


def _to_old(new: Any) -> np.record:
    return Old.new(count=new.count, total=new.sums)


def _back_to_old(node: str) -> None:
    assert _values(_store(node, Old, _to_old)) == {"count": 3, "total": 130}


def test_kill_9_before_any_line_of_a_migration(node: str) -> None:
    line, codes, old = 0, [], []
    while not codes or codes[-1] != 0:
        line += 1
        codes.append(_migrate_in_a_child(node, line))
        assert codes[-1] in (0, -signal.SIGKILL), f"line {line}"
        old.append(_old_stands(node))
        _check(node)
        _back_to_old(node)
        assert line < 2_000
    assert codes.count(-signal.SIGKILL) > 80
    assert old == sorted(old, reverse=True), "once the new state stands, it stands"
    assert {*old} == {True, False}


def test_kill_9_at_random_moments_of_a_migration(node: str) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(60):
        pid = _migrate_in_a_child(node, 0)
        time.sleep(chance.random() * 0.004)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if chance.random() < 0.5:  # and again, over what the first one left
            _migrate_in_a_child(node, chance.randrange(1, 120))
        if chance.random() < 0.5:
            _old_stands(node)
        _check(node)
        _back_to_old(node)
