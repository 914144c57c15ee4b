"""What the topology says of trouble, over real nodes: poison events, gates that cannot be kept, full rings, hanging starts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes import until
from policy_kinds import Number, Said
from sovereign.actors.auditor.verify import verify_archive
from sovereign.messages.control import Detached, Halt, Quarantined
from sovereign.messages.orders import SignedOrder
from sovereign.runtime import layout
from sovereign.runtime.message import Message
from sovereign.runtime.ring import open_ring
from sovereign.runtime.shm import segments_of, unlink

FAST = "restart = { backoff_ms = 1, max_backoff_ms = 1, max_failures = %d }"
PLUGINS = Path(__file__).parent / "plugins"


class Node:
    """A node from a topology text, run by the command line with folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"pol{os.getpid()}x{time.monotonic_ns() % 1_000_000}"
        self.archive = folder / "archive"
        self.file = folder / "t.toml"
        self._environment = {
            **os.environ,
            "SOVEREIGN_RUN_DIR": str(folder / "run"),
            "PYTHONPATH": f"{PLUGINS}:{PLUGINS.parent}",
        }

    def write(self, text: str, auditor: str, more: str = "") -> None:
        head = f'[node]\nname = "{self.name}"\narchive_dir = "{self.archive}"\n'
        audit = f'[actors.auditor]\nkind = "auditor"\ninputs = [{auditor}]\n{more}'
        self.file.write_text(head + text + audit)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "sovereign.cli.main", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        )

    def __call__(self, *words: str, expect: int = 0) -> str:
        process = self.begin(*words)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == expect, f"{words}: {process.returncode}\n{said}"
        return said

    def up(self, *words: str, expect: int = 0) -> str:
        return self("up", str(self.file), *words, expect=expect)

    def ps(self) -> dict[str, Any]:
        return dict(json.loads(self("ps", "--json")))

    def actor(self, name: str) -> dict[str, Any]:
        return next(one for one in self.ps()["actors"] if one["actor"] == name)

    def archived(self, ring: str, kind: type[Message]) -> np.ndarray[Any, Any]:
        files = sorted((self.archive / ring).glob("g*/*.npy"))
        slots = np.concatenate([np.load(one) for one in files])
        return layout.payload(slots[slots["type_id"] == kind.type_id], kind.dtype)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.begin("down", made.name).wait(60)
    for segment in segments_of(made.name):
        unlink(segment)


def _source(count: int, more: str = "") -> str:
    return f'[actors.feed]\nkind = "policy_kinds:Source"\ncount = {count}\n{more}\n'


def _taker(plugin: str, boom: int, then: str, failures: int) -> str:
    return (
        f'[actors.taker]\nkind = "strategy"\nplugin = "policy_kinds:{plugin}"\ninputs = ["feed"]\n'
        f"params = {{ boom = {boom} }}\npoison = {{ kills = 2, then = '{then}' }}\n"
        f"{FAST % failures}\n"
    )


@pytest.mark.parametrize("plugin", ["Repeat", "Dies"])
def test_a_poison_event_is_set_aside_and_skipped(node: Node, plugin: str) -> None:
    """Compiled code that raises within a batch, and a process that is gone without a word."""
    node.write(_source(2_000) + _taker(plugin, 777, "skip", 3), '"feed", "taker"')
    said = node.up("--until-idle")
    assert "event 777 of feed killed taker 2 times: skipped" in said
    values = node.archived("taker", Said)["value"].tolist()
    assert values == [n for n in range(1, 2_001) if n != 777]
    (kept,) = (node.archive / "quarantine" / "taker").glob("feed-*.npy")
    slot = np.load(kept)
    assert layout.payload(slot, Number.dtype)["value"].tolist() == [777]
    told = node.archived("node", Quarantined)
    assert (told["sequence"].tolist(), told["skipped"].tolist()) == ([777], [1])
    assert verify_archive(node.archive).sound


def test_a_poison_event_halts_the_node_where_it_is_not_to_be_skipped(node: Node) -> None:
    node.write(_source(500) + _taker("Repeat", 300, "halt", 9), '"feed", "taker"')
    said = node.up("--until-idle", expect=5)
    assert "event 300 of feed killed taker 2 times: the actor is given up" in said
    assert "ValueError: poison" in said
    assert node.archived("taker", Said)["value"].tolist() == list(range(1, 300))
    assert b"event 300 of feed kills it" in node.archived("node", Halt)["reason"][0].tobytes()


def test_a_gate_that_cannot_be_kept_is_detached_and_comes_back_behind_what_it_missed(
    node: Node,
) -> None:
    broken, file = node.folder / "broken", node.folder / "read"
    broken.touch()
    sink = (
        f'[actors.loose]\nkind = "policy_kinds:Sink"\ninputs = ["feed"]\ninto = "{file}"\n'
        f'broken = "{broken}"\n{(FAST % 1)[:-2]}, then = "detach" }}\n'
    )
    node.write(
        _source(20_000, "burst = 16\npause_s = 0.002\nring = { capacity = 64 }") + sink, '"feed"'
    )
    node.up("--detach")
    until(lambda: node.actor("loose")["detached"])
    until(lambda: node.actor("feed")["counters"]["outputs"] > 500)  # 64 slots would have held it
    broken.unlink()
    node("start", "loose")
    until(lambda: node.actor("loose")["counters"]["events"] > 100)
    missed = node.actor("loose")["counters"]["overrun"]
    node("down", node.name)
    read = [int(line) for line in file.read_text().split()]
    assert missed > 0
    assert read == list(range(missed + 1, missed + 1 + len(read)))
    assert node.archived("node", Detached)["cursor"].tolist() == [0]
    assert verify_archive(node.archive).sound


