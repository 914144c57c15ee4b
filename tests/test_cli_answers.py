"""Each verb answers: a text and its exit code for what the host refuses and for wrong use, one form of --json for all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_cli_node import Cli, cli
from test_cli_reasons import write
from test_policies import Node, node

from nodes import until
from sovereign.runtime.shm import SHM_FOLDER, segment_name

__all__ = ["cli", "node"]  # the fixtures

NOBODY = 65_534
ROOT = os.geteuid() == 0
# Root without the right to pass over permissions: then a folder of somebody else's is closed to it too.
BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if ROOT else []


def run(
    *words: str, folder: Path, bound: bool = False, run_dir: Path | None = None, stdout: Any = None
) -> subprocess.CompletedProcess[str]:
    """A verb in `folder`; `bound`: without a root's rights."""
    return subprocess.run(
        [*(BOUND if bound else []), sys.executable, "-P", "-m", "sovereign", *words],
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        cwd=folder,
        env={**os.environ, "SOVEREIGN_RUN_DIR": str(run_dir or folder / "run")},
        check=False,
    )


def closed(folder: Path, mode: int) -> Path:
    """A folder that is closed to `run(…, bound=True)` as far as `mode` says."""
    folder.mkdir()
    if ROOT:
        os.chown(folder, NOBODY, NOBODY)
    folder.chmod(mode)
    return folder


