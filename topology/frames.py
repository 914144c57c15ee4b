"""Which frame of a traceback an author can do something about: the innermost that is no library's."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable

__all__ = ["LIBRARIES", "place_of"]

LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def place_of(frames: Iterable[tuple[str, int]]) -> str:
    """`file:line` of the first of `frames` (innermost first) in a file of no library; else of the first in any file."""
    files = [(file, line) for file, line in frames if not file.startswith("<")]
    own = [one for one in files if not one[0].startswith(LIBRARIES)]
    return next((f"{file}:{line}" for file, line in [*own, *files]), "")
