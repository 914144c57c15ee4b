"""What a jitter run found, as the one object that `sovereign jitter --json` prints and its text is made from."""

from __future__ import annotations

from typing import Any

from sovereign.benchmarks import gap_histogram
from sovereign.benchmarks.attribution import advice, takers, top
from sovereign.benchmarks.core_run import CoreRun, Plan
from sovereign.benchmarks.jitter_tax import NodeTimes, tax_rows
from sovereign.benchmarks.report import machine
from sovereign.runtime.core_settings import CoreSettings, core_settings
from sovereign.runtime.kernel_counts import Line


def report(
    plan: Plan, runs: list[CoreRun], *, together: bool, node: NodeTimes | None
) -> dict[str, Any]:
    """Everything, in the shape that the verb's help gives."""
    settings = {run.cpu: core_settings(run.cpu) for run in runs}
    return {
        "seconds": plan.seconds,
        "threshold_ns": plan.threshold_ns,
        "together": together,
        "machine": machine(),
        "clock": {
            "source": plan.source.name,
            "why": plan.source.why,
            "ns_per_tick": plan.rate.ns_per_tick,
            "look_ns": round(plan.rate.look_ns, 2),
        },
        "cpus": [_core(run, settings[run.cpu]) for run in runs],
        "node": None
        if node is None
        else {"node": node.node, "shared_cores": node.shared, "rows": tax_rows(node, runs)},
        "advice": advice(runs, settings),
    }


def _ppm(part_ns: int | None, run: CoreRun) -> float | None:
    return None if part_ns is None else round(1e6 * part_ns / max(run.wall_ns, 1), 3)


def _core(run: CoreRun, settings: CoreSettings) -> dict[str, Any]:
    did = run.activity
    return {
        "cpu": run.cpu,
        "started_ns": run.started_ns,
        "wall_ns": run.wall_ns,
        "looks": run.looks,
        "look_ns": round(run.run.ordinary_ns, 2),
        "gaps": run.gaps,
        "gap_ns": run.gap_ns,
        "gap_ppm": _ppm(run.gap_ns, run),
        "longest_ns": run.longest_ns,
        "by_time_ns": gap_histogram.percentiles(run.run),
        "delay_ns": gap_histogram.delays(run.run),
        "own_ns": run.own_ns,
        "clock_off_ppm": run.off_ppm,
        "who": [{**one._asdict(), "ppm": _ppm(one.ns, run)} for one in takers(run)],
        "interrupts": _lines(did.interrupts),
        "softirqs": _lines(did.softirqs),
        "switches": did.switches._asdict() if did.switches else None,
        "waited_ns": did.waited_ns,
        "steal_ns": did.time_ns("steal"),
        "guest_ns": did.time_ns("guest"),
        "quota": did.held._asdict() if did.held else None,
        "thermal_times": did.thermal_times,
        "migrations": did.migrations,
        "governor": settings.governor,
        "isolated": settings.isolated,
        "nohz_full": settings.nohz_full,
        "largest": [{"at_ns": gap.at_ns, "ns": gap.ns, "cause": gap.cause} for gap in run.largest],
    }


def _lines(lines: dict[str, Line]) -> list[dict[str, Any]]:
    return [{"name": name, "what": line.what, "times": line.times} for name, line in top(lines)]
