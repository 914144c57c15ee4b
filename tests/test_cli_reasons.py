"""What people read when something goes wrong: the reason and their own lines, no frames of the framework or of Numba."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import Annotated

import numba
import numpy as np
import pytest
from numba import types
from test_policies import Node, node

from sovereign.runtime.author import frames, is_theirs, told
from sovereign.runtime.compile_error import reason_and_place
from sovereign.runtime.errors import PluginError
from sovereign.runtime.message import Message, shown

__all__ = ["node"]  # the fixture

MINE = """
import numpy as np
from policy_kinds import Number
from sovereign.actors.strategy import Strategy
from sovereign.messages.orders import BUY, NewOrder
from sovereign.runtime.message import Message

class Mine(Strategy):
    compiled = {compiled}

    class State(Message):
        seen: np.int64

    @staticmethod
    def on_number(event: Number, state: State, params: Message, out: NewOrder) -> int:
        state.seen += 1
        {line}
        out.instrument, out.side, out.qty = 7, BUY, 1
        out.px_e9 = 1_000_000_000 * event.value
        return 1
"""
NODE = """
[actors.feed]
kind = "policy_kinds:Source"
count = {count}

[actors.taker]
kind = "strategy"
plugin = "mine:Mine"
inputs = ["feed"]
restart = {{ policy = "never" }}

[actors.signer]
kind = "signer"
inputs = ["taker"]
policy = {policy}
restart = {{ policy = "never" }}

[actors.egress]
kind = "egress"
inputs = ["signer"]
transport = {transport}

