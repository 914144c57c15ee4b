"""ZeroMQ by pyzmq over ipc:// (a UNIX socket, an I/O thread on each side): PAIR sockets, which lose nothing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from sovereign.benchmarks.peer import module
from sovereign.benchmarks.peers.channel import WAIT_S, ChannelPeer, Ends


class PyZmq(ChannelPeer):
    """One PAIR socket a side; a full one waits."""

    name = "pyzmq"
    trips_share, messages_share = 0.05, 0.1

    def __init__(self) -> None:
        self._zmq = module("zmq", "the peer", "pyzmq")

    def prepare(self) -> str:
        """A folder for the socket."""
        return tempfile.mkdtemp(prefix="sovereign-bench-")

    def ends(self, made: Any, side: int) -> Ends:
        """Context and I/O thread are made here, on the side's own core."""
        context = self._zmq.Context()
        socket = context.socket(self._zmq.PAIR)
        socket.rcvtimeo = socket.sndtimeo = socket.linger = WAIT_S * 1000
        address = f"ipc://{Path(made) / 'socket'}"
        if side == 0:
            socket.bind(address)
        else:
            socket.connect(address)

        def close() -> None:
            socket.close()
            context.term()

        return Ends(socket.send, socket.recv, close)

    def finish(self, made: Any) -> None:
        """The folder goes."""
        shutil.rmtree(made, ignore_errors=True)
