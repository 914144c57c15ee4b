"""A topology as far as it is known: what decoding found, also where there are mistakes.

The checks work on this, so that one mistake does not hide another. Only a `Topology` without mistakes becomes a
`NodeSpec` (`plan.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sovereign.runtime.actor import Actor
from sovereign.runtime.message import Message
from sovereign.topology.mistake import Mistake
from sovereign.topology.places import KeyPath
from sovereign.topology.schema import Common, Node
from sovereign.topology.source import Source

__all__ = ["Part", "Topology", "Types", "Wire"]

Types = tuple[type[Message], ...]


@dataclass(frozen=True)
class Wire:
    """One input as written: the name it reads, and the path of the entry in the file."""

    upstream: str
    path: KeyPath
    gate: bool = True
    feedback: bool = False

    @property
    def name_path(self) -> KeyPath:
        """Where the name of the upstream stands: the entry, or its `from`."""
        return (*self.path, "from")


@dataclass
class Part:
    """One actor. `cls`, `config` are None when they are not known because of a mistake.

    `capacity` in slots; `carries` is what each input brings, `gives` what its ring holds. `inputs_known`: its inputs
    are all understood. `trouble`: what its kind's own code raised when it was asked.
    """

    index: int
    name: str
    common: Common
    wires: tuple[Wire, ...]
    entry: str = ""
    cls: type[Actor] | None = None
    config: Any = None
    gives: Types = ()
    carries: tuple[Types, ...] = ()
    max_step: int = 1
    capacity: int = 0
    inputs_known: bool = True
    trouble: Mistake | None = None

    @property
    def path(self) -> KeyPath:
        """The key path of its table."""
        return ("actors", self.name)

    @property
    def known(self) -> bool:
        """Whether its class can be asked about its types, and answers."""
        return self.cls is not None and self.config is not None and self.trouble is None


@dataclass
class Topology:
    """The node and its actors, in the order of the file."""

    source: Source
    node: Node | None
    parts: list[Part] = field(default_factory=list)

    def part(self, name: str) -> Part | None:
        """The actor of that name."""
        return next((one for one in self.parts if one.name == name), None)

    def readers(self, name: str) -> list[tuple[Part, Wire]]:
        """Who reads the ring of actor `name`."""
        return [(part, wire) for part in self.parts for wire in part.wires if wire.upstream == name]
