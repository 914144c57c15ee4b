"""Where a node's run-time files stand, and which nodes live.

    <base>/<node>/    node.lock · control.sock · halt.json · leases/ · logs/
    base: $SOVEREIGN_RUN_DIR, else $XDG_RUNTIME_DIR/sovereign, else /run/sovereign (root), else /tmp/sovereign-<uid>

A node lives exactly while a process holds the lock on `node.lock`: the kernel frees it with the process, so what a
crash left never looks alive. Rings have one name on the host, whatever the run directory: so a second lock stands beside
them, and two supervisors with different run directories cannot both have the node. A node whose topology puts its run directory elsewhere is found through a link in base.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from sovereign.runtime.errors import LeaseError, ResourceError

LOCK_NAME = "node.lock"
SOCKET_NAME = "control.sock"


def base_dir() -> Path:
    """The folder of all nodes of this user. It need not exist."""
    if named := os.environ.get("SOVEREIGN_RUN_DIR"):
        return Path(named)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "sovereign"
    if os.geteuid() == 0:
        return Path("/run/sovereign")
    return Path(tempfile.gettempdir()) / f"sovereign-{os.geteuid()}"


def node_dir(node: str) -> Path:
    """The run directory of a node whose topology names no other."""
    return base_dir() / node


def make_private(folder: Path) -> None:
    """Make `folder` 0700. ResourceError when it cannot be made, or belongs to someone else."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = folder.stat().st_uid
    except OSError as error:
        raise ResourceError(
            "the run directory cannot be made",
            where=str(folder),
            got=error.strerror or str(error),
            hint="name another: SOVEREIGN_RUN_DIR=DIR, or node.run_dir in the topology",
        ) from error
    if owner not in (os.geteuid(), 0):
        raise ResourceError(
            "the run directory belongs to another user",
            where=str(folder),
            got=f"uid {owner}",
            expected=f"uid {os.geteuid()}",
            hint="name another: SOVEREIGN_RUN_DIR=DIR, or node.run_dir in the topology",
        )


class NodeLock:
    """Held by the supervisor while the node lives. LeaseError (exit code 2) names the process that has it."""

    def __init__(self, run_dir: Path, node: str) -> None:
        make_private(run_dir)
        self._fd = os.open(run_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise LeaseError(
                f"node {node} is already up",
                where=str(run_dir),
                got=f"process {holder} runs it",
                expected="no live supervisor",
                hint=f"`sovereign ps --node {node}` shows it; `sovereign down {node}` ends it",
                exit_code=2,
            ) from None
        try:
            self._beside = RingsLock(node)
        except LeaseError:
            os.close(self._fd)
            raise
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)
        self._link(run_dir, node)

    def _link(self, run_dir: Path, node: str) -> None:
        """Let the node be found by name when its run directory is not the usual one."""
        usual = node_dir(node)
        if usual.resolve() == run_dir.resolve():
            return
        make_private(usual.parent)
        if usual.is_symlink():
            usual.unlink()
        if not usual.exists():
            usual.symlink_to(run_dir.resolve())

    def release(self) -> None:
        """Give the node up."""
        if self._fd >= 0:
            self._beside.release()
            os.close(self._fd)
            self._fd = -1


class RingsLock:
    """The lock that stands beside a node's rings in /dev/shm; its file goes with its holder. LeaseError: another has it."""

    def __init__(self, node: str) -> None:
        self._path = Path(f"/dev/shm/sovereign-lock.{node}")
        while True:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                said = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(self._fd)
                raise LeaseError(
                    f"the rings of node {node} belong to another supervisor",
                    where=str(self._path),
                    got=f"process {said} has them, with another run directory",
                    expected="no live supervisor",
                    hint="end it there, or give this node another name",
                    exit_code=2,
                ) from None
            if self._is_named():
                break
            os.close(self._fd)  # its holder removed the name between our two steps
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def _is_named(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Remove the name, then give the lock up."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def holder(run_dir: Path) -> int | None:
    """Process id of the live supervisor, or None. Takes the lock shared for the look, so lookers never collide."""
    try:
        fd = os.open(run_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)
    return None


def known_nodes() -> dict[str, Path]:
    """Every node that left a run directory, alive or not, by name."""
    base = base_dir()
    if not base.is_dir():
        return {}
    return {
        entry.name: entry.resolve()
        for entry in sorted(base.iterdir())
        if (entry / LOCK_NAME).exists()
    }


def live_nodes() -> dict[str, Path]:
    """Nodes whose supervisor lives, by name."""
    return {name: path for name, path in known_nodes().items() if holder(path) is not None}
