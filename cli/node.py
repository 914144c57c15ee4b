"""Which node a verb means: the one that is named, or the only one that runs."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from sovereign.runtime.control_socket import Request, ask
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.rundir import known_nodes, live_nodes


def run_dir_of(name: str | None, *, dead_too: bool = False) -> Path:
    """Its run directory. Exit code 3: nothing runs; 2: several do, and none was named.

    `dead_too`: when nothing runs, the node that wrote its logs last.
    """
    live = live_nodes()
    nodes = {**known_nodes(), **live} if dead_too else live
    if name is not None:
        if name in nodes:
            return nodes[name]
        close = difflib.get_close_matches(name, nodes, 1)
        raise SovereignError(
            f"node {name} is not running",
            got=", ".join(nodes) or "nothing runs",
            hint=f"did you mean {close[0]!r}?" if close else "`sovereign up FILE` starts a node",
            exit_code=3,
        )
    if not live and nodes:
        return max(nodes.values(), key=_last_written_ns)
    if not live:
        raise SovereignError("nothing runs", hint="`sovereign up FILE` starts a node", exit_code=3)
    if len(live) > 1:
        raise SovereignError(
            "several nodes run", got=", ".join(live), hint="name one with --node", exit_code=2
        )
    return next(iter(live.values()))


def _last_written_ns(run_dir: Path) -> int:
    return max((one.stat().st_mtime_ns for one in (run_dir / "logs").glob("*.log")), default=0)


def tell(name: str | None, request: Request, timeout_s: float = 30.0) -> Any:
    """Ask the node's supervisor."""
    return ask(run_dir_of(name), request, timeout_s=timeout_s)
