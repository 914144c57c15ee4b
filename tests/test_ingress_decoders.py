"""Decoders: never a crash and never a read outside the packet; captures that are cut short, empty, or none."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from data import market, needs_data
from sovereign.actors.ingress import claim
from sovereign.actors.ingress.decoder import Decoder
from sovereign.actors.ingress.decoders.cme_mdp3 import CmeConfig, CmeMdp3
from sovereign.actors.ingress.decoders.dbn import Dbn, DbnConfig
from sovereign.actors.ingress.decoders.itch50 import Itch50, ItchConfig
from sovereign.actors.ingress.drivers.capture import index_capture
from sovereign.actors.ingress.drivers.file import (
    PcapDriver,
    begins_as_capture,
    load_frames,
    read_content,
)
from sovereign.messages.market import (
    BookLevel,
    Gap,
    Heartbeat,
    OrderEvent,
    Quote,
    Raw,
    Reset,
    Trade,
)
from sovereign.runtime.errors import InputError

STRIDE, SLOTS = 128, 64
_libc = ctypes.CDLL(None, use_errno=True)


class Bench:
    """Memory whose next page cannot be read: a packet ends right before it. And a claim with a guard behind it."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._map = mmap.mmap(-1, 3 * 4096)
        self._memory = np.frombuffer(self._map, np.uint8)
        self.base = int(self._memory.ctypes.data)
        assert _libc.mprotect(ctypes.c_void_p(self.base + 2 * 4096), 4096, 0) == 0
        self._slots = np.full((SLOTS + 1) * STRIDE, 0xAA, np.uint8)
        self._claim = np.zeros(claim.CLAIM_WORDS, np.int64)
        self._claim[:5] = [self._slots.ctypes.data, SLOTS - 1, STRIDE, 1, SLOTS]
        self._state = np.zeros(claim.STATE_WORDS, np.int64)

    def decode(self, packet: bytes) -> int:
        """The decoder's answer for a packet that ends at the guard page."""
        self._state[:] = 0
        self._claim[claim.K_COUNT] = 0
        at = 2 * 4096 - len(packet)
        self._memory[at : at + len(packet)] = np.frombuffer(packet, np.uint8)
        made = int(
            self.decoder.kernel(
                self.base + at,
                len(packet),
                self.decoder.tables.ctypes.data,
                self._state.ctypes.data,
                self._claim.ctypes.data,
            )
        )
        assert claim.TOO_SMALL <= made <= SLOTS
        assert (self._slots[SLOTS * STRIDE :] == 0xAA).all(), "wrote behind the claim"
        return made


def _cme() -> CmeMdp3:
    return CmeMdp3(CmeConfig(templates=str(market("oracle/schemas/Cme.Futures.Mdp3.Sbe.v1.6.xml"))))


BENCHES = {
    "itch50": Bench(Itch50(ItchConfig())),
    "dbn": Bench(Dbn(DbnConfig())),
}


def _bench(name: str) -> Bench:
    if name == "cme" and name not in BENCHES:
        BENCHES[name] = Bench(_cme())
    return BENCHES[name]


@pytest.mark.parametrize("name", ["itch50", "dbn"])
@given(packet=st.binary(max_size=1500))
@settings(max_examples=300, deadline=None)
def test_random_bytes_never_crash(name: str, packet: bytes) -> None:
    _bench(name).decode(packet)


@needs_data
@given(packet=st.binary(max_size=1500))
@settings(max_examples=300, deadline=None)
def test_random_bytes_never_crash_cme(packet: bytes) -> None:
    _bench("cme").decode(packet)


def _packets(decoder: Decoder, file: str) -> list[bytes]:
    frames = load_frames(PcapDriver(path=str(market(file))), decoder)
    spans = zip(frames.offset[:200], frames.length[:200], strict=True)
    return [frames.content[at : at + size].tobytes() for at, size in spans]


@needs_data
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cme", "cme/Cme.Mdp3.Sbe.v6.1.pcap"),
        ("itch50", "itch/mold.sample.dat"),
        ("dbn", "dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst"),
    ],
)
def test_real_packets_cut_and_flipped_never_crash(name: str, file: str) -> None:
    bench = _bench(name)
    packets = _packets(bench.decoder, file)
    chance = np.random.default_rng(7)
    for packet in packets:
        assert bench.decode(packet) != claim.MALFORMED
        bench.decode(packet[: chance.integers(0, len(packet))])
        for _ in range(20):
            broken = bytearray(packet)
            broken[chance.integers(0, len(packet))] = chance.integers(0, 256)
            bench.decode(bytes(broken))


