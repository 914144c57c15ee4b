"""A whole node, timed: what an order costs through the real actors, and how long it takes to come up.

The node's own ticks are the events: they come at a known rate for as long as one likes. The clock of a tick starts when
the bus publishes it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sovereign.benchmarks.pair import Times
from sovereign.runtime.control import Control
from sovereign.runtime.control_socket import Request, ask
from sovereign.runtime.errors import ResourceError, SovereignError
from sovereign.runtime.histogram import percentiles
from sovereign.runtime.ring import open_ring

DATA = Path(__file__).parents[1] / "examples" / "data" / "test_data.mbp-1.dbn"
ACTORS = ("feed", "bus", "taker", "signer", "egress", "auditor")
TOPOLOGY = """
[node]
name = "{node}"
run_dir = "{folder}/run/{node}"
archive_dir = "{folder}/archive"
[actors.feed]
kind = "ingress"
driver = {{ kind = "pcap", path = "{data}" }}
decoder = {{ kind = "dbn" }}
[actors.bus]
kind = "bus"
inputs = ["feed"]
tick_ns = {tick_ns}
[actors.taker]
kind = "strategy"
plugin = "sovereign.examples.every_tick:EveryTick"
inputs = ["bus"]
[actors.signer]
kind = "signer"
inputs = ["taker"]
policy = {{ max_qty = 10, max_notional = 10_000_000 }}
[actors.egress]
kind = "egress"
inputs = ["signer"]
transport = {{ kind = "udp", to = "127.0.0.1:9" }}
[actors.auditor]
kind = "auditor"
inputs = ["feed", "bus", "taker", "signer", "egress"]
"""


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> int:
    """Poll; CLOCK_MONOTONIC ns at which `condition` held. ResourceError when it never did."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return time.monotonic_ns()
        time.sleep(0.0002)
    raise ResourceError(f"the node did not get so far within {seconds} s")


class BenchNode:
    """A running node. `started_ns`, `first_ns`: CLOCK_MONOTONIC when `up` was called, and of its first message."""

    def __init__(self, folder: Path, tick_ns: int) -> None:
        self.name = f"bench{os.getpid()}"
        self._env = {**os.environ, "SOVEREIGN_RUN_DIR": f"{folder}/run"}
        file = folder / "bench.toml"
        file.write_text(TOPOLOGY.format(node=self.name, folder=folder, data=DATA, tick_ns=tick_ns))
        self.run_dir = folder / "run" / self.name
        self.started_ns = time.monotonic_ns()
        self._up = self._verb("up", str(file))
        self.first_ns = wait_for(lambda: self.published("feed"))
        self._verb("ready", "--timeout", "60", self.name).wait()
        self.control = Control(self.name)

    def _verb(self, *words: str) -> subprocess.Popen[bytes]:
        words = (sys.executable, "-P", "-m", "sovereign.cli.main", *words)
        return subprocess.Popen(
            words, env=self._env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def published(self, ring: str) -> int:
        """The ring's cursor; 0 while there is no ring."""
        with contextlib.suppress(SovereignError):  # not there yet, or half made
            found = open_ring(self.name, ring)
            cursor = found.cursor
            found.segment.close()
            return cursor
        return 0

    def restart(self, actor: str) -> tuple[int, int]:
        """ns from the request until the actor runs, and until its first message."""
        before = time.monotonic_ns()
        took = ask(self.run_dir, Request(op="restart", actor=actor))["took_ns"]
        at = self.published(actor)
        return int(took), wait_for(lambda: self.published(actor) > at) - before

    def down(self) -> None:
        """End it."""
        self.control.close()
        self._verb("down", self.name).wait()
        self._up.wait()


@contextlib.contextmanager
def running(tick_ns: int) -> Iterator[BenchNode]:
    """A node in a folder of its own, which goes away."""
    with tempfile.TemporaryDirectory(prefix="sovereign-bench-") as folder:
        node = BenchNode(Path(folder), tick_ns)
        try:
            yield node
        finally:
            node.down()


def tick_latencies(seconds: float, tick_ns: int) -> dict[str, list[int]]:
    """Percentiles (50, 99, 99.9, 99.99, 100), ns, from a tick's publication to the order and to its signature."""
    points = (50.0, 99.0, 99.9, 99.99, 100.0)
    with running(tick_ns) as node:
        blocks = {name: node.control.counters(ACTORS.index(name)) for name in ("taker", "signer")}
        before = {name: block.histogram("origin").copy() for name, block in blocks.items()}
        time.sleep(seconds)
        found = {name: block.histogram("origin") - before[name] for name, block in blocks.items()}
        named = {"tick-to-order": found["taker"], "tick-to-signed": found["signer"]}
        return {name: percentiles(counts, points) for name, counts in named.items()}


def bare_signatures(count: int) -> Times:
    """ns of each Ed25519 signature of 160 bytes by the pod's library, in this process."""
    key, message = Ed25519PrivateKey.generate(), bytes(160)
    out = np.zeros(count, np.int64)
    for i in range(count):
        before = time.perf_counter_ns()
        key.sign(message)
        out[i] = time.perf_counter_ns() - before
    return out


def interpreter_start() -> int:
    """ns that a bare Python takes to start and end: the limit of anything that starts one."""
    before = time.monotonic_ns()
    subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
    return time.monotonic_ns() - before
