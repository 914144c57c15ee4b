"""The LMAX Disruptor (Java): `LmaxPeer.java`, compiled against Debian's jar into the cache, in one JVM that stays.

The JVM does a round when it is told to, so its rounds stand among the others'. It and its helper threads are held to
the cores of the benchmark; the threads that carry messages are pinned by their names, one a core. Times are the JVM's
own (System.nanoTime, CLOCK_MONOTONIC) and come back sample by sample, so that percentiles are counted by our code.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shutil
import subprocess
from pathlib import Path

import numpy as np

from sovereign.benchmarks.pair import TIMEOUT_S, Times, cores, pinned_to, placed
from sovereign.benchmarks.peer import SLOTS, Flow, Peer
from sovereign.runtime.errors import ResourceError, SovereignError

_SOURCE = Path(__file__).parent / "LmaxPeer.java"
_JAR = "/usr/share/java/disruptor.jar"
_HINT = "apt-get install libdisruptor-java default-jdk-headless (or `make bench` as root)"
_THREADS = 4
_WARM_TRIPS, _WARM_MESSAGES, _WARM_ROUNDS = 30_000, 160_000, 3
_FLAGS = ("-Xms256m", "-Xmx256m", "-XX:+AlwaysPreTouch", "-XX:+UseSerialGC", "-XX:-UsePerfData")


def _found() -> tuple[str, str, Path]:
    """java, javac and the jar (`SOVEREIGN_DISRUPTOR_JAR`, or Debian's). ResourceError names what is missing."""
    jar = Path(os.environ.get("SOVEREIGN_DISRUPTOR_JAR", _JAR))
    java, javac = shutil.which("java"), shutil.which("javac")
    if java is None or javac is None or not jar.exists():
        lacking = [name for name, there in (("java", java), ("javac", javac)) if there is None]
        lacking += [] if jar.exists() else [str(jar)]
        raise ResourceError(f"the peer lmax is not installed: no {', '.join(lacking)}", hint=_HINT)
    return java, javac, jar


def _compiled(javac: str, jar: Path) -> Path:
    """The folder with the classes, made anew when the source or the jar changed. ResourceError when javac fails."""
    stat = jar.stat()
    key = hashlib.sha256(_SOURCE.read_bytes() + f"{jar}{stat.st_mtime_ns}{javac}".encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sovereign" / "bench"
    folder = cache / f"lmax-{key.hexdigest()[:16]}"
    if folder.exists():
        return folder
    making = cache / f"lmax-making-{os.getpid()}"
    command = [javac, "-Xlint:all", "-Werror", "-cp", str(jar), "-d", str(making), str(_SOURCE)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        shutil.rmtree(making, ignore_errors=True)
        said = (run.stdout + run.stderr).strip()
        raise ResourceError("the peer lmax cannot be built", got=said, hint=_HINT)
    with contextlib.suppress(OSError):  # another run was first: its classes are the same
        making.rename(folder)
    shutil.rmtree(making, ignore_errors=True)
    return folder


class Lmax(Peer):
    """Its rings, threads and classes live in the JVM; this end tells it what to do."""

    name = "lmax"

    def __init__(self, slots: int = SLOTS) -> None:
        java, javac, jar = _found()
        folder = _compiled(javac, jar)
        command = [java, *_FLAGS, "-cp", f"{folder}:{jar}", "LmaxPeer"]
        command += [str(len(cores())), str(slots)]
        with pinned_to(*set(placed(_THREADS))):
            self._jvm = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        try:
            self._expect("ready")
            self._pin()
        except BaseException:
            self.close()
            raise

    def _pin(self) -> None:
        """Each carrying thread to its core, found by its name: sched_setaffinity(2) takes a thread's id."""
        due = {f"lmax-{index}": core for index, core in enumerate(placed(_THREADS))}
        for task in Path(f"/proc/{self._jvm.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has just ended
                name = (task / "comm").read_text().strip()
                if name in due:
                    os.sched_setaffinity(int(task.name), {due.pop(name)})
        if due:
            raise SovereignError("threads of lmax were not found", got=", ".join(due))

    def _read(self, count: int) -> bytes:
        """Exactly `count` bytes. SovereignError when the JVM ends, or says nothing for TIMEOUT_S."""
        assert self._jvm.stdout is not None
        fd, found = self._jvm.stdout.fileno(), bytearray()
        while len(found) < count:
            ready, _, _ = select.select([fd], [], [], TIMEOUT_S)
            part = os.read(fd, count - len(found)) if ready else b""
            if not part:
                raise SovereignError("lmax: the JVM ended" if ready else "lmax: no answer")
            found += part
        return bytes(found)

    def _expect(self, word: str) -> str:
        """The rest of the next line, which begins with `word`. SovereignError when it does not."""
        line = bytearray()
        while not line.endswith(b"\n"):
            line += self._read(1)
        text = line.decode().strip()
        if not text.startswith(word):
            raise SovereignError("lmax: another answer", got=text, expected=word)
        return text[len(word) :].strip()

    def _tell(self, line: str) -> str:
        assert self._jvm.stdin is not None
        try:
            self._jvm.stdin.write(f"{line}\n".encode())
        except OSError as error:
            raise SovereignError("lmax: the JVM ended") from error
        return self._expect("ok")

    def hop_round(self, trips: int) -> Times:
        """Over two rings, each side waiting on the barrier itself."""
        count = int(self._tell(f"hop {trips}"))
        return np.frombuffer(self._read(8 * count), np.int64)

    def flow_round(self, flow: Flow, messages: int) -> float:
        """One ring for the whole shape: its readers stand behind each other's sequences, and nothing is copied."""
        return messages / int(self._tell(f"flow {flow.shape} {flow.batch} {messages}")) * 1e9

    def warm_hop(self) -> None:
        """Until the JIT is done."""
        for _ in range(_WARM_ROUNDS):
            self.hop_round(_WARM_TRIPS)

    def warm_flow(self, flow: Flow) -> None:
        """Until the JIT is done."""
        for _ in range(_WARM_ROUNDS):
            self.flow_round(flow, _WARM_MESSAGES)

    def close(self) -> None:
        """End the JVM."""
        for stream in (self._jvm.stdin, self._jvm.stdout):
            assert stream is not None
            stream.close()
        try:
            self._jvm.wait(5)
        except subprocess.TimeoutExpired:
            self._jvm.kill()
            self._jvm.wait()
