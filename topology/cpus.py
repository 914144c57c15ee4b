"""Which CPUs an actor can be pinned to: they exist, this process may use them, and no two actors share one."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sovereign.topology.mistake import Mistake
from sovereign.topology.model import Topology
from sovereign.topology.source import dotted

__all__ = ["Machine", "check_cpus"]


@dataclass(frozen=True)
class Machine:
    """The CPUs of a host, and those that this process may use (affinity, cpuset)."""

    cpus: int
    allowed: frozenset[int]

    @classmethod
    def here(cls) -> Machine:
        """This host."""
        return cls(os.cpu_count() or 1, frozenset(os.sched_getaffinity(0)))


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
