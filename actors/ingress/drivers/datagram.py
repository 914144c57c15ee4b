"""The UDP payload in a captured packet: through link layer, VLAN tags, IPv4 or IPv6, or the reason why there is none.

Source: RFC 791, RFC 8200 (extension headers), RFC 768, IEEE 802.1Q and 802.1ad, tcpdump.org's list of link layers: Ethernet,
Linux cooked v1 and v2, raw IP, BSD loopback. Fragments are not put together: a feed sends none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sovereign.runtime.jit import njit

# Why a packet is skipped; `find_datagram` gives the negative place in this list as length.
SKIPS = (
    "",
    "unknown_link_layer",
    "not_ip",
    "not_udp",
    "fragments",
    "cut_by_the_capture",
    "damaged",
    "unknown_interface",
)
(_, LINK, NOT_IP, NOT_UDP, FRAGMENT, CUT, DAMAGED, INTERFACE) = range(len(SKIPS))

_NULL, _ETHERNET, _RAW_BSD, _RAW_OPENBSD, _RAW, _LOOP, _COOKED = 0, 1, 12, 14, 101, 108, 113
_IPV4, _IPV6, _COOKED_2 = 228, 229, 276
_TYPE_4, _TYPE_6 = 0x0800, 0x86DD
_UDP, _FRAGMENT_HEADER = 17, 44
_HEADERS_MAX = 16


@njit
def unsigned(content: Any, at: Any, width: Any, big: Any) -> Any:
    """Unsigned integer of `width` bytes; of 8 bytes as i64."""
    value = np.int64(0)
    for i in range(width):
        byte = np.int64(content[at + i])
        value |= byte << (8 * (width - 1 - i) if big else 8 * i)
    return value


@njit
def _network(content: Any, at: Any, end: Any, link: Any) -> Any:
    """(protocol of the network layer, where it begins); a negative reason when the link layer is cut or unknown."""
    bare = link in (_RAW, _RAW_BSD, _RAW_OPENBSD, _IPV4, _IPV6)
    head = 14 if link == _ETHERNET else 16 if link == _COOKED else 20 if link == _COOKED_2 else 4
    if bare or link in (_NULL, _LOOP):
        at += 0 if bare else 4
        if at >= end:
            return np.int64(-CUT), at
        version = content[at] >> 4
        return np.int64(_TYPE_4 if version == 4 else _TYPE_6 if version == 6 else -NOT_IP), at
    if head == 4:
        return np.int64(-LINK), at
    if at + head > end:
        return np.int64(-CUT), at
    place = at + 12 if link == _ETHERNET else at + 14 if link == _COOKED else at
    kind, at = unsigned(content, place, 2, True), at + head
    while (
        kind == 0x8100 or kind == 0x88A8 or kind == 0x9100
    ):  # tags: priority and number, then the type
        if at + 4 > end:
            return np.int64(-CUT), at
        kind, at = unsigned(content, at + 2, 2, True), at + 4
    return kind, at


@njit
def _ipv4(content: Any, at: Any, end: Any) -> Any:
    """(where UDP begins, or a negative reason; destination)."""
    if at + 20 > end:
        return np.int64(-CUT), np.int64(0)
    size = 4 * np.int64(content[at] & 15)
    if content[at] >> 4 != 4 or size < 20:
        return np.int64(-DAMAGED), np.int64(0)
    if content[at + 9] != _UDP:
        return np.int64(-NOT_UDP), np.int64(0)
    if unsigned(content, at + 6, 2, True) & 0x3FFF:
        return np.int64(-FRAGMENT), np.int64(0)
    return at + size, unsigned(content, at + 16, 4, True)


@njit
def _ipv6(content: Any, at: Any, end: Any) -> Any:
    """(where UDP begins, or a negative reason; -1 - the place of the destination in `content`)."""
    if at + 40 > end:
        return np.int64(-CUT), np.int64(0)
    if content[at] >> 4 != 6:
        return np.int64(-DAMAGED), np.int64(0)
    target, kind = -1 - (at + 24), np.int64(content[at + 6])
    at += 40
    for _ in range(_HEADERS_MAX):
        if kind == _UDP:
            return at, target
        if kind not in (0, 43, 51, 60, _FRAGMENT_HEADER):  # hop by hop, routing, AH, destination
            return np.int64(-NOT_UDP), target
        if at + 8 > end:
            return np.int64(-CUT), target
        size = 8 * (np.int64(content[at + 1]) + 1)
        if kind == 51:
            size = 4 * (np.int64(content[at + 1]) + 2)
        if kind == _FRAGMENT_HEADER:
            size = np.int64(8)
            if unsigned(content, at + 2, 2, True) & 0xFFF9:  # an offset, or more to come
                return np.int64(-FRAGMENT), target
        kind, at = np.int64(content[at]), at + size
    return np.int64(-DAMAGED), target


@njit
def find_datagram(content: Any, at: Any, end: Any, link: Any) -> Any:
    """(offset, length, destination, port) of the UDP payload in a captured packet; length negative: -reason (SKIPS).

    The destination is an IPv4 address, or -1 - the place of an IPv6 address in `content`.
    """
    none = np.int64(0)
    kind, at = _network(content, at, end, link)
    if kind == _TYPE_4:
        udp, target = _ipv4(content, at, end)
    elif kind == _TYPE_6:
        udp, target = _ipv6(content, at, end)
    else:
        return none, kind if kind < 0 else np.int64(-NOT_IP), none, none
    if udp < 0:
        return none, udp, target, none
    if udp + 8 > end:
        return none, np.int64(-CUT), target, none
    length = unsigned(content, udp + 4, 2, True) - 8
    if length < 0:
        return none, np.int64(-DAMAGED), target, none
    if udp + 8 + length > end:
        return none, np.int64(-CUT), target, none
    return udp + 8, length, target, unsigned(content, udp + 2, 2, True)
