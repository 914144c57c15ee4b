"""The ring and the commit rule as Promela models, checked exhaustively by spin; and mutants, which the check must catch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODELS = Path(__file__).parent / "model"
QUOTE = re.compile(r"/\* (runtime/\w+\.py): (.+?) \*/")
MISSING = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
needs_spin = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("SOVEREIGN_NO_SKIP") != "1",
    reason=f"{' and '.join(MISSING)} not installed: deploy/test-system.sh installs it",
)

SOUND = [
    ("ring", "SLOTS=2", "MESSAGES=5"),
    ("ring", "SLOTS=4", "MESSAGES=5"),
    ("commit", "KILLS=3", "MESSAGES=4"),
    ("commit", "KILLS=3", "MESSAGES=4", "QUIET"),
    ("commit", "KILLS=3", "MESSAGES=4", "NO_OUTPUT"),
    ("commit", "KILLS=2", "MESSAGES=2", "INPUTS=2"),
    ("commit", "KILLS=2", "MESSAGES=2", "INPUTS=2", "QUIET"),
    ("commit", "KILLS=1", "MESSAGES=3", "INPUTS=2"),
    ("commit", "KILLS=2", "MESSAGES=3", "INPUTS=2", "NO_OUTPUT"),
]
MUTANTS = [
    ("ring", "PUBLISH_FIRST", "assertion violated"),
    ("ring", "NO_GATE", "assertion violated"),
    ("ring", "ONE_GATE", "assertion violated"),
    ("ring", "COMMIT_FIRST", "assertion violated"),
    ("ring", "SEQUENCE_LAST", "assertion violated"),
    ("ring", "NO_SECOND_LOOK", "assertion violated"),
    ("commit", "TAG_LAST", "assertion violated"),
    ("commit", "OUTPUT_LAST", "assertion violated"),
    ("commit", "RELEASE_FIRST", "assertion violated"),
    ("commit", "RECOVER_NOT", "assertion violated"),
    ("commit", "RECOVER_LATE", "invalid end state"),  # a source waits for ever for the release
    ("commit", "ANY_COPY", "assertion violated"),
    ("commit", "FIRST_REFUSED", "assertion violated"),
]


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def _check(folder: Path, model: str, *defined: str, optimised: str = "-O1") -> tuple[int, str]:
    """Search every state of a model: how many errors, and what spin said."""
    flags = [f"-D{one}" for one in defined]
    _run(folder, "spin", "-a", *flags, str(MODELS / f"{model}.pml"))
    _run(folder, "gcc", optimised, "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c")
    said = _run(folder, "./pan", "-m100000")
    errors = re.search(r"errors: (\d+)", said)
    assert errors, said
    assert "max search depth too small" not in said, said
    return int(errors[1]), said


@needs_spin
@pytest.mark.parametrize("sizes", SOUND, ids=" ".join)
def test_every_interleaving_and_every_kill_keeps_the_rules(
    sizes: tuple[str, ...], tmp_path: Path
) -> None:
    errors, said = _check(tmp_path, *sizes)
    assert errors == 0, said


@needs_spin
@pytest.mark.parametrize(
    ("model", "mutant", "how"), MUTANTS, ids=[f"{a} {b}" for a, b, _ in MUTANTS]
)
def test_the_check_fails_for_a_mutant(model: str, mutant: str, how: str, tmp_path: Path) -> None:
    size = "MESSAGES=4" if model == "ring" else "KILLS=2"
    errors, said = _check(tmp_path, model, size, mutant, optimised="-O0")
    assert errors > 0, f"{mutant} goes unnoticed"
    assert how in said


@pytest.mark.parametrize("model", ["ring", "commit"])
def test_the_models_follow_the_code(model: str) -> None:
    """Each step of a model quotes its line: a line that changed calls for another look at the model."""
    quotes = QUOTE.findall((MODELS / f"{model}.pml").read_text())
    assert len(quotes) >= 10
    for file, line in quotes:
        assert line in " ".join((ROOT / file).read_text().split()), f"{file} no longer says: {line}"


def test_the_commit_stores_in_the_order_of_the_model() -> None:
    source = " ".join((ROOT / "runtime/commit.py").read_text().split())
    quotes = QUOTE.findall((MODELS / "commit.pml").read_text())
    places = [source.index(line) for file, line in quotes if file == "runtime/commit.py"]
    assert len(places) == 9
    assert places == sorted(places)
