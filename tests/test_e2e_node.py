"""The whole node on recorded data, through the command line: counts, sums, signatures, causes, and the same bytes twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from data import market, needs_data
from sovereign.cli.signatures import verifies
from sovereign.messages.market import (
    NULL_PX,
    BookLevel,
    Gap,
    Heartbeat,
    OrderEvent,
    Raw,
    Statistic,
    Trade,
)
from sovereign.messages.orders import NewOrder, Sent, SignedOrder
from sovereign.runtime import layout
from sovereign.runtime.message import Message

pytestmark = needs_data

PILLARS = """
[actors.bus]
kind = "bus"
inputs = {feeds}

[actors.taker]
kind = "strategy"
plugin = "{plugin}"
params = {params}
inputs = ["bus"]

[actors.signer]
kind = "signer"
inputs = ["taker"]
folder = "{pod}"

[actors.egress]
kind = "egress"
inputs = ["signer"]
transport = {{ kind = "udp", to = "127.0.0.1:9" }}

[actors.auditor]
kind = "auditor"
inputs = {all}
"""


def _topology(folder: Path, feeds: dict[str, str], plugin: str, params: str) -> Path:
    """A topology over `feeds` (name: driver and decoder lines)."""
    text = f'[node]\nname = "e2e{os.getpid()}"\n'
    for name, lines in feeds.items():
        text += f'\n[actors.{name}]\nkind = "ingress"\n{lines}\n'
    names = json.dumps(list(feeds))
    every = json.dumps([*feeds, "bus", "taker", "signer", "egress"])
    pod = folder / "pod"
    text += PILLARS.format(feeds=names, plugin=plugin, params=params, all=every, pod=pod)
    path = folder / "topology.toml"
    path.write_text(text)
    return path


def _run(folder: Path, topology: Path, run: str) -> Path:
    """`sovereign up --until-idle`; the archive."""
    archive = folder / run / "archive"
    done = subprocess.run(
        [
            sys.executable, "-P", "-m", "sovereign.cli.main", "up", str(topology), "--until-idle", "--json",
            "--set", f'node.archive_dir="{archive}"', "--set", f'node.run_dir="{folder / run / "run"}"',
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "SOVEREIGN_RUN_DIR": str(folder / run / "base")},
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fatal"] == []
    return archive


def _slots(archive: Path, ring: str) -> Any:
    """All slots of a ring, by plain NumPy."""
    files = sorted(archive.glob(f"{ring}/g*/*.npy"))
    return np.concatenate([np.load(file, mmap_mode="r") for file in files])


def _of(slots: Any, kind: type[Message]) -> Any:
    mine = slots[slots["type_id"] == kind.type_id]
    return layout.payload(mine, kind.dtype) if len(mine) else np.zeros(0, kind.dtype)


def _check_orders(archive: Path, feeds: list[str], least: int) -> None:
    """Every order is signed, sent, and leads back to its packet."""
    taker, signer, egress = (_slots(archive, ring) for ring in ("taker", "signer", "egress"))
    orders, signed, sent = _of(taker, NewOrder), _of(signer, SignedOrder), _of(egress, Sent)
    assert len(orders) == len(signed) == len(sent) >= least
    assert all(verifies(one) for one in signed)
    bus = _slots(archive, "bus")
    sources = [_slots(archive, feed) for feed in feeds]
    for slot in taker[taker["type_id"] == NewOrder.type_id]:
        event = bus[int(slot["cause_seq"]) - 1]
        assert slot["cause_actor"] == len(feeds)
        origin = sources[int(event["cause_actor"])][int(event["cause_seq"]) - 1]
        assert origin["payload"].tobytes() == event["payload"].tobytes()[: origin["payload"].nbytes]
        assert origin["cause_actor"] == layout.NO_ACTOR
        assert origin["cause_seq"] >= 1
        assert origin["origin_ns"] == slot["origin_ns"]


def _same_but_for_times(first: Any, second: Any) -> bool:
    """All bytes but the header's two times and a Sent's own."""
    alike = []
    for slots in (first, second):
        copy = slots.copy()
        copy["origin_ns"] = copy["publish_ns"] = 0
        sent = copy["type_id"] == Sent.type_id
        raw = copy.view(np.uint8).reshape(len(copy), -1)
        at = layout.SLOT_PAYLOAD + Sent.dtype.fields["sent_ns"][1]  # type: ignore[index]
        raw[sent, at : at + 8] = 0
        alike.append(raw.tobytes())
    return alike[0] == alike[1]


def _cme(group: str) -> str:
    capture = market("cme/Cme.Mdp3.Sbe.v6.1.pcap")
    templates = market("oracle/schemas/Cme.Futures.Mdp3.Sbe.v1.6.xml")
    return (
        f'driver = {{ kind = "pcap", path = "{capture}", groups = ["{group}"] }}\n'
        f'decoder = {{ kind = "cme-mdp3", templates = "{templates}" }}'
    )


A, B = "224.0.31.64:14340", "224.0.32.64:15340"
TAKE = "{ threshold = 0.7, gap = 5, instrument = 133990 }"


def test_cme_lines_a_and_b_hold_exactly_the_published_counts_and_sums(tmp_path: Path) -> None:
    """The published table counts both lines; each line alone holds half of it."""
    feeds = {"feed_a": _cme(A), "feed_b": _cme(B)}
    archive = _run(tmp_path, _topology(tmp_path, feeds, "imbalance", TAKE), "one")
    templates: dict[int, int] = {}
    px_e7 = size = 0
    for feed in feeds:
        slots = _slots(archive, feed)
        assert len(_of(slots, Gap)) == len(_of(slots, Raw)) == 0
        for kind in (BookLevel, Trade, Statistic):
            entries = _of(slots, kind)
            priced = entries["px_e9"][entries["px_e9"] != NULL_PX]
            px_e7 += int((priced // 100).sum())
            size += int(entries["qty"].sum())
            for template, count in zip(
                *np.unique(entries["template"][entries["entry"] == 0], return_counts=True),
                strict=True,
            ):
                templates[int(template)] = templates.get(int(template), 0) + int(count)
        templates[12] = templates.get(12, 0) + len(_of(slots, Heartbeat))
    assert templates == {32: 19_138, 35: 614, 42: 388, 37: 388, 12: 18}
    assert (px_e7, size) == (70_360_570_000_000, 3_064_908)
    bus = _slots(archive, "bus")
    assert len(bus) == sum(len(_slots(archive, feed)) for feed in feeds)
    for index, feed in enumerate(feeds):
        mine = bus[bus["cause_actor"] == index]
        assert mine["cause_seq"].tolist() == list(range(1, len(_slots(archive, feed)) + 1))
    _check_orders(archive, list(feeds), 50)


def test_cme_line_a_twice_gives_the_same_bytes_in_every_ring_but_for_times(tmp_path: Path) -> None:
    topology = _topology(tmp_path, {"feed": _cme(A)}, "imbalance", TAKE)
    first, second = (_run(tmp_path, topology, run) for run in ("one", "two"))
    _check_orders(first, ["feed"], 50)
    for ring in ("feed", "bus", "taker", "signer", "egress"):
        assert _same_but_for_times(_slots(first, ring), _slots(second, ring)), ring


def test_itch_and_dbn_through_the_same_node(tmp_path: Path) -> None:
    itch, dbn = (tmp_path / name for name in ("itch", "dbn"))
    itch.mkdir()
    dbn.mkdir()
    driver = f'driver = {{ kind = "pcap", path = "{market("itch/ex20101224.TEST_ITCH_50")}" }}\n'
    feed = {"feed": driver + 'decoder = { kind = "itch50" }'}
    archive = _run(itch, _topology(itch, feed, "follow", "{ every = 20 }"), "one")
    slots = _slots(archive, "feed")
    added = _of(slots, OrderEvent)
    added = added[added["action"] == ord("A")]
    assert (len(slots), len(added)) == (12_012, 5_000)
    assert int(added["qty"].sum()) == 721_988
    assert int(added["px_e9"].sum()) // 100_000 == 731_462_495
    _check_orders(archive, ["feed"], 50)

    path = market("dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst")
    feed = {"feed": f'driver = {{ kind = "pcap", path = "{path}" }}\ndecoder = {{ kind = "dbn" }}'}
    params = "{ min_qty = 20, every = 20 }"
    archive = _run(dbn, _topology(dbn, feed, "follow", params), "one")
    events = _of(_slots(archive, "feed"), OrderEvent)
    priced = events["px_e9"][events["px_e9"] != NULL_PX]
    assert (len(events), int(priced.sum())) == (68_792, 330_362_247_500_000_000)
    assert int(events["qty"].sum()) == 192_312
    _check_orders(archive, ["feed"], 5)
