"""From a topology without mistakes to the `NodeSpec` that supervisor and actors get.

Defaults that depend on the host are filled in here: where the node runs (`$SOVEREIGN_RUN_DIR`, `$XDG_RUNTIME_DIR`,
/run for root, /tmp) and where its archive lies (`archive/NODE` beside the file).
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from sovereign.runtime import layout
from sovereign.runtime.node_ring import AUDITOR_KIND, NODE_ACTOR, NODE_RING
from sovereign.runtime.spec import (
    ActorSpec,
    InputSpec,
    NodeSpec,
    PoisonPolicy,
    ReaderSpec,
    RestartPolicy,
    RingSpec,
)
from sovereign.topology.cpus import Machine
from sovereign.topology.model import Part, Topology
from sovereign.topology.placement import place
from sovereign.topology.schema import Node, Poison, Restart

__all__ = ["plan", "run_base", "start_order"]


def run_base() -> Path:
    """The folder under which each node has one of its own."""
    given = os.environ.get("SOVEREIGN_RUN_DIR")
    if given:
        return Path(given)
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session:
        return Path(session) / "sovereign"
    if os.geteuid() == 0:
        return Path("/run/sovereign")
    return Path(f"/tmp/sovereign-{os.getuid()}")


def plan(topology: Topology, machine: Machine) -> NodeSpec:
    """The node as plain data. The topology must have been checked."""
    cpus = place(topology, machine)
    node = topology.node
    assert node is not None, "only a checked topology can be planned"
    file = topology.source.path.absolute()
    return NodeSpec(
        name=node.name,
        actors=tuple(_actor(topology, part, cpus.get(part.name)) for part in topology.parts),
        run_dir=_run_dir(node),
        archive_dir=Path(node.archive_dir)
        if node.archive_dir
        else file.parent / "archive" / node.name,
        source_path=file,
    )


def _run_dir(node: Node) -> Path:
    return Path(node.run_dir) if node.run_dir else run_base() / node.name


def _actor(topology: Topology, part: Part, cpu: int | None) -> ActorSpec:
    restart, poison = part.common.restart or Restart(), part.common.poison or Poison()
    wired = tuple(
        InputSpec(wire.upstream, above.index, wire.gate, wire.feedback)
        for wire in part.wires
        if (above := topology.part(wire.upstream)) is not None
    )
    if (
        part.common.kind == "auditor"
    ):  # what the supervisor and the operators did is archived as well
        wired = (*wired, InputSpec(NODE_RING, NODE_ACTOR))
    return ActorSpec(
        index=part.index,
        name=part.name,
        kind=part.common.kind,
        entry=part.entry,
        config=part.config,
        inputs=wired,
        output=_ring(topology, part) if part.gives else None,
        cpu=cpu,
        wait=part.common.wait,
        restart=RestartPolicy(**msgspec.structs.asdict(restart)),
        poison=PoisonPolicy(**msgspec.structs.asdict(poison)),
        start_limit_ns=part.common.start_limit_ns,
        heartbeat_limit_ns=part.common.heartbeat_limit_ns,
        upstream=part.carries,
    )


def _ring(topology: Topology, part: Part) -> RingSpec:
    largest = max(kind.dtype.itemsize for kind in part.gives)
    readers = tuple(
        ReaderSpec(one.name, wire.gate, one.common.kind == AUDITOR_KIND)
        for one, wire in topology.readers(part.name)
    )
    return RingSpec(
        part.name, part.capacity, layout.stride_for(largest), part.gives, readers, part.index
    )


def start_order(spec: NodeSpec) -> tuple[int, ...]:
    """Indices of the actors in the order of the wiring: sources first; feedback inputs do not count."""
    order: list[int] = []
    while len(order) < len(spec.actors):
        ready = next(
            one.index
            for one in spec.actors
            if one.index not in order
            and all(
                wire.feedback or wire.actor_index in (*order, NODE_ACTOR) for wire in one.inputs
            )
        )
        order.append(ready)
    return tuple(order)
