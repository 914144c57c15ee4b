"""Ctrl-C and SIGTERM while a node starts, at seeded moments: a line, the shell's exit code, and nothing left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli_node import Cli, cli

from nodes import until
from sovereign.runtime.shm import segments_of

__all__ = ["cli"]  # the fixture
SEED = 20_261_125
MOMENTS = 12


def _catches(pid: int, number: int) -> bool:
    """Whether the process has a handler of its own for a signal: the interpreter alone has none for SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


def _begin(cli: Cli, *words: str) -> subprocess.Popen[str]:
    """`sovereign up`, leader of a process group, as a shell starts it; its guard stands when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sovereign", "up", str(cli.topology), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "SOVEREIGN_RUN_DIR": str(cli.folder / "run")},
        start_new_session=True,
    )
    until(lambda: _catches(process.pid, signal.SIGTERM))
    return process


def _seconds_to_start(cli: Cli) -> float:
    """From the guard until the loops run, with everything compiled."""
    cli("up", str(cli.topology), "--detach")
    cli("down", cli.name)
    process, began = _begin(cli), time.monotonic()
    until(lambda: _all_run(cli), 60)
    took = time.monotonic() - began
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said  # it ran: to be ended is no failure
    return took


def _all_run(cli: Cli) -> bool:
    logs = cli.folder / "run" / cli.name / "logs"
    names = ("feed", "taker", "signer", "egress", "auditor")
    texts = [
        (logs / f"{name}.log").read_text() for name in names if (logs / f"{name}.log").exists()
    ]
    return sum(text.count('"event": "running"') for text in texts) == 2 * len(names)


def test_a_signal_at_any_moment_of_the_start_leaves_nothing(cli: Cli) -> None:
    whole = _seconds_to_start(cli)
    chance = random.Random(SEED)
    for turn in range(MOMENTS):
        number = (signal.SIGINT, signal.SIGTERM)[turn % 2]
        moment = whole * (turn + chance.random()) / MOMENTS
        process = _begin(cli)
        time.sleep(moment)
        # A terminal's Ctrl-C reaches the whole group, so the forkserver too.
        os.killpg(process.pid, number) if turn % 2 == 0 else os.kill(process.pid, number)
        said, _ = process.communicate(timeout=60)
        about = f"seed {SEED}, turn {turn}, {moment:.3f} s, {number.name}: {said}"
        ran = process.returncode == 0
        assert ran or process.returncode == 128 + number, about
        assert ("stopped before it ran" in said) is not ran, about
        assert "Traceback" not in said and "Aborted" not in said, about
        assert not segments_of(cli.name), about
        assert not Path(f"/dev/shm/sovereign-lock.{cli.name}").exists(), about


def test_detach_passes_a_signal_on_to_the_node_that_it_starts(cli: Cli) -> None:
    process = _begin(cli, "--detach")
    log = cli.folder / "run" / cli.name / "logs" / "up.log"
    until(log.exists, 60)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "nothing runs" in cli("ps", expect=3)
    assert not segments_of(cli.name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_other_verbs_end_quietly_too(cli: Cli, number: signal.Signals) -> None:
    cli("up", str(cli.topology), "--detach")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sovereign", "logs", "-f", "--node", cli.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SOVEREIGN_RUN_DIR": str(cli.folder / "run")},
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert said == ""
    assert process.returncode in (0, -signal.SIGTERM)
    cli("down", cli.name)
