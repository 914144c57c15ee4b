"""Index a capture file: pcap (µs or ns, either byte order) and pcapng, by magic whatever the name says.

Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng (enhanced, simple and obsolete packet blocks). What stands whole
before a cut is delivered; what carries no UDP is counted by reason (`datagram.SKIPS`). A simple packet block has no time: it
is given that of the packet before it.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
import numpy.typing as npt

from sovereign.actors.ingress.drivers.datagram import (
    DAMAGED,
    INTERFACE,
    SKIPS,
    find_datagram,
    unsigned,
)
from sovereign.actors.ingress.frames import Frames
from sovereign.runtime import limits
from sovereign.runtime.errors import InputError, LimitError
from sovereign.runtime.jit import njit

PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": (False, 1000),
    b"\xa1\xb2\xc3\xd4": (True, 1000),
    b"\x4d\x3c\xb2\xa1": (False, 1),
    b"\xa1\xb2\x3c\x4d": (True, 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_TOO_MANY_INTERFACES = -2
_I_LINK, _I_TICKS, _I_OFFSET_S, _I_SNAP = range(4)
SIX_MAX = 1 << 15


@njit
def _keep(
    out: Any, kept: Any, skips: Any, content: Any, at: Any, end: Any, link: Any, time_ns: Any
) -> Any:
    """Store one packet's row, or count why it has none; rows kept after it."""
    offset, length, target, port = find_datagram(content, at, end, link)
    if length < 0:
        skips[-length] += 1
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
def _index_pcap(content: Any, big: Any, unit: Any, out: Any, skips: Any) -> Any:
    """Rows kept, and where the file is cut (-1: nowhere)."""
    link = unsigned(content, 20, 4, big) & 0xFFFF
    at, kept, size = np.int64(24), np.int64(0), np.int64(len(content))
    while at < size:
        if at + 16 > size:
            return kept, at
        captured = unsigned(content, at + 8, 4, big)
        if at + 16 + captured > size:
            return kept, at
        seconds, rest = unsigned(content, at, 4, big), unsigned(content, at + 4, 4, big)
        time_ns = seconds * 1_000_000_000 + rest * unit
        kept = _keep(out, kept, skips, content, at + 16, at + 16 + captured, link, time_ns)
        at += 16 + captured
    return kept, np.int64(-1)


@njit
def _describe(content: Any, body: Any, end: Any, big: Any, row: Any) -> Any:
    """An interface block: link layer, snap length, ticks a second (if_tsresol, else 10^6), seconds to add (if_tsoffset)."""
    row[_I_LINK] = unsigned(content, body, 2, big)
    row[_I_SNAP] = unsigned(content, body + 4, 4, big)
    row[_I_TICKS], row[_I_OFFSET_S] = 1_000_000, 0
    at = body + 8
    while at + 4 <= end:
        code, length = unsigned(content, at, 2, big), unsigned(content, at + 2, 2, big)
        if code == 0 or at + 4 + length > end:
            break
        if code == 9 and length >= 1:
            value = np.int64(content[at + 4])
            ticks = np.int64(1)
            for _ in range(min(value & 0x7F, 62 if value & 0x80 else 18)):
                ticks *= 2 if value & 0x80 else 10
            row[_I_TICKS] = ticks
        elif code == 14 and length == 8:
            row[_I_OFFSET_S] = unsigned(content, at + 4, 8, big)
        at += 4 + (length + 3) // 4 * 4


@njit
def _time_ns(units: Any, row: Any) -> Any:
    """A time stamp of an interface in ns since the epoch, to the ns."""
    ticks = row[_I_TICKS]
    seconds, rest = units // ticks, units % ticks
    while ticks > 1 << 33:  # a part of a second times 10^9 must fit 63 bits
        by = 10 if ticks % 10 == 0 else 2
        ticks, rest = ticks // by, rest // by
    return (seconds + row[_I_OFFSET_S]) * 1_000_000_000 + rest * 1_000_000_000 // ticks


