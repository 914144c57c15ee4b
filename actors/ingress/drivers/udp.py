"""The udp driver: a kernel socket, unicast or multicast, read in batches into memory that stays.

Source: ip(7) (IP_ADD_MEMBERSHIP), udp(7), socket(7); the compiled loop that reads it is `listen.py`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from sovereign.actors.ingress.listen import (
    H_WORDS,
    L_BATCH,
    L_CONTROL_BYTES,
    L_DROPS_AT,
    L_FD,
    L_HEADERS,
    L_POLL_AT,
    L_WORDS,
    SO_RXQ_OVFL,
    SO_TIMESTAMPNS,
)
from sovereign.runtime import limits
from sovereign.runtime.address import parse_address
from sovereign.runtime.errors import ResourceError

DATAGRAM_MAX_BYTES = 65_536
BATCH = 32
CONTROL_BYTES = 128
SO_RCVBUFFORCE = 33


class UdpDriver(
    msgspec.Struct, tag="udp", tag_field="kind", kw_only=True, forbid_unknown_fields=True
):
    """A socket. `listen`: "address:port"; a multicast address is joined on `interface` (its address). IPv4, in numbers."""

    listen: str
    interface: str = "0.0.0.0"
    receive_buffer_bytes: Annotated[int, msgspec.Meta(ge=1, le=limits.SOCKET_BUFFER_MAX_BYTES)] = (
        8 << 20
    )


class UdpSocket:
    """A bound, joined, non-blocking socket. ResourceError when the port is taken or the join fails."""

    def __init__(self, driver: UdpDriver) -> None:
        address, port = found = parse_address(driver.listen)
        self.address, self.port = found.number, port
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        multicast = ipaddress.IPv4Address(address).is_multicast
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
        self._ask_for_times()
        self.buffer_short_bytes = self._enlarge(driver.receive_buffer_bytes)
        self.buffer = np.zeros((BATCH, DATAGRAM_MAX_BYTES), np.uint8)
        self.offset = np.arange(BATCH, dtype=np.int64) * DATAGRAM_MAX_BYTES
        self._parts = np.zeros((BATCH, 2), np.int64)
        self._control = np.zeros((BATCH, CONTROL_BYTES), np.uint8)
        self._headers = np.zeros((BATCH, H_WORDS), np.int64)
        self._parts[:, 0] = self.buffer.ctypes.data + self.offset
        self._parts[:, 1] = DATAGRAM_MAX_BYTES
        self._headers[:, 2] = self._parts.ctypes.data + 16 * np.arange(BATCH)
        self._headers[:, 3] = 1
        self._headers[:, 4] = self._control.ctypes.data + CONTROL_BYTES * np.arange(BATCH)
        self._poll = np.array([self.socket.fileno(), 1], np.int32)  # struct pollfd: fd, POLLIN

    def _ask_for_times(self) -> None:
        """Each datagram says when the kernel got it, and how many were dropped before it."""
        for option in (SO_TIMESTAMPNS, SO_RXQ_OVFL):
            self.socket.setsockopt(socket.SOL_SOCKET, option, 1)

    def _enlarge(self, wanted_bytes: int) -> int:
        """The socket's buffer, beyond net.core.rmem_max where we may; the bytes that are still missing."""
        with contextlib.suppress(PermissionError):
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, wanted_bytes)
        had = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # the kernel doubles
        return max(0, wanted_bytes - had)

    def links(self, drops_at: int) -> npt.NDArray[np.int64]:
        """The words that the compiled loop takes; `drops_at`: where it counts what the kernel dropped."""
        words = np.zeros(L_WORDS, np.int64)
        words[L_FD] = self.socket.fileno()
        words[L_HEADERS] = self._headers.ctypes.data
        words[L_BATCH] = BATCH
        words[L_CONTROL_BYTES] = CONTROL_BYTES
        words[L_DROPS_AT] = drops_at
        words[L_POLL_AT] = self._poll.ctypes.data
        return words
