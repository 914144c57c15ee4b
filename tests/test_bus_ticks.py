"""Ticks: multiples of the period that never go back and never stop, whatever the host's clock does; missed ones counted.

The clock is stepped by a library that stands before libc's and adds the seconds in a file to CLOCK_REALTIME alone: the
machine's own clock is left as it is. A process of its own runs the bus under it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the clock")

PERIOD_NS = 5_000_000
CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
  int done = syscall(SYS_clock_gettime, clock, now);
  const char *path = getenv("STEP_FILE");
  char text[32] = {0};
  int file = clock == CLOCK_REALTIME && path ? open(path, O_RDONLY) : -1;
  if (file >= 0) {
    if (read(file, text, 31) > 0) now->tv_sec += atol(text);
    close(file);
  }
  return done;
}
"""
# Steps of the story come as arguments: a number steps the clock by so many seconds, words act on the bus.
STORY = """
import json, os, signal, sys, time
from pathlib import Path
from nodes import SmallNode, until
import sovereign.actors.warm
from sovereign.actors.bus.actor import BusConfig
from sovereign.messages.time import Tick
from sovereign.runtime import layout
from sovereign.runtime.observer import Observer

step, period = Path(os.environ["STEP_FILE"]), int(sys.argv[1])
with SmallNode((Tick,), ("bus", "sovereign.actors.bus.actor:Bus", BusConfig(tick_ns=period)), capacity=8192) as node:
    counters = node.control.counters(1)
    node.start(1)
    def more(count):
        before = counters["ticks"]
        until(lambda: counters["ticks"] >= before + count)
    more(20)
    real = [time.time_ns()]
    for act in sys.argv[2:]:
        if act == "restart":
            node.kill(1)
            node.start(1)
        elif act == "hold":
            os.kill(node.pids[1], signal.SIGSTOP)
            time.sleep(0.3)
            os.kill(node.pids[1], signal.SIGCONT)
        else:
            step.write_text(act)
        more(20)
        real.append(time.time_ns())
    node.kill(1)
    slots = Observer(node.name, "bus", "oldest").read(8192)
    ticks = layout.payload(slots, Tick.dtype)
    print(json.dumps({
        "times": ticks["time_ns"].tolist(), "numbers": ticks["number"].tolist(), "real": real,
        "missed": counters["ticks_missed"],
    }))
"""


def _run(folder: Path, *acts: str) -> dict[str, Any]:
    """The ticks of a bus that lived through `acts`."""
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    here = str(Path(__file__).parent)
    env = {"LD_PRELOAD": str(library), "STEP_FILE": str(folder / "step"), "PYTHONPATH": here}
    done = subprocess.run(
        [sys.executable, "-c", STORY, str(PERIOD_NS), *acts],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    times, numbers = found["times"], found["numbers"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(time % PERIOD_NS == 0 for time in times)
    assert all(later > earlier for earlier, later in zip(times, times[1:], strict=False))
    return found


def _between(times: list[int]) -> int:
    """Periods that have no tick, by the ticks' own times."""
    steps = zip(times, times[1:], strict=False)
    return sum((later - earlier) // PERIOD_NS - 1 for earlier, later in steps)


def test_a_clock_that_is_stepped_back_neither_stops_ticks_nor_takes_their_time_back(
    tmp_path: Path,
) -> None:
    found = _run(tmp_path, "-3600", "0", "-86400")
    assert found["real"][1] < found["real"][0] - 3_000_000_000_000, "the clock was stepped"
    assert found["missed"] == _between(found["times"])
    assert found["times"][-1] - found["times"][0] < 3_600_000_000_000


def test_a_bus_that_starts_behind_its_last_tick_goes_on_from_it(tmp_path: Path) -> None:
    found = _run(tmp_path, "-3600", "restart", "0", "restart")
    assert found["missed"] == _between(found["times"])
    assert abs(found["times"][-1] - found["real"][-1]) < 60_000_000_000


def test_periods_without_a_tick_are_counted(tmp_path: Path) -> None:
    found = _run(tmp_path, "hold", "restart", "hold")
    assert found["missed"] == _between(found["times"]) >= 2 * 0.3e9 // PERIOD_NS - 4
