"""`sovereign down`: end a node."""

from __future__ import annotations

import time

import click


@click.command("down", epilog="Exit codes: 0 ended; 3 nothing runs; 5 it did not end in time.")
@click.argument("node", required=False)
def command(node: str | None) -> None:
    """End a running node: sources first, each actor after it has drained.

    \b
    Example: sovereign down demo
    """
    from sovereign.cli.node import run_dir_of
    from sovereign.runtime.control_socket import Request, ask
    from sovereign.runtime.rundir import holder

    began = time.monotonic()
    run_dir = run_dir_of(node)
    ask(run_dir, Request(op="down"))
    while holder(run_dir) is not None:
        if time.monotonic() - began > 30:
            click.echo(f"node {run_dir.name} does not end", err=True)
            raise SystemExit(5)
        time.sleep(0.01)
    click.echo(f"node {run_dir.name} ended in {time.monotonic() - began:.1f} s")
