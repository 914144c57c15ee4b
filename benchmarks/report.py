"""What a benchmark prints: one object, each row with its ratio to the row named `limit`, and the machine."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
import numpy.typing as npt

POINTS = {"p50": 50.0, "p99": 99.0, "p99_9": 99.9, "p99_99": 99.99, "max": 100.0}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "governor": governor.read_text().strip() if governor.exists() else "unknown",
    }


def curve_points(count: int) -> list[float]:
    """Percentiles from p50 to p99.999, ten a decade of 1/(1-p): as far as `count` samples have one beyond."""
    steps = [2.0, *(10 ** (k / 10) for k in range(4, 51))]
    return [100 * (1 - 1 / step) for step in steps if step <= max(2, count)]


def _short(ratio: float) -> float:
    """Four significant digits: a slow peer's ratio is not 0."""
    return float(f"{ratio:.4g}")


def latency_row(
    name: str,
    rounds: list[npt.NDArray[np.int64]],
    around: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] | None = None,
) -> dict[str, Any]:
    """Percentiles and their curve: the median over the rounds of each. `around`: the limits beside each round."""
    at = list(POINTS.values())
    table = np.array([np.percentile(one, at) for one in rounds])
    points = curve_points(min(len(one) for one in rounds))
    curve = np.median([np.percentile(one, points) for one in rounds], 0)
    row = {
        "name": name,
        **{k: float(v) for k, v in zip(POINTS, np.median(table, 0), strict=True)},
        "p50_min": float(table[:, 0].min()),
        "p50_max": float(table[:, 0].max()),
        "curve": [[round(p, 6), float(v)] for p, v in zip(points, curve, strict=True)],
    }
    if around is not None:
        beside = np.array([[np.percentile(one, at) for one in pair] for pair in around])
        ratios = np.median(table / beside.mean(1), 0)
        row["ratio"] = {k: _short(v) for k, v in zip(POINTS, ratios, strict=True)}
    return row


def throughput_row(
    name: str, rounds: list[float], around: list[tuple[float, float]]
) -> dict[str, Any]:
    """The median rate, its spread, and the median of its ratios to the limits beside each round."""
    ratios = np.array(rounds) / np.array(around).mean(1)
    return {
        "name": name,
        "per_s": float(np.median(rounds)),
        "min": min(rounds),
        "max": max(rounds),
        "ratio": {"per_s": _short(np.median(ratios))},
    }


def with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row's percentiles over the limit's, where the limit was measured once for all."""
    limit = next(row for row in rows if row["name"] == "limit")
    for row in rows:
        keys = [key for key in POINTS if key in row and limit[key]]
        row.setdefault("ratio", {key: _short(row[key] / limit[key]) for key in keys})
    return rows


def as_text(found: dict[str, Any]) -> str:
    """The object as JSON, a pair of numbers a line."""
    text = json.dumps(found, indent=2)
    return re.sub(r"\[\s+([-\d.e]+),\s+([-\d.e]+)\s+\]", r"[\1, \2]", text)
