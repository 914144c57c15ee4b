"""A node drawn, as text, as Mermaid and as JSON: nothing is drawn that is not declared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sovereign.cli.graph import command as graph
from sovereign.cli.up import command as up
from sovereign.topology import load
from sovereign.topology.cpus import Machine
from sovereign.topology.draw import draw_mermaid, draw_text

HOST = Machine(1, frozenset({0}))
NODE = """\
[node]
name = "drawn"

[actors.feed]
kind = "topology_kinds:Feed"

[actors.bus]
kind = "topology_kinds:Bus"
cpu = 0
inputs = [{ from = "feed", gate = false }]

[actors.auditor]
kind = "auditor"
inputs = ["feed", "bus"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The node's file."""
    made = tmp_path / "t.toml"
    made.write_text(NODE)
    return made


def test_every_box_of_the_mermaid_is_declared(file: Path) -> None:
    text = draw_mermaid(load(file, (), HOST))
    boxes = set(re.findall(r"^    (a\d+)\[", text, re.MULTILINE))
    edges = set(re.findall(r"(a\d+) (?:-->|-\.->|==feedback==>) (a\d+)", text))
    assert {name for edge in edges for name in edge} == boxes
    assert 'a65534["node<br/>supervisor"]' in text
    assert ("a0", "a1") in edges
    assert "a0 -.-> a1" in text, "an observer's edge is dotted"


def test_a_node_without_auditor_draws_no_ring_of_its_own(tmp_path: Path) -> None:
    text = NODE.replace('name = "drawn"', 'name = "drawn"\naudit = false')
    (tmp_path / "t.toml").write_text(text.partition("[actors.auditor]")[0])
    assert "a65534" not in draw_mermaid(load(tmp_path / "t.toml", (), HOST))


def test_every_ring_of_the_text_is_declared(file: Path) -> None:
    text = draw_text(load(file, (), HOST))
    heads = set(re.findall(r"^(\w+)  \(", text, re.MULTILINE))
    assert set(re.findall(r"◄── (\w+)", text)) <= heads
    assert "node  (the supervisor's own ring)" in text


def _json(command: Any, *words: str) -> dict[str, Any]:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.output))


def test_graph_and_dry_run_say_the_same_as_json(file: Path) -> None:
    found = _json(graph, str(file), "--json")
    assert list(found) == ["node", "actors", "own_ring"]
    feed, bus, auditor = found["actors"]
    assert list(feed) == ["actor", "kind", "cpu", "inputs", "output"]
    assert (feed["cpu"], bus["cpu"], auditor["output"]) == (None, 0, None)
    assert bus["inputs"] == [{"ring": "feed", "gate": False, "feedback": False}]
    assert feed["output"] == {
        "ring": "feed",
        "types": ["Price"],
        "capacity": 16_384,
        "stride": 64,
        "bytes": 16_384 * 64 + (1 + 16 + 2) * 4096,
        "readers": [
            {"actor": "bus", "gate": False, "archives": False},
            {"actor": "auditor", "gate": True, "archives": True},
        ],
    }
    assert found["own_ring"]["ring"] == "node"
    planned = _json(up, str(file), "--dry-run", "--json")
    assert list(planned) == ["file", "run_dir", "archive", "node", "actors", "own_ring"]
    assert planned["actors"] == found["actors"]


def test_a_dry_run_says_any_for_a_cpu_that_is_not_given(file: Path) -> None:
    done = CliRunner().invoke(up, [str(file), "--dry-run"])
    assert done.output.splitlines() == [
        "feed  topology_kinds:Feed  cpu any  inputs -",
        "bus  topology_kinds:Bus  cpu 0  inputs feed",
        "auditor  auditor  cpu any  inputs feed, bus, node",
        f"{file}: sound; nothing was started",
    ]
