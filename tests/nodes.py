"""A small node for tests: real rings, real processes, no supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from sovereign.runtime import control, layout
from sovereign.runtime import counters as counting
from sovereign.runtime.host import load_entry, run_actor
from sovereign.runtime.message import Message
from sovereign.runtime.ring import create_ring
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.spec import ActorSpec, InputSpec, NodeSpec, ReaderSpec, RingSpec

Types = tuple[type[Message], ...]


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for `condition`; its value, or a failed assertion."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.002)
    raise AssertionError(f"not within {seconds} s: {condition}")


class SmallNode:
    """`source` is a ring that the test writes; then `actors` in a chain; the last one's ring has the reader `test`.

    With `audited`, an auditor of that config, named `auditor`, is the last actor, and reads `source`.
    """

    def __init__(
        self,
        source: Types,
        *actors: tuple[str, str, Any],
        capacity: int = 1024,
        out_capacity: int = 0,
        audited: Any = None,
    ) -> None:
        self.name = f"t{os.getpid()}x{time.monotonic_ns() % 1_000_000}"
        self.folder = Path(tempfile.mkdtemp(prefix="sovereign-test-"))
        self.pids: dict[int, int] = {}
        given: list[Types] = [source]
        names = ["source", *(name for name, _, _ in actors), "test"]
        first = self._ring(0, names, source, capacity)
        if audited is not None:
            first = replace(first, readers=(*first.readers, ReaderSpec("auditor")))
        specs = [ActorSpec(0, "source", "test", "", None, output=first)]
        for index, (name, entry, config) in enumerate(actors, 1):
            kind = load_entry(entry)
            gives = kind.gives(config, (given[-1],))
            specs.append(
                ActorSpec(
                    index,
                    name,
                    "test",
                    entry,
                    config,
                    inputs=(InputSpec(names[index - 1], index - 1),),
                    output=self._ring(index, names, gives, out_capacity or capacity)
                    if gives
                    else None,
                    upstream=(given[-1],),
                )
            )
            given.append(gives)
        if audited is not None:
            entry = "sovereign.actors.auditor.actor:Auditor"
            wire = (InputSpec("source", 0),)
            specs.append(ActorSpec(len(specs), "auditor", "auditor", entry, audited, inputs=wire))
        self.last = given[-1]
        self.spec = NodeSpec(self.name, tuple(specs), self.folder, self.folder / "archive")

    @staticmethod
    def _ring(index: int, names: list[str], types: Types, capacity: int) -> RingSpec:
        stride = layout.stride_for(max(kind.dtype.itemsize for kind in types))
        reader = ReaderSpec(names[index + 1])
        return RingSpec(names[index], capacity, stride, types, (reader,), index)

    def __enter__(self) -> SmallNode:
        control.create_node(self.name, len(self.spec.actors))
        for actor in self.spec.actors:
            if actor.output is not None:
                create_ring(actor.output, self.name)
        self.control = control.Control(self.name)
        return self

    def start(self, index: int, *, wait: bool = True) -> int:
        """Fork the actor's process; wait until it runs or has ended."""
        before = self.control.counters(index)["starts"]
        pid = os.fork()
        if pid == 0:
            try:
                run_actor(self.spec, index)
            except SystemExit as ended:
                os._exit(int(str(ended.code)))
            finally:
                os._exit(99)
        self.pids[index] = pid
        counters = self.control.counters(index)
        if wait:
            until(  # a cold cache compiles
                lambda: counters["starts"] > before and counters["phase"] != counting.STARTING, 120
            )
        return pid

    def kill(self, index: int, number: int = signal.SIGKILL) -> int:
        """Signal an actor and reap it: its exit code, negative for a signal."""
        os.kill(self.pids[index], number)
        return self.reap(index)

    def reap(self, index: int) -> int:
        """Wait for the end of an actor; a failed assertion when it lives on."""
        ended = until(lambda: (found := os.waitpid(self.pids[index], os.WNOHANG))[0] and found, 60)
        del self.pids[index]
        return os.waitstatus_to_exitcode(ended[1])

    def log(self, name: str) -> str:
        """The actor's log."""
        return (self.folder / "logs" / f"{name}.log").read_text()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for index in list(self.pids):
            self.kill(index)
        for segment in segments_of(self.name):
            unlink(segment)
        shutil.rmtree(self.folder, ignore_errors=True)
