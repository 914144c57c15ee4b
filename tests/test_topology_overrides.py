"""`--set`: a slip in an argument is told in that argument, under the very word."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovereign.topology import examine
from sovereign.topology.cpus import Machine
from sovereign.topology.mistake import render

HOST = Machine(4, frozenset(range(4)))
NODE = """\
node.name = "demo"
node.audit = false

[actors.feed]
kind = "topology_kinds:Feed"

[actors.taker]
kind = "topology_kinds:Taker"
inputs = ["feed"]
"""

CASES = [
    # (argument, rule, the words that the carets mark, a piece of the report)
    ("actors.tkr.cpu=1", "set", "tkr", 'did you mean "taker"?'),
    ("actors.nothing_like.cpu=1", "set", "nothing_like", "a new actor needs a kind"),
    ("actors.taker.prams.x=1", "unknown-key", "prams", 'did you mean "params"?'),
    ("actors.taker.brust=1", "unknown-key", "brust", 'did you mean "burst"?'),
    ("actors.taker.burst=x", "type", "x", "an integer"),
    ('actors.taker."bu rst"=1', "unknown-key", '"bu rst"', 'no key "bu rst"'),
    ("actors.taker.inputs=['fed']", "unknown-input", "'fed'", 'did you mean "feed"?'),
    ("actors.taker.params = { threshold = true, x = 1 }", "type", "true", "got: a boolean, true"),
    ("actors.taker.params={ treshold = 1 }", "config", "1", "expected: threshold"),
    ("actors.feed.driver={ kind = 'udp', prot = 3 }", "unknown-key", "prot", 'did you mean "port"?'),
    ("actors.feed.driver={ kind = 'udp', port = 99999 }", "value", "99999", "<= 65_535"),
    ("nodes.name=x", "unknown-key", "nodes", 'did you mean "node"?'),
    ("node.run_dri=x", "unknown-key", "run_dri", 'did you mean "run_dir"?'),
]  # fmt: skip


@pytest.mark.parametrize(("argument", "code", "marked", "piece"), CASES)
def test_the_carets_mark_the_word(
    tmp_path: Path, argument: str, code: str, marked: str, piece: str
) -> None:
    file = tmp_path / "t.toml"
    file.write_text(NODE)
    found = examine(file, [argument], HOST).mistakes
    texts = "\n\n".join(map(render, found))
    assert [one.code for one in found] == [code], texts
    place = found[0].place
    assert place is not None
    assert (place.file, place.text) == ("--set", argument)
    assert argument[place.column - 1 :][: place.length] == marked, texts
    assert piece in texts


def test_an_actor_can_be_made_by_overrides_alone(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text(NODE)
    more = ("actors.late.kind=topology_kinds:Feed", "actors.late.depth=3")
    assert examine(file, more, HOST).mistakes == ()
    (one,) = examine(file, (more[0], "actors.late.dept=3"), HOST).mistakes
    assert (one.code, one.place and one.place.text) == ("unknown-key", "actors.late.dept=3")