"""
VENUE = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # takes what comes; nobody reads it
VENUE.bind(("127.0.0.1", 0))
UDP = f'{{ kind = "udp", to = "127.0.0.1:{VENUE.getsockname()[1]}" }}'
FOREIGN = (
    "multiprocess",
    "site-packages/numba",
    "runtime/host.py",
    "Traceback",
    "actors/strategy/",
)


def write(
    node: Node,
    line: str = "pass",
    *,
    compiled: bool = True,
    count: int = 40,
    policy: str = "{ max_notional = 35 }",
    transport: str = UDP,
) -> None:
    """A node whose strategy has one line to go wrong in."""
    (node.folder / "mine.py").write_text(MINE.format(line=line, compiled=compiled))
    text = NODE.format(count=count, policy=policy, transport=transport)
    node.write(text, '"feed", "taker", "signer", "egress"')


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("state.seen += 'a'", "No implementation of function Function(<built-in function iadd>)"),
        ("state.seen = event.price", "no message of it has a field 'price'"),
        ("open('x')", "Untyped global name 'open'"),
        ("import os", "unsupported opcode (IMPORT_NAME)"),
    ],
)
def test_code_that_does_not_compile_is_shown_to_its_author(
    node: Node, line: str, reason: str
) -> None:
    write(node, line)
    said = node.up("--until-idle", expect=5)
    for text in (said, node("logs", "taker")):
        assert "strategy Mine does not compile: on_number" in text
        assert reason in text
        assert f"{node.folder}/mine.py" in text
        assert not [one for one in (*FOREIGN, "candidate") if one in text], text
        assert text.count(reason) == 1
    raw = [json.loads(one) for one in node("logs", "taker", "--json").splitlines()]
    assert any("Traceback" in one.get("exception", "") for one in raw)  # for whoever asks


@pytest.mark.parametrize("compiled", [True, False])
def test_a_handler_that_raises_shows_the_authors_lines_once(node: Node, compiled: bool) -> None:
    line = "assert event.value < 9, 'told to'" if compiled else "raise ValueError('told to')"
    write(node, line, compiled=compiled)
    said = node.up("--until-idle", expect=5)
    mine = (node.folder / "mine.py").read_text()
    number = mine[: mine.index(line)].count("\n") + 1
    for text in (said, node("logs", "taker")):
        assert f'File "{node.folder}/mine.py", line {number}, in on_number' in text
        assert f"    {line}" in text
        assert not [one for one in FOREIGN if one in text], text
        last = text[text.index("failed: ") :]
        assert last.count("Error: told to") == 1, text


def test_a_file_that_does_not_parse_shows_the_line_and_the_caret() -> None:
    with pytest.raises(SyntaxError) as raised:
        compile("def f(:\n", __file__, "exec")
    text = frames(raised.value)
    assert f'File "{__file__}", line 1' in text
    assert text.rstrip().endswith("^")


def test_a_policy_that_is_none_and_a_port_in_use_are_texts(node: Node) -> None:
    policy = node.folder / "policy.json"
    policy.write_text('{"max_qty": "many"}')
    write(node, policy=f'"{policy}"')
    said = node.up("--until-idle", expect=5)
    assert "could not be kept: signer" in said
    assert "policy" in said[said.index("could not be kept") :]
    assert not [one for one in FOREIGN if one in said], said
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        feed = (
            f'[actors.feed]\nkind = "ingress"\ndriver = {{ kind = "udp", listen = "127.0.0.1:{port}" }}\n'
            'decoder = { kind = "itch50" }\nrestart = { policy = "never" }\n'
        )
        node.write(feed, '"feed"')
        said = node.up("--for", "20", "--fresh", expect=5)
    assert "Address already in use" in said
    assert f"ss -lunp sport = :{port}" in said
    assert not [one for one in FOREIGN if one in said], said


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_a_text(node: Node) -> None:
    node.archive.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(node.archive)], check=True
    )
    try:
        write(node, count=20_000)
        text = node.file.read_text() + 'restart = { policy = "never" }\n'
        node.file.write_text(text)
        said = node.up("--for", "20", expect=5)
        assert "No space left on device" in said
        assert not [one for one in FOREIGN if one in said], said
    finally:
        subprocess.run(["umount", "-l", str(node.archive)], check=True)


def test_an_error_of_the_hosts_and_a_mistake_of_ours() -> None:
    error = OSError(28, "No space left on device", "/a/b")
    assert told(error)["reason"] == "No space left on device\n  where: /a/b"
    assert told(error)["error"] == "OSError"
    said = told(ZeroDivisionError("division by zero"))
    assert said["reason"] == "ZeroDivisionError: division by zero"
    assert "error" not in said  # then `logs` shows all frames: nobody else can mend it
    assert "author" not in told(PluginError("x"))


def test_whose_file_it_is() -> None:
    assert is_theirs(__file__)
    for file in (numba.__file__, np.__file__, os.__file__, json.__file__, "<string>", "nowhere.py"):
        assert not is_theirs(str(file))
    import sovereign.examples.follow as example
    import sovereign.runtime.host as ours

    assert is_theirs(example.__file__)
    assert not is_theirs(ours.__file__)


def test_numbas_reason_without_its_own_candidates() -> None:
    def broken(a: int) -> int:
        return a + "x"  # type: ignore[operator]

    with pytest.raises(numba.core.errors.TypingError) as raised:
        numba.njit(broken).compile(types.int64(types.int64))
    reason, place = reason_and_place(raised.value, is_theirs)
    line = broken.__code__.co_firstlineno + 1
    assert place == f"{__file__}:{line}"
    assert "No implementation of function" in reason
    assert ">>> add(int64, Literal[str](x))" in reason
    assert 'return a + "x"' in reason
    assert not [one for one in ("candidate", "During", "pipeline", "uint64") if one in reason]


class Odd(Message):
    """Every kind of field."""

    number: np.int64
    share: np.float64
    symbol: Annotated[bytes, 8]
    key: Annotated[bytes, 4]
    levels: Annotated[np.int32, 3]


def test_a_record_is_shown_as_pairs() -> None:
    record = Odd.new(number=-5, share=0.5, symbol=b"ES H4", key=b"\xff\x00\x01\x02")
    record.levels[:] = (1, 2, 3)
    assert shown(record) == "number=-5 share=0.5 symbol='ES H4' key=ff000102 levels=[1, 2, 3]"
    assert shown(Odd.array(1)[0]).startswith("number=0 share=0.0 symbol='' key=''")
