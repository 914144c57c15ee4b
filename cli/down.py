"""`sovereign down`: end a node."""

from __future__ import annotations

import json
import time

import click

from sovereign.cli.complete import nodes

ENDS_WITHIN_S = 30


@click.command("down", epilog="Exit codes: 0 ended; 3 nothing runs; 5 it did not end in time.")
@click.argument("node", required=False, shell_complete=nodes)
@click.option("--node", "named", shell_complete=nodes, help="The same, as other verbs have it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(node: str | None, named: str | None, as_json: bool) -> None:
    """End a running node: sources first, each actor after it has drained.

    \b
    Example: sovereign down demo

    With --json: {"node", "took_s"}; on failure, as every verb with --json: {"error": {"what", "where", "got",
    "expected", "hint", "exit_code"}}.
    """
    from sovereign.cli.node import run_dir_of
    from sovereign.runtime.control_socket import Request, ask
    from sovereign.runtime.errors import SovereignError
    from sovereign.runtime.rundir import holder

    if node and named and node != named:
        raise click.UsageError(f"two nodes are named: {node} and {named}")
    began = time.monotonic()
    run_dir = run_dir_of(node or named)
    ask(run_dir, Request(op="down"))
    while holder(run_dir) is not None:
        if time.monotonic() - began > ENDS_WITHIN_S:
            raise SovereignError(
                f"node {run_dir.name} does not end",
                got=f"it still runs after {ENDS_WITHIN_S} s",
                hint=f"`sovereign ps --node {run_dir.name}` shows who is left",
            )
        time.sleep(0.01)
    took = time.monotonic() - began
    if as_json:
        click.echo(json.dumps({"node": run_dir.name, "took_s": round(took, 3)}, indent=2))
    else:
        click.echo(f"node {run_dir.name} ended in {took:.1f} s")
