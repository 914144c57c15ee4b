"""The command line over a real node: start, look, kill, restart, halt, end; and each wrong use with its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodes import until
from sovereign.actors.auditor.verify import verify_archive

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
        self.name = f"cli{os.getpid()}"
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
    except FileNotFoundError:
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


def test_a_port_in_use_ends_the_node_with_the_reason(cli: Cli) -> None:
    import socket

    port = 20_000 + os.getpid() % 20_000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        said = cli("up", str(cli.topology), "--for", "20", expect=5)
        assert "feed: exit code 78" in said
        assert "Address already in use" in cli("logs", "feed", "--node", cli.name)
