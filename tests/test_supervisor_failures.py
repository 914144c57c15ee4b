"""What may happen to the supervisor, its helpers and its estate; each with the real parts, and what must hold after it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_policies import Node, _late_sink, _source, node

from nodes import until
from sovereign.runtime import control, estate, halting
from sovereign.runtime.errors import LayoutError, LeaseError, SovereignError
from sovereign.runtime.node_ring import Halt, Resume
from sovereign.runtime.ring import detach_reader
from sovereign.runtime.rundir import NodeLock
from sovereign.runtime.shm import segment_name, segments_of, unlink
from sovereign.runtime.spec import NodeSpec
from sovereign.runtime.writer import Writer
from sovereign.topology import load

__all__ = ["node"]  # the fixture


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def _supervisor(node: Node) -> int:
    return int((node.folder / "run" / node.name / "node.lock").read_text())


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_dead_forkserver_takes_nobody_along(node: Node) -> None:
    node.write(_source(50, "pause_s = 0.01\nburst = 1") + _late_sink(node, ""), '"feed"')
    node.up("--detach")
    before = {row["actor"]: row["pid"] for row in node.ps()["actors"]}
    for pid in _children(_supervisor(node)):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"forkserver" in command:
            os.kill(pid, signal.SIGKILL)
    until(lambda: node.actor("feed")["counters"]["done"])
    assert {row["actor"]: row["pid"] for row in node.ps()["actors"]} == before
    assert all(row["state"] == "RUNNING" for row in node.ps()["actors"])
    os.kill(before["late"], signal.SIGKILL)  # and a new one forks the successor
    until(lambda: node.actor("late")["pid"] not in (None, before["late"]))
    until(lambda: node.actor("late")["state"] == "RUNNING")
    node("down", node.name)
    read = [int(line) for line in (node.folder / "read").read_text().split()]
    assert read == list(range(1, 51))
    assert not any(map(_lives, before.values()))


def test_two_supervisors_with_different_run_directories_cannot_have_one_node(
    node: Node, tmp_path: Path
) -> None:
    node.write(_source(10) + _late_sink(node, ""), '"feed"')
    node.up("--detach")
    other = {**node._environment, "SOVEREIGN_RUN_DIR": str(tmp_path / "other")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sovereign.cli.main", "up", str(node.file)],
        env=other,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "belong to another supervisor" in done.stderr
    assert f"process {_supervisor(node)} has them" in done.stderr


def test_the_lock_beside_the_rings_goes_with_its_holder(tmp_path: Path) -> None:
    name = f"lock{os.getpid()}"
    held = NodeLock(tmp_path / "a", name)
    with pytest.raises(LeaseError, match="another supervisor"):
        NodeLock(tmp_path / "b", name)
    held.release()
    assert not Path(f"/dev/shm/sovereign-lock.{name}").exists()
    NodeLock(tmp_path / "b", name).release()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_halts_the_node_and_the_supervisor_goes_on(
    node: Node, small_disk: Path
) -> None:
    """The halt cannot be persisted either: that is told, and is no reason to lose the node."""
    node.archive = small_disk
    text = _source(100_000, "pause_s = 0.001") + _late_sink(node, "")
    node.write(text, '"feed"', "restart = { backoff_ms = 1, max_failures = 1 }\n")
    node.up("--detach")
    until(lambda: node.ps()["halted"], 60)
    with contextlib.suppress(OSError), open(small_disk / "filler", "wb", 0) as filler:
        while True:  # not a byte is left for halt.json
            filler.write(bytes(4096))
    said = node("halt", "--reason", "again", "--by", "tester", expect=5)
    assert "a crash would forget it" in said
    assert "stays halted" in node("resume", "--by", "tester", expect=5)
    assert node.actor("auditor")["state"] == "FATAL"
    assert node.actor("feed")["state"] == "RUNNING"
    (small_disk / "filler").unlink(missing_ok=True)
    node("down", node.name)


def test_an_error_of_the_supervisor_halts_the_node_and_ends_its_actors(node: Node) -> None:
    node.write(_source(10) + _late_sink(node, ""), '"feed"')
    broken = (
        "import sys\n"
        "from sovereign.runtime import watch\n"
        "from sovereign.cli.main import main\n"
        "calls = []\n"
        "def full_feedback(self):\n"
        "    calls.append(1)\n"
        "    if len(calls) > 200: raise ZeroDivisionError('a mistake of ours')\n"
        "    return []\n"
        "watch.NodeView.full_feedback = full_feedback\n"
        f"sys.argv = ['sovereign', 'up', {str(node.file)!r}]\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", broken],
        env=node._environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until(lambda: (node.folder / "run" / node.name / "control.sock").exists(), 60)
    node("ready", "--timeout", "30")
    pids = [row["pid"] for row in node.ps()["actors"]]
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "a mistake of ours" in said
    assert not any(map(_lives, pids))
    page = control.Control(node.name)
    assert page.halted
    page.close()


def _spec(node: Node) -> NodeSpec:
    os.environ["SOVEREIGN_RUN_DIR"] = node._environment["SOVEREIGN_RUN_DIR"]
    try:
        sys.path.append(str(Path(__file__).parent / "plugins"))
        return load(node.file)
    finally:
        del os.environ["SOVEREIGN_RUN_DIR"]


def test_a_kill_in_the_middle_of_removing_the_rings_is_finished_and_nothing_is_mixed(
    node: Node,
) -> None:
    node.write(_source(10) + _late_sink(node, ""), '"feed"')
    spec = _spec(node)
    first = estate.settle(spec).generation
    names = segments_of(node.name)
    assert names[0] == segment_name(node.name), "the node's own page is removed first"
    for gone in range(1, len(names)):  # a kill after each step of the removal
        for name in names[:gone]:
            unlink(name)
        made = estate.settle(spec)
        assert not made.went_on
        assert made.generation == first + gone
        assert set(segments_of(node.name)) == set(names)


def test_rings_that_hold_what_no_archive_has_are_never_removed_by_a_plain_up(node: Node) -> None:
    node.write(_source(10) + _late_sink(node, ""), '"feed"')
    spec = _spec(node)
    estate.settle(spec)
    writer = Writer(node.name, "feed")
    writer.put(_number(), {"value": 1}, origin_ns=1)
    writer.publish()
    writer.close()
    unlink(segment_name(node.name))
    with pytest.raises(LayoutError, match="hold what no archive has"):
        estate.settle(spec)
    unlink(segment_name(node.name, "node"))
    control.create_node(node.name, len(spec.actors))
    with pytest.raises(LayoutError, match="node is not among them"):
        estate.settle(spec)


def test_fresh_asks_the_ring_who_archives_it(node: Node) -> None:
    """The auditor has another name in the new topology, and the old one's slots are kept all the same."""
    node.write(_source(10) + _late_sink(node, ""), '"feed"')
    estate.settle(_spec(node))
    writer = Writer(node.name, "feed")
    writer.put(_number(), {"value": 1}, origin_ns=1)
    writer.publish()
    writer.close()
    detach_reader(node.name, "feed", "late")
    text = node.file.read_text().replace("[actors.auditor]", "[actors.recorder]")
    node.file.write_text(text)
    told: list[str] = []
    estate.clear(_spec(node), lambda: None, told.append)
    assert any("1 slots kept raw in" in one for one in told)
    assert len(list((node.archive / "salvage").iterdir())) == 1
    assert segments_of(node.name) == []


