"""The peer in C: `c_ring.c`, built by the host's C compiler into a scratch folder, once a layout of its slots.

`c-ring` is the plainest ring: a slot is the message. `c-ring-128` fills a header of 48 bytes, has slots of 128 bytes
and prefetches while it waits, as ours does, so that like stands beside like. `c-ring-prefetch` (hop only) is the plain
ring with that prefetch: what a header costs, and what the prefetch gains, are the differences between the three.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from ctypes import c_int64, c_void_p
from pathlib import Path
from typing import ClassVar

from sovereign.benchmarks.pair import Meet, Times, Work, crowded, shared_words, timed, together
from sovereign.benchmarks.peer import PROCESSES, READERS, SLOTS, Flow, Peer
from sovereign.runtime.errors import ResourceError, SovereignError

_SOURCE = Path(__file__).parent / "c_ring.c"
_FLAGS = ("-std=c11", "-O3", "-march=native", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")
_HINT = "apt-get install gcc libc6-dev"


def _built(*defines: str) -> ctypes.CDLL:
    """ResourceError where there is no C compiler, or it does not build the source."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise ResourceError("the peer c-ring needs a C compiler", hint=_HINT)
    with tempfile.TemporaryDirectory(prefix="sovereign-bench-") as folder:
        made = Path(folder) / "c_ring.so"
        command = [compiler, *_FLAGS, *defines, "-o", str(made), str(_SOURCE)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise ResourceError(
                "the peer c-ring cannot be built", got=run.stderr.strip(), hint=_HINT
            )
        library = ctypes.CDLL(str(made))
    for name in ("ring_bytes", "slot_bytes", "ping", "pong", "produce", "consume"):
        getattr(library, name).restype = c_int64
    library.join.restype = library.forward.restype = c_int64
    return library


class CRing(Peer):
    """The plain ring: 64-byte slots without a header."""

    name = "c-ring"
    defines: ClassVar[tuple[str, ...]] = ()

    def __init__(self, slots: int = SLOTS) -> None:
        self._library = _built(f"-DSLOTS={slots}", *self.defines)
        self._kept: list[Times] = []
        self.slot_bytes = int(self._library.slot_bytes())

    def _rings(self, *readers: int) -> list[c_void_p]:
        """Fresh ones, in memory that the forked sides share; kept until the next round."""
        self._kept = []
        made = []
        for count in readers:
            words = shared_words(int(self._library.ring_bytes()) // 8)
            self._kept.append(words)
            made.append(c_void_p(int(words.ctypes.data)))
            self._library.set_readers(made[-1], c_int64(count))
        return made

    def _run(self, name: str, *arguments: c_void_p | int) -> Work:
        """One side: its rings touched, then `name`; words that arrived wrong are a failure."""
        given = [c_int64(one) if isinstance(one, int) else one for one in arguments]

        def run(meet: Meet) -> None:
            for words in self._kept:
                self._library.touch(c_void_p(int(words.ctypes.data)))
            meet()
            wrong = int(getattr(self._library, name)(*given))
            if wrong:
                raise SovereignError(f"{self.name}: {wrong} words arrived wrong")

        return run

    def hop_round(self, trips: int) -> Times:
        """Over two rings."""
        there, back = self._rings(1, 1)
        out = shared_words(trips)
        at = c_void_p(int(out.ctypes.data))
        together(
            self._run("ping", there, back, at, trips),
            self._run("pong", there, back, trips),
        )
        return out

    def flow_round(self, flow: Flow, messages: int) -> float:
        """One ring a process that publishes, wired as ours are."""
        yielding = int(crowded(PROCESSES[flow.shape]))
        if flow.shape == "pipeline3":
            a, b, c = self._rings(1, 1, 1)
            rest = [
                self._run("forward", a, 0, b, messages, yielding),
                self._run("forward", b, 0, c, messages, yielding),
                self._run("consume", c, 0, messages, yielding),
            ]
        elif flow.shape == "diamond":
            a, b, c = self._rings(2, 1, 1)
            rest = [
                self._run("forward", a, 0, b, messages, yielding),
                self._run("forward", a, 1, c, messages, yielding),
                self._run("join", b, c, messages, yielding),
            ]
        else:
            (a,) = self._rings(READERS[flow.shape])
            rest = [
                self._run("consume", a, reader, messages, yielding)
                for reader in range(READERS[flow.shape])
            ]
        return timed(messages, self._run("produce", a, messages, flow.batch), *rest)


class CRing128(CRing):
    """What our ring does for a message, in C: a header of 48 bytes, slots of 128, the waiting reader's prefetch."""

    name = "c-ring-128"
    defines = ("-DHEADER", "-DPREFETCH")


class CRingPrefetch(CRing):
    """The plain ring with the waiting reader's prefetch: the best that we know for a round trip of 64 bytes."""

    name = "c-ring-prefetch"
    defines = ("-DPREFETCH",)
    flows = ()
