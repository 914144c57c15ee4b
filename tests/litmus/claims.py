"""All claims, and how many rounds each is played."""

from __future__ import annotations

import os

from litmus import committed, gates, halted, overrun, parked, reattached
from litmus.stage import Claim

CLAIMS: tuple[Claim, ...] = (
    *gates.CLAIMS,
    *overrun.CLAIMS,
    *parked.CLAIMS,
    *halted.CLAIMS,
    *reattached.CLAIMS,
    *committed.CLAIMS,
)
SHARE = {claim.name: claim.rounds / 1_000_000 for claim in CLAIMS}


def rounds_of(claim: Claim) -> int:
    """`SOVEREIGN_LITMUS_ROUNDS` messages for a claim that plays a million by default; slower ones in proportion."""
    asked = int(os.environ.get("SOVEREIGN_LITMUS_ROUNDS", "1000000"))
    return max(1000, int(asked * SHARE[claim.name]))
