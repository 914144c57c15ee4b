"""What an egress asks of the way to its venue, whatever that way is. No call of a link ever waits.

tend        look at it: finish or begin a connection, read what the venue sent (it is counted, and set aside)
ready       whether a message may be handed to the kernel now
send        hand one over; False: not whole yet, and `begun` says whether a part of it is gone
flush       go on with the part that is not gone
queued      bytes that the kernel has and that have not left for good (TCP: that nobody acknowledged)
abort       cut the connection, so that what is queued never leaves
lost        why the connection ended, until `write_off`; `written - acked` bytes of it are uncertain
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import Protocol

_INT = struct.Struct("i")


class Counts(Protocol):
    """The actor's counters, as far as a link counts."""

    def __getitem__(self, name: str) -> int: ...

    def __setitem__(self, name: str, value: int) -> None: ...


class Link(Protocol):
    """See the module's text. `number`: the transport's, as `Sending` and `Sent` carry it."""

    number: int
    reason: str
    lost: str
    written: int

    @property
    def up(self) -> bool: ...

    @property
    def begun(self) -> bool: ...

    @property
    def acked(self) -> int: ...

    def tend(self, *, may_connect: bool) -> None: ...

    def ready(self, size_bytes: int) -> bool: ...

    def send(self, data: bytes) -> bool: ...

    def flush(self) -> bool: ...

    def queued(self) -> int: ...

    def abort(self, reason: str) -> None: ...

    def write_off(self) -> None: ...

    def close(self) -> None: ...


def out_queue_bytes(endpoint: socket.socket) -> int:
    """SIOCOUTQ, tcp(7) and udp(7): bytes in the socket's out-queue, for TCP those that are not acknowledged."""
    answer = fcntl.ioctl(endpoint.fileno(), termios.TIOCOUTQ, bytes(_INT.size))
    return int(_INT.unpack(answer)[0])
