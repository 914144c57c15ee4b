"""A TCP connection to the venue: a u32 length (little endian) before each message.

Guarantees: no call waits. A connection that the venue ended is seen before the next message, not after it. At most
`EGRESS_QUEUED_MAX_BYTES` stand in the kernel unacknowledged, and they die with the connection: it is cut (RST), not
closed, while anything is queued, also by a kill of this process. So a halt can say that no byte leaves any more.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from sovereign.actors.egress.address import Address
from sovereign.actors.egress.link import Counts, out_queue_bytes
from sovereign.runtime import limits

if TYPE_CHECKING:
    from sovereign.actors.egress.transport import TcpTransport

LENGTH_BYTES = 4
_READS_A_TURN = 16
_FIRST_BACKOFF_NS = 10_000_000
_CUT, _FINISH = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # struct linger
_PENDING = (errno.EINPROGRESS, errno.EALREADY)


class TcpLink:
    """Keeps a connection; positions (`written`, `acked`) count the bytes of the present one."""

    number = 2

    def __init__(
        self, config: TcpTransport, addresses: list[Address], counts: Counts, log: Any
    ) -> None:
        self._config, self._addresses, self._counts, self._log = config, addresses, counts, log
        self._next_address = 0
        self._socket: socket.socket | None = None
        self.up = False
        self.reason = self.lost = ""
        self.written = 0
        self._rest = b""
        self._acked = 0
        self._silent = False
        self._buffer = bytearray(1 << 16)
        self._backoff_ns = _FIRST_BACKOFF_NS
        self._next_try_ns = self._since_ns = 0
        self._connections = 0

    @property
    def begun(self) -> bool:
        """Whether the kernel took a part of a message, and not yet all of it."""
        return bool(self._rest)

    @property
    def acked(self) -> int:
        """Bytes of the present connection, or of the one that was lost, that the venue's host acknowledged."""
        if self.up:
            self._acked = self.written - self.queued()
        return self._acked

    def tend(self, *, may_connect: bool) -> None:
        """Read what the venue sent; finish or begin a connection. A loss must be written off before the next one."""
        if self.up:
            self._listen()
        elif self._socket is not None:
            if may_connect:
                self._finish_connecting()
            else:
                self._drop()
        elif may_connect and not self.lost and time.monotonic_ns() >= self._next_try_ns:
            self._begin_connecting()

    def _begin_connecting(self) -> None:
        family, place = self._addresses[self._next_address]
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            timeout_ms = self._config.ack_timeout_ms
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CUT)
        except OSError as error:
            self._failed(str(error))
            return
        self._since_ns = time.monotonic_ns()
        self._finish_connecting()

    def _finish_connecting(self) -> None:
        """A second connect(2) on the same socket tells how the first one went."""
        assert self._socket is not None
        code = self._socket.connect_ex(self._addresses[self._next_address].place)
        waited_ms = (time.monotonic_ns() - self._since_ns) // 1_000_000
        if code in _PENDING:
            if waited_ms >= self._config.connect_timeout_ms:
                self._failed(f"no answer within {self._config.connect_timeout_ms} ms")
        elif code not in (0, errno.EISCONN):
            self._failed(os.strerror(code))
        elif self._socket.getsockname() == self._socket.getpeername():
            self._failed("nobody listens: the socket met itself")
        else:
            self._connected()

    def _connected(self) -> None:
        self.up, self.written, self._acked, self._rest = True, 0, 0, b""
        self._silent, self.reason = False, ""
        self._since_ns = time.monotonic_ns()
        self._counts["reconnects"] += int(self._connections > 0)
        self._connections += 1
        self._log.info("connected to the venue", to=self._config.to)
        self._listen()

    def _failed(self, reason: str) -> None:
        """Try the next address after a pause that grows."""
        self.reason = reason
        self._next_address = (self._next_address + 1) % len(self._addresses)
        self._drop()

    def _drop(self) -> None:
        """Give up the socket; whatever is queued in it dies."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self.up = None, False
        self._next_try_ns = time.monotonic_ns() + self._backoff_ns
        self._backoff_ns = min(self._backoff_ns * 2, self._config.max_backoff_ms * 1_000_000)

    def _listen(self) -> None:
        """Read until the venue has nothing more to say: only then it is known whether it has ended the connection."""
        assert self._socket is not None
        self._silent = False
        for _ in range(_READS_A_TURN):
            try:
                got = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                self._silent = True
                return
            except OSError as error:
                self._break(os.strerror(error.errno or 0))
                return
            if not got:
                self._break("the venue closed the connection")
                return
            self._counts["received_bytes"] += got

    def _break(self, reason: str) -> None:
        self._acked = self.written - self.queued()
        stood_ns = time.monotonic_ns() - self._since_ns
        if stood_ns >= self._config.max_backoff_ms * 1_000_000:
            self._backoff_ns = _FIRST_BACKOFF_NS
        self.lost = reason
        self._drop()

    def ready(self, size_bytes: int) -> bool:
        """Connected, all read, nothing half gone, and room below the bound of what is not acknowledged."""
        if not self.up or not self._silent or self._rest:
            return False
        queued = self.queued()
        fits = queued + LENGTH_BYTES + size_bytes <= limits.EGRESS_QUEUED_MAX_BYTES
        return fits or queued == 0

    def send(self, data: bytes) -> bool:
        """Frame and hand over one message. False: none of it went, or a part (`begun`), or the connection is lost."""
        frame = len(data).to_bytes(LENGTH_BYTES, "little") + data
        taken = self._push(frame)
        self._rest = frame[taken:] if taken else b""
        return taken == len(frame)

    def flush(self) -> bool:
        """Go on with what `send` left over; whether all of it went."""
        if self.up:
            self._rest = self._rest[self._push(self._rest) :]
        return self.up and not self._rest

    def _push(self, data: bytes) -> int:
        """Bytes that the kernel took."""
        assert self._socket is not None
        try:
            taken = self._socket.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._break(os.strerror(error.errno or 0))
            return 0
        self.written += taken
        return taken

    def queued(self) -> int:
        """Bytes that the kernel took and the venue's host has not acknowledged."""
        return out_queue_bytes(self._socket) if self.up and self._socket is not None else 0

    def abort(self, reason: str) -> None:
        """Cut the connection: what is queued never leaves."""
        if self.up:
            self._break(reason)
        else:
            self._drop()

    def write_off(self) -> None:
        """What the lost connection took with it is known: the next one may be made."""
        self.lost, self._rest = "", b""

    def close(self) -> None:
        """Close in order when nothing is queued, else cut."""
        if self.up and self._socket is not None and not self._rest and not self.queued():
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FINISH)
        self._drop()
