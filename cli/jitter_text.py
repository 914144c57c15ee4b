"""`sovereign jitter` for people: the cores side by side, who took their time, the node beside the host, and advice."""

from __future__ import annotations

from typing import Any

from sovereign.cli.tables import text_table

_SHOWN_GAPS = 3


def _us(ns: float) -> str:
    """Microseconds, for columns that are compared."""
    return f"{ns / 1_000:,.1f}" if ns >= 100 else f"{ns / 1_000:.2f}"


def _cores(found: dict[str, Any]) -> str:
    points = list(found["cpus"][0]["by_time_ns"])
    header = ["cpu", "looks", "gaps", "gap ppm", *(p.replace("_", ".") for p in points), "longest"]
    rows = [
        [
            str(core["cpu"]),
            f"{core['looks']:,}",
            f"{core['gaps']:,}",
            f"{core['gap_ppm']:,.1f}",
            *(_us(core["by_time_ns"][point]) for point in points),
            _us(core["longest_ns"]),
        ]
        for core in found["cpus"]
    ]
    return text_table(header, rows)


def _who(core: dict[str, Any]) -> str:
    rows = []
    for one in core["who"]:
        if not one["times"] and not one["ns"]:
            continue
        times = "-" if one["times"] is None else f"{one['times']:,}"
        told = ["not told", "-"] if one["ns"] is None else [_us(one["ns"]), f"{one['ppm']:,.1f}"]
        rows.append([one["who"], times, *told])
    return text_table([f"cpu {core['cpu']}: who", "times", "us", "ppm"], rows)


def _more(core: dict[str, Any]) -> list[str]:
    lines = []
    for name in ("interrupts", "softirqs"):
        came = [f"{one['name']} {one['times']:,} {_short(one['what'])}" for one in core[name]]
        if came:
            lines.append(f"  {name}: " + "; ".join(one.strip() for one in came))
    largest = [f"{_us(gap['ns'])} us {gap['cause']}" for gap in core["largest"][:_SHOWN_GAPS]]
    if largest:
        lines.append("  largest gaps: " + "; ".join(largest))
    lines.append(
        f"  steal {_ms(core['steal_ns'])}, guest {_ms(core['guest_ns'])}, governor {core['governor'] or 'not told'},"
        f" isolated {_yes(core['isolated'])}, nohz_full {_yes(core['nohz_full'])},"
        f" migrations {_told(core['migrations'])}, own book-keeping {1e6 * core['own_ns'] / core['wall_ns']:,.0f} ppm"
    )
    return lines


def _short(what: str) -> str:
    """A device's name, without the controller's in front."""
    return f"({what.split()[-1]})" if "-edge" in what or "-fasteoi" in what else ""


def _ms(ns: int | None) -> str:
    return "not told" if ns is None else f"{ns / 1e6:.0f} ms"


def _told(value: int | None) -> str:
    return "not told" if value is None else str(value)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _tax(node: dict[str, Any]) -> list[str]:
    header = ["actor", "cpu", "histogram", "counted", "p99.99 us", "host us", "tax us"]
    rows = [
        [
            row["actor"],
            "-" if row["cpu"] is None else str(row["cpu"]),
            row["histogram"],
            f"{row['counted']:,}",
            _us(row["p99_99_ns"]),
            _us(row["host_ns"]),
            f"{row['tax_ns'] / 1_000:,.1f}",
        ]
        for row in node["rows"]
    ]
    if not rows:
        return [f"node {node['node']}: its actors have counted nothing yet"]
    lines = ["", f"node {node['node']}: the jitter tax", text_table(header, rows)]
    if node["shared_cores"]:
        lines.append(
            "an actor without a core of its own runs on the measured ones: what it takes counts as the host's here"
        )
    return lines


def text(found: dict[str, Any]) -> str:
    """The report."""
    clock = found["clock"]
    lines = [
        _cores(found),
        f"us; percentiles by time; gaps of {found['threshold_ns']:,} ns and longer; {clock['source']};"
        f" {'all cores at once' if found['together'] else 'one core after another'}; {found['machine']['cpu']}",
    ]
    for core in found["cpus"]:
        lines += ["", _who(core), *_more(core)]
    if found["node"]:
        lines += _tax(found["node"])
    if found["advice"]:
        lines += ["", *found["advice"]]
    return "\n".join(lines)
