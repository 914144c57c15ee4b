"""A named POSIX shared-memory segment, mapped at an address that kernels can use.

Guarantees: a segment is made whole (every page allocated) or not at all, so a full /dev/shm is an error at start
and never a SIGBUS later; it is 0600; what is mapped read-only cannot be written through that mapping.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import posix_ipc

from sovereign.runtime import limits
from sovereign.runtime.errors import LayoutError, ResourceError

SHM_FOLDER = Path("/dev/shm")
_libc = ctypes.CDLL(None, use_errno=True)


def segment_name(node: str, part: str = "") -> str:
    """`/sovereign.<node>[.<part>]`."""
    return f"/sovereign.{node}.{part}" if part else f"/sovereign.{node}"


def segments_of(node: str) -> list[str]:
    """Names of all segments that stand for `node`, its own page first."""
    own = segment_name(node)[1:]
    found = [entry.name for entry in SHM_FOLDER.glob(f"{own}*")]
    return sorted(f"/{name}" for name in found if name == own or name.startswith(own + "."))


def unlink(name: str) -> None:
    """Remove the name; whoever has it mapped keeps it. Silent when it is not there."""
    try:
        posix_ipc.unlink_shared_memory(name)
    except posix_ipc.ExistentialError:
        return


def half_made(name: str) -> bool:
    """Whether the segment stands without its magic, which is written last: its maker died, and nobody has used it."""
    try:
        with open(SHM_FOLDER / name[1:], "rb") as stream:
            return stream.read(8) in (b"", bytes(8))
    except FileNotFoundError:
        return False


class Segment:
    """One mapping. `memory` is a uint8 view, `address` where it begins."""

    def __init__(self, name: str, mapping: mmap.mmap, *, writable: bool) -> None:
        self.name = name
        self.writable = writable
        self._mapping = mapping
        self.memory: npt.NDArray[np.uint8] = np.frombuffer(mapping, np.uint8)
        self.address = int(self.memory.ctypes.data)
        self.bytes = len(mapping)

    @classmethod
    def create(cls, name: str, size: int) -> Segment:
        """Make a segment of `size` zeroed bytes. ResourceError when the name is taken or memory is short."""
        try:
            shared = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600, size=0)
        except posix_ipc.ExistentialError as error:
            raise ResourceError(
                f"shared memory {name} exists already",
                hint="is the node running? `sovereign ps` shows it; `sovereign up --fresh` seals what a dead one left",
            ) from error
        try:
            os.posix_fallocate(shared.fd, 0, size)
            mapping = mmap.mmap(shared.fd, size)
        except OSError as error:
            shared.unlink()
            free = os.statvfs(SHM_FOLDER)
            raise ResourceError(
                f"no shared memory for {name}: {os.strerror(error.errno or errno.ENOMEM)}",
                where=str(SHM_FOLDER),
                got=f"{free.f_bavail * free.f_frsize} bytes free",
                expected=f"{size} bytes",
                hint="lower ring.capacity, or enlarge it: mount -o remount,size=4G /dev/shm",
            ) from error
        finally:
            os.close(shared.fd)
        segment = cls(name, mapping, writable=True)
        segment.lock()
        return segment

    @classmethod
    def open(cls, name: str, *, writable: bool = False, resident: bool = False) -> Segment:
        """Map a segment whole. ResourceError when it does not exist, LayoutError when it has not even one page.

        `resident`: every page is mapped now and locked where RLIMIT_MEMLOCK allows, so that no hot loop takes a fault
        (one in 400 messages took 3 µs before).
        """
        mode = os.O_RDWR if writable else os.O_RDONLY
        fd = cls._descriptor(name, mode)
        try:
            size = os.fstat(fd).st_size
            if size < limits.PAGE_BYTES:
                raise LayoutError(
                    f"shared memory {name} is cut short",
                    where=f"/dev/shm{name}",
                    got=f"{size} bytes",
                    expected=f"at least {limits.PAGE_BYTES} bytes",
                )
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
            flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if resident else 0)
            segment = cls(
                name, mmap.mmap(fd, size, flags=flags, prot=protection), writable=writable
            )
        finally:
            os.close(fd)
        if resident:
            segment.lock()
        return segment

    @classmethod
    def open_part(cls, name: str, offset: int, size: int) -> Segment:
        """Map `size` bytes at `offset` (whole pages) writable: a reader's page, an actor's block."""
        fd = cls._descriptor(name, os.O_RDWR)
        try:
            return cls(name, mmap.mmap(fd, size, offset=offset), writable=True)
        finally:
            os.close(fd)

    @staticmethod
    def _descriptor(name: str, mode: int) -> int:
        try:
            return os.open(SHM_FOLDER / name[1:], mode | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise ResourceError(
                f"shared memory {name} does not exist", hint="`sovereign ps` shows what runs"
            ) from error

    def lock(self) -> bool:
        """Lock the pages in memory. False when RLIMIT_MEMLOCK forbids it."""
        return bool(_libc.mlock(ctypes.c_void_p(self.address), ctypes.c_size_t(self.bytes)) == 0)

    def word(self, offset: int) -> npt.NDArray[np.int64]:
        """The i64 at `offset`, as an array of one: reading and writing it is a plain access."""
        return self.memory[offset : offset + 8].view(np.int64)

    def close(self) -> None:
        """Unmap, unless views still stand (then the process's end does it)."""
        self.memory = np.empty(0, np.uint8)
        try:
            self._mapping.close()
        except BufferError:
            return

    def __enter__(self) -> Segment:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
