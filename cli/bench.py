"""`sovereign bench`: the ring beside the limit of this machine, in one run."""

from __future__ import annotations

import json
from typing import Any

import click


@click.group("bench", epilog="Exit codes: 0 measured; 5 fewer than two cores.")
def command() -> None:
    """Measure the ring beside the limit of this machine.

    \b
    Example: sovereign bench hop --json
    """


def _print(bench: str, unit: str, rounds: int, rows: list[dict[str, Any]], as_json: bool) -> None:
    from sovereign.benchmarks.report import machine, with_ratios
    from sovereign.cli.tables import text_table

    host = machine()
    found = {
        "bench": bench,
        "unit": unit,
        "machine": host,
        "rounds": rounds,
        "rows": with_ratios(rows),
    }
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    keys = [key for key in rows[0] if key not in ("name", "ratio")]
    header = ["", *keys, "ratio"]
    lines = [
        [row["name"], *(f"{row[k]:,.0f}" for k in keys), str(next(iter(row["ratio"].values()), ""))]
        for row in rows
    ]
    click.echo(text_table(header, lines))
    click.echo(f"{unit}; ratio to the limit; {rounds} rounds; {host['cpu']}")


def _two_cores() -> None:
    from sovereign.benchmarks.pair import cores

    if len(cores()) < 2:
        click.echo("two cores are needed: this process may use one", err=True)
        raise SystemExit(5)


@command.command("hop")
@click.option("--rounds", default=5, show_default=True, help="Rounds, limit and ring in turn.")
@click.option("--trips", default=200_000, show_default=True, help="Round trips a round.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def hop(rounds: int, trips: int, as_json: bool) -> None:
    """Round trip of a 64-byte message between two pinned processes.

    \b
    Example: sovereign bench hop --json
    """
    from sovereign.benchmarks.pair import limit_round, ring_round
    from sovereign.benchmarks.report import latency_row

    _two_cores()
    limit_round(100), ring_round(100)  # compile
    taken = [(limit_round(trips), ring_round(trips)) for _ in range(rounds)]
    rows = [
        latency_row("limit", [one for one, _ in taken]),
        latency_row("sovereign", [one for _, one in taken]),
    ]
    _print("hop", "ns", rounds, rows, as_json)


@command.command("throughput")
@click.option("--rounds", default=5, show_default=True)
@click.option("--messages", default=4_000_000, show_default=True, help="Messages a round.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def throughput(rounds: int, messages: int, as_json: bool) -> None:
    """Messages a second: one writer to one, two and three gates, published singly and in batches of 16.

    \b
    Example: sovereign bench throughput --json
    """
    from sovereign.benchmarks.pair import copy_round, throughput_round
    from sovereign.benchmarks.report import throughput_row

    _two_cores()
    cases = [(readers, batch) for readers in (1, 2, 3) for batch in (1, 16)]
    copy_round(16), throughput_round(1, 16, 160)  # compile
    found: dict[str, list[float]] = {"limit": []}
    for _ in range(rounds):
        found["limit"].append(copy_round(messages))
        for readers, batch in cases:
            name = f"sovereign 1to{readers}" + (f" batch{batch}" if batch > 1 else "")
            found.setdefault(name, []).append(throughput_round(readers, batch, messages))
    rows = [throughput_row(name, rates) for name, rates in found.items()]
    _print("throughput", "messages/s", rounds, rows, as_json)
