"""One slip in a whole node is one report, at its place: each case word for word in `golden/check_one_slip_each.txt`.

`UPDATE_GOLDEN=1` writes the golden text anew, for review.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sovereign.topology import examine
from sovereign.topology.cpus import Machine
from sovereign.topology.mistake import render

GOLDEN = Path(__file__).parent / "golden" / "check_one_slip_each.txt"
HOST = Machine(4, frozenset(range(4)))

NODE = """\
[node]
name = "demo"

[actors.feed]
kind = "ingress"
driver = { kind = "pcap", path = "day.dbn" }
decoder = { kind = "dbn" }

[actors.bus]
kind = "bus"
inputs = ["feed", { from = "venue", feedback = true }]

[actors.taker]
kind = "strategy"
plugin = "follow"
params = { min_qty = 1, every = 1 }
inputs = ["bus"]

[actors.signer]
kind = "signer"
inputs = ["taker"]
policy = { max_qty = 10, max_notional = 10_000_000 }

[actors.venue]
kind = "egress"
inputs = ["signer"]
transport = { kind = "udp", to = "127.0.0.1:9400" }

[actors.auditor]
kind = "auditor"
inputs = ["feed", "bus", "taker", "signer", "venue"]
"""
DBN = b"DBN\x02" + (8).to_bytes(4, "little") + bytes(8)
CAPTURE = b"\xd4\xc3\xb2\xa1" + bytes(20)
CME = ('"day.dbn" }\ndecoder = { kind = "dbn" }', '"day.pcap" }\ndecoder = { kind = "cme-mdp3"%s }')
UDP = ('kind = "pcap", path = "day.dbn"', 'kind = "udp", listen = "%s"')

# (what slipped, what stands in the file, what was written)
SLIPS = [
    ("plugin", '"follow"', '"folow"'),
    ("plugin's module", '"follow"', '"slip_brokn:Mine"'),
    ("plugin's class", '"follow"', '"slip_good:Mein"'),
    ("no strategy", '"follow"', '"slip_good:NUMBER"'),
    ("syntax error", '"follow"', '"slip_broken:Mine"'),
    ("needs a module", '"follow"', '"slip_needs:Mine"'),
    ("handler's form", '"follow"', '"slip_good:Odd"'),
    ("parameter's name", "every = 1", "evry = 1"),
    ("parameter's type", "min_qty = 1", "min_qty = 1.5"),
    ("parameter's range", "min_qty = 1", "min_qty = 9_223_372_036_854_775_808"),
    ("parameter is a boolean", "min_qty = 1", "min_qty = true"),
    ("parameter missing", 'plugin = "follow"\nparams = { min_qty = 1, every = 1 }', 'plugin = "slip_good:Asks"'),
    ("kind", 'kind = "bus"', 'kind = "bsu"'),
    ("auditor's kind", 'kind = "auditor"', 'kind = "auditr"'),
    ("kind that fails", 'kind = "bus"', 'kind = "slip_good:Fails"'),
    ("kind that exits", 'kind = "bus"', 'kind = "slip_good:Exits"'),
    ("decoder", 'decoder = { kind = "dbn" }', 'decoder = { kind = "dbm" }'),
    ("decoder's kind missing", 'decoder = { kind = "dbn" }', "decoder = {}"),
    ("decoder's key", 'decoder = { kind = "dbn" }', 'decoder = { kind = "dbn", depth = 3 }'),
    ("input's name", 'inputs = ["bus"]', 'inputs = ["bsu"]'),
    ("inputs are no array", 'inputs = ["bus"]', 'inputs = "bus"'),
    ("one input is a number", 'inputs = ["feed", {', 'inputs = [3, {'),
    ("inputs misspelt", 'inputs = ["bus"]', 'input = ["bus"]'),
    ("inputs missing", 'inputs = ["bus"]\n', ""),
    ("signer's inputs broken", 'inputs = ["taker"]', "inputs = [{ form = 'taker' }]"),
    ("auditor's input misspelt", '"bus", "taker"', '"bus", "tkaer"'),
    ("auditor's inputs broken", '"bus", "taker"', '"bus", { form = "taker" }'),
    ("durability", 'kind = "auditor"', 'kind = "auditor"\ndurability = "btach"'),
    ("interval", 'kind = "auditor"', 'kind = "auditor"\ninterval_ms = -3'),
    ("segment", 'kind = "auditor"', 'kind = "auditor"\nsegment_records = 1000'),
    ("wall", 'kind = "signer"', 'kind = "signer"\nwall = "proces"'),
    ("scheme", 'kind = "signer"', 'kind = "signer"\nscheme = "ed2519"'),
    ("policy", "max_qty = 10", "max_qty = -10"),
    ("proxy's own limit", 'kind = "signer"', 'kind = "signer"\nmax_qty = -1'),
    ("batch to the pod", 'kind = "signer"', 'kind = "signer"\nmax_inflight = 0'),
    ("heartbeat, low", 'kind = "bus"', 'kind = "bus"\nheartbeat_limit_ns = 1'),
    ("heartbeat, high", 'kind = "bus"', 'kind = "bus"\nheartbeat_limit_ns = 100_000_000_000_000_000_000_000'),
    ("heartbeat, a float", 'kind = "bus"', 'kind = "bus"\nheartbeat_limit_ns = 1e23'),
    ("start limit", 'kind = "bus"', 'kind = "bus"\nstart_limit_ns = -1'),
    ("ticks", 'kind = "bus"', 'kind = "bus"\ntick_ns = 500'),
    ("ticks, negative", 'kind = "bus"', 'kind = "bus"\ntick_ns = -1'),
    ("venue's pause", 'kind = "udp", to', 'kind = "tcp", max_backoff_ms = -1, to'),
    ("venue without port", "127.0.0.1:9400", "127.0.0.1"),
    ("venue's port", "127.0.0.1:9400", "127.0.0.1:99999"),
    ("venue in numbers that are none", "127.0.0.1:9400", "127.0.0.300:9400"),
    ("venue that can be no name", "127.0.0.1:9400", "the venue:9400"),
    ("venue, IPv6 without brackets", "127.0.0.1:9400", "::1:9400"),
    ("groups of a DBN file", 'path = "day.dbn"', 'path = "day.dbn", groups = ["224.0.31.64:14340"]'),
    ("file is empty", "day.dbn", "empty.dbn"),
    ("file is not there", "day.dbn", "dya.dbn"),
    ("folder is not there", "day.dbn", "/no/day.dbn"),
    ("pace", 'path = "day.dbn"', 'path = "day.dbn", pace = "fast"'),
    ("pace, negative", 'path = "day.dbn"', 'path = "day.dbn", pace = -1'),
    ("listen without port", UDP[0], UDP[1] % "127.0.0.1"),
    ("listen, port 0", UDP[0], UDP[1] % "127.0.0.1:0"),
    ("listen, port 99999", UDP[0], UDP[1] % "127.0.0.1:99999"),
    ("listen by name", UDP[0], UDP[1] % "localhost:9400"),
    ("interface", UDP[0], UDP[1] % '224.0.31.64:14340", interface = "eth0'),
    ("node's name", 'name = "demo"', f'name = "{"a" * 60}"'),
    ("log file of the supervisor", "[actors.bus]", "[actors.up]"),
]  # fmt: skip

GOOD = """
import numpy as np
from sovereign.actors.strategy import Strategy
from sovereign.messages.market import OrderEvent
from sovereign.messages.orders import NewOrder
from sovereign.runtime.actor import Actor
from sovereign.runtime.message import Message

