"""The core's own counter: the cheapest clock there is, and what one of its ticks is worth.

    x86-64    the TSC (`llvm.readcyclecounter`), trusted only where the CPU says that it ticks at one rate always
    AArch64   `cntvct_el0`, which the architecture makes steady (`llvm.readcyclecounter` traps there)
    else      CLOCK_MONOTONIC_RAW through the vDSO

Why not the clock always: reading it costs two to three times as much, so a spinning core looks less often and small gaps
drown in the look itself. Raw, because CLOCK_MONOTONIC is slewed by NTP while one measures. A counter means something on
one core only, and only between two looks of one pinned thread.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from sovereign.runtime.jit import intrinsic, njit, types
from sovereign.runtime.kernels import now_ns

COUNTER, RAW_CLOCK = 0, 1
MONOTONIC_RAW = 4
STEADY_FLAGS = ("constant_tsc", "nonstop_tsc")
CALIBRATION_S = 0.03
_TRIES = 64
_I64 = ir.IntType(64)


class Source(NamedTuple):
    """What is read, and why. `number` is COUNTER or RAW_CLOCK."""

    number: int
    name: str
    why: str


class Rate(NamedTuple):
    """What a tick is worth, and what a look costs in a loop that does nothing else."""

    ns_per_tick: float
    look_ns: float


@intrinsic
def cycles(typing: Any) -> Any:
    """The counter of this core. 0 on a machine whose counter we do not know: ask `source` first."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        module = builder.module
        if "aarch64" in module.triple:
            # By name, not by inline assembly: Numba starts no assembler, and LLVM aborts without one.
            name, words = "llvm.read_volatile_register.i64", [ir.MetaDataType()]
            given = [module.add_metadata(["cntvct_el0"])]
        elif "x86_64" in module.triple:
            name, words, given = "llvm.readcyclecounter", [], []
        else:
            return ir.Constant(_I64, 0)
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(_I64, words), name
        )
        return builder.call(function, given)

    return types.int64(), generate


@njit
def look(source: Any, scratch: Any) -> Any:
    """Ticks of `source` now; `scratch`: address of 16 bytes, for the clock."""
    return cycles() if source == COUNTER else now_ns(MONOTONIC_RAW, scratch)


@njit
def _pair(source: Any, scratch: Any, tries: Any, out: Any) -> Any:
    """The same moment on both clocks, as closely as the best of `tries` gives it: ticks, ns of the raw clock."""
    best = np.int64(-1)
    for _ in range(tries):
        before = look(source, scratch)
        raw_ns = now_ns(MONOTONIC_RAW, scratch)
        after = look(source, scratch)
        if best < 0 or after - before < best:
            best = after - before
            out[0] = before + (after - before) // 2
            out[1] = raw_ns


@njit
def _looks(source: Any, scratch: Any, count: Any) -> Any:
    start = look(source, scratch)
    last = start
    for _ in range(count):
        last = look(source, scratch)
    return last - start


def pair(source: int) -> tuple[int, int]:
    """Ticks of `source` and ns of CLOCK_MONOTONIC_RAW at one moment."""
    scratch, out = np.zeros(2, np.int64), np.zeros(2, np.int64)
    _pair(source, scratch.ctypes.data, _TRIES, out)
    return int(out[0]), int(out[1])


def calibrate(source: int) -> Rate:
    """Hold the counter against the raw clock for `CALIBRATION_S`; good to a few ppm."""
    scratch = np.zeros(2, np.int64)
    first = pair(source)
    time.sleep(CALIBRATION_S)
    second = pair(source)
    ns_per_tick = (second[1] - first[1]) / max(second[0] - first[0], 1)
    took = min(_looks(source, scratch.ctypes.data, 1_000) for _ in range(16))
    return Rate(ns_per_tick, took * ns_per_tick / 1_000)


def steady_source(cpuinfo: str, machine: str) -> Source:
    """The counter where it ticks at one rate whatever the core does, else the raw clock. `cpuinfo`: /proc/cpuinfo."""
    if machine == "aarch64":
        return Source(COUNTER, "cntvct_el0", "steady by architecture")
    if machine != "x86_64":
        return raw_clock(f"no counter is known for {machine}")
    flags = next(
        (
            line.partition(":")[2].split()
            for line in cpuinfo.splitlines()
            if line.startswith("flags")
        ),
        [],
    )
    missing = [flag for flag in STEADY_FLAGS if flag not in flags]
    if missing:
        return raw_clock(f"the TSC is not invariant: /proc/cpuinfo lacks {', '.join(missing)}")
    return Source(COUNTER, "tsc", "invariant: " + ", ".join(STEADY_FLAGS))


def raw_clock(why: str) -> Source:
    """The clock that needs no trust in the core."""
    return Source(RAW_CLOCK, "monotonic_raw", why)


def source_here() -> Source:
    """The steady source of this machine."""
    return steady_source(Path("/proc/cpuinfo").read_text(), platform.machine())
