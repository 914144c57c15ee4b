"""The peer in C: `peers/c_ring.c`, built by the host's C compiler into a scratch folder, run by pinned processes."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from sovereign.benchmarks.pair import Times, beside, cores, pinned
from sovereign.runtime.errors import ResourceError

_SOURCE = Path(__file__).parent / "peers" / "c_ring.c"
_FLAGS = ("-std=c11", "-O3", "-march=native", "-shared", "-fPIC")


class CRing:
    """The built library; each round on fresh shared memory. Wrong data in an answer is an error, not a figure."""

    def __init__(self) -> None:
        """ResourceError where there is no C compiler."""
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise ResourceError(
                "the peer c-ring needs a C compiler", hint="apt-get install gcc libc6-dev"
            )
        with tempfile.TemporaryDirectory(prefix="sovereign-bench-") as folder:
            made = Path(folder) / "c_ring.so"
            subprocess.run([compiler, *_FLAGS, "-o", str(made), str(_SOURCE)], check=True)
            self._library = ctypes.CDLL(str(made))
        for name in ("ring_bytes", "ping", "pong", "produce", "consume"):
            getattr(self._library, name).restype = ctypes.c_int64

    def _ring(self) -> ctypes.c_void_p:
        size = self._library.ring_bytes()
        self._keep = [
            *getattr(self, "_keep", [])[-3:],
            np.frombuffer(mmap.mmap(-1, size), np.int64),
        ]
        self._keep[-1][:] = 0
        return ctypes.c_void_p(int(self._keep[-1].ctypes.data))

    def hop_round(self, rounds: int) -> Times:
        """ns of each round trip."""
        first, second = cores()[:2]
        there, back = self._ring(), self._ring()
        out = np.zeros(rounds, np.int64)
        trips, samples = ctypes.c_int64(rounds), ctypes.c_void_p(int(out.ctypes.data))
        wrong = [0]

        def ping() -> None:
            wrong[0] = self._library.ping(there, back, samples, trips)

        pid = beside(second, lambda: self._library.pong(there, back, trips))
        pinned(first, ping)
        os.waitpid(pid, 0)
        _refuse(wrong[0])
        return out

    def throughput_round(self, batch: int, messages: int) -> float:
        """Messages a second, one writer to one reader."""
        first, second = cores()[:2]
        ring, number = self._ring(), ctypes.c_int64(messages)

        def consume() -> None:
            os._exit(int(self._library.consume(ring, number) != 0))

        pid = beside(second, consume)
        time.sleep(0.05)
        before = time.monotonic_ns()
        pinned(first, lambda: self._library.produce(ring, number, ctypes.c_int64(batch)))
        _refuse(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return messages / (time.monotonic_ns() - before) * 1e9


def _refuse(wrong: int) -> None:
    if wrong:
        raise AssertionError(f"c-ring: {wrong} words arrived wrong")
