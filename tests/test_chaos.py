"""Exactly once under kills: the simulator over every actor, and the simulator's own judgement."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sovereign.actors.egress.actor import EgressConfig
from sovereign.benchmarks.chaos import compare, venue, ways
from sovereign.benchmarks.chaos.compare import Findings
from sovereign.benchmarks.chaos.receiver import Name
from sovereign.benchmarks.chaos.strategies import Count
from sovereign.benchmarks.chaos.wired import BUS, EDGES, KILLABLE, SIGNER, SOURCE, UDP, node_spec
from sovereign.messages.orders import Sending, Sent, SignedOrder, Uncertain
from sovereign.messages.time import Tick
from sovereign.runtime import layout
from sovereign.runtime.message import Message
from sovereign.runtime.spec import NodeSpec

SlotArray = np.ndarray[Any, Any]


def _chaos(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sovereign.cli.main", "chaos", "--json", *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"sovereign chaos {' '.join(words)}: {done.stdout}{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["lost"], found["repeated"], found["wrong"]) == (0, 0, 0)
    return found


def test_kills_of_every_actor_lose_and_repeat_nothing() -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}: sovereign chaos --seed {seed} --kills 60")
    found = _chaos("--seed", str(seed), "--kills", "60")
    assert found["seed"] == seed and found["kills"] >= 60
    assert found["messages"] > 1_000
    assert set(KILLABLE) <= set(found["by_actor"])
    assert {"p50", "max"} <= set(found["recovery_ms"]["chain"])
    assert {"p50", "max"} <= set(found["recovery_ms"]["node"])


def test_a_fixed_seed_kills_a_supervised_node_in_every_way() -> None:
    found = _chaos("--seed", "4", "--kills", "16", "--scenario", "node")
    assert found["by_actor"]["supervisor"] >= 3 and found["paused"] >= 1
    wanted = {ways.HUNG, ways.POD, ways.NEIGHBOURS, ways.IN_RECOVERY, ways.SUPERVISOR}
    wanted |= {ways.SUPERVISOR_TWICE, ways.RANDOM_MOMENT}
    assert wanted <= set(found["by_way"])


def test_the_schedule_is_the_seeds_alone_and_a_deck_holds_every_actor_at_every_way() -> None:
    assert ways.schedule(7, 300, "all") == ways.schedule(7, 300, "all")
    assert ways.schedule(7, 300, "all") != ways.schedule(8, 300, "all")
    faults = ways.schedule(7, 200, "chain")[ways.CHAIN]
    for way in (ways.KILL_POINT, ways.RANDOM_MOMENT, ways.IN_RECOVERY, ways.RING_FULL, ways.PAUSED):
        assert {one.victims[0] for one in faults if one.way == way} == set(KILLABLE)
    assert any(one.way == ways.POD and one.victims == (SIGNER,) for one in faults)
    assert {one.victims for one in faults if one.way == ways.NEIGHBOURS} <= set(EDGES)
    assert 200 <= sum(one.deaths for one in faults) <= 201
    parts = list(ways.episodes(7, faults * 3))
    assert [one for part in parts for one in part[1:]] == faults * 3
    assert len(parts) == 3 and {part[0].way for part in parts} == {ways.FIRST_START}


@pytest.fixture
def spec(tmp_path: Path) -> NodeSpec:
    """The node that the simulator kills; not running."""
    return node_spec("chaostest", tmp_path, (9, 9), variant=0)


def _slots(spec: NodeSpec, ring: str, said: list[tuple[Message, tuple[int, int]]]) -> SlotArray:
    """Slots of a ring: each a record and its cause (actor, sequence)."""
    output = spec.actor(ring).output
    assert output is not None
    found = np.zeros(len(said), layout.slot_dtype(output.stride))
    for i, (record, (actor, sequence)) in enumerate(said):
        kind = next(one for one in output.types if one.dtype == record.dtype)  # type: ignore[attr-defined]
        found[i]["sequence"], found[i]["type_id"] = i + 1, kind.type_id
        found[i]["cause_actor"], found[i]["cause_seq"] = actor, sequence
        raw = found[i : i + 1].view(np.uint8)
        data = np.frombuffer(record.tobytes(), np.uint8)  # type: ignore[attr-defined]
        raw[layout.SLOT_PAYLOAD : layout.SLOT_PAYLOAD + len(data)] = data
    return found


def _counts(findings: Findings) -> tuple[int, int, int]:
    return findings.lost, findings.repeated, findings.wrong


def test_the_judge_of_the_bus_sees_what_is_lost_repeated_and_wrong(spec: NodeSpec) -> None:
    counts: list[Any] = [Count.new(number=n) for n in range(1, 6)]
    echo = spec.actor("echo").output
    assert echo is not None
    none = np.zeros(0, layout.slot_dtype(echo.stride))
    source = _slots(spec, SOURCE, [(one, (layout.NO_ACTOR, 0)) for one in counts])
    tick: Any = Tick.new(number=1)
    said = [(one, (spec.actor(SOURCE).index, n)) for n, one in enumerate(counts, 1)]

    def judged(bus: list[Any]) -> tuple[int, int, int]:
        recorded = {SOURCE: source, "echo": none, BUS: _slots(spec, BUS, bus)}
        return _counts(compare.check_bus(spec, recorded))

    ticked = (tick, (layout.NO_ACTOR, 1))
    assert judged([said[0], ticked, *said[1:]]) == (0, 0, 0)
    assert judged([*said[:2], *said[3:]]) == (1, 0, 0)
    assert judged([*said[:2], said[1], *said[2:]]) == (0, 1, 0)
    assert judged([said[1], said[0], *said[2:]]) == (0, 0, 1)
    assert judged([(counts[1], said[0][1]), *said[1:]]) == (0, 0, 1)
    assert judged([*said, ticked, ticked]) == (0, 0, 1)


def _order(number: int) -> Any:
    return SignedOrder.new(order_actor=2, order_generation=1, order_seq=number, qty=number)


def test_the_judge_of_the_venue_knows_both_rules(spec: NodeSpec) -> None:
    orders = [_order(1), _order(2)]
    signed = _slots(spec, SIGNER, [(one, (2, n)) for n, one in enumerate(orders, 1)])
    named = [{"order_actor": 2, "order_generation": 1, "order_seq": n} for n in (1, 2)]
    names = [Name(2, 1, 1), Name(2, 1, 2)]
    intents: list[Any] = [Sending.new(**one, attempt=1) for one in named]
    sents: list[Any] = [Sent.new(**one, attempt=1) for one in named]
    again: Any = Sending.new(**named[1], attempt=2)
    unsure: Any = Uncertain.new(**named[1], reason=1)
    data = [one.tobytes() for one in orders]

    def judged(egress: str, said: list[Any], came: list[list[bytes]]) -> tuple[int, int, int]:
        ring = _slots(spec, egress, [(one, (4, 1)) for one in said])
        arrived = {name: one for name, one in zip(names, came, strict=True) if one}
        recorded = {SIGNER: signed, egress: ring}
        return _counts(venue.check_egress(spec, egress, recorded, arrived))

    config = spec.actor(UDP).config
    assert isinstance(config, EgressConfig) and config.dedupes
    calm = [intents[0], sents[0], intents[1], sents[1]]
    retried = [intents[0], sents[0], intents[1], again, sents[1]]
    left_open = [intents[0], sents[0], intents[1], unsure]
    assert judged(UDP, calm, [[data[0]], [data[1]]]) == (0, 0, 0)
    assert judged(UDP, retried, [[data[0]], [data[1]] * 2]) == (0, 0, 0)
    assert judged(UDP, calm, [[data[0]], [data[1]] * 2]) == (0, 1, 0)
    assert judged(UDP, calm, [[data[0]], []]) == (1, 0, 0)
    assert judged(UDP, calm, [[data[0]], [data[0]]]) == (0, 0, 1)
    assert judged(UDP, left_open, [[data[0]], [data[1]]]) == (0, 0, 1)
    assert judged(UDP, calm[:3], [[data[0]], [data[1]]]) == (1, 0, 0)
    assert judged("tcp", left_open, [[data[0]], []]) == (0, 0, 0)
    assert judged("tcp", left_open, [[data[0]], [data[1]]]) == (0, 0, 0)
    assert judged("tcp", calm, [[data[0]], []]) == (1, 0, 0)
    assert judged("tcp", retried, [[data[0]], [data[1]]]) == (0, 1, 0)
    assert judged("tcp", [*calm, unsure], [[data[0]], [data[1]]]) == (0, 0, 0)
    assert judged("tcp", [*calm, unsure], [[data[0]], []]) == (0, 0, 0), "sent, not acknowledged"
    assert judged("tcp", [*calm, unsure, unsure], [[data[0]], []]) == (0, 1, 0)
    assert judged("tcp", [*calm, sents[1]], [[data[0]], [data[1]]]) == (0, 1, 0)
    assert judged("tcp", [*left_open, sents[1]], [[data[0]], [data[1]]]) == (0, 0, 1)
    assert judged(UDP, [*calm, unsure], [[data[0]], [data[1]]]) == (0, 0, 1), "nobody can know"


def test_killing_nobody_is_wrong_use() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sovereign.cli.main", "chaos", "--kills", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "1 or more" in done.stderr
