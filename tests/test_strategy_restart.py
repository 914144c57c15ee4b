"""Restart with other code: the ring says which code handles what follows, and a State of another layout goes over or is refused."""

from __future__ import annotations

import hashlib
import importlib
import os
import py_compile
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sovereign.actors.strategy.actor import StrategyConfig
from sovereign.actors.strategy.identity import PluginVersion
from sovereign.actors.strategy.loading import load_strategy, source_hash
from sovereign.messages.orders import NewOrder
from sovereign.runtime import layout
from sovereign.runtime.observer import Observer
from sovereign.runtime.reader import Reader
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.writer import Writer

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "plugins"))

from nodes import SmallNode, until
from strategies_for_tests import Answer, Event

HOST = "sovereign.actors.strategy.actor:StrategyHost"
MODES = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "plain"])

PLUGIN = """
import numpy as np
from sovereign.actors.strategy import Strategy
from sovereign.messages.orders import NewOrder
from sovereign.messages.time import Tick
from sovereign.runtime.message import Message


class Mine(Strategy):
    class State(Message):
        {fields}

    {migrate}

    @staticmethod
    def on_tick(event: Tick, state: State, params: Message, out: NewOrder) -> int:
        state.ticks += 1
        out.client_tag = state.ticks
        out.qty = {qty}
        return 1
"""
TOPOLOGY = """
[node]
name = "{name}"
archive_dir = "{folder}/archive"

[actors.feed]
kind = "ingress"
driver = {{ kind = "udp", listen = "127.0.0.1:{port}" }}
decoder = {{ kind = "itch50" }}

[actors.bus]
kind = "bus"
inputs = ["feed"]
tick_ns = 5_000_000

[actors.taker]
kind = "strategy"
plugin = "mine:Mine"
inputs = ["bus"]

[actors.auditor]
kind = "auditor"
inputs = ["feed", "bus", "taker"]
"""


class Live:
    """A node of the command line whose strategy is a file that the test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"edit{os.getpid()}x{time.monotonic_ns() % 1_000_000}"
        port = 20_000 + os.getpid() % 20_000
        text = TOPOLOGY.format(name=self.name, folder=folder, port=port)
        (folder / "t.toml").write_text(text)

    def write(self, *, qty: int, fields: str = "ticks: np.int64", migrate: str = "") -> bytes:
        """The plugin's file; its hash."""
        text = PLUGIN.format(qty=qty, fields=fields, migrate=migrate.replace("\n", "\n    "))
        (self.folder / "mine.py").write_text(text)
        return hashlib.sha256(text.encode()).digest()

    def __call__(self, *words: str, expect: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sovereign.cli.main", *words],
            capture_output=True,
            text=True,
            timeout=90,
            cwd=self.folder,
            env={**os.environ, "SOVEREIGN_RUN_DIR": str(self.folder / "run")},
            check=False,
        )
        assert done.returncode == expect, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def slots(self) -> Any:
        """What stands in the strategy's ring."""
        observer = Observer(self.name, "taker", "oldest")
        found = observer.read(1 << 14)
        observer.close()
        return found

    def orders(self) -> Any:
        """Tag and quantity of each order."""
        slots = self.slots()
        mine = np.ascontiguousarray(slots[slots["type_id"] == NewOrder.type_id])
        return layout.payload(mine, NewOrder.dtype)[["client_tag", "qty"]].tolist()

    def said(self) -> list[tuple[bytes, int]]:
        """Hash and state's schema of each PluginVersion; checks that what follows each is that code's."""
        slots = self.slots()
        found = []
        for slot in slots[slots["type_id"] == PluginVersion.type_id]:
            record = PluginVersion.view(bytes(slot["payload"])[: PluginVersion.dtype.itemsize])
            found.append((record.file_sha256.tobytes(), int(record.state_schema)))
        return found


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path)
    yield made
    subprocess.run(
        [sys.executable, "-P", "-m", "sovereign.cli.main", "down", made.name],
        capture_output=True,
        env={**os.environ, "SOVEREIGN_RUN_DIR": str(tmp_path / "run")},
        check=False,
    )
    for segment in segments_of(made.name):
        unlink(segment)


