"""The keys of a topology file that belong to every node and every actor.

What an actor's table holds beside these is its kind's own: the kind's `Config` says which keys and which types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sovereign.runtime import limits

__all__ = [
    "COMMON_KEYS",
    "NAME_PATTERN",
    "NAME_SPELT",
    "RESERVED",
    "Common",
    "Input",
    "Node",
    "Poison",
    "Restart",
    "Ring",
]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
NAME_SPELT = f"letters, digits, - and _, at most {limits.ACTOR_NAME_MAX_BYTES}"
# Names that something else has: a ring, or a log file.
RESERVED = {
    "node": "that is the supervisor's own ring",
    "supervisor": "that is the supervisor's own log file",
    "up": "that is the log file of `sovereign up --detach`",
}

Name = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        max_length=limits.ACTOR_NAME_MAX_BYTES,
        description=NAME_SPELT,
    ),
]
Failures = Annotated[int, Meta(ge=1, le=limits.FAILURES_MAX)]


class Node(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """[node]: what concerns the node as a whole. Relative paths are relative to the file.

    `audit = false`: rings may go unread by an auditor (experiments, benchmarks); otherwise each is archived.
    """

    name: Name
    run_dir: str | None = None
    archive_dir: str | None = None
    audit: bool = True


class Ring(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The actor's output ring. Its capacity is counted in slots: a power of two. `audit = false`: it is not archived."""

    capacity: Annotated[int, Meta(ge=limits.RING_MIN_SLOTS, le=limits.RING_MAX_SLOTS)] | None = None
    audit: bool = True


class Restart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """When a dead actor comes back, and how fast; too many failures in the window give it up.

    `then`: what follows: the node is halted, or the actor is detached: it is no gate any more, and the rest goes on.
    """

    policy: Literal["on-failure", "always", "never"] = "on-failure"
    backoff_ms: Annotated[int, Meta(ge=1, le=60_000)] = 50
    max_backoff_ms: Annotated[int, Meta(ge=1, le=600_000)] = 5_000
    max_failures: Failures = 5
    window_s: Annotated[float, Meta(gt=0, le=limits.FAILURES_WINDOW_MAX_S)] = 60.0
    then: Literal["halt", "detach"] = "halt"


class Poison(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An event that killed its actor `kills` times is set aside; `then` the actor is given up, or the event skipped."""

    kills: Failures = 3
    then: Literal["halt", "skip"] = "halt"


class Input(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One input: whose ring it reads, whether it holds the writer back, whether it closes a cycle."""

    source: str = msgspec.field(name="from")
    gate: bool = True
    feedback: bool = False


class Common(msgspec.Struct, kw_only=True):
    """[actors.NAME]: the keys that every kind has."""

    kind: str
    inputs: list[str | Input] = []
    cpu: Annotated[int, Meta(ge=0)] | None = None
    wait: Literal["auto", "spin", "yield", "park"] = "auto"
    ring: Ring | None = None
    restart: Restart | None = None
    poison: Poison | None = None
    start_limit_ns: Annotated[
        int, Meta(ge=limits.START_LIMIT_MIN_NS, le=limits.START_LIMIT_MAX_NS)
    ] = limits.START_LIMIT_NS
    heartbeat_limit_ns: Annotated[
        int, Meta(ge=limits.HEARTBEAT_LIMIT_MIN_NS, le=limits.HEARTBEAT_LIMIT_MAX_NS)
    ] = limits.HEARTBEAT_LIMIT_NS


COMMON_KEYS: tuple[str, ...] = tuple(field.encode_name for field in msgspec.structs.fields(Common))
