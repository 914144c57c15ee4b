"""`sovereign bench`: the ring beside the limit of this machine, in one run."""

from __future__ import annotations

import json
from functools import partial
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


def _batched(batch: int) -> str:
    return f" batch{batch}" if batch > 1 else ""


def _two_cores() -> None:
    from sovereign.benchmarks.pair import cores

    if len(cores()) < 2:
        click.echo("two cores are needed: this process may use one", err=True)
        raise SystemExit(5)


@command.command("hop")
@click.option("--rounds", default=5, show_default=True, help="Rounds, limit and ring in turn.")
@click.option("--trips", default=200_000, show_default=True, help="Round trips a round.")
@click.option("--peers", is_flag=True, help="Run the peers too: c-ring (a plain ring in C).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def hop(rounds: int, trips: int, peers: bool, as_json: bool) -> None:
    """Round trip of a 64-byte message between two pinned processes.

    \b
    Example: sovereign bench hop --json
    """
    from sovereign.benchmarks.pair import limit_round, ring_round
    from sovereign.benchmarks.report import latency_row

    _two_cores()
    measured = {"limit": limit_round, "sovereign": ring_round}
    if peers:
        from sovereign.benchmarks.c_ring import CRing

        measured["c-ring"] = CRing().hop_round
    taken: dict[str, list[Any]] = {name: [] for name in measured}
    for measure in measured.values():
        measure(100)  # compile
    for _ in range(rounds):
        for name, measure in measured.items():
            taken[name].append(measure(trips))
    rows = [latency_row(name, times) for name, times in taken.items()]
    _print("hop", "ns", rounds, rows, as_json)


@command.command("node")
@click.option("--seconds", default=20.0, show_default=True, help="How long to look.")
@click.option("--tick-ns", default=1_000_000, show_default=True, help="Period of the events, ns.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def node(seconds: float, tick_ns: int, as_json: bool) -> None:
    """Tick-to-order and tick-to-signed, through the real actors of a whole node.

    \b
    Example: sovereign bench node --json
    """
    from sovereign.benchmarks.node import bare_signatures, tick_latencies
    from sovereign.benchmarks.pair import limit_round
    from sovereign.benchmarks.report import POINTS, latency_row

    _two_cores()
    limit_round(100)  # compile
    rows = [
        latency_row("limit", [limit_round(200_000)]),
        latency_row("ed25519 bare", [bare_signatures(20_000)]),
    ]
    for name, found in tick_latencies(seconds, tick_ns).items():
        rows.append({"name": name, **dict(zip(POINTS, map(float, found), strict=True))})
    _print("node", "ns", 1, rows, as_json)


@command.command("start")
@click.option("--rounds", default=5, show_default=True, help="Starts; each with five restarts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def start(rounds: int, as_json: bool) -> None:
    """From `up` to the first message, and `restart` of a compiled actor, beside a bare interpreter's start.

    \b
    Example: sovereign bench start --json
    """
    import numpy as np

    from sovereign.benchmarks.node import interpreter_start, running
    from sovereign.benchmarks.report import latency_row

    found: dict[str, list[int]] = {"limit": [], "up to first message": []}
    found |= {"restart to running": [], "restart to first message": []}
    for _ in range(rounds):
        found["limit"].append(interpreter_start())
        with running(1_000_000) as one:
            found["up to first message"].append(one.first_ns - one.started_ns)
            for _ in range(5):
                ran, spoke = one.restart("taker")
                found["restart to running"].append(ran)
                found["restart to first message"].append(spoke)
    rows = [latency_row(name, [np.array(times)]) for name, times in found.items()]
    _print("start", "ns", rounds, rows, as_json)


@command.command("throughput")
@click.option("--rounds", default=5, show_default=True)
@click.option("--messages", default=4_000_000, show_default=True, help="Messages a round.")
@click.option("--peers", is_flag=True, help="Run the peers too: c-ring (a plain ring in C).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def throughput(rounds: int, messages: int, peers: bool, as_json: bool) -> None:
    """Messages a second: one writer to one, two and three gates, published singly and in batches of 16.

    \b
    Example: sovereign bench throughput --json
    """
    from sovereign.benchmarks.pair import copy_round, throughput_round
    from sovereign.benchmarks.report import throughput_row

    _two_cores()
    cases = [(readers, batch) for readers in (1, 2, 3) for batch in (1, 16)]
    copy_round(16), throughput_round(1, 16, 160)  # compile
    measured = {
        f"sovereign 1to{readers}{_batched(batch)}": partial(throughput_round, readers, batch)
        for readers, batch in cases
    }
    if peers:
        from sovereign.benchmarks.c_ring import CRing

        ring = CRing()
        measured |= {
            f"c-ring 1to1{_batched(n)}": partial(ring.throughput_round, n) for n in (1, 16)
        }
    found: dict[str, list[float]] = {"limit": []}
    for _ in range(rounds):
        found["limit"].append(copy_round(messages))
        for name, measure in measured.items():
            found.setdefault(name, []).append(measure(messages))
    rows = [throughput_row(name, rates) for name, rates in found.items()]
    _print("throughput", "messages/s", rounds, rows, as_json)
