"""What is said of a sealed segment, beside it: canonical JSON, the same bytes for the same segment.

Schema, sequences, times, SHA-256 of the file, the RFC 6962 root over blocks of 256 slots with each block's leaf hash
(so that damage is located), and the hash of the manifest before it.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sovereign.actors.auditor import merkle
from sovereign.runtime import layout

BLOCK_RECORDS = 256
MANIFEST_VERSION = 2
# The slot header that each version of the manifest speaks of.
HEADERS = {1: layout.HEADER_DTYPE_V1, 2: layout.HEADER_DTYPE}


def rfc3339(time_ns: int) -> str:
    """UTC, RFC 3339, nanoseconds."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def block_hashes(slots: npt.NDArray[np.void]) -> list[bytes]:
    """Leaf hash of each block of slots."""
    raw = np.ascontiguousarray(slots).view(np.uint8)
    size = BLOCK_RECORDS * slots.dtype.itemsize
    return [
        merkle.leaf_hash(memoryview(raw[at : at + size].data)) for at in range(0, len(raw), size)
    ]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(
    path: Path, slots: npt.NDArray[np.void], about: dict[str, Any], previous: Path | None
) -> dict[str, Any]:
    """The manifest of the sealed segment at `path`. `about`: node, ring, actor, generation, types, recovered."""
    leaves = block_hashes(slots)
    times = [int(slots[i]["publish_ns"]) for i in (0, -1)] if len(slots) else [0, 0]
    return {
        **about,
        "version": MANIFEST_VERSION,
        "file": path.name,
        "stride": slots.dtype.itemsize,
        "count": len(slots),
        "first_sequence": int(path.stem),
        "last_sequence": int(path.stem) + len(slots) - 1,
        "first_publish_ns": times[0],
        "last_publish_ns": times[1],
        "first_publish": rfc3339(times[0]),
        "last_publish": rfc3339(times[1]),
        "sha256": file_sha256(path),
        "merkle": {
            "hash": "rfc6962-sha256",
            "block_records": BLOCK_RECORDS,
            "root": merkle.root(leaves).hex(),
            "leaves": [leaf.hex() for leaf in leaves],
        },
        "previous": None
        if previous is None
        else {"file": previous.name, "sha256": file_sha256(previous)},
    }


def canonical(manifest: dict[str, Any]) -> str:
    """The one spelling of a manifest."""
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")) + "\n"


def self_hash(manifest: dict[str, Any]) -> str:
    """SHA-256 of the canonical manifest without its own hash: finds damage; who forges can derive it anew."""
    rest = {key: value for key, value in manifest.items() if key != "self_sha256"}
    return hashlib.sha256(canonical(rest).encode()).hexdigest()


def write(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest beside its segment, whole or not at all, read-only."""
    text = canonical({**manifest, "self_sha256": self_hash(manifest)})
    target = path.with_suffix(".json")
    draft = path.with_suffix(".json.draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(0o440)
    draft.replace(target)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)