def _number() -> Any:
    from policy_kinds import Number

    return Number


def test_a_damaged_generation_is_not_counted_from_one_again(node: Node) -> None:
    node.write(_source(10) + _late_sink(node, ""), '"feed"')
    spec = _spec(node)
    (node.archive / "feed" / "g0000000041").mkdir(parents=True)
    (node.archive / estate.GENERATION_FILE).write_text("")
    with pytest.raises(SovereignError, match="damaged") as raised:
        estate.settle(spec)
    assert "41" in raised.value.hint


def test_a_halt_that_a_crash_kept_from_the_disk_stands_all_the_same(node: Node) -> None:
    node.write(_source(10) + _late_sink(node, ""), '"feed"')
    spec = _spec(node)
    estate.settle(spec)
    page = control.Control(node.name, writable=True)
    assert page.halt() == 1
    halting.persist(spec, halting.HaltRecord(halted=False, epoch=0))
    record = halting.restored(spec)
    assert page.restore(record.epoch) == 1
    assert page.halted
    assert page.resume() == 2
    assert page.restore(halting.HaltRecord(halted=True, epoch=1).epoch) == 2, "an older file"
    page.close()


def test_doubt_does_not_trade(node: Node) -> None:
    node.write(_source(10) + _late_sink(node, ""), '"feed"')
    spec = _spec(node)
    spec.run_dir.mkdir(parents=True, exist_ok=True)
    assert not halting.persist(spec, halting.HaltRecord(halted=False, epoch=6))
    assert not halting.restored(spec).halted
    (spec.run_dir / halting.HALT_FILE).write_text("{")
    found = halting.restored(spec)
    assert (found.halted, found.epoch) == (True, 7)
    assert "cannot be read" in found.reason


def test_the_halt_of_a_fatal_actor_is_archived_to_the_end(node: Node) -> None:
    """What the supervisor says while it stops is archived too."""
    late = _late_sink(
        node, f'broken = "{node.folder}"\nrestart = {{ backoff_ms = 1, max_failures = 1 }}'
    )
    node.write(_source(10) + late, '"feed"')
    node.up("--until-idle", expect=5)
    assert b"late cannot be kept" in node.archived("node", Halt)["reason"][0].tobytes()


def test_a_halt_that_a_mistake_caused_is_lifted_when_the_mended_node_starts(node: Node) -> None:
    broken = node.folder / "broken"
    late = _late_sink(
        node, f'broken = "{broken}"\nrestart = {{ backoff_ms = 1, max_failures = 1 }}'
    )
    node.write(_source(10) + late, '"feed"')
    broken.touch()
    node.up("--until-idle", expect=5)
    broken.unlink()
    said = node.up("--until-idle", expect=5)
    assert "halted by supervisor at 20" in said and "late cannot be kept" in said
    assert "--resume-by WHO" in said and "was halted when it ended" in said
    node.up("--until-idle", "--resume-by", "tester")
    assert node.archived("node", Resume)["by"][0].tobytes().rstrip(b"\0") == b"tester"
    node.up("--until-idle")


def test_what_never_ran_ends_the_node_and_halts_nothing(node: Node) -> None:
    taker = '[actors.taker]\nkind = "strategy"\nplugin = "typo:Typo"\ninputs = ["feed"]\n'
    (node.folder / "typo.py").write_text(TYPO)
    node.write(_source(10) + taker, '"feed", "taker"')
    said = node.up("--until-idle", expect=5)
    assert "undefined_name" in said
    mended = TYPO.replace("undefined_name", "event.value")
    (node.folder / "typo.py").write_text(mended)
    node.up("--until-idle")


TYPO = """
from policy_kinds import Number, Said
from sovereign.actors.strategy import Strategy
from sovereign.runtime.message import Message


class Typo(Strategy):
    @staticmethod
    def on_number(event: Number, state: Message, params: Message, out: Said) -> int:
        out.value = undefined_name
        return 1
"""
