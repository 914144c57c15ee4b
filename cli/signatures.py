"""Judge a signed order's signature with another library than the pod's: the pod's word is not enough."""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from sovereign.messages.orders import ED25519


def preimage(order: Any) -> bytes:
    """The 64 bytes under the signature: tag, name, order (docs/pod.md), built here from the record alone."""
    name = [("order_actor", 2), (None, 2), ("order_generation", 4), ("order_seq", 8)]
    body = [
        ("instrument", 4), ("side", 1), ("time_in_force", 1), ("strategy_flags", 2),
        ("px_e9", 8), ("qty", 8), ("client_tag", 8),
    ]  # fmt: skip
    parts = [
        (int(order[field]) if field else 0).to_bytes(
            size, "little", signed=field in ("px_e9", "qty")
        )
        for field, size in (*name, *body)
    ]
    return b"SOVEREIGN-ORDER\x01" + b"".join(parts)


def verifies(order: Any) -> bool:
    """Ed25519 by libsodium, where OpenSSL signed; secp256k1 by OpenSSL, where libsecp256k1 did."""
    message, signature = preimage(order), order["signature"].tobytes()
    public = order["public_key"].tobytes()[: int(order["public_key_bytes"])]
    try:
        if int(order["scheme"]) == ED25519:
            VerifyKey(public).verify(message, signature)
        else:
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public)
            r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
            key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
    except (InvalidSignature, BadSignatureError, ValueError):
        return False
    return True
