"""What the supervisor and the operators did, as it stands in the ring `node` (defined in runtime/node_ring.py)."""

from __future__ import annotations

from sovereign.runtime.node_ring import (
    NODE_TYPES,
    ActorDied,
    ActorStarted,
    Detached,
    Halt,
    NodeStarted,
    OperatorAction,
    Quarantined,
    Resume,
)

__all__ = [
    "NODE_TYPES",
    "ActorDied",
    "ActorStarted",
    "Detached",
    "Halt",
    "NodeStarted",
    "OperatorAction",
    "Quarantined",
    "Resume",
]
