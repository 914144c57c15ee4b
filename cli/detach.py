"""`sovereign up --detach`: the same command in a session of its own, until its node is ready."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import click

from sovereign.cli import early
from sovereign.cli.ready import wait_ready
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.rundir import holder

READY_LIMIT_S = 60.0


class _Child:
    """The supervisor's process; a signal that reaches us before the node is ready is passed on to it."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None
        for number in early.NUMBERS:
            signal.signal(number, self._forward)

    def _forward(self, number: int, _: object) -> None:
        self.signals.append(number)
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """The command line at hand without `--detach`, saying what it says into `log`."""
        arguments = [one for one in sys.argv[1:] if one != "--detach"]
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sovereign", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        if self.signals:
            self.process.send_signal(signal.SIGTERM)
        return self.process


def detach(run_dir: Path) -> None:
    """Start it and wait. SovereignError: it is up already (2), or an actor cannot be kept; else it ends as the child did."""
    if (pid := holder(run_dir)) is not None:
        raise SovereignError(
            f"node {run_dir.name} is already up",
            where=str(run_dir),
            got=f"process {pid} runs it",
            hint="`sovereign ps` shows it; `sovereign down` ends it",
            exit_code=2,
        )
    log = run_dir / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    said_at = log.stat().st_size if log.exists() else 0
    child = _Child()
    process = child.start(log)
    while holder(run_dir) is None and process.poll() is None:
        time.sleep(0.01)
    ready = True
    try:
        wait_ready(run_dir, READY_LIMIT_S)
    except SovereignError as error:
        if error.exit_code != 3 and not child.signals:
            raise
        ready = False
    if ready and not child.signals:
        click.echo(f"node {run_dir.name} is up, process {process.pid}; `sovereign down` ends it")
        return
    code = process.wait()  # it ended before it was ready: what it said and its exit code are ours
    click.echo(log.read_bytes()[said_at:].decode(errors="replace").rstrip(), err=True)
    raise SystemExit(early.exit_code(child.signals[0]) if child.signals else code or 5)
