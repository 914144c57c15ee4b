"""The archive: plain NumPy reads it, a flipped bit is found and located, kill -9 and a full disk lose nothing."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes import SmallNode, until
from sovereign.actors.auditor import merkle
from sovereign.actors.auditor.actor import Auditor, AuditorConfig
from sovereign.actors.auditor.recorder import Recorder
from sovereign.actors.auditor.verify import verify_archive
from sovereign.runtime import layout
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.ring import create_ring, open_ring, remove_ring
from sovereign.runtime.shm import segments_of, unlink
from sovereign.runtime.spec import ReaderSpec, RingSpec
from sovereign.runtime.writer import Writer

AUDITOR = "sovereign.actors.auditor.actor:Auditor"
VECTORS = Path(__file__).parents[2] / "shared/data/merkle/transparency-dev-merkle/testdata"


class Item(Message):
    """What is archived."""

    value: np.int64


@pytest.fixture
def node() -> Iterator[str]:
    name = f"arch{os.getpid()}"
    create_ring(RingSpec("r", 1024, 64, (Item,), (ReaderSpec("a"),), 0), name)
    yield name
    for segment in segments_of(name):
        unlink(segment)


def _archive(node: str, folder: Path, count: int, records: int = 256) -> bytes:
    """Write `count` items and archive them; the bytes that stood in the ring."""
    writer, reader = Writer(node, "r", (Item,)), Reader(node, "r", "a")
    recorder = Recorder(folder, node, reader.ring, records)
    stood = b""
    for start in range(0, count, 500):
        for value in range(start, min(count, start + 500)):
            writer.put(Item, {"value": value}, origin_ns=value)
        writer.publish()
        ready = reader.available()
        stood += b"".join(block.tobytes() for block in reader.slots(ready))
        recorder.write(reader.cursor + 1, reader.slots(ready))
        reader.commit(ready)
    recorder.finish()
    return stood


def test_plain_numpy_reads_the_very_bytes(node: str, tmp_path: Path) -> None:
    stood = _archive(node, tmp_path, 1000)
    files = sorted(tmp_path.glob("r/g*/*.npy"))
    arrays = [np.load(file, mmap_mode="r") for file in files]
    assert [len(array) for array in arrays] == [256, 256, 256, 232]
    assert b"".join(array.tobytes() for array in arrays) == stood
    values = layout.payload(np.concatenate(arrays), Item.dtype)["value"]
    assert values.tolist() == list(range(1000))
    assert {file.stat().st_mode & 0o777 for file in files} == {0o440}
    verdict = verify_archive(tmp_path)
    assert verdict.sound, verdict.failures
    assert (verdict.segments, verdict.records) == (4, 1000)


def test_a_flipped_bit_anywhere_is_found_and_located(node: str, tmp_path: Path) -> None:
    _archive(node, tmp_path, 1000)
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    for file in sorted(tmp_path.glob("r/g*/*")):
        sound = file.read_bytes()
        file.chmod(0o640)
        for _ in range(6):
            at, bit = chance.randrange(len(sound)), 1 << chance.randrange(8)
            file.write_bytes(sound[:at] + bytes([sound[at] ^ bit]) + sound[at + 1 :])
            verdict = verify_archive(tmp_path)
            assert not verdict.sound, f"seed {seed}: {file} byte {at} bit {bit}"
            if file.suffix == ".npy" and at >= 4096:
                block = int(file.stem) + (at - 4096) // 64 // 256 * 256
                assert any(one.sequence == block for one in verdict.failures), f"seed {seed}"
        file.write_bytes(sound)
    assert verify_archive(tmp_path).sound


def test_a_missing_segment_is_found(node: str, tmp_path: Path) -> None:
    _archive(node, tmp_path, 1000)
    sorted(tmp_path.glob("r/g*/*.npy"))[1].unlink()
    assert "no file" in [one.found for one in verify_archive(tmp_path).failures]
    sorted(tmp_path.glob("r/g*/*.json"))[1].unlink()
    assert any("begins at 513" in one.found for one in verify_archive(tmp_path).failures)


def test_what_was_opened_again_moved_or_taken_away_is_found(node: str, tmp_path: Path) -> None:
    _archive(node, tmp_path, 1000)
    manifest = sorted(tmp_path.glob("r/g*/*.json"))[1]
    aside = manifest.rename(tmp_path / "aside.json")
    assert "no manifest" in [one.found for one in verify_archive(tmp_path).failures]
    aside.rename(manifest)
    assert verify_archive(tmp_path).sound
    generation = manifest.parent
    moved = generation.rename(generation.with_name("g0000000009"))
    found = {one.found for one in verify_archive(tmp_path).failures}
    assert found == {"ring r, generation 1"}
    moved.rename(generation)
    (tmp_path / "generation").write_text("2\n")
    (tmp_path / "node" / "g0000000002").mkdir(parents=True)
    expected = [one.expected for one in verify_archive(tmp_path).failures]
    assert expected == [f"the segments of generation {n} of 2" for n in (1, 2)]


def test_a_segment_that_its_writer_left_open_is_sealed_as_recovered(
    node: str, tmp_path: Path
) -> None:
    writer, reader = Writer(node, "r", (Item,)), Reader(node, "r", "a")
    for value in range(100):
        writer.put(Item, {"value": value}, origin_ns=value)
    writer.publish()
    Recorder(tmp_path, node, reader.ring, 256).write(1, reader.slots(100))
    open_file = next(tmp_path.glob("r/g*/*.npy"))
    assert len(np.load(open_file, mmap_mode="r")) == 256, "an open segment opens as well"
    remove_ring(node, "r")
    create_ring(RingSpec("r", 1024, 64, (Item,), (ReaderSpec("a"),), 0), node, generation=2)
    Recorder(tmp_path, node, open_ring(node, "r"), 256)
    said = json.loads(open_file.with_suffix(".json").read_text())
    assert (said["recovered"], said["count"]) == (True, 100)
    assert verify_archive(tmp_path).sound


def test_kill_9_of_the_auditor_loses_nothing(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    config = AuditorConfig(dir=str(tmp_path), segment_records=1024)
    with SmallNode((Item,), ("audit", AUDITOR, config)) as node:
        writer = Writer(node.name, "source", (Item,))
        node.start(1)
        sent = 0
        for _ in range(8):
            burst = min(writer.free, chance.randrange(1, 900))
            for _ in range(burst):
                sent += 1
                writer.put(Item, {"value": sent}, origin_ns=1)
            writer.publish()
            time.sleep(chance.random() * 0.003)
            node.kill(1)
            node.start(1)
        assert node.kill(1, signal.SIGTERM) == 0
        arrays = [np.load(file) for file in sorted(tmp_path.glob("source/g*/*.npy"))]
        values = layout.payload(np.concatenate(arrays), Item.dtype)["value"]
        assert values.tolist() == list(range(1, sent + 1)), f"seed {seed}"
        assert verify_archive(tmp_path).sound


def _publish(node: str, count: int) -> Reader:
    """A reader before which `count` items stand."""
    writer, reader = Writer(node, "r", (Item,)), Reader(node, "r", "a")
    for value in range(count):
        writer.put(Item, {"value": value}, origin_ns=value)
    writer.publish()
    return reader


def test_what_a_killed_auditor_left_open_is_sealed_at_the_next_stop(
    node: str, tmp_path: Path
) -> None:
    """Its successor got no slot of this ring any more."""
    reader = _publish(node, 100)
    Recorder(tmp_path, node, reader.ring, 256).write(1, reader.slots(100))
    Recorder(tmp_path, node, reader.ring, 256).finish()
    verdict = verify_archive(tmp_path)
    assert verdict.sound and (verdict.records, verdict.open_segments) == (100, 0)


def test_a_segment_in_which_nothing_stands_is_not_kept(node: str, tmp_path: Path) -> None:
    reader = _publish(node, 300)
    first = Recorder(tmp_path, node, reader.ring, 256)
    first.write(1, reader.slots(256))
    first._segment_for(257)  # opened, and killed before the write
    Recorder(tmp_path, node, reader.ring, 256).finish()
    assert [one.name for one in tmp_path.glob("r/g*/*.npy")] == [f"{1:020d}.npy"]
    assert verify_archive(tmp_path).sound


@pytest.mark.parametrize("size", [0, 4096 + 256 * 64])
def test_a_segment_without_a_header_is_nothing(node: str, tmp_path: Path, size: int) -> None:
    """Its writer was killed between making the file and writing the header; then the rings were made anew."""
    reader = _publish(node, 1)
    left = tmp_path / "r" / "g0000000000" / f"{1:020d}.npy"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(size))
    assert verify_archive(tmp_path).sound
    Recorder(tmp_path, node, reader.ring, 256)
    assert not left.exists()


def test_a_segment_sealed_short_at_a_stop_is_gone_on_with(node: str, tmp_path: Path) -> None:
    reader = _publish(node, 150)
    slots = reader.slots(150)[0]
    first = Recorder(tmp_path, node, reader.ring, 256)
    first.write(1, (slots[:100],))
    first.finish()
    second = Recorder(tmp_path, node, reader.ring, 256)
    second.write(101, (slots[100:],))
    verdict = verify_archive(tmp_path)
    assert verdict.sound, f"while it is written on: {verdict.failures}"
    assert (verdict.open_segments, verdict.open_records) == (1, 150)
    second.finish()
    verdict = verify_archive(tmp_path)
    assert verdict.sound and verdict.records == 150


def _write_again_as_nobody(node: str, folder: Path, reader: Reader) -> None:
    """Seal a segment, then write it again as after a kill between seal and commit; no user is above the file's mode."""
    if os.geteuid() == 0:
        os.setuid(65_534)
    for _ in range(2):
        Recorder(folder, node, reader.ring, 256).write(1, reader.slots(256))


