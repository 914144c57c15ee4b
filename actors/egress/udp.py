"""Datagrams to the venue, one an order, through a connected socket.

Nobody acknowledges a datagram. What the venue's host refuses (ICMP) is told by the next call on the socket: it is
counted as `unheard` and logged once, and never taken for the failure of the datagram at hand.
"""

from __future__ import annotations

import socket
from typing import Any

from sovereign.actors.egress.address import Address
from sovereign.actors.egress.link import Counts, out_queue_bytes

_READS_A_TURN = 64
_REFUSALS_A_SEND = 8
_DATAGRAM_MAX_BYTES = 65_536


class UdpLink:
    """Always up; keeps no part of a message."""

    number = 1
    up, begun = True, False
    reason = lost = ""
    written = acked = 0

    def __init__(self, addresses: list[Address], counts: Counts, log: Any) -> None:
        self._counts, self._log = counts, log
        self._told = False
        self._buffer = bytearray(_DATAGRAM_MAX_BYTES)
        self._socket = socket.socket(addresses[0].family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(addresses[0].place)

    def tend(self, *, may_connect: bool) -> None:
        """Read what the venue sent, a few datagrams a turn."""
        for _ in range(_READS_A_TURN):
            try:
                self._counts["received_bytes"] += self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError as error:
                self._unheard(error)

    def _unheard(self, error: OSError) -> None:
        self._counts["unheard"] += 1
        if not self._told:
            self._told = True
            self._log.warning("the venue's host refuses datagrams", reason=str(error))

    def ready(self, size_bytes: int) -> bool:
        """Always: the kernel says by itself when it has no room."""
        return True

    def send(self, data: bytes) -> bool:
        """One datagram; False: the kernel has no room. OSError when it refuses this one."""
        for _ in range(_REFUSALS_A_SEND):
            try:
                self._socket.send(data)
                return True
            except BlockingIOError:
                return False
            except ConnectionRefusedError as error:  # of an earlier one: this one was not tried
                self._unheard(error)
        return False

    def flush(self) -> bool:
        """Nothing is ever half gone."""
        return True

    def queued(self) -> int:
        """Bytes that the host has not put on the wire; nobody can take them back."""
        return out_queue_bytes(self._socket)

    def abort(self, reason: str) -> None:
        """There is no connection to cut."""

    def write_off(self) -> None:
        """Nothing is ever lost that anybody could know of."""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
