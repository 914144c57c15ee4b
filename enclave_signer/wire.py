"""The wire protocol between proxy and pod: fixed-layout frames, one a datagram of a SOCK_SEQPACKET socket.

    0 magic "SVPD" · 4 version u16 · 6 kind u16 · 8 length u32 (of the body) · 12 actor u16 · 14 zero u16 ·
    16 generation u32 · 20 zero u32 · 24 sequence u64 · 32 body

Little endian. (actor, generation, sequence) names the request: the same name with the same body gives the same
signature, with another body a refusal.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAGIC = b"SVPD"
VERSION = 1
HEADER = struct.Struct("<4sHHIHHIIQ")
FRAME_MAX_BYTES = 512
ORDER_BYTES = 32
SIGNATURE_BYTES = 64
PREIMAGE_TAG = b"SOVEREIGN-ORDER\x01"

HELLO, HELLO_REPLY, SIGN, SIGNED, REFUSED, HALT, HALTED, RESUME, RESUMED, ERROR = range(1, 11)

ED25519, SECP256K1 = 1, 2
SCHEMES = {"ed25519": ED25519, "secp256k1": SECP256K1}

# instrument, side, time in force, flags, price e9, quantity, tag: the layout of an order
ORDER = struct.Struct("<IBBHqqQ")
NAME = struct.Struct("<HHIQ")
# scheme, public key's length, halt epoch, public key
HELLO_BODY = struct.Struct("<BBHIQ33s")
EPOCH = struct.Struct("<Q")


class Name(NamedTuple):
    """A request's name: the order's actor, its ring's generation, its sequence there."""

    actor: int
    generation: int
    sequence: int

    def packed(self) -> bytes:
        """16 bytes, as they stand in the preimage and in the journal."""
        return NAME.pack(self.actor, 0, self.generation, self.sequence)

    @classmethod
    def unpacked(cls, data: bytes) -> Name:
        """The name in its 16 bytes."""
        actor, _, generation, sequence = NAME.unpack(data)
        return cls(actor, generation, sequence)


NOBODY = Name(0, 0, 0)


class Frame(NamedTuple):
    """One frame."""

    kind: int
    name: Name
    body: bytes


class WireError(Exception):
    """A frame that is not one. `args[0]`: what is wrong, a short ASCII word."""


def pack(kind: int, name: Name, body: bytes = b"") -> bytes:
    """The frame's bytes."""
    return (
        HEADER.pack(
            MAGIC, VERSION, kind, len(body), name.actor, 0, name.generation, 0, name.sequence
        )
        + body
    )


def unpack(data: bytes) -> Frame:
    """The frame that `data` is. WireError: `short`, `magic`, `version`, `length`, `reserved`."""
    if len(data) < HEADER.size:
        raise WireError("short")
    magic, version, kind, length, actor, zero, generation, zero2, sequence = HEADER.unpack_from(
        data
    )
    if magic != MAGIC:
        raise WireError("magic")
    if version != VERSION:
        raise WireError("version")
    if length != len(data) - HEADER.size or len(data) > FRAME_MAX_BYTES:
        raise WireError("length")
    if zero or zero2:
        raise WireError("reserved")
    return Frame(kind, Name(actor, generation, sequence), data[HEADER.size :])


def preimage(name: Name, order: bytes) -> bytes:
    """The 64 bytes that a signature covers: a tag, the name, the order."""
    return PREIMAGE_TAG + name.packed() + order