def test_an_observer_holds_nobody_back_and_counts_what_it_missed(node: Node) -> None:
    file = node.folder / "read"
    sink = (
        f'[actors.late]\nkind = "policy_kinds:Sink"\ninto = "{file}"\npause_s = 0.02\n'
        'inputs = [{ from = "feed", gate = false }]\n'
    )
    node.write(_source(5_000, "ring = { capacity = 64 }") + sink, '"feed"')
    node.up("--detach")
    until(lambda: node.actor("feed")["counters"]["done"])
    until(lambda: node.actor("late")["counters"]["events"] and _lag(node, "late")["slots"] == 0)
    overrun = _lag(node, "late")["overrun"]
    node("down", node.name)
    read = [int(line) for line in file.read_text().split()]
    assert overrun > 0
    assert len(read) + overrun == 5_000
    assert read == sorted(set(read))


def _lag(node: Node, reader: str) -> dict[str, Any]:
    return next(one for one in node.ps()["lags"] if one["reader"] == reader)


def test_a_full_feedback_ring_halts_the_node(node: Node) -> None:
    text = (
        _source(400, "ring = { capacity = 64 }")
        + '[actors.bus]\nkind = "bus"\nring = { capacity = 64 }\n'
        'inputs = ["feed", { from = "liar", feedback = true }]\n'
        '[actors.liar]\nkind = "policy_kinds:Liar"\ninputs = ["bus"]\nring = { capacity = 64 }\n'
        '[actors.slow]\nkind = "policy_kinds:Sink"\ninputs = ["bus"]\npause_s = 2.0\n'
        f'into = "{node.folder / "read"}"\n'
    )
    node.write(text, '"feed", "bus", "liar"')
    node.up("--detach")
    until(lambda: node.ps()["halted"])
    node("down", node.name)
    assert (
        b"the feedback ring of liar is full" in node.archived("node", Halt)["reason"][0].tobytes()
    )


def _late_sink(node: Node, more: str) -> str:
    return (
        '[actors.late]\nkind = "policy_kinds:Sink"\ninputs = ["feed"]\n'
        f'into = "{node.folder / "read"}"\n{more}\n'
    )


def test_an_actor_that_hangs_while_it_starts_is_killed(node: Node) -> None:
    slow = _late_sink(node, f"setup_s = 60\nstart_limit_ns = 300_000_000\n{FAST % 1}")
    node.write(_source(10) + slow, '"feed"')
    said = node.up("--until-idle", expect=5)
    assert said.count("late died (hung: not ready within 0.3 s)") == 2


def test_a_halt_is_not_behind_a_restart(node: Node) -> None:
    node.write(_source(10) + _late_sink(node, "setup_s = 6"), '"feed"')
    node.up("--detach")
    restart = node.begin("restart", "late")
    until(lambda: node.actor("late")["state"] == "STARTING")
    assert "is under way" in node("stop", "late", expect=5)
    assert "halted, epoch 1" in node("halt", "--reason", "a drill", "--by", "tester")
    assert restart.poll() is None, "the restart was to take longer than the halt"
    assert "RUNNING" in restart.communicate(timeout=60)[0]


def test_what_a_full_ring_gives_up_is_counted_and_seen_as_gaps(node: Node) -> None:
    """A recording at full speed against a reader that takes its time, with `on_full = "drop"`."""
    shared = Path(__file__).parents[2] / "shared/data/market"
    if not shared.is_dir():
        pytest.skip("needs the recorded data in ../shared/data")
    feed = (
        '[actors.feed]\nkind = "ingress"\non_full = "drop"\nring = { capacity = 1024 }\n'
        f'driver = {{ kind = "pcap", path = "{shared}/cme/Cme.Mdp3.Sbe.v6.1.pcap", groups = ["224.0.31.64:14340"] }}\n'
        'decoder = { kind = "cme-mdp3", templates = '
        f'"{shared}/oracle/schemas/Cme.Futures.Mdp3.Sbe.v1.6.xml" }}\n'
    )
    node.write(feed + _late_sink(node, "pause_s = 0.03"), '"feed"')
    said = node.up("--until-idle", "--json")
    found = json.loads(said[said.index("\n{\n") :])
    counters = next(row["counters"] for row in found["actors"] if row["actor"] == "feed")
    assert counters["packets"] == 5_000
    assert counters["full_drops"] > 0
    assert 0 < counters["gaps"] <= counters["full_drops"]
    assert counters["waits"] == 0


def test_no_order_leaves_before_the_archive_has_it(node: Node) -> None:
    """`audit = "before-send"`: when a datagram arrives, its signed order is on disk already."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as venue:
        venue.bind(("127.0.0.1", 0))
        venue.settimeout(30)
        port = venue.getsockname()[1]
        text = (
            '[actors.bus]\nkind = "bus"\ntick_ns = 20_000_000\ninputs = ["feed"]\n'
            '[actors.taker]\nkind = "strategy"\nplugin = "sovereign.examples.every_tick:EveryTick"\n'
            'inputs = ["bus"]\n[actors.signer]\nkind = "signer"\ninputs = ["taker"]\n'
            '[actors.egress]\nkind = "egress"\ninputs = ["signer"]\naudit = "before-send"\n'
            f'transport = {{ kind = "udp", to = "127.0.0.1:{port}" }}\n'
        )
        rings = '"feed", "bus", "taker", "signer", "egress"'
        node.write(_source(1) + text, rings, "interval_ms = 150\n")
        node.up("--detach")
        ring = open_ring(node.name, "signer")
        auditor = [one.name for one in ring.readers].index("auditor")
        for number in range(1, 11):
            order = SignedOrder.view(venue.recv(4096))
            assert ring.durable_cursor(auditor) >= number
            assert order["client_tag"] == number
        ring.segment.close()
