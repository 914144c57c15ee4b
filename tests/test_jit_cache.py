"""Cached code is taken only while everything that was compiled into it is unchanged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MAIN = """
from sovereign.runtime.jit import njit
from pieces.part import FACTOR, add

@njit
def work(x):
    return add(x) * FACTOR

print(work(1), sum(work._cache_hits.values()))
"""
PART = """
from sovereign.runtime.jit import njit

FACTOR = {factor}

@njit
def add(x):
    return x + {more}
"""


def _run(folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_an_edit_of_another_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "pieces").mkdir()
    part = tmp_path / "pieces" / "part.py"
    (tmp_path / "main.py").write_text(MAIN)
    part.write_text(PART.format(factor=10, more=1))
    assert _run(tmp_path) == ["20", "0"]
    assert _run(tmp_path) == ["20", "1"]
    part.write_text(PART.format(factor=10, more=20))
    assert _run(tmp_path) == ["210", "0"]
    part.write_text(PART.format(factor=1000, more=20))
    assert _run(tmp_path) == ["21000", "0"]
