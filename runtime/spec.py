"""What a node is, as plain data: made by the topology from the file, read by supervisor and actors.

Frozen and picklable, so that an actor's process gets all that it needs in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sovereign.runtime import limits
from sovereign.runtime.message import Message


@dataclass(frozen=True)
class ReaderSpec:
    """One reader of a ring. A gate holds the writer back; the others observe. `archives`: it is an auditor."""

    name: str
    gate: bool = True
    archives: bool = False


@dataclass(frozen=True)
class RingSpec:
    """An actor's output ring. `capacity` in slots (a power of two), `stride` in bytes."""

    name: str
    capacity: int
    stride: int
    types: tuple[type[Message], ...]
    readers: tuple[ReaderSpec, ...]
    actor_index: int


@dataclass(frozen=True)
class InputSpec:
    """One input of an actor: the ring of the actor named `ring`."""

    ring: str
    actor_index: int
    gate: bool = True
    feedback: bool = False


@dataclass(frozen=True)
class RestartPolicy:
    """When and how fast a dead actor comes back; after `max_failures` in `window_s` it is given up.

    `then`: what follows: "halt" halts the node; "detach" lets it go on, and no writer waits for the dead gate.
    """

    policy: str = "on-failure"
    backoff_ms: int = 50
    max_backoff_ms: int = 5_000
    max_failures: int = 5
    window_s: float = 60.0
    then: str = "halt"


@dataclass(frozen=True)
class PoisonPolicy:
    """An event that killed its actor `kills` times, alone in hand, is set aside; `then`: "halt" the node, or "skip" it."""

    kills: int = 3
    then: str = "halt"


@dataclass(frozen=True)
class StartOptions:
    """How one start of an actor differs from the usual. `careful`: steps that take one event each.

    `skip`: an input and a sequence that are passed over unhandled, if they are next (quarantined).
    """

    careful: int = 0
    skip: tuple[int, int] | None = None


USUAL_START = StartOptions()


@dataclass(frozen=True)
class ActorSpec:
    """One actor. `entry` is `module:Class`; `config` is an instance of that class's Config."""

    index: int
    name: str
    kind: str
    entry: str
    config: Any
    inputs: tuple[InputSpec, ...] = ()
    output: RingSpec | None = None
    cpu: int | None = None
    wait: str = "auto"
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    poison: PoisonPolicy = field(default_factory=PoisonPolicy)
    heartbeat_limit_ns: int = limits.HEARTBEAT_LIMIT_NS
    start_limit_ns: int = limits.START_LIMIT_NS
    upstream: tuple[tuple[type[Message], ...], ...] = ()


@dataclass(frozen=True)
class NodeSpec:
    """One node. `run_dir` holds socket, leases and logs; `archive_dir` the sealed segments."""

    name: str
    actors: tuple[ActorSpec, ...]
    run_dir: Path
    archive_dir: Path
    source_path: Path | None = None

    def actor(self, name: str) -> ActorSpec:
        """The actor of that name. KeyError when there is none."""
        for actor in self.actors:
            if actor.name == name:
                return actor
        raise KeyError(name)
