"""Where a venue is: its addresses, looked up once."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from sovereign.runtime.address import parse_venue
from sovereign.runtime.errors import ResourceError


class Address(NamedTuple):
    """One address of a venue, as `socket.socket` and `connect` take it."""

    family: int
    place: Any


def resolve(text: str, kind: socket.SocketKind) -> list[Address]:
    """Every address of `text`, in the resolver's order. May wait for it: at setup only. ResourceError: it has none."""
    host, port = parse_venue(text)
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except OSError as error:
        raise ResourceError(
            f"the venue's name {host} has no address",
            got=str(error),
            hint="names are looked up once, when the egress starts: give an address, or mend the resolver",
        ) from error
    return [Address(family, place) for family, _, _, _, place in found]
