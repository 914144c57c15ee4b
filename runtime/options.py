"""How one run of a node differs from another: what ends it, and what it does with what an earlier run left."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How long the node runs: until asked to end, for `seconds`, or until it has nothing left to do.

    `resume_by`: who lifts, before anything starts, the halt that the node ended with.
    `ended_by`: what ends it, for the line that says that it is up.
    """

    seconds: float = 0.0
    until_idle: bool = False
    fresh: bool = False
    resume_by: str = ""
    ended_by: str = "`sovereign down`"
