"""The venue: takes what the egress actors send, over UDP and TCP on loopback, and remembers it by the order's name.

It has no thread of its own: whoever waits calls `drain`.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sovereign.benchmarks.chaos.wired import TCP, UDP
from sovereign.messages.orders import SignedOrder
from sovereign.runtime.errors import ResourceError

ORDER_BYTES = SignedOrder.dtype.itemsize
BUFFER_BYTES = 8 << 20
_SO_RCVBUFFORCE = 33


class Name(NamedTuple):
    """An order's."""

    actor: int
    generation: int
    sequence: int


class Receiver:
    """`arrived`: by egress and order, each arrival's bytes. `strange`: arrivals that are no order."""

    def __init__(self) -> None:
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(PermissionError):
            self._udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
        self._udp.bind(("127.0.0.1", 0))
        self._udp.setblocking(False)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._streams: dict[int, tuple[socket.socket, bytearray]] = {}
        self._poll = select.poll()
        for one in (self._udp, self._listener):
            self._poll.register(one, select.POLLIN)
        self.arrived: dict[str, dict[Name, list[bytes]]] = {UDP: {}, TCP: {}}
        self.strange = 0

    @property
    def ports(self) -> tuple[int, int]:
        """UDP, TCP."""
        return self._udp.getsockname()[1], self._listener.getsockname()[1]

    def drain(self) -> bool:
        """Take what is there; whether there was any."""
        ready = self._poll.poll(0)
        for fd, _ in ready:
            if fd == self._udp.fileno():
                for data in self._datagrams():
                    self._note(UDP, data)
            elif fd == self._listener.fileno():
                self._accept()
            else:
                self._stream(fd)
        return bool(ready)

    def _datagrams(self) -> Iterator[bytes]:
        with contextlib.suppress(BlockingIOError):
            while True:
                yield self._udp.recv(65_536)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            stream, _ = self._listener.accept()
            stream.setblocking(False)
            self._streams[stream.fileno()] = (stream, bytearray())
            self._poll.register(stream, select.POLLIN)

    def _stream(self, fd: int) -> None:
        """Whole frames; what a dead sender left half sent was never received."""
        stream, buffer = self._streams[fd]
        try:
            data = stream.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        buffer += data
        while len(buffer) >= 4 and len(buffer) >= 4 + (
            size := int.from_bytes(buffer[:4], "little")
        ):
            self._note(TCP, bytes(buffer[4 : 4 + size]))
            del buffer[: 4 + size]
        if not data:
            self._poll.unregister(fd)
            del self._streams[fd]
            stream.close()

    def _note(self, egress: str, data: bytes) -> None:
        if len(data) != ORDER_BYTES:
            self.strange += 1
            return
        order = SignedOrder.view(data)
        name = Name(*(int(order[f"order_{part}"]) for part in ("actor", "generation", "seq")))
        self.arrived[egress].setdefault(name, []).append(data)

    def dropped(self) -> int:
        """Datagrams that the kernel dropped before us: then nothing can be said about the egress."""
        port = f":{self.ports[0]:04X}"
        rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
        return sum(int(row[-1]) for row in rows if row[1].endswith(port))

    def settle(self) -> None:
        """All that was sent is on loopback's queues: take it. ResourceError when the kernel dropped some."""
        while self.drain():
            pass
        if lost := self.dropped():
            raise ResourceError(
                "the receiver itself was too slow: the kernel dropped datagrams", got=str(lost)
            )

    def close(self) -> None:
        """Close all."""
        for stream, _ in self._streams.values():
            stream.close()
        self._listener.close()
        self._udp.close()