def _in_order(slots: Any) -> list[bytes | int]:
    """The ring as hashes, and the quantities between them without repetition."""
    found: list[bytes | int] = []
    for slot in slots:
        raw = bytes(slot["payload"])
        if int(slot["type_id"]) == PluginVersion.type_id:
            version = PluginVersion.view(raw[: PluginVersion.dtype.itemsize])
            found.append(version.file_sha256.tobytes())
        else:
            qty = int(NewOrder.view(raw[: NewOrder.dtype.itemsize]).qty)
            if found[-1:] != [qty]:
                found.append(qty)
    return found


def test_the_ring_says_which_code_handled_what_follows(live: Live) -> None:
    """Edited while the actor runs and restarted by hand; edited while it is stopped; the same code again."""
    hashes = [live.write(qty=1)]
    live("up", "t.toml", "--detach")
    until(lambda: len(live.orders()) > 5, 60)
    hashes.append(live.write(qty=2))
    live("restart", "taker")
    until(lambda: live.orders()[-1][1] == 2, 60)
    live("stop", "taker")
    hashes.append(live.write(qty=3))
    live("start", "taker")
    until(lambda: live.orders()[-1][1] == 3, 60)
    live("restart", "taker")
    count = len(live.orders())
    until(lambda: len(live.orders()) > count + 5, 60)
    assert _in_order(live.slots()) == [hashes[0], 1, hashes[1], 2, hashes[2], 3]
    tags = [tag for tag, _ in live.orders()]
    assert tags == list(range(1, len(tags) + 1)), "the State went on"


WIDER = "ticks: np.int64\n        since: np.int64 = 0"
MIGRATE = """@staticmethod
def migrate(old):
    return Mine.State.new(ticks=old.ticks, since=old.ticks)
"""
RAISES = MIGRATE.replace("return", 'raise RuntimeError(f"{old.ticks} ticks")\n    return')


def test_a_changed_state_is_refused_then_raises_then_migrates(live: Live) -> None:
    first = live.write(qty=1)
    live("up", "t.toml", "--detach")
    until(lambda: len(live.orders()) > 5, 60)
    live("stop", "taker")
    before = live.orders()
    live.write(qty=2, fields=WIDER)
    assert "does not start" in live("start", "taker", expect=5)
    log = live("logs", "taker")
    assert "has another layout than the one that stands in shared memory" in log
    assert "int64      since" in log
    assert "migrate(old)" in log
    live.write(qty=2, fields=WIDER, migrate=RAISES)
    assert "does not start" in live("start", "taker", expect=5)
    log = live("logs", "taker")
    assert f"migrate raised RuntimeError: {len(before)} ticks" in log
    assert "mine.py" in log
    assert live.orders() == before
    third = live.write(qty=3, fields=WIDER, migrate=MIGRATE)
    live("start", "taker")
    until(lambda: len(live.orders()) > len(before) + 5, 60)
    assert "state migrated" in live("logs", "taker")
    said = live.said()
    assert [one[0] for one in said] == [first, third]
    assert said[0][1] != said[1][1]
    tags = [tag for tag, _ in live.orders()]
    assert tags == list(range(1, len(tags) + 1))


def _module(folder: Path, name: str, answer: int) -> Path:
    path = folder / f"{name}.py"
    text = PLUGIN.format(qty=answer, fields="ticks: np.int64", migrate=f"answer = {answer}")
    path.write_text(text)
    return path


