"""A segment: a valid `.npy` file of a ring's slots, byte for byte; any NumPy opens it with `mmap_mode="r"`.

The header is padded to 4096 bytes (NumPy format 1.0), so the slots stand page-aligned. A slot's place follows from its
sequence alone, so that what is written again after a kill overwrites itself. While it is open the file has its full
length, allocated (a full disk shows when a segment is opened, before anything is lost), and slots not yet written have
sequence 0; sealing cuts it to the slots that it holds and makes it read-only.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sovereign.runtime import layout
from sovereign.runtime.archived import HEADER_BYTES, run_length, segment_path
from sovereign.runtime.errors import ResourceError

_MAGIC = b"\x93NUMPY\x01\x00"


def npy_header(stride: int, count: int, header: np.dtype[np.void] = layout.HEADER_DTYPE) -> bytes:
    """The 4096 bytes before the slots. `header`: the layout of a slot's header."""
    descr = layout.slot_dtype(stride, header).descr
    text = repr({"descr": descr, "fortran_order": False, "shape": (count,)}).encode()
    length = HEADER_BYTES - len(_MAGIC) - 2
    return _MAGIC + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"


class OpenSegment:
    """One segment that is being written. ResourceError when the disk refuses."""

    def __init__(self, folder: Path, first_sequence: int, records: int, stride: int) -> None:
        self.path = segment_path(folder, first_sequence)
        self.first_sequence, self.records, self.stride = first_sequence, records, stride
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._unseal()
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            os.posix_fallocate(self._fd, 0, HEADER_BYTES + records * stride)
            os.pwrite(self._fd, npy_header(stride, records), 0)
        except OSError as error:
            if self.path.exists() and self.path.stat().st_size < HEADER_BYTES:
                self.path.unlink()  # nothing stands in it yet
            raise disk_error(self.path, error) from error

    def _unseal(self) -> None:
        """A kill between seal and commit, or a stop that sealed it short: it is written on, and sealed anew.

        Its manifest goes first, since it would not hold for what is being written.
        """
        self.path.with_suffix(".json").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.chmod(0o640)

    @property
    def end(self) -> int:
        """The sequence behind the last one that it takes."""
        return self.first_sequence + self.records

    def write(self, sequence: int, blocks: Sequence[npt.NDArray[np.void]]) -> None:
        """Write slots from `sequence` on, straight from the ring's memory."""
        offset = HEADER_BYTES + (sequence - self.first_sequence) * self.stride
        views = [memoryview(block.view(np.uint8).data) for block in blocks if len(block)]
        wanted = sum(view.nbytes for view in views)
        try:
            done = os.pwritev(self._fd, views, offset)
        except OSError as error:
            raise disk_error(self.path, error) from error
        if done != wanted:
            raise disk_error(self.path, OSError(errno.ENOSPC, "a part was written only"))

    def sync(self) -> None:
        """Until the disk has it."""
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise disk_error(self.path, error) from error

    def seal(self, count: int) -> None:
        """Cut to `count` slots, and make the file read-only."""
        try:
            os.ftruncate(self._fd, HEADER_BYTES + count * self.stride)
            os.pwrite(self._fd, npy_header(self.stride, count), 0)
            os.fsync(self._fd)
            os.fchmod(self._fd, 0o440)
        except OSError as error:
            raise disk_error(self.path, error) from error
        finally:
            os.close(self._fd)

    def close(self) -> None:
        """Close the file as it stands."""
        os.close(self._fd)

    def remove(self) -> None:
        """Remove the file: nothing stands in it."""
        self.close()
        self.path.unlink()


def disk_error(path: Path, error: OSError) -> ResourceError:
    """What the disk refused, for people."""
    free = os.statvfs(path.parent)
    return ResourceError(
        f"the archive cannot be written: {error.strerror}",
        where=str(path),
        got=f"{free.f_bavail * free.f_frsize} bytes free",
        hint="free the disk and `sovereign restart` the auditor: the rings hold what is not yet written",
    )


def whole_slots(path: Path) -> npt.NDArray[np.void]:
    """The slots of a segment up to its torn or unwritten tail: those whose sequences run on without a hole."""
    with path.open("rb") as file:
        if not any(file.read(HEADER_BYTES)):  # killed before the header was written
            return np.zeros(0, layout.HEADER_DTYPE)
    slots: npt.NDArray[np.void] = np.load(path, mmap_mode="r")
    if len(slots) == 0:
        return slots
    return slots[: run_length(slots, int(path.stem))]
