"""What the Python peers have in common: two pinned processes, each with something to send to and to receive from.

The message is 64 bytes. A Python peer is measured through its Python interface, which is what a Python program would
pay: the interpreter is part of the figure.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from sovereign.benchmarks.pair import Meet, Times, shared_words, timed, together
from sovereign.benchmarks.peer import MESSAGE_BYTES, Flow, Peer
from sovereign.runtime.errors import SovereignError

MESSAGE = bytes(range(MESSAGE_BYTES))
WAIT_S = 20


class Ends(NamedTuple):
    """One side's: `send` takes MESSAGE, `receive` waits for the next; `close` gives everything back, delivered."""

    send: Callable[[bytes], Any]
    receive: Callable[[], bytes]
    close: Callable[[], Any]


def check(wrong: int) -> None:
    """SovereignError when any message arrived wrong."""
    if wrong:
        raise SovereignError(f"{wrong} messages arrived wrong")


class ChannelPeer(Peer):
    """A peer by its ends: `prepare` in the process that forks, `ends` in each of the two."""

    flows: ClassVar[tuple[Flow, ...]] = (Flow("1to1", 1),)

    def prepare(self) -> Any:
        """What both sides are forked with."""
        return None

    @abstractmethod
    def ends(self, made: Any, side: int) -> Ends:
        """Those of side 0 (pings, produces) or 1."""

    def finish(self, made: Any) -> None:
        """Give back what `prepare` made."""
        return

    def hop_round(self, trips: int) -> Times:
        """A message there and one back."""
        out, made = shared_words(trips), self.prepare()

        def ping(meet: Meet) -> None:
            send, receive, close = self.ends(made, 0)
            wrong = 0
            meet()
            for k in range(trips):
                before = time.monotonic_ns()
                send(MESSAGE)
                got = receive()
                out[k] = time.monotonic_ns() - before
                wrong += got != MESSAGE
            close()
            check(wrong)

        def pong(meet: Meet) -> None:
            send, receive, close = self.ends(made, 1)
            meet()
            for _ in range(trips):
                send(receive())
            close()

        try:
            together(ping, pong)
        finally:
            self.finish(made)
        return out

    def flow_round(self, flow: Flow, messages: int) -> float:
        """One side sends, the other receives all and checks each."""
        made = self.prepare()

        def produce(meet: Meet) -> None:
            send, _, close = self.ends(made, 0)
            meet()
            for _ in range(messages):
                send(MESSAGE)
            close()

        def consume(meet: Meet) -> None:
            _, receive, close = self.ends(made, 1)
            meet()
            wrong = 0
            for _ in range(messages):
                wrong += receive() != MESSAGE
            close()
            check(wrong)

        try:
            return timed(messages, produce, consume)
        finally:
            self.finish(made)
