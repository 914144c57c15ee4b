"""One actor as the supervisor sees it: its process, its state, and when it comes back.

States as users of supervisors know them: STARTING, RUNNING, BACKOFF, DRAINING, STOPPED, FATAL; HALTED is a running
signer or egress of a halted node.
"""

from __future__ import annotations

import signal
import time
from typing import Any

from sovereign.runtime import counters as counting
from sovereign.runtime.counters import Counters
from sovereign.runtime.histogram import percentiles
from sovereign.runtime.launch import Launched
from sovereign.runtime.poison import InHand, Suspicion
from sovereign.runtime.restart import NEVER_NS, RestartClock
from sovereign.runtime.spec import ActorSpec, NodeSpec

STARTING, RUNNING, BACKOFF, DRAINING, STOPPED, FATAL, HALTED = (
    "STARTING", "RUNNING", "BACKOFF", "DRAINING", "STOPPED", "FATAL", "HALTED",
)  # fmt: skip
EXIT_CONFIG = 78
POINTS = (50.0, 99.0, 99.9, 99.99)


class Managed:
    """`tick` moves it on; the supervisor reads `state`."""

    def __init__(self, spec: ActorSpec, counters: Counters) -> None:
        self.spec, self.counters = spec, counters
        self.clock = RestartClock(spec.restart)
        self.suspicion = Suspicion(spec.poison)
        self.quarantines = RestartClock(spec.restart)
        self.process: Launched | None = None
        self.state = STOPPED
        self.restarts = 0
        self.next_start_ns = 0
        self.exit_code: int | None = None
        self.asked_to_stop = False
        self.started_ns = 0
        self.hung = ""
        self.busy = ""
        self.detached = self.ever_ran = False

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self.process is None else self.process.pid

    def start(self, node: NodeSpec, alive: Any) -> None:
        """Fork it."""
        self.counters_reset()
        self.process = Launched(node, self.spec.index, alive, self.suspicion.options)
        self.state, self.asked_to_stop, self.hung = STARTING, False, ""
        self.started_ns = time.monotonic_ns()

    def could_not_start(self, now_ns: int) -> None:
        """There was no process to be had: BACKOFF or FATAL, as after a death."""
        when = self.clock.failed(now_ns)
        self.state = FATAL if when == NEVER_NS else BACKOFF
        self.next_start_ns = when

    def counters_reset(self) -> None:
        """What the supervisor compares with must not be the dead predecessor's."""
        self._starts_before = self.counters["starts"]
        self._ready_before = self.counters["ready_ns"]

    def ready(self) -> bool:
        """Whether the loop is warm and runs."""
        return (
            self.counters["starts"] > self._starts_before
            and self.counters["phase"] == counting.RUNNING
        )

    def tick(self, now_ns: int) -> bool:
        """Note readiness and hanging; whether the process has ended."""
        if self.process is None:
            return False
        if self.process.ended:
            return True
        if self.state == STARTING and self.ready():
            self.state, self.ever_ran = RUNNING, True
        why = "" if self.hung else self._hangs(now_ns)
        if why:
            self.hung = why
            self.process.signal(signal.SIGKILL)
        return False

    def _hangs(self, now_ns: int) -> str:
        """Why the process counts as hung; "" while it does not."""
        if self.state == STARTING and now_ns - self.started_ns > self.spec.start_limit_ns:
            return f"hung: not ready within {self.spec.start_limit_ns / 1e9:g} s"
        silent = now_ns - self.counters["heartbeat_ns"]
        if self.state in (RUNNING, DRAINING) and silent > self.spec.heartbeat_limit_ns:
            return "hung: no heartbeat"
        return ""

    def in_hand(self) -> InHand | None:
        """The event that the dead process had in hand, if its inputs tell nothing else of it."""
        event = InHand(self.counters["hand_input"], self.counters["hand_sequence"])
        return event if event.sequence > 0 and event.input < len(self.spec.inputs) else None

    def reap(self, now_ns: int) -> int:
        """Take the exit code, and decide what follows: STOPPED, BACKOFF or FATAL."""
        assert self.process is not None
        self.ever_ran |= self.counters["ready_ns"] > self._ready_before
        code = self.process.reap()
        self.process, self.exit_code = None, code
        if self.asked_to_stop or (code == 0 and self.spec.restart.policy != "always"):
            self.state = STOPPED
            return code
        when = NEVER_NS if code == EXIT_CONFIG else self.clock.failed(now_ns)
        self.state = FATAL if when == NEVER_NS else BACKOFF
        self.next_start_ns = when
        return code

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to drain and end."""
        self.asked_to_stop = True
        if self.process is None:
            self.state = STOPPED
            return
        self.state = DRAINING
        self.process.signal(number)

    def row(self, *, halted: bool) -> dict[str, Any]:
        """What `sovereign ps --json` shows of it."""
        state = (
            HALTED
            if halted and self.state == RUNNING and self.counters["halt_epoch"]
            else self.state
        )
        return {
            "actor": self.spec.name,
            "kind": self.spec.kind,
            "state": state,
            "pid": self.pid,
            "cpu": self.spec.cpu,
            "restarts": self.restarts,
            "exit_code": self.exit_code,
            "detached": self.detached,
            "counters": self.counters.as_dict(),
            "latency_ns": {
                name: dict(zip(("p50", "p99", "p99_9", "p99_99"), found, strict=True))
                for name in ("hop", "origin", "service")
                if any(found := percentiles(self.counters.histogram(name), POINTS))
            },
        }
