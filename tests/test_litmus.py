"""The ring's ordering under real processes: no forbidden outcome, and each test shown to be able to see one."""

from __future__ import annotations

import os

import pytest

from litmus.claims import CLAIMS, rounds_of
from litmus.stage import Claim

BROKEN = [(claim, broken) for claim in CLAIMS for broken in claim.breaks]
TRIES = 20


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.name for claim in CLAIMS])
def test_the_forbidden_outcome_never_happens(claim: Claim) -> None:
    outcome = claim.play(rounds_of(claim), "")
    assert outcome.complete, f"{claim.name}: not every message is accounted for"
    assert outcome.forbidden == 0, f"{outcome.forbidden} in {outcome.rounds}: {claim.forbidden}"


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core: nothing runs at the same moment"
)
@pytest.mark.parametrize(
    ("claim", "broken"), BROKEN, ids=[f"{claim.name}: {broken}" for claim, broken in BROKEN]
)
def test_a_broken_variant_is_caught(claim: Claim, broken: str) -> None:
    """Whether a race is hit is chance, so a variant has several tries; that none hits it would say that the test is blind."""
    seen = 0
    for _ in range(TRIES):
        seen = claim.play(claim.rounds // 10, broken).forbidden
        if seen:
            break
    assert seen, f"not seen in {TRIES} tries, though {broken}: {claim.forbidden}"
