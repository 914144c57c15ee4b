"""Which CPUs an actor can be pinned to: they exist, this process may use them, and no two actors share one."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from sovereign.topology.mistake import Mistake
from sovereign.topology.model import Topology
from sovereign.topology.source import dotted

__all__ = ["Machine", "check_cpus", "isolated_cpus", "parse_cpu_list"]


@dataclass(frozen=True)
class Machine:
    """The CPUs of a host, those that this process may use (affinity, cpuset), and those that are isolated.

    An isolated core is in nobody's affinity to begin with, and may be pinned to all the same.
    """

    cpus: int
    allowed: frozenset[int]
    isolated: frozenset[int] = frozenset()

    @classmethod
    def here(cls) -> Machine:
        """This host."""
        mine = frozenset(os.sched_getaffinity(0))
        isolated = frozenset(one for one in isolated_cpus() if one in mine or _can_pin(one))
        return cls(os.cpu_count() or 1, mine | isolated, isolated)


def parse_cpu_list(text: str) -> set[int]:
    """The kernel's list format, as in "0-2,7"."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found |= set(range(int(first), int(last or first) + 1))
    return found


def isolated_cpus(file: Path = Path("/sys/devices/system/cpu/isolated")) -> set[int]:
    """What the kernel says is isolated (isolcpus=, or an isolated cpuset partition)."""
    return parse_cpu_list(file.read_text()) if file.exists() else set()


def _can_pin(cpu: int) -> bool:
    """Whether the cpuset lets this process onto `cpu`: tried by a thread of its own, whose affinity ends with it."""
    allowed = []

    def attempt() -> None:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {cpu})
            allowed.append(cpu)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(allowed)


def check_cpus(topology: Topology, machine: Machine) -> list[Mistake]:
    """A mistake for each `cpu` that cannot be given."""
    mistakes = []
    holder: dict[int, str] = {}
    for part in topology.parts:
        cpu = part.common.cpu
        if cpu is None:
            continue
        path = (*part.path, "cpu")
        what = expected = hint = ""
        if cpu >= machine.cpus:
            what = f"this host has no CPU {cpu}"
            expected = f"0 to {machine.cpus - 1}"
            hint = "leave cpu out, and the supervisor places the actor"
        elif cpu not in machine.allowed:
            what = f"CPU {cpu} is not among those that this process may use"
            expected = ", ".join(str(one) for one in sorted(machine.allowed))
            hint = "`taskset -cp $$` shows the affinity of your shell"
        elif cpu in holder:
            what = f'CPU {cpu} is given twice: to "{holder[cpu]}" and to "{part.name}"'
            hint = "an actor that spins needs a core for itself"
        if what:
            place = topology.source.value(path)
            mistakes.append(Mistake("cpu", what, place, dotted(path), str(cpu), expected, hint))
        else:
            holder[cpu] = part.name
    return mistakes
