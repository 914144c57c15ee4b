"""The command line over a real node: start, look, kill, restart, halt, end; and each wrong use with its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodes import until
from sovereign.actors.auditor.verify import verify_archive
from sovereign.runtime.shm import segments_of, unlink

TOPOLOGY = """
[node]
name = "{name}"
archive_dir = "{folder}/archive"

[actors.feed]
kind = "ingress"
driver = {{ kind = "udp", listen = "127.0.0.1:{port}" }}
decoder = {{ kind = "itch50" }}

[actors.taker]
kind = "strategy"
plugin = "follow"
inputs = ["feed"]

[actors.signer]
kind = "signer"
inputs = ["taker"]

[actors.egress]
kind = "egress"
inputs = ["signer"]
transport = {{ kind = "udp", to = "127.0.0.1:9" }}

[actors.auditor]
kind = "auditor"
inputs = ["feed", "taker", "signer", "egress"]
"""


class Cli:
    """Runs verbs with a run directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"cli{os.getpid()}x{time.monotonic_ns() % 1_000_000}"
        self.topology = folder / "t.toml"
        port = 20_000 + os.getpid() % 20_000
        self.topology.write_text(TOPOLOGY.format(name=self.name, folder=folder, port=port))

    def __call__(self, *words: str, expect: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sovereign.cli.main", *words],
            capture_output=True,
            text=True,
            timeout=90,
            env={**os.environ, "SOVEREIGN_RUN_DIR": str(self.folder / "run")},
            check=False,
        )
        assert done.returncode == expect, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout if expect == 0 else done.stdout + done.stderr

    def ps(self) -> dict[str, Any]:
        return dict(json.loads(self("ps", "--json")))

    def actor(self, name: str) -> dict[str, Any]:
        return next(row for row in self.ps()["actors"] if row["actor"] == name)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path)
    yield made
    subprocess.run(
        [sys.executable, "-P", "-m", "sovereign.cli.main", "down", made.name],
        capture_output=True,
        env={**os.environ, "SOVEREIGN_RUN_DIR": str(tmp_path / "run")},
        check=False,
    )
    for segment in segments_of(made.name):  # a test may leave what a given-up actor did not handle
        unlink(segment)


def test_a_node_lives_loses_an_actor_halts_and_ends(cli: Cli) -> None:
    assert "is up" in cli("up", str(cli.topology), "--detach")
    cli("ready", "--timeout", "5")
    before = cli.actor("taker")
    assert before["state"] == "RUNNING"
    assert b"sovereign" in Path(f"/proc/{before['pid']}/cmdline").read_bytes()
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: cli.actor("taker")["pid"] not in (None, before["pid"]))
    cli("ready", "--timeout", "5")
    assert cli.actor("taker")["restarts"] == 1
    assert "RUNNING" in cli("restart", "taker")
    assert "already up" in cli("up", str(cli.topology), expect=2)
    assert "did you mean 'taker'" in cli("restart", "takr", expect=4)
    said = cli("halt", "--reason", "a drill", "--by", "tester")
    assert "signer: acknowledged" in said
    assert "egress: acknowledged" in said
    assert cli.ps()["halted"] is True
    assert "resumed" in cli("resume", "--by", "tester")
    assert "not halted" in cli("resume", "--by", "tester", expect=2)
    assert "running" in cli("logs", "taker")
    cli("stop", "egress")
    assert cli.actor("egress")["state"] == "STOPPED"
    cli("start", "egress")
    assert "ended" in cli("down", cli.name)
    verdict = verify_archive(cli.folder / "archive")
    assert verdict.sound, verdict.failures
    shown = cli("audit", "show", str(cli.folder / "archive"), "node", "--count", "100")
    kinds = [json.loads(line)["type"] for line in shown.splitlines()]
    assert {"NodeStarted", "ActorStarted", "ActorDied", "Halt", "Resume", "OperatorAction"} <= set(
        kinds
    )
    assert list(Path("/dev/shm").glob(f"sovereign.{cli.name}*")) == []


def test_the_supervisors_death_ends_the_actors_and_up_goes_on(cli: Cli) -> None:
    cli("up", str(cli.topology), "--detach")
    pids = [row["pid"] for row in cli.ps()["actors"]]
    lock = cli.folder / "run" / cli.name / "node.lock"
    os.kill(int(lock.read_text()), signal.SIGKILL)
    until(lambda: not any(_lives(pid) for pid in pids))
    assert list(Path("/dev/shm").glob(f"sovereign.{cli.name}.*"))
    cli("up", str(cli.topology), "--detach")
    assert cli.ps()["node"] == cli.name
    cli("down", cli.name)
    assert verify_archive(cli.folder / "archive").sound


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_wrong_use_has_its_exit_codes(cli: Cli, tmp_path: Path) -> None:
    assert "nothing runs" in cli("ps", expect=3)
    cli("down", expect=3)
    assert "did you mean 'up'" in cli("pu", expect=2)
    assert "could not be checked" in cli("audit", "verify", str(tmp_path), expect=5)
    (tmp_path / "bad.toml").write_text("[node\n")
    cli("check", str(tmp_path / "bad.toml"), expect=2)
    cli("up", str(tmp_path / "bad.toml"), expect=2)
    cli("check", str(cli.topology))
    assert "nothing was started" in cli("up", str(cli.topology), "--dry-run")
    assert list(Path("/dev/shm").glob(f"sovereign.{cli.name}*")) == []
    assert cli("--version").startswith("sovereign ")
    assert "_SOVEREIGN_COMPLETE" in cli("completion", "bash")


