"""A whole run: the schedule, its harnesses, and the verdict."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from sovereign.benchmarks.chaos import compare, venue, ways
from sovereign.benchmarks.chaos.chain import Chain
from sovereign.benchmarks.chaos.compare import Findings
from sovereign.benchmarks.chaos.node import Node
from sovereign.benchmarks.chaos.rerun import rerun
from sovereign.benchmarks.chaos.ways import Fault
from sovereign.benchmarks.chaos.wired import ECHO, EGRESSES, SIGNER, TAKER
from sovereign.runtime import commit, kernels
from sovereign.runtime.errors import SovereignError

Tell = Callable[[Fault], None]


@dataclass
class Outcome:
    """What a run gave. `recovery_ns`: from the death seen to the successor's first step, by harness.

    Apart from these under `supervisor`: from its death until every actor of the next `up` has stepped.
    """

    by_way: Counter[str] = field(default_factory=Counter)
    by_actor: Counter[str] = field(default_factory=Counter)
    paused: int = 0
    messages: int = 0
    findings: Findings = field(default_factory=Findings)
    recovery_ns: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    kept: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Processes killed."""
        return self.by_way.total()

    def note(self, fault: Fault, took_ns: list[int]) -> None:
        """Count a fault that was survived."""
        whole = ways.SUPERVISOR in fault.dying
        self.recovery_ns[ways.SUPERVISOR if whole else fault.harness] += took_ns
        self.paused += fault.way == ways.PAUSED
        self.by_actor.update(fault.dying)
        if fault.deaths:
            self.by_way[fault.way] += fault.deaths


def judge(harness: Chain | Node, cursors: dict[str, int]) -> Findings:
    """Compare all that an ended harness left with what must have come out."""
    spec, archive = harness.spec, harness.spec.archive_dir
    strides = {one.output.name: one.output.stride for one in spec.actors if one.output is not None}
    recorded = {ring: compare.archived(archive, ring, strides[ring]) for ring in cursors}
    found = compare.check_archive(archive, recorded, cursors, harness.heard)
    found.add(compare.check_bus(spec, recorded))
    for name in EGRESSES:
        found.add(venue.check_egress(spec, name, recorded, harness.receiver.arrived[name]))
    if harness.receiver.strange:
        found.note("the venue got what is no order", wrong=harness.receiver.strange)
    names = (TAKER, ECHO, SIGNER, *EGRESSES)
    again = rerun(spec, recorded, names, harness.folder / "rerun")
    for name in names:
        got, wanted = (compare.timeless(one[name], spec, name) for one in (recorded, again))
        if name in (TAKER, ECHO):
            got, wanted = compare.without_versions(got), compare.without_versions(wanted)
        elif name in EGRESSES:
            unsure = venue.unsure_causes(recorded[name])
            got, wanted = (venue.calm(one, spec, name, unsure) for one in (got, wanted))
        found.same(f"{name} against an uninterrupted run", got, wanted)
    return found


def _play(outcome: Outcome, harness: Chain | Node, faults: list[Fault], told: Tell) -> None:
    """All faults, the end in order, the verdict. What fails keeps its folder."""
    sound = False
    try:
        for fault in faults:
            told(fault)
            outcome.note(fault, harness.fault(fault))
        cursors = harness.finish()
        outcome.messages += sum(cursors.values())
        found = judge(harness, cursors)
        outcome.findings.add(found)
        sound = found.sound
    except SovereignError as error:
        error.where = error.where or str(harness.folder)
        raise
    finally:
        harness.close(keep=not sound)
        if not sound:
            outcome.kept.append(str(harness.folder))


def run(seed: int, kills: int, scenario: str, told: Tell) -> Outcome:
    """The schedule of `seed`; before each fault `told(fault)`. SovereignError when a harness fails or stands still."""
    if not commit.KILL_POINTS:
        raise SovereignError("the loops were compiled without kill points", exit_code=5)
    from sovereign.actors import warm

    assert warm.LOADED and kernels.register_membarrier()
    commit.kill_point()  # compiled here, once, and not in each child
    gc.collect()
    gc.freeze()  # a child's collector need not copy the pages of what is loaded
    outcome = Outcome()
    faults = ways.schedule(seed, kills, scenario)
    for number, part in enumerate(ways.episodes(seed, faults[ways.CHAIN])):
        _play(outcome, Chain(seed, number, part[0]), part, told)
    if faults[ways.NODE]:
        _play(outcome, Node(seed), faults[ways.NODE], told)
    return outcome
