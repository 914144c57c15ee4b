"""How bytes leave: a UDP datagram, or a TCP stream with a u32 length before each message (little endian)."""

from __future__ import annotations

import socket
import time

import msgspec

from sovereign.runtime.errors import InputError


class UdpTransport(
    msgspec.Struct, tag="udp", tag_field="kind", kw_only=True, forbid_unknown_fields=True
):
    """`to`: "host:port". A datagram an order."""

    to: str


class TcpTransport(
    msgspec.Struct, tag="tcp", tag_field="kind", kw_only=True, forbid_unknown_fields=True
):
    """`to`: "host:port". Reconnects with growing pauses up to `max_backoff_ms`."""

    to: str
    connect_timeout_ms: int = 200
    max_backoff_ms: int = 1_000


def split_address(text: str) -> tuple[str, int]:
    """`host:port`. InputError when it is not."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise InputError(f"{text!r} is no address", expected="host:port, such as 127.0.0.1:9000")
    return host, int(port)


class UdpLink:
    """Sends datagrams; always up."""

    number = 1

    def __init__(self, config: UdpTransport) -> None:
        self._to = split_address(config.to)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def up(self) -> bool:
        """Whether bytes can leave now."""
        return True

    def send(self, data: bytes) -> None:
        """One datagram. OSError when the kernel refuses it."""
        self._socket.sendto(data, self._to)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class TcpLink:
    """Keeps a connection; `up` tries to make one, and never waits longer than the connect time-out."""

    number = 2

    def __init__(self, config: TcpTransport) -> None:
        self._config = config
        self._to = split_address(config.to)
        self._socket: socket.socket | None = None
        self._backoff_s = 0.01
        self._next_try = 0.0
        self.reconnects = 0
        self.reason = ""

    def up(self) -> bool:
        """Whether there is a connection; tries to make one when its time has come."""
        if self._socket is not None:
            return True
        if time.monotonic() < self._next_try:
            return False
        try:
            self._socket = socket.create_connection(
                self._to, self._config.connect_timeout_ms / 1000
            )
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._backoff_s = 0.01
            self.reconnects += 1
            return True
        except OSError as error:
            self.reason = str(error)
            self._next_try = time.monotonic() + self._backoff_s
            self._backoff_s = min(self._backoff_s * 2, self._config.max_backoff_ms / 1000)
            return False

    def send(self, data: bytes) -> None:
        """One framed message, whole. OSError when the connection breaks: what left is then not known."""
        assert self._socket is not None
        try:
            self._socket.sendall(len(data).to_bytes(4, "little") + data)
        except OSError:
            self._socket.close()
            self._socket = None
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()


Link = UdpLink | TcpLink


def make_link(config: UdpTransport | TcpTransport) -> Link:
    """The link of a transport."""
    return UdpLink(config) if isinstance(config, UdpTransport) else TcpLink(config)