def test_a_port_in_use_ends_the_node_with_the_reason(cli: Cli) -> None:
    import socket

    port = 20_000 + os.getpid() % 20_000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        said = cli("up", str(cli.topology), "--for", "20", expect=5)
        assert "feed: exit code 1" in said  # tried again: a port may be free by then
        assert "Address already in use" in cli("logs", "feed", "--node", cli.name)


ODD = """
import numpy as np
from sovereign.actors.strategy import Strategy
from sovereign.messages.market import OrderEvent
from sovereign.messages.orders import NewOrder
from sovereign.messages.time import Tick
from sovereign.runtime.message import Message

class Odd(Strategy):
    class State(Message):
        ticks: np.int64

    @staticmethod
    def on_tick(event: Tick, state: State, params: Message, out: NewOrder) -> int:
        state.ticks += 1
        while state.ticks > 100:
            state.ticks += 1
        return 0
"""


def _with_ticks(cli: Cli, plugin: str) -> None:
    text = cli.topology.read_text()
    bus = '[actors.bus]\nkind = "bus"\ninputs = ["feed"]\ntick_ns = 1_000_000\n'
    taker = f'{bus}[actors.taker]\nheartbeat_limit_ns = 300_000_000\nkind = "strategy"\nplugin = "{plugin}"\ninputs = ["bus"]'
    old = '[actors.taker]\nkind = "strategy"\nplugin = "follow"\ninputs = ["feed"]'
    assert old in text
    text = text.replace(old, taker).replace('["feed", "taker"', '["feed", "bus", "taker"')
    cli.topology.write_text(text)


def test_a_strategy_that_never_returns_is_killed_and_given_up(cli: Cli) -> None:
    (cli.folder / "odd.py").write_text(ODD)
    _with_ticks(cli, "odd:Odd")
    cli("up", str(cli.topology), "--detach")
    until(lambda: cli.actor("taker")["restarts"] > 0, 30)
    until(lambda: cli.actor("taker")["state"] == "FATAL", 60)
    status = cli.ps()
    assert status["halted"] is True
    assert next(row for row in status["actors"] if row["actor"] == "bus")["state"] == "RUNNING"
    cli("down", cli.name)
    shown = cli("audit", "show", str(cli.folder / "archive"), "node", "--count", "100")
    died = [json.loads(line) for line in shown.splitlines() if '"ActorDied"' in line]
    assert died and all("taker" in json.dumps(one) for one in died)
    assert verify_archive(cli.folder / "archive").sound


def test_a_raising_strategy_tells_its_author_where(cli: Cli) -> None:
    text = ODD.replace(
        "        while state", '        raise ValueError("told to")\n        while state'
    )
    (cli.folder / "odd.py").write_text(text)
    _with_ticks(cli, "odd:Odd")
    said = cli("up", str(cli.topology), "--for", "30", expect=5)
    assert "could not be kept: taker" in said
    assert "odd.py" in said and "ValueError" in said and "told to" in said
    assert "told to" in cli("logs", "taker")  # nothing runs: the node that wrote last is meant


def test_rings_of_another_topology_are_refused_then_sealed(cli: Cli) -> None:
    cli("up", str(cli.topology), "--detach")
    lock = cli.folder / "run" / cli.name / "node.lock"
    pids = [row["pid"] for row in cli.ps()["actors"]]
    os.kill(int(lock.read_text()), signal.SIGKILL)
    until(lambda: not any(_lives(pid) for pid in pids))
    _with_ticks(cli, "follow")
    said = cli("up", str(cli.topology), "--detach", expect=2)
    assert "bus is not among them" in said and "--fresh" in said
    cli("up", str(cli.topology), "--detach", "--fresh")
    cli("ready", "--timeout", "10")
    cli("down", cli.name)
    assert verify_archive(cli.folder / "archive").sound
    assert list(Path("/dev/shm").glob(f"sovereign.{cli.name}*")) == []


def test_logs_are_followed_until_the_reader_has_enough(cli: Cli) -> None:
    cli("up", str(cli.topology), "--detach")
    follow = subprocess.Popen(
        [sys.executable, "-P", "-m", "sovereign.cli.main", "logs", "-f", "taker"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SOVEREIGN_RUN_DIR": str(cli.folder / "run")},
    )
    assert follow.stdout is not None
    assert "running" in follow.stdout.readline()
    cli("restart", "taker")
    lines = [follow.stdout.readline(), follow.stdout.readline()]
    assert "stopped" in lines[0] and "running" in lines[1]
    follow.send_signal(signal.SIGINT)
    assert follow.wait(10) in (0, 130)
    follow.stdout.close()
