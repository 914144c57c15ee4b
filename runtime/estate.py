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
from sovereign.runtime.errors import LayoutError, ResourceError, SovereignError
from sovereign.runtime.node_ring import AUDITOR_KIND, NODE_RING, node_ring
from sovereign.runtime.ring import Ring, create_ring, open_ring, ring_bytes, schema_of
from sovereign.runtime.shm import SHM_FOLDER, half_made, segment_name, segments_of, unlink
from sovereign.runtime.spec import NodeSpec, RingSpec

GENERATION_FILE = "generation"


def rings_of(spec: NodeSpec) -> list[RingSpec]:
    """Every ring of the node, its own among them."""
    return [node_ring(spec), *(a.output for a in spec.actors if a.output is not None)]


@dataclass(frozen=True)
class Shortage:
    """Shared memory that a start lacks: what the rings that it makes anew take, what is free, and the largest of them."""

    needed_bytes: int
    free_bytes: int
    rings: int
    largest: RingSpec

    hint = (
        "lower the ring.capacity of the largest, or enlarge it: mount -o remount,size=4G /dev/shm"
    )

    @property
    def needed_text(self) -> str:
        """For people."""
        largest = f"the largest is {self.largest.name}, {ring_bytes(self.largest):,}"
        return f"{self.needed_bytes:,} bytes for {self.rings} rings; {largest}"

    @property
    def free_text(self) -> str:
        """For people."""
        return f"{self.free_bytes:,} bytes free in {SHM_FOLDER}"


def shortage(spec: NodeSpec) -> Shortage | None:
    """What the rings that do not stand yet lack, all together; None when they fit."""
    present = set(segments_of(spec.name))
    missing = [ring for ring in rings_of(spec) if segment_name(spec.name, ring.name) not in present]
    host = os.statvfs(SHM_FOLDER)
    needed, free = sum(map(ring_bytes, missing)), host.f_bavail * host.f_frsize
    if needed <= free:
        return None
    return Shortage(needed, free, len(missing), max(missing, key=ring_bytes))


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
    """Count one more making of the rings. It stands beside the archive, which outlives a reboot as a run directory may not.

    SovereignError when the count is damaged: a generation used again would use the names of orders again.
    """
    path = spec.archive_dir / GENERATION_FILE
    text = path.read_text(errors="replace").strip() if path.exists() else "0"
    if not text.isdecimal():
        made = sorted(int(one.name[1:]) for one in spec.archive_dir.glob("*/g*"))
        raise SovereignError(
            "the count of the node's generations is damaged",
            where=str(path),
            got=repr(text[:40]),
            expected="a number",
            hint=f"write the highest generation that was used into it: {max(made, default=0)} in this archive",
        )
    generation = int(text) + 1
    write_durably(path, f"{generation}\n".encode())
    return generation


@dataclass(frozen=True)
class Estate:
    """What stands in shared memory for a node that may start."""

    generation: int
    went_on: bool
    made: tuple[str, ...]

    def take_back(self) -> None:
        """Remove what was made by this run, the node's page first (see `_finish_removal`)."""
        for name in reversed(self.made):
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
                exit_code=2,
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


def _finish_removal(spec: NodeSpec, present: set[str]) -> set[str]:
    """Rings without the node's own page, which is made last and removed first: a kill came while they were made, or
    while they were removed. Nothing is in them that is not archived; what is, is refused and not guessed about.
    """
    for name, slots in unread(spec):
        raise LayoutError(
            "the rings of an earlier run are not whole, and hold what no archive has",
            where=f"/dev/shm{name}",
            got="unreadable" if slots < 0 else f"{slots} slots",
            hint="`sovereign up --fresh FILE` keeps what they hold, then makes them anew",
        )
    for name in present:
        unlink(name)
    return set()


def settle(spec: NodeSpec) -> Estate:
    """Go on from what stands, make what is missing. LayoutError, ResourceError; what was made is then taken back.

    All or nothing: a ring that is missing among rings that stand is never made anew with their generation, since its
    readers' cursors, and the names of orders, are those of the old one.
    """
    present = set(segments_of(spec.name))
    made: list[str] = []
    wanted = {segment_name(spec.name, ring.name): ring for ring in rings_of(spec)}
    if present and segment_name(spec.name) not in present:
        present = _finish_removal(spec, present)
    missing = [ring.name for name, ring in wanted.items() if name not in present]
    if present and missing:
        raise LayoutError(
            f"rings of an earlier run stand, and of this topology {', '.join(missing)} is not among them",
            where=f"/dev/shm{segment_name(spec.name)}.*",
            hint="`sovereign up --fresh FILE` seals what they hold, then makes them anew",
            exit_code=2,
        )
    if short := shortage(spec):
        raise ResourceError(
            "the rings do not fit into shared memory",
            where=str(SHM_FOLDER),
            got=short.free_text,
            expected=short.needed_text,
            hint=short.hint,
        )
    try:
        found = [_fits(spec, ring) for name, ring in wanted.items() if name in present]
        generation = max(found) if found else next_generation(spec)
        for name, ring in wanted.items():
            if name not in present:
                create_ring(ring, spec.name, generation)
                made.append(name)
        _node_page(spec, present, made)
    except BaseException:
        for name in reversed(made):
            unlink(name)
        raise
    return Estate(generation, bool(found), tuple(made))


def leftovers(spec: NodeSpec) -> list[str]:
    """Names of the segments that an earlier run left."""
    return segments_of(spec.name)


def unread(spec: NodeSpec) -> list[tuple[str, int]]:
    """Rings with slots that their auditors have not taken: (segment, slots); -1 for a ring that cannot be read.

    Which readers archive is what the ring itself says: the topology at hand may be another one.
    """
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
        cursors = [ring.reader_cursor(i) for i, r in enumerate(ring.readers) if r.archives]
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
    if unread(spec) and any(actor.kind == AUDITOR_KIND for actor in spec.actors):
        with contextlib.suppress(SovereignError):
            seal()
    for name, slots in unread(spec):
        path = salvage(spec, name)
        log(f"{name}: {'unreadable' if slots < 0 else f'{slots} slots'} kept raw in {path}")
    for name in leftovers(spec):  # the node's page first: see `_finish_removal`
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
