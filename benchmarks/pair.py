"""Pinned processes beside each other, and the limit measured between the same cores in the same run.

Both sides of whatever is measured are forked and pinned; the process that asks sleeps meanwhile, so it costs them
nothing. A side that fails, or a pair that does not come to an end, is killed and told; it never hangs.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from sovereign.benchmarks import kernels
from sovereign.runtime.errors import SovereignError

Times = npt.NDArray[np.int64]
Meet = Callable[[], None]
Work = Callable[[Meet], object]
TIMEOUT_S = 120.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def cores() -> list[int]:
    """The cores that we may use, in order."""
    return sorted(os.sched_getaffinity(0))


def placed(processes: int) -> list[int]:
    """A core for each of `processes`, in turn: with fewer cores than that, they share."""
    usable = cores()
    return [usable[i % len(usable)] for i in range(processes)]


def crowded(processes: int) -> bool:
    """Whether so many share cores, so that whoever finds nothing must yield."""
    return processes > len(cores())


def shared_words(count: int) -> npt.NDArray[np.int64]:
    """Zeroed int64 words that forked processes share, on pages of their own."""
    words = np.frombuffer(mmap.mmap(-1, max(8 * count, mmap.PAGESIZE)), np.int64)[:count]
    words[:] = 0
    return words


@contextmanager
def pinned_to(*allowed: int) -> Iterator[None]:
    """Run the block, and what it starts, on these cores; the affinity is put back."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(allowed))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _side(core: int, work: Work, arrived: Times, index: int) -> None:
    """One forked process from its first line to its end; never returns."""
    code = 1
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who forked us hears it, and kills us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.sched_setaffinity(0, {core})

        def meet() -> None:
            arrived[index] = 1
            while not arrived.all():
                time.sleep(0)

        work(meet)
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(code)


def together(*works: Work) -> None:
    """Run each in a forked process on a core of its own, in turn, until all have ended.

    A work calls its argument once, when it is set up: the call returns when all are. SovereignError when one fails or
    they take longer than TIMEOUT_S.
    """
    arrived = shared_words(len(works))
    running: dict[int, int] = {}
    watch = select.poll()
    try:
        for index, (core, work) in enumerate(zip(placed(len(works)), works, strict=True)):
            pid = os.fork()
            if pid == 0:
                _side(core, work, arrived, index)
            running[os.pidfd_open(pid)] = pid
        for fd in running:
            watch.register(fd, select.POLLIN)
        deadline = time.monotonic() + TIMEOUT_S
        while running:
            ended = watch.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ended:
                raise SovereignError(f"processes did not come to an end in {TIMEOUT_S:.0f} s")
            for fd, _ in ended:
                watch.unregister(fd)
                os.close(fd)
                code = os.waitstatus_to_exitcode(os.waitpid(running.pop(fd), 0)[1])
                if code:
                    raise SovereignError("a process failed", got=f"exit {code}", expected="exit 0")
    finally:
        for fd, pid in running.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)


def timed(messages: int, produce: Work, *rest: Work) -> float:
    """Messages a second, from when all are set up until the last has ended its work."""
    marks = shared_words(2 + len(rest))

    def first(meet: Meet) -> None:
        def begin() -> None:
            meet()
            marks[0] = time.monotonic_ns()

        produce(begin)

    def ending(index: int, work: Work) -> Work:
        def run(meet: Meet) -> None:
            work(meet)
            marks[index] = time.monotonic_ns()

        return run

    together(first, *(ending(2 + i, work) for i, work in enumerate(rest)))
    return messages / float(marks[2:].max() - marks[0]) * 1e9


def limit_round(rounds: int) -> Times:
    """ns of each round trip of a bare word between two cores, both words on one cache line."""
    line, out, clock = shared_words(2), shared_words(rounds), np.zeros(2, np.int64)
    at = int(line.ctypes.data)
    kernels.limit_ping(at, 0, out, clock.ctypes.data)  # compiled here, once, for both sides
    kernels.limit_pong(at, 0)

    def ping(meet: Meet) -> None:
        meet()
        kernels.limit_ping(at, rounds, out, clock.ctypes.data)

    def pong(meet: Meet) -> None:
        meet()
        kernels.limit_pong(at, rounds)

    together(ping, pong)
    return out


def copy_round(messages: int) -> float:
    """Messages a second that one core copies between two warm 128-byte slots: no ring can be faster on it."""
    memory = np.zeros(64, np.int64)
    at = int(memory.ctypes.data)
    kernels.copy_through(at + 256, at, 128, 1)
    with pinned_to(cores()[0]):
        before = time.monotonic_ns()
        kernels.copy_through(at + 256, at, 128, messages)
        return messages / (time.monotonic_ns() - before) * 1e9
