"""Addresses: what is one, and what the text lacks that is none."""

from __future__ import annotations

import pytest

from sovereign.runtime.address import parse_address, parse_group, parse_host, parse_venue
from sovereign.runtime.errors import InputError


def test_an_address_is_four_numbers_and_a_port() -> None:
    found = parse_address("224.0.31.64:14340")
    assert (found.host, found.port, found.number) == ("224.0.31.64", 14_340, 0xE0001F40)
    assert parse_address("0.0.0.0:65535").port == 65_535
    assert parse_host("127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no port"),
        ("127.0.0.1", "has no port"),
        ("127.0.0.1:", "no usable port"),
        ("127.0.0.1:0", "no usable port"),
        ("127.0.0.1:65536", "no usable port"),
        ("127.0.0.1:-1", "no usable port"),
        ("127.0.0.1:\u0661", "no usable port"),
        ("127.0.0.1:+9", "no usable port"),
        (":9000", "no IPv4 address"),
        ("localhost:9000", "no IPv4 address"),
        ("127.0.0.01:9000", "no IPv4 address"),
        ("[::1]:9000", "no IPv4 address"),
        ("::1:9000", "without brackets"),
        ("[::1]", "has no port"),
        ("256.0.0.1:9000", "no IPv4 address"),
        (" 127.0.0.1:9000", "no IPv4 address"),
    ],
)
def test_what_is_no_address_says_what_it_lacks(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        parse_address(text)
    assert raised.value.expected


def test_a_group_may_be_of_either_family() -> None:
    address, port = parse_group("224.0.31.64:14340")
    assert (address.version, int(address), port) == (4, 0xE0001F40, 14_340)
    address, port = parse_group("[ff3e::8000:1]:14340")
    assert (address.version, str(address), port) == (6, "ff3e::8000:1", 14_340)
    for text in ("[1.2.3.4]:5", "[ff3e::x]:5", "ff3e::1", "name:5"):
        with pytest.raises(InputError):
            parse_group(text)


def test_a_venue_may_be_named_and_is_not_looked_up() -> None:
    assert parse_venue("nowhere.invalid:9000") == ("nowhere.invalid", 9000)
    assert parse_venue("127.0.0.1:9000") == ("127.0.0.1", 9000)
    assert parse_venue("[::1]:9000") == ("::1", 9000)
    for text in (
        "300.0.0.1:9000",
        "1.2.3:9000",
        "a b:9000",
        "a..b:9000",
        "/tmp/x:1",
        "x" * 64 + ":1",
    ):
        with pytest.raises(InputError):
            parse_venue(text)
