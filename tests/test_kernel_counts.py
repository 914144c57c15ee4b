"""Readers of the kernel's texts, on texts as machines gave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovereign.runtime import cgroup, kernel_counts
from sovereign.runtime.cgroup import Held
from sovereign.runtime.core_settings import core_settings, cpu_list, online
from sovereign.runtime.kernel_counts import Line, Switches

INTERRUPTS = """\
           CPU0       CPU2       
  0:         44          0   IO-APIC   2-edge      timer
 36:          0      45914  PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
NMI:          0          0   Non-maskable interrupts
LOC:     135767     159257   Local timer interrupts
CAL:     117708      73695   Function call interrupts
ERR:          0
MIS:          0
"""
ARM_INTERRUPTS = """\
           CPU0       CPU1       CPU2       CPU3       
 11:     104221     101001      99801      98012     GICv3  27 Level     arch_timer
IPI0:      5120       6110       7003       6999       Rescheduling interrupts
IPI1:      2011       1920       1888       1790       Function call interrupts
Err:          0
"""
SOFTIRQS = """\
                    CPU0       CPU1       
          HI:          0          1
       TIMER:      18356      18881
      NET_RX:       9824       8365
"""
STAT = """\
cpu  37285 0 8321 50305 188 0 77 70 0 0
cpu0 16810 0 3541 27636 49 0 14 42 0 0
cpu1 20474 3 4780 22669 139 5 62 27 9 1
intr 576551 0 0
ctxt 912
"""
STATUS = (
    "Name:\tpython\nThreads:\t1\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t48\n"
)


def test_interrupts_are_read_by_the_cpus_name_not_by_its_place() -> None:
    first = kernel_counts.interrupts(INTERRUPTS, 0)
    third = kernel_counts.interrupts(INTERRUPTS, 2)
    assert first["LOC"] == Line(135767, "Local timer interrupts")
    assert third["36"] == Line(45914, "PCI-MSIX-0000:00:02.0 1-edge virtio1-req.0")
    assert third["LOC"].times == 159257
    assert {"ERR", "MIS"}.isdisjoint(first)
    assert kernel_counts.interrupts(INTERRUPTS, 1) == {}  # offline: it has no column
    assert kernel_counts.interrupts("", 0) == {}


def test_interrupts_of_an_arm_machine() -> None:
    found = kernel_counts.interrupts(ARM_INTERRUPTS, 3)
    assert found["11"] == Line(98012, "GICv3 27 Level arch_timer")
    assert found["IPI1"] == Line(1790, "Function call interrupts")
    assert len(found) == 3


def test_softirqs() -> None:
    assert kernel_counts.softirqs(SOFTIRQS, 1) == {
        "HI": Line(1, ""),
        "TIMER": Line(18881, ""),
        "NET_RX": Line(8365, ""),
    }


def test_a_cpus_times_are_ns_of_that_cpu_alone() -> None:
    found = kernel_counts.cpu_times_ns(STAT, 1)
    assert found is not None
    tick = kernel_counts.TICK_NS
    assert (found["steal"], found["guest"], found["irq"], found["softirq"]) == (
        27 * tick,
        9 * tick,
        5 * tick,
        62 * tick,
    )
    assert kernel_counts.cpu_times_ns(STAT, 7) is None
    assert kernel_counts.cpu_times_ns("", 0) is None


def test_a_threads_switches_waiting_and_migrations() -> None:
    assert kernel_counts.switches(STATUS) == Switches(voluntary=12, nonvoluntary=48)
    assert kernel_counts.switches("Name:\tx\n") is None
    assert kernel_counts.waited_ns("522403 32038 2\n") == 32038
    assert kernel_counts.waited_ns("") is None
    sched = "cat (9878, #threads: 1)\nse.exec_start   :  483431.508566\nse.nr_migrations    :   7\n"
    assert kernel_counts.migrations(sched) == 7
    assert kernel_counts.migrations("") is None


def test_a_quota_is_read_in_both_versions() -> None:
    first = "nr_periods 40\nnr_throttled 3\nthrottled_time 5000123\nnr_bursts 0\n"
    second = "usage_usec 8\nnr_periods 9\nnr_throttled 2\nthrottled_usec 1500\n"
    assert cgroup.held(first) == Held(3, 5000123)
    assert cgroup.held(second) == Held(2, 1_500_000)
    assert cgroup.held("usage_usec 895946254\nuser_usec 749476344\n") is None


def test_a_quota_may_sit_at_any_level_of_either_hierarchy() -> None:
    unified = "26 1 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    assert cgroup.cpu_folders("0::/user.slice/app.service\n", unified) == [
        Path("/sys/fs/cgroup/user.slice/app.service"),
        Path("/sys/fs/cgroup/user.slice"),
        Path("/sys/fs/cgroup"),
    ]
    old = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    assert cgroup.cpu_folders("3:cpuset:/x\n1:cpu,cpuacct:/docker/9f\n0::/\n", old) == [
        Path("/sys/fs/cgroup/cpu/docker/9f"),
        Path("/sys/fs/cgroup/cpu/docker"),
        Path("/sys/fs/cgroup/cpu"),
    ]
    bound = "40 31 0:29 /docker/9f /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n"
    assert cgroup.cpu_folders("1:cpu:/docker/9f\n", bound) == [Path("/sys/fs/cgroup/cpu")]
    assert cgroup.cpu_folders("0::/../other\n", unified) == [Path("/sys/fs/cgroup")]
    assert cgroup.cpu_folders("1:cpu:/\n", "") == []


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", [0]), ("0,2-4\n", [0, 2, 3, 4]), ("3,1-2,2", [1, 2, 3]), ("", []), ("  \n", [])],
)
def test_cpu_lists(text: str, cpus: list[int]) -> None:
    assert cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "0,,1", "0-99999999999", "(null)"])
def test_what_is_no_cpu_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        cpu_list(text)


def test_settings_of_a_tuned_core_and_of_one_that_tells_nothing(tmp_path: Path) -> None:
    cpus = tmp_path / "sys/devices/system/cpu"
    (cpus / "cpu3/cpufreq").mkdir(parents=True)
    (cpus / "cpu3/thermal_throttle").mkdir()
    (cpus / "online").write_text("0-3\n")
    (cpus / "isolated").write_text("2-3\n")
    (cpus / "nohz_full").write_text("(null)\n")
    (cpus / "cpu3/cpufreq/scaling_governor").write_text("powersave\n")
    (cpus / "cpu3/thermal_throttle/core_throttle_count").write_text("4\n")
    (cpus / "cpu3/thermal_throttle/package_throttle_count").write_text("5\n")
    tuned, plain = core_settings(3, tmp_path), core_settings(0, tmp_path)
    assert tuned == (3, True, False, "powersave", 9)
    assert plain == (0, False, False, None, None)
    assert online(tmp_path) == [0, 1, 2, 3]
