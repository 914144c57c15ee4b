"""What the host costs: a pinned process a core spins for a while, and every time that it could not look is a gap.

A process a core and not a thread: an actor is a process too, and a thread would be hit by what the others of its process do
(a page given back interrupts every core that runs one of its threads). It runs at ordinary priority, as an actor does.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
from collections.abc import Sequence

import msgspec

from sovereign.benchmarks.core_run import Arrays, CoreRun, Plan, measure_here
from sovereign.runtime import cycles
from sovereign.runtime.core_settings import online
from sovereign.runtime.cycles import Source
from sovereign.runtime.errors import InputError, ResourceError

DEFAULT_THRESHOLD_NS = 500
STEADY_PPM = 1_000
_LOOKS_PER_THRESHOLD = 4
_PR_SET_PDEATHSIG = 1


def usable(cpus: Sequence[int] | None) -> tuple[int, ...]:
    """The cores to measure: those named, else the affinity mask. InputError: no such core; ResourceError: not for us."""
    mask = os.sched_getaffinity(0)
    if cpus is None:
        return tuple(sorted(mask))
    there = online()
    for cpu in cpus:
        if cpu not in there:
            raise InputError(
                f"this host has no cpu {cpu}",
                where="--cpus",
                got=str(cpu),
                expected=", ".join(map(str, there)),
                hint="`sovereign jitter` without --cpus measures every core that it may use",
            )
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError as error:
            raise ResourceError(
                f"cpu {cpu} is not for this process to use",
                where="sched_setaffinity",
                got=error.strerror or str(error),
                expected="a cpu of " + ", ".join(map(str, sorted(mask))),
                hint="its cpuset forbids it: cpuset.cpus of the control group",
            ) from error
        finally:
            os.sched_setaffinity(0, mask)
    return tuple(dict.fromkeys(cpus))


def plan(
    cpus: Sequence[int] | None, seconds: float, threshold_ns: int, source: Source | None = None
) -> Plan:
    """Calibrate, and refuse a threshold that the looks themselves would cross (InputError)."""
    chosen = usable(cpus)
    source = source or cycles.source_here()
    rate = cycles.calibrate(source.number)
    least = max(1, round(_LOOKS_PER_THRESHOLD * rate.look_ns))
    if threshold_ns < least:
        raise InputError(
            "the threshold is too near to what a look itself costs",
            where="--threshold-ns",
            got=f"{threshold_ns} ns",
            expected=f"at least {least} ns: a look takes {rate.look_ns:.1f} ns here",
            hint=f"leave it out: {DEFAULT_THRESHOLD_NS} ns is the default",
        )
    return Plan(chosen, seconds, threshold_ns, source, rate)


class _Child:
    """A forked process that measures one core and answers through a pipe."""

    def __init__(self, cpu: int, plan: Plan) -> None:
        self.cpu = cpu
        self._answer, answers = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                _become_alone(parent)
                os.close(self._answer)
                with os.fdopen(answers, "wb") as pipe:
                    pipe.write(msgspec.json.encode(measure_here(cpu, plan)))
                code = 0
            finally:
                os._exit(code)
        os.close(answers)

    def result(self) -> CoreRun:
        """Wait for it. ResourceError when it died, or when its counter did not keep time."""
        with os.fdopen(self._answer, "rb") as pipe:
            data = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        if code != 0:
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ResourceError(
                f"the process that measured cpu {self.cpu} died", got=how, hint="run it again"
            )
        found = msgspec.json.decode(data, type=CoreRun)
        if abs(found.off_ppm) > STEADY_PPM:
            raise ResourceError(
                f"the counter of cpu {self.cpu} did not keep time",
                got=f"{found.off_ppm:+,.0f} ppm off CLOCK_MONOTONIC_RAW over the run",
                expected=f"at most {STEADY_PPM:,} ppm",
                hint="--clock raw measures by the clock itself",
            )
        return found

    def end(self) -> None:
        """Kill it when it still runs."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self._answer)


def _become_alone(parent: int) -> None:
    """Die at once with Ctrl-C and with the parent; collect no garbage."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    gc.disable()


def measure(plan: Plan, *, together: bool) -> list[CoreRun]:
    """Every core of the plan: one after another, or all at once. What was started ends with us."""
    children: list[_Child] = []
    found: list[CoreRun] = []
    Arrays().spin(plan, 0)  # compiled before the fork
    try:
        for cpu in plan.cpus:
            children.append(_Child(cpu, plan))
            if not together:
                found.append(children[-1].result())
        if together:
            found = [child.result() for child in children]
    finally:
        for child in children:
            child.end()
    return found
