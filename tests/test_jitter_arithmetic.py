"""Percentiles, waits and attribution, against NumPy and by hand, on gaps that were made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovereign.benchmarks import attribution, gap_histogram
from sovereign.benchmarks.activity import Activity
from sovereign.benchmarks.core_run import CoreRun
from sovereign.benchmarks.gap_histogram import Run
from sovereign.runtime.cgroup import Held
from sovereign.runtime.core_settings import CoreSettings
from sovereign.runtime.kernel_counts import Line, Switches

WALL_NS = 1_000_000_000
ORDINARY_NS = 20
POINTS = list(gap_histogram.POINTS.values())
Gaps = np.ndarray[Any, np.dtype[np.int64]]


def _run(gaps: Gaps) -> Run:
    counts = np.zeros(gap_histogram.BUCKETS, np.int64)
    for gap in gaps:
        gap_histogram.count(counts, np.int64(gap))
    return Run(counts, WALL_NS, int(gaps.max(initial=0)), ORDINARY_NS)


def _near(found: float, expected: float) -> bool:
    """Within a bucket's width at three digits, and the last ns."""
    return abs(found - expected) <= 0.0015 * expected + 2


def _made_up(seed: int) -> Gaps:
    """A few thousand short gaps and a few long ones: together under a fifth of the second."""
    rng = np.random.default_rng(seed)
    short = rng.lognormal(8, 1, 3_000).astype(np.int64) + 500
    long = rng.integers(100_000, 30_000_000, rng.integers(1, 8))
    return np.concatenate([short, long])


@pytest.mark.parametrize("seed", range(8))
def test_percentiles_by_time_are_numpys_weighted_by_length(seed: int) -> None:
    gaps = _made_up(seed)
    ordinary = (WALL_NS - int(gaps.sum())) // ORDINARY_NS
    lengths = np.append(gaps, ORDINARY_NS)
    weights = np.append(gaps, ordinary * ORDINARY_NS).astype(float)
    expected = np.percentile(lengths, POINTS, weights=weights, method="inverted_cdf")
    found = gap_histogram.percentiles(_run(gaps))
    assert list(found) == ["p50", "p99", "p99_9", "p99_99", "p99_999"]
    for value, true in zip(found.values(), expected, strict=True):
        assert _near(value, float(true)), (found, expected)


@pytest.mark.parametrize("seed", range(4))
def test_the_wait_is_that_of_events_at_random_moments(seed: int) -> None:
    gaps = _made_up(seed)
    rng = np.random.default_rng(seed + 100)
    # Each event falls into the gap that covers its moment, and waits for what is left of it.
    edges = np.cumsum(gaps)
    moments = rng.uniform(0, WALL_NS, 4_000_000)
    inside = moments < edges[-1]
    waits = np.zeros(len(moments))
    waits[inside] = edges[np.searchsorted(edges, moments[inside], side="right")] - moments[inside]
    for percent in (50.0, 99.0, 99.9):
        true = float(np.percentile(waits, percent))
        assert abs(gap_histogram.delay(_run(gaps), percent) - true) <= 0.03 * true + 200


def test_a_host_without_gaps_costs_nothing() -> None:
    run = _run(np.zeros(0, np.int64))
    assert set(gap_histogram.percentiles(run).values()) == {ORDINARY_NS}
    assert set(gap_histogram.delays(run).values()) == {0}
    assert gap_histogram.stretch(run, 1_000, 99.99) == 0


def test_a_step_is_stretched_by_gaps_that_begin_in_it() -> None:
    gaps = np.array([5_000] * 900 + [80_000] * 100)
    run = _run(gaps)
    # 1,000 gaps in a second: a step of 10 us meets one in a hundred times, a long one in a thousand.
    assert gap_histogram.stretch(run, 10_000, 98.9) == 0
    assert _near(gap_histogram.stretch(run, 10_000, 99.5), 5_000)
    assert gap_histogram.stretch(run, 10_000, 99.95) == 80_000


@given(st.integers(0, (1 << 53) - 1))
@settings(deadline=None, max_examples=300)
def test_every_length_falls_into_a_bucket_that_holds_it_to_three_digits(value: int) -> None:
    counts = np.zeros(gap_histogram.BUCKETS, np.int64)
    gap_histogram.count(counts, np.int64(value))
    bucket = int(np.flatnonzero(counts)[0])
    top = int(gap_histogram.TOPS_NS[bucket])
    below = int(gap_histogram.TOPS_NS[bucket - 1]) if bucket else -1
    assert below < value <= top
    assert top - value <= value / 1_000