def test_a_kill_between_seal_and_commit_is_survived_by_any_user(node: str) -> None:
    reader = _publish(node, 256)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        if (pid := os.fork()) == 0:
            try:
                _write_again_as_nobody(node, folder, reader)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        verdict = verify_archive(folder)
        assert verdict.sound and verdict.records == 256


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_ends_the_auditor_with_the_reason_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(disk)], check=True)
    try:
        config = AuditorConfig(dir=str(disk / "archive"), segment_records=1024)
        with SmallNode((Item,), ("audit", AUDITOR, config)) as node:
            writer = Writer(node.name, "source", (Item,))
            node.start(1)
            sent = 0
            while node.control.counters(1)["phase"] == 1 and sent < 4000:
                for _ in range(min(256, writer.free)):
                    sent += 1
                    writer.put(Item, {"value": sent}, origin_ns=1)
                writer.publish()
                time.sleep(0.005)
            assert node.reap(1) == 1
            assert "No space left on device" in node.log("audit")
            written = np.concatenate(
                [np.load(file) for file in sorted(disk.glob("archive/source/g*/*.npy"))]
            )
            kept = int((written["sequence"] > 0).sum())
            assert kept == writer.ring.lowest_gate() >= 2048
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
            node.start(1)
            until(lambda: writer.ring.lowest_gate() == sent)
            assert node.kill(1, signal.SIGTERM) == 0
            assert verify_archive(disk / "archive").records == sent
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("config", [{"segment_records": 16}, {"segment_records": 1000}])
def test_configuration_is_checked(config: dict[str, Any]) -> None:
    assert Auditor.check(AuditorConfig(**config))


def _vector(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@pytest.mark.skipif(not VECTORS.exists(), reason="the published Merkle vectors are not here")
def test_published_inclusion_vectors() -> None:
    files = sorted(VECTORS.glob("inclusion/**/*.json"))
    assert files
    for file in files:
        one = _vector(file)
        proof = [_bytes(step) for step in one["proof"] or []]
        found = merkle.verify_inclusion(
            _bytes(one["leafHash"]), one["leafIdx"], one["treeSize"], proof, _bytes(one["root"])
        )
        assert found != one["wantErr"], file


@pytest.mark.skipif(not VECTORS.exists(), reason="the published Merkle vectors are not here")
def test_published_consistency_vectors() -> None:
    files = sorted(VECTORS.glob("consistency/**/*.json"))
    assert files
    for file in files:
        one = _vector(file)
        proof = [_bytes(step) for step in one["proof"] or []]
        roots = _bytes(one["root1"]), _bytes(one["root2"])
        found = merkle.verify_consistency(one["size1"], one["size2"], proof, *roots)
        assert found != one["wantErr"], file
