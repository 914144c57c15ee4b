"""A lease: the kernel holds it for a process, and frees it when the last thread of that process is gone.

One file a role, and a lock on the open file (fcntl(2), F_OFD_SETLK): opened after the fork, close-on-exec, and closed in
whatever child the holder forks, so that no child keeps it. A live holder is never displaced; neither a pid that is used
again nor two claims at one moment can fool it: the number in the file only tells people whom to look for.

Roles: `<actor>.actor`, `<ring>.writer`, `<ring>.<reader>.reader`. The node's own ring is written by whoever holds the
node itself (`rundir.NodeLock`).
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import weakref
from pathlib import Path

from sovereign.runtime.errors import LeaseError
from sovereign.runtime.spec import ActorSpec

_FLOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length (0: to the end), pid
_held: weakref.WeakSet[Lease] = weakref.WeakSet()


def roles(actor: ActorSpec) -> list[str]:
    """What an actor's process claims before it attaches anything."""
    reads = [f"{one.ring}.{actor.name}.reader" for one in actor.inputs]
    writes = [f"{actor.output.name}.writer"] if actor.output else []
    return [f"{actor.name}.actor", *reads, *writes]


def _locked(fd: int) -> bool:
    """Take the lock on an open file; whether it is ours."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except BlockingIOError:
        return False
    return True


class Lease:
    """Held from construction to `release` or the end of the process. LeaseError while another lives.

    `wait_s`: how long to wait for its end: the orphans of a dead supervisor are about for a moment.
    """

    def __init__(self, run_dir: Path, role: str, *, wait_s: float = 0.0) -> None:
        self._fd = -1
        folder = run_dir / "leases"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.role = role
        self.path = folder / role
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait_s
        while not (ours := _locked(fd)) and time.monotonic() < deadline:
            time.sleep(0.001)
        if not ours:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise LeaseError(
                f"the role {role} is taken",
                where=str(self.path),
                got=f"held by process {holder}",
                expected="nobody alive",
                hint="`sovereign ps` shows who runs; `sovereign restart` replaces an actor",
            )
        self._fd = fd
        _held.add(self)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give the role up."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_held(run_dir: Path, role: str) -> bool:
    """Whether a live process holds `role`. Only asks: a look never stands in the way of a claim."""
    try:
        fd = os.open(run_dir / "leases" / role, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        found = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
    finally:
        os.close(fd)
    return bool(found[0] != fcntl.F_UNLCK)


def _leave_to_the_parent() -> None:
    """A forked child shares its parent's open files: without this the lease would live as long as the child."""
    for lease in list(_held):
        lease.release()


os.register_at_fork(after_in_child=_leave_to_the_parent)
