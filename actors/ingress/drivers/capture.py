"""Index a capture file: pcap (µs or ns, either byte order) and pcapng, by magic whatever the name says.

Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng. Link layers: Ethernet (with 802.1Q and 802.1ad tags), Linux
cooked v1, raw IP. Of IPv4 the UDP packets that are no fragments. What stands whole before a cut is delivered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sovereign.actors.ingress.frames import Frames
from sovereign.runtime.errors import InputError
from sovereign.runtime.jit import njit

PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": (False, 1000),
    b"\xa1\xb2\xc3\xd4": (True, 1000),
    b"\x4d\x3c\xb2\xa1": (False, 1),
    b"\xa1\xb2\x3c\x4d": (True, 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_LINK_ETHERNET, _LINK_RAW, _LINK_COOKED = 1, 101, 113
_INTERFACES_MAX = 64


@njit
def _u(content: Any, at: Any, width: Any, big: Any) -> Any:
    """Unsigned integer of `width` bytes."""
    value = np.int64(0)
    for i in range(width):
        byte = np.int64(content[at + i])
        value |= byte << (8 * (width - 1 - i) if big else 8 * i)
    return value


@njit
def _udp(content: Any, at: Any, end: Any, link: Any) -> Any:
    """(offset, length, destination, port) of the UDP payload in a captured packet; length -1: none."""
    none = (np.int64(0), np.int64(-1), np.int64(0), np.int64(0))
    kind = np.int64(0x0800)
    if link == _LINK_ETHERNET:
        kind, at = (_u(content, at + 12, 2, True) if at + 14 <= end else np.int64(0)), at + 14
        while (kind == 0x8100 or kind == 0x88A8) and at + 4 <= end:
            kind, at = _u(content, at + 2, 2, True), at + 4
    elif link == _LINK_COOKED:
        kind, at = (_u(content, at + 14, 2, True) if at + 16 <= end else np.int64(0)), at + 16
    elif link != _LINK_RAW:
        return none
    if kind != 0x0800 or at + 20 > end or content[at] >> 4 != 4 or content[at + 9] != 17:
        return none
    if _u(content, at + 6, 2, True) & 0x3FFF:  # a fragment
        return none
    target = _u(content, at + 16, 4, True)
    udp = at + 4 * np.int64(content[at] & 15)
    if udp + 8 > end:
        return none
    length = _u(content, udp + 4, 2, True) - 8
    return (
        udp + 8,
        max(np.int64(-1), min(length, end - udp - 8)),
        target,
        _u(content, udp + 2, 2, True),
    )


@njit
def _keep(out: Any, kept: Any, content: Any, at: Any, end: Any, link: Any, time_ns: Any) -> Any:
    """Store one packet's row, if it carries UDP; rows kept after it."""
    offset, length, target, port = _udp(content, at, end, link)
    if length < 0:
        return kept
    out[kept, 0], out[kept, 1], out[kept, 2], out[kept, 3], out[kept, 4] = (
        offset,
        length,
        time_ns,
        target,
        port,
    )
    return kept + 1


@njit
def _index_pcap(content: Any, big: Any, unit: Any, out: Any) -> Any:
    """Rows kept, and where the file is cut (-1: nowhere)."""
    link = _u(content, 20, 4, big) & 0xFFFF
    at, kept, size = np.int64(24), np.int64(0), np.int64(len(content))
    while at < size:
        if at + 16 > size:
            return kept, at
        captured = _u(content, at + 8, 4, big)
        if at + 16 + captured > size:
            return kept, at
        time_ns = _u(content, at, 4, big) * 1_000_000_000 + _u(content, at + 4, 4, big) * unit
        kept = _keep(out, kept, content, at + 16, at + 16 + captured, link, time_ns)
        at += 16 + captured
    return kept, np.int64(-1)


@njit
def _resolution(content: Any, at: Any, end: Any, big: Any) -> Any:
    """if_tsresol of an interface block's options: ticks a second (10^6 when it is not given)."""
    while at + 4 <= end:
        code, length = _u(content, at, 2, big), _u(content, at + 2, 2, big)
        if code == 0:
            break
        if code == 9 and length >= 1 and at + 5 <= end:
            value = np.int64(content[at + 4])
            ticks = np.int64(1)
            for _ in range(min(value & 0x7F, 62 if value & 0x80 else 18)):
                ticks *= 2 if value & 0x80 else 10
            return ticks
        at += 4 + (length + 3) // 4 * 4
    return np.int64(1_000_000)


@njit
def _index_pcapng(content: Any, out: Any) -> Any:
    """Rows kept, and where the file is cut (-1: nowhere)."""
    links = np.zeros(_INTERFACES_MAX, np.int64)
    ticks = np.full(_INTERFACES_MAX, 1_000_000, np.int64)
    known, big = np.int64(0), False
    at, kept, size = np.int64(0), np.int64(0), np.int64(len(content))
    while at < size:
        if at + 12 > size:
            return kept, at
        kind = _u(content, at, 4, big)
        if kind == 0x0A0D0D0A:
            big = _u(content, at + 8, 4, True) == 0x1A2B3C4D
            known = np.int64(0)
        length = _u(content, at + 4, 4, big)
        if length < 12 or length % 4 or at + length > size:
            return kept, at
        body, end = at + 8, at + length - 4
        if kind == 1 and known < _INTERFACES_MAX and body + 8 <= end:
            links[known] = _u(content, body, 2, big)
            ticks[known] = _resolution(content, body + 8, end, big)
            known += 1
        elif kind == 6 and body + 20 <= end:
            interface = _u(content, body, 4, big)
            captured = _u(content, body + 12, 4, big)
            if interface < known and body + 20 + captured <= end:
                units = _u(content, body + 4, 4, big) << 32 | _u(content, body + 8, 4, big)
                each = ticks[interface]
                time_ns = units // each * 1_000_000_000 + units % each * 1_000_000_000 // each
                first = body + 20
                kept = _keep(out, kept, content, first, first + captured, links[interface], time_ns)
        at += length
    return kept, np.int64(-1)


def is_capture(content: npt.NDArray[np.uint8]) -> bool:
    """Whether the first four bytes are a capture's."""
    magic = content[:4].tobytes()
    return magic in PCAP_MAGICS or magic == PCAPNG_MAGIC


def index_capture(content: npt.NDArray[np.uint8], where: str) -> Frames:
    """The UDP packets of a capture. InputError when it is empty or no capture."""
    if len(content) == 0:
        raise InputError("the capture is empty", where=where, expected="a pcap or pcapng file")
    magic = content[:4].tobytes()
    if not is_capture(content) or (magic != PCAPNG_MAGIC and len(content) < 24):
        raise InputError(
            "this is no capture",
            where=where,
            got=f"it begins with {magic.hex(' ')}",
            expected="the magic of pcap (a1b2c3d4, a1b23c4d, either order) or pcapng (0a0d0d0a)",
        )
    out = np.empty((len(content) // 16 + 1, 5), np.int64)
    if magic == PCAPNG_MAGIC:
        kept, cut = _index_pcapng(content, out)
    else:
        kept, cut = _index_pcap(content, *PCAP_MAGICS[magic], out)
    columns = [np.ascontiguousarray(out[:kept, i]) for i in range(5)]
    return Frames(content, columns[0], columns[1], columns[2], columns[3], columns[4], int(cut))