@needs_data
@pytest.mark.parametrize("magic", ["pcap-us", "pcap-ns", "pcap-big"])
def test_a_capture_of_every_kind_gives_the_same_frames(tmp_path: Path, magic: str) -> None:
    """The pcapng capture written anew as classic pcap of each kind."""
    source = market("cme/Cme.Mdp3.Sbe.v6.1.pcap")
    frames = index_capture(read_content(str(source)).bytes, str(source))
    big = magic == "pcap-big"
    order = ">" if big else "<"
    unit = 1 if magic == "pcap-ns" else 1000
    number = 0xA1B23C4D if unit == 1 else 0xA1B2C3D4
    head = np.array([number], order + "u4").tobytes() + bytes(16)
    out = head + np.array([1], order + "u4").tobytes()
    for i in range(50):
        start = int(frames.offset[i]) - 42
        data = frames.content[start : start + 42 + int(frames.length[i])].tobytes()
        seconds, rest = divmod(int(frames.time_ns[i]), 1_000_000_000)
        words = [seconds, rest // unit, len(data), len(data)]
        out += np.array(words, order + "u4").tobytes() + data
    again = index_capture(np.frombuffer(out, np.uint8), "made")
    assert again.cut_at == -1
    assert again.length.tolist() == frames.length[:50].tolist()
    assert (again.time_ns // unit).tolist() == (frames.time_ns[:50] // unit).tolist()
    assert again.port.tolist() == frames.port[:50].tolist()


@needs_data
def test_a_capture_cut_short_gives_what_stands_whole_and_says_where() -> None:
    content = read_content(str(market("cme/Cme.Mdp3.Sbe.v6.1.pcap"))).bytes
    whole = index_capture(content, "whole")
    cut = index_capture(content[: len(content) // 2], "cut")
    assert 0 < cut.cut_at <= len(content) // 2
    assert 0 < len(cut) < len(whole)
    assert cut.offset.tolist() == whole.offset[: len(cut)].tolist()


@pytest.mark.parametrize("content", [b"", b"no capture at all", b"\xd4\xc3\xb2\xa1short"])
def test_what_is_no_capture_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="no capture|is empty"):
        index_capture(np.frombuffer(content, np.uint8), "x")


@needs_data
@pytest.mark.parametrize(("file", "missing"), [("SessionStatistics", 4_681), ("Volume", 4_017)])
def test_genuine_gaps_are_counted(file: str, missing: int) -> None:
    decoder = CmeMdp3(
        CmeConfig(templates=str(market("oracle/schemas/Cme.Futures.Mdp3.Sbe.v1.8.xml")))
    )
    bench = Bench(decoder)
    path = market(f"cme/v1.8.MdIncrementalRefresh{file}.pcap")
    frames = load_frames(PcapDriver(path=str(path)), decoder)
    state = np.zeros(claim.STATE_WORDS, np.int64)
    for at, size in zip(frames.offset, frames.length, strict=True):
        bench._claim[claim.K_COUNT] = 0
        made = decoder.kernel(
            frames.content.ctypes.data + int(at),
            int(size),
            decoder.tables.ctypes.data,
            state.ctypes.data,
            bench._claim.ctypes.data,
        )
        assert made >= 0
    assert state[claim.D_GAPS] == missing


@needs_data
def test_the_last_packet_of_a_cut_file_is_named() -> None:
    decoder = Itch50(ItchConfig())
    frames = load_frames(PcapDriver(path=str(market("itch/mold.sample.dat"))), decoder)
    assert len(frames) == 2
    assert frames.cut_at == int(frames.offset[1] + frames.length[1])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"XBN\x02\0\0\0\0", "no DBN"),
        (b"DBN\x09\0\0\0\0", "version 9"),
        (b"DBN\x02\xff\0\0\0", "cut"),
    ],
)
def test_what_is_no_dbn_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Dbn(DbnConfig()).frames(np.frombuffer(content, np.uint8), "x")


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "well-formed"), ("<a/>", "names no message"), ("<a", "well-formed")],
)
def test_a_template_file_that_is_none_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "t.xml"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        CmeMdp3(CmeConfig(templates=str(path)))


def _offsets(kind: Any) -> dict[str, int]:
    return {name: kind.dtype.fields[name][1] for name in kind.dtype.names}


