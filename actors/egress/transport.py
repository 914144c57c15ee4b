"""The transports that a topology can name, and the link that each makes."""

from __future__ import annotations

import socket
from typing import Any

import msgspec

from sovereign.actors.egress.address import resolve
from sovereign.actors.egress.link import Counts, Link
from sovereign.actors.egress.tcp import TcpLink
from sovereign.actors.egress.udp import UdpLink
from sovereign.runtime.address import parse_venue
from sovereign.runtime.errors import InputError


class UdpTransport(
    msgspec.Struct, tag="udp", tag_field="kind", kw_only=True, forbid_unknown_fields=True
):
    """`to`: "address:port", IPv4 in numbers. A datagram an order."""

    to: str


class TcpTransport(
    msgspec.Struct, tag="tcp", tag_field="kind", kw_only=True, forbid_unknown_fields=True
):
    """`to`: "host:port". Reconnects with growing pauses up to `max_backoff_ms`.

    `ack_timeout_ms`: a connection whose bytes nobody acknowledged for so long is lost (TCP_USER_TIMEOUT).
    """

    to: str
    connect_timeout_ms: int = 200
    max_backoff_ms: int = 1_000
    ack_timeout_ms: int = 5_000


def wrong_in(config: UdpTransport | TcpTransport) -> list[str]:
    """What is wrong with a transport, a sentence each."""
    wrong = []
    try:
        parse_venue(config.to)
    except InputError as error:
        wrong.append(f"transport.to: {error}")
    if isinstance(config, TcpTransport):
        for name in ("connect_timeout_ms", "max_backoff_ms", "ack_timeout_ms"):
            if not 1 <= getattr(config, name) <= 600_000:
                wrong.append(f"{name} = {getattr(config, name)} is not from 1 to 600,000")
    return wrong


def make_link(config: UdpTransport | TcpTransport, counts: Counts, log: Any) -> Link:
    """The link of a transport. ResourceError when the venue's name has no address."""
    if isinstance(config, UdpTransport):
        return UdpLink(resolve(config.to, socket.SOCK_DGRAM), counts, log)
    return TcpLink(config, resolve(config.to, socket.SOCK_STREAM), counts, log)