def _core(**given: Any) -> CoreRun:
    did = Activity(
        interrupts=given.pop("interrupts", {}),
        softirqs={"TIMER": Line(9, "")},
        times_ns={"steal": 0, "guest": 0, "irq": 0, "softirq": 0, **given.pop("times_ns", {})},
        switches=Switches(0, 3),
        waited_ns=0,
        migrations=0,
        held=given.pop("held", None),
        thermal_times=given.pop("thermal_times", None),
    )
    caused = {
        "unknown": (250, 900_000),
        "switched": (3, 6_000_000),
        "blocked": (0, 0),
        "faulted": (1, 2_000),
        **given.pop("caused", {}),
    }
    return CoreRun(
        cpu=given.pop("cpu", 1),
        started_ns=0,
        wall_ns=WALL_NS,
        looks=40_000_000,
        gap_ns=sum(ns for _, ns in caused.values()),
        own_ns=1_000,
        longest_ns=3_000_000,
        caused=caused,
        counts=[],
        largest=[],
        activity=did,
        off_ppm=0.0,
    )


def _times(run: CoreRun) -> dict[str, int | None]:
    return {one.who: one.ns for one in attribution.takers(run)}


def test_what_nothing_explains_is_unattributed() -> None:
    found = attribution.takers(_core(interrupts={"LOC": Line(250, "Local timer interrupts")}))
    by_name = {one.who: one for one in found}
    assert by_name["other tasks"][1:] == (3, 6_000_000)
    assert by_name["page faults"][1:] == (1, 2_000)
    assert by_name["interrupts"][1:] == (250, None)  # counted, never timed
    assert by_name["cgroup quota"][1:] == (None, None)
    assert by_name["unattributed"][1:] == (250, 900_000)


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"times_ns": {"steal": 400_000}},
        {"times_ns": {"steal": 10_000_000}},  # one tick, more than there is to explain
        {"times_ns": {"irq": 700_000, "softirq": 700_000}},
        {"held": Held(2, 5_000_000)},
        {"held": Held(9, 90_000_000), "times_ns": {"steal": 1_000}},
    ],
)
def test_the_times_add_up_to_the_gaps(given_: dict[str, Any]) -> None:
    run = _core(**given_)
    found = _times(run)
    assert all(ns is None or ns >= 0 for ns in found.values())
    assert sum(ns or 0 for ns in found.values()) == run.gap_ns


def test_steal_and_quota_take_their_share_from_what_they_can_explain() -> None:
    found = _times(_core(times_ns={"steal": 400_000}, held=Held(2, 5_000_000)))
    assert found["hypervisor"] == 400_000
    assert found["unattributed"] == 500_000
    assert found["cgroup quota"] == 5_000_000
    assert found["other tasks"] == 1_000_000


def _settings(**given: Any) -> dict[int, CoreSettings]:
    return {1: CoreSettings(1, False, False, None, None)._replace(**given)}


def test_advice_names_what_was_found_and_nothing_else() -> None:
    quiet = _core(caused={"switched": (0, 0)})
    assert attribution.advice([quiet], _settings()) == []
    stolen = _core(caused={"switched": (0, 0)}, times_ns={"steal": 30_000_000})
    assert attribution.advice([stolen], _settings()) == [
        "cpu 1: a hypervisor took 30 ms (steal): no setting of this host mends it"
    ]
    shared = attribution.advice([_core()], _settings(governor="powersave"))
    assert "other tasks took the core 3 times" in shared[0]
    assert "isolcpus=1 nohz_full=1 rcu_nocbs=1" in shared[0]
    assert "governor is powersave" in shared[1] and "-g performance" in shared[1]
    isolated = attribution.advice([_core()], _settings(isolated=True, governor="performance"))
    assert len(isolated) == 1 and "isolated, and other tasks run there" in isolated[0]
    lines = {"LOC": Line(250, ""), "36": Line(7, "IO-APIC 1-edge nic"), "24": Line(2, "x")}
    ticking = _core(caused={"switched": (0, 0)}, interrupts=lines, thermal_times=2, held=Held(4, 1))
    found = "\n".join(attribution.advice([ticking], _settings(isolated=True)))
    assert "nohz_full=1" in found
    assert "device interrupt 36 (IO-APIC 1-edge nic) came 7 times" in found
    assert "smp_affinity_list" in found and "cpu.max" in found and "heat" in found
    assert "nohz_full" not in "\n".join(
        attribution.advice([ticking], _settings(isolated=True, nohz_full=True))
    )
