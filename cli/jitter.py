"""`sovereign jitter`: what the host itself costs, core by core, and a running node beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

HELP = """Spin on each core and count every time that it could not look: what the host takes, and who did it.

\b
Example: sovereign jitter --seconds 10 --cpus 2,3 --hdr host.hlog

by_time_ns: that share of the time passed between looks no further apart. delay_ns: what an event at a random moment waits
for the core. The ns of "who" add up to gap_ns; null: the kernel does not tell. A cause is unknown, switched (another task
ran), blocked or faulted. own_ns: the loop's own book-keeping, in which it did not look.

\b
With --json:
{"seconds", "threshold_ns", "together", "machine",
 "clock": {"source", "why", "ns_per_tick", "look_ns"},
 "cpus": [{"cpu", "started_ns", "wall_ns", "looks", "look_ns", "gaps", "gap_ns", "gap_ppm", "longest_ns",
   "by_time_ns": {"p50", "p99", "p99_9", "p99_99", "p99_999"}, "delay_ns": {the same},
   "own_ns", "clock_off_ppm",
   "who": [{"who", "times", "ns", "ppm"}],
   "interrupts": [{"name", "what", "times"}], "softirqs": [{the same}],
   "switches": {"voluntary", "nonvoluntary"}, "waited_ns", "steal_ns", "guest_ns",
   "quota": {"times", "ns"}, "thermal_times", "migrations", "governor", "isolated", "nohz_full",
   "largest": [{"at_ns", "ns", "cause"}]}],
 "node": null or {"node", "shared_cores",
   "rows": [{"actor", "cpu", "histogram", "counted", "p99_99_ns", "host_cpu", "host_ns", "tax_ns"}]},
 "advice": [text]}
"""


@click.command(
    "jitter",
    help=HELP,
    epilog="Exit codes: 0 measured; 2 wrong use; 3 the node does not run; 5 could not be measured or written.",
)
@click.option("--seconds", default=5.0, show_default=True, help="How long each core spins.")
@click.option("--cpus", help="Which cores, as 0,2-4. Default: all that this process may use.")
@click.option("--together", is_flag=True, help="All cores at once, not one after another.")
@click.option(
    "--threshold-ns", default=500, show_default=True, help="A look that took this long is a gap."
)
@click.option("--hdr", type=click.Path(path_type=Path), help="Write an HdrHistogram log, ns.")
@click.option("--node", help="A running node: its p99.99 beside the host's.")
@click.option(
    "--clock",
    type=click.Choice(["auto", "raw"]),
    default="auto",
    show_default=True,
    help="The core's counter where it is steady, or CLOCK_MONOTONIC_RAW.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    seconds: float,
    cpus: str | None,
    together: bool,
    threshold_ns: int,
    hdr: Path | None,
    node: str | None,
    clock: str,
    as_json: bool,
) -> None:
    """Check what was asked, measure, print."""
    from sovereign.benchmarks import jitter
    from sovereign.benchmarks.hdr_log import open_log, write_log
    from sovereign.benchmarks.jitter_report import report
    from sovereign.benchmarks.jitter_tax import free_cores, node_times
    from sovereign.cli.jitter_text import text
    from sovereign.cli.node import tell
    from sovereign.runtime.control_socket import Request
    from sovereign.runtime.cycles import raw_clock

    _refuse_seconds(seconds)
    chosen = jitter.usable(None if cpus is None else _numbers(cpus))
    times = None
    if node is not None:
        times = node_times(tell(node, Request(op="ps")))
        chosen = free_cores(times, chosen, named=cpus is not None)
    source = raw_clock("asked for") if clock == "raw" else None
    plan = jitter.plan(chosen, seconds, threshold_ns, source)
    log = open_log(hdr) if hdr else None
    whole_s = seconds * (1 if together else len(chosen))
    click.echo(f"cpu {','.join(map(str, chosen))}: {whole_s:g} s by {plan.source.name}", err=True)
    runs = jitter.measure(plan, together=together)
    found = report(plan, runs, together=together, node=times)
    if log is not None:
        write_log(log, runs, threshold_ns)
    click.echo(json.dumps(found, indent=2) if as_json else text(found))


def _refuse_seconds(seconds: float) -> None:
    from sovereign.runtime.errors import InputError
    from sovereign.runtime.limits import JITTER_MAX_S

    if not math.isfinite(seconds) or not 0 < seconds <= JITTER_MAX_S:
        raise InputError(
            "a core cannot spin for so long",
            where="--seconds",
            got=f"{seconds:g}",
            expected=f"more than 0, at most {JITTER_MAX_S:,}",
            hint="5 is the default; rare gaps need minutes",
        )


def _numbers(text: str) -> list[int]:
    from sovereign.runtime.core_settings import cpu_list
    from sovereign.runtime.errors import InputError

    try:
        found = cpu_list(text)
    except ValueError:
        found = []
    if not found:
        raise InputError(
            "that is no list of cores",
            where="--cpus",
            got=repr(text),
            expected="numbers and ranges: 0,2-4",
            hint="`lscpu -e` shows the cores of this host",
        )
    return found