@njit
def _block(
    content: Any, kind: Any, body: Any, end: Any, big: Any, rows: Any, known: Any, before_ns: Any
) -> Any:
    """(first byte of the packet, its end, link, time) of a packet block; link negative: -reason."""
    head = 4 if kind == _SIMPLE else 20
    if body + head > end:
        return body, body, np.int64(-DAMAGED), before_ns
    interface = np.int64(0)
    if kind != _SIMPLE:
        interface = unsigned(content, body, 4 if kind == _ENHANCED else 2, big)
    if interface >= known:
        return body, body, np.int64(-INTERFACE), before_ns
    row = rows[interface]
    first, time_ns = body + head, before_ns
    if kind == _SIMPLE:
        captured = unsigned(content, body, 4, big)
        if row[_I_SNAP] > 0:
            captured = min(captured, row[_I_SNAP])
    else:
        captured = unsigned(content, body + 12, 4, big)
        high, low = unsigned(content, body + 4, 4, big), unsigned(content, body + 8, 4, big)
        time_ns = _time_ns(high << 32 | low, row)
    if first + captured > end:
        return body, body, np.int64(-DAMAGED), time_ns
    return first, first + captured, row[_I_LINK], time_ns


@njit
def _index_pcapng(content: Any, rows: Any, out: Any, skips: Any) -> Any:
    """Rows kept, and where the file is cut (-1: nowhere); `_TOO_MANY_INTERFACES`: a section has more than `rows`."""
    known, big, time_ns = np.int64(0), False, np.int64(0)
    at, kept, size = np.int64(0), np.int64(0), np.int64(len(content))
    while at < size:
        if at + 12 > size:
            return kept, at
        kind = unsigned(content, at, 4, big)
        if kind == _SECTION:
            big = unsigned(content, at + 8, 4, True) == 0x1A2B3C4D
            known = np.int64(0)
        length = unsigned(content, at + 4, 4, big)
        if length < 12 or length % 4 or at + length > size:
            return kept, at
        body, end = at + 8, at + length - 4
        if kind == _INTERFACE and body + 8 <= end:
            if known == len(rows):
                return kept, np.int64(_TOO_MANY_INTERFACES)
            _describe(content, body, end, big, rows[known])
            known += 1
        elif kind in (_ENHANCED, _SIMPLE, _PACKET):
            first, last, link, time_ns = _block(content, kind, body, end, big, rows, known, time_ns)
            if link < 0:
                skips[-link] += 1
            else:
                kept = _keep(out, kept, skips, content, first, last, link, time_ns)
        at += length
    return kept, np.int64(-1)


def is_capture(content: npt.NDArray[np.uint8]) -> bool:
    """Whether the first four bytes are a capture's."""
    magic = content[:4].tobytes()
    return magic in PCAP_MAGICS or magic == PCAPNG_MAGIC


def _number_six(
    content: npt.NDArray[np.uint8], address: npt.NDArray[np.int64], where: str
) -> list[ipaddress.IPv6Address]:
    """Replace the places of IPv6 destinations in `address` by -1 - their number; the addresses in that order."""
    numbers: dict[bytes, int] = {}
    for row in np.flatnonzero(address < 0):
        place = -1 - int(address[row])
        raw = content[place : place + 16].tobytes()
        address[row] = -1 - numbers.setdefault(raw, len(numbers))
    if len(numbers) > SIX_MAX:
        raise LimitError(
            "the capture has too many IPv6 destinations",
            where=where,
            got=f"{len(numbers)}",
            expected=f"at most {SIX_MAX}",
        )
    return [ipaddress.IPv6Address(raw) for raw in numbers]


def index_capture(content: npt.NDArray[np.uint8], where: str) -> Frames:
    """The UDP packets of a capture. InputError when it is empty or no capture; LimitError beyond a named limit."""
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
    skips = np.zeros(len(SKIPS), np.int64)
    if magic == PCAPNG_MAGIC:
        rows = np.zeros((limits.CAPTURE_MAX_INTERFACES, 4), np.int64)
        kept, cut = _index_pcapng(content, rows, out, skips)
        if cut == _TOO_MANY_INTERFACES:
            raise LimitError(
                "a section of the capture has too many interfaces",
                where=where,
                expected=f"at most {limits.CAPTURE_MAX_INTERFACES}",
                hint="split the file by interface",
            )
    else:
        kept, cut = _index_pcap(content, *PCAP_MAGICS[magic], out, skips)
    offset, length, time_ns, address, port = (np.ascontiguousarray(out[:kept, i]) for i in range(5))
    timed = np.flatnonzero(time_ns)
    if len(timed):  # simple packets before the first time of the file
        time_ns[: timed[0]] = time_ns[timed[0]]
    six = _number_six(content, address, where)
    skipped = {SKIPS[i]: int(skips[i]) for i in np.flatnonzero(skips)}
    return Frames(content, offset, length, time_ns, address, port, int(cut), six, skipped)
