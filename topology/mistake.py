"""A mistake in a topology file, and how it is told: what, where with a caret, got and expected, what to do.

The text is part of the interface: golden files fix it word for word. It reads without colour.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sovereign.runtime.errors import SovereignError
from sovereign.topology.places import Place

__all__ = ["Mistake", "TopologyError", "nearest", "render"]


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong. `key` is the dotted path it concerns; `code` names the rule and never changes."""

    code: str
    what: str
    place: Place | None = None
    key: str = ""
    got: str = ""
    expected: str = ""
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        """`--json`: {"code","what","key","file","line","column","length","text","got","expected","hint"}."""
        place = self.place
        return {
            "code": self.code,
            "what": self.what,
            "key": self.key,
            "file": place.file if place else None,
            "line": place.line if place else None,
            "column": place.column if place else None,
            "length": place.length if place else None,
            "text": place.text if place else None,
            "got": self.got,
            "expected": self.expected,
            "hint": self.hint,
        }


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like `word`, if any is like it."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def render(mistake: Mistake) -> str:
    """The mistake as text of several lines, without a line end."""
    lines = [f"error[{mistake.code}]: {mistake.what}"]
    margin = ""
    if mistake.place is not None:
        place = mistake.place
        margin = " " * len(str(place.line))
        before = place.text[: place.column - 1]
        indent = "".join("\t" if letter == "\t" else " " for letter in before)
        room = max(1, len(place.text) - place.column + 1)
        carets = "^" * max(1, min(place.length, room))
        lines += [
            f"{margin}--> {place}",
            f"{margin} |",
            f"{place.line} | {place.text}",
            f"{margin} | {indent}{carets}",
        ]
    for label, text in (
        ("got", mistake.got),
        ("expected", mistake.expected),
        ("help", mistake.hint),
    ):
        if text:
            lines.append(f"{margin} = {label}: {text}")
    return "\n".join(lines)


class TopologyError(SovereignError):
    """A topology that cannot run: all its mistakes, in the order of the file. Exit code 2."""

    exit_code = 2

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        count = len(mistakes)
        self.file, self.mistakes = file, tuple(mistakes)
        super().__init__(f"{file}: {count} mistake{'' if count == 1 else 's'}", where=file)

    def __str__(self) -> str:
        return "\n\n".join([*(render(one) for one in self.mistakes), self.what])
