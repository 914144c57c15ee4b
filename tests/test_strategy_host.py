"""The strategy host: the same function compiled and plain, exactly once after kill -9, errors in the author's file."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sovereign.actors.bus.actor import BusConfig
from sovereign.actors.strategy.actor import StrategyConfig, StrategyHost
from sovereign.actors.strategy.identity import PluginVersion
from sovereign.actors.strategy.loading import load_strategy
from sovereign.messages.time import Tick
from sovereign.runtime import counters as counting
from sovereign.runtime import layout
from sovereign.runtime.errors import PluginError
from sovereign.runtime.host import run_actor
from sovereign.runtime.observer import Observer
from sovereign.runtime.reader import Reader
from sovereign.runtime.writer import Writer

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "plugins"))

from nodes import SmallNode, until
from strategies_for_tests import Answer, Event, EveryThird

HOST = "sovereign.actors.strategy.actor:StrategyHost"
BUS = "sovereign.actors.bus.actor:Bus"


def _config(name: str = "EveryThird", **more: Any) -> StrategyConfig:
    return StrategyConfig(plugin=f"strategies_for_tests:{name}", **more)


@pytest.fixture(params=[True, False], ids=["compiled", "plain"])
def node(request: pytest.FixtureRequest) -> Iterator[SmallNode]:
    with SmallNode((Event,), ("s", HOST, _config(compiled=request.param))) as small:
        yield small


def _feed(writer: Writer, values: range) -> None:
    for value in values:
        until(lambda: writer.free > 0)
        writer.put(Event, {"value": value}, origin_ns=time.time_ns(), cause_seq=value)
        writer.publish()


def _take(reader: Reader, count: int) -> np.ndarray[Any, Any]:
    """The next `count` answers, PluginVersion records aside; copies."""
    taken: list[Any] = []
    while sum(len(part) for part in taken) < count:
        until(lambda: reader.available() > 0)
        ready = reader.available()
        for block in reader.slots(ready):
            taken.append(block[block["type_id"] == Answer.type_id].copy())
        reader.commit(ready)
    return np.concatenate(taken)


def test_answers_carry_origin_and_cause(node: SmallNode) -> None:
    writer, reader = Writer(node.name, "source", (Event,)), Reader(node.name, "s", "test")
    node.start(1)
    _feed(writer, range(1, 31))
    slots = _take(reader, 10)
    answers = layout.payload(slots, Answer.dtype)
    assert answers["number"].tolist() == list(range(3, 31, 3))
    assert answers["value"].tolist() == list(range(3, 31, 3))
    assert slots["cause_seq"].tolist() == list(range(3, 31, 3))
    assert set(slots["cause_actor"].tolist()) == {0}
    assert (slots["publish_ns"] >= slots["origin_ns"]).all()


def test_term_drains_what_stands_in_the_input(node: SmallNode) -> None:
    writer, reader = Writer(node.name, "source", (Event,)), Reader(node.name, "s", "test")
    _feed(writer, range(1, 901))
    node.start(1)
    assert node.kill(1, signal.SIGTERM) == 0
    assert len(_take(reader, 300)) == 300
    assert writer.ring.lowest_gate() == 900


def test_kill_9_at_random_moments_loses_and_repeats_nothing() -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    with SmallNode((Event,), ("bus", BUS, BusConfig()), ("s", HOST, _config())) as node:
        writer, reader = Writer(node.name, "source", (Event,)), Reader(node.name, "s", "test")
        node.start(1)
        node.start(2)
        sent = 0
        numbers: list[int] = []
        for _ in range(12):
            victim = chance.choice([1, 2])
            burst = min(writer.free, chance.randrange(1, 900))
            for value in range(sent + 1, sent + 1 + burst):
                writer.put(Event, {"value": value}, origin_ns=1)
            writer.publish()
            sent += burst
            time.sleep(chance.random() * 0.002)
            node.kill(victim)
            node.start(victim)
            numbers += _answers(reader)
        until(lambda: numbers.extend(_answers(reader)) or len(numbers) >= sent // 3)
        assert numbers == list(range(3, sent + 1, 3)), f"seed {seed}"


def _answers(reader: Reader) -> list[int]:
    ready = reader.available()
    found: list[int] = []
    for block in reader.slots(ready):
        mine = block[block["type_id"] == Answer.type_id]
        found += layout.payload(mine.copy(), Answer.dtype)["number"].tolist()
    reader.commit(ready)
    return found


@pytest.mark.parametrize("compiled", [True, False])
def test_an_exception_shows_the_authors_line_and_the_event(compiled: bool) -> None:
    config = _config(params={"boom": 7}, compiled=compiled)
    with SmallNode((Event,), ("s", HOST, config)) as node:
        writer = Writer(node.name, "source", (Event,))
        node.start(1)
        _feed(writer, range(1, 10))
        assert node.reap(1) == 1
        log = node.log("s")
        assert "EveryThird.on_event raised ValueError: told to" in log
        assert "strategies_for_tests.py" in log
        assert "event 7" in log
        assert writer.ring.lowest_gate() <= 6, "the event must stay unhandled"


def test_a_strategy_that_does_not_compile_says_where_and_is_not_restarted() -> None:
    with SmallNode((Event,), ("s", HOST, _config("DoesNotCompile"))) as node:
        node.start(1)
        assert node.reap(1) == 78
        log = node.log("s")
        assert "does not compile: on_event" in log
        assert "strategies_for_tests.py" in log
        assert "compiled = False" in log


def test_a_strategy_that_never_returns_stops_beating() -> None:
    with SmallNode((Event,), ("s", HOST, _config("Endless"))) as node:
        writer = Writer(node.name, "source", (Event,))
        node.start(1)
        _feed(writer, range(1, 2))
        time.sleep(0.1)
        beat = node.control.counters(1)["heartbeat_ns"]
        time.sleep(0.3)
        assert node.control.counters(1)["heartbeat_ns"] == beat
        assert node.kill(1) == -signal.SIGKILL


def test_a_strategy_that_never_returns_does_not_outlive_its_supervisor() -> None:
    """Its lease would keep the next `up` from starting it."""
    alive_r, alive_w = os.pipe()
    with SmallNode((Event,), ("s", HOST, _config("Endless"))) as node:
        writer = Writer(node.name, "source", (Event,))
        pid = os.fork()
        if pid == 0:
            os.close(alive_w)
            try:
                run_actor(node.spec, 1, alive_r)
            finally:
                os._exit(99)
        node.pids[1] = pid
        counters = node.control.counters(1)
        until(lambda: counters["phase"] == counting.RUNNING)
        _feed(writer, range(1, 2))
        until(lambda: counters["hand_sequence"] == 1)
        os.close(alive_w)
        assert node.reap(1) == -signal.SIGKILL
        assert "the supervisor is gone" in node.log("s") and "does not end" in node.log("s")
    os.close(alive_r)


def test_the_plugins_identity_stands_before_its_first_answer_and_once(node: SmallNode) -> None:
    writer = Writer(node.name, "source", (Event,))
    reader = Reader(node.name, "s", "test")
    node.start(1)
    node.kill(1)
    node.start(1)
    _feed(writer, range(1, 4))
    until(lambda: reader.available() >= 2)
    types = [int(kind) for block in reader.slots(2) for kind in block["type_id"]]
    assert types == [PluginVersion.type_id, Answer.type_id]


def test_the_bus_keeps_order_origin_and_bytes() -> None:
    with SmallNode((Event,), ("bus", BUS, BusConfig())) as node:
        writer, reader = Writer(node.name, "source", (Event,)), Reader(node.name, "bus", "test")
        node.start(1)
        for value in range(1, 1001):
            writer.put(Event, {"value": value}, origin_ns=value * 10)
        writer.publish()
        until(lambda: reader.available() == 1000)
        slots = np.concatenate(reader.slots(1000))
        assert layout.payload(slots, Event.dtype)["value"].tolist() == list(range(1, 1001))
        assert slots["origin_ns"].tolist() == [value * 10 for value in range(1, 1001)]
        assert slots["cause_seq"].tolist() == list(range(1, 1001))


def test_ticks_come_at_multiples_of_their_period() -> None:
    with SmallNode((Event,), ("bus", BUS, BusConfig(tick_ns=5_000_000))) as node:
        observer = Observer(node.name, "bus", "oldest")
        node.start(1)
        until(lambda: node.control.counters(1)["ticks"] >= 5)
        slots = observer.read()
        ticks = layout.payload(slots, Tick.dtype)
        assert (ticks["time_ns"] % 5_000_000 == 0).all()
        assert ticks["number"].tolist() == list(range(1, len(ticks) + 1))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:S", "does not import"),
        ("strategies_for_tests:Nope", 'module strategies_for_tests has no "Nope"'),
        ("nope", 'no strategy is called "nope"'),
    ],
)
def test_a_plugin_that_is_not_there(name: str, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        load_strategy(name)
    assert said in StrategyHost.check(StrategyConfig(plugin=name))[0]


@pytest.mark.parametrize(
    "given", [{"evry": 1}, {"every": "x"}, {"every": 1 << 70}, {"every": 1.5}, {"every": True}]
)
def test_parameters_are_checked(given: dict[str, Any]) -> None:
    with pytest.raises(PluginError):
        EveryThird.params(given)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_handler_may_give_several_at_once(compiled: bool) -> None:
    config = _config("TwoSided", compiled=compiled)
    assert StrategyHost.max_step_outputs(config) == 3
    with SmallNode((Event,), ("s", HOST, config), capacity=64) as node:
        writer, reader = Writer(node.name, "source", (Event,)), Reader(node.name, "s", "test")
        node.start(1)
        expected = [v for n in range(1, 21) for v in ([-n, n, 0] if n % 10 == 0 else [-n, n])]
        _feed(writer, range(1, 21))
        answers = layout.payload(_take(reader, len(expected)), Answer.dtype)
        assert answers["value"].tolist() == expected
        assert answers["number"].sum() == 18


def test_handlers_may_be_inherited_from_another_module() -> None:
    made: Any = type("Inherits", (EveryThird,), {"__module__": "json"})
    assert [(one.takes, one.gives) for one in made.handlers()] == [(Event, Answer)]
