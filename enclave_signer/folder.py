"""The pod's own folder: whose it is, who may enter, and that one pod at a time works in it.

The pod steps into its folder while it still may pass the folders above; every path after that is relative, so that a
pod with a user of its own needs no right on anything outside.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path

LOCK_FILE = "pod.lock"
# A proxy that was killed is followed at once, and the kernel may still be ending its pod.
LOCK_WAIT_S = 2.0


class FolderError(Exception):
    """A folder that the pod cannot work in; the text says why, and what to do."""


def enter(folder: Path, user: tuple[int, int] | None) -> None:
    """Make the folder, step into it, and let nobody else in. `user`: the uid and gid that it belongs to from now on.

    FolderError when it is somebody else's. What root left in it (an older version did) is taken over.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchdir(fd)
        owner = os.fstat(fd).st_uid
        wanted = os.geteuid() if user is None else user[0]
        if owner not in (os.geteuid(), wanted):
            raise FolderError(
                f"{folder} belongs to uid {owner}, and the pod is to be uid {wanted}: chown the folder and "
                'what is in it, or name its owner (user = "...")'
            )
        os.fchmod(fd, 0o700)
        if user is not None:
            _take_over(fd, *user)
    finally:
        os.close(fd)


def _take_over(fd: int, user: int, group: int) -> None:
    """Give the folder and our own plain files in it to `user`. The folder last: a kill in between is done again."""
    for name in os.listdir(fd):
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        ours = status.st_uid == os.geteuid() and status.st_nlink == 1
        if stat.S_ISREG(status.st_mode) and ours:
            os.chown(name, user, group, dir_fd=fd, follow_symlinks=False)
    os.fchown(fd, user, group)


def lock(folder: Path) -> int:
    """Hold the folder until this process ends; the lock's descriptor. FolderError while another pod lives in it."""
    fd = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(fd)
                raise FolderError(
                    f"another pod (process {holder}) works in this folder: two would sign "
                    "different orders under one name; give each signer a folder of its own"
                ) from None
            time.sleep(0.01)
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def sync(folder: Path) -> None:
    """Make the folder's entries survive a power failure."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
