"""Which control groups a process is in, and how often and how long their CPU quota held it.

A quota may sit at any level, so every group up to the root counts. Version 2 (`cpu.stat`, µs) and version 1 (the `cpu`
controller's `cpu.stat`, ns) are both read; a process outside of any group with a quota is simply never held.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple


class Held(NamedTuple):
    """Times and ns that a quota kept the process's groups from running."""

    times: int
    ns: int


def held(cpu_stat: str) -> Held | None:
    """One group's `cpu.stat`. None where the controller is off and nothing is counted."""
    words = {
        name: int(value)
        for name, _, value in (line.partition(" ") for line in cpu_stat.splitlines())
        if value.strip().isdigit()
    }
    if "nr_throttled" not in words:
        return None
    ns = words.get("throttled_time", 1_000 * words.get("throttled_usec", 0))
    return Held(words["nr_throttled"], ns)


def cpu_folders(membership: str, mounts: str) -> list[Path]:
    """Folders whose `cpu.stat` may hold a process, own group first. `membership`: /proc/PID/cgroup; `mounts`: mountinfo."""
    found: list[Path] = []
    for line in membership.splitlines():
        number, controllers, path = line.split(":", 2)
        unified = number == "0" and not controllers
        if not unified and "cpu" not in controllers.split(","):
            continue
        mounted = _mounted(mounts, unified=unified)
        if mounted is not None:
            inside = _inside(path, mounted.root)
            found += [mounted.at / part for part in (inside, *inside.parents)]
    return list(dict.fromkeys(found))


class _Mount(NamedTuple):
    root: str
    at: Path


def _mounted(mounts: str, *, unified: bool) -> _Mount | None:
    """Where the hierarchy is mounted, and which of its folders is the mount's top."""
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        kind, *rest = after.split() if dash else [""]
        ours = kind == "cgroup2" if unified else kind == "cgroup" and "cpu" in rest[-1].split(",")
        if ours:
            fields = before.split()
            return _Mount(fields[3], Path(fields[4]))
    return None


def _inside(path: str, root: str) -> PurePosixPath:
    """The group's place below the mount's top: in a container the two are told from different tops."""
    whole = PurePosixPath(path)
    if ".." in whole.parts:
        return PurePosixPath()
    below = whole.relative_to(root) if whole.is_relative_to(root) else whole.relative_to("/")
    return PurePosixPath(below)


def held_now() -> Held | None:
    """Of this process, over all its groups. None where the kernel tells of none."""
    try:
        folders = cpu_folders(
            Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text()
        )
    except OSError:
        return None
    told = []
    for folder in folders:
        try:
            one = held((folder / "cpu.stat").read_text())
        except OSError:
            continue
        if one is not None:
            told.append(one)
    return Held(sum(one.times for one in told), sum(one.ns for one in told)) if told else None
