"""Structured logs: readable on a terminal, JSON lines otherwise; one file an actor."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO, cast

import structlog


def _processors(*, readable: bool) -> list[Any]:
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if readable:
        colors = "NO_COLOR" not in os.environ
        return [*shared, structlog.dev.ConsoleRenderer(colors=colors)]
    return [
        *shared,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]


def terminal_log(stream: TextIO | None = None, **bound: Any) -> Any:
    """A logger on stderr: for people when that is a terminal, JSON lines otherwise."""
    where = stream or sys.stderr
    return structlog.wrap_logger(
        structlog.WriteLogger(where), processors=_processors(readable=where.isatty())
    ).bind(**bound)


class _Patient(io.TextIOBase):
    """A log file that never ends its process: what a full disk refuses is counted, and told when there is room again."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._lost = 0

    def write(self, text: str) -> int:
        if self._lost:
            text = f'{{"event": "log lines were lost", "lost": {self._lost}}}\n{text}'
        try:
            os.write(self._fd, text.encode())
            self._lost = 0
        except OSError:
            self._lost += 1
        return len(text)


def file_log(path: Path, **bound: Any) -> Any:
    """A logger that appends JSON lines to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    stream = cast(TextIO, _Patient(path))
    return structlog.wrap_logger(
        structlog.WriteLogger(stream), processors=_processors(readable=False)
    ).bind(**bound)
