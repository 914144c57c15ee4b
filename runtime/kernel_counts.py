"""What the kernel counts of one CPU and of one thread: parsers of its text files, and nothing that decides.

    /proc/interrupts, /proc/softirqs    a line a source, a column a CPU that is online
    /proc/stat                          time of a CPU by what it was spent on, in ticks of 1/CLK_TCK
    /proc/self/status, schedstat, sched context switches, time spent waiting for the CPU, migrations

Text in, numbers out: each is tested on texts of real machines. What a kernel does not tell is None, never 0.
"""

from __future__ import annotations

import os
from typing import NamedTuple

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest")


class Line(NamedTuple):
    """One source of interrupts: how often it came to a CPU, and what the kernel calls it."""

    times: int
    what: str


def _columns(header: str, cpu: int) -> tuple[int, int]:
    """Which number of a line is this CPU's (-1: it has none), and how many numbers a line has."""
    names = header.split()
    name = f"CPU{cpu}"
    return (names.index(name) if name in names else -1), len(names)


def interrupts(text: str, cpu: int) -> dict[str, Line]:
    """/proc/interrupts for one CPU, by name (`36`, `LOC`). Lines that are no CPU's own (ERR, MIS) are left out."""
    header, *lines = text.splitlines() or [""]
    column, width = _columns(header, cpu)
    found: dict[str, Line] = {}
    for line in lines:
        name, colon, rest = line.partition(":")
        words = rest.split()
        if not colon or column < 0 or len(words) < width:
            continue
        numbers = words[:width]
        if all(number.isdigit() for number in numbers):
            found[name.strip()] = Line(int(numbers[column]), " ".join(words[width:]))
    return found


def softirqs(text: str, cpu: int) -> dict[str, Line]:
    """/proc/softirqs for one CPU, by name (`TIMER`, `NET_RX`)."""
    return interrupts(text, cpu)


def cpu_times_ns(text: str, cpu: int) -> dict[str, int] | None:
    """/proc/stat's line of one CPU, ns by kind (`steal`, `guest`, `irq`, …); known to one tick. None: no such line."""
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        words = rest.split()
        if name == f"cpu{cpu}" and len(words) >= len(_TIMES):
            return {kind: int(word) * TICK_NS for kind, word in zip(_TIMES, words, strict=False)}
    return None


class Switches(NamedTuple):
    """How often a thread left its CPU: by itself, and because another was to run."""

    voluntary: int
    nonvoluntary: int


def switches(status: str) -> Switches | None:
    """The two counts of /proc/PID/task/TID/status."""
    found: dict[str, int] = {}
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name.endswith("voluntary_ctxt_switches") and value.strip().isdigit():
            found[name] = int(value)
    names = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    return Switches(*(found[name] for name in names)) if len(found) == 2 else None


def waited_ns(schedstat: str) -> int | None:
    """/proc/PID/task/TID/schedstat: ns that the thread could run and did not. None where the kernel keeps none."""
    words = schedstat.split()
    return int(words[1]) if len(words) >= 3 and words[1].isdigit() else None


def migrations(sched: str) -> int | None:
    """/proc/PID/task/TID/sched: how often the thread changed its CPU. None without CONFIG_SCHED_DEBUG."""
    for line in sched.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "se.nr_migrations" and value.strip().isdigit():
            return int(value)
    return None
