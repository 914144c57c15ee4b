"""The pod's loop: one frame in, one frame out. A malformed frame gets a named error, and the next one is served.

Right before each signature it looks at the node's halt word (mapped read-only): the host can stop the pod so, and
can not make it sign.
"""

from __future__ import annotations

import mmap
import socket
import struct

from enclave_signer import wire
from enclave_signer.journal import Journal
from enclave_signer.keys import Key
from enclave_signer.policy import Policy

_WORD = struct.Struct("<q")


class Server:
    """Serves one connection until its other end closes."""

    def __init__(
        self, key: Key, policy: Policy, journal: Journal, halt_page: mmap.mmap | None, halt_at: int
    ) -> None:
        self._key, self._policy, self._journal = key, policy, journal
        self._halt_page, self._halt_at = halt_page, halt_at
        self._halted = False
        self.epoch = journal.epoch
        self.walls = ""

    def serve(self, connection: socket.socket) -> None:
        """Until EOF."""
        while True:
            data = connection.recv(wire.FRAME_MAX_BYTES + 1)
            if not data:
                return
            connection.send(self.answer(data))

    def answer(self, data: bytes) -> bytes:
        """The frame that answers `data`, whatever `data` is."""
        try:
            frame = wire.unpack(data)
        except wire.WireError as error:
            return wire.pack(wire.ERROR, wire.NOBODY, b"frame-" + str(error).encode())
        if frame.kind == wire.SIGN:
            return self._sign(frame)
        if frame.kind == wire.HELLO:
            return self._hello(frame)
        if frame.kind in (wire.HALT, wire.RESUME) and len(frame.body) == wire.EPOCH.size:
            return self._switch(frame)
        return wire.pack(wire.ERROR, frame.name, b"kind")

    def _hello(self, frame: wire.Frame) -> bytes:
        public = self._key.public
        body = wire.HELLO_BODY.pack(self._key.scheme, len(public), 0, 0, self.epoch, public)
        return wire.pack(wire.HELLO_REPLY, frame.name, body + self.walls.encode())

    def _switch(self, frame: wire.Frame) -> bytes:
        """Halt, or resume with an epoch that is not older than the halt's."""
        (epoch,) = wire.EPOCH.unpack(frame.body)
        if frame.kind == wire.HALT:
            self._halted, self.epoch = True, max(self.epoch, epoch)
            return wire.pack(wire.HALTED, frame.name, wire.EPOCH.pack(self.epoch))
        if epoch < self.epoch:
            return wire.pack(wire.ERROR, frame.name, b"old-epoch")
        self._halted, self.epoch = False, epoch
        return wire.pack(wire.RESUMED, frame.name, wire.EPOCH.pack(self.epoch))

    def _stopped(self) -> bool:
        if self._halted:
            return True
        page = self._halt_page
        return page is not None and _WORD.unpack_from(page, self._halt_at)[0] % 2 == 1

    def _sign(self, frame: wire.Frame) -> bytes:
        """A signature, or the name of the rule that refuses it."""
        rule = self._policy.judge(frame.body)
        known = None if rule else self._journal.find(frame.name, frame.body)
        if known == b"":
            rule = "name-reused"
        if rule or self._stopped():
            return wire.pack(wire.REFUSED, frame.name, (rule or "halted").encode())
        if known is None:
            known = self._key.sign(wire.preimage(frame.name, frame.body))
            try:
                self._journal.add(frame.name, frame.body, known, self.epoch)
            except OSError:
                return wire.pack(wire.REFUSED, frame.name, b"journal-failed")
        return wire.pack(wire.SIGNED, frame.name, known)


def map_halt(fd: int, length: int) -> mmap.mmap:
    """The node's page, read-only."""
    return mmap.mmap(fd, length, prot=mmap.PROT_READ)
