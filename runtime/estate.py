"""What a node owns in shared memory: made whole, gone on from, sealed, removed.

Guarantees: what is made here is made whole or taken back; what a dead node left is used only when every layout is the
one that this node wants; nothing that an auditor has not sealed is ever unlinked (a ring that this version cannot
read is copied raw into the archive's `salvage` folder first).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sovereign.runtime.control import Control, create_node
from sovereign.runtime.errors import LayoutError, SovereignError
from sovereign.runtime.node_ring import NODE_RING, node_ring
from sovereign.runtime.ring import Ring, create_ring, open_ring, schema_of
from sovereign.runtime.shm import SHM_FOLDER, half_made, segment_name, segments_of, unlink
from sovereign.runtime.spec import NodeSpec, RingSpec

GENERATION_FILE = "generation"
AUDITOR_KIND = "auditor"


def rings_of(spec: NodeSpec) -> list[RingSpec]:
    """Every ring of the node, its own among them."""
    return [node_ring(spec), *(a.output for a in spec.actors if a.output is not None)]


def ring_bytes(ring: RingSpec) -> int:
    """Shared memory that the slots of a ring take."""
    return ring.capacity * ring.stride


def write_durably(path: Path, data: bytes) -> None:
    """Replace a small file so that a power failure leaves the old one or the new one. Mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def next_generation(spec: NodeSpec) -> int:
    """Count one more making of the rings. It stands beside the archive, which outlives a reboot as a run directory may not."""
    path = spec.archive_dir / GENERATION_FILE
    text = path.read_text().strip() if path.exists() else "0"
    generation = (int(text) if text.isdigit() else 0) + 1
    write_durably(path, f"{generation}\n".encode())
    return generation


@dataclass(frozen=True)
class Estate:
    """What stands in shared memory for a node that may start."""

    generation: int
    went_on: bool
    made: tuple[str, ...]

    def take_back(self) -> None:
        """Remove what was made by this run."""
        for name in self.made:
            unlink(name)


def _differs(ring: Ring, wanted: RingSpec) -> list[str]:
    pairs = (
        ("capacity", ring.capacity, wanted.capacity),
        ("slot bytes", ring.stride, wanted.stride),
        ("message layouts", f"{ring.schema:016x}", f"{schema_of(wanted.types):016x}"),
        ("readers", [r.name for r in ring.readers], [r.name for r in wanted.readers]),
        ("gates", [r.gate for r in ring.readers], [r.gate for r in wanted.readers]),
        ("actor number", ring.actor_index, wanted.actor_index),
    )
    return [f"{what} {got}, wanted {want}" for what, got, want in pairs if got != want]


def _fits(spec: NodeSpec, wanted: RingSpec) -> int:
    """The generation of a ring that stands already. LayoutError when it is another ring than the one wanted."""
    ring = open_ring(spec.name, wanted.name)
    try:
        different = _differs(ring, wanted)
        if different:
            raise LayoutError(
                f"ring {wanted.name} of an earlier run has another layout",
                where=f"/dev/shm{segment_name(spec.name, wanted.name)}",
                got="; ".join(different),
                expected="the layout of this topology",
                hint="`sovereign up --fresh FILE` seals what it holds, then makes it anew",
            )
        return ring.generation
    finally:
        ring.segment.close()


def _node_page(spec: NodeSpec, present: set[str], made: list[str]) -> None:
    """The node's own segment holds only counters: one that does not fit is made anew."""
    name = segment_name(spec.name)
    if name in present:
        try:
            control = Control(spec.name)
            fits = control.actors == len(spec.actors)
            control.close()
        except SovereignError:
            fits = False
        if fits:
            return
        unlink(name)
    create_node(spec.name, len(spec.actors))
    made.append(name)


def settle(spec: NodeSpec) -> Estate:
    """Go on from what stands, make what is missing. LayoutError, ResourceError; what was made is then taken back."""
    present = set(segments_of(spec.name))
    made: list[str] = []
    try:
        wanted = {segment_name(spec.name, ring.name): ring for ring in rings_of(spec)}
        for name in [name for name in wanted if name in present and half_made(name)]:
            unlink(name)
            present.discard(name)
        found = [_fits(spec, ring) for name, ring in wanted.items() if name in present]
        generation = max(found) if found else next_generation(spec)
        if not found:
            for name in present:  # states and counters without a ring say nothing about anything
                unlink(name)
            present = set()
        for name, ring in wanted.items():
            if name not in present:
                create_ring(ring, spec.name, generation)
                made.append(name)
        _node_page(spec, present, made)
    except BaseException:
        for name in made:
            unlink(name)
        raise
    return Estate(generation, bool(found), tuple(made))


def leftovers(spec: NodeSpec) -> list[str]:
    """Names of the segments that an earlier run left."""
    return segments_of(spec.name)


def unread(spec: NodeSpec, auditors: set[str]) -> list[tuple[str, int]]:
    """Rings with slots that an auditor has not taken: (segment, slots); -1 for a ring that cannot be read."""
    found = []
    for name in segments_of(spec.name):
        ring_name = name.removeprefix(segment_name(spec.name)).removeprefix(".")
        if not ring_name or ring_name.endswith(".state") or half_made(name):
            continue
        try:
            ring = open_ring(spec.name, ring_name)
        except SovereignError:
            found.append((name, -1))
            continue
        cursors = [ring.reader_cursor(i) for i, r in enumerate(ring.readers) if r.name in auditors]
        behind = ring.cursor - min(cursors, default=ring.cursor)
        if behind:
            found.append((name, behind))
        ring.segment.close()
    return found


def salvage(spec: NodeSpec, name: str) -> Path:
    """Copy a segment's bytes, as they stand, into the archive; the copy's path."""
    folder = spec.archive_dir / "salvage"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / f"{name[1:]}.{time.time_ns()}.shm"
    with open(SHM_FOLDER / name[1:], "rb") as source, open(target, "xb") as copy:
        shutil.copyfileobj(source, copy)
        copy.flush()
        os.fsync(copy.fileno())
    return target


def clear(spec: NodeSpec, seal: Callable[[], None], log: Callable[[str], None]) -> None:
    """Seal what an earlier run left, then remove it. `seal` runs the auditors over it until they have all."""
    if not leftovers(spec):
        return
    auditors = {actor.name for actor in spec.actors if actor.kind == AUDITOR_KIND}
    if auditors and unread(spec, auditors):
        with contextlib.suppress(SovereignError):
            seal()
    for name, slots in unread(spec, auditors):
        path = salvage(spec, name)
        log(f"{name}: {'unreadable' if slots < 0 else f'{slots} slots'} kept raw in {path}")
    for name in leftovers(spec):
        unlink(name)


def is_settled(spec: NodeSpec) -> bool:
    """Whether every gate of every ring has taken everything: then nothing is lost by removing the rings."""
    for wanted in rings_of(spec):
        ring = open_ring(spec.name, wanted.name)
        behind = ring.cursor - ring.lowest_gate()
        ring.segment.close()
        if behind:
            return False
    return True


__all__ = [
    "NODE_RING",
    "Estate",
    "clear",
    "is_settled",
    "leftovers",
    "rings_of",
    "salvage",
    "settle",
]
