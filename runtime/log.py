"""Structured logs: readable on a terminal, JSON lines otherwise; one file an actor."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, TextIO

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


def file_log(path: Path, **bound: Any) -> Any:
    """A logger that appends JSON lines to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    stream = path.open("a", buffering=1, encoding="utf-8")
    return structlog.wrap_logger(
        structlog.WriteLogger(stream), processors=_processors(readable=False)
    ).bind(**bound)
