"""The process wall: what the pod gives up before it reads its first request. Each step says why.

Sources: credentials(7), capabilities(7), prctl(2), seccomp(2), landlock(7), unshare(2), mlockall(2); linux/seccomp.h, linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 4, 38, 22
_PR_SET_KEEPCAPS = 8
_CAPABILITY_VERSION, _CAP_IPC_LOCK = 0x20080522, 14
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_MCL_CURRENT, _MCL_FUTURE = 1, 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_SECCOMP_MODE_FILTER = 2
_ALLOW, _ERRNO_EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000

# name: (x86-64, AArch64) and why the pod needs it
_CALLS: dict[str, tuple[int, int]] = {
    "read": (0, 63), "write": (1, 64),  # logs on stderr
    "pread64": (17, 67), "pwrite64": (18, 68), "lseek": (8, 62), "ftruncate": (77, 46),  # the journal
    "fsync": (74, 82), "fdatasync": (75, 83), "fstat": (5, 80), "close": (3, 57),
    "recvmsg": (47, 212), "recvfrom": (45, 207), "sendmsg": (46, 211), "sendto": (44, 206),  # frames
    "poll": (7, -1), "ppoll": (271, 73), "fcntl": (72, 25),
    "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214), "madvise": (28, 233),
    "mprotect": (10, 226),  # the allocator's
    "futex": (202, 98), "sched_yield": (24, 124), "rseq": (334, 293),
    "clock_gettime": (228, 113), "clock_nanosleep": (230, 115), "getrandom": (318, 278),
    "rt_sigreturn": (15, 139), "rt_sigprocmask": (14, 135), "rt_sigaction": (13, 134),
    "sigaltstack": (131, 132), "restart_syscall": (219, 128),
    "exit": (60, 93), "exit_group": (231, 94), "getpid": (39, 172), "gettid": (186, 178),
}  # fmt: skip


def _prctl(option: int, value: int) -> bool:
    return bool(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)


def die_with_parent() -> None:
    """A pod without its proxy serves nobody."""
    _prctl(_PR_SET_PDEATHSIG, 9)


def _landlock(folder: Path) -> bool:
    """After this, no path can be opened outside `folder`."""
    version = _libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return False
    rights = (1 << 13) - 1 if version == 1 else (1 << 14) - 1 if version == 2 else (1 << 15) - 1
    attribute = ctypes.create_string_buffer(struct.pack("<Q", rights))
    ruleset = _libc.syscall(_LANDLOCK_CREATE, attribute, 8, 0)
    if ruleset < 0:
        return False
    beneath = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    rule = ctypes.create_string_buffer(struct.pack("<Qi", rights, beneath))
    added = _libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0) == 0
    stood = added and _libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(beneath)
    os.close(ruleset)
    return bool(stood)


def _filter() -> bytes:
    """The BPF program: this architecture, these calls; any other fails with EPERM."""
    arm = platform.machine() == "aarch64"
    arch = 0xC00000B7 if arm else 0xC000003E
    numbers = sorted({pair[arm] for pair in _CALLS.values() if pair[arm] >= 0})
    load, jump_equal, answer = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 4), (jump_equal, 1, 0, arch), (answer, 0, 0, _KILL), (load, 0, 0, 0)]
    for index, number in enumerate(numbers):
        code.append((jump_equal, len(numbers) - index, 0, number))
    code += [(answer, 0, 0, _ERRNO_EPERM), (answer, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in code)


def _seccomp() -> bool:
    program = _filter()
    lines = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = [("count", ctypes.c_ushort), ("lines", ctypes.c_void_p)]

    held = Program(len(program) // 8, ctypes.cast(lines, ctypes.c_void_p))
    return bool(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(held), 0, 0) == 0)


def _no_network() -> bool:
    """An empty network namespace: not even loopback is up."""
    if os.geteuid() == 0:
        return bool(_libc.unshare(_CLONE_NEWNET) == 0)
    return bool(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)


def _keep_only_locking() -> None:
    """Of root's capabilities, keep the one to lock memory, if it was there; capset(2). OSError when they cannot be dropped."""
    header = struct.pack("<Ii", _CAPABILITY_VERSION, 0)
    for kept in (1 << _CAP_IPC_LOCK, 0):
        if _libc.capset(header, struct.pack("<6I", kept, kept, 0, 0, 0, 0)) == 0:
            return
    raise OSError("the capabilities of root were not given up: the pod does not start with them")


def become(user: int, group: int) -> list[str]:
    """Give up root for `user` and `group`, for ever, with no supplementary groups; the walls that stand then.

    The network goes first, which is root's to do. Of the capabilities only CAP_IPC_LOCK stays: an ordinary user may lock
    a few MiB, and the pod's memory shall stay out of swap as it grows. OSError when the kernel refuses.
    """
    stood = ["no-network"] if _no_network() else []
    os.setgroups([])
    os.setresgid(group, group, group)
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setresuid(user, user, user)
    _prctl(_PR_SET_KEEPCAPS, 0)
    _keep_only_locking()
    _prctl(_PR_SET_DUMPABLE, 0)  # the change of user resets both
    die_with_parent()
    return [*stood, "own-user"]


def enter(folder: Path, stood: list[str]) -> list[str]:
    """Put up every wall that this kernel has, beside those that stand; the names of all. No-new-privs and seccomp must."""
    stood = list(stood)
    if "no-network" not in stood and _no_network():
        stood.append("no-network")
    if _prctl(_PR_SET_DUMPABLE, 0):
        stood.append("not-dumpable")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stood.append("no-core")
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        stood.append("memory-locked")
    if not _prctl(_PR_SET_NO_NEW_PRIVS, 1):
        raise OSError("no_new_privs was refused: the pod does not start without it")
    stood.append("no-new-privs")
    if _landlock(folder):
        stood.append("landlock")
    if not _seccomp():
        raise OSError("seccomp was refused: the pod does not start without it")
    stood.append("seccomp")
    return stood
