"""Which core each actor gets: the one that the file names, else an isolated core of its own for each hot loop.

Hot loops are those of compiled actors. They get the host's isolated cores (kernel parameter isolcpus, or a cpuset
partition) that nobody was given, in the order of the wiring, so that neighbours on the path stand on neighbouring cores. Where the
host has none isolated, actors share what is there and wait by parking: that is the laptop.
"""

from __future__ import annotations

from sovereign.topology.cpus import Machine
from sovereign.topology.model import Topology
from sovereign.topology.wiring import wiring_order

__all__ = ["place"]


def place(topology: Topology, machine: Machine) -> dict[str, int]:
    """CPU by actor; actors that are not in it are not pinned."""
    given = {part.name: part.common.cpu for part in topology.parts if part.common.cpu is not None}
    free = sorted(machine.isolated - set(given.values()))
    hot = [
        part.name
        for part in wiring_order(topology)
        if part.name not in given and part.cls is not None and part.cls.compiled
    ]
    return {**given, **dict(zip(hot, free, strict=False))}
