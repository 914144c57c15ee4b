"""Sovereign's own rings, measured as a peer: every process has its readers and one output ring, as actors have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from sovereign.benchmarks import kernels
from sovereign.benchmarks.pair import Meet, Times, Work, crowded, shared_words, timed, together
from sovereign.benchmarks.peer import PROCESSES, READERS, SLOTS, Flow, Peer
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import create_ring
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec
from sovereign.runtime.writer import Writer


class Payload(Message):
    """64 bytes."""

    words: Annotated[np.int64, kernels.WORDS]


@contextmanager
def rings(slots: int, *readers: tuple[str, ...]) -> Iterator[str]:
    """One ring of `slots` a tuple of reader names, named 0, 1, …; the node's name."""
    node = f"bench{os.getpid()}"
    try:
        for index, names in enumerate(readers):
            specs = tuple(ReaderSpec(name) for name in names)
            create_ring(RingSpec(str(index), slots, 128, (Payload,), specs, index), node)
        yield node
    finally:
        for segment in segments_of(node):
            unlink(segment)


def _sum_of(messages: int, batch: int) -> int:
    """What the payloads' words sum to: `kernels.produce` sends batch i with the words i, i + 1, …"""
    batches = messages // batch
    words = kernels.WORDS
    return batch * (words * batches * (batches - 1) // 2 + batches * words * (words - 1) // 2)


class Sovereign(Peer):
    """The rings of this project."""

    name = "sovereign"

    def __init__(self, slots: int = SLOTS) -> None:
        """Compiles every loop, in the process that all sides are forked from."""
        self._slots = slots
        out, clock = np.zeros(1, np.int64), np.zeros(2, np.int64)
        with rings(self._slots, ("r",), ("r",)) as node:
            writer, reader = Writer(node, "0").words, Reader(node, "1", "r").words
            kernels.ring_ping(writer, reader, 0, out, clock.ctypes.data)
            kernels.ring_pong(writer, reader, 0)
            kernels.produce(writer, 0, 1)
            kernels.consume(reader, 0, False)
            kernels.forward(reader, writer, 0, False)
            kernels.join(reader, reader, 0, False)

    def hop_round(self, trips: int) -> Times:
        """Over two rings."""
        out, clock = shared_words(trips), np.zeros(2, np.int64)
        with rings(self._slots, ("r",), ("r",)) as node:

            def ping(meet: Meet) -> None:
                writer, reader = Writer(node, "0"), Reader(node, "1", "r")
                meet()
                at = clock.ctypes.data
                _refuse(kernels.ring_ping(writer.words, reader.words, trips, out, at), 0)

            def pong(meet: Meet) -> None:
                writer, reader = Writer(node, "1"), Reader(node, "0", "r")
                meet()
                kernels.ring_pong(writer.words, reader.words, trips)

            together(ping, pong)
        return out

    def flow_round(self, flow: Flow, messages: int) -> float:
        """One ring a process that publishes; what arrives at the ends is summed and checked."""
        readers = {"pipeline3": (("r",),) * 3, "diamond": (("a", "b"), ("r",), ("r",))}
        names = tuple(f"r{i}" for i in range(READERS.get(flow.shape, 0)))
        with rings(self._slots, *readers.get(flow.shape, (names,))) as node:
            run = _Run(node, flow, messages)
            if flow.shape == "pipeline3":
                rest = [run.stage("0", "r", "1"), run.stage("1", "r", "2"), run.sink(("2", "r"))]
            elif flow.shape == "diamond":
                rest = [run.stage("0", "a", "1"), run.stage("0", "b", "2")]
                rest.append(run.sink(("1", "r"), ("2", "r")))
            else:
                rest = [run.sink(("0", name)) for name in names]
            return timed(messages, run.source(), *rest)


@dataclass(frozen=True)
class _Run:
    """The processes of one flow: each is a work for `timed`."""

    node: str
    flow: Flow
    messages: int

    @property
    def yielding(self) -> bool:
        return crowded(PROCESSES[self.flow.shape])

    def source(self) -> Work:
        """Writes ring 0."""

        def run(meet: Meet) -> None:
            writer = Writer(self.node, "0")
            meet()
            kernels.produce(writer.words, self.messages, self.flow.batch)

        return run

    def stage(self, ring: str, name: str, output: str) -> Work:
        """Reads `ring` as `name`, and hands on into `output`."""

        def run(meet: Meet) -> None:
            reader, writer = Reader(self.node, ring, name), Writer(self.node, output)
            meet()
            kernels.forward(reader.words, writer.words, self.messages, self.yielding)

        return run

    def sink(self, *ends: tuple[str, str]) -> Work:
        """Reads one ring, or two in step."""
        due = len(ends) * _sum_of(self.messages, self.flow.batch)

        def run(meet: Meet) -> None:
            readers = [Reader(self.node, ring, name) for ring, name in ends]
            first, last = readers[0].words, readers[-1].words
            meet()
            if len(readers) == 1:
                got = kernels.consume(first, self.messages, self.yielding)
            else:
                got = kernels.join(first, last, self.messages, self.yielding)
            _refuse(got, due)

        return run


def _refuse(got: int, due: int) -> None:
    if got != due:
        raise SovereignError("messages arrived wrong", got=str(got), expected=str(due))
