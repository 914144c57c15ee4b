"""The jitter tax: a node's own p99.99 less what the host takes at p99.99 from a program that does nothing but look.

`hop` is set beside the wait of an event that comes at a random moment (gap_histogram.delay); `service` beside how far a step
of the actor's median length is stretched by gaps that begin in it (gap_histogram.stretch). What is left is the node's own to
mend. The node's histograms are read before the run, because measuring takes time from whoever shares the cores.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sovereign.benchmarks import gap_histogram
from sovereign.benchmarks.core_run import CoreRun
from sovereign.runtime.control import Control
from sovereign.runtime.errors import InputError
from sovereign.runtime.histogram import percentiles

PERCENT = 99.99
COMPARED = ("hop", "service")


class ActorTimes(NamedTuple):
    """One histogram of one actor, since the actor's block was made."""

    actor: str
    cpu: int | None
    name: str
    counts: npt.NDArray[np.int64]


class NodeTimes(NamedTuple):
    """A running node's histograms at one moment."""

    node: str
    actors: list[ActorTimes]

    @property
    def cores(self) -> set[int]:
        """The cores that an actor has for itself."""
        return {one.cpu for one in self.actors if one.cpu is not None}

    @property
    def shared(self) -> bool:
        """Whether some actor has no core of its own, and so runs on the measured ones."""
        return any(one.cpu is None for one in self.actors)


def node_times(status: dict[str, Any]) -> NodeTimes:
    """Through a read-only mapping. `status`: what the node's supervisor answers to `ps`."""
    control = Control(status["node"])
    try:
        found = [
            ActorTimes(row["actor"], row["cpu"], name, control.counters(index).histogram(name))
            for index, row in enumerate(status["actors"])
            for name in COMPARED
        ]
    finally:
        control.close()
    return NodeTimes(status["node"], found)


def free_cores(node: NodeTimes, cpus: tuple[int, ...], *, named: bool) -> tuple[int, ...]:
    """The cores to measure while the node runs: a spinning process would take half of an actor's own core. InputError: none."""
    taken = sorted(node.cores & set(cpus))
    free = tuple(cpu for cpu in cpus if cpu not in node.cores)
    if taken and (named or not free):
        holders = {one.actor: one.cpu for one in node.actors if one.cpu in taken}
        raise InputError(
            f"measuring would take half of a core that an actor of node {node.node} has for itself",
            where="--cpus" if named else "every core that this process may use",
            got=", ".join(f"cpu {cpu} is {actor}'s" for actor, cpu in holders.items()),
            expected="a core that no actor is pinned to",
            hint="measure the actors' cores before `sovereign up`; keep the result with --json",
        )
    return free


def tax_rows(node: NodeTimes, runs: list[CoreRun]) -> list[dict[str, Any]]:
    """One for each histogram that has counted; the host's share is that of the worst core measured."""
    service_ns = {
        one.actor: percentiles(one.counts, (50.0,))[0]
        for one in node.actors
        if one.name == "service"
    }
    rows = []
    for one in node.actors:
        counted = int(one.counts.sum())
        if not counted:
            continue
        shares = {run.cpu: _share(run, one.name, service_ns[one.actor]) for run in runs}
        worst = max(shares, key=lambda cpu: shares[cpu])
        own_ns = percentiles(one.counts, (PERCENT,))[0]
        rows.append(
            {
                "actor": one.actor,
                "cpu": one.cpu,
                "histogram": one.name,
                "counted": counted,
                "p99_99_ns": own_ns,
                "host_cpu": worst,
                "host_ns": shares[worst],
                "tax_ns": own_ns - shares[worst],
            }
        )
    return rows


def _share(run: CoreRun, name: str, service_ns: int) -> int:
    if name == "hop":
        return gap_histogram.delay(run.run, PERCENT)
    return gap_histogram.stretch(run.run, service_ns, PERCENT)
