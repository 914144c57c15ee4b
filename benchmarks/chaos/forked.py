"""An actor's process, forked from this one: warm, so that thousands of lives take minutes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from sovereign.runtime.host import run_actor
from sovereign.runtime.spec import NodeSpec

_HIGHEST_FD = 4_096


def fork_actor(spec: NodeSpec, index: int, countdown_at: int = 0) -> int:
    """Fork it; its process. `countdown_at`: address of its word in shared memory that counts the stores it has left."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.closerange(3, _HIGHEST_FD)  # the venue's sockets and the harness's files are not its own
        os.setsid()
        os.environ["SOVEREIGN_KILL_AT"] = str(countdown_at)
        run_actor(spec, index)
    except SystemExit as ended:
        code = int(str(ended.code))
    finally:
        os._exit(code)


def ended(pid: int) -> int | None:
    """The exit code of a process that is over, negative for a signal; it is then reaped. None: it lives."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def kill_and_reap(pid: int) -> None:
    """SIGKILL, and wait."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def pods_of(folder: Path) -> list[int]:
    """Processes of the pods whose folder lies in `folder`; those that are dead and not yet reaped left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")  # empty for a zombie
        except OSError:  # it ended meanwhile
            continue
        if b"enclave_signer" in words and f"{folder}/pod".encode() in words:
            found.append(int(entry.name))
    return found
