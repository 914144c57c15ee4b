"""What was signed under which name, so that nothing is signed twice: appended before a signature leaves.

    record, 128 bytes: name 16 · SHA-256 of the order 32 · signature 64 · halt epoch u64 · zero u32 · CRC-32 u32

A torn tail (a kill in the middle of a write) is cut off: its signature never left. A bad record before others is no torn
tail, and the pod does not start over it: what it signed would be forgotten. A record survives kill -9 of the pod
when `write` has returned; with `sync`, a power failure too.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from pathlib import Path

from enclave_signer.wire import Name

_RECORD = struct.Struct("<16s32s64sQI")
RECORD_BYTES = _RECORD.size + 4
REMEMBERED_MAX = 1 << 20


class Journal:
    """`find` before signing, `add` before answering."""

    def __init__(self, folder: Path, *, sync: bool = False) -> None:
        self._sync = sync
        self._known: dict[bytes, tuple[bytes, bytes]] = {}
        self._forgotten: dict[tuple[int, int], int] = {}
        self.epoch = 0
        self._fd = os.open(folder / "signed.journal", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._load()

    def _load(self) -> None:
        size = os.fstat(self._fd).st_size
        at = 0
        while at + RECORD_BYTES <= size:
            block = os.pread(self._fd, RECORD_BYTES * 4096, at)
            for start in range(0, len(block) - RECORD_BYTES + 1, RECORD_BYTES):
                record = block[start : start + RECORD_BYTES]
                name, digest, signature, epoch, _ = _RECORD.unpack_from(record)
                if zlib.crc32(record[:-4]) != int.from_bytes(record[-4:], "little"):
                    if at + RECORD_BYTES < size:
                        raise OSError(
                            f"signed.journal is damaged at byte {at} of {size}: restore it; without it the pod "
                            "would sign again what it has signed"
                        )
                    os.ftruncate(self._fd, at)
                    return
                self._remember(name, digest, signature)
                self.epoch = max(self.epoch, epoch)
                at += RECORD_BYTES
        os.ftruncate(self._fd, at)

    def _remember(self, name: bytes, digest: bytes, signature: bytes) -> None:
        self._known[name] = (digest, signature)
        if len(self._known) > REMEMBERED_MAX:
            oldest = next(iter(self._known))
            del self._known[oldest]
            said = Name.unpacked(oldest)
            series = (said.actor, said.generation)
            self._forgotten[series] = max(self._forgotten.get(series, 0), said.sequence)

    def find(self, name: Name, order: bytes) -> bytes | None:
        """The signature given under this name; None: unused; b"": used for another order, or too old to be known."""
        known = self._known.get(name.packed())
        if known is None:
            newest = self._forgotten.get((name.actor, name.generation), 0)
            return b"" if name.sequence <= newest else None
        return known[1] if known[0] == hashlib.sha256(order).digest() else b""

    def add(self, name: Name, order: bytes, signature: bytes, epoch: int) -> None:
        """Persist a signature. OSError when it cannot be, and then it must not leave."""
        digest = hashlib.sha256(order).digest()
        body = _RECORD.pack(name.packed(), digest, signature, epoch, 0)
        record = body + zlib.crc32(body).to_bytes(4, "little")
        end = os.lseek(self._fd, 0, os.SEEK_END)
        if os.pwrite(self._fd, record, end) != len(record):
            os.ftruncate(self._fd, end)
            raise OSError("the journal took a part of a record only")
        if self._sync:
            os.fdatasync(self._fd)
        self.epoch = max(self.epoch, epoch)
        self._remember(name.packed(), digest, signature)
