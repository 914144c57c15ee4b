"""Captures made by the test: packets of each kind, in pcap and in each block of pcapng, either byte order."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable

ETHERNET, RAW, COOKED, COOKED_2 = 1, 101, 113, 276


def udp(port: int, payload: bytes) -> bytes:
    """A UDP datagram without a checksum."""
    return struct.pack(">HHHH", 4000, port, 8 + len(payload), 0) + payload


def ipv4(to: str, body: bytes, *, protocol: int = 17, fragment: int = 0) -> bytes:
    """An IPv4 packet."""
    source, target = (ipaddress.IPv4Address(one).packed for one in ("10.0.0.1", to))
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment, 9, protocol, 0)
    return head + source + target + body


def ipv6(to: str, body: bytes, *, following: int = 17) -> bytes:
    """An IPv6 packet; `following`: the type of the header that `body` begins with."""
    source, target = (ipaddress.IPv6Address(one).packed for one in ("fe80::1", to))
    return struct.pack(">IHBB", 6 << 28, len(body), following, 9) + source + target + body


def ethernet(body: bytes, *, kind: int = 0x0800, tags: Iterable[int] = ()) -> bytes:
    """A frame, with VLAN tags of these types."""
    head = bytes(12)
    for tag in tags:
        head += struct.pack(">HH", tag, 7)
    return head + struct.pack(">H", kind) + body


def datagram(to: str, port: int, payload: bytes) -> bytes:
    """An Ethernet frame with a UDP datagram to an IPv4 address."""
    return ethernet(ipv4(to, udp(port, payload)))


def pcap(frames: Iterable[bytes], link: int = ETHERNET) -> bytes:
    """A classic capture in ns; packet i was taken at second 1000 + i."""
    out = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, link)
    for i, frame in enumerate(frames):
        out += struct.pack("<IIII", 1000 + i, 0, len(frame), len(frame)) + frame
    return out


class PcapNg:
    """A pcapng file, block by block; `order` is ">" or "<"."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.content = b""
        self.section()

    def block(self, kind: int, body: bytes) -> PcapNg:
        """Any block."""
        body += bytes(-len(body) % 4)
        size = struct.pack(self.order + "I", 12 + len(body))
        self.content += struct.pack(self.order + "I", kind) + size + body + size
        return self

    def section(self) -> PcapNg:
        """A section header."""
        return self.block(0x0A0D0D0A, struct.pack(self.order + "IHHq", 0x1A2B3C4D, 1, 0, -1))

    def option(self, code: int, value: bytes) -> bytes:
        """One option, padded."""
        return struct.pack(self.order + "HH", code, len(value)) + value + bytes(-len(value) % 4)

    def interface(self, link: int = ETHERNET, snap: int = 0, options: bytes = b"") -> PcapNg:
        """An interface description."""
        return self.block(1, struct.pack(self.order + "HHI", link, 0, snap) + options)

    def enhanced(self, frame: bytes, interface: int = 0, units: int = 0) -> PcapNg:
        """An enhanced packet block."""
        head = (interface, units >> 32, units & 0xFFFF_FFFF, len(frame), len(frame))
        return self.block(6, struct.pack(self.order + "IIIII", *head) + frame)

    def simple(self, frame: bytes, original: int | None = None) -> PcapNg:
        """A simple packet block; `original`: the packet's length on the wire."""
        size = len(frame) if original is None else original
        return self.block(3, struct.pack(self.order + "I", size) + frame)

    def obsolete(self, frame: bytes, interface: int = 0, units: int = 0) -> PcapNg:
        """A packet block, as it was before the enhanced one."""
        head = (interface, 0, units >> 32, units & 0xFFFF_FFFF, len(frame), len(frame))
        return self.block(2, struct.pack(self.order + "HHIIII", *head) + frame)
