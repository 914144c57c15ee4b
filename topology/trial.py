"""One import, tried in a child process with a time limit.

The child is a fork, so all that is loaded here already is loaded there, and a trial costs what the import costs. What the
module prints in it is kept back: it prints it again when it is imported for good. The child has a process group of its
own, no terminal to read from, and does not outlive who asked.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from sovereign.runtime import limits
from sovereign.topology.frames import place_of
from sovereign.topology.fresh_source import import_fresh

__all__ = ["Failure", "attempt"]

_PR_SET_PDEATHSIG = 1
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in ', re.MULTILINE)
_DUMP_WAIT_S = 1.0


class Failure(NamedTuple):
    """Why a module does not import. `place`: file and line in its code."""

    reason: str
    place: str = ""
    expected: str = ""
    hint: str = ""


Explain = Callable[[str, BaseException], Failure]


def attempt(module: str, explain: Explain) -> Failure | None:
    """Import `module` in a child; None when that went well. `explain` puts what it raised into words."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or the child would say it again
    said, answer = os.memfd_create("said"), os.memfd_create("answer")
    try:
        pid = os.fork()
        if pid == 0:
            _child(module, explain, said, answer)
        try:
            in_time = _ends_in_time(module, pid)
            if not in_time:
                _ask_where(pid, said)
        finally:
            status = _end(pid)
        text = _whole(said).decode(errors="replace")
        if not in_time:
            reason = f"it was not done after {limits.PLUGIN_IMPORT_LIMIT_S:g} s"
            hint = "what takes long, or waits, belongs into a function that is called later"
            return Failure(reason, _stood_at(text), hint=hint)
        told = _whole(answer)
        if told:
            fields = json.loads(told)
            return Failure(*fields) if fields else None
        hint = f"`python -X faulthandler -c 'import {module}'` shows it alone"
        return Failure(_how_it_ended(status), _stood_at(text) or _last_line(text), hint=hint)
    finally:
        os.close(said)
        os.close(answer)


def _end(pid: int) -> int:
    """Kill the child and what it started, and reap it; its wait status, which an earlier end keeps.

    Once a child: until it is reaped nobody else can have its number, nor its group's.
    """
    with contextlib.suppress(OSError):  # the child does it as well: who is first does not matter
        os.setpgid(pid, pid)
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _ends_in_time(module: str, pid: int) -> bool:
    """Whether the child ends within the limit; a slow one is told of on stderr."""
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        notice_s, limit_s = limits.PLUGIN_IMPORT_NOTICE_S, limits.PLUGIN_IMPORT_LIMIT_S
        if poll.poll(1000 * min(notice_s, limit_s)):
            return True
        print(f"importing {module}…", file=sys.stderr, flush=True)
        return bool(poll.poll(1000 * max(0.0, limit_s - notice_s)))
    finally:
        os.close(pidfd)


def _ask_where(pid: int, said: int) -> None:
    """Let the child write where it stands."""
    before, until = os.fstat(said).st_size, time.monotonic() + _DUMP_WAIT_S
    os.kill(pid, signal.SIGUSR1)
    while os.fstat(said).st_size == before and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.01)  # the dump is several small writes


def _how_it_ended(status: int) -> str:
    """A wait status of a child that gave no answer."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"it ends the process that imports it, with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name} ends the process that imports it"


def _stood_at(text: str) -> str:
    """Where a dump of faulthandler's says that the code stood; "" when there is none."""
    return place_of([(file, int(line)) for file, line in _FRAME.findall(text)])


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _whole(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _child(module: str, explain: Explain, said: int, answer: int) -> NoReturn:
    """Import, and say what came of it: an empty list, or a Failure's fields. Runs none of the parent's exits."""
    try:
        _stand_alone(said)
        outcome: list[str] = []
        try:
            import_fresh(module)
        except BaseException as error:
            outcome = list(explain(module, error))
        os.pwrite(answer, json.dumps(outcome).encode(), 0)
    finally:
        os._exit(0)


def _stand_alone(said: int) -> None:
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, target in ((null, 0), (said, 1), (said, 2)):
        os.dup2(fd, target)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", buffering=1, closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    faulthandler.enable(file=2, all_threads=False)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)
