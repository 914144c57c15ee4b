"""What a shell completes beyond verbs and options: names of nodes and actors. Looking disturbs nobody, and never fails."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from sovereign.runtime.errors import SovereignError
from sovereign.runtime.rundir import known_nodes, live_nodes


def nodes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Nodes that live; of `logs` also those that have ended."""
    with contextlib.suppress(OSError):
        found = known_nodes() if ctx.info_name == "logs" else live_nodes()
        return [name for name in found if name.startswith(incomplete)]
    return []


def actors(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Actors of the node that is meant; an actor has a log from its first start on."""
    from sovereign.cli.node import run_dir_of

    with contextlib.suppress(OSError, SovereignError):
        run_dir = run_dir_of(ctx.params.get("node"), dead_too=ctx.info_name == "logs")
        return [name for name in _named_in(run_dir) if name.startswith(incomplete)]
    return []


def _named_in(run_dir: Path) -> list[str]:
    return sorted(
        file.stem
        for file in (run_dir / "logs").glob("*.log")
        if file.stem not in ("supervisor", "up")
    )
