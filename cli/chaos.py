"""`sovereign chaos`: kill actors by a seed's choice, at any store, and count what was lost or repeated."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

EPILOG = "Exit codes: 0 nothing lost or repeated; 1 something was; 5 no run."


@click.command("chaos", epilog=EPILOG)
@click.option("--seed", default=1, show_default=True, help="Decides who dies, when and how.")
@click.option(
    "--kills", type=click.IntRange(min=1), default=200, show_default=True, help="How many."
)
@click.option(
    "--scenario",
    type=click.Choice(["chain", "node", "all"]),
    default="all",
    show_default=True,
    help="chain: actors forked from here; node: under their supervisor.",
)
@click.option("--verbose", is_flag=True, help="Say who dies how, before it does.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(seed: int, kills: int, scenario: str, verbose: bool, as_json: bool) -> None:
    """Kill every actor of a node, its pod and its supervisor, and check what comes out.

    \b
    Example: sovereign chaos --seed 7 --kills 200 --json

    With --json: {"seed", "kills", "lost", "repeated", "wrong", "paused", "messages", "by_way", "by_actor",
    "recovery_ms": {"p50", "p99", "max", "chain": {…}, "node": {…}, "supervisor": {…}}, "seconds"}.
    """
    # Before anything is compiled: these loops carry kill points, and must not meet the ordinary ones in one cache.
    os.environ["SOVEREIGN_KILL_POINTS"] = "1"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sovereign" / "chaos"
    os.environ["NUMBA_CACHE_DIR"] = str(cache)
    from sovereign.benchmarks.chaos.run import run
    from sovereign.runtime.errors import SovereignError

    if kills < 1:
        raise SovereignError(
            "nobody is to be killed", got=str(kills), expected="1 or more", exit_code=2
        )
    began = time.monotonic()
    again = f"sovereign chaos --seed {seed} --kills {kills} --scenario {scenario}"
    progress: Any = click.progressbar  # its stub wants an iterable of a known type
    with progress(length=kills, label="kills", file=sys.stderr) as bar:
        number = [0]

        def told(fault: Any) -> None:
            number[0] += 1
            if verbose:
                click.echo(f"{number[0]}. {fault}", err=True)
            bar.update(fault.deaths)

        try:
            outcome = run(seed, kills, scenario, told)
        except SovereignError as error:
            error.hint = error.hint or f"again: {again}"
            raise
    found = _as_json(seed, outcome, time.monotonic() - began)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _say(found)
    for text in outcome.findings.texts:
        click.echo(text, err=True)
    if not outcome.findings.sound:
        click.echo(f"again: {again}; what it left: {', '.join(outcome.kept)}", err=True)
        raise SystemExit(1)


def _recovery(times_ns: list[int]) -> dict[str, float]:
    """Milliseconds."""
    import numpy as np

    points = np.percentile(np.array(times_ns or [0]) / 1e6, (50, 99, 100))
    return {
        name: round(float(one), 2) for name, one in zip(("p50", "p99", "max"), points, strict=True)
    }


def _as_json(seed: int, outcome: Any, seconds: float) -> dict[str, Any]:
    every = [one for times in outcome.recovery_ns.values() for one in times]
    split = {name: _recovery(times) for name, times in outcome.recovery_ns.items() if times}
    findings = outcome.findings
    return {
        "seed": seed,
        "kills": outcome.kills,
        "lost": findings.lost,
        "repeated": findings.repeated,
        "wrong": findings.wrong,
        "paused": outcome.paused,
        "messages": outcome.messages,
        "by_way": dict(outcome.by_way.most_common()),
        "by_actor": dict(outcome.by_actor.most_common()),
        "recovery_ms": {**_recovery(every), **split},
        "seconds": round(seconds, 1),
    }


def _say(found: dict[str, Any]) -> None:
    for name in ("by_way", "by_actor"):
        said = ", ".join(f"{count} {what}" for what, count in found[name].items())
        click.echo(f"{found['kills']} kills survived: {said}" if name == "by_way" else f"of {said}")
    click.echo(
        f"of {found['messages']} messages {found['lost']} lost, {found['repeated']} repeated, {found['wrong']} wrong"
    )
    for name in ("chain", "node", "supervisor"):
        if name in found["recovery_ms"]:
            times = found["recovery_ms"][name]
            click.echo(
                f"recovery, {name}: p50 {times['p50']} ms, p99 {times['p99']} ms, worst {times['max']} ms"
            )
    click.echo(f"seed {found['seed']}, {found['seconds']} s")
