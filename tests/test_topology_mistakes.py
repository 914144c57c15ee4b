"""Each mistake that a topology file can have, alone: its rule, its line and column, and its advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovereign.topology import Mistake, TopologyError, examine, load
from sovereign.topology.cpus import Machine, parse_cpu_list
from sovereign.topology.mistake import render

HOST = Machine(4, frozenset({0, 1, 3}))

HEAD = 'node.name = "demo"\nnode.audit = false\n'
FEED = '[actors.feed]\nkind = "topology_kinds:Feed"\n'
BUS = '[actors.bus]\nkind = "topology_kinds:Bus"\ninputs = ["feed"]\n'
TAKER = '[actors.taker]\nkind = "topology_kinds:Taker"\ninputs = ["bus"]\n'


def mistakes(tmp_path: Path, text: str, *overrides: str) -> tuple[Mistake, ...]:
    """What is wrong with `text`."""
    file = tmp_path / "t.toml"
    file.write_text(text)
    return examine(file, overrides, HOST).mistakes


CASES = [
    # (name, text after [node], rule, line, column, a piece of the report)
    ("unknown section", "[actor.x]\n" + FEED, "unknown-key", 3, 2, 'did you mean "actors"?'),
    ("unknown key", FEED + "dept = 3\n", "unknown-key", 5, 1, 'did you mean "depth"?'),
    ("key of all kinds", FEED + "waits = 'spin'\n", "unknown-key", 5, 1, 'did you mean "wait"?'),
    ("wrong type", FEED + 'depth = "3"\n', "type", 5, 9, 'a string, "3"'),
    ("wrong choice", FEED + 'wait = "spinn"\n', "value", 5, 8, 'did you mean "spin"?'),
    ("out of range", FEED + "driver = { kind = 'udp', port = 0 }\n", "value", 5, 33, ">= 1"),
    ("missing key", FEED + "driver = { kind = 'udp' }\n", "missing-key", 5, 1, '"port"'),
    ("unknown tag", FEED + "driver = { kind = 'udq' }\n", "value", 5, 19, 'did you mean "udp"?'),
    ("no tag", FEED + "driver = { port = 3 }\n", "missing-key", 5, 10, "file, udp"),
    (
        "missing file",
        FEED + "driver = { kind = 'file', path = 'day.pcap' }\n",
        "file",
        5,
        34,
        'did you mean "dax.pcap"?',
    ),
    ("no kind", "[actors.feed]\n", "missing-key", 3, 9, '"kind"'),
    ("unknown kind", '[actors.x]\nkind = "ingres"\n', "kind", 4, 8, 'did you mean "ingress"?'),
    ("no such module", '[actors.x]\nkind = "nowhere:X"\n', "kind", 4, 8, 'no module "nowhere"'),
    (
        "no such class",
        '[actors.x]\nkind = "topology_kinds:Feeed"\n',
        "kind",
        4,
        8,
        '"topology_kinds:Feed"',
    ),
    ("no actor", '[actors.x]\nkind = "topology_kinds:NOT_AN_ACTOR"\n', "kind", 4, 8, "subclass"),
    ("kind that raises", '[actors.x]\nkind = "topology_kinds:Raises"\n', "plugin", 4, 8, "ZeroDivision"),
    ("kind that refuses", '[actors.x]\nkind = "topology_kinds:Refuses"\n', "plugin", 4, 8, "use another"),
    ("reserved name", FEED.replace("feed", "node"), "name", 3, 9, "supervisor"),
    ("bad name", FEED.replace("feed", '"a.b"'), "name", 3, 9, "letters, digits"),
    ("unknown input", FEED + BUS.replace('"feed"', '"fed"'), "unknown-input", 7, 11, 'did you mean "feed"?'),
    ("input twice", FEED + BUS.replace('"feed"', '"feed", "feed"'), "input-twice", 7, 19, "leave one"),
    ("no inputs", "[actors.bus]\nkind = 'topology_kinds:Bus'\n", "inputs", 3, 9, "1 to 16"),
    ("too many inputs", FEED + "inputs = ['g']\n" + FEED.replace("feed]", "g]"), "inputs", 5, 1, "1 input; kind"),
    ("input of a wrong type", FEED + "[actors.bus]\nkind = 'topology_kinds:Bus'\ninputs = [3]\n", "type", 7, 11, ""),
    ("cycle", FEED + BUS.replace('"feed"', '"feed", "b2"') + BUS.replace("bus]", "b2]").replace('"feed"', '"bus"'),
     "cycle", 7, 19, "bus → b2 → bus"),
    ("idle feedback", FEED + BUS.replace('"feed"', "{ from = 'feed', feedback = true }"), "feedback", 7, 20, "no cycle"),
    ("wrong messages", FEED + BUS + "[actors.v]\nkind = 'topology_kinds:Venue'\ninputs = ['bus']\n",
     "types", 10, 11, "Price"),
    ("reads a sink", FEED + BUS.replace("Bus", "Sink") + TAKER, "no-ring", 10, 11, "gives no messages"),
    ("capacity", FEED + "ring = { capacity = 1000 }\n", "capacity", 5, 21, "capacity = 1_024"),
    ("tiny capacity", FEED + "ring = { capacity = 1 }\n", "value", 5, 21, ">= 2"),
    ("ring of a sink", FEED + BUS.replace("Bus", "Sink") + "ring = { capacity = 64 }\n", "capacity", 8, 1, "no output"),
    ("one step's most", FEED + BUS + TAKER + "burst = 60\nring = { capacity = 32 }\n",
     "capacity", 12, 21, "at least 60"),
    ("no such CPU", FEED + "cpu = 4\n", "cpu", 5, 7, "0 to 3"),
    ("CPU out of affinity", FEED + "cpu = 2\n", "cpu", 5, 7, "0, 1, 3"),
    ("CPU given twice", FEED + "cpu = 1\n" + BUS + "cpu = 1\n", "cpu", 9, 7, '"feed" and to "bus"'),
    ("the kind's own check", FEED + BUS + TAKER + "params = { treshold = 1 }\n", "config", 11, 23, "expected: threshold"),
    ("poison never found", FEED + "poison = { kills = 5 }\n", "poison", 5, 10, "max_failures = 6"),
    ("no actors", "", "no-actors", 1, 1, "[actors.NAME]"),
    ("actor is no table", "[actors]\nfeed = 3\n", "type", 4, 8, "a table"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code", "line", "column", "piece"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_each_mistake_alone(
    tmp_path: Path, body: str, code: str, line: int, column: int, piece: str
) -> None:
    (tmp_path / "dax.pcap").touch()
    found = mistakes(tmp_path, HEAD + body)
    texts = "\n\n".join(map(render, found))
    assert [one.code for one in found] == [code], texts
    place = found[0].place
    assert place is not None
    assert (place.line, place.column) == (line, column), texts
    assert piece in texts


def test_feedback_ring_must_hold_what_is_outstanding(tmp_path: Path) -> None:
    body = (
        FEED
        + BUS.replace('["feed"]', '["feed", { from = "venue", feedback = true }]\nring = { capacity = 64 }')
        + TAKER + "burst = 2\nring = { capacity = 64 }\n"
        + '[actors.venue]\nkind = "topology_kinds:Venue"\ninputs = ["taker"]\nring = { capacity = %d }\n'
    )  # fmt: skip
    # 64 slots of the bus make 2 orders each, and 64 orders stand in the taker's ring: 192 fills.
    found = mistakes(tmp_path, HEAD + body % 128)
    assert [one.code for one in found] == ["feedback-capacity"]
    assert "at least 192 slots" in found[0].expected
    assert "capacity = 256" in found[0].hint
    assert mistakes(tmp_path, HEAD + body % 256) == ()


AUDITOR = '[actors.auditor]\nkind = "auditor"\ninputs = ["feed"]\n'
AUDITED = HEAD.replace("false", "true")


def test_a_ring_that_no_auditor_reads(tmp_path: Path) -> None:
    (one,) = mistakes(tmp_path, AUDITED + FEED)
    assert (one.code, one.key) == ("unaudited", "node.name")
    (one,) = mistakes(tmp_path, AUDITED + FEED + BUS + AUDITOR)
    assert (one.code, one.key) == ("unaudited", "actors.bus")
    assert 'add "bus" to the inputs of "auditor"' in one.hint
    said = BUS + "ring = { audit = false }\n"
    assert mistakes(tmp_path, AUDITED + FEED + said + AUDITOR) == ()


def test_an_auditor_may_miss_nothing(tmp_path: Path) -> None:
    loose = AUDITOR.replace('["feed"]', "[{ from = 'feed', gate = false }]")
    (one,) = mistakes(tmp_path, HEAD + FEED + loose)
    assert (one.code, one.place and (one.place.line, one.place.column)) == ("gate", (7, 20))
    for key in ("restart = { then = 'detach' }", "poison = { then = 'skip' }"):
        (one,) = mistakes(tmp_path, HEAD + FEED + AUDITOR + key + "\n")
        assert (one.code, one.place and one.place.line) == ("gate", 8)


def test_isolated_cores_go_to_hot_loops_in_the_order_of_the_wiring(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    hot = "[actors.feed]\nkind = 'topology_kinds:HotFeed'\n[actors.taker]\nkind = 'topology_kinds:HotTaker'\ninputs = ['bus']\n"
    file.write_text(HEAD + hot + BUS)
    host = Machine(8, frozenset(range(8)), frozenset({5, 6, 7}))

    def cpus(*overrides: str) -> dict[str, int | None]:
        return {one.name: one.cpu for one in load(file, overrides, host).actors}

    assert cpus() == {"feed": 5, "taker": 6, "bus": None}
    assert cpus("actors.bus.cpu=5") == {"feed": 6, "taker": 7, "bus": 5}
    none = Machine(8, frozenset(range(8)))
    assert {one.cpu for one in load(file, (), none).actors} == {None}


def test_the_kernels_list_of_cpus() -> None:
    assert parse_cpu_list("0-2,7\n") == {0, 1, 2, 7}
    assert parse_cpu_list("\n") == set()


def test_thirty_three_readers_are_too_many(tmp_path: Path) -> None:
    sinks = [f"[actors.s{i}]\nkind = 'topology_kinds:Sink'\ninputs = ['feed']\n" for i in range(33)]
    found = mistakes(tmp_path, HEAD + FEED + "".join(sinks))
    assert [one.code for one in found] == ["limit"]
    assert found[0].key == "actors.s32.inputs[0]"


def test_sixty_five_actors_are_too_many(tmp_path: Path) -> None:
    text = HEAD + "".join(FEED.replace("feed", f"f{i}") for i in range(65))
    assert [(one.code, one.key) for one in mistakes(tmp_path, text)] == [("limit", "actors.f64")]


def test_broken_toml_says_where(tmp_path: Path) -> None:
    (one,) = mistakes(tmp_path, HEAD + "[actors.feed]\nkind = \n")
    assert (one.code, one.place and (one.place.line, one.place.column)) == ("syntax", (4, 8))
    (one,) = mistakes(tmp_path, HEAD + "[actors.feed")
    assert one.place is not None
    assert (one.place.line, one.place.column) == (3, 13)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "no such file" in examine(tmp_path / "none.toml").mistakes[0].what
    assert "is a directory" in examine(tmp_path).mistakes[0].what
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    assert "byte 5 is 0xe9" in examine(tmp_path / "latin.toml").mistakes[0].what


def test_load_raises_all_of_them_with_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text(HEAD + FEED + "dept = 1\ncpu = 9\n")
    with pytest.raises(TopologyError) as raised:
        load(file, machine=HOST)
    assert raised.value.exit_code == 2
    assert [one.code for one in raised.value.mistakes] == ["unknown-key", "cpu"]
    assert str(raised.value).endswith("2 mistakes")


def test_the_caret_stands_under_the_place_behind_tabs(tmp_path: Path) -> None:
    (one,) = mistakes(tmp_path, HEAD + FEED + "\tcpu =\t4\n")
    assert "5 | \tcpu =\t4\n  | \t     \t^\n" in render(one)
