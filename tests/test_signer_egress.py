"""Signer proxy, pod and egress: real processes, real sockets; signatures judged by other libraries than the pod's."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import coincurve
import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from nacl.signing import VerifyKey

from enclave_signer import wire
from nodes import SmallNode, until
from sovereign.actors.egress.actor import EgressConfig
from sovereign.actors.egress.transport import TcpTransport, UdpTransport
from sovereign.actors.signer_proxy.actor import PolicyConfig, SignerConfig
from sovereign.messages.orders import (
    BUY,
    HaltAck,
    NewOrder,
    OrderRefused,
    Sending,
    Sent,
    SignedOrder,
    Uncertain,
)
from sovereign.runtime import control, layout
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.writer import Writer

SIGNER = "sovereign.actors.signer_proxy.actor:SignerProxy"
EGRESS = "sovereign.actors.egress.actor:Egress"


def _signer(folder: Path, **more: Any) -> SignerConfig:
    return SignerConfig(folder=str(folder), policy=PolicyConfig(max_qty=100), **more)


def _order(writer: Writer, qty: int = 1, epoch: int = 0, **more: Any) -> None:
    fields = {"instrument": 7, "side": BUY, "px_e9": 5_000_000_000, "qty": qty, **more}
    writer.put(NewOrder, fields, origin_ns=time.time_ns(), cause_seq=1, halt_epoch=epoch)
    writer.publish()


def _take(reader: Reader, kind: type[Message], count: int) -> np.ndarray[Any, Any]:
    """The payloads of the next `count` messages of `kind`; others on the way are passed over."""
    found: list[Any] = []
    while len(found) < count:
        until(lambda: reader.available() > 0)
        slot = reader.slots(1)[0].copy()
        reader.commit(1)
        if slot["type_id"][0] == kind.type_id:
            found.append(layout.payload(slot, kind.dtype)[0])
    return np.array(found)


def _verifies(signed: Any) -> bool:
    """Ed25519 by libsodium, secp256k1 by OpenSSL: neither is what signed."""
    order = wire.ORDER.pack(
        *(int(signed[k]) for k in ("instrument", "side", "time_in_force", "strategy_flags")),
        *(int(signed[k]) for k in ("px_e9", "qty", "client_tag")),
    )
    names = (int(signed[k]) for k in ("order_actor", "order_generation", "order_seq"))
    message = wire.preimage(wire.Name(*names), order)
    signature, key = signed["signature"].tobytes(), signed["public_key"].tobytes()
    if signed["scheme"] == wire.ED25519:
        return VerifyKey(key[:32]).verify(message, signature) == message
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key)
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    try:
        public.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("scheme", ["ed25519", "secp256k1"])
def test_orders_are_signed_and_the_redo_after_kill_9_is_the_same(
    tmp_path: Path, scheme: str
) -> None:
    with SmallNode((NewOrder,), ("sign", SIGNER, _signer(tmp_path, scheme=scheme))) as node:
        writer, reader = Writer(node.name, "source", (NewOrder,)), Reader(node.name, "sign", "test")
        node.start(1)
        for _ in range(20):
            _order(writer)
        first = _take(reader, SignedOrder, 20)
        assert first["order_seq"].tolist() == list(range(1, 21))
        assert all(_verifies(one) for one in first)
        node.kill(1)
        node.start(1)
        for _ in range(5):
            _order(writer)
        again = _take(reader, SignedOrder, 5)
        assert again["order_seq"].tolist() == list(range(21, 26))
        assert again["public_key"][0].tobytes() == first["public_key"][0].tobytes()


def test_the_pods_policy_refuses_by_name(tmp_path: Path) -> None:
    with SmallNode((NewOrder,), ("sign", SIGNER, _signer(tmp_path))) as node:
        writer, reader = Writer(node.name, "source", (NewOrder,)), Reader(node.name, "sign", "test")
        node.start(1)
        _order(writer, qty=101)
        _order(writer, qty=0)
        _order(writer, qty=100, px_e9=1 << 60)
        refused = _take(reader, OrderRefused, 3)
        rules = [one["rule"].tobytes().rstrip(b"\0").decode() for one in refused]
        assert rules == ["max-qty", "qty-not-positive", "max-notional"]
        assert refused["stage"].tolist() == [2, 2, 2]


def test_halt_stops_signing_within_the_limit_and_resume_begins_anew(tmp_path: Path) -> None:
    with SmallNode((NewOrder,), ("sign", SIGNER, _signer(tmp_path))) as node:
        writer, reader = Writer(node.name, "source", (NewOrder,)), Reader(node.name, "sign", "test")
        node.start(1)
        _order(writer)
        _take(reader, SignedOrder, 1)
        supervisor = control.Control(node.name, writable=True)
        epoch = supervisor.halt()
        until(lambda: node.control.counters(1)["halt_epoch"] == epoch)
        assert _take(reader, HaltAck, 1)["halted"][0] == 1
        _order(writer)
        assert _take(reader, OrderRefused, 1)["rule"][0].tobytes().rstrip(b"\0") == b"halted"
        epoch = supervisor.resume()
        assert _take(reader, HaltAck, 1)["halted"][0] == 0
        _order(writer, epoch=epoch)
        assert _take(reader, SignedOrder, 1)["halt_epoch"][0] == epoch


def test_an_order_that_waited_across_a_halt_and_its_resumption_is_not_signed(
    tmp_path: Path,
) -> None:
    """The signer was dead all the while: the order's slot says of which epoch it is."""
    with SmallNode((NewOrder,), ("sign", SIGNER, _signer(tmp_path))) as node:
        writer, reader = Writer(node.name, "source", (NewOrder,)), Reader(node.name, "sign", "test")
        _order(writer)
        supervisor = control.Control(node.name, writable=True)
        halted = supervisor.halt()
        _order(writer, epoch=halted)  # made while the halt stood
        _order(writer, epoch=supervisor.resume())
        node.start(1)
        refused = _take(reader, OrderRefused, 2)
        rules = {one["rule"].tobytes().rstrip(b"\0") for one in refused}
        assert rules == {b"stale-halt-epoch"}
        assert refused["order_seq"].tolist() == [1, 2]
        assert _take(reader, SignedOrder, 1)["order_seq"][0] == 3


