"""What the actors wrote into their logs since a run began: warnings are told again at its end, where somebody reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOLD_MOST = 5
_ENDS = (
    "failed",
    "cannot start",
    "failed while closing",
)  # told as the reason why an actor could not be kept


class LogTail:
    """Made before the run; reads what was appended after."""

    def __init__(self, run_dir: Path) -> None:
        self._logs = run_dir / "logs"
        self._before = {file: file.stat().st_size for file in self._logs.glob("*.log")}

    def lines(self, actor: str) -> list[str]:
        """The actor's own lines of this run."""
        file = self._logs / f"{actor}.log"
        if not file.exists():
            return []
        with file.open("rb") as stream:
            stream.seek(self._before.get(file, 0))
            return stream.read().decode(errors="replace").splitlines()

    def last_error(self, actor: str) -> str:
        """The line that says why the actor failed; "" when none does."""
        errors = [line for line in self.lines(actor) if '"level": "error"' in line]
        return errors[-1] if errors else ""

    def warnings(self, actor: str, *, failed: bool) -> list[str]:
        """Warnings and errors that did not end the run, each once; at most five, and how many more there are.

        `failed`: the actor could not be kept, so its end is told elsewhere.
        """
        found: dict[str, int] = {}
        for line in self.lines(actor):
            said = _parsed(line)
            if said.get("level") not in ("warning", "error"):
                continue
            if not (failed and said.get("event") in _ENDS):
                text = _short(said)
                found[text] = found.get(text, 0) + 1
        texts = [text + (f" ({times} times)" if times > 1 else "") for text, times in found.items()]
        more = len(texts) - TOLD_MOST
        return texts[:TOLD_MOST] + ([f"{more} more; `sovereign logs {actor}`"] if more > 0 else [])


def _parsed(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _short(said: dict[str, Any]) -> str:
    """Event, first line of the reason, and the other fields."""
    usual = ("timestamp", "level", "actor", "event", "reason", "author", "exception", "error")
    reason = str(said.get("reason", "")).partition("\n")[0]
    event = f"{said.get('event', '')}: {reason}" if reason else str(said.get("event", ""))
    fields = ", ".join(f"{key} {value}" for key, value in said.items() if key not in usual)
    return f"{event} ({fields})" if fields else event
