"""Who took the core's time, as far as the kernel tells: rows whose times add up to the gaps, `unattributed` among them.

What is exact: that this thread was switched out, blocked or took a page fault in a gap (asked after each gap). What is known
to one tick (10 ms as a rule): steal, and interrupts where the kernel keeps their time. What is counted and never timed:
each interrupt line. So time that nothing timed explains stays unattributed, and the counts beside it are suspects, not proof.
"""

from __future__ import annotations

from typing import NamedTuple

from sovereign.benchmarks.core_run import CoreRun
from sovereign.runtime.core_settings import CoreSettings, online
from sovereign.runtime.kernel_counts import Line

TOP_LINES = 6
_TICKS_PER_SECOND = 10

OTHER_TASKS = "other tasks"
QUOTA = "cgroup quota"
BLOCKED = "blocked"
FAULTS = "page faults"
HYPERVISOR = "hypervisor"
INTERRUPTS = "interrupts"
SOFTIRQS = "softirqs"
UNATTRIBUTED = "unattributed"


class Taker(NamedTuple):
    """One who took time. `times`: gaps, or what the kernel counted; `ns`: None where it gives no time."""

    who: str
    times: int | None
    ns: int | None


def takers(run: CoreRun) -> list[Taker]:
    """Everyone, in the order in which the time was given to them; the `ns` add up to `run.gap_ns`."""
    did = run.activity
    switched, blocked, faulted = (run.caused[name] for name in ("switched", "blocked", "faulted"))
    held_ns = min(did.held.ns if did.held else 0, switched[1])
    rows = [
        Taker(OTHER_TASKS, switched[0], switched[1] - held_ns),
        Taker(QUOTA, did.held.times if did.held else None, held_ns if did.held else None),
        Taker(BLOCKED, *blocked),
        Taker(FAULTS, *faulted),
    ]
    left = run.gap_ns - sum(row.ns or 0 for row in rows)
    for who, times, told in (
        (HYPERVISOR, None, did.time_ns("steal")),
        (INTERRUPTS, _sum(did.interrupts), _kept(did.time_ns("irq"))),
        (SOFTIRQS, _sum(did.softirqs), _kept(did.time_ns("softirq"))),
    ):
        ns = None if told is None else min(told, left)
        left -= ns or 0
        rows.append(Taker(who, times, ns))
    return [*rows, Taker(UNATTRIBUTED, run.caused["unknown"][0], left)]


def _kept(told: int | None) -> int | None:
    """A kernel without IRQ_TIME_ACCOUNTING writes 0 and means nothing."""
    return told or None


def _sum(lines: dict[str, Line]) -> int:
    return sum(line.times for line in lines.values())


def top(lines: dict[str, Line]) -> list[tuple[str, Line]]:
    """The sources that came most often."""
    return sorted(lines.items(), key=lambda item: -item[1].times)[:TOP_LINES]


def advice(runs: list[CoreRun], settings: dict[int, CoreSettings]) -> list[str]:
    """A line for each thing found that someone can mend, or that nobody on this host can; the dearest first."""
    stolen = [run for run in runs if run.activity.time_ns("steal")]
    held = [run for run in runs if run.activity.held and run.activity.held.times]
    hot = [run for run in runs if run.activity.thermal_times]
    lines = []
    if stolen:
        ms = sum(run.activity.time_ns("steal") or 0 for run in stolen) / 1e6
        lines.append(
            f"cpu {_names(stolen)}: a hypervisor took {ms:,.0f} ms (steal): no setting of this host mends it"
        )
    if held:
        lines.append(
            f"cpu {_names(held)}: a CPU quota held this process: raise cpu.max (cpu.cfs_quota_us) of its control group"
        )
    lines += _others(runs, settings)
    lines += _devices(runs)
    lines += _slow(settings)
    if hot:
        lines.append(f"cpu {_names(hot)}: heat slowed the core: mend the cooling, no setting does")
    return lines


def _names(runs: list[CoreRun]) -> str:
    return ",".join(str(run.cpu) for run in runs)


def _others(runs: list[CoreRun], settings: dict[int, CoreSettings]) -> list[str]:
    lines = []
    shared = [run for run in runs if run.caused["switched"][0] and not settings[run.cpu].isolated]
    if shared:
        names = _names(shared)
        times = sum(run.caused["switched"][0] for run in shared)
        mend = f"reserve it at boot with isolcpus={names} nohz_full={names} rcu_nocbs={names}"
        if {run.cpu for run in shared} >= set(online()):
            mend = "reserve the node's cores at boot (isolcpus= nohz_full= rcu_nocbs=), and leave one to everything else"
        lines.append(f"cpu {names}: other tasks took the core {times:,} times: {mend}")
    ticking = [run for run in runs if _ticks(run) and not settings[run.cpu].nohz_full]
    ticking = [run for run in ticking if run not in shared]
    if ticking:
        names = _names(ticking)
        lines.append(f"cpu {names}: the timer tick comes all the time: boot with nohz_full={names}")
    own = [run for run in runs if run.caused["switched"][0] and settings[run.cpu].isolated]
    if own:
        lines.append(
            f"cpu {_names(own)}: isolated, and other tasks run there all the same: `ps -eLo psr,pid,comm` shows which are pinned to it"
        )
    return lines


def _ticks(run: CoreRun) -> bool:
    tick = run.activity.interrupts.get("LOC", Line(0, ""))
    return tick.times > _TICKS_PER_SECOND * run.wall_ns / 1e9


def _devices(runs: list[CoreRun]) -> list[str]:
    found = [
        (line.times, name, line.what, run.cpu)
        for run in runs
        for name, line in run.activity.interrupts.items()
        if name.isdigit()
    ]
    if not found:
        return []
    times, name, what, cpu = max(found)
    return [
        f"cpu {cpu}: device interrupt {name} ({what}) came {times:,} times: send it elsewhere, /proc/irq/{name}/smp_affinity_list"
    ]


def _slow(settings: dict[int, CoreSettings]) -> list[str]:
    slow = {cpu: one.governor for cpu, one in settings.items() if one.governor}
    slow = {cpu: name for cpu, name in slow.items() if name != "performance"}
    if not slow:
        return []
    names = ",".join(map(str, slow))
    kinds = ", ".join(dict.fromkeys(map(str, slow.values())))
    return [
        f"cpu {names}: the governor is {kinds}: `cpupower -c {names} frequency-set -g performance`"
    ]
