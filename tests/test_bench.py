"""The benches: every contender carries real messages here, in rounds too short to time anything.

What is asserted is the shape of what is printed, that nothing arrives wrong, and what becomes of a contender that is
missing or fails; no figure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sovereign.benchmarks.pair import Meet, shared_words, together
from sovereign.benchmarks.peer import ALL_FLOWS, Flow, module
from sovereign.benchmarks.peers.c_ring import CRing, CRing128
from sovereign.benchmarks.report import curve_points, latency_row, throughput_row
from sovereign.benchmarks.rounds import Contender, interleave
from sovereign.runtime.errors import ResourceError, SovereignError

pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="benches need two cores, and this host gives one"
)
COMMAND = (sys.executable, "-m", "sovereign.cli.main", "bench")
PEERS = {"lmax", "iceoryx2", "faster-fifo", "pyzmq"}
SHARES = {"sovereign", "c-ring", "c-ring-128", "lmax"}


def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env={**os.environ, **environment},
    )


def _left_out(errors: str) -> set[str]:
    return {line.split(" is left out")[0] for line in errors.splitlines() if "is left out" in line}


@pytest.fixture(scope="module")
def hop() -> tuple[dict[str, Any], str]:
    done = _run("hop", "--json", "--peers", "--rounds", "1", "--trips", "200")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def throughput() -> tuple[dict[str, Any], str]:
    done = _run("throughput", "--json", "--peers", "--rounds", "2", "--messages", "3200")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_hop_prints_each_peer_beside_ours_and_the_limit(hop: tuple[dict[str, Any], str]) -> None:
    found, errors = hop
    names = [row["name"] for row in found["rows"]]
    due = {"limit", "sovereign", "c-ring", "c-ring-128", "c-ring-prefetch", "mp-queue", "mp-pipe"}
    assert set(names) == due | (PEERS - _left_out(errors))
    assert names[:3] == ["limit", "sovereign", "c-ring"] and len(names) == len(set(names))
    for row in found["rows"]:
        assert 0 < row["p50"] <= row["p99"] <= row["p99_9"] <= row["p99_99"] <= row["max"], row
        assert row["p50_min"] <= row["p50"] <= row["p50_max"]
        assert row["ratio"]["p50"] > 0 and 1 <= row["trips"] <= 200
    assert found["rows"][0]["ratio"] == dict.fromkeys(found["rows"][0]["ratio"], 1.0)


def test_a_curve_rises_from_the_median_to_where_one_sample_lies_beyond(
    hop: tuple[dict[str, Any], str],
) -> None:
    for row in hop[0]["rows"]:
        points, times = zip(*row["curve"], strict=True)
        assert row["curve"][0] == [50.0, row["p50"]]
        assert list(points) == sorted(set(points)) and list(times) == sorted(times)
        assert points[-1] == 50 or (1 - points[-1] / 100) * row["trips"] >= 0.99


def test_throughput_prints_every_shape_singly_and_in_batches(
    throughput: tuple[dict[str, Any], str],
) -> None:
    found, errors = throughput
    rows = {row["name"]: row for row in found["rows"]}
    out = _left_out(errors)
    for name in SHARES - out:
        assert {f"{name} {flow.name}" for flow in ALL_FLOWS} <= set(rows)
    for name in ("iceoryx2", "faster-fifo", "pyzmq", "mp-queue", "mp-pipe"):
        assert (f"{name} 1to1" in rows) == (name not in out)
    assert {"sovereign 1to2 batch16", "sovereign pipeline3", "sovereign diamond batch16"} < set(
        rows
    )
    for row in rows.values():
        assert 0 < row["min"] <= row["per_s"] <= row["max"]
        assert row["ratio"]["per_s"] > 0 and row["messages"] >= 1


def test_missing_peers_are_named_with_what_to_install_and_left_out(tmp_path: Path) -> None:
    done = _run(
        *("hop", "--json", "--peers", "--rounds", "1", "--trips", "50"),
        SOVEREIGN_DISRUPTOR_JAR=str(tmp_path / "disruptor.jar"),
        PATH=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    names = {row["name"] for row in json.loads(done.stdout)["rows"]}
    assert {"limit", "sovereign", "mp-queue", "mp-pipe"} <= names
    assert not names & {"lmax", "c-ring", "c-ring-128"}
    assert {"lmax", "c-ring", "c-ring-128", "c-ring-prefetch"} <= _left_out(done.stderr)
    assert f"no java, javac, {tmp_path}/disruptor.jar" in done.stderr
    assert "apt-get install libdisruptor-java default-jdk-headless" in done.stderr
    assert "apt-get install gcc" in done.stderr


def test_a_missing_package_says_how_to_install_it() -> None:
    with pytest.raises(ResourceError, match="the peer nobody needs the package no-such") as caught:
        module("no_such_module_at_all", "the peer nobody", "no-such")
    assert "pip install no-such" in caught.value.hint


def test_without_peers_only_ours_and_the_limit_are_measured() -> None:
    done = _run("hop", "--json", "--rounds", "1", "--trips", "50", "--slots", "64")
    assert [row["name"] for row in json.loads(done.stdout)["rows"]] == ["limit", "sovereign"]
    assert done.stderr == ""


@pytest.mark.parametrize(("option", "value"), [("--slots", "1000"), ("--rounds", "0")])
def test_wrong_use_is_refused_before_anything_runs(option: str, value: str) -> None:
    done = _run("throughput", "--json", option, value)
    assert done.returncode == 2 and value in done.stderr and not done.stdout
    assert "Traceback" not in done.stderr


def test_the_rings_compared_have_the_slots_that_they_say() -> None:
    assert (CRing(64).slot_bytes, CRing128(64).slot_bytes) == (64, 128)


@pytest.mark.parametrize("flow", ALL_FLOWS, ids=lambda flow: flow.name)
def test_small_c_rings_that_are_often_full_carry_every_message(flow: Flow) -> None:
    for ring in (CRing(256), CRing128(256)):
        assert ring.flow_round(flow, 20_000) > 0


def _contender(name: str, measure: Callable[[], float], must: bool = False) -> Contender[float]:
    return Contender(name, lambda: None, measure, {}, must)


def _failing() -> float:
    raise SovereignError("it broke")


def test_rounds_are_interleaved_and_the_limit_stands_around_each() -> None:
    order: list[str] = []

    def measure(name: str) -> Callable[[], float]:
        return lambda: float(len(order)) if order.append(name) is None else 0.0  # type: ignore[func-returns-value]

    both = [_contender("a", measure("a")), _contender("b", measure("b"))]
    interleave(both, measure("limit"), 2, lambda *_: None)
    assert order == ["limit", *["limit", "a", "limit", "b", "limit"] * 2]
    assert both[1].around == [(4.0, 6.0), (9.0, 11.0)] and both[1].taken == [5.0, 10.0]


def test_a_peer_that_fails_is_told_and_left_out_but_ours_is_not() -> None:
    told: list[str] = []
    both = [_contender("good", lambda: 2.0), _contender("bad", _failing)]
    interleave(both, lambda: 1.0, 3, lambda name, error: told.append(f"{name}: {error.what}"))
    assert told == ["bad: it broke"] and [one.name for one in both] == ["good"]
    assert both[0].taken == [2.0] * 3
    with pytest.raises(SovereignError, match="it broke"):
        interleave([_contender("ours", _failing, True)], lambda: 1.0, 1, lambda *_: None)


def test_a_ratio_is_to_the_limits_beside_its_round() -> None:
    row = throughput_row("x", [10.0, 30.0, 20.0], [(10.0, 10.0), (50.0, 70.0), (20.0, 20.0)])
    assert (row["per_s"], row["min"], row["max"], row["ratio"]) == (20, 10, 30, {"per_s": 1.0})
    slow, fast = np.full(100, 300), np.full(100, 100)
    both = latency_row("y", [slow, fast], [(fast, fast * 2), (fast // 2, fast // 2)])
    assert both["ratio"]["p50"] == 2.0 and (both["p50_min"], both["p50_max"]) == (100, 300)


def test_percentiles_go_as_far_as_the_samples_do() -> None:
    assert curve_points(1) == [50.0] and curve_points(1000)[-1] == pytest.approx(99.9)
    assert curve_points(10**7)[-1] == pytest.approx(99.999)


def test_when_one_side_fails_the_other_is_killed_and_the_failure_told() -> None:
    pids = shared_words(1)

    def waits_for_ever(meet: Meet) -> None:
        pids[0] = os.getpid()
        meet()
        time.sleep(600)

    def fails(meet: Meet) -> None:
        meet()
        os._exit(3)

    with pytest.raises(SovereignError, match="a process failed") as caught:
        together(waits_for_ever, fails)
    assert caught.value.got == "exit 3"
    assert not Path(f"/proc/{int(pids[0])}").exists()
