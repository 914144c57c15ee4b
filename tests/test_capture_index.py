"""Captures: what can be decoded is, whatever block, link layer and tag it stands in; the rest is counted by reason."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import (
    COOKED,
    COOKED_2,
    ETHERNET,
    RAW,
    PcapNg,
    datagram,
    ethernet,
    ipv4,
    ipv6,
    pcap,
    udp,
)
from sovereign.actors.ingress.drivers.capture import index_capture
from sovereign.actors.ingress.drivers.file import _wanted
from sovereign.actors.ingress.frames import Frames
from sovereign.runtime import limits
from sovereign.runtime.errors import InputError, LimitError

GROUP, SIX = "224.0.31.1", "ff3e::8000:1"
IPV6 = 0x86DD


def _index(content: bytes) -> Frames:
    return index_capture(np.frombuffer(content, np.uint8), "made")


def _payloads(frames: Frames) -> list[bytes]:
    spans = zip(frames.offset, frames.length, strict=True)
    return [frames.content[at : at + size].tobytes() for at, size in spans]


FRAGMENT = struct.pack(">BBHI", 17, 0, 0x0008, 1)  # an offset of one
ATOMIC = struct.pack(">BBHI", 17, 0, 0, 1)
HOPS = struct.pack(">BBHI", 60, 0, 0x0104, 0)
OPTIONS = struct.pack(">BBHIQ", 17, 1, 0x010C, 0, 0)


@pytest.mark.parametrize(
    ("frame", "link", "to"),
    [
        (datagram(GROUP, 5000, b"feed"), ETHERNET, GROUP),
        (ethernet(ipv4(GROUP, udp(5000, b"feed")), tags=[0x8100]), ETHERNET, GROUP),
        (ethernet(ipv4(GROUP, udp(5000, b"feed")), tags=[0x88A8, 0x8100]), ETHERNET, GROUP),
        (ethernet(ipv4(GROUP, udp(5000, b"feed")), tags=[0x9100, 0x8100]), ETHERNET, GROUP),
        (ethernet(ipv4(GROUP, udp(5000, b"feed")) + bytes(9)), ETHERNET, GROUP),
        (ipv4(GROUP, udp(5000, b"feed")), RAW, GROUP),
        (bytes(14) + b"\x08\x00" + ipv4(GROUP, udp(5000, b"feed")), COOKED, GROUP),
        (bytes(14) + b"\x81\x00\x00\x07\x08\x00" + ipv4(GROUP, udp(5000, b"feed")), COOKED, GROUP),
        (b"\x08\x00" + bytes(18) + ipv4(GROUP, udp(5000, b"feed")), COOKED_2, GROUP),
        (ethernet(ipv6(SIX, udp(5000, b"feed")), kind=IPV6), ETHERNET, f"[{SIX}]"),
        (ethernet(ipv6(SIX, udp(5000, b"feed")), kind=IPV6, tags=[0x8100]), ETHERNET, f"[{SIX}]"),
        (ipv6(SIX, HOPS + OPTIONS + udp(5000, b"feed"), following=0), RAW, f"[{SIX}]"),
        (ipv6(SIX, ATOMIC + udp(5000, b"feed"), following=44), RAW, f"[{SIX}]"),
    ],
)
def test_a_datagram_is_found_in_every_wrapping(frame: bytes, link: int, to: str) -> None:
    for content in (pcap([frame], link), PcapNg(">").interface(link).enhanced(frame).content):
        frames = _index(content)
        assert _payloads(frames) == [b"feed"]
        assert frames.destinations() == [f"{to}:5000"]
        assert (frames.skipped, frames.cut_at) == ({}, -1)


@pytest.mark.parametrize(
    ("frame", "link", "reason"),
    [
        (ethernet(bytes(46), kind=0x0806), ETHERNET, "not_ip"),
        (datagram(GROUP, 5000, b"feed"), 105, "unknown_link_layer"),
        (ethernet(ipv4(GROUP, bytes(20), protocol=6)), ETHERNET, "not_udp"),
        (ethernet(ipv6(SIX, bytes(20), following=58), kind=IPV6), ETHERNET, "not_udp"),
        (ethernet(ipv4(GROUP, udp(5000, b"feed"), fragment=0x2000)), ETHERNET, "fragments"),
        (ethernet(ipv4(GROUP, bytes(16), fragment=0x0002)), ETHERNET, "fragments"),
        (ipv6(SIX, FRAGMENT + udp(5000, b"feed"), following=44), RAW, "fragments"),
        (datagram(GROUP, 5000, b"feed")[:-1], ETHERNET, "cut_by_the_capture"),
        (datagram(GROUP, 5000, b"feed")[:30], ETHERNET, "cut_by_the_capture"),
        (ethernet(b"\x41" + ipv4(GROUP, udp(5000, b"feed"))[1:]), ETHERNET, "damaged"),
        (ethernet(ipv4(GROUP, bytes(8))), ETHERNET, "damaged"),
    ],
)
def test_what_cannot_be_decoded_is_counted_by_reason(frame: bytes, link: int, reason: str) -> None:
    frames = _index(pcap([frame, frame], link))
    assert (len(frames), frames.skipped) == (0, {reason: 2})


@pytest.mark.parametrize("order", ["<", ">"])
def test_packets_of_all_three_blocks_are_found_with_their_times(order: str) -> None:
    made = PcapNg(order)
    made.interface(options=made.option(9, b"\x09") + made.option(14, struct.pack(order + "q", 7)))
    made.simple(datagram(GROUP, 5000, b"one"))
    made.enhanced(datagram(GROUP, 5000, b"two"), units=3_000_000_001)
    made.obsolete(datagram(GROUP, 5000, b"three"), units=4_000_000_002)
    made.simple(datagram(GROUP, 5000, b"four"))
    made.block(4, bytes(8))  # names: no packet
    frames = _index(made.content)
    assert _payloads(frames) == [b"one", b"two", b"three", b"four"]
    ten, eleven = 10_000_000_001, 11_000_000_002
    assert frames.time_ns.tolist() == [ten, ten, eleven, eleven]
    assert frames.skipped == {}


def test_a_simple_packet_is_as_long_as_the_snap_length_lets_it() -> None:
    whole = datagram(GROUP, 5000, b"feed")
    made = PcapNg().interface(snap=len(whole)).simple(whole + b"??", original=len(whole) + 2)
    assert _payloads(_index(made.content)) == [b"feed"]


@pytest.mark.parametrize(
    ("tsresol", "units", "time_ns"),
    [
        (12, 9_000_000_123_456_789_000, 9_000_000_123_456_789),
        (0x80 | 20, (1_700_000_000 << 20) + (1 << 19), 1_700_000_000_500_000_000),
        (0x80 | 33, (1_000_000 << 33) + (1 << 32), 1_000_000_500_000_000),
        (15, 9_000_123_456_789_000_000, 9_000_123_456_789),
    ],
)
def test_fine_clocks_do_not_overflow(tsresol: int, units: int, time_ns: int) -> None:
    made = PcapNg()
    made.interface(options=made.option(9, bytes([tsresol])))
    frames = _index(made.enhanced(datagram(GROUP, 5000, b"x"), units=units).content)
    assert frames.time_ns.tolist() == [time_ns]


def test_many_interfaces_are_all_known_and_one_too_many_is_refused() -> None:
    made = PcapNg()
    for _ in range(limits.CAPTURE_MAX_INTERFACES):
        made.interface()
    made.enhanced(datagram(GROUP, 5000, b"last"), interface=limits.CAPTURE_MAX_INTERFACES - 1)
    made.enhanced(datagram(GROUP, 5000, b"none"), interface=limits.CAPTURE_MAX_INTERFACES)
    frames = _index(made.content)
    assert _payloads(frames) == [b"last"]
    assert frames.skipped == {"unknown_interface": 1}
    with pytest.raises(LimitError, match="too many interfaces"):
        _index(made.interface().content)


def test_groups_name_destinations_of_both_kinds() -> None:
    other = ethernet(ipv6("ff3e::8000:2", udp(5000, b"other")), kind=IPV6)
    mine = ethernet(ipv6(SIX, udp(5000, b"mine")), kind=IPV6)
    frames = _index(pcap([other, mine, datagram(GROUP, 5000, b"four")]))
    keys = frames.channels().tolist()
    assert len(set(keys)) == 3
    picked = frames.only({_wanted(text, frames) for text in (f"[{SIX}]:5000", f"{GROUP}:5000")})
    assert _payloads(picked) == [b"mine", b"four"]
    assert picked.channels().tolist() == keys[1:]
    assert len(frames.only({_wanted("[ff3e::9]:5000", frames)})) == 0
    with pytest.raises(InputError, match="has no port"):
        _wanted("[ff3e::]5000", frames)


@given(st.binary(max_size=300), st.sampled_from([0, 1, 101, 108, 113, 276, 9]))
@settings(max_examples=200, deadline=None)
def test_random_packets_in_every_block_are_indexed_or_counted(frame: bytes, link: int) -> None:
    made = PcapNg().interface(link).enhanced(frame).simple(frame).obsolete(frame)
    for content, packets in ((pcap([frame], link), 1), (made.content, 3)):
        frames = _index(content)
        assert len(frames) + sum(frames.skipped.values()) == packets
        ends = frames.offset + frames.length
        assert (frames.offset >= 0).all() and (ends <= len(content)).all()


@given(st.binary(max_size=200), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_a_damaged_pcapng_is_never_read_outside(noise: bytes, at: int) -> None:
    made = PcapNg().interface().enhanced(datagram(GROUP, 5000, b"feed")).simple(b"short")
    content = bytearray(made.content)
    place = 12 + at % (len(content) - 12)
    content[place : place + len(noise)] = noise
    frames = _index(bytes(content))
    assert (frames.offset + frames.length <= len(content)).all()
