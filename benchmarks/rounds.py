"""Rounds, interleaved: in each, every contender once, and the machine's limit before, between and after them.

So each figure has the limit measured around it: the mean of the one before and the one after. A host that slows down
slows both, and their ratio stands. A contender that fails is left out, and told; ours is never left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sovereign.benchmarks.ours import Sovereign
from sovereign.benchmarks.pair import Times, copy_round, limit_round
from sovereign.benchmarks.peer import Flow, Peer
from sovereign.benchmarks.report import latency_row, throughput_row
from sovereign.benchmarks.roster import Say
from sovereign.runtime.errors import SovereignError

T = TypeVar("T")
LEAD_SHARE = 0.01


@dataclass
class Contender(Generic[T]):
    """One row: how to warm it up, how to measure it; what was measured, and the limit around each."""

    name: str
    warm: Callable[[], object]
    measure: Callable[[], T]
    extra: dict[str, int]
    must: bool
    taken: list[T] = field(default_factory=list)
    around: list[tuple[T, T]] = field(default_factory=list)


def interleave(
    contenders: list[Contender[T]], limit: Callable[[], T], rounds: int, say: Say
) -> list[T]:
    """Fill each contender's `taken` and `around`; those that fail leave the list. All limits."""

    def attempt(one: Contender[T], step: Callable[[], T | object]) -> Any:
        try:
            return step()
        except SovereignError as error:
            if one.must:
                raise
            say(one.name, error)
            contenders.remove(one)
            return None

    for one in list(contenders):
        attempt(one, one.warm)
    limit()
    limits = []
    for _ in range(rounds):
        limits.append(limit())
        for one in list(contenders):
            result = attempt(one, one.measure)
            limits.append(limit())
            if result is not None:
                one.taken.append(result)
                one.around.append((limits[-2], limits[-1]))
    return limits


def _hop(peer: Peer, trips: int) -> Contender[Times]:
    count = max(1, int(trips * peer.trips_share))
    lead = max(1, int(count * LEAD_SHARE))
    return Contender(
        peer.name,
        peer.warm_hop,
        lambda: peer.hop_round(lead + count)[lead:],
        {"trips": count},
        isinstance(peer, Sovereign),
    )


def hop_rows(peers: list[Peer], rounds: int, trips: int, say: Say) -> list[dict[str, Any]]:
    """A row a contender, the limit first. The first hundredth of a round's trips is made and not counted."""
    contenders = [_hop(peer, trips) for peer in peers]
    lead = max(1, int(trips * LEAD_SHARE))
    limits = interleave(contenders, lambda: limit_round(lead + trips)[lead:], rounds, say)
    rows = [latency_row("limit", limits, [(one, one) for one in limits]) | {"trips": trips}]
    return rows + [latency_row(one.name, one.taken, one.around) | one.extra for one in contenders]


def _flow(peer: Peer, flow: Flow, messages: int) -> Contender[float]:
    batches = max(1, int(messages * peer.messages_share) // flow.batch)
    return Contender(
        f"{peer.name} {flow.name}",
        lambda: peer.warm_flow(flow),
        lambda: peer.flow_round(flow, batches * flow.batch),
        {"messages": batches * flow.batch},
        isinstance(peer, Sovereign),
    )


def throughput_rows(
    peers: list[Peer], rounds: int, messages: int, say: Say
) -> list[dict[str, Any]]:
    """A row a flow of each contender, the limit first."""
    contenders = [_flow(peer, flow, messages) for peer in peers for flow in peer.flows]
    limits = interleave(contenders, lambda: copy_round(messages), rounds, say)
    rows = [throughput_row("limit", limits, [(one, one) for one in limits])]
    rows[0] |= {"messages": messages}
    return rows + [
        throughput_row(one.name, one.taken, one.around) | one.extra for one in contenders
    ]
