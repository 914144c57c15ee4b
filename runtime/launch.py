"""Actors' processes: forked from a preloaded forkserver, watched through pidfds.

A fork of a process that has Numba and the framework loaded runs an actor within tens of milliseconds; a fresh
interpreter needs a second or two. Plugin code is *not* preloaded: each child imports it anew, so that a restart takes
the newest code. Every child leaves the terminal's session (a Ctrl-C or a closed terminal reaches only the
supervisor), and holds the read end of a pipe whose end of file says that the supervisor is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import select
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import multiprocess
import multiprocess.resource_tracker

from sovereign.runtime.errors import ResourceError
from sovereign.runtime.spec import USUAL_START, NodeSpec, StartOptions

PRELOAD = (
    "numba",
    "msgspec",
    "structlog",
    "setproctitle",
    "sovereign.runtime.host",
    "sovereign.runtime.node_ring",
    "sovereign.actors.bus.actor",
    "sovereign.actors.strategy.actor",
    "sovereign.actors.ingress.actor",
    "sovereign.actors.signer_proxy.actor",
    "sovereign.actors.auditor.actor",
    "sovereign.actors.egress.actor",
    "sovereign.actors.warm",
)
PR_SET_CHILD_SUBREAPER = 36

_context = multiprocess.get_context("forkserver")


def warm() -> None:
    """Start the forkserver now, so that it loads while the caller does something else. Idempotent."""
    _context.set_forkserver_preload(list(PRELOAD))
    # A closed terminal must not take the forkserver (and with it every restart) away, nor a Ctrl-C, which reaches it while
    # it still loads: exec keeps an ignored signal ignored, and a blocked one blocked. Our own Ctrl-C just waits.
    multiprocess.resource_tracker.ensure_running()  # it unblocks the signal, so it comes first
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    kept = None
    with contextlib.suppress(
        ValueError
    ):  # not in the main thread: the caller minds its signals itself
        kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        multiprocess.forkserver.ensure_running()
    finally:
        if kept is not None:
            signal.signal(signal.SIGHUP, kept)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


class Loading:
    """The forkserver on its way: forking waits until it has loaded, which takes a minute where nothing is compiled yet.

    A thread waits for it with a process that does nothing, so that the caller may mind signals meanwhile.
    """

    def __init__(self) -> None:
        warm()
        self._thread = threading.Thread(target=self._wait, name="loading", daemon=True)
        self._thread.start()

    @staticmethod
    def _wait() -> None:
        with contextlib.suppress(OSError, EOFError):  # it died: whoever forks next starts another
            first = _context.Process(target=_nothing)
            first.start()
            first.join()

    def done(self, wait_s: float) -> bool:
        """Whether actors can be forked now; waits for it, `wait_s` at most."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """End the forkserver, loaded or not: nobody is to be forked."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(multiprocess.forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        self._thread.join(5)


def _nothing() -> None:
    """What the first process does."""


def become_subreaper() -> None:
    """Let orphans of a dead forkserver, and of dead actors, become our children: exit codes are not lost. prctl(2)."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(ours: set[int]) -> None:
    """Reap dead children that nobody else will: what dead actors had started (a pod). `ours`: the actors' processes."""
    ours = ours | {
        multiprocess.forkserver._forkserver._forkserver_pid,
        multiprocess.resource_tracker._resource_tracker._pid,
    }
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for pid in {int(one) for one in listed} - ours:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def alive_pipe() -> tuple[Any, Any]:
    """(read end for the children, write end for the supervisor)."""
    read, write = _context.Pipe(duplex=False)
    return read, write


def _housekeeping(spec: NodeSpec) -> None:
    """Keep everything but the pinned loops off the cores that loops have for themselves."""
    pinned = {actor.cpu for actor in spec.actors if actor.cpu is not None}
    free = os.sched_getaffinity(0) - pinned
    if free:
        os.sched_setaffinity(0, free)


def _child(spec: NodeSpec, index: int, alive: Any, options: StartOptions) -> None:
    """What the forked process does before it is an actor."""
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see `warm`
    name = spec.actors[index].name
    said = os.open(
        spec.run_dir / "logs" / f"{name}.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
    )
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.close(said)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable(file=2)
    _housekeeping(spec)
    from sovereign.runtime.host import run_actor

    run_actor(spec, index, alive.fileno(), options)


class Launched:
    """One actor's process. `pidfd` is readable when its last thread is gone."""

    def __init__(
        self, spec: NodeSpec, index: int, alive: Any, options: StartOptions = USUAL_START
    ) -> None:
        self._process = _context.Process(
            target=_child, args=(spec, index, alive, options), name=spec.actors[index].name
        )
        try:
            self._process.start()
        except (OSError, EOFError) as error:
            raise ResourceError(
                f"no process for actor {spec.actors[index].name}", got=str(error)
            ) from error
        self.pid = int(self._process.pid or 0)
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:  # over before we looked
            self.pidfd = -1

    @property
    def ended(self) -> bool:
        """Whether the process is over: its last thread is gone. The kernel says so, whatever became of its parent."""
        return self.pidfd < 0 or bool(select.select([self.pidfd], [], [], 0)[0])

    def signal(self, number: int) -> None:
        """Send a signal; nothing when it is over. A pidfd never hits a process that took over the number."""
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> int:
        """The exit code, negative for a signal; 255 when nobody can tell any more."""
        code = self._adopted()
        if code is None:
            self._process.join(5)
            code = self._process.exitcode
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        return 255 if code is None else int(code)

    def _adopted(self) -> int | None:
        """The exit code of a process that became ours because the forkserver died."""
        if self.pidfd < 0:
            return None
        try:
            said = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        except (ChildProcessError, OSError):
            return None
        if said is None:
            return None
        return said.si_status if said.si_code == os.CLD_EXITED else -said.si_status
