"""How the host is set up for one CPU: what keeps other work off it, and how fast it runs. Read from sysfs, never changed.

`root` is `/` in earnest, and a folder in tests. A file that a host does not have is None.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_CPUS = "sys/devices/system/cpu"


class CoreSettings(NamedTuple):
    """One CPU's settings. `thermal_times`: how often heat slowed the core or its package since the host started."""

    cpu: int
    isolated: bool
    nohz_full: bool
    governor: str | None
    thermal_times: int | None


def cpu_list(text: str) -> list[int]:
    """`0,2-4` as numbers, in order and once each; ValueError when it is no such list. An empty text is an empty list."""
    found: set[int] = set()
    for part in text.strip().split(",") if text.strip() else []:
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(part)
        low, high = int(first), int(last or first)
        if high < low or high >= 1 << 16:
            raise ValueError(part)
        found.update(range(low, high + 1))
    return sorted(found)


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _named(path: Path) -> list[int]:
    try:
        return cpu_list(_text(path) or "")
    except ValueError:  # some kernels write "(null)" for an empty list
        return []


def online(root: Path = Path("/")) -> list[int]:
    """The CPUs that the kernel runs."""
    return _named(root / _CPUS / "online")


def _thermal_times(folder: Path) -> int | None:
    told = [_text(folder / name) for name in ("core_throttle_count", "package_throttle_count")]
    numbers = [int(one) for one in told if one and one.isdigit()]
    return sum(numbers) if numbers else None


def core_settings(cpu: int, root: Path = Path("/")) -> CoreSettings:
    """This CPU's settings as they stand."""
    base = root / _CPUS
    own = base / f"cpu{cpu}"
    return CoreSettings(
        cpu=cpu,
        isolated=cpu in _named(base / "isolated"),
        nohz_full=cpu in _named(base / "nohz_full"),
        governor=_text(own / "cpufreq" / "scaling_governor"),
        thermal_times=_thermal_times(own / "thermal_throttle"),
    )
