"""A lease: the kernel holds it for a process, and frees it when the last thread of that process is gone.

One file a role, flock(2) on it, opened after the fork and close-on-exec, so that no child inherits it. A live
holder is never displaced; neither a pid that is used again nor two claims at one moment can fool it.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from sovereign.runtime.errors import LeaseError


class Lease:
    """Held from construction to `release` or the end of the process. LeaseError while another lives.

    `wait_s`: how long to wait for its end: the orphans of a dead supervisor are about for a moment.
    """

    def __init__(self, run_dir: Path, role: str, *, wait_s: float = 0.0) -> None:
        folder = run_dir / "leases"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.role = role
        self.path = folder / role
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait_s
        while not self._locked() and time.monotonic() < deadline:
            time.sleep(0.001)
        if not self._locked():
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise LeaseError(
                f"the role {role} is taken",
                where=str(self.path),
                got=f"held by process {holder}",
                expected="nobody alive",
                hint="`sovereign ps` shows who runs; `sovereign restart` replaces an actor",
            )
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def _locked(self) -> bool:
        """Take the lock; whether it is ours."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give the role up."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_held(run_dir: Path, role: str) -> bool:
    """Whether a live process holds `role`; does not take it for longer than the look."""
    try:
        lease = Lease(run_dir, role)
    except LeaseError:
        return True
    lease.release()
    return False
