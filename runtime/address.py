"""Addresses as people write them: `127.0.0.1:9000`, `[::1]:9000`, and `venue.example:9000` where a name will do.

Feeds are named in numbers: a group is what stands in the packet, and a socket is bound to an address of this host. A
venue may be named, since the egress looks the name up once, when it starts.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from sovereign.runtime.errors import InputError

__all__ = ["Address", "parse_address", "parse_group", "parse_host", "parse_venue"]

_IPV4, _EITHER = "127.0.0.1:9000", "127.0.0.1:9000 or [::1]:9000"
_PORT_MAX = 65_535
_NAME = re.compile(r"^(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$")
_NUMBERS = re.compile(r"^[0-9.]+$")


class Address(NamedTuple):
    """An IPv4 address in dotted decimals, and a port from 1."""

    host: str
    port: int

    @property
    def number(self) -> int:
        """The host as an unsigned integer."""
        return int(ipaddress.IPv4Address(self.host))


def parse_host(text: str) -> str:
    """An IPv4 address. InputError when it is not one."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        what = f'"{text}" is no IPv4 address'
        named = any(letter.isalpha() for letter in text)
        hint = "names are not looked up: `getent ahostsv4 NAME` gives a host's address"
        raise InputError(
            what, expected="four numbers, such as 127.0.0.1", hint=hint if named else ""
        ) from error


def parse_address(text: str) -> Address:
    """`address:port` of IPv4. InputError says which of the two it lacks."""
    host, port = _split(text, _IPV4)
    return Address(parse_host(host), port)


def parse_group(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """`address:port`, or `[address]:port` of IPv6. InputError as above."""
    host, port = _split(text, _EITHER)
    if text.startswith("["):
        return _six(host), port
    return ipaddress.IPv4Address(parse_host(host)), port


def parse_venue(text: str) -> tuple[str, int]:
    """`host:port`: an address, or a name that can be one. Nothing is looked up. InputError as above."""
    host, port = _split(text, _EITHER)
    if text.startswith("["):
        return str(_six(host)), port
    if _NUMBERS.match(host):
        return parse_host(host), port
    if not _NAME.match(host):
        what = f'"{host}" is no address, and can be no name'
        raise InputError(what, expected=f"host:port, such as {_EITHER}")
    return host, port


def _six(host: str) -> ipaddress.IPv6Address:
    try:
        return ipaddress.IPv6Address(host)
    except ValueError as error:
        raise InputError(f'"{host}" is no IPv6 address', expected="such as [::1]:9000") from error


def _split(text: str, example: str) -> tuple[str, int]:
    """Host, without brackets, and port."""
    host, colon, port = text.rpartition(":")
    expected = f"an address and a port, such as {example}"
    if not colon or "]" in port:
        raise InputError(f'"{text}" has no port', expected=expected)
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= _PORT_MAX):
        raise InputError(f'"{text}" has no usable port', got=port, expected=f"1 to {_PORT_MAX}")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        what = f'"{text}" has an IPv6 address without brackets'
        raise InputError(what, expected=f"[{host}]:{port}")
    return host, int(port)
