"""All claims, and how many rounds each is played."""

from __future__ import annotations

from litmus import committed, gates, halted, overrun, parked, reattached
from litmus.stage import DEFAULT_ROUNDS, Claim, asked_rounds

CLAIMS: tuple[Claim, ...] = (
    *gates.CLAIMS,
    *overrun.CLAIMS,
    *parked.CLAIMS,
    *halted.CLAIMS,
    *reattached.CLAIMS,
    *committed.CLAIMS,
)


def rounds_of(claim: Claim) -> int:
    """`SOVEREIGN_LITMUS_ROUNDS` messages for a claim that plays a million by default; slower ones in proportion."""
    return max(1000, claim.rounds * asked_rounds() // DEFAULT_ROUNDS)
