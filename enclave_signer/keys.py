"""The pod's key: made inside at the first start, kept in a file that only the pod can read, never sent.

Ed25519: RFC 8032. ECDSA over secp256k1: SHA-256, deterministic nonces (RFC 6979), low s; the signature is r || s.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import coincurve
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from enclave_signer.folder import sync
from enclave_signer.wire import ED25519, SCHEMES, SECP256K1

SECRET_BYTES = 32
_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class KeyError_(Exception):
    """A key file that cannot be used; the text says why."""


class Ed25519Key:
    """`sign(message)` gives 64 bytes."""

    scheme = ED25519

    def __init__(self, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        """RFC 8032 signature, R || S."""
        return self._key.sign(message)


class Secp256k1Key:
    """`sign(message)` gives r || s, 64 bytes, low s."""

    scheme = SECP256K1

    def __init__(self, secret: bytes) -> None:
        self._key = coincurve.PrivateKey(secret)
        self.public = self._key.public_key.format(compressed=True)

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of the message."""
        return bytes(self._key.sign_recoverable(message)[:64])


Key = Ed25519Key | Secp256k1Key


def _usable(scheme: int, secret: bytes) -> bool:
    return scheme != SECP256K1 or 0 < int.from_bytes(secret) < _SECP256K1_ORDER


def _new_secret(scheme: int) -> bytes:
    while True:
        secret = secrets.token_bytes(SECRET_BYTES)
        if _usable(scheme, secret):
            return secret


def _make(beside: Path, path: Path, secret: bytes) -> None:
    """Put a key's file there whole, or not at all. A file of that name is never written over.

    It is written under another name and linked to its own when the disk has it: a kill at any instruction leaves no key
    (and the next start makes one), or the whole key. The caller holds the folder's lock.
    """
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with open(fd, "wb") as stream:
        stream.write(secret)
        stream.flush()
        os.fsync(fd)
    os.link(beside, path)


def open_key(folder: Path, scheme_name: str) -> Key:
    """The key of that scheme in `folder`; made there when it is not. KeyError_ when the file is not a key's."""
    scheme, name = SCHEMES[scheme_name], f"{scheme_name}.key"
    path = folder / name
    beside = folder / f"{name}.new"
    # Of a start that was killed: the key stands under its own name already, or it never was one.
    beside.unlink(missing_ok=True)
    if not path.exists():
        _make(beside, path, _new_secret(scheme))
    beside.unlink(missing_ok=True)
    sync(folder)  # before anything is signed with a key that a power failure could take back
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES or not _usable(scheme, secret):
        raise KeyError_(
            f"{name}: {len(secret)} bytes are no {scheme_name} key: give its file back from where you keep a copy, "
            "or move it away for a new key, which is another identity to the venue"
        )
    return Ed25519Key(secret) if scheme == ED25519 else Secp256k1Key(secret)
