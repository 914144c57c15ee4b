"""A file with ten mistakes: the whole report, word for word. `UPDATE_GOLDEN=1` writes it anew, for review."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sovereign.topology import examine
from sovereign.topology.cpus import Machine
from sovereign.topology.mistake import render

GOLDEN = Path(__file__).parent / "golden"

TEN = """\
# A node with ten mistakes.
[node]
name = "demo node"
audit = false

[actors.feed]
kind = "topology_kinds:Feed"
driver = { kind = "file", path = "cme.pcap", pace = "slow" }
cpu = 64

[actors.bus]
kind = "topology_kinds:Bus"
inputs = ["fed", "venue"]
wait = "spn"
ring = { capacity = 10_000 }

[actors.taker]
kind = "topology_kinds:Taker"
input = ["bus"]
inputs = ["feed"]
params = { treshold = 0.6 }

[actors.venue]
kind = "topology_kinds:Venue"
inputs = ["feed"]

[actors.other]
kind = "ingres"
cpu = "one"
"""


def test_ten_mistakes_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ten.toml").write_text(TEN)
    found = examine("ten.toml", machine=Machine(4, frozenset(range(4)))).mistakes
    report = "\n\n".join(map(render, found)).replace(str(tmp_path), "/work") + "\n"
    golden = GOLDEN / "check_ten_mistakes.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(report)
    assert report == golden.read_text()
    assert len(found) >= 10
