"""Which key a kind's own complaint is about.

A kind checks its Config without knowing of files and lines: it returns sentences. The best begin with the key path and
a colon (`params.px: must be above 0`), and leave no doubt: the caret goes under the value, or under the key itself where
the sentence goes on to quote its name (`params.treshold: there is no parameter "treshold"`). Else the key that a sentence
names first, or the value that it quotes, is where the caret goes. The keys that all kinds have are not looked at: a
kind does not see them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sovereign.topology.mistake import Mistake
from sovereign.topology.model import Part, Topology
from sovereign.topology.places import KeyPath
from sovereign.topology.schema import COMMON_KEYS
from sovereign.topology.source import dotted

__all__ = ["blame"]

_LABELS = {"got": "got", "expected": "expected", "fix": "hint", "where": "where"}
_LABELLED = re.compile(r"^\s+(got|expected|fix|where): (.*)$")
_KEY_FIRST = re.compile(r"^([A-Za-z_][\w-]*(?:\.[\w-]+|\[\d+\])*): ")
_STEP = re.compile(r"[\w-]+")
_FEWEST_LETTERS = 2


def blame(topology: Topology, part: Part, sentence: str, code: str = "config") -> Mistake:
    """The sentence as a mistake, at the key it speaks of."""
    table = topology.source.tree["actors"][part.name]
    own = {key: value for key, value in table.items() if key not in COMMON_KEYS}
    path = _said_first(sentence, part, own) or _find(sentence, own, part.path)
    first, *rest = sentence.split("\n")
    said = {"got": "", "expected": "", "hint": "", "where": ""}
    what = [first]
    for line in rest:
        found = _LABELLED.match(line)
        if found:
            said[_LABELS[found[1]]] = found[2]
        elif line.strip():
            what.append(line.rstrip())  # an excerpt of the author's code, with its own caret
    quoted = isinstance(path[-1], str) and f'"{path[-1]}"' in first
    place = topology.source.key(path) if quoted else topology.source.value(path)
    joined = "\n".join(what)
    got = "; ".join(text for text in (said["got"], said["where"]) if text)
    return Mistake(
        code,
        f"[{dotted(part.path)}] {joined}",
        place,
        dotted(path),
        got,
        said["expected"],
        said["hint"],
    )


def _said_first(sentence: str, part: Part, own: dict[str, Any]) -> KeyPath | None:
    """The key path with which the sentence begins, whether it is written in the file or not."""
    found = _KEY_FIRST.match(sentence)
    if found is None:
        return None
    path = tuple(int(one) if one.isdecimal() else one for one in _STEP.findall(found[1]))
    known = {*own, *(part.cls.Config.__struct_encode_fields__ if part.cls else ())}
    return (*part.path, *path) if path[0] in known else None


def _leaves(table: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    below = table.items() if isinstance(table, dict) else enumerate(table)
    for key, value in below:
        here = (*path, key)
        yield here, value
        if isinstance(value, dict | list):
            yield from _leaves(value, here)


def _find(sentence: str, own: dict[str, Any], path: KeyPath) -> KeyPath:
    """The leaf whose path, value or name comes first in the sentence; the kind when none does."""
    best: tuple[int, int, KeyPath] | None = None
    for leaf, value in _leaves(own, path):
        names = [dotted(leaf[len(path) :])]
        if isinstance(leaf[-1], str):
            names.append(leaf[-1])
        if isinstance(value, str) and len(value) >= _FEWEST_LETTERS:
            names.append(value)
        for name in names:
            found = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", sentence)
            if found and (best is None or (found.start(), -len(name)) < best[:2]):
                best = (found.start(), -len(name), leaf)
    return best[2] if best else (*path, "kind")
