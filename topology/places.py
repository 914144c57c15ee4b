"""Where each key and value of a TOML text stands: line, column and length.

`tomllib` reads a document and forgets where it read what, and `tomlkit` keeps the text but not the places. This
scanner gives only places: the values, and whether the text is TOML at all, are `tomllib`'s to say. So `scan` must be
given a text that `tomllib` accepts (TOML 1.0, https://toml.io/en/v1.0.0), and then it knows every path that
`tomllib` knows: a property that is tested.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

__all__ = ["KeyPath", "Place", "Span", "scan"]

KeyPath = tuple[str | int, ...]

_BARE_ENDS = ",]}#\n"
_KEY_ENDS = " \t.=]\r\n"


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (exclusive) of a text."""

    start: int
    end: int


@dataclass(frozen=True)
class Place:
    """One place in a named text. `line` and `column` count from 1, in characters; `text` is the whole line."""

    file: str
    line: int
    column: int
    length: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass
class Spans:
    """The spans of keys and of values, by path."""

    keys: dict[KeyPath, Span]
    values: dict[KeyPath, Span]


def scan(text: str) -> Spans:
    """Spans of all keys and values of `text`, which `tomllib.loads` must accept."""
    return _Scanner(text).document()


class _Scanner:
    """One pass over the text; `at` is the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.spans = Spans({}, {})
        self.tables: dict[KeyPath, int] = {}

    def document(self) -> Spans:
        prefix: KeyPath = ()
        while self._skip(newlines=True):
            if self._peek("[["):
                prefix = self._header(2)
            elif self._peek("["):
                prefix = self._header(1)
            else:
                self._pair(prefix)
        return self.spans

    def _peek(self, mark: str) -> bool:
        return self.text.startswith(mark, self.at)

    def _skip(self, *, newlines: bool) -> bool:
        """Pass blanks and comments (and line ends); whether something follows."""
        blanks = " \t\r\n" if newlines else " \t"
        while self.at < len(self.text):
            if self.text[self.at] in blanks:
                self.at += 1
            elif self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return True
        return False

    def _header(self, brackets: int) -> KeyPath:
        """`[a.b]` or `[[a.b]]`: the path that the following pairs belong to."""
        start = self.at
        self.at += brackets
        names = self._dotted()
        self._skip(newlines=False)
        self.at += brackets
        path: KeyPath = ()
        for depth, (name, span) in enumerate(names):
            path = (*path, name)
            last = depth == len(names) - 1
            self.spans.keys.setdefault(path, span)
            self.spans.values.setdefault(path, span)
            if last and brackets == 2:
                self.tables[path] = self.tables.get(path, -1) + 1
                self.spans.values[path] = Span(start, self.at)
            if path in self.tables:
                path = (*path, self.tables[path])
        self.spans.values[path] = Span(start, self.at)
        return path

    def _dotted(self) -> list[tuple[str, Span]]:
        names = []
        while True:
            self._skip(newlines=False)
            names.append(self._key())
            self._skip(newlines=False)
            if not self._peek("."):
                return names
            self.at += 1

    def _key(self) -> tuple[str, Span]:
        start = self.at
        if self.text[start] in "\"'":
            self._string()
            raw = self.text[start : self.at]
            return tomllib.loads(f"x={raw}")["x"], Span(start, self.at)
        while self.at < len(self.text) and self.text[self.at] not in _KEY_ENDS:
            self.at += 1
        return self.text[start : self.at], Span(start, self.at)

    def _pair(self, prefix: KeyPath) -> None:
        names = self._dotted()
        path = prefix
        for name, span in names:
            path = (*path, name)
            self.spans.keys.setdefault(path, span)
            self.spans.values.setdefault(path, span)
        self.at += 1  # the equals sign
        self._skip(newlines=False)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        start = self.at
        if self._peek("["):
            self._array(path)
        elif self._peek("{"):
            self._inline(path)
        elif self._peek('"') or self._peek("'"):
            self._string()
        else:
            while self.at < len(self.text) and self.text[self.at] not in _BARE_ENDS:
                self.at += 1
            written = self.text[start : self.at].rstrip()
            self.spans.values[path] = Span(start, start + len(written))
            return
        self.spans.values[path] = Span(start, self.at)

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while self._skip(newlines=True) and not self._peek("]"):
            self._value((*path, index))
            index += 1
            self._skip(newlines=True)
            if self._peek(","):
                self.at += 1
        self.at += 1

    def _inline(self, path: KeyPath) -> None:
        self.at += 1
        while self._skip(newlines=True) and not self._peek("}"):
            self._pair(path)
            self._skip(newlines=True)
            if self._peek(","):
                self.at += 1
        self.at += 1

    def _string(self) -> None:
        """Pass a string of any of the four kinds."""
        quote = self.text[self.at]
        escapes = quote == '"'
        if self._peek(quote * 3):
            self.at += 3
            while not self._peek(quote * 3):
                self.at += 2 if escapes and self.text[self.at] == "\\" else 1
            self.at += 3
            while self._peek(quote):  # up to two quotes may stand before the closing three
                self.at += 1
            return
        self.at += 1
        while self.text[self.at] != quote:
            self.at += 2 if escapes and self.text[self.at] == "\\" else 1
        self.at += 1
