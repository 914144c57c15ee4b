"""The udp driver: a kernel socket, unicast or multicast, read in batches into memory that stays.

Source: ip(7) (IP_ADD_MEMBERSHIP), udp(7), recvmmsg(2) semantics are had by a loop of non-blocking reads.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import time

import msgspec
import numpy as np

from sovereign.actors.ingress.drivers.file import parse_group
from sovereign.runtime.errors import ResourceError

DATAGRAM_MAX_BYTES = 65_535


class UdpDriver(
    msgspec.Struct, tag="udp", tag_field="kind", kw_only=True, forbid_unknown_fields=True
):
    """A socket. `listen`: "address:port"; a multicast address is joined on `interface` (its address)."""

    listen: str
    interface: str = "0.0.0.0"
    receive_buffer_bytes: int = 8 << 20


class UdpSocket:
    """A bound, joined, non-blocking socket. ResourceError when the port is taken or the join fails."""

    def __init__(self, driver: UdpDriver) -> None:
        number, port = parse_group(driver.listen)
        address = str(ipaddress.IPv4Address(number))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        multicast = ipaddress.IPv4Address(number).is_multicast
        if multicast:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, driver.receive_buffer_bytes)
        try:
            self.socket.bind((address, port))
            if multicast:
                join = socket.inet_aton(address) + socket.inet_aton(driver.interface)
                self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise ResourceError(
                f"cannot listen on {driver.listen}: {error.strerror}",
                got="another process has the port" if taken else f"interface {driver.interface}",
                hint=f"`ss -lunp sport = :{port}` shows who"
                if taken
                else "`ip -4 addr` lists interfaces",
            ) from error
        self.buffer = np.zeros(DATAGRAM_MAX_BYTES + 1, np.uint8)
        self._view = memoryview(self.buffer.data)

    def receive(self) -> tuple[int, int]:
        """(bytes, CLOCK_REALTIME ns) of the next datagram, which stands in `buffer`; (-1, 0): there is none."""
        try:
            size = self.socket.recv_into(self._view)
        except BlockingIOError:
            return -1, 0
        return size, time.time_ns()
