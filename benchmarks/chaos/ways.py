"""Who dies, how and when: a pure function of the seed.

The ways are dealt from a shuffled deck that holds each actor at each way, so that no run misses one for long.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from sovereign.benchmarks.chaos.wired import EDGES, KILLABLE, SIGNER

CHAIN, NODE = "chain", "node"
KILL_POINT, RANDOM_MOMENT, IN_RECOVERY = "kill point", "random moment", "in recovery"
NEIGHBOURS, RING_FULL, POD = "two neighbours", "ring full", "pod alone"
PAUSED, HUNG, FIRST_START = "paused", "hung", "first start"
SUPERVISOR, SUPERVISOR_TWICE = "supervisor", "supervisor, and again while it starts"
EPISODE_DEATHS = 250
NODE_SHARE, NODE_MOST = 8, 40


class Fault(NamedTuple):
    """One card. `countdown`: stores until the first victim kills itself, 0: killed from outside after `delay_us`.

    `again_countdown`, `again_us`: the same for the kill in recovery, from the successor's start on. Where the supervisor
    alone dies, the victim is the orphan that is held up, for `again_us`.
    """

    harness: str
    way: str
    victims: tuple[str, ...]
    countdown: int = 0
    delay_us: int = 0
    again_countdown: int = 0
    again_us: int = 0

    @property
    def dying(self) -> tuple[str, ...]:
        """Who dies by it."""
        if self.way == PAUSED:  # for less than the heartbeat's limit
            return ()
        if self.way == SUPERVISOR:
            return (SUPERVISOR,)
        if self.way == SUPERVISOR_TWICE:
            return (SUPERVISOR, SUPERVISOR)
        return self.victims * 2 if self.way == IN_RECOVERY else self.victims

    @property
    def deaths(self) -> int:
        """Processes that this kills."""
        return len(self.dying)

    def __str__(self) -> str:
        said = ", ".join([f"{self.harness}: {self.way}", *self.victims])
        for name, value in self._asdict().items():
            if isinstance(value, int) and value:
                said += f", {name} {value}"
        return said


def _chain_deck(dice: random.Random) -> list[Fault]:
    """Each actor at each way, most often between two stores; half of the neighbours."""
    deck = [Fault(CHAIN, POD, (SIGNER,), delay_us=dice.randrange(4_000))]
    for name in KILLABLE:
        for _ in range(3):
            deck.append(Fault(CHAIN, KILL_POINT, (name,), countdown=dice.randrange(1, 60)))
        deck.append(Fault(CHAIN, RANDOM_MOMENT, (name,), delay_us=dice.randrange(4_000)))
        deck.append(Fault(CHAIN, RING_FULL, (name,)))
        deck.append(Fault(CHAIN, PAUSED, (name,), delay_us=dice.randrange(1_000, 60_000)))
        first = dice.randrange(1, 60)
        if dice.randrange(2):
            again = Fault(CHAIN, IN_RECOVERY, (name,), first, again_countdown=dice.randrange(1, 9))
        else:
            again = Fault(CHAIN, IN_RECOVERY, (name,), first, again_us=dice.randrange(25_000))
        deck.append(again)
    for pair in dice.sample(EDGES, len(EDGES) // 2):
        deck.append(Fault(CHAIN, NEIGHBOURS, pair, delay_us=dice.randrange(4_000)))
    dice.shuffle(deck)
    return deck


def _node_deck(dice: random.Random) -> list[Fault]:
    """What only a supervisor can answer, and its restarts."""

    def moment() -> int:
        return dice.randrange(50_000)

    def one() -> tuple[str, ...]:
        return (dice.choice(KILLABLE),)

    deck = [Fault(NODE, RANDOM_MOMENT, (name,), delay_us=moment()) for name in KILLABLE]
    deck += [
        Fault(NODE, HUNG, one(), delay_us=moment()),
        Fault(NODE, PAUSED, one(), delay_us=dice.randrange(50_000, 400_000)),
        Fault(NODE, SUPERVISOR, one(), delay_us=moment(), again_us=dice.randrange(2_500_000)),
        Fault(NODE, SUPERVISOR_TWICE, (), delay_us=moment(), again_us=dice.randrange(2_500_000)),
        Fault(NODE, NEIGHBOURS, dice.choice(EDGES), delay_us=moment()),
        Fault(NODE, IN_RECOVERY, one(), delay_us=moment(), again_us=dice.randrange(60_000)),
        Fault(NODE, POD, (SIGNER,), delay_us=moment()),
    ]
    dice.shuffle(deck)
    return deck


def _dealt(seed: int, harness: str, deaths: int) -> Iterator[Fault]:
    """Cards until `deaths` have died."""
    dice = random.Random(f"{harness} {seed}")
    left = deaths
    while left > 0:
        for fault in (_chain_deck if harness == CHAIN else _node_deck)(dice):
            if left <= 0:
                return
            yield fault
            left -= fault.deaths


def schedule(seed: int, kills: int, scenario: str) -> dict[str, list[Fault]]:
    """The faults of each harness. `scenario`: chain, node, or all (one kill in eight, at most 40, in the node)."""
    share = min(NODE_MOST, max(1, kills // NODE_SHARE)) if kills > 1 else 0
    wanted = {"chain": (kills, 0), "node": (0, kills), "all": (kills - share, share)}[scenario]
    return {
        harness: list(_dealt(seed, harness, deaths))
        for harness, deaths in zip((CHAIN, NODE), wanted, strict=True)
    }


def _first(seed: int, episode: int) -> Fault:
    """Each chain begins with one actor that is killed at its very first start."""
    dice = random.Random(f"first {seed} {episode}")
    return Fault(CHAIN, FIRST_START, (dice.choice(KILLABLE),), countdown=dice.randrange(1, 9))


def episodes(seed: int, faults: list[Fault]) -> Iterator[list[Fault]]:
    """The chain's faults in parts of some `EPISODE_DEATHS` deaths: each chain, and what it archived, stays small."""
    part: list[Fault] = []
    count = 0
    for number, fault in enumerate(faults, 1):
        part.append(fault)
        if sum(one.deaths for one in part) >= EPISODE_DEATHS or number == len(faults):
            yield [_first(seed, count), *part]
            part, count = [], count + 1
