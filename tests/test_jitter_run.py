"""`sovereign jitter` on this host's own cores: real runs, a core that is really taken, real quotas, a real node."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from llvmlite import binding, ir

from nodes import until
from sovereign.benchmarks import attribution, jitter
from sovereign.benchmarks.hdr_log import histogram_of, open_log, write_log
from sovereign.benchmarks.jitter_tax import NodeTimes, free_cores, node_times, tax_rows
from sovereign.benchmarks.node import running
from sovereign.runtime import cycles
from sovereign.runtime.core_settings import core_settings, online
from sovereign.runtime.errors import InputError, ResourceError

CPU = min(os.sched_getaffinity(0))
CORE_KEYS = {
    *("cpu", "started_ns", "wall_ns", "looks", "look_ns", "gaps", "gap_ns", "gap_ppm"),
    *("longest_ns", "by_time_ns", "delay_ns", "own_ns", "clock_off_ppm", "who", "interrupts"),
    *("softirqs", "switches", "waited_ns", "steal_ns", "guest_ns", "quota", "thermal_times"),
    *("migrations", "governor", "isolated", "nohz_full", "largest"),
}
POINTS = ["p50", "p99", "p99_9", "p99_99", "p99_999"]


def _verb(*words: str, expect: int = 0, **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sovereign.cli.main", "jitter", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def _check_core(core: dict[str, Any]) -> None:
    assert set(core) == CORE_KEYS
    assert list(core["by_time_ns"]) == list(core["delay_ns"]) == POINTS
    assert 0 <= core["gap_ns"] + core["own_ns"] <= core["wall_ns"]
    assert core["looks"] > core["gaps"] and core["looks"] > 10_000
    assert core["longest_ns"] <= core["gap_ns"]
    assert sorted(core["by_time_ns"].values()) == list(core["by_time_ns"].values())
    assert core["by_time_ns"]["p99_999"] <= core["longest_ns"] or not core["gaps"]
    for point in POINTS:  # who waits, waits for a part of a gap
        assert core["delay_ns"][point] <= core["longest_ns"]
    assert core["who"][-1]["who"] == "unattributed"
    assert sum(one["ns"] or 0 for one in core["who"]) == core["gap_ns"]
    assert core["who"][0]["times"] <= core["switches"]["nonvoluntary"]
    assert abs(core["clock_off_ppm"]) <= jitter.STEADY_PPM
    lengths = [gap["ns"] for gap in core["largest"]]
    assert lengths == sorted(lengths, reverse=True) and len(lengths) == min(core["gaps"], 32)
    assert not lengths or lengths[0] == core["longest_ns"]
    ended_ns = core["started_ns"] + core["wall_ns"]
    for gap in core["largest"]:
        assert set(gap) == {"at_ns", "ns", "cause"}
        assert gap["cause"] in ("unknown", "switched", "blocked", "faulted")
        assert core["started_ns"] - 1_000_000 <= gap["at_ns"] <= ended_ns + 1_000_000


@pytest.mark.parametrize("more", [(), ("--together",), ("--clock", "raw")])
def test_a_run_has_the_documented_shape_and_its_sums_hold(more: tuple[str, ...]) -> None:
    before_ns = time.time_ns()
    done = _verb("--seconds", "0.3", "--json", *more)
    found = json.loads(done.stdout)
    assert set(found) == {
        *("seconds", "threshold_ns", "together", "machine", "clock", "cpus", "node", "advice"),
    }
    assert found["seconds"] == 0.3 and found["threshold_ns"] == 500 and found["node"] is None
    assert found["together"] is ("--together" in more)
    assert set(found["clock"]) == {"source", "why", "ns_per_tick", "look_ns"}
    if "raw" in more:
        assert found["clock"]["source"] == "monotonic_raw"
        assert abs(found["clock"]["ns_per_tick"] - 1) < 1e-4
    assert [core["cpu"] for core in found["cpus"]] == sorted(os.sched_getaffinity(0))
    for core in found["cpus"]:
        _check_core(core)
        assert core["wall_ns"] >= 0.299e9
        assert before_ns < core["started_ns"] < time.time_ns()
    starts = [core["started_ns"] for core in found["cpus"]]
    if "--together" not in more:
        assert all(b - a > 0.29e9 for a, b in zip(starts, starts[1:], strict=False))
    assert "s by " in done.stderr


def test_the_help_documents_every_field_of_a_core() -> None:
    said = " ".join(_verb("--help").stdout.split())
    assert all(f'"{key}"' in said for key in (*CORE_KEYS, *POINTS, "cause", "tax_ns", "advice"))
    assert said.index("Example: sovereign jitter") < 250


def test_the_text_names_each_core_who_took_it_and_what_was_used() -> None:
    said = _verb("--seconds", "0.1", "--cpus", str(CPU), "--threshold-ns", "1000").stdout
    assert f"cpu {CPU}: who" in said and "unattributed" in said
    assert "gaps of 1,000 ns and longer" in said and "one core after another" in said
    assert "governor" in said and "steal" in said and "p99.999" in said


def _take(cpu: int, wait_s: float, hold_ms: int) -> int:
    """Fork a process that takes `cpu` for `hold_ms`, at real-time priority where we may; its pid."""
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    os.sched_setaffinity(0, {cpu})
    time.sleep(wait_s)
    until_ns = time.thread_time_ns() + hold_ms * 1_000_000
    while time.thread_time_ns() < until_ns:
        pass
    os._exit(0)


def test_a_core_that_another_takes_shows_as_a_gap_and_a_forced_switch() -> None:
    plan = jitter.plan([CPU], 0.6, 500)
    jitter.measure(jitter.plan([CPU], 0.01, 500), together=False)  # compiled
    may = os.geteuid() == 0
    # Without real-time priority the taker gets its turns only, as long as the scheduler's slice.
    hold_ms, least_ns = (40, 36_000_000) if may else (400, 500_000)
    began_ns = time.time_ns()
    pid = _take(CPU, 0.25, hold_ms)
    (run,) = jitter.measure(plan, together=False)
    os.waitpid(pid, 0)
    taken = [gap for gap in run.largest if gap.cause == "switched" and gap.ns >= least_ns]
    assert taken, run.largest
    assert run.longest_ns >= least_ns
    assert began_ns + 200_000_000 < taken[0].at_ns < began_ns + 3_000_000_000
    switched = next(one for one in attribution.takers(run) if one.who == "other tasks")
    assert (switched.ns or 0) >= least_ns and (switched.times or 0) >= 1
    assert run.activity.switches is not None and run.activity.switches.nonvoluntary >= 1
    if run.activity.waited_ns is not None:  # the scheduler's own figure agrees
        assert run.activity.waited_ns >= least_ns


def test_a_stopped_process_is_a_gap_of_that_length() -> None:
    plan = jitter.plan([CPU], 0.5, 500)
    found: list[Any] = []
    working = threading.Thread(target=lambda: found.extend(jitter.measure(plan, together=False)))
    working.start()
    pid = _child()
    time.sleep(0.15)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.1)
    os.kill(pid, signal.SIGCONT)
    working.join(60)
    assert found[0].longest_ns >= 90_000_000
    assert found[0].largest[0].cause in ("switched", "blocked")


def _child() -> int:
    """The process that measures, once it spins."""

    def look() -> int:
        for task in Path("/proc/self/task").iterdir():
            for pid in (task / "children").read_text().split():
                if len(Path(f"/proc/{pid}/stat").read_text().split()) > 13:
                    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]
                    if int(ticks) >= 1:
                        return int(pid)
        return 0

    return int(until(look))


def test_a_measuring_process_that_dies_is_an_error_not_a_figure() -> None:
    plan = jitter.plan([CPU], 30, 500)
    said: list[str] = []

    def work() -> None:
        try:
            jitter.measure(plan, together=True)
        except ResourceError as error:
            said.append(str(error))

    working = threading.Thread(target=work)
    working.start()
    os.kill(_child(), signal.SIGKILL)
    working.join(60)
    assert f"the process that measured cpu {CPU} died" in said[0] and "SIGKILL" in said[0]


def test_ctrl_c_ends_the_spinning_at_once() -> None:
    running_verb = subprocess.Popen(
        [sys.executable, "-P", "-m", "sovereign.cli.main", "jitter", "--seconds", "60"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running_verb.stderr is not None
    assert "s by" in running_verb.stderr.readline()
    children = Path(f"/proc/{running_verb.pid}/task/{running_verb.pid}/children")
    spinning = int(until(lambda: children.read_text().split() or 0)[0])
    os.killpg(running_verb.pid, signal.SIGINT)
    assert running_verb.wait(20) != 0
    running_verb.stderr.close()
    assert not Path(f"/proc/{spinning}").exists()


def test_the_log_is_read_back_by_hdrhistogram_with_the_same_maximum(tmp_path: Path) -> None:
    file = tmp_path / "host.hlog"
    cpus = sorted(os.sched_getaffinity(0))
    found = json.loads(_verb("--seconds", "0.3", "--json", "--hdr", str(file)).stdout)
    reference = HdrHistogram(1, 1 << 52, 3)
    reader = HistogramLogReader(str(file), reference)
    for cpu, core in zip(cpus, found["cpus"], strict=True):
        one = reader.get_next_interval_histogram()
        assert one.get_tag() == f"cpu{cpu}"
        assert one.get_total_count() == core["gaps"]
        assert abs(one.get_max_value() - core["longest_ns"]) <= 0.001 * core["longest_ns"] + 1
        assert one.get_min_value() >= 499
        assert abs(one.get_start_time_stamp() - core["started_ns"] / 1e6) < 1
        assert (
            abs(one.get_end_time_stamp() - one.get_start_time_stamp() - core["wall_ns"] / 1e6) < 1
        )
    assert reader.get_next_interval_histogram() is None
    reader.close()
    assert file.read_text().splitlines()[0].startswith("#[gaps of a spinning thread, ns, of 500 ns")


def test_the_log_holds_each_gap_once(tmp_path: Path) -> None:
    (run,) = jitter.measure(jitter.plan([CPU], 0.1, 500), together=False)
    write_log(open_log(tmp_path / "one.hlog"), [run], 500)
    back = HdrHistogram(1, 1 << 52, 3)
    reader = HistogramLogReader(str(tmp_path / "one.hlog"), back)
    assert reader.add_next_interval_histogram() is not None
    reader.close()
    ours = histogram_of(run)
    for percent in (1.0, 50.0, 90.0, 99.0, 100.0):
        assert back.get_value_at_percentile(percent) == ours.get_value_at_percentile(percent)
    assert back.get_total_count() == run.gaps


def test_a_counter_that_is_not_invariant_is_not_believed() -> None:
    trusted = cycles.steady_source("flags\t\t: fpu tsc constant_tsc nonstop_tsc\n", "x86_64")
    assert (trusted.number, trusted.name) == (cycles.COUNTER, "tsc")
    for flags in ("fpu tsc", "fpu tsc constant_tsc", ""):
        found = cycles.steady_source(f"flags\t\t: {flags}\n", "x86_64")
        assert found.number == cycles.RAW_CLOCK
        assert "not invariant" in found.why and "nonstop_tsc" in found.why
    assert cycles.steady_source("", "aarch64").name == "cntvct_el0"
    assert cycles.steady_source("", "riscv64").number == cycles.RAW_CLOCK


def test_a_counter_that_does_not_keep_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = jitter.plan([CPU], 0.05, 500)
    rate = honest.rate._replace(ns_per_tick=honest.rate.ns_per_tick * 1.01)
    plan = jitter.Plan(honest.cpus, honest.seconds, 500, honest.source, rate)
    with pytest.raises(ResourceError, match="did not keep time") as caught:
        jitter.measure(plan, together=False)
    assert "ppm off CLOCK_MONOTONIC_RAW" in caught.value.got
    assert "--clock raw" in caught.value.hint


@pytest.mark.parametrize(
    ("triple", "instruction"),
    [("aarch64-unknown-linux-gnu", "cntvct_el0"), ("x86_64-unknown-linux-gnu", "rdtsc")],
)
def test_each_machines_counter_is_read_by_its_own_instruction(
    triple: str, instruction: str
) -> None:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module = ir.Module("counter")
    module.triple = triple
    function = ir.Function(module, ir.FunctionType(ir.IntType(64), []), "read")
    builder = ir.IRBuilder(function.append_basic_block())
    _, generate = cycles.cycles._defn(None)  # type: ignore[attr-defined]
    builder.ret(generate(None, builder, None, ()))
    machine = binding.Target.from_triple(triple).create_target_machine()
    text = machine.emit_assembly(binding.parse_assembly(str(module)))
    assert instruction in text.lower()


@contextlib.contextmanager
def _group(controller: str, **settings: str) -> Iterator[Path]:
    """A control group of our own, which goes away. Skips where none can be made."""
    top = Path("/sys/fs/cgroup") / controller
    if os.geteuid() != 0 or not (top / "cgroup.procs").exists():
        pytest.skip(f"needs root and the v1 controller {controller}")
    made = top / f"sovereign-test-{os.getpid()}"
    made.mkdir()
    try:
        for name, value in settings.items():
            (made / f"{controller}.{name}").write_text(value)
        yield made
    finally:
        until(lambda: not (made / "cgroup.procs").read_text())
        made.rmdir()


def test_a_quota_that_holds_the_process_is_named() -> None:
    plan = jitter.plan([CPU], 0.6, 500)
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    homes = [line.split(":", 2) for line in lines]
    # A twentieth of the core: less than a busy host gives anyway, so that the quota is what holds.
    with _group("cpu", cfs_period_us="50000", cfs_quota_us="2500") as group:
        home = next(path for _, names, path in homes if "cpu" in names.split(","))
        (group / "cgroup.procs").write_text("0")
        try:
            (run,) = jitter.measure(plan, together=False)
        finally:
            (group.parent / home.lstrip("/") / "cgroup.procs").write_text("0")
    assert run.activity.held is not None and run.activity.held.times >= 2
    row = next(one for one in attribution.takers(run) if one.who == "cgroup quota")
    assert row.times == run.activity.held.times and (row.ns or 0) >= 20_000_000
    said = attribution.advice([run], {CPU: core_settings(CPU)})
    assert any("cpu.max" in line for line in said)


def test_a_core_outside_the_cpuset_is_refused() -> None:
    cpus = online()
    if len(cpus) < 2:
        pytest.skip("needs two cores")
    with _group("cpuset", mems="0", cpus=str(cpus[0])) as group:
        said = _verb(
            *("--cpus", str(cpus[1])),
            expect=5,
            preexec_fn=lambda: (group / "cgroup.procs").write_text("0"),
        ).stderr
    assert f"cpu {cpus[1]} is not for this process to use" in said
    assert f"expected: a cpu of {cpus[0]}" in said and "cpuset" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--cpus", "4000"), 2, ("this host has no cpu 4000", "where: --cpus", "expected: 0")),
        (("--cpus", "0-"), 2, ("that is no list of cores", "got: '0-'", "0,2-4")),
        (("--cpus", ""), 2, ("that is no list of cores",)),
        (("--seconds", "0"), 2, ("cannot spin for so long", "got: 0", "more than 0")),
        (("--seconds", "-1"), 2, ("cannot spin for so long", "got: -1")),
        (("--seconds", "nan"), 2, ("cannot spin for so long", "got: nan")),
        (("--seconds", "1e9"), 2, ("cannot spin for so long", "at most 86,400")),
        (("--threshold-ns", "5"), 2, ("too near to what a look itself costs", "got: 5 ns")),
        (("--clock", "sundial"), 2, ("sundial",)),
        (("--node", "nobody"), 3, ("node nobody is not running", "sovereign up")),
        (
            ("--hdr", "/nowhere/at/all.hlog"),
            5,
            ("the histogram log cannot be written", "No such file", "--hdr FILE"),
        ),
        (  # sysfs lets nobody open this one to write, root neither
            ("--seconds", "3000", "--hdr", "/sys/devices/system/cpu/online"),
            5,
            ("the histogram log cannot be written", "Permission denied"),
        ),
    ],
)
def test_wrong_use_says_what_and_how_to_mend_it(
    words: tuple[str, ...], code: int, said: tuple[str, ...], tmp_path: Path
) -> None:
    env = {**os.environ, "SOVEREIGN_RUN_DIR": str(tmp_path)}
    done = _verb(*words, expect=code, env=env)
    assert done.stdout == ""
    for part in said:
        assert part in done.stderr


def test_a_nodes_own_tail_stands_beside_the_hosts() -> None:
    # The loops compile here, however long that takes: the node itself has a time limit.
    subprocess.run([sys.executable, "-c", "import sovereign.actors.warm"], check=True)
    with running(1_000_000) as node:
        blocks = {name: node.control.counters(i) for i, name in ((1, "bus"), (2, "taker"))}
        until(lambda: blocks["taker"].histogram("hop").sum() > 200)
        env = {**os.environ, "SOVEREIGN_RUN_DIR": str(node.run_dir.parent)}
        words = ("--seconds", "0.2", "--node", node.name)
        found = json.loads(_verb(*words, "--json", env=env).stdout)
        said = _verb(*words, env=env).stdout
    assert found["node"]["node"] == node.name and found["node"]["shared_cores"] is True
    rows = {(row["actor"], row["histogram"]): row for row in found["node"]["rows"]}
    assert {("taker", "hop"), ("taker", "service")} <= set(rows)
    for row in rows.values():
        assert row["tax_ns"] == row["p99_99_ns"] - row["host_ns"]
        assert row["counted"] > 0 and row["cpu"] is None
    hop = rows["taker", "hop"]
    shares = {core["cpu"]: core["delay_ns"]["p99_99"] for core in found["cpus"]}
    assert hop["host_ns"] == shares[hop["host_cpu"]] == max(shares.values())
    assert "the jitter tax" in said and "taker" in said and "counts as the host's" in said


def _node(**cores: int | None) -> NodeTimes:
    import numpy as np

    from sovereign.benchmarks.jitter_tax import ActorTimes

    empty = np.zeros(8, np.int64)
    return NodeTimes("n", [ActorTimes(name, cpu, "hop", empty) for name, cpu in cores.items()])


def test_an_actors_own_core_is_left_alone() -> None:
    assert free_cores(_node(bus=1, taker=2), (0, 1, 2, 3), named=False) == (0, 3)
    assert free_cores(_node(bus=None), (0, 1), named=True) == (0, 1)
    assert free_cores(_node(bus=1), (0,), named=True) == (0,)
    with pytest.raises(InputError, match="half of a core") as caught:
        free_cores(_node(bus=1, taker=2), (1, 3), named=True)
    assert caught.value.got == "cpu 1 is bus's"
    with pytest.raises(InputError) as caught:
        free_cores(_node(bus=0, taker=1), (0, 1), named=False)
    assert caught.value.where == "every core that this process may use"


def test_a_node_that_counted_nothing_has_no_tax() -> None:
    from sovereign.benchmarks.jitter_tax import ActorTimes

    (run,) = jitter.measure(jitter.plan([CPU], 0.02, 500), together=False)
    service = ActorTimes("bus", None, "service", _node(bus=None).actors[0].counts)
    times = NodeTimes("n", [*_node(bus=None).actors, service])
    assert tax_rows(times, [run]) == []
    with pytest.raises(ResourceError, match="does not exist"):
        node_times({"node": "no-such-node", "actors": []})
