"""The commit rule under kills at every store: nothing lost, nothing repeated."""

from __future__ import annotations

import json
import random
import subprocess
import sys


def test_kills_at_any_store_lose_and_repeat_nothing() -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}: sovereign chaos --seed {seed} --kills 80")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sovereign.cli.main", "chaos", "--json"]
        + ["--seed", str(seed), "--kills", "80"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"
    found = json.loads(done.stdout)
    assert found["kills"] >= 80
    assert found["messages"] > 1000
    assert (found["lost"], found["repeated"], found["wrong"]) == (0, 0, 0)
    assert {"kill point", "in recovery", "both"} <= set(found["by_way"])
