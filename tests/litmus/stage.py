"""Where a litmus test plays: rings of its own, a page of shared words, and one pinned process a role."""

from __future__ import annotations

import mmap
import os
import signal
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Annotated, Any, NamedTuple

import numpy as np

from sovereign.runtime import kernels
from sovereign.runtime.message import Message
from sovereign.runtime.ring import create_ring
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec

PAYLOAD_WORDS = 8
STRIDE_BYTES = 128
LINE_WORDS = 16
DEADLINE_S = 60.0
DEFAULT_ROUNDS = 1_000_000
Role = Callable[[], None]


def asked_rounds() -> int:
    """How many messages the fastest claims are played with; slower ones in proportion."""
    return int(os.environ.get("SOVEREIGN_LITMUS_ROUNDS", str(DEFAULT_ROUNDS)))


class Load(Message):
    """What flows: 64 bytes that all follow from the sequence."""

    words: Annotated[np.int64, PAYLOAD_WORDS]


class Outcome(NamedTuple):
    """Of one run: rounds played, forbidden outcomes counted, and whether every message was accounted for."""

    rounds: int
    forbidden: int
    complete: bool


class Claim(NamedTuple):
    """`forbidden` says the outcome in words; `breaks` names the broken variants that must show it."""

    name: str
    forbidden: str
    play: Callable[[int, str], Outcome]
    breaks: tuple[str, ...]
    rounds: int


class Stage:
    """Made for one run, and removed after it."""

    def __init__(self) -> None:
        self.node = f"litmus{os.getpid()}x{time.monotonic_ns() % 1_000_000}"
        self._pids: list[int] = []

    def __enter__(self) -> Stage:
        self.words = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.int64)
        return self

    def at(self, line: int) -> int:
        """Address of a shared word that stands alone on its cache line."""
        return int(self.words.ctypes.data) + 8 * LINE_WORDS * line

    def said(self, line: int) -> int:
        """The value of that word."""
        return int(self.words[LINE_WORDS * line])

    def ring(self, name: str, slots: int, *readers: str, gate: bool = True) -> None:
        """Make a ring."""
        specs = tuple(ReaderSpec(reader, gate) for reader in readers)
        create_ring(RingSpec(name, slots, STRIDE_BYTES, (Load,), specs, 0), self.node)

    def run(self, *roles: Role) -> None:
        """One process a role, spread over the cores; AssertionError when one fails or is not done in time."""
        assert kernels.register_membarrier()
        cores = sorted(os.sched_getaffinity(0))
        for place, role in enumerate(roles):
            pid = os.fork()
            if pid == 0:
                _play(role, cores[place % len(cores)])
            self._pids.append(pid)
        most_s = DEADLINE_S * max(1.0, asked_rounds() / DEFAULT_ROUNDS)
        deadline = time.monotonic() + most_s
        while self._pids:
            for pid in list(self._pids):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    self._pids.remove(pid)
                    assert status == 0, f"a role ended with {os.waitstatus_to_exitcode(status)}"
            assert time.monotonic() < deadline, f"a role was not done within {most_s} s"
            time.sleep(0.001)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for name in segments_of(self.node):
            unlink(name)


def _play(role: Role, core: int) -> None:
    """The whole life of a role's process."""
    try:
        os.sched_setaffinity(0, {core})
        role()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def address(words: Any) -> int:
    """Where an array stands."""
    return int(words.ctypes.data)
