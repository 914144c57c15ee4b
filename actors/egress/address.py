"""Where a venue is: `host:port` as it is written, and its addresses, looked up once."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from sovereign.runtime.errors import InputError, ResourceError


class Address(NamedTuple):
    """One address of a venue, as `socket.socket` and `connect` take it."""

    family: int
    place: Any


def split_address(text: str) -> tuple[str, int]:
    """`host:port`, an IPv6 host in brackets. InputError when it is not."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise InputError(
            f"{text!r} is no address",
            expected="host:port, such as 127.0.0.1:9000 or [::1]:9000",
        )
    return host, int(port)


def resolve(text: str, kind: socket.SocketKind) -> list[Address]:
    """Every address of `text`, in the resolver's order. May wait for it: at setup only. ResourceError: it has none."""
    host, port = split_address(text)
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except OSError as error:
        raise ResourceError(
            f"the venue's name {host} has no address",
            got=str(error),
            hint="names are looked up once, when the egress starts: give an address, or mend the resolver",
        ) from error
    return [Address(family, place) for family, _, _, _, place in found]
