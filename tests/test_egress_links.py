"""The ways to a venue, against real sockets: nothing waits, nothing is believed sent that went nowhere."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from nodes import SmallNode, until
from sovereign.actors.egress import tcp, transport
from sovereign.actors.egress.actor import BROKEN, CRASHED, CUT_BY_HALT, Egress, EgressConfig
from sovereign.actors.egress.tcp import TcpLink
from sovereign.actors.egress.transport import TcpTransport, UdpTransport, make_link, wrong_in
from sovereign.actors.egress.unacknowledged import FRAME_BYTES
from sovereign.messages.orders import HaltAck, OrderRefused, Sending, Sent, SignedOrder, Uncertain
from sovereign.runtime import control, layout, limits
from sovereign.runtime.address import parse_venue
from sovereign.runtime.errors import InputError, ResourceError
from sovereign.runtime.reader import Reader
from sovereign.runtime.writer import Writer

EGRESS = "sovereign.actors.egress.actor:Egress"


def _venue(host: str = "127.0.0.1", receive_bytes: int = 0) -> tuple[socket.socket, str]:
    """A listening socket and its address as a topology says it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    venue = socket.socket(family, socket.SOCK_STREAM)
    venue.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if receive_bytes:
        venue.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    venue.bind((host, 0))
    venue.listen()
    venue.settimeout(20)
    port = venue.getsockname()[1]
    return venue, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _link(to: str, **more: Any) -> tuple[Any, Counter[str]]:
    counts: Counter[str] = Counter()
    config = TcpTransport(to=to, max_backoff_ms=20, **more)
    return make_link(config, counts, structlog.get_logger()), counts


def _tended(link: Any, condition: Callable[[], Any]) -> Any:
    def turn() -> Any:
        link.tend(may_connect=True)
        return condition()

    return until(turn)


def _all_of(connection: socket.socket) -> bytes:
    """What arrives until the connection ends, in order or cut."""
    connection.settimeout(10)
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(1 << 16):
            data += more
    return data


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_that_the_venue_ended_is_seen_before_the_next_message(host: str) -> None:
    venue, to = _venue(host)
    with venue:
        link, counts = _link(to)
        _tended(link, lambda: link.up)
        connection, _ = venue.accept()
        assert link.ready(160)
        assert link.send(b"one")
        assert connection.recv(16) == b"\3\0\0\0one"
        connection.close()
        time.sleep(0.05)
        link.tend(may_connect=True)
        assert not link.up and not link.ready(160)
        assert link.lost == "the venue closed the connection"
        assert link.acked == link.written == 7
        link.write_off()
        _tended(link, lambda: link.up)
        assert counts["reconnects"] == 1
        link.close()


def test_bytes_that_met_a_closed_venue_are_known_as_unacknowledged() -> None:
    """Sent into the moment between the venue's close and our look: the reset tells, and the bytes are lost."""
    venue, to = _venue()
    with venue:
        link, _ = _link(to)
        _tended(link, lambda: link.up)
        connection, _ = venue.accept()
        assert link.ready(160)
        connection.close()
        time.sleep(0.05)
        assert link.send(b"to nobody")  # the kernel takes it all the same
        _tended(link, lambda: link.lost)
        assert link.written - link.acked == 4 + 9
        link.close()


def test_a_venue_that_does_not_read_is_given_no_more_than_the_bound() -> None:
    venue, to = _venue(receive_bytes=2048)
    with venue:
        link, _ = _link(to)
        _tended(link, lambda: link.up)
        connection, _ = venue.accept()
        sent = 0
        while link.ready(160):
            assert link.send(b"x" * 160)
            sent += 1
            time.sleep(0.0005)
            assert sent < 10_000
        assert (
            limits.EGRESS_QUEUED_MAX_BYTES - 164 < link.queued() <= limits.EGRESS_QUEUED_MAX_BYTES
        )
        link.abort("enough")
        assert link.lost == "enough"
        acked = link.acked
        assert link.written - acked > 0
        link.close()
        got = _all_of(connection)
        assert len(got) <= acked + 2048 and len(got) < link.written
        connection.close()


