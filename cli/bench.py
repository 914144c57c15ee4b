"""`sovereign bench`: the ring beside the limit of this machine, in one run."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

from sovereign.runtime.errors import SovereignError
from sovereign.runtime.limits import RING_DEFAULT_SLOTS

POSITIVE = click.IntRange(min=1)


@click.group(
    "bench",
    epilog="Exit codes: 0 measured; 2 wrong use; 5 fewer than two cores, or it could not be measured.",
)
def command() -> None:
    """Measure the ring beside the limit of this machine.

    \b
    Example: sovereign bench hop --json
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # rings and peers are given back


def _print(bench: str, unit: str, rounds: int, rows: list[dict[str, Any]], as_json: bool) -> None:
    from sovereign.benchmarks.report import as_text, machine, with_ratios
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
        click.echo(as_text(found))
        return
    keys = [key for key in rows[0] if key not in ("name", "ratio", "curve")]
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


def _left_out(name: str, error: SovereignError) -> None:
    click.echo(f"{name} is left out: {error}", err=True)


_slots = click.option(
    "--slots",
    default=RING_DEFAULT_SLOTS,
    show_default=True,
    help="Slots of each ring, the C rings' and LMAX's too; a power of two.",
)
_peers = click.option(
    "--peers",
    is_flag=True,
    help="Run the peers that are installed too; what is missing is named on stderr.",
)


@command.command("hop")
@click.option("--rounds", default=5, show_default=True, type=POSITIVE, help="Rounds.")
@click.option(
    "--trips", default=200_000, show_default=True, type=POSITIVE, help="Round trips a round."
)
@_slots
@_peers
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def hop(rounds: int, trips: int, slots: int, peers: bool, as_json: bool) -> None:
    """Round trip of a 64-byte message between two pinned processes.

    \b
    Example: sovereign bench hop --json --peers
    """
    from sovereign.benchmarks.roster import assembled
    from sovereign.benchmarks.rounds import hop_rows

    _two_cores()
    with assembled(peers, _left_out, slots) as all_peers:
        rows = hop_rows(all_peers, rounds, trips, _left_out)
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


@command.command("plot")
@click.option(
    "--results", default="benchmarks/results", show_default=True, help="Folder of the JSON files."
)
@click.option(
    "--out", default="docs", show_default=True, help="Folder for hop.svg, throughput.svg."
)
def plot(results: str, out: str) -> None:
    """Draw what hop and throughput measured: percentile curves and bars.

    \b
    Example: sovereign bench plot --results benchmarks/results --out docs
    """
    from sovereign.benchmarks.plots import draw

    for written in draw(Path(results), Path(out)):
        click.echo(written)


@command.command("throughput")
@click.option("--rounds", default=5, show_default=True, type=POSITIVE, help="Rounds.")
@click.option(
    "--messages", default=4_000_000, show_default=True, type=POSITIVE, help="Messages a round."
)
@_slots
@_peers
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def throughput(rounds: int, messages: int, slots: int, peers: bool, as_json: bool) -> None:
    """Messages a second: to one, two and three readers, through three stages, and round a diamond.

    Each published singly and in batches of 16. More processes than cores share them, and yield.

    \b
    Example: sovereign bench throughput --json --peers
    """
    from sovereign.benchmarks.roster import assembled
    from sovereign.benchmarks.rounds import throughput_rows

    _two_cores()
    with assembled(peers, _left_out, slots) as all_peers:
        rows = throughput_rows(all_peers, rounds, messages, _left_out)
    _print("throughput", "messages/s", rounds, rows, as_json)
