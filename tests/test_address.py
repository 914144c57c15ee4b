"""Addresses: what is one, and what the text lacks that is none."""

from __future__ import annotations

import pytest

from sovereign.runtime.address import parse_address, parse_host
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
        ("256.0.0.1:9000", "no IPv4 address"),
        (" 127.0.0.1:9000", "no IPv4 address"),
    ],
)
def test_what_is_no_address_says_what_it_lacks(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        parse_address(text)
    assert raised.value.expected
