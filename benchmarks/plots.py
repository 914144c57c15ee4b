"""Pictures of results: percentile curves of the hop, bars of the throughput, as SVG.

The same results give the same bytes: no date, a fixed salt for names, and letters drawn as paths of the font that
Matplotlib brings along.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sovereign.benchmarks.peer import PROCESSES, module
from sovereign.benchmarks.report import POINTS
from sovereign.runtime.errors import InputError

COLOURS = {
    "limit": "#8a8a8a",
    "sovereign": "#c8102e",
    "c-ring": "#1f4e9c",
    "c-ring-128": "#4f8fd9",
    "c-ring-prefetch": "#9cc3ee",
    "lmax": "#e08a00",
    "iceoryx2": "#2a8f5b",
    "faster-fifo": "#7a4fa3",
    "pyzmq": "#b3568f",
    "mp-queue": "#6b4a2b",
    "mp-pipe": "#b08d6a",
}
_STYLE = {
    "svg.hashsalt": "sovereign",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
}
_NINES = {2: "p50", 10: "p90", 100: "p99", 1_000: "p99.9", 10_000: "p99.99", 100_000: "p99.999"}


def load(file: Path, bench: str) -> dict[str, Any]:
    """The results of `bench`. InputError when the file is not there, or holds something else."""
    hint = f"sovereign bench {bench} --json --peers > {file}"
    if not file.exists():
        raise InputError(f"no results of {bench}", where=str(file), hint=hint)
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        named = found["bench"], bool(found["rows"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("not a result of a bench", where=str(file), hint=hint) from error
    if named != (bench, True):
        raise InputError(
            "results of another bench, or none",
            where=str(file),
            got=str(found["bench"]),
            expected=bench,
            hint=hint,
        )
    return found


def _curve(row: dict[str, Any]) -> list[tuple[float, float]]:
    """1/(1-p) and ns; of a row measured before rows had curves, its four named percentiles."""
    points = [(p, row[key]) for key, p in POINTS.items() if key in row and p < 100]
    return [(1 / (1 - p / 100), ns) for p, ns in row.get("curve", points)]


def _subtitle(found: dict[str, Any]) -> str:
    host = found["machine"]
    cores = f"{host['cores']} cores"
    return f"{host['cpu']}, {cores}, kernel {host['kernel']}; medians of {found['rounds']} rounds"


def hop(found: dict[str, Any], figure: Any) -> None:
    """Curves: what part of the round trips took at most so long; each axis in powers of ten."""
    axes = figure.subplots()
    figure.set_size_inches(9, 5.5)
    for row in found["rows"]:
        name = row["name"]
        strong = name in ("sovereign", "limit")
        axes.plot(
            *zip(*_curve(row), strict=True),
            label=name,
            color=COLOURS.get(name, "black"),
            linewidth=2.2 if strong else 1.3,
            linestyle="--" if name == "limit" else "-",
            zorder=3 if strong else 2,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(2, 100_000)
    axes.set_xticks(list(_NINES), list(_NINES.values()))
    axes.minorticks_off()
    axes.set_ylabel("round trip of 64 bytes, ns")
    axes.set_xlabel("percentile of the round trips")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    axes.set_title(f"Round trip between two pinned processes\n{_subtitle(found)}", loc="left")


def _shapes(found: dict[str, Any]) -> dict[str, dict[str, dict[int, dict[str, Any]]]]:
    """Rows by shape, peer and batch."""
    table: dict[str, dict[str, dict[int, dict[str, Any]]]] = {shape: {} for shape in PROCESSES}
    for row in found["rows"]:
        name, *flow = row["name"].split(" ")
        if flow and flow[0] in table:
            batch = int(flow[1].removeprefix("batch")) if len(flow) > 1 else 1
            table[flow[0]].setdefault(name, {})[batch] = row
    return {shape: peers for shape, peers in table.items() if peers}


def _bars(axes: Any, peers: dict[str, dict[int, dict[str, Any]]], most: float) -> None:
    """Two bars a peer, published singly (pale) and in batches, each with its spread and its median in figures."""
    at = 0.0
    ticks = []
    for name, batches in peers.items():
        first = at
        for batch, row in sorted(batches.items()):
            rate, low, high = (row[key] / 1e6 for key in ("per_s", "min", "max"))
            colour = COLOURS.get(name, "black")
            axes.barh(at, rate, 0.85, color=colour, alpha=1.0 if batch > 1 else 0.55)
            axes.plot([low, high], [at, at], color="#333333", linewidth=0.8)
            label = f"{rate:.3g}" + (f" in batches of {batch}" if batch > 1 else "")
            axes.text(max(rate, high) + most * 0.01, at, label, va="center", fontsize=7.5)
            at += 1
        ticks.append(((first + at - 1) / 2, name))
        at += 0.5
    axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, most * 1.18)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def throughput(found: dict[str, Any], figure: Any) -> None:
    """Bars: a panel a shape, all on one scale."""
    shapes = _shapes(found)
    if not shapes:
        raise InputError("no row of these results is a flow", expected="rows like `sovereign 1to1`")
    rows = [row for peers in shapes.values() for one in peers.values() for row in one.values()]
    most = max(row["max"] for row in rows) / 1e6
    heights = [
        sum(len(batches) + 0.5 for batches in peers.values()) + 2 for peers in shapes.values()
    ]
    figure.set_size_inches(9, 0.16 * sum(heights) + 1)
    panels = figure.subplots(
        len(shapes), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for axes, (shape, peers) in zip(panels, shapes.items(), strict=True):
        _bars(axes, peers, most)
        axes.set_title(f"{shape}, {PROCESSES[shape]} processes", loc="left", fontsize=9)
    panels[-1].set_xlabel("million messages a second; the thin line is the spread of the rounds")
    figure.suptitle(f"Throughput of 64-byte messages\n{_subtitle(found)}", x=0.01, ha="left")


DRAWINGS: dict[str, Callable[[dict[str, Any], Any], None]] = {"hop": hop, "throughput": throughput}


def draw(results: Path, out: Path) -> list[Path]:
    """`results`/hop.json and throughput.json as `out`/hop.svg and throughput.svg. InputError, ResourceError."""
    found = {name: load(results / f"{name}.json", name) for name in DRAWINGS}
    matplotlib = module("matplotlib", "plot", "matplotlib")
    figures = module("matplotlib.figure", "plot", "matplotlib")
    written = []
    with matplotlib.rc_context(_STYLE):
        for name, drawing in DRAWINGS.items():
            figure = figures.Figure(layout="constrained")
            drawing(found[name], figure)
            target = out / f"{name}.svg"
            nothing = {"Date": None, "Creator": None}
            figure.savefig(target, format="svg", metadata=nothing)
            written.append(target)
    return written
