"""Counts that people must not miss: refused by rule, malformed, uncertain, cut short, waited for; over real nodes."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from test_cli_reasons import write
from test_policies import Node, node

from nodes import until
from sovereign.cli.log_tail import LogTail
from sovereign.cli.notes import LINE_MAX, notes
from sovereign.runtime.counters import COUNTERS

__all__ = ["node"]  # the fixture


def test_refusals_are_told_by_rule_at_the_end_and_while_it_runs(node: Node) -> None:
    write(node)  # 40 orders of a notional of 1 to 40, and 35 are allowed
    said = node.up("--until-idle")
    assert "signer: 35 signed, 5 refused (max-notional 5)" in said
    assert "messages published by all actors in this run of" in said
    published = sum(len(_slots(node, ring)) for ring in ("feed", "taker", "signer", "egress"))
    version = 1  # the strategy's own record of its version is no answer to a message
    total = next(line for line in said.splitlines() if "messages published" in line).split()[0]
    assert int(total) == published - version
    node.up("--detach")
    until(lambda: node.actor("egress")["counters"]["sent"] == 35)
    assert "signer: 35 signed, 5 refused (max-notional 5)" in node("ps")
    node("down", "--node", node.name)
    found = json.loads(_stdout(node, "up", str(node.file), "--until-idle", "--json"))
    assert found["refused"] == {"signer": {"max-notional": 5}}
    assert "egress" not in found["warnings"]


def _stdout(node: Node, *words: str) -> str:
    process = node.begin(*words)
    said, _ = process.communicate(timeout=60)
    return said[said.index("{\n") :] if "{\n" in said else said


def _slots(node: Node, ring: str) -> Any:
    return np.concatenate([np.load(one) for one in (node.archive / ring).glob("g*/*.npy")])


def test_counts_are_of_this_run_though_the_rings_are_of_an_earlier_one(node: Node) -> None:
    write(node)
    node.up("--detach")
    until(lambda: node.actor("egress")["counters"]["sent"] == 35)
    os.kill(int((node.folder / "run" / node.name / "node.lock").read_text()), signal.SIGKILL)
    until(lambda: "nothing runs" in node.begin("ps").communicate()[0])
    said = node.up("--until-idle")
    assert "going on from the rings" in said
    assert "refused" not in said
    assert "0 messages published by all actors in this run" in said


def _capture(path: Path, payloads: list[bytes]) -> int:
    """A pcap of UDP packets; its size."""
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    for i, payload in enumerate(payloads):
        udp = struct.pack(">HHHH", 9, 26_400, 8 + len(payload), 0) + payload
        ip = struct.pack(
            ">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 9, 17, 0, b"\1\2\3\4", b"\4\3\2\1"
        )
        frame = bytes(12) + b"\x08\x00" + ip + udp
        data += struct.pack("<IIII", i, 0, len(frame), len(frame)) + frame
    path.write_bytes(data)
    return len(data)


def test_a_capture_that_is_cut_and_malformed_is_told_in_the_last_lines(node: Node) -> None:
    capture = node.folder / "cut.pcap"
    size = _capture(capture, [b"nonsense" * 4] * 102 + [b"x" * 60])
    with capture.open("r+b") as file:
        file.truncate(size - 7)
    cut_at = size - (16 + 14 + 20 + 8 + 60)
    feed = (
        f'[actors.feed]\nkind = "ingress"\ndriver = {{ kind = "pcap", path = "{capture}" }}\n'
        'decoder = { kind = "itch50" }\n'
    )
    node.write(feed, '"feed"')
    lines = node.up("--until-idle").splitlines()
    assert "feed: 102 malformed" in lines
    assert any(f"feed: the file is cut at byte {cut_at}" in line for line in lines[-3:])


def test_a_venue_that_is_down_is_named_and_an_uncertain_order_told(node: Node) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*found.getsockname())
    # The venue's window is small: 800 orders do not fit into what its host takes for it.
    policy = "{ max_notional = 10_000 }"
    write(node, count=800, policy=policy, transport=f'{{ kind = "tcp", to = "{address}" }}')
    process = node.begin("up", str(node.file), "--until-idle")
    assert process.stdout is not None
    line = ""
    while "still waiting" not in line:
        line = process.stdout.readline()
        assert line, "it ended without a word"
    assert "messages behind signer" in line and "egress is 8" in line
    assert "`sovereign logs egress` may say why" in line
    with socket.socket() as venue:
        venue.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        venue.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        host, _, port = address.partition(":")
        venue.bind((host, int(port)))
        venue.listen()
        venue.settimeout(60)
        taken, _ = venue.accept()
        until(lambda: node.actor("egress")["counters"]["held"] > 0, 60)
        taken.close()  # unread data: a reset, and nobody knows what of it the venue has seen
        again, _ = venue.accept()
        _drain(again, process)
        said = process.stdout.read()
        process.wait(60)
    assert process.returncode == 0, said
    counts = next(line for line in said.splitlines() if line.startswith("egress: "))
    assert "uncertain (may have left, or not)" in counts
    assert "egress: the venue cannot be reached: orders wait in the ring" in said


def _drain(connection: socket.socket, process: subprocess.Popen[str]) -> None:
    """Read what comes, as a venue does, until the node has ended."""
    connection.settimeout(0.2)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if not connection.recv(65_536):
                return
        except TimeoutError:
            continue


def test_lines_fit_and_say_what_the_ring_has_no_more() -> None:
    counters = {one.name: 0 for one in COUNTERS}
    rows = [
        {"actor": "calm", "counters": counters},
        {"actor": "signer", "counters": {**counters, "signed": 3, "refused": 500, "errors": 2}},
        {"actor": "feed", "counters": {**counters, **dict.fromkeys(_ILL_OF_A_FEED, 123_456_789)}},
    ]
    lines = notes(rows, {"signer": {"max-qty": 7, "halted": 3}})
    assert (
        lines[0]
        == "signer: 3 signed, 500 refused (max-qty 7, halted 3, earlier ones 490), 2 errors"
    )
    assert all(len(line) <= LINE_MAX for line in lines)
    assert all(line.startswith(("signer:", "feed:", "  ")) for line in lines)


_ILL_OF_A_FEED = ("malformed", "gaps", "duplicates", "late", "drops", "full_drops", "overrun")


def test_warnings_of_this_run_are_told_once_and_at_most_five(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "feed.log"
    log.parent.mkdir()

    def line(event: str, level: str = "warning", **more: Any) -> str:
        said = {
            "timestamp": "2026-01-01T00:00:00Z",
            "level": level,
            "actor": "feed",
            "event": event,
        }
        return json.dumps({**said, **more}) + "\n"

    log.write_text(line("of an earlier run"))
    tail = LogTail(tmp_path)
    with log.open("a") as stream:
        stream.write(line("calm", "info") + line("twice", byte=7) * 2 + "no JSON\n")
        stream.write(line("failed", "error", reason="this\n  where: there"))
    assert tail.warnings("feed", failed=False) == ["twice (byte 7) (2 times)", "failed: this"]
    assert tail.warnings("feed", failed=True) == ["twice (byte 7) (2 times)"]
    assert "where: there" in json.loads(tail.last_error("feed"))["reason"]
    with log.open("a") as stream:
        stream.writelines(line(f"number {i}") for i in range(9))
    told = tail.warnings("feed", failed=True)
    assert len(told) == 6
    assert told[-1] == "5 more; `sovereign logs feed`"
    assert tail.warnings("nobody", failed=False) == []
