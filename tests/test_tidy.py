"""The house's own rules. A message says what to do instead."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE_MAX_LINES, FUNCTION_MAX_LINES, KERNEL_MAX_LINES = 430, 50, 70
BANNED_NAMES = {"utils", "helpers", "common", "misc", "manager"}


def _sources() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).exists()]


def _code() -> list[Path]:
    return [path for path in _sources() if "tests" not in path.parts]


def test_no_file_is_longer_than_one_concept() -> None:
    long = [str(path) for path in _code() if len(path.read_text().splitlines()) > FILE_MAX_LINES]
    assert not long, f"split by concept: {long}"


def test_modules_are_named_for_what_they_are() -> None:
    banned = [str(path) for path in _sources() if path.stem in BANNED_NAMES]
    assert not banned, f"name the concept instead: {banned}"


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path)
        for path in _code()
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent, f"begin with a docstring: {silent}"


def test_functions_are_short() -> None:
    long = []
    for path in _code():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            compiled = any(
                isinstance(one, ast.Name) and one.id == "njit" for one in node.decorator_list
            )
            most = KERNEL_MAX_LINES if compiled else FUNCTION_MAX_LINES
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > most and path.name not in ("up.py",):
                long.append(f"{path}:{node.lineno} {node.name} {lines}")
    assert not long, "take a step out and name it:\n" + "\n".join(long)


def test_the_readme_is_short_and_begins_with_a_command() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 600, "move the detail into docs/"
    first = next(
        i
        for i, line in enumerate(text.splitlines(), 1)
        if line.startswith(("$ ", "    make", "make "))
    )
    assert first <= 20, "show a command by line 20"


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME"])
def test_nothing_is_left_for_later_in_the_code(word: str) -> None:
    marked = [str(path) for path in _sources() if word in path.read_text()]
    assert not marked, f"do it, or open an issue: {marked}"
