"""Leases: one holder whatever the timing, free as soon as its process is gone, and nobody inherits one."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nodes import SmallNode, until
from sovereign.actors import warm
from sovereign.actors.bus.actor import BusConfig
from sovereign.messages.time import Tick
from sovereign.runtime import limits
from sovereign.runtime.errors import LeaseError
from sovereign.runtime.host import EXIT_FAILED
from sovereign.runtime.lease import Lease, is_held

ROLE = "bus.taker.reader"
ROUNDS = 300
_EXIT = 93 if platform.machine() == "aarch64" else 60  # exit(2) of one thread, not of the process


def _forked(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; its pid."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            work()
        os._exit(0)
    return pid


@contextlib.contextmanager
def _holding(run_dir: Path, after: Callable[[int], object]) -> Iterator[int]:
    """A process that holds ROLE, and then does `after(fd)`, where a byte written to `fd` says that it is ready."""
    ready_r, ready_w = os.pipe()

    def hold() -> None:
        lease = Lease(run_dir, ROLE)
        after(ready_w)
        time.sleep(60)
        lease.release()

    pid = _forked(hold)
    try:
        os.read(ready_r, 1)
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(ready_r)
        os.close(ready_w)


def _ready(fd: int) -> None:
    os.write(fd, b".")


def _gone(pid: int) -> None:
    """Kill, and wait until the kernel says that the last thread is gone; it is reaped later."""
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([pidfd], [], [], 20)[0]
    os.close(pidfd)


@pytest.mark.parametrize("role", ["bus.writer", ROLE])
def test_of_two_claims_at_the_same_instant_exactly_one_succeeds(tmp_path: Path, role: str) -> None:
    words = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.int64)
    go, tried, won = words[0:1], words[16:18], words[32:34]

    def claim(me: int) -> None:
        for turn in range(1, ROUNDS + 1):
            while go[0] != turn:
                time.sleep(0)
            lease = None
            with contextlib.suppress(LeaseError):
                lease = Lease(tmp_path, role)
                won[me] += 1
            tried[me] = turn
            while go[0] != -turn:  # the winner keeps it until both have tried
                time.sleep(0)
            if lease is not None:
                lease.release()
            tried[me] = -turn

    pids = [_forked(lambda me=me: claim(me)) for me in (0, 1)]
    try:
        for turn in range(1, ROUNDS + 1):
            go[0] = turn
            until(lambda turn=turn: (tried == turn).all())
            assert won.sum() == turn, "both, or neither, got it"
            go[0] = -turn
            until(lambda turn=turn: (tried == -turn).all())
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_killed_holders_lease_is_free_as_soon_as_its_process_is_gone(
    tmp_path: Path, threads: int
) -> None:
    def busy(fd: int) -> None:
        for _ in range(threads - 1):
            threading.Thread(target=lambda: sum(iter(lambda: 1, 0)), daemon=True).start()
        _ready(fd)

    for _ in range(30):
        with _holding(tmp_path, busy) as pid:
            assert is_held(tmp_path, ROLE)
            with pytest.raises(LeaseError, match=f"held by process {pid}"):
                Lease(tmp_path, ROLE)
            _gone(pid)
            Lease(tmp_path, ROLE).release()  # at once: no second try


def test_a_holder_whose_first_thread_is_gone_still_holds(tmp_path: Path) -> None:
    def leave(fd: int) -> None:
        threading.Thread(target=lambda: (_ready(fd), time.sleep(60))).start()
        ctypes.CDLL(None).syscall(_EXIT, 0)

    with _holding(tmp_path, leave) as pid:
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        assert is_held(tmp_path, ROLE)
        with pytest.raises(LeaseError):
            Lease(tmp_path, ROLE)
        _gone(pid)
        Lease(tmp_path, ROLE).release()


def test_the_lock_decides_and_not_the_number_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "leases" / ROLE
    with _holding(tmp_path, _ready) as pid:
        path.write_text(str(os.getpid()))  # as if the holder's number were ours by now
        with pytest.raises(LeaseError):
            Lease(tmp_path, ROLE)
        path.write_text("")
        with pytest.raises(LeaseError, match="process unknown"):
            Lease(tmp_path, ROLE)
        _gone(pid)
    path.write_text(str(os.getppid()))  # a live process took over a dead holder's number
    assert not is_held(tmp_path, ROLE)
    Lease(tmp_path, ROLE).release()


@pytest.mark.parametrize("how", ["fork", "exec"])
def test_a_child_of_the_holder_does_not_keep_the_lease(tmp_path: Path, how: str) -> None:
    said = tmp_path / "child"

    def beget(fd: int) -> None:
        if how == "exec":
            child = subprocess.Popen(["sleep", "60"], close_fds=False).pid
        else:
            child = _forked(lambda: time.sleep(60))
        said.write_text(str(child))
        _ready(fd)

    with _holding(tmp_path, beget) as pid:
        assert is_held(tmp_path, ROLE)
        _gone(pid)
        child = int(said.read_text())
        try:
            os.kill(child, 0)
            # Between fork and the child's first own instruction it has the file open: seen done, since it told its number.
            until(lambda: not is_held(tmp_path, ROLE))
            Lease(tmp_path, ROLE).release()
            os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)


def test_looking_never_stands_in_the_way_of_a_claim(tmp_path: Path) -> None:
    Lease(tmp_path, ROLE).release()

    def look() -> None:
        while True:
            is_held(tmp_path, ROLE)

    pids = [_forked(look) for _ in range(2)]
    try:
        for _ in range(2000):
            Lease(tmp_path, ROLE).release()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_an_actor_holds_its_rings_roles_and_is_refused_when_one_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "LEASE_WAIT_NS", 50_000_000)
    assert warm.LOADED  # compiled here, once, and not within the time that a start may take
    held = ["bus.actor", "bus.writer", "source.bus.reader"]
    with SmallNode((Tick,), ("bus", "sovereign.actors.bus.actor:Bus", BusConfig())) as node:
        node.start(1)
        assert [role for role in held if is_held(node.folder, role)] == held
        node.kill(1)
        assert not any(is_held(node.folder, role) for role in held)
        for role in held:
            lease = Lease(node.folder, role)
            node.start(1, wait=False)
            assert node.reap(1) == EXIT_FAILED  # and not EXIT_CONFIG: the next try may find it free
            assert f"the role {role} is taken" in node.log("bus")
            lease.release()
        node.start(1)


def test_a_successor_waits_for_a_holder_that_is_on_its_way_out(tmp_path: Path) -> None:
    def leave(fd: int) -> None:
        os.write(fd, b".")
        time.sleep(0.5)
        os._exit(0)

    with _holding(tmp_path, leave) as pid:
        with pytest.raises(LeaseError, match=f"process {pid}"):
            Lease(tmp_path, ROLE, wait_s=0.05)
        Lease(tmp_path, ROLE, wait_s=20).release()
