"""`sovereign ps`: the actors of a running node."""

from __future__ import annotations

import json

import click


@click.command("ps", epilog="Exit codes: 0 shown; 3 nothing runs; 5 the node did not answer.")
@click.option("--node", help="Which node, when several run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(node: str | None, as_json: bool) -> None:
    """Show the actors of a running node.

    \b
    Example: sovereign ps --json

    With --json: {"node", "halted", "epoch", "run_dir", "archive_dir", "uptime_s", "actors": [{"actor", "kind", "state",
    "pid", "cpu", "restarts", "exit_code", "counters", "latency_ns"}], "lags": [{"ring", "reader", "gate", "slots"}]}.
    """
    from sovereign.cli.node import tell
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
    state = "HALTED" if found["halted"] else "up"
    click.echo(f"node {found['node']} {state} for {found['uptime_s']:.0f} s")
