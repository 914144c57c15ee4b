"""Check an archive: offline, without any ring; every hash derived anew.

What is found wrong is a `Failure` with file, sequence, what was found and what was expected. Segments without a manifest
are open (a node writes them, or died): they are counted, and their whole part is checked for its sequences only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sovereign.actors.auditor import merkle
from sovereign.actors.auditor.manifest import (
    BLOCK_RECORDS,
    HEADERS,
    block_hashes,
    canonical,
    file_sha256,
    self_hash,
)
from sovereign.actors.auditor.segment import npy_header, whole_slots
from sovereign.runtime.archived import HEADER_BYTES


@dataclass(frozen=True)
class Failure:
    """One thing that is not as it was sealed."""

    file: str
    sequence: int
    found: str
    expected: str


@dataclass
class Verdict:
    """What was checked and what was found."""

    segments: int = 0
    records: int = 0
    bytes: int = 0
    open_segments: int = 0
    open_records: int = 0
    rings: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Nothing failed."""
        return not self.failures


def verify_archive(archive: Path) -> Verdict:
    """Check every ring of an archive. FileNotFoundError when there is none."""
    rings = sorted(
        {path.parent.parent for path in archive.glob("*/g*/*") if path.suffix in (".npy", ".json")}
    )
    if not rings:
        raise FileNotFoundError(archive)
    verdict = Verdict()
    for ring in rings:
        generations = sorted(ring.glob("g*"))
        for generation in generations:
            _generation(generation, verdict, newest=generation == generations[-1])
    _generations(archive, verdict)
    return verdict


def _generations(archive: Path, verdict: Verdict) -> None:
    """The supervisor speaks in its own ring at each start: of every generation that was counted something is there."""
    counted = archive / "generation"
    text = counted.read_text(errors="replace").strip() if counted.exists() else ""
    if not text.isdecimal() or not (archive / "node").is_dir():
        return  # no supervisor wrote it, or its ring is gone as a whole: only a checkpoint would tell
    for number in range(1, int(text) + 1):
        folder = archive / "node" / f"g{number:010d}"
        if not any(folder.glob("*.npy")):
            expected = f"the segments of generation {number} of {text}"
            verdict.failures.append(Failure(str(folder), 1, "nothing", expected))


def _generation(folder: Path, verdict: Verdict, *, newest: bool) -> None:
    """The segments of one generation of a ring, in order, and their chain."""
    previous: tuple[Path, dict[str, Any]] | None = None
    paths = sorted({one.with_suffix(".npy") for one in folder.glob("*.*") if one.stem.isdigit()})
    for path in paths:
        beside = path.with_suffix(".json")
        if not beside.exists():
            if not newest or path != paths[-1]:  # only what is being written may be open
                expected = "the manifest of a sealed segment"
                verdict.failures.append(Failure(str(path), int(path.stem), "no manifest", expected))
            verdict.open_segments += 1
            verdict.open_records += len(whole_slots(path))
            continue
        try:
            said = json.loads(beside.read_text())
            first = int(said["first_sequence"])
        except (ValueError, KeyError, TypeError) as error:
            verdict.failures.append(Failure(str(beside), int(path.stem), repr(error), "a manifest"))
            continue
        if said.get("self_sha256") != self_hash(said) or beside.read_text() != canonical(said):
            found = f"self_sha256 {self_hash(said)}"
            expected = f"self_sha256 {said.get('self_sha256')}"
            verdict.failures.append(Failure(str(beside), first, found, expected))
            continue
        if said.get("version") not in HEADERS:
            found, expected = f"version {said.get('version')}", f"one of {sorted(HEADERS)}"
            verdict.failures.append(Failure(str(beside), first, found, expected))
            continue
        place = (said.get("ring"), said.get("generation"))
        if place != (folder.parent.name, int(folder.name[1:])):
            found = f"ring {place[0]}, generation {place[1]}"
            expected = f"ring {folder.parent.name}, generation {int(folder.name[1:])}"
            verdict.failures.append(Failure(str(beside), first, found, expected))
        _chain(beside, said, previous, verdict)
        if not path.exists():
            verdict.failures.append(
                Failure(str(path), first, "no file", f"{said['count']} records")
            )
        else:
            _segment(path, said, verdict)
        previous = (beside, said)


def _chain(
    beside: Path,
    said: dict[str, Any],
    previous: tuple[Path, dict[str, Any]] | None,
    verdict: Verdict,
) -> None:
    """A manifest names the one before it, and goes on at its next sequence."""
    first = int(said["first_sequence"])
    expected = None if previous is None else file_sha256(previous[0])
    found = None if said.get("previous") is None else said["previous"].get("sha256")
    if found != expected:
        verdict.failures.append(
            Failure(str(beside), first, f"previous {found}", f"previous {expected}")
        )
    after = 1 if previous is None else int(previous[1]["last_sequence"]) + 1
    if first != after:
        verdict.failures.append(
            Failure(str(beside), first, f"begins at {first}", f"begins at {after}")
        )


def _segment(path: Path, said: dict[str, Any], verdict: Verdict) -> None:
    """One sealed file against its manifest."""
    first, count, stride = (int(said[key]) for key in ("first_sequence", "count", "stride"))
    size, wanted = path.stat().st_size, HEADER_BYTES + count * stride
    if size != wanted:
        verdict.failures.append(Failure(str(path), first, f"{size} bytes", f"{wanted} bytes"))
        return
    with path.open("rb") as file:
        if file.read(HEADER_BYTES) != npy_header(stride, count, HEADERS[said["version"]]):
            verdict.failures.append(
                Failure(str(path), first, "another header", "the sealed header")
            )
            return
    slots = np.load(path, mmap_mode="r")
    leaves = [leaf.hex() for leaf in block_hashes(slots)]
    sealed = said["merkle"]["leaves"]
    for block, (found, expected) in enumerate(zip(leaves, sealed, strict=False)):
        if found != expected:
            at = first + block * BLOCK_RECORDS
            where = (
                f"block {block} (sequences {at} to {min(at + BLOCK_RECORDS, first + count) - 1})"
            )
            verdict.failures.append(Failure(str(path), at, f"{where} {found}", expected))
    derived = merkle.root([bytes.fromhex(leaf) for leaf in leaves]).hex()
    for name, found, expected in (
        ("leaves", str(len(leaves)), str(len(sealed))),
        ("root", derived, said["merkle"]["root"]),
        ("sha256", file_sha256(path), said["sha256"]),
    ):
        if found != expected and not any(one.file == str(path) for one in verdict.failures):
            verdict.failures.append(
                Failure(str(path), first, f"{name} {found}", f"{name} {expected}")
            )
    if len(whole_slots(path)) != count:
        at = first + len(whole_slots(path))
        verdict.failures.append(Failure(str(path), at, "another sequence", f"sequence {at}"))
    verdict.segments += 1
    verdict.records += count
    verdict.bytes += size
    verdict.rings[said["ring"]] = verdict.rings.get(said["ring"], 0) + count