NUMBER = 1

class Mine(Strategy):
    @staticmethod
    def on_order(event: OrderEvent, state: Message, params: Message, out: NewOrder) -> int:
        return 0

class Asks(Strategy):
    class Params(Message):
        every: np.int64

    @staticmethod
    def on_order(event: OrderEvent, state: Message, params: Params, out: NewOrder) -> int:
        return 0

class Odd(Strategy):
    @staticmethod
    def on_order(event: OrderEvent, out: NewOrder) -> int:
        return 0

class Fails(Actor):
    @classmethod
    def gives(cls, config, upstream):
        return upstream[99]

class Exits(Actor):
    @classmethod
    def max_step_outputs(cls, config):
        raise SystemExit(3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the node names, and some modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {"day.dbn": DBN, "day.pcap": CAPTURE, "empty.dbn": b"", "templates.xml": b"<x/>"}
    for name, content in files.items():
        Path(name).write_bytes(content)
    Path("slip_good.py").write_text(GOOD)
    Path("slip_broken.py").write_text("def f(:\n")
    Path("slip_needs.py").write_text("import nothing_there\n")
    return tmp_path


def report(text: str, folder: Path) -> list[str]:
    """What `check` says of `text`."""
    Path("node.toml").write_text(text)
    found = examine("node.toml", (), HOST).mistakes
    return [render(one).replace(str(folder), "/work") for one in found]


def test_the_node_without_a_slip_is_sound(folder: Path) -> None:
    assert report(NODE, folder) == []
    assert report(NODE.replace("127.0.0.1:9400", "venue.example:9400"), folder) == []
    assert report(NODE.replace("127.0.0.1:9400", "[::1]:9400"), folder) == []


def test_one_slip_is_one_report(folder: Path) -> None:
    told = []
    for name, right, wrong in SLIPS:
        assert right in NODE, name
        text = NODE.replace(right, wrong, 1)
        if name == "log file of the supervisor":
            text = text.replace('"bus"]', '"up"]').replace('"feed", "bus"', '"feed", "up"')
        found = report(text, folder)
        assert len(found) == 1, f"{name}:\n" + "\n\n".join(found)
        told.append(f"### {name}\n\n{found[0]}\n")
    text = "\n".join(told)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


@pytest.mark.parametrize(
    ("more", "key", "said"),
    [
        (', templates = "nix.xml"', "decoder.templates", "names a file that is not there"),
        (', templates = "templates.xml"', "decoder.templates", "names no message"),
        (', templates = "day.pcap"', "decoder.templates", "not well-formed XML"),
        (', template = "templates.xml"', "decoder.template", 'did you mean "templates"?'),
        (", templates = 3", "decoder.templates", "expected: str"),
        ("", "decoder", 'lacks the key "templates"'),
    ],
)
def test_a_decoders_own_keys(folder: Path, more: str, key: str, said: str) -> None:
    text = NODE.replace(CME[0], CME[1] % more).replace('plugin = "follow"', 'plugin = "imbalance"')
    text = text.replace("params = { min_qty = 1, every = 1 }\n", "")
    Path("node.toml").write_text(text)
    found = examine("node.toml", (), HOST).mistakes
    assert [one.key for one in found] == [f"actors.feed.{key}"], list(map(render, found))
    assert said in render(found[0])


def test_groups_of_a_capture_are_addresses(folder: Path) -> None:
    more = ', templates = "templates.xml"'
    text = NODE.replace(
        CME[0],
        (CME[1] % more).replace(
            '"day.pcap"',
            '"day.pcap", groups = ["1.2.3.4:5", "nix", "1.2.3.4:0", "[ff3e::8000:1]:14340", "[ff3e::x]:1"]',
        ),
    )
    Path("node.toml").write_text(text)
    found = {one.key: render(one) for one in examine("node.toml", (), HOST).mistakes}
    assert '"nix" has no port' in found["actors.feed.driver.groups[1]"]
    assert "1 to 65535" in found["actors.feed.driver.groups[2]"]
    assert '"ff3e::x" is no IPv6 address' in found["actors.feed.driver.groups[4]"]
    assert not {f"actors.feed.driver.groups[{sound}]" for sound in (0, 3)} & set(found)