def test_a_plugin_is_what_its_source_says_and_not_what_a_cache_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same size, same second: Python's own import would take the old code."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"fresh{os.getpid()}"
    path = _module(tmp_path, name, 1)
    py_compile.compile(str(path))
    stat = path.stat()
    _module(tmp_path, name, 2)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    strategy: Any = load_strategy(f"{name}:Mine")
    assert strategy.answer == 2
    assert source_hash(strategy) == hashlib.sha256(path.read_bytes()).digest()
    loaded = source_hash(strategy)
    _module(tmp_path, name, 3)
    assert source_hash(strategy) == loaded, "the hash is of the code that runs"
    del sys.modules[name]
    importlib.invalidate_caches()


def _config(name: str, **more: Any) -> StrategyConfig:
    return StrategyConfig(plugin=f"strategies_for_tests:{name}", **more)


def _full(node: SmallNode) -> tuple[Writer, Reader]:
    """A node whose strategy has filled its ring and died; its next code is another."""
    writer, reader = Writer(node.name, "source", (Event,)), Reader(node.name, "s", "test")
    node.start(1)
    for value in range(100):
        writer.put(Event, {"value": value}, origin_ns=1)
    writer.publish()
    until(lambda: node.control.counters(1)["waits"] > 0)
    until(lambda: reader.ring.cursor == 8)
    node.kill(1)
    node.spec.actors[1].config.plugin = "strategies_for_tests:EveryThirdAgain"
    return writer, reader


@MODES
def test_a_new_identity_waits_for_room_and_beats(compiled: bool) -> None:
    config = _config("EveryThird", params={"every": 1}, compiled=compiled)
    with SmallNode((Event,), ("s", HOST, config), out_capacity=8) as node:
        _, reader = _full(node)
        node.start(1)
        counters = node.control.counters(1)
        beat = counters["heartbeat_ns"]
        until(lambda: counters["heartbeat_ns"] > beat + 5_500_000_000)
        assert reader.ring.cursor == 8
        assert counters["waits"] > 0
        kinds = []
        while len(kinds) < 40:
            until(lambda: reader.available() > 0)
            kinds.append(int(reader.slots(1)[0][0]["type_id"]))
            reader.commit(1)
        assert [i for i, kind in enumerate(kinds) if kind == PluginVersion.type_id] == [0, 8]
        assert set(kinds) == {PluginVersion.type_id, Answer.type_id}


def test_a_second_term_ends_the_wait_for_room() -> None:
    with SmallNode(
        (Event,), ("s", HOST, _config("EveryThird", params={"every": 1})), out_capacity=8
    ) as node:
        writer, reader = _full(node)
        pid = node.start(1)
        os.kill(pid, signal.SIGTERM)  # drains: there is something to handle, so it waits on
        until(lambda: node.control.counters(1)["phase"] == 2)
        beat = node.control.counters(1)["heartbeat_ns"]
        until(lambda: node.control.counters(1)["heartbeat_ns"] > beat + 100_000_000)
        assert node.kill(1, signal.SIGTERM) == 0
        assert reader.ring.cursor == 8
        assert writer.ring.lowest_gate() < 100


def test_a_term_ends_the_wait_at_once_when_there_is_nothing_to_handle() -> None:
    with SmallNode(
        (Event,),
        ("s", HOST, _config("EveryThird", params={"every": 1})),
        capacity=4,
        out_capacity=8,
    ) as node:
        writer = Writer(node.name, "source", (Event,))
        reader = Reader(node.name, "s", "test")
        node.start(1)
        until(lambda: reader.ring.cursor == 1)
        reader.commit(1)
        for value in range(1, 9):
            until(lambda: writer.free > 0)
            writer.put(Event, {"value": value}, origin_ns=1)
            writer.publish()
        until(lambda: reader.ring.cursor == 9)
        node.kill(1)
        node.spec.actors[1].config.plugin = "strategies_for_tests:EveryThirdAgain"
        node.start(1)
        assert node.kill(1, signal.SIGTERM) == 0
        assert reader.ring.cursor == 9
