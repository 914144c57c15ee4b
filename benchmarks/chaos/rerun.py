"""The same input again with nobody killed: each actor alone, fed with the slots that its predecessor left in the archive.

The slots are fed byte for byte, with the sequences, causes and generation that they had; the pod gets the key, but not
the journal. So what comes out must be what came out.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sovereign.actors.egress.actor import EgressConfig
from sovereign.actors.signer_proxy.actor import SignerConfig
from sovereign.benchmarks.chaos.forked import fork_actor, kill_and_reap
from sovereign.benchmarks.chaos.receiver import Receiver
from sovereign.benchmarks.chaos.wired import SLOTS, UDP
from sovereign.runtime import kernels
from sovereign.runtime.control import create_node
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import SlotArray, create_ring
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.spec import ActorSpec, NodeSpec, ReaderSpec
from sovereign.runtime.writer import Writer

STANDSTILL_S = 60.0
READER = "sim"


def _config(actor: ActorSpec, folder: Path, ports: tuple[int, int]) -> Any:
    """The actor's, its effects turned aside: a pod folder with the key alone, a venue of our own."""
    if isinstance(actor.config, SignerConfig):
        pod = folder / "pod"
        pod.mkdir(mode=0o700)
        for key in Path(actor.config.folder).glob("*.key"):
            shutil.copy2(key, pod)
        return msgspec.structs.replace(actor.config, folder=str(pod))
    if isinstance(actor.config, EgressConfig):
        to = f"127.0.0.1:{ports[0 if actor.name == UDP else 1]}"
        transport = msgspec.structs.replace(actor.config.transport, to=to)
        return msgspec.structs.replace(actor.config, transport=transport)
    return actor.config


class _One:
    """One actor: its feed, its process, and what it said."""

    def __init__(self, spec: NodeSpec, index: int, given: SlotArray) -> None:
        actor = spec.actors[index]
        self.given, self.at = given, 0
        self._feed = Writer(spec.name, actor.inputs[0].ring)
        self._target = self._feed.ring.slots()
        self._reader = Reader(spec.name, actor.name, READER)
        self.said: list[SlotArray] = []
        self.pid = fork_actor(spec, index)

    def pump(self) -> bool:
        """Feed what fits, take what is there; whether anything moved."""
        count = min(self._feed.free, len(self.given) - self.at)
        for i in range(count):
            self._target[(self.at + i) % len(self._target)] = self.given[self.at + i]
        if count:
            kernels.publish(self._feed.words, count)
            self.at += count
        ready = self._reader.available()
        self.said += [part.copy() for part in self._reader.slots(ready) if len(part)]
        self._reader.commit(ready)
        return bool(count or ready)

    @property
    def done(self) -> bool:
        """Whether the actor has committed all that it was given."""
        return self._feed.ring.reader_cursor(0) == len(self.given)

    def taken(self) -> SlotArray:
        """All that it said."""
        empty = np.zeros(0, self._reader.ring.slots().dtype)
        return np.concatenate([empty, *self.said])

    def close(self) -> None:
        """End it."""
        kill_and_reap(self.pid)
        self._target = self._feed.ring.slots()[:0]
        self._feed.close()
        self._reader.close()


def _spec(spec: NodeSpec, names: tuple[str, ...], folder: Path, ports: tuple[int, int]) -> NodeSpec:
    """The node with a feed of its own for each actor of `names`; made, one writer a ring."""
    again = replace(spec, name=f"{spec.name}r", run_dir=folder, archive_dir=folder / "archive")
    rings = {actor.name: actor.output for actor in spec.actors}
    actors = []
    for actor in spec.actors:
        if actor.name in names and actor.output is not None:
            ring = rings[actor.inputs[0].ring]
            assert ring is not None
            feed = f"{ring.name}-{actor.name}"
            create_ring(
                replace(ring, name=feed, readers=(ReaderSpec(actor.name),), capacity=4 * SLOTS),
                again.name,
            )
            output = replace(actor.output, readers=(ReaderSpec(READER),), capacity=4 * SLOTS)
            create_ring(output, again.name)
            inputs = (replace(actor.inputs[0], ring=feed, feedback=False),)
            config = _config(actor, folder, ports)
            actor = replace(actor, inputs=inputs, output=output, config=config)
        actors.append(actor)
    create_node(again.name, len(actors))
    return replace(again, actors=tuple(actors))


def rerun(
    spec: NodeSpec, recorded: dict[str, SlotArray], names: tuple[str, ...], folder: Path
) -> dict[str, SlotArray]:
    """What each actor of `names` says when its input is the `recorded` one, by name. SovereignError: it stands still."""
    folder.mkdir(mode=0o700)
    receiver, running = Receiver(), []
    try:
        again = _spec(spec, names, folder, receiver.ports)
        for name in names:
            given = recorded[spec.actor(name).inputs[0].ring]
            running.append(_One(again, spec.actor(name).index, given))
        moved_s = time.monotonic()
        while not all(one.done for one in running):
            receiver.drain()
            if sum(one.pump() for one in running):
                moved_s = time.monotonic()
            elif time.monotonic() - moved_s > STANDSTILL_S:
                raise SovereignError("the run without kills stands still", where=str(folder))
            else:
                time.sleep(0.000_2)
        for one in running:
            one.pump()
        return {name: one.taken() for name, one in zip(names, running, strict=True)}
    finally:
        for one in running:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                one.close()
        for segment in segments_of(f"{spec.name}r"):
            unlink(segment)
        receiver.close()