def _chain(folder: Path, egress: EgressConfig) -> SmallNode:
    return SmallNode((NewOrder,), ("sign", SIGNER, _signer(folder)), ("out", EGRESS, egress))


def test_udp_carries_the_signed_bytes(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as venue:
        venue.bind(("127.0.0.1", 0))
        venue.settimeout(10)
        to = f"127.0.0.1:{venue.getsockname()[1]}"
        with _chain(tmp_path, EgressConfig(transport=UdpTransport(to=to))) as node:
            writer, reader = (
                Writer(node.name, "source", (NewOrder,)),
                Reader(node.name, "out", "test"),
            )
            node.start(1)
            node.start(2)
            for _ in range(3):
                _order(writer)
            got = [SignedOrder.view(venue.recv(2048)) for _ in range(3)]
            assert [int(one["order_seq"]) for one in got] == [1, 2, 3]
            assert all(_verifies(one) for one in got)
            assert _take(reader, Sent, 3)["order_seq"].tolist() == [1, 2, 3]


def test_tcp_waits_for_the_venue_and_loses_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = EgressConfig(transport=TcpTransport(to=f"127.0.0.1:{port}", max_backoff_ms=20))
    with _chain(tmp_path, config) as node:
        writer = Writer(node.name, "source", (NewOrder,))
        node.start(1)
        node.start(2)
        _order(writer)
        until(lambda: "cannot be reached" in node.log("out"))
        with socket.create_server(("127.0.0.1", port)) as venue:
            _order(writer)
            connection, _ = venue.accept()
            connection.settimeout(10)
            data = b""
            while len(data) < 2 * (4 + SignedOrder.dtype.itemsize):
                data += connection.recv(4096)
            sizes = [data[:4], data[4 + 160 : 8 + 160]]
            assert [int.from_bytes(size, "little") for size in sizes] == [160, 160]
            connection.close()


@pytest.mark.parametrize("dedupes", [True, False])
def test_an_intent_without_completion_is_sent_again_or_uncertain(
    tmp_path: Path, dedupes: bool
) -> None:
    """A kill right between intent and completion, made by writing that very state."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as venue:
        venue.bind(("127.0.0.1", 0))
        venue.settimeout(10)
        to = UdpTransport(to=f"127.0.0.1:{venue.getsockname()[1]}")
        with _chain(tmp_path, EgressConfig(transport=to, dedupes=dedupes)) as node:
            writer, reader = (
                Writer(node.name, "source", (NewOrder,)),
                Reader(node.name, "out", "test"),
            )
            node.start(1)
            _order(writer)
            until(lambda: node.control.counters(1)["signed"] == 1)
            _leave_an_intent_open(node)
            node.start(2)
            if dedupes:
                assert int(SignedOrder.view(venue.recv(2048))["order_seq"]) == 1
                sent = _take(reader, Sent, 1)
                assert sent["attempt"].tolist() == [2]
            else:
                assert _take(reader, Uncertain, 1)["order_seq"].tolist() == [1]
                venue.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    venue.recv(2048)


def _leave_an_intent_open(node: SmallNode) -> None:
    from sovereign.actors.egress.actor import Pending
    from sovereign.runtime.state import StateStore
    from sovereign.runtime.step import Step

    reader, writer = Reader(node.name, "sign", "out"), Writer(node.name, "out")
    step = Step(StateStore(node.name, "out", Pending, [reader], writer))
    state = step.begin()
    assert state is not None
    state["input"], state["sequence"], state["attempt"] = 0, 1, 1
    intent = Sending.new(order_actor=0, attempt=1, order_generation=1, order_seq=1)
    step.put(Sending, intent, origin_ns=1)
    step.commit()


def test_an_order_of_an_older_halt_epoch_never_leaves(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as venue:
        venue.bind(("127.0.0.1", 0))
        venue.settimeout(0.3)
        to = UdpTransport(to=f"127.0.0.1:{venue.getsockname()[1]}")
        with _chain(tmp_path, EgressConfig(transport=to)) as node:
            writer, reader = (
                Writer(node.name, "source", (NewOrder,)),
                Reader(node.name, "out", "test"),
            )
            node.start(1)
            _order(writer)
            until(lambda: node.control.counters(1)["signed"] == 1)
            supervisor = control.Control(node.name, writable=True)
            supervisor.halt()
            supervisor.resume()
            node.start(2)
            refused = _take(reader, OrderRefused, 1)
            assert refused["rule"][0].tobytes().rstrip(b"\0") == b"stale-halt-epoch"
            with pytest.raises(TimeoutError):
                venue.recv(2048)


def test_the_key_is_not_in_the_proxys_memory(tmp_path: Path) -> None:
    with SmallNode((NewOrder,), ("sign", SIGNER, _signer(tmp_path))) as node:
        writer, reader = Writer(node.name, "source", (NewOrder,)), Reader(node.name, "sign", "test")
        pid = node.start(1)
        _order(writer)
        _take(reader, SignedOrder, 1)
        secret = (tmp_path / "ed25519.key").read_bytes()
        assert len(secret) == 32
        assert not _memory_holds(pid, secret)
        assert _memory_holds(pid, b"SOVEREIGN-ORDER") or _memory_holds(pid, b"ed25519")


def _memory_holds(pid: int, needle: bytes) -> bool:
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb") as memory:
        for line in maps:
            span, rights = line.split()[:2]
            first, last = (int(word, 16) for word in span.split("-"))
            if "r" not in rights or first >= 1 << 63:
                continue
            try:
                memory.seek(first)
                if needle in memory.read(last - first):
                    return True
            except OSError:
                continue
    return False


def test_the_pod_ends_when_the_proxy_is_killed(tmp_path: Path) -> None:
    with SmallNode((NewOrder,), ("sign", SIGNER, _signer(tmp_path))) as node:
        pid = node.start(1)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert len(children) == 1
        node.kill(1, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{children[0]}/exe").exists())


def test_low_s_and_rfc_6979(tmp_path: Path) -> None:
    """RFC 6979 has no secp256k1 vectors of its own: coincurve and a second signing agree, and s is low."""
    from enclave_signer.keys import open_key

    key = open_key(tmp_path, "secp256k1")
    signatures = {key.sign(b"message") for _ in range(3)}
    assert len(signatures) == 1
    signature = signatures.pop()
    assert (
        int.from_bytes(signature[32:])
        <= 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2
    )
    der = coincurve.PublicKey(key.public)
    encoded = utils.encode_dss_signature(
        int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    )
    assert der.verify(encoded, b"message")
    assert os.stat(tmp_path / "secp256k1.key").st_mode & 0o777 == 0o400
    assert hashlib.sha256((tmp_path / "secp256k1.key").read_bytes()).digest()
