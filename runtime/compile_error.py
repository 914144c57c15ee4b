"""What Numba says of code that does not compile, without what it says of itself.

Its messages hold the reason, the lines of the author's file, and between them passes, candidates and overloads of its own
library. Kept are the reason and the author's lines, each once.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_AT = re.compile(r"(?: at | from )(\S+?) \((\d+)\)\s*$")
_FILE = re.compile(r'^File "(.+)", line (\d+):')
_OF_ITSELF = re.compile(
    r"^(Failed in nopython mode pipeline|During: |Raised from |Enable logging at debug level)"
)
_RAISED = re.compile(r"\.* Raised from .*$")
_CANDIDATES = re.compile(r"^There are \d+ candidate implementations:")
_DEFINED = re.compile(r", defined at (None|.+ \(\d+\))$")


def _paragraphs(text: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip():
            found[-1].append(line.rstrip())
        elif found[-1]:
            found.append([])
    return [one for one in found if one]


def reason_and_place(error: BaseException, is_theirs: Callable[[str], bool]) -> tuple[str, str]:
    """(reason and the author's lines, `file:line` in a file of theirs or ""). `is_theirs`: whether a file is the author's."""
    text = str(error)
    place = ""
    for line in text.splitlines():
        match = _AT.search(line)
        if match and is_theirs(match[1]):
            place = f"{match[1]}:{match[2]}"
            break
    kept: list[str] = []
    for paragraph in _paragraphs(text):
        named = _FILE.match(paragraph[0])
        if named and not is_theirs(named[1]):
            continue
        if _CANDIDATES.match(paragraph[0]):
            continue
        lines = [_DEFINED.sub("", _RAISED.sub("", x)) for x in paragraph if not _OF_ITSELF.match(x)]
        joined = "\n".join(lines)
        if joined.strip() and joined not in kept:
            kept.append(joined)
    return "\n".join(kept) or type(error).__name__, place
