"""What the kernel did on one CPU and to one thread between two moments: all that it counts, read twice.

Taken by the measuring thread itself, on its own CPU, right before and right after it spins.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec

from sovereign.runtime import cgroup
from sovereign.runtime.core_settings import core_settings
from sovereign.runtime.kernel_counts import (
    Line,
    Switches,
    cpu_times_ns,
    interrupts,
    migrations,
    softirqs,
    switches,
    waited_ns,
)


class Activity(msgspec.Struct, frozen=True):
    """Counts since the host (or the thread) started; after `minus`: of the time between. None: the kernel does not tell.

    `times_ns`: the CPU's time by kind; `waited_ns`: ns that the thread waited for the CPU; `held`: by a cgroup's quota.
    """

    interrupts: dict[str, Line]
    softirqs: dict[str, Line]
    times_ns: dict[str, int] | None
    switches: Switches | None
    waited_ns: int | None
    migrations: int | None
    held: cgroup.Held | None
    thermal_times: int | None

    def minus(self, before: Activity) -> Activity:
        """What came since `before`; interrupts that did not come are left out."""
        since = {
            name: _since(getattr(self, name), getattr(before, name))
            for name in self.__struct_fields__
        }
        return Activity(**since)

    def time_ns(self, kind: str) -> int | None:
        """The CPU's time of one kind (`steal`, `guest`, `irq`, `softirq`)."""
        return None if self.times_ns is None else self.times_ns[kind]


def _since(now: Any, before: Any) -> Any:
    if now is None or before is None:
        return None
    if isinstance(now, int):
        return now - before
    if isinstance(now, tuple):  # Held, Switches
        return type(now)(*(a - b for a, b in zip(now, before, strict=True)))
    found = {}
    for name, value in now.items():
        if isinstance(value, Line):
            old = before.get(name)
            came = value.times - (old.times if old else 0)
            if came:
                found[name] = Line(came, value.what)
        else:
            found[name] = value - before.get(name, 0)
    return found


def _read(path: str) -> str:
    """The text, or none: a file that this kernel lacks, or that we may not read, tells nothing."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def activity(cpu: int) -> Activity:
    """As the kernel counts now, for `cpu` and for the calling thread."""
    own = f"/proc/self/task/{threading.get_native_id()}"
    return Activity(
        interrupts=interrupts(_read("/proc/interrupts"), cpu),
        softirqs=softirqs(_read("/proc/softirqs"), cpu),
        times_ns=cpu_times_ns(_read("/proc/stat"), cpu),
        switches=switches(_read(f"{own}/status")),
        waited_ns=waited_ns(_read(f"{own}/schedstat")),
        migrations=migrations(_read(f"{own}/sched")),
        held=cgroup.held_now(),
        thermal_times=core_settings(cpu).thermal_times,
    )