def test_what_the_venue_sends_is_read_and_counted() -> None:
    venue, to = _venue()
    with venue:
        link, counts = _link(to)
        _tended(link, lambda: link.up)
        connection, _ = venue.accept()
        connection.settimeout(0.2)
        left = b"answer " * 1_000_000
        while left:
            with contextlib.suppress(TimeoutError):
                left = left[connection.send(left) :]
            link.tend(may_connect=True)
        _tended(link, lambda: counts["received_bytes"] == 7_000_000)
        assert link.ready(160)
        connection.close()
        link.close()


def test_a_message_that_the_kernel_takes_in_parts_arrives_whole() -> None:
    venue, to = _venue(receive_bytes=4096)
    with venue:
        link, _ = _link(to)
        _tended(link, lambda: link.up)
        connection, _ = venue.accept()
        message = os.urandom(16_000_000)
        assert link.ready(len(message))
        assert not link.send(message) and link.begun
        assert not link.ready(160)
        got = b""
        while len(got) < len(message) + 4:
            link.flush()
            got += connection.recv(1 << 20)
        assert not link.begun
        assert got == len(message).to_bytes(4, "little") + message
        link.close()
        connection.close()


def test_names_are_looked_up_once_and_a_name_without_address_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    venue, to = _venue()
    asked: list[str] = []
    real = socket.getaddrinfo

    def lookup(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    link, _ = _link(to.replace("127.0.0.1", "localhost"))
    with venue:
        _tended(link, lambda: link.up)  # ::1 first, where nobody listens, then 127.0.0.1
    link.tend(may_connect=True)
    until(lambda: (link.tend(may_connect=True), link.lost or not link.up)[1])
    assert asked == ["localhost"]
    link.close()
    with pytest.raises(ResourceError, match="nowhere.invalid has no address"):
        _link("nowhere.invalid:9")


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "::1:9", ":9", "host:0", "host:65536", "h:x", "[]:9"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_venue(text)
    assert len(wrong_in(UdpTransport(to=text))) == 1


def test_addresses_and_times_are_checked() -> None:
    assert parse_venue("[::1]:9") == ("::1", 9)
    assert wrong_in(TcpTransport(to="venue:9")) == []
    assert wrong_in(TcpTransport(to="venue:9", ack_timeout_ms=0)) == [
        "ack_timeout_ms = 0 is not from 1 to 600,000"
    ]


def test_a_refused_datagram_is_not_the_next_ones_failure() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    counts: Counter[str] = Counter()
    logged: list[str] = []

    class Log:
        def warning(self, event: str, **_: Any) -> None:
            logged.append(event)

    link = transport.make_link(UdpTransport(to=f"127.0.0.1:{port}"), counts, Log())
    for _ in range(5):
        assert link.send(b"unheard")
    assert counts["unheard"] == 4
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as venue:
        venue.bind(("127.0.0.1", port))
        venue.settimeout(10)
        assert link.send(b"heard")
        assert venue.recv(64) == b"heard"
        venue.sendto(
            b"answer", venue.getsockname()
        )  # not from us: a connected socket is deaf to others
        link.tend(may_connect=True)
    assert counts["unheard"] == 5
    assert logged == ["the venue's host refuses datagrams"]
    link.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a network namespace: root")
def test_a_socket_that_met_itself_is_no_venue() -> None:
    """TCP's simultaneous open: without a listener, a connection to a port of one's own range can succeed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b"failed"
        try:
            assert ctypes.CDLL(None).unshare(0x40000000) == 0
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40000")
            link, _ = _link("127.0.0.1:40000")
            _tended(link, lambda: link.reason or link.up)
            said = link.reason.encode()
        finally:
            os.write(write, said)
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 256) == b"nobody listens: the socket met itself"


# The egress itself, on real rings.


def _put(writer: Writer, count: int, epoch: int = 0) -> None:
    for _ in range(count):
        fields = {"order_generation": 1, "order_seq": writer.cursor + 1, "halt_epoch": epoch}
        writer.put(SignedOrder, fields, origin_ns=time.time_ns(), cause_seq=1, halt_epoch=epoch)
        writer.publish()


@contextlib.contextmanager
def _egress(to: str, **more: Any) -> Iterator[tuple[SmallNode, Writer, Reader]]:
    config = EgressConfig(transport=TcpTransport(to=to, max_backoff_ms=20, **more))
    with SmallNode((SignedOrder,), ("out", EGRESS, config)) as node:
        yield node, Writer(node.name, "source", (SignedOrder,)), Reader(node.name, "out", "test")


def _messages(reader: Reader) -> list[tuple[str, int, int]]:
    """(type, order, reason) of all that the egress said since the last call."""
    found = []
    while reader.available():
        slot = reader.slots(1)[0].copy()
        reader.commit(1)
        for kind in (Sending, Sent, Uncertain, OrderRefused, HaltAck):
            if slot["type_id"][0] == kind.type_id:
                said = layout.payload(slot, kind.dtype)[0]
                order = int(said["order_seq"]) if kind is not HaltAck else 0
                reason = int(said["reason"]) if kind is Uncertain else 0
                found.append((kind.__name__, order, reason))
    return found


def _orders(data: bytes) -> list[int]:
    """The orders whose frames are whole in `data`."""
    whole = len(data) // FRAME_BYTES
    parts = [data[i * FRAME_BYTES + 4 : (i + 1) * FRAME_BYTES] for i in range(whole)]
    return [int(SignedOrder.view(part)["order_seq"]) for part in parts]


def test_an_order_behind_the_venues_close_goes_over_a_new_connection() -> None:
    venue, to = _venue()
    with venue, _egress(to) as (node, writer, reader):
        node.start(1)
        _put(writer, 1)
        first, _ = venue.accept()
        assert _orders(first.recv(FRAME_BYTES, socket.MSG_WAITALL)) == [1]
        first.close()
        time.sleep(0.3)
        _put(writer, 1)
        second, _ = venue.accept()
        second.settimeout(10)
        assert _orders(second.recv(FRAME_BYTES, socket.MSG_WAITALL)) == [2]
        until(lambda: node.control.counters(1)["sent"] == 2)
        assert node.control.counters(1)["reconnects"] >= 1
        assert _messages(reader) == [
            ("Sending", 1, 0), ("Sent", 1, 0), ("Sending", 2, 0), ("Sent", 2, 0),
        ]  # fmt: skip
        second.close()


def test_a_halt_leaves_nothing_in_the_kernel_and_forgets_no_order() -> None:
    venue, to = _venue(receive_bytes=2048)
    with venue, _egress(to) as (node, writer, reader):
        node.start(1)
        counters = node.control.counters(1)
        connection = None
        for _ in range(40):  # until the venue's window is closed and the bound is reached
            _put(writer, 20)
            connection = connection or venue.accept()[0]
            time.sleep(0.02)
        until(lambda: counters["held"] > 0)
        taken = counters["sent"]
        assert taken < 800
        epoch = control.Control(node.name, writable=True).halt()
        until(lambda: counters["halt_epoch"] == epoch)
        assert connection is not None
        got = _orders(_all_of(connection))
        until(lambda: reader.lag and not Reader(node.name, "source", "out").lag)
        said = []
        until(lambda: said.extend(_messages(reader)) or ("OrderRefused", 800, 0) in said)
        sent = [order for kind, order, _ in said if kind == "Sent"]
        lost = [order for kind, order, _ in said if kind == "Uncertain"]
        assert {reason for kind, _, reason in said if kind == "Uncertain"} == {CUT_BY_HALT}
        assert sent == list(range(1, len(sent) + 1)) and taken <= len(sent) < 800
        assert got == list(range(1, len(got) + 1))
        assert lost == list(range(lost[0], len(sent) + 1))
        assert set(sent) == set(got) | set(lost)  # each is there, or told as uncertain
        assert len(lost) * FRAME_BYTES <= limits.EGRESS_QUEUED_MAX_BYTES + FRAME_BYTES
        refused = [order for kind, order, _ in said if kind == "OrderRefused"]
        assert refused == list(range(len(sent) + 1, 801))
        connection.close()


def test_a_halt_is_acknowledged_while_a_connection_is_being_made() -> None:
    """A full backlog swallows the SYN: the attempt would take ten minutes."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as venue:
        venue.bind(("127.0.0.1", 0))
        venue.listen(0)
        port = venue.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        with _egress(f"127.0.0.1:{port}", connect_timeout_ms=600_000) as (node, writer, reader):
            node.start(1)
            _put(writer, 1)
            beat = node.control.counters(1)["heartbeat_ns"]
            until(lambda: node.control.counters(1)["heartbeat_ns"] > beat)
            epoch = control.Control(node.name, writable=True).halt()
            until(lambda: node.control.counters(1)["halt_epoch"] == epoch)
            until(lambda: reader.available() == 2)
            assert sorted(_messages(reader)) == [("HaltAck", 0, 0), ("OrderRefused", 1, 0)]
        for filler in fillers:
            filler.close()


def test_a_halt_meets_a_message_that_is_half_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes ten bytes of the frame and then no more: the rest never leaves, and the order is uncertain."""
    real = TcpLink._push
    asked: list[int] = []

    def ten_bytes(self: TcpLink, data: bytes) -> int:
        asked.append(len(data))
        return real(self, data[:10]) if len(asked) == 1 else 0

    monkeypatch.setattr(tcp.TcpLink, "_push", ten_bytes)
    venue, to = _venue()
    with venue, _egress(to) as (node, writer, reader):
        node.start(1)
        _put(writer, 1)
        connection, _ = venue.accept()
        assert len(connection.recv(10, socket.MSG_WAITALL)) == 10
        until(lambda: reader.available() == 1)
        assert node.control.counters(1)["sent"] == 0
        epoch = control.Control(node.name, writable=True).halt()
        until(lambda: node.control.counters(1)["halt_epoch"] == epoch)
        assert _all_of(connection) == b""
        until(lambda: reader.available() == 3)
        assert _messages(reader) == [
            ("Sending", 1, 0), ("Uncertain", 1, CUT_BY_HALT), ("HaltAck", 0, 0),
        ]  # fmt: skip
        connection.close()


@pytest.mark.parametrize("killed", [True, False])
def test_what_nobody_acknowledged_is_uncertain_after_a_kill_and_after_the_venues_reset(
    killed: bool,
) -> None:
    venue, to = _venue(receive_bytes=2048)
    with venue, _egress(to) as (node, writer, reader):
        node.start(1)
        counters = node.control.counters(1)
        _put(writer, 1)
        connection = venue.accept()[0]
        for _ in range(40):
            _put(writer, 20)
            time.sleep(0.02)
        until(lambda: counters["held"] > 0)
        if killed:
            node.kill(1)
            got = _orders(_all_of(connection))
            node.start(1)
        else:
            got = []
        connection.close()  # unread data: a reset
        second, _ = venue.accept()
        said: list[tuple[str, int, int]] = []
        until(lambda: said.extend(_messages(reader)) or [k for k, _, r in said if r])
        data = b""
        second.settimeout(10)
        while not data or _orders(data)[-1] != 801:
            data += second.recv(1 << 16)
            said.extend(_messages(reader))
        until(lambda: said.extend(_messages(reader)) or ("Sent", 801, 0) in said)
        lost = [order for kind, order, _ in said if kind == "Uncertain"]
        reasons = {reason for kind, _, reason in said if kind == "Uncertain"}
        assert reasons == {CRASHED if killed else BROKEN}
        assert lost == list(range(lost[0], lost[-1] + 1))
        assert _orders(data) == list(range(lost[-1] + 1, 802))  # nothing twice, nothing left out
        if killed:
            assert set(got) | set(lost) == set(range(1, lost[-1] + 1))
        second.close()


def test_the_most_that_a_step_gives_is_said() -> None:
    assert Egress.max_step_outputs(EgressConfig(transport=UdpTransport(to="127.0.0.1:9"))) == 4
