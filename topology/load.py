"""The way in: a topology file, examined for all its mistakes, or loaded as a `NodeSpec`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sovereign.runtime.spec import NodeSpec
from sovereign.topology.assemble import assemble
from sovereign.topology.checks import check_graph, compiled
from sovereign.topology.cpus import Machine, check_cpus
from sovereign.topology.importing import trials
from sovereign.topology.memory import check_memory
from sovereign.topology.mistake import Mistake, TopologyError
from sovereign.topology.model import Topology
from sovereign.topology.plan import plan
from sovereign.topology.rings import size_rings
from sovereign.topology.source import read_source
from sovereign.topology.wiring import flow_types

__all__ = ["Examined", "examine", "load"]


@dataclass(frozen=True)
class Examined:
    """What came of a file: the mistakes in the order of the file, and the plan when there are none."""

    file: str
    topology: Topology
    mistakes: tuple[Mistake, ...]
    spec: NodeSpec | None


def examine(
    path: Path | str,
    overrides: Sequence[str] = (),
    machine: Machine | None = None,
    *,
    compile_too: bool = False,
) -> Examined:
    """Read `path`, lay `overrides` ("a.b=1") over it, and find all mistakes. Raises nothing for a wrong file.

    `compile_too`: when there are no others, compile what the actors would compile, and find what does not.
    """
    source = read_source(Path(path), overrides)
    if any(one.code in ("file", "syntax") for one in source.mistakes):
        return Examined(source.name, Topology(source, None), tuple(source.mistakes), None)
    machine = machine or Machine.here()
    with trials():
        topology, mistakes = assemble(source)
        flow_types(topology)
        told = {one.key for one in mistakes}  # a kind need not say again what the file's keys said
        mistakes += [one for one in check_graph(topology) if one.key not in told]
    mistakes = [*source.mistakes, *mistakes, *size_rings(topology), *check_cpus(topology, machine)]
    spec = None if mistakes else plan(topology, machine)
    if spec is not None:
        mistakes = [*check_memory(topology, spec)]
    if compile_too and not mistakes:
        mistakes = [*compiled(topology)]
    ordered = tuple(_in_file_order(mistakes))
    return Examined(source.name, topology, ordered, None if mistakes else spec)


def _in_file_order(mistakes: list[Mistake]) -> list[Mistake]:
    """By place, those of the command line last; one mistake a rule and place."""

    def order(one: Mistake) -> tuple[bool, int, int]:
        place = one.place
        return (False, 0, 0) if place is None else (place.file == "--set", place.line, place.column)

    unique = {(one.code, one.place, one.what): one for one in mistakes}
    return sorted(unique.values(), key=order)


def load(
    path: Path | str, overrides: Sequence[str] = (), machine: Machine | None = None
) -> NodeSpec:
    """The node of a file. TopologyError (exit code 2) with all mistakes when it cannot run."""
    examined = examine(path, overrides, machine)
    if examined.spec is None:
        raise TopologyError(examined.file, examined.mistakes)
    return examined.spec
