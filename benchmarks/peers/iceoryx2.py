"""iceoryx2 (Rust, zero copy in shared memory) through its Python interface; polling, and no sample is ever dropped."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from sovereign.benchmarks.pair import Meet, shared_words, timed
from sovereign.benchmarks.peer import MESSAGE_BYTES, READERS, Flow, module
from sovereign.benchmarks.peers.channel import MESSAGE, WAIT_S, ChannelPeer, Ends, check
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.shm import SHM_FOLDER

_BUFFERED = 1024
_LOOKS = 100_000


class _Payload(ctypes.Structure):
    """64 bytes."""

    _fields_ = [("words", ctypes.c_int64 * (MESSAGE_BYTES // 8))]


class Iceoryx2(ChannelPeer):
    """A publisher and a subscriber a service, one service each way."""

    name = "iceoryx2"
    flows = tuple(Flow(shape, 1) for shape in READERS)
    trips_share, messages_share = 0.25, 0.02

    def __init__(self) -> None:
        self._iox = module("iceoryx2", "the peer", "iceoryx2")
        self._iox.set_log_level(self._iox.LogLevel.Error)
        self._round = 0
        self._root = Path(tempfile.mkdtemp(prefix="sovereign-bench-"))
        self._prefix = f"sovereign_bench_{os.getpid()}_"
        self._config = self._iox.config.default()
        self._config.global_cfg.root_path = self._iox.Path.new(str(self._root))
        self._config.global_cfg.prefix = self._iox.FileName.new(self._prefix)

    def prepare(self) -> str:
        """A name that nobody else's services have."""
        self._round += 1
        return f"sovereign-bench-{os.getpid()}-{self._round}"

    def _service(self, node: Any, name: str) -> Any:
        """A full subscriber holds the publisher back: nothing is overwritten."""
        builder = node.service_builder(self._iox.ServiceName.new(name)).publish_subscribe(_Payload)
        builder = builder.enable_safe_overflow(False).subscriber_max_buffer_size(_BUFFERED)
        return builder.max_subscribers(max(READERS.values())).open_or_create()

    def _publisher(self, service: Any) -> tuple[Any, Any]:
        """The publisher, and what sends 64 bytes by it."""
        waits = self._iox.BackpressureStrategy.RetryUntilDelivered
        publisher = service.publisher_builder().backpressure_strategy(waits).create()

        def send(message: bytes) -> None:
            sample = publisher.loan_uninit()
            ctypes.memmove(sample.payload_ptr, message, MESSAGE_BYTES)
            sample.assume_init().send()

        return publisher, send

    def _subscriber(self, service: Any) -> tuple[Any, Any]:
        """The subscriber, and what polls until 64 bytes are there."""
        subscriber = service.subscriber_builder().create()

        def receive() -> bytes:
            looks, since = 0, 0.0
            while (sample := subscriber.receive()) is None:
                looks += 1
                if looks % _LOOKS == 0:
                    since = since or time.monotonic()
                    _patience(since)
            return ctypes.string_at(sample.payload_ptr, MESSAGE_BYTES)

        return subscriber, receive

    def _node(self) -> Any:
        builder = self._iox.NodeBuilder.new().config(self._config)
        return builder.create(self._iox.ServiceType.Ipc)

    def close(self) -> None:
        """What iceoryx2 keeps for its next user goes too: it is ours alone."""
        shutil.rmtree(self._root, ignore_errors=True)
        for left in SHM_FOLDER.glob(f"{self._prefix}*"):
            left.unlink(missing_ok=True)

    def ends(self, made: Any, side: int) -> Ends:
        """Ports of this process's own node; `close` gives them up in order, so that no file is left."""
        held = [self._node()]
        held += [self._service(held[0], f"{made}-{end}") for end in (side, 1 - side)]
        publisher, send = self._publisher(held[1])
        subscriber, receive = self._subscriber(held[2])

        def close() -> None:
            publisher.delete()
            subscriber.delete()
            while held:
                held.pop()

        return Ends(send, receive, close)

    def flow_round(self, flow: Flow, messages: int) -> float:
        """One service; each reader is a subscriber of it."""
        name, readers = self.prepare(), READERS[flow.shape]
        done = shared_words(readers)

        def produce(meet: Meet) -> None:
            held = [self._node()]
            held.append(self._service(held[0], name))
            publisher, send = self._publisher(held[1])
            meet()
            for _ in range(messages):
                send(MESSAGE)
            while not done.all():  # what a publisher has sent goes with it
                time.sleep(0.001)
            publisher.delete()
            while held:
                held.pop()

        def consume(reader: int, meet: Meet) -> None:
            held = [self._node()]
            held.append(self._service(held[0], name))
            subscriber, receive = self._subscriber(held[1])
            meet()
            wrong = 0
            for _ in range(messages):
                wrong += receive() != MESSAGE
            done[reader] = 1
            subscriber.delete()
            while held:
                held.pop()
            check(wrong)

        return timed(messages, produce, *(partial(consume, one) for one in range(readers)))


def _patience(since: float) -> None:
    """SovereignError when nothing came for WAIT_S."""
    if time.monotonic() - since > WAIT_S:
        raise SovereignError(f"iceoryx2: no message in {WAIT_S} s")
