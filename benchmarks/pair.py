"""Two or more pinned processes around a ring, and the limit measured between the same cores in the same run."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import numpy as np
import numpy.typing as npt

from sovereign.benchmarks import kernels
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import create_ring
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec
from sovereign.runtime.writer import Writer

Times = npt.NDArray[np.int64]


class Payload(Message):
    """64 bytes."""

    words: Annotated[np.int64, kernels.WORDS]


def cores() -> list[int]:
    """The cores that we may use, in order."""
    return sorted(os.sched_getaffinity(0))


@contextmanager
def rings(*readers: tuple[str, ...]) -> Iterator[str]:
    """One ring a tuple of reader names, named 0, 1, …; the node's name."""
    node = f"bench{os.getpid()}"
    for index, names in enumerate(readers):
        specs = tuple(ReaderSpec(name) for name in names)
        create_ring(RingSpec(str(index), 4096, 128, (Payload,), specs, index), node)
    try:
        yield node
    finally:
        for segment in segments_of(node):
            unlink(segment)


def beside(core: int, work: Callable[[], object]) -> int:
    """Run `work` in a forked process pinned to `core`; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            os.sched_setaffinity(0, {core})
            work()
        finally:
            os._exit(0)
    return pid


def pinned(core: int, work: Callable[[], object]) -> None:
    """Run `work` here, pinned; the affinity is put back."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        work()
    finally:
        os.sched_setaffinity(0, before)


def limit_round(rounds: int) -> Times:
    """ns of each round trip of a bare word between two cores, both words on one cache line."""
    first, second = cores()[:2]
    line = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.int64)
    out, clock = np.zeros(rounds, np.int64), np.zeros(2, np.int64)
    at = int(line.ctypes.data)
    pid = beside(second, lambda: kernels.limit_pong(at, rounds))
    pinned(first, lambda: kernels.limit_ping(at, rounds, out, clock.ctypes.data))
    os.waitpid(pid, 0)
    return out


def ring_round(rounds: int) -> Times:
    """ns of each round trip of a 64-byte message over two rings."""
    first, second = cores()[:2]
    out, clock = np.zeros(rounds, np.int64), np.zeros(2, np.int64)
    with rings(("r",), ("r",)) as node:

        def answer() -> None:
            writer, reader = Writer(node, "1"), Reader(node, "0", "r")
            kernels.ring_pong(writer.words, reader.words, rounds)

        pid = beside(second, answer)
        writer, reader = Writer(node, "0"), Reader(node, "1", "r")
        pinned(
            first,
            lambda: kernels.ring_ping(writer.words, reader.words, rounds, out, clock.ctypes.data),
        )
        os.waitpid(pid, 0)
    return out


def throughput_round(readers: int, batch: int, messages: int) -> float:
    """Messages a second from one writer to `readers` gates; readers beyond the cores share them, and yield."""
    usable = cores()
    names = tuple(f"r{i}" for i in range(readers))
    shared = readers + 1 > len(usable)
    with rings(names) as node:

        def take(name: str) -> None:
            reader = Reader(node, "0", name)
            kernels.consume(reader.words, messages, shared)

        pids = [
            beside(usable[(1 + i) % len(usable)], lambda name=name: take(name))  # type: ignore[misc]
            for i, name in enumerate(names)
        ]
        writer = Writer(node, "0")
        time.sleep(0.05)
        before = time.monotonic_ns()
        pinned(usable[0], lambda: kernels.produce(writer.words, messages, batch))
        for pid in pids:
            os.waitpid(pid, 0)
        return messages / (time.monotonic_ns() - before) * 1e9


def copy_round(messages: int) -> float:
    """Messages a second that one core copies between two warm 128-byte slots: no ring can be faster on it."""
    memory = np.zeros(64, np.int64)
    at = int(memory.ctypes.data)
    before = time.monotonic_ns()
    pinned(cores()[0], lambda: kernels.copy_through(at + 256, at, 128, messages))
    return messages / (time.monotonic_ns() - before) * 1e9
