"""Numbers of a line: by channel and session, gaps told once, nothing believed on one datagram's word."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import market, needs_data
from lines import Line, mold
from sovereign.actors.ingress import claim
from sovereign.actors.ingress.claim import channel_key
from sovereign.actors.ingress.decoders.cme_mdp3 import CmeConfig, CmeMdp3
from sovereign.actors.ingress.decoders.itch50 import Itch50, ItchConfig
from sovereign.actors.ingress.drivers.file import PcapDriver, load_frames
from sovereign.messages.market import NULL_PX
from sovereign.runtime import limits
from sovereign.runtime.errors import InputError

JUMP = limits.INGRESS_MAX_JUMP
A, B = channel_key(0xE0001F01, 14_340), channel_key(0xE0002001, 15_340)


@pytest.fixture
def line() -> Line:
    return Line(Itch50(ItchConfig()))


def test_a_new_session_begins_anew_and_says_so(line: Line) -> None:
    assert line.numbers(mold("MON", 1000, 3)) == [1000, 1001, 1002]
    found = line.hear(mold("TUE", 1, 3))
    assert [name for name, _ in found] == ["Reset", "Raw", "Raw", "Raw"]
    reset = found[0][1]
    assert (int(reset["old_next"]), int(reset["new_next"])) == (1003, 1)
    assert reset["old_session"].tobytes() == b"MON       "
    assert reset["new_session"].tobytes() == b"TUE       "
    assert (line[claim.D_RESETS], line[claim.D_DUPLICATES], line[claim.D_GAPS]) == (1, 0, 0)
    assert line.numbers(mold("TUE", 4, 1)) == [4]


def test_what_a_new_session_said_before_it_was_heard_is_a_gap(line: Line) -> None:
    line.hear(mold("MON", 1000, 3))
    assert line.numbers(mold("TUE", 5, 1)) == [[1003, 5], (1, 4), 5]
    assert line[claim.D_GAPS] == 4


def test_a_session_that_never_was_does_not_cost_the_true_one_its_place(line: Line) -> None:
    line.hear(mold("MON", 1000, 3))
    for forged in ("FORGED1", "FORGED2"):
        line.hear(mold(forged, 7, 1))
        place = 1003 if forged == "FORGED1" else 1004
        assert line.numbers(mold("MON", place, 1)) == [[8, place], place]
    assert line[claim.D_RESETS] == 4
    assert line.numbers(mold("MON", 1004, 1)) == []
    assert line[claim.D_DUPLICATES] == 1


@pytest.mark.parametrize("number", [1 << 60, 1 << 61, 1004 + JUMP])
def test_one_forged_number_changes_nothing(line: Line, number: int) -> None:
    line.hear(mold("MON", 1000, 3))
    assert line.numbers(mold("MON", number, 1)) == []
    assert line.numbers(mold("MON", 1003, 2)) == [1003, 1004]
    assert line.numbers(mold("MON", number + 9, 1)) == []
    assert (line[claim.D_IMPLAUSIBLE], line[claim.D_GAPS]) == (2, 0)


def test_a_long_jump_is_believed_when_the_next_packet_goes_on_from_there(line: Line) -> None:
    line.hear(mold("MON", 1000, 3))
    far = 2 * JUMP
    assert line.numbers(mold("MON", far, 2)) == []
    assert line.numbers(mold("MON", far, 2)) == []
    assert line.numbers(mold("MON", far + 2, 2)) == [(1003, far + 1), far + 2, far + 3]
    assert line[claim.D_GAPS] == far + 2 - 1003
    assert line[claim.D_IMPLAUSIBLE] == 2
    assert line.numbers(mold("MON", far + 4, 1)) == [far + 4]


def test_a_jump_within_the_limit_is_a_gap_at_once(line: Line) -> None:
    line.hear(mold("MON", 1000, 3))
    assert line.numbers(mold("MON", 1003 + JUMP, 1)) == [(1003, 1002 + JUMP), 1003 + JUMP]


@pytest.mark.parametrize("number", [1 << 63, (1 << 64) - 1, (1 << 62) + 1])
def test_a_number_that_no_feed_reaches_is_malformed(line: Line, number: int) -> None:
    assert line.decode(mold("MON", number, 1)) == claim.MALFORMED


def test_a_line_whose_very_first_packet_was_forged_is_heard(line: Line) -> None:
    assert line.numbers(mold("MON", 1 << 60, 1)) == [(1 << 60) & 0xFFFF_FFFF]
    assert line.numbers(mold("MON", 1000, 2)) == [[(1 << 60) + 1, 1000], 1000, 1001]
    assert line.numbers(mold("MON", 1002, 1)) == [1002]
    assert (line[claim.D_IMPLAUSIBLE], line[claim.D_RESETS], line[claim.D_GAPS]) == (1, 1, 0)


def test_of_an_overlapping_packet_the_new_tail_is_decoded(line: Line) -> None:
    line.hear(mold("MON", 1, 10))
    assert line.numbers(mold("MON", 9, 4)) == [11, 12]
    assert line.numbers(mold("MON", 9, 4)) == []
    assert (line[claim.D_OVERLAPS], line[claim.D_DUPLICATES]) == (1, 1)


def test_late_is_what_was_told_as_missing_and_duplicate_what_was_heard(line: Line) -> None:
    line.hear(mold("MON", 10, 1))
    assert line.numbers(mold("MON", 20, 1)) == [(11, 19), 20]
    for late in (15, 11, 19):
        assert line.numbers(mold("MON", late, 1)) == []
    assert (line[claim.D_LATE], line[claim.D_DUPLICATES]) == (3, 0)
    for again in (15, 11, 19, 10, 20):
        assert line.numbers(mold("MON", again, 1)) == []
    assert (line[claim.D_LATE], line[claim.D_DUPLICATES]) == (3, 5)
    assert line.numbers(mold("MON", 3, 1)) == []  # before the line was joined: never heard
    assert line[claim.D_LATE] == 4


def test_an_old_number_never_begins_the_line_anew(line: Line) -> None:
    line.hear(mold("MON", 5 * JUMP, 1))
    line.hear(mold("MON", 5 * JUMP + 1, 1))
    for number in range(1, 50):
        assert line.numbers(mold("MON", number, 1)) == []
    assert line[claim.D_LATE] == 49
    assert line.numbers(mold("MON", 5 * JUMP + 2, 1)) == [5 * JUMP + 2]


def test_channels_of_one_ingress_have_numbers_of_their_own(line: Line) -> None:
    assert line.numbers(mold("MON", 1, 2), A) == [1, 2]
    assert line.numbers(mold("MON", 500, 2), B) == [500, 501]
    assert line.numbers(mold("MON", 3, 1), A) == [3]
    (gap, told), _ = line.hear(mold("MON", 510, 1), B)
    assert (gap, int(told["first"]), int(told["last"])) == ("Gap", 502, 509)
    place = (int(told["channel"]), int(told["address"]), int(told["port"]))
    assert place == (1, 0xE0002001, 15_340)
    assert line.numbers(mold("MON", 4, 1), A) == [4]
    assert line[claim.D_DUPLICATES] == line[claim.D_LATE] == 0


def test_one_channel_too_many_is_counted_and_not_mixed(line: Line) -> None:
    for channel in range(limits.INGRESS_MAX_CHANNELS):
        assert line.numbers(mold("MON", 100, 1), channel) == [100]
    for number in range(3):
        assert line.numbers(mold("MON", 101 + number, 1), 9999) == []
    assert line[claim.D_CHANNEL_DROPS] == 3
    for channel in range(limits.INGRESS_MAX_CHANNELS):
        assert line.numbers(mold("MON", 101, 1), channel) == [101]


def test_a_malformed_packet_leaves_no_trace(line: Line) -> None:
    line.hear(mold("MON", 1, 1), A)
    assert line.decode(mold("MON", 50, 1, claimed=2), A) == claim.MALFORMED
    assert line.decode(mold("TUE", 1, 1, claimed=2), A) == claim.MALFORMED
    assert line.decode(mold("MON", 1, 1, claimed=2), B) == claim.MALFORMED
    assert line.numbers(mold("MON", 2, 1), A) == [2]
    assert line[claim.D_CHANNELS] == 1


def test_a_heartbeat_tells_of_what_is_missing(line: Line) -> None:
    line.hear(mold("MON", 1, 1))
    assert line.numbers(mold("MON", 2, 0)) == []
    assert line.numbers(mold("MON", 5, 0)) == [(2, 4)]
    assert line.numbers(mold("MON", 5, 0)) == []
    assert line.numbers(mold("MON", 5, 1)) == [5]
    assert line[claim.D_DUPLICATES] == line[claim.D_LATE] == 0


def _rules(session: dict[str, Any], first: int, count: int) -> list[Any]:
    """The rules once more, over a plain dict: what the packet must give."""
    expected, end = session.get("next", first), first + count
    if end <= expected and first < expected:
        return []
    session["next"] = end
    told: list[Any] = [(expected, first - 1)] if first > expected else []
    return told + list(range(max(first, expected), end))


@given(
    st.lists(
        st.tuples(st.sampled_from([A, B]), st.integers(1, 400), st.integers(0, 12)), max_size=60
    )
)
@settings(max_examples=200, deadline=None)
def test_in_any_order_each_number_is_given_once_or_stands_in_a_gap(
    packets: list[tuple[int, int, int]],
) -> None:
    line = Line(Itch50(ItchConfig()))
    sessions: dict[int, dict[str, Any]] = {A: {}, B: {}}
    given_once: dict[int, list[int]] = {A: [], B: []}
    for channel, first, count in packets:
        found = line.numbers(mold("MON", first, count), channel)
        assert found == _rules(sessions[channel], first, count)
        for one in found:
            given_once[channel] += range(one[0], one[1] + 1) if isinstance(one, tuple) else [one]
    for numbers in given_once.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    assert line[claim.D_RESETS] == line[claim.D_IMPLAUSIBLE] == line[claim.D_MALFORMED] == 0


def test_late_and_duplicate_are_told_apart_as_long_as_the_holes_are_remembered(line: Line) -> None:
    """Four holes are remembered: below the fifth last one nobody knows any more, and what comes is late."""
    for number in (10, 20, 30, 40, 50, 60):
        line.hear(mold("MON", number, 1))
    assert line.numbers(mold("MON", 21, 9)) == []  # the second hole, which is now full
    assert line.numbers(mold("MON", 21, 9)) == []
    assert (line[claim.D_LATE], line[claim.D_DUPLICATES]) == (1, 1)
    line.hear(mold("MON", 10, 1))
    assert (line[claim.D_LATE], line[claim.D_DUPLICATES]) == (2, 1)


@given(st.lists(st.integers(2, 9), max_size=30))
@settings(max_examples=100, deadline=None)
def test_a_number_that_is_late_twice_is_a_duplicate_the_second_time(numbers: list[int]) -> None:
    """Eight numbers are missing and come in any order, some of them again: at most four holes at a time."""
    line = Line(Itch50(ItchConfig()))
    line.hear(mold("MON", 1, 1))
    line.hear(mold("MON", 10, 1))
    for number in numbers:
        assert line.numbers(mold("MON", number, 1)) == []
    assert line[claim.D_LATE] == len(set(numbers))
    assert line[claim.D_DUPLICATES] == len(numbers) - len(set(numbers))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["MON", "TUE", "WED", ""]),
            st.one_of(st.integers(0, 30), st.integers(0, (1 << 64) - 1)),
            st.integers(0, 5),
            st.integers(0, 200),
            st.integers(0, limits.INGRESS_MAX_CHANNELS + 1),
        ),
        max_size=40,
    )
)
@settings(max_examples=200, deadline=None)
def test_sessions_numbers_cuts_and_channels_in_any_mixture_never_crash(
    packets: list[tuple[str, int, int, int, int]],
) -> None:
    """Each packet ends at a page that cannot be read; a refused one leaves every word as it was."""
    line, again = Line(Itch50(ItchConfig())), Line(Itch50(ItchConfig()))
    for session, first, count, cut, channel in packets:
        packet = mold(session, first, 0, claimed=count) + mold("x", first, count)[20:]
        packet = packet[: max(0, len(packet) - cut)]
        assert line.decode(packet, channel) == again.decode(packet, channel)
    assert np.array_equal(line.state, again.state)


def _cme() -> CmeMdp3:
    return CmeMdp3(CmeConfig(templates=str(market("oracle/schemas/Cme.Futures.Mdp3.Sbe.v1.6.xml"))))


def _beat(number: int, sent: int) -> bytes:
    """A CME packet with a heartbeat (template 12, no body)."""
    return struct.pack("<IQHHHHH", number, sent, 10, 0, 12, 1, 9)


@needs_data
def test_cmes_weekly_beginning_anew_is_believed_and_an_old_packet_1_is_not() -> None:
    line = Line(_cme())
    assert line.numbers(_beat(1, 1000)) == [1]
    assert line.numbers(_beat(70_000_000, 2000)) == []
    assert line.numbers(_beat(70_000_001, 2001)) == [(2, 70_000_000), 70_000_001]
    assert line.numbers(_beat(1, 1000)) == []
    assert line[claim.D_DUPLICATES] == 1
    assert line.numbers(_beat(1, 3000)) == [[70_000_002, 1], 1]
    assert line.numbers(_beat(2, 3001)) == [2]
    assert line[claim.D_RESETS] == 1


@needs_data
@pytest.mark.parametrize(("file", "missing"), [("SessionStatistics", 4_681), ("Volume", 4_017)])
def test_both_lines_as_channels_of_one_ingress_have_their_genuine_gaps(
    file: str, missing: int
) -> None:
    templates = market("oracle/schemas/Cme.Futures.Mdp3.Sbe.v1.8.xml")
    line = Line(CmeMdp3(CmeConfig(templates=str(templates))))
    path = market(f"cme/v1.8.MdIncrementalRefresh{file}.pcap")
    frames = load_frames(PcapDriver(path=str(path)), line.decoder)
    told = {0: 0, 1: 0}
    for at, size, channel in zip(frames.offset, frames.length, frames.channels(), strict=True):
        packet = frames.content[at : at + size].tobytes()
        for name, one in line.hear(packet, int(channel)):
            if name == "Gap":
                told[int(one["channel"])] += int(one["last"]) - int(one["first"]) + 1
    assert told == {0: missing, 1: missing}
    assert line[claim.D_GAPS] == 2 * missing
    assert sorted(frames.destinations()) == ["224.0.31.11:14320", "224.0.32.11:15320"]
    judged = (claim.D_DUPLICATES, claim.D_LATE, claim.D_IMPLAUSIBLE, claim.D_RESETS)
    assert [line[word] for word in judged] == [0, 0, 0, 0]


LARGEST = 2**63 - 1


@needs_data
@pytest.mark.parametrize(
    ("mantissa", "px_e9", "overflows"),
    [
        (12_345, 1_234_500, 0),
        (-12_345, -1_234_500, 0),
        (LARGEST // 100, LARGEST // 100 * 100, 0),
        (LARGEST // 100 + 1, NULL_PX, 1),
        (-(LARGEST // 100) - 1, NULL_PX, 1),
        (1 << 62, NULL_PX, 1),
        (-(1 << 63), NULL_PX, 1),
        (LARGEST, NULL_PX, 0),  # the feed's own word for none
    ],
)
def test_a_price_that_does_not_fit_is_none_and_counted(
    mantissa: int, px_e9: int, overflows: int
) -> None:
    """Template 32 has prices in 1e-7: a root block of 11 bytes, a group of one entry of 32."""
    line = Line(_cme())
    entry = struct.pack("<qiiIiBBB5x", mantissa, 7, 133_990, 1, 2, 1, 0, 48)
    body = struct.pack("<QB2x", 5, 0) + struct.pack("<HB", 32, 1) + entry
    message = struct.pack("<HHHHH", 10 + len(body), 11, 32, 1, 9) + body
    [(name, one)] = line.hear(struct.pack("<IQ", 1, 1000) + message)
    assert (name, int(one["px_e9"]), int(one["qty"])) == ("BookLevel", px_e9, 7)
    assert line[claim.D_OVERFLOWS] == overflows


def test_a_quantity_that_does_not_fit_is_none_and_counted(line: Line) -> None:
    cross = b"Q" + bytes(10) + struct.pack(">Q", 1 << 63) + b"SYMBOL  " + bytes(4 + 8) + b"O"
    assert len(cross) == 40
    packet = b"MON       " + struct.pack(">QH", 1, 1) + struct.pack(">H", 40) + cross
    [(name, one)] = line.hear(packet)
    assert (name, int(one["qty"]), line[claim.D_OVERFLOWS]) == ("Trade", 0, 1)


@needs_data
def test_templates_whose_prices_are_finer_than_1e_9_are_refused(tmp_path: Path) -> None:
    text = market("oracle/schemas/Cme.Futures.Mdp3.Sbe.v1.6.xml").read_text()
    assert ">-7</type>" in text
    (tmp_path / "t.xml").write_text(text.replace(">-7</type>", ">-10</type>"))
    with pytest.raises(InputError, match="cannot be given in 1e-9"):
        CmeMdp3(CmeConfig(templates=str(tmp_path / "t.xml")))
