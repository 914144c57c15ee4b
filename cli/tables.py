"""Tables for people, as plain text: they read the same on a terminal and in a pipe."""

from __future__ import annotations

from typing import Any


def text_table(header: list[str], rows: list[list[str]]) -> str:
    """Columns as wide as they need, two spaces between; numbers to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _ns(value: int) -> str:
    if value < 10_000:
        return f"{value} ns"
    if value < 10_000_000:
        return f"{value / 1_000:.1f} us"
    return f"{value / 1_000_000:.1f} ms"


def summary(rows: list[dict[str, Any]]) -> str:
    """What each actor did: counts, and the percentiles of its hop."""
    header = [
        "actor",
        "state",
        "events",
        "outputs",
        "restarts",
        "hop p50",
        "p99",
        "p99.9",
        "p99.99",
    ]
    lines = []
    for row in rows:
        counters = row["counters"]
        hop = row["latency_ns"].get("hop", {})
        cells = [
            _ns(hop[point]) if point in hop else "-" for point in ("p50", "p99", "p99_9", "p99_99")
        ]
        events = counters["events"] or counters["packets"]
        counts = [str(events), str(counters["outputs"]), str(row["restarts"])]
        lines.append([row["actor"], row["state"], *counts, *cells])
    return text_table(header, lines)