def test_the_offsets_that_kernels_write_to() -> None:
    """Kernels name offsets as numbers; these are the layouts that the numbers mean."""
    level = {"exchange_ns": 0, "px_e9": 8, "qty": 16, "instrument": 24, "packet_seq": 28}
    level |= {"rpt_seq": 32, "orders": 36, "template": 40, "entry": 42, "entries": 44, "kind": 46}
    level |= {"side": 47, "action": 48, "level": 49, "indicator": 50}
    assert _offsets(BookLevel) == _offsets(Trade) == level
    assert list(_offsets(OrderEvent).values()) == [0, 8, 16, 24, 32, 40, 44, 48, 50, 51, 52, 53]
    assert list(_offsets(Quote).values()) == [0, 8, 16, 24, 32, 36, 40, 44, 48, 52, 56, 60, 62, 63]
    assert list(_offsets(Raw).values()) == [0, 4, 8, 10, 12, 14]
    assert list(_offsets(Heartbeat).values()) == [0, 8, 12]
    assert list(_offsets(Gap).values()) == [0, 8, 16, 20, 24]
    assert list(_offsets(Reset).values()) == [0, 8, 16, 20, 24, 26, 36]


def _dbn(records: int) -> bytes:
    """A DBN file without metadata, of so many 16-byte records of no known kind."""
    return b"DBN\x02" + bytes(4) + (b"\x04\xee" + bytes(14)) * records


def test_a_cut_zstd_file_gives_what_stands_whole_before_the_cut(tmp_path: Path) -> None:
    packed = zstandard.ZstdCompressor(level=1).compress(_dbn(100_000))
    file, decoder = tmp_path / "day.dbn.zst", Dbn(DbnConfig())
    file.write_bytes(packed)
    whole = load_frames(PcapDriver(path=str(file)), decoder)
    assert (len(whole), whole.cut_at) == (100_000, -1)
    file.write_bytes(packed * 2)  # two frames, one after the other, are one file
    assert len(read_content(str(file)).bytes) == 2 * len(_dbn(100_000))
    file.write_bytes(packed[:-3])
    assert load_frames(PcapDriver(path=str(file)), decoder).cut_at >= 0


@pytest.mark.parametrize(
    ("content", "got", "hint"),
    [
        (zstandard.ZstdCompressor().compress(_dbn(0)), "no packet that carries UDP", ""),
        (_dbn(1)[:-3], "it is cut short at byte 8", "fetch it again"),
        (zstandard.ZstdCompressor().compress(b""), "it is compressed, and holds nothing", ""),
        (zstandard.ZstdCompressor().compress(_dbn(9))[:9], "before its first byte", ""),
        (_dbn(0), "no packet that carries UDP, or no record", ""),
    ],
)
def test_a_file_without_a_packet_says_why(
    tmp_path: Path, content: bytes, got: str, hint: str
) -> None:
    file = tmp_path / "day.dbn"
    file.write_bytes(content)
    with pytest.raises(InputError, match="holds no packet") as raised:
        load_frames(PcapDriver(path=str(file)), Dbn(DbnConfig()))
    assert got in raised.value.got
    assert raised.value.hint == hint, "groups are not spoken of where there are none"


def test_groups_that_take_nothing_are_named(tmp_path: Path) -> None:
    file = tmp_path / "day.pcap"
    file.write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(20))
    with pytest.raises(InputError, match="holds no packet") as raised:
        load_frames(PcapDriver(path=str(file), groups=["1.2.3.4:5"]), Dbn(DbnConfig()))
    assert "groups = ['1.2.3.4:5']" in raised.value.got


@pytest.mark.parametrize("decoder", [Dbn(DbnConfig()), Itch50(ItchConfig())])
def test_an_empty_file_is_called_empty(tmp_path: Path, decoder: Decoder) -> None:
    file = tmp_path / "day"
    file.touch()
    with pytest.raises(InputError, match="the file is empty"):
        load_frames(PcapDriver(path=str(file)), decoder)
    with pytest.raises(InputError, match="the file is empty"):
        begins_as_capture(str(file))


def test_a_capture_is_known_by_its_first_bytes_packed_or_not(tmp_path: Path) -> None:
    file = tmp_path / "day"
    for content, is_one in ((b"\xd4\xc3\xb2\xa1" + bytes(20), True), (_dbn(3), False)):
        for packed in (content, zstandard.ZstdCompressor().compress(content)):
            file.write_bytes(packed)
            assert begins_as_capture(str(file)) is is_one


def test_a_packed_file_cut_before_its_first_byte_is_found_by_its_head(tmp_path: Path) -> None:
    file = tmp_path / "day"
    file.write_bytes(zstandard.ZstdCompressor().compress(_dbn(9))[:9])
    with pytest.raises(InputError, match="holds no packet"):
        begins_as_capture(str(file))
