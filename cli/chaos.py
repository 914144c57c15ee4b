"""`sovereign chaos`: kill actors by a seed's choice, at any store, and count what was lost or repeated."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click


@click.command("chaos", epilog="Exit codes: 0 nothing lost or repeated; 1 something was; 5 no run.")
@click.option("--seed", default=1, show_default=True, help="Decides who dies, when and how.")
@click.option(
    "--kills", type=click.IntRange(min=1), default=200, show_default=True, help="How many."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(seed: int, kills: int, as_json: bool) -> None:
    """Kill a bus and a strategy again and again, and check what comes out of them.

    \b
    Example: sovereign chaos --seed 7 --kills 1000 --json

    With --json: {"seed", "kills", "by_way", "messages", "lost", "repeated", "wrong", "recovery_ms": {"p50", "p99", "max"}, "seconds"}.
    """
    # Before anything is compiled: these loops carry kill points, and must not meet the ordinary ones in one cache.
    os.environ["SOVEREIGN_KILL_POINTS"] = "1"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sovereign" / "chaos"
    os.environ["NUMBA_CACHE_DIR"] = str(cache)
    import numpy as np

    from sovereign.benchmarks.chaos import run

    began = time.monotonic()
    progress: Any = click.progressbar  # its stub wants an iterable of a known type
    with progress(length=kills, label="kills", file=sys.stderr) as bar:
        done = [0]

        def told(count: int) -> None:
            bar.update(min(count, kills) - done[0])
            done[0] = min(count, kills)

        outcome = run(seed, kills, told)
    p50, p99, worst = np.percentile(np.array(outcome.recovery_ns) / 1e6, (50, 99, 100))
    found: dict[str, Any] = {
        "seed": seed,
        "kills": sum(outcome.kills.values()),
        "by_way": outcome.kills,
        "messages": outcome.messages,
        "lost": outcome.lost,
        "repeated": outcome.repeated,
        "wrong": outcome.wrong,
        "recovery_ms": {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(worst, 2)},
        "seconds": round(time.monotonic() - began, 1),
    }
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        ways = ", ".join(f"{count} {way}" for way, count in outcome.kills.items())
        click.echo(f"seed {seed}: {found['kills']} kills survived ({ways})")
        click.echo(
            f"of {outcome.messages} messages {outcome.lost} lost, {outcome.repeated} repeated, {outcome.wrong} wrong"
        )
        click.echo(
            f"recovery p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms; {found['seconds']} s"
        )
    raise SystemExit(1 if outcome.lost or outcome.repeated or outcome.wrong else 0)
