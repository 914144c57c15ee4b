"""`sovereign ps`: the actors of a running node."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import click

from sovereign.cli.complete import nodes


@click.command("ps", epilog="Exit codes: 0 shown; 3 nothing runs; 5 the node did not answer.")
@click.option("--node", shell_complete=nodes, help="Which node, when several run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(node: str | None, as_json: bool) -> None:
    """Show the actors of a running node.

    \b
    Example: sovereign ps --json

    With --json: {"node", "halted", "epoch", "run_dir", "archive_dir", "uptime_s", "actors": [{"actor", "kind", "state",
    "pid", "cpu", "restarts", "exit_code", "counters", "latency_ns"}], "lags": [{"ring", "reader", "gate", "slots"}]}.
    """
    from sovereign.cli.node import tell
    from sovereign.cli.notes import notes
    from sovereign.cli.tables import text_table
    from sovereign.runtime.control_socket import Request

    found = tell(node, Request(op="ps"))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    header = ["actor", "kind", "state", "pid", "cpu", "events", "outputs", "lag", "restarts"]
    rows = []
    for row in found["actors"]:
        lag = sum(one["slots"] for one in found["lags"] if one["reader"] == row["actor"])
        counters = row["counters"]
        counts = [counters["events"] or counters["packets"], counters["outputs"], lag]
        cells = [row["actor"], row["kind"], row["state"], row["pid"] or "-"]
        cpu = "-" if row["cpu"] is None else row["cpu"]
        rows.append([str(cell) for cell in (*cells, cpu, *counts, row["restarts"])])
    click.echo(text_table(header, rows))
    for line in notes(found["actors"], _refusals(found)):
        click.echo(line)
    state = "HALTED" if found["halted"] else "up"
    click.echo(f"node {found['node']} {state} for {found['uptime_s']:.0f} s")


def _refusals(found: dict[str, Any]) -> dict[str, dict[str, int]]:
    """By actor and rule, from the rings: mapped read-only, so looking disturbs nobody."""
    from sovereign.cli.notes import rules_of
    from sovereign.runtime.errors import SovereignError
    from sovereign.runtime.ring import open_ring

    since_ns = time.time_ns() - int(found["uptime_s"] * 1e9)
    rules = {}
    for row in found["actors"]:
        if row["counters"]["refused"]:
            with contextlib.suppress(SovereignError, OSError):  # it ends, or it is not ours to look
                ring = open_ring(found["node"], row["actor"])
                rules[row["actor"]] = rules_of(ring, since_ns)
                ring.segment.close()
    return rules
