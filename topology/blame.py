"""Which key a kind's own complaint is about.

A kind checks its Config without knowing of files and lines: it returns sentences. The key that a sentence names first,
or the value that it quotes, is where the caret goes. A kind can leave no doubt by beginning with the key path and a
colon: `params.treshold: the strategy has no such parameter`.
"""

from __future__ import annotations

import re
from typing import Any

from sovereign.topology.mistake import Mistake
from sovereign.topology.model import Part, Topology
from sovereign.topology.places import KeyPath
from sovereign.topology.source import dotted

__all__ = ["blame"]

_LABELS = {"got": "got", "expected": "expected", "fix": "hint", "where": "where"}
_LABELLED = re.compile(r"^\s+(got|expected|fix|where): (.*)$")
_FEWEST_LETTERS = 2


def blame(topology: Topology, part: Part, sentence: str) -> Mistake:
    """The sentence as a mistake, at the key it speaks of."""
    table = topology.source.tree["actors"][part.name]
    path = _find(sentence, table, part.path)
    first, *rest = sentence.split("\n")
    said = {"got": "", "expected": "", "hint": "", "where": ""}
    what = [first]
    for line in rest:
        found = _LABELLED.match(line)
        if found:
            said[_LABELS[found[1]]] = found[2]
        else:
            what.append(line.strip())
    got = "; ".join(text for text in (said["got"], said["where"]) if text)
    return Mistake(
        "config",
        f"[{dotted(part.path)}] {' '.join(what)}",
        topology.source.value(path),
        dotted(path),
        got,
        said["expected"],
        said["hint"],
    )


def _leaves(table: dict[str, Any], path: KeyPath) -> list[tuple[KeyPath, Any]]:
    found: list[tuple[KeyPath, Any]] = []
    for key, value in table.items():
        here = (*path, key)
        found.append((here, value))
        if isinstance(value, dict):
            found += _leaves(value, here)
    return found


def _find(sentence: str, table: dict[str, Any], path: KeyPath) -> KeyPath:
    """The leaf whose path, value or name comes first in the sentence; the kind when none does."""
    best: tuple[int, int, KeyPath] | None = None
    for leaf, value in _leaves(table, path):
        names = [".".join(str(one) for one in leaf[len(path) :]), str(leaf[-1])]
        if isinstance(value, str) and len(value) >= _FEWEST_LETTERS:
            names.append(value)
        for name in names:
            found = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", sentence)
            if found and (best is None or (found.start(), -len(name)) < best[:2]):
                best = (found.start(), -len(name), leaf)
    return best[2] if best else (*path, "kind")
