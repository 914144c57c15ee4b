"""`sovereign ready`: wait until every actor runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from sovereign.cli.complete import nodes
from sovereign.cli.numbers import Seconds


def wait_ready(run_dir: Path, timeout_s: float) -> float:
    """Seconds until every actor ran. SovereignError (exit code 5) when one cannot, or time is up."""
    from sovereign.runtime.control_socket import Request, ask
    from sovereign.runtime.errors import SovereignError

    began = time.monotonic()
    waiting = "no answer yet"
    while time.monotonic() - began < timeout_s:
        try:
            found = ask(run_dir, Request(op="ps"))
        except SovereignError as error:
            if error.exit_code == 3:
                raise
            time.sleep(0.01)
            continue
        states = {row["actor"]: row["state"] for row in found["actors"] if not row["detached"]}
        if all(state in ("RUNNING", "HALTED") for state in states.values()):
            return time.monotonic() - began
        if "FATAL" in states.values():
            break
        waiting = ", ".join(f"{k} {v}" for k, v in states.items() if v != "RUNNING")
        time.sleep(0.01)
    raise SovereignError(
        "not every actor runs", got=waiting, hint="`sovereign logs ACTOR` says why", exit_code=5
    )


@click.command("ready", epilog="Exit codes: 0 every actor runs; 3 nothing runs; 5 not in time.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Seconds(),
    default=30.0,
    show_default=True,
    help="Seconds to wait.",
)
@click.option("--node", shell_complete=nodes, help="Which node, when several run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(timeout_s: float, node: str | None, as_json: bool) -> None:
    """Wait until every actor's loop is warm and runs.

    \b
    Example: sovereign ready --timeout 5

    With --json: {"node", "took_s"}.
    """
    from sovereign.cli.node import run_dir_of

    run_dir = run_dir_of(node)
    took = wait_ready(run_dir, timeout_s)
    if as_json:
        click.echo(json.dumps({"node": run_dir.name, "took_s": round(took, 3)}, indent=2))
    else:
        click.echo(f"node {run_dir.name} is ready after {took:.2f} s")
