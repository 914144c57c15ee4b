"""Datagrams over a real socket: the messages that a recording gives, the kernel's times, every drop counted."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time

import numpy as np

from nodes import SmallNode, until
from sovereign.actors.ingress.actor import IngressConfig
from sovereign.actors.ingress.drivers.udp import UdpDriver
from sovereign.messages.market import Heartbeat
from sovereign.runtime.observer import Observer

ENTRY = "sovereign.actors.ingress.actor:Ingress"


def _config(port: int, receive_buffer_bytes: int = 1 << 20) -> IngressConfig:
    driver = UdpDriver(listen=f"127.0.0.1:{port}", receive_buffer_bytes=receive_buffer_bytes)
    return IngressConfig(driver=driver, decoder={"kind": "itch50"})


def _heartbeat(sequence: int) -> bytes:
    """A MoldUDP64 heartbeat: session, next sequence, no message."""
    return b"SESSION001" + struct.pack(">QH", sequence, 0)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_each_datagram_becomes_its_messages_with_the_kernels_time() -> None:
    port = _free_port()
    with SmallNode((Heartbeat,), ("feed", ENTRY, _config(port)), capacity=4096) as node:
        node.start(1)
        observer = Observer(node.name, "feed", "oldest")
        counters = node.control.counters(1)
        before = time.time_ns()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for sequence in range(1, 501):
                sender.sendto(_heartbeat(sequence), ("127.0.0.1", port))
        until(lambda: counters["packets"] == 500)
        slots = observer.read(4096)
        assert len(slots) == counters["outputs"] > 0
        assert np.all(slots["origin_ns"] >= before)
        assert np.all(slots["origin_ns"] <= slots["publish_ns"])
        assert np.all(np.diff(slots["cause_seq"].astype(np.int64)) >= 0)
        assert counters["drops"] == 0
        assert counters["bytes"] == 500 * 20


def test_what_the_kernel_dropped_is_counted() -> None:
    port = _free_port()
    with SmallNode((Heartbeat,), ("feed", ENTRY, _config(port, 4096)), capacity=4096) as node:
        pid = node.start(1)
        counters = node.control.counters(1)
        os.kill(pid, signal.SIGSTOP)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for sequence in range(1, 2001):
                sender.sendto(_heartbeat(sequence), ("127.0.0.1", port))
            os.kill(pid, signal.SIGCONT)
            until(lambda: counters["packets"] > 0)
            sender.sendto(_heartbeat(2001), ("127.0.0.1", port))  # tells of those before it
        until(lambda: counters["packets"] + counters["drops"] == 2001)
        assert counters["drops"] > 100


def test_a_kill_between_datagrams_goes_on_with_the_next() -> None:
    port = _free_port()
    with SmallNode((Heartbeat,), ("feed", ENTRY, _config(port)), capacity=4096) as node:
        counters = node.control.counters(1)
        for life in range(3):
            node.start(1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for sequence in range(20):
                    sender.sendto(_heartbeat(life * 20 + sequence + 1), ("127.0.0.1", port))
            until(lambda life=life: counters["packets"] == 20 * (life + 1))  # type: ignore[misc]
            node.kill(1)
        observer = Observer(node.name, "feed", "oldest")
        slots = observer.read(4096)
        assert len(slots) and np.array_equal(slots["sequence"], np.arange(1, len(slots) + 1))
