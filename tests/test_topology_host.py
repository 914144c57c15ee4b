"""What only the host knows: shared memory that is free, a working directory that is gone; and what only a compiler knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sovereign.runtime import estate, limits
from sovereign.runtime.errors import ResourceError
from sovereign.runtime.shm import SHM_FOLDER, segments_of
from sovereign.topology import Mistake, examine, load
from sovereign.topology.cpus import Machine
from sovereign.topology.mistake import render

HOST = Machine(4, frozenset(range(4)))
HEAD = 'node.name = "{name}"\nnode.audit = false\n'
FEED = '[actors.feed]\nkind = "topology_kinds:Feed"\n'
EVENT_FEED = '[actors.feed]\nkind = "topology_kinds:EventFeed"\n'
STRATEGY = '[actors.taker]\nkind = "strategy"\nplugin = "strategies_for_tests:{plugin}"\ninputs = ["feed"]\n'
PLUGINS = str(Path(__file__).parent / "plugins")


def write(folder: Path, text: str, name: str = "hosted") -> Path:
    """The topology as a file."""
    file = folder / "t.toml"
    file.write_text(HEAD.format(name=name) + text)
    return file


def cli(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A verb in a process of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "sovereign.cli.main", *words],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": PLUGINS},
        check=False,
    )


def free_bytes() -> int:
    """Of shared memory, as the kernel says."""
    host = os.statvfs(SHM_FOLDER)
    return host.f_bavail * host.f_frsize


def largest_feeds(count: int) -> str:
    """So many actors with the largest ring that there is."""
    ring = f"ring = {{ capacity = {limits.RING_MAX_SLOTS} }}\n"
    return "".join(FEED.replace("feed", f"feed{i}") + ring for i in range(count))


def test_rings_that_do_not_fit_together_are_a_mistake_and_make_nothing(tmp_path: Path) -> None:
    each = limits.RING_MAX_SLOTS * limits.SLOT_ALIGN_BYTES
    count = free_bytes() // each + 1
    if count > limits.NODE_MAX_ACTORS:
        pytest.skip(f"{free_bytes():,} bytes of free shared memory hold any node")
    file = write(tmp_path, largest_feeds(count), name := f"short{os.getpid()}")
    found = examine(file, (), HOST)
    assert [one.code for one in found.mistakes] == ["memory"], list(map(render, found.mistakes))
    mistake = found.mistakes[0]
    assert mistake.key == "actors.feed0.ring.capacity"
    assert mistake.place is not None
    assert mistake.place.text == f"ring = {{ capacity = {limits.RING_MAX_SLOTS} }}"
    assert "bytes free in /dev/shm" in mistake.got
    assert f"bytes for {count + 1} rings; the largest is feed0" in mistake.expected
    assert found.spec is None
    # Where another node takes the memory between the check and the start, the start says the same.
    spec = load(write(tmp_path, FEED.replace("feed", "feed0"), name), (), HOST)
    with pytest.raises(ResourceError, match="do not fit into shared memory") as raised:
        estate.settle(_with_rings(spec, count))
    assert "for 2 rings; the largest is feed0" in raised.value.expected
    assert segments_of(name) == []


def _with_rings(spec: estate.NodeSpec, count: int) -> estate.NodeSpec:
    """The node with a ring as large as `count` of the largest."""
    from dataclasses import replace

    actor = spec.actors[0]
    assert actor.output is not None
    ring = replace(actor.output, capacity=count * limits.RING_MAX_SLOTS)
    return replace(spec, actors=(replace(actor, output=ring),))


def test_rings_that_stand_already_need_no_room(tmp_path: Path) -> None:
    spec = load(write(tmp_path, FEED, f"stands{os.getpid()}"), (), HOST)
    made = estate.settle(spec)
    try:
        assert estate.shortage(_with_rings(spec, 1 << 20)) is None
    finally:
        made.take_back()
    assert estate.shortage(_with_rings(spec, 1 << 20)) is not None


def test_check_works_from_a_directory_that_is_gone(tmp_path: Path) -> None:
    file = write(tmp_path, EVENT_FEED + STRATEGY.format(plugin="EveryThird"))
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && {sys.executable} -P -m sovereign.cli.main check {file}"
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": PLUGINS},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sound" in done.stdout


def compile_mistakes(folder: Path, plugin: str, more: str = "") -> tuple[Mistake, ...]:
    """What `--compile` finds."""
    file = write(folder, EVENT_FEED + STRATEGY.format(plugin=plugin) + more)
    assert examine(file, (), HOST).mistakes == (), "sound but for the compiler"
    return examine(file, (), HOST, compile_too=True).mistakes


def test_a_handler_that_does_not_compile_is_found_when_asked_for(tmp_path: Path) -> None:
    (one,) = compile_mistakes(tmp_path, "DoesNotCompile")
    assert (one.code, one.key) == ("compile", "actors.taker.plugin")
    first, *excerpt = one.what.splitlines()
    assert first.endswith("does not compile: on_event")
    assert [line for line in excerpt if "open(__file__)" in line], "the author's line, as it stands"
    assert "strategies_for_tests.py" in one.got
    assert compile_mistakes(tmp_path, "DoesNotCompile", "compiled = false\n") == ()
    assert compile_mistakes(tmp_path, "EveryThird") == ()


def test_check_says_whether_it_compiled(tmp_path: Path) -> None:
    file = write(tmp_path, EVENT_FEED + STRATEGY.format(plugin="EveryThird"))
    assert "all compiles" not in cli("check", str(file)).stdout
    assert "; all compiles" in cli("check", str(file), "--compile").stdout
    wrong = write(tmp_path, EVENT_FEED + STRATEGY.format(plugin="DoesNotCompile"))
    done = cli("check", str(wrong), "--compile", "--json")
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stdout)["mistakes"][0]["code"] == "compile"
