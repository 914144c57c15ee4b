"""Let the auditors take what a dead node left in its rings, and nothing else run."""

from __future__ import annotations

import signal
import time

from sovereign.runtime import launch
from sovereign.runtime.control import Control
from sovereign.runtime.spec import NodeSpec
from sovereign.runtime.watch import NodeView

SEAL_LIMIT_S = 10.0


def seal_leftovers(spec: NodeSpec) -> None:
    """Run the auditors until they are not behind, for ten seconds at most; what is left then is told by the caller."""
    auditors = [one for one in spec.actors if one.kind == "auditor"]
    control = Control(spec.name)
    alive, _ = launch.alive_pipe()
    running = [launch.Launched(spec, one.index, alive) for one in auditors]
    view = NodeView(spec)
    deadline = time.monotonic() + SEAL_LIMIT_S
    while time.monotonic() < deadline and any(view.lag_of(one.name) for one in auditors):
        time.sleep(0.01)
    for process in running:
        process.signal(signal.SIGTERM)
        process.reap()
    control.close()
    view.close()
