"""The ingress as a process over made captures: counters, kill -9 with many channels, packets that give too much."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from captures import datagram, ethernet, pcap
from lines import mold
from nodes import SmallNode, until
from sovereign.actors import warm  # noqa: F401  (a cold cache is filled here, not while a node waits)
from sovereign.actors.ingress.actor import IngressConfig
from sovereign.actors.ingress.drivers.file import PcapDriver
from sovereign.actors.ingress.drivers.udp import UdpDriver
from sovereign.messages.market import Gap, Heartbeat, Raw, Reset
from sovereign.runtime import layout
from sovereign.runtime.counters import FAILED
from sovereign.runtime.observer import Observer
from sovereign.runtime.reader import Reader

ENTRY = "sovereign.actors.ingress.actor:Ingress"
ONE, TWO = "224.0.31.1", "224.0.31.2"
OnFull = Literal["wait", "drop"]


def _file(folder: Path, frames: list[bytes]) -> Path:
    path = folder / "made.pcap"
    path.write_bytes(pcap(frames))
    return path


def _config(path: Path, on_full: OnFull = "wait") -> IngressConfig:
    return IngressConfig(
        driver=PcapDriver(path=str(path)), decoder={"kind": "itch50"}, on_full=on_full
    )


def _node(config: IngressConfig, capacity: int = 1024) -> SmallNode:
    return SmallNode((Heartbeat,), ("feed", ENTRY, config), capacity=capacity)


def test_every_reason_is_counted_and_the_file_is_told(tmp_path: Path) -> None:
    frames = [
        datagram(ONE, 1, mold("MON", 1, 2)),
        datagram(TWO, 2, mold("MON", 700, 1)),
        datagram(ONE, 1, mold("MON", 5, 1)),
        datagram(ONE, 1, mold("MON", 3, 1)),
        datagram(ONE, 1, mold("MON", 1, 2)),
        datagram(ONE, 1, mold("MON", 5, 2)),
        datagram(ONE, 1, mold("MON", 1 << 60, 1)),
        datagram(ONE, 1, mold("MON", 7, 1, claimed=9)),
        datagram(ONE, 1, mold("TUE", 1, 1)),
        ethernet(bytes(46), kind=0x0806),
    ]
    with _node(_config(_file(tmp_path, frames))) as node:
        node.start(1)
        counters = node.control.counters(1)
        until(lambda: counters["done"])
        counted = counters.as_dict()
        slots = Observer(node.name, "feed", "oldest").read(100)
        log = node.log("feed")
    expected = {"packets": 9, "gaps": 2, "late": 1, "duplicates": 1, "overlaps": 1, "resets": 1}
    expected |= {"implausible": 1, "malformed": 1, "skipped": 1, "channel_drops": 0, "outputs": 8}
    assert {name: counted[name] for name in expected} == expected
    kinds = [{Raw.type_id: "Raw", Gap.type_id: "Gap", Reset.type_id: "Reset"}[int(t)] for t in slots["type_id"]]  # fmt: skip
    assert kinds == ["Raw", "Raw", "Raw", "Gap", "Raw", "Raw", "Reset", "Raw"]
    assert "not_ip" in log and f"{TWO}:2" in log


def test_a_file_with_a_channel_too_many_says_so(tmp_path: Path) -> None:
    frames = [datagram(ONE, 1 + i % 66, mold("MON", 1 + i // 66, 1)) for i in range(132)]
    with _node(_config(_file(tmp_path, frames))) as node:
        node.start(1)
        counters = node.control.counters(1)
        until(lambda: counters["done"])
        assert (counters["outputs"], counters["channel_drops"]) == (128, 4)
        assert "channels=66" in node.log("feed").replace('"channels": ', "channels=")


def _mixture(seed: int) -> list[bytes]:
    """Packets of six channels and three sessions: gaps, repeats, overlaps, forged and malformed ones."""
    chance = np.random.default_rng(seed)
    place: dict[tuple[int, str], int] = {}
    frames = []
    for i in range(900):
        channel, session = int(chance.integers(6)), "MON" if i < 300 else f"DAY{i // 300}"
        number = place.get((channel, session), 1)
        number = max(1, number + int(chance.choice([0, 0, 0, 0, 2, -1, -3, 1 << 58])))
        count = int(chance.integers(0, 4))
        claimed = 9 if chance.random() < 0.05 else count
        if claimed == count and number < 1 << 58:
            place[channel, session] = max(number + count, place.get((channel, session), 1))
        frames.append(datagram(ONE, channel, mold(session, number, count, claimed=claimed)))
    return frames


def _all(path: Path, kills: int) -> tuple[Any, dict[str, int]]:
    """All slots that the ingress gives over a small ring, killed `kills` times on the way; its counts."""
    with _node(_config(path), capacity=64) as node:
        node.start(1)
        reader, counters = Reader(node.name, "feed", "test"), node.control.counters(1)
        taken: list[Any] = []
        while not (counters["done"] and reader.available() == 0):
            if kills and len(taken) % 7 == 3:
                node.kill(1)
                node.start(1)
                kills -= 1
            count = until(lambda: reader.available() or counters["done"])
            if reader.available() == 0:
                continue
            count = min(int(count), 17)
            taken += [part.copy() for part in reader.slots(count)]
            reader.commit(count)
        names = ("gaps", "late", "duplicates", "overlaps", "implausible", "resets", "malformed")
        return np.concatenate(taken), {name: counters[name] for name in names}


def test_killed_between_any_steps_the_channels_go_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    path = _file(tmp_path, _mixture(5))
    whole, counts = _all(path, 0)
    again, counts_again = _all(path, 6)
    assert counts == counts_again
    assert min(counts.values()) > 0, counts
    for slots in (whole, again):
        slots["origin_ns"] = slots["publish_ns"] = 0
        slots["generation"] = 0
    assert whole["sequence"].tolist() == list(range(1, len(whole) + 1))
    assert whole.tobytes() == again.tobytes()


@pytest.mark.parametrize("on_full", ["wait", "drop"])
@pytest.mark.parametrize(
    ("messages", "capacity", "said"),
    [(513, 2048, "than its decoder declares"), (300, 256, "than the ring holds")],
)
def test_a_packet_that_gives_too_much_is_named(
    tmp_path: Path, on_full: OnFull, messages: int, capacity: int, said: str
) -> None:
    frames = [datagram(ONE, 1, mold("MON", 1, 3)), datagram(ONE, 1, mold("MON", 4, messages))]
    path = _file(tmp_path, frames)
    with _node(_config(path, on_full), capacity=capacity) as node:
        reader = Reader(node.name, "feed", "test")
        node.start(1)
        counters = node.control.counters(1)
        until(lambda: counters["outputs"] == 3)
        reader.commit(until(reader.available))
        until(lambda: counters["phase"] == FAILED)
        assert node.reap(1) != 0
        assert said in node.log("feed") and f"{path}, packet 2" in node.log("feed")
        assert counters["full_drops"] == 0


def test_a_datagram_that_gives_too_much_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        port = int(sender.getsockname()[1])
        sender.close()
    driver = UdpDriver(listen=f"127.0.0.1:{port}", receive_buffer_bytes=1 << 20)
    config = IngressConfig(driver=driver, decoder={"kind": "itch50"}, on_full="drop")
    with _node(config, capacity=2048) as node:
        node.start(1)
        counters = node.control.counters(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(mold("MON", 1, 600), ("127.0.0.1", port))
        until(lambda: counters["phase"] == FAILED)
        assert node.reap(1) != 0
        assert f"127.0.0.1:{port}, datagram 1" in node.log("feed")


def test_the_largest_packet_that_is_declared_fits_however_full_the_ring_was(
    tmp_path: Path,
) -> None:
    """The ring's free slots are asked anew: what was free when they were last looked at is not enough."""
    small = [datagram(ONE, 1, mold("MON", 1 + i, 1)) for i in range(450)]
    path = _file(tmp_path, [*small, datagram(ONE, 1, mold("MON", 451, 512))])
    with _node(_config(path), capacity=512) as node:
        reader = Reader(node.name, "feed", "test")
        node.start(1)
        counters = node.control.counters(1)
        taken = 0
        while taken < 962:
            count = int(until(reader.available))
            last = reader.slots(count)[-1][-1:]
            taken += count
            reader.commit(count)
        assert int(layout.payload(last, Raw.dtype)["packet_seq"][0]) == 962
        until(lambda: counters["done"])
        assert counters["full_drops"] == 0
