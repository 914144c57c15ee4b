"""The scaffold: its own tests pass at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def _new(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "sovereign.cli.main", "new", "strategy", name],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_new_strategys_tests_pass_at_once(tmp_path: Path) -> None:
    assert _new(tmp_path, "momentum").returncode == 0
    done = subprocess.run(
        ["make", "-C", "momentum", "test", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        env={**os.environ, "SOVEREIGN_RUN_DIR": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_a_name_that_does_not_fit_or_is_taken_is_refused(tmp_path: Path) -> None:
    assert _new(tmp_path, "not-a-name").returncode == 2
    (tmp_path / "taken").mkdir()
    assert _new(tmp_path, "taken").returncode == 2
