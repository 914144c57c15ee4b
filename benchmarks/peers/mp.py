"""The standard library's own: multiprocessing.Queue (a feeder thread, pickle, a lock) and Pipe (a socket pair)."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

from sovereign.benchmarks.peers.channel import WAIT_S, ChannelPeer, Ends


class MpQueue(ChannelPeer):
    """Two queues, one each way."""

    name = "mp-queue"
    trips_share = messages_share = 0.02

    def prepare(self) -> Any:
        """Queues are inherited by fork."""
        context = multiprocessing.get_context("fork")
        return context.Queue(), context.Queue()

    def ends(self, made: Any, side: int) -> Ends:
        """`close` waits until the feeder thread has sent what was put."""
        ours, theirs = made[side], made[1 - side]

        def close() -> None:
            ours.close()
            ours.join_thread()

        return Ends(ours.put, lambda: theirs.get(timeout=WAIT_S), close)

    def finish(self, made: Any) -> None:
        """Close the pipes below."""
        for queue in made:
            queue.close()


class MpPipe(ChannelPeer):
    """One duplex pipe, bytes as they are."""

    name = "mp-pipe"
    trips_share, messages_share = 0.1, 0.05

    def prepare(self) -> tuple[Connection, Connection]:
        """Both ends are inherited by fork."""
        return multiprocessing.Pipe()

    def ends(self, made: Any, side: int) -> Ends:
        """The other side's end is closed here, so that its death is an end of file."""
        made[1 - side].close()
        end = made[side]
        return Ends(end.send_bytes, end.recv_bytes, end.close)

    def finish(self, made: Any) -> None:
        """Close both."""
        for end in made:
            end.close()
