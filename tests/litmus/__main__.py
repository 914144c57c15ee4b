"""Play every litmus test: `PYTHONPATH=tests python -m litmus [ROUNDS]`. Exit code 1 when a forbidden outcome was seen."""

from __future__ import annotations

import os
import sys
import time

from litmus.claims import CLAIMS, rounds_of

if len(sys.argv) > 1:
    os.environ["SOVEREIGN_LITMUS_ROUNDS"] = sys.argv[1]
failed = False
for claim in CLAIMS:
    started = time.monotonic()
    outcome = claim.play(rounds_of(claim), "")
    failed = failed or outcome.forbidden > 0 or not outcome.complete
    print(
        f"{claim.name:18} {outcome.rounds:>12,} rounds  {outcome.forbidden} forbidden"
        f"{'' if outcome.complete else '  INCOMPLETE'}  {time.monotonic() - started:.1f} s"
        f"  forbidden: {claim.forbidden}",
        flush=True,
    )
sys.exit(failed)