def clean(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Its stderr: the right code, and no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "mistake of sovereign" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done.stderr


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    folder = closed(tmp_path / "closed", 0o755 if ROOT else 0o555)
    yield folder
    folder.chmod(0o755)


def test_an_archive_that_cannot_be_written(cli: Cli, unwritable: Path) -> None:
    where = f'node.archive_dir="{unwritable}/archive"'
    done = run("up", str(cli.topology), "--set", where, folder=cli.folder, bound=True)
    said = clean(done, 5)
    assert "Permission denied" in said and f"{unwritable}/archive" in said
    assert not list(SHM_FOLDER.glob(f"sovereign*{cli.name}*"))


def test_a_run_directory_that_cannot_be_read(tmp_path: Path) -> None:
    base = closed(tmp_path / "base", 0o700 if ROOT else 0o000)
    done = run("ps", "--json", folder=tmp_path, bound=True, run_dir=base)
    base.chmod(0o755)
    assert "Permission denied" in clean(done, 5)
    assert json.loads(done.stdout)["error"]["exit_code"] == 5


def test_a_folder_that_cannot_be_written(unwritable: Path) -> None:
    done = run("new", "strategy", "momentum", folder=unwritable, bound=True, run_dir=unwritable)
    assert "Permission denied" in clean(done, 5)
    assert not list(unwritable.iterdir())


@pytest.mark.skipif(not ROOT, reason="making another user's segment needs root")
def test_another_users_segment_of_the_same_name(cli: Cli) -> None:
    segment = SHM_FOLDER / segment_name(cli.name, "feed")[1:]
    segment.write_bytes(b"theirs" * 1000)
    segment.chmod(0o600)
    os.chown(segment, NOBODY, NOBODY)
    try:
        said = clean(run("up", str(cli.topology), folder=cli.folder, bound=True), 5)
        assert str(segment) in said
        assert segment.exists()
    finally:
        segment.unlink(missing_ok=True)


@pytest.mark.parametrize("text", ["{}", "{", "[]", '{"ring": 5}', "\x00"])
def test_a_manifest_that_is_none(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "archive" / "taker" / "g0000000001"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(text)
    for words in (("ls",), ("show", "taker")):
        done = run("audit", words[0], str(tmp_path / "archive"), *words[1:], folder=tmp_path)
        said = clean(done, 5)
        assert "is no manifest" in said and "1.json" in said


def test_an_archive_is_shown_by_generation_and_a_cut_segment_is_told(node: Node) -> None:
    write(node, count=20)
    node.up("--until-idle")
    node.up("--until-idle", "--set", "actors.feed.count=30")
    archive = str(node.archive)
    newest = node("audit", "show", archive, "taker", "--count", "100").splitlines()
    oldest = node("audit", "show", archive, "taker", "--count", "100", "--generation", "1")
    assert (len(newest), len(oldest.splitlines())) == (31, 21)
    first = json.loads(newest[0])
    assert (first["sequence"], first["generation"]) == (1, 2)
    said = node("audit", "show", archive, "taker", "--from", "32", expect=2)
    assert "the last one of generation 2 is 31" in said and "--generation: 1, 2" in said
    assert "1, 2" in node("audit", "show", archive, "taker", "--generation", "3", expect=4)
    assert "feed" in node("audit", "show", archive, "takr", expect=4)
    for wrong in (("--count", "-1"), ("--from", "0"), ("--generation", "x")):
        assert "Invalid value" in node("audit", "show", archive, "taker", *wrong, expect=2)
    (segment,) = (node.archive / "taker" / "g0000000002").glob("*.npy")
    os.truncate(segment, 4200)
    assert "damaged" in node("audit", "show", archive, "taker", expect=5)


def test_numbers_are_bounded(cli: Cli) -> None:
    for seconds in ("-1", "nan", "inf", "soon"):
        assert "Invalid value" in cli("up", str(cli.topology), "--for", seconds, expect=2)
        assert "Invalid value" in cli("ready", "--timeout", seconds, expect=2)
    assert "Invalid value" in cli("chaos", "--kills", "-1", expect=2)


@pytest.mark.parametrize("words", [["limits"], ["--help"], ["--version"], ["ps", "--json"]])
def test_a_full_output_is_no_success(tmp_path: Path, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = run(*words, folder=tmp_path, stdout=full)
    clean(done, 3 if words[0] == "ps" else 5)


@pytest.mark.parametrize("words", [["limits"], ["limits", "--json"], ["schema"], ["--help"]])
def test_a_reader_that_has_enough_ends_a_verb_quietly(tmp_path: Path, words: list[str]) -> None:
    read, wrote = os.pipe()
    os.close(read)
    done = run(*words, folder=tmp_path, stdout=wrote)
    os.close(wrote)
    assert done.returncode == 141
    assert done.stderr == ""


def test_a_closed_stderr_does_not_end_a_node(cli: Cli) -> None:
    command = f"{sys.executable} -P -m sovereign up {cli.topology} --for 3 2>&1 >/dev/null | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "SOVEREIGN_RUN_DIR": str(cli.folder / "run")},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    assert "stopped" in cli("logs", "auditor", "--node", cli.name)


def test_every_verb_that_acts_answers_in_json(cli: Cli) -> None:
    assert _error(cli("ready", "--json", expect=3))["exit_code"] == 3
    cli("up", str(cli.topology), "--detach")
    assert json.loads(cli("ready", "--json"))["node"] == cli.name
    for verb, state in (("restart", "RUNNING"), ("stop", "STOPPED"), ("start", "RUNNING")):
        said = json.loads(cli(verb, "taker", "--json"))
        assert (said["actor"], said["state"]) == ("taker", state)
        assert said["took_ns"] > 0
    error = _error(cli("stop", "takr", "--json", expect=4))
    assert error["hint"] == "did you mean 'taker'?" and error["exit_code"] == 4
    told = cli("stop", "taker")
    assert told.startswith("taker: STOPPED, in ") and "None" not in told
    assert (
        _error(cli("resume", "--by", "x", "--json", expect=2))["what"] == "the node is not halted"
    )
    halted = json.loads(cli("halt", "--by", "x", "--reason", "y", "--json"))
    assert halted["epoch"] == 1 and halted["missing"] == halted["not_persisted"] == []
    assert json.loads(cli("resume", "--by", "x", "--json"))["epoch"] == 2
    assert _error(cli("ps", "--json", "--nod", expect=2))["exit_code"] == 2
    near = cli("ps", "--node", cli.name[:-1] + "q", expect=3)
    assert f"did you mean {cli.name!r}?" in near
    assert "two nodes are named" in cli("down", cli.name, "--node", "other", expect=2)
    completed = _completed(cli, "sovereign restart ta", 2)
    assert completed == ["taker"]
    assert _completed(cli, "sovereign ps --node cli", 3) == [cli.name]
    assert _completed(cli, "sovereign down cli", 2) == [cli.name]
    down = json.loads(cli("down", "--node", cli.name, "--json"))
    assert down["node"] == cli.name and down["took_s"] >= 0
    assert _error(cli("down", "--json", expect=3))["what"] == "nothing runs"


def _error(said: str) -> dict[str, Any]:
    """The object on stdout, before what stands on stderr."""
    found, _ = json.JSONDecoder().raw_decode(said)
    return dict(found["error"])


def _completed(cli: Cli, line: str, word: int) -> list[str]:
    """What bash would offer for the last word of a line."""
    environment = {
        **os.environ,
        "SOVEREIGN_RUN_DIR": str(cli.folder / "run"),
        "_SOVEREIGN_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(word),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sovereign"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return [one.partition(",")[2] for one in done.stdout.split()]


def test_up_says_that_it_is_up_only_when_it_is(cli: Cli) -> None:
    cli("up", str(cli.topology), "--detach")
    for words in ((), ("--detach",)):
        said = cli("up", str(cli.topology), *words, expect=2)
        assert "already up" in said and "5 actors" not in said
    cli("down")


def test_the_last_table_shows_who_was_given_up(node: Node) -> None:
    write(node, "raise ValueError('told to')", compiled=False)
    rows = node.up("--until-idle", expect=5).splitlines()
    (row,) = [line.split() for line in rows if line.startswith("taker ") and "died" not in line]
    assert row[1] == "FATAL"


def test_help_names_exit_codes(tmp_path: Path) -> None:
    for words in (("audit", "show"), ("audit", "ls"), ("new", "strategy"), ("up",), ("down",)):
        assert "Exit codes: 0" in run(*words, "--help", folder=tmp_path).stdout, words


def test_a_demo_leaves_nothing_and_can_be_kept_twice(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "SOVEREIGN_RUN_DIR": str(tmp_path / "r")}
    for words in ((), ("--keep", "kept"), ("--keep", "kept")):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sovereign", "demo", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(temporary.iterdir()) == []
    generations = {one.name for one in (tmp_path / "kept" / "archive").glob("*/g*")}
    assert len(generations) == 2


def test_a_new_strategy_uses_the_python_that_made_it(tmp_path: Path) -> None:
    assert run("new", "strategy", "momentum", folder=tmp_path).returncode == 0
    done = subprocess.run(
        ["make", "-C", "momentum", "test"],  # as a shell without the environment's folder in PATH
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "SOVEREIGN_RUN_DIR": str(tmp_path / "run"), **_caches()},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    for name in ("numpy", "json", "sovereign", "__main__"):
        done = run("new", "strategy", name, folder=tmp_path)
        assert "installed module" in clean(done, 2)
        assert not (tmp_path / name).exists()


def _caches() -> dict[str, str]:
    return {
        k: v for k, v in os.environ.items() if k in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
    }


def test_the_rest_of_a_start_that_failed_is_taken_back(cli: Cli) -> None:
    """The control socket cannot be made after the rings were: they are taken back."""
    blocked = cli.folder / "run" / cli.name / "control.sock"
    blocked.mkdir(parents=True)
    done = run("up", str(cli.topology), folder=cli.folder)
    clean(done, 5)
    assert not list(SHM_FOLDER.glob(f"sovereign*{cli.name}*"))
    shutil.rmtree(blocked)
    cli("up", str(cli.topology), "--detach")
    until(lambda: cli.ps()["node"] == cli.name)
    cli("down")
