"""faster-fifo: a queue in C++ with a POSIX mutex and condition; bytes as they are, without pickle."""

from __future__ import annotations

from typing import Any

from sovereign.benchmarks.pair import Meet, timed
from sovereign.benchmarks.peer import Flow, module
from sovereign.benchmarks.peers.channel import MESSAGE, WAIT_S, ChannelPeer, Ends, check


class FasterFifo(ChannelPeer):
    """Two queues, one each way; batches by put_many and get_many."""

    name = "faster-fifo"
    flows = (Flow("1to1", 1), Flow("1to1", 16))
    trips_share, messages_share = 0.05, 0.05

    def __init__(self) -> None:
        self._module = module("faster_fifo", "the peer", "faster-fifo")

    def prepare(self) -> Any:
        """Their memory is inherited by fork."""
        make = self._module.Queue
        return tuple(make(max_size_bytes=1 << 21, loads=bytes, dumps=bytes) for _ in range(2))

    def ends(self, made: Any, side: int) -> Ends:
        """Each waits at most WAIT_S."""
        ours, theirs = made[side], made[1 - side]
        return Ends(
            lambda message: ours.put(message, timeout=WAIT_S),
            lambda: theirs.get(timeout=WAIT_S),
            lambda: None,
        )

    def flow_round(self, flow: Flow, messages: int) -> float:
        """The reader always takes what is there; only the writer's batch differs."""
        queue, batch = self.prepare()[0], [MESSAGE] * flow.batch

        def produce(meet: Meet) -> None:
            meet()
            for _ in range(messages // flow.batch):
                queue.put_many(batch, timeout=WAIT_S)

        def consume(meet: Meet) -> None:
            taken = wrong = 0
            meet()
            while taken < messages:
                got = queue.get_many(timeout=WAIT_S)
                wrong += sum(one != MESSAGE for one in got)
                taken += len(got)
            check(wrong)

        return timed(messages, produce, consume)
