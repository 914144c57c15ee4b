"""`sovereign logs`: what the actors said, in one order of time."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import click

from sovereign.cli.complete import actors, nodes


def _entries(files: list[Path], seen: dict[Path, int]) -> list[tuple[str, str]]:
    """(timestamp, line) of what was appended since the last look."""
    found = []
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as stream:
            stream.seek(seen.get(file, 0))
            text = stream.read()
        whole, newline, _ = text.rpartition("\n")
        seen[file] = seen.get(file, 0) + len((whole + newline).encode())
        for line in whole.splitlines():
            found.append((_stamp(line), line))
    return sorted(found, key=lambda one: one[0])


def _stamp(line: str) -> str:
    try:
        return str(json.loads(line).get("timestamp", ""))
    except ValueError:
        return ""


def readable(line: str) -> str:
    """A JSON line for people; any other as it is. Frames of ours are left out where the reason says all (`told`)."""
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError:
        return line
    head = [str(said.pop(key, "")) for key in ("timestamp", "level", "actor", "event")]
    reason, author = str(said.pop("reason", "")), str(said.pop("author", ""))
    trace = str(said.pop("exception", ""))
    enough = bool(said.pop("error", "")) or bool(author)
    rest = " ".join(f"{key}={value}" for key, value in said.items())
    event = f"{head[3]}: {reason}" if reason else head[3]
    text = f"{head[0]} {head[1]:<7} {head[2]:<12} {event} {rest}".rstrip()
    return "\n".join(
        [text, *([author] if author else []), *([trace] if trace and not enough else [])]
    )


@click.command("logs", epilog="Exit codes: 0 shown; 3 no node; 4 no such actor.")
@click.argument("actor", required=False, shell_complete=actors)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is appended.")
@click.option("--node", shell_complete=nodes, help="Which node, when there are several.")
@click.option("--json", "as_json", is_flag=True, help="The JSON lines as they stand in the files.")
def command(actor: str | None, follow: bool, node: str | None, as_json: bool) -> None:
    """Show the logs of a node, also of one that has ended.

    \b
    Example: sovereign logs -f taker
    """
    from sovereign.cli.node import run_dir_of

    folder = run_dir_of(node, dead_too=True) / "logs"
    files = sorted(folder.glob("*.log"))
    if actor is not None:
        files = [file for file in files if file.stem == actor]
        if not files:
            known = ", ".join(sorted(file.stem for file in folder.glob("*.log")))
            click.echo(f"no actor is named {actor!r}; there are {known}", err=True)
            raise SystemExit(4)
    seen: dict[Path, int] = {}
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how one ends following
        while True:
            for _, line in _entries(files if actor else sorted(folder.glob("*.log")), seen):
                click.echo(line if as_json else readable(line))
            if not follow:
                return
            time.sleep(0.2)
