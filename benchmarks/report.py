"""What a benchmark prints: one object, each row with its ratio to the row named `limit`, and the machine."""

from __future__ import annotations

import os
import platform
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


def latency_row(name: str, rounds: list[npt.NDArray[np.int64]]) -> dict[str, Any]:
    """Percentiles: the median over the rounds of each."""
    table = np.array([np.percentile(one, list(POINTS.values())) for one in rounds])
    return {"name": name, **{k: float(v) for k, v in zip(POINTS, np.median(table, 0), strict=True)}}


def throughput_row(name: str, rounds: list[float]) -> dict[str, Any]:
    """The median rate, and its spread."""
    return {"name": name, "per_s": float(np.median(rounds)), "min": min(rounds), "max": max(rounds)}


def with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row's figures over the limit's."""
    limit = next(row for row in rows if row["name"] == "limit")
    for row in rows:
        keys = [key for key in (*POINTS, "per_s") if key in row and key in limit]
        keys = [key for key in keys if not (key == "max" and "per_s" in row)]
        row["ratio"] = {key: round(row[key] / limit[key], 3) for key in keys if limit[key]}
    return rows
