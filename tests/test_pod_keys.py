"""The pod's key file: whole or not there, whatever kills the pod; and one pod a folder."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from enclave_signer import folder as folders
from enclave_signer import journal as journals
from enclave_signer import keys, wire
from enclave_signer.keys import KeyError_, open_key
from sovereign.runtime import limits


def _killed_at_line(folder: Path, number: int) -> bool:
    """`open_key` in a process that is killed before it executes its `number`-th line; False: it came to its end."""
    pid = os.fork()
    if pid == 0:
        left = number

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in (keys.__file__, folders.__file__):
                return None
            left -= event == "line"
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        open_key(folder, "ed25519")
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def test_a_kill_at_any_line_leaves_a_key_or_none(tmp_path: Path) -> None:
    number, whole = 0, 0
    killed = True
    while killed:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        killed = _killed_at_line(folder, number)
        file = folder / "ed25519.key"
        before = file.read_bytes() if file.exists() else None
        assert before is None or len(before) == keys.SECRET_BYTES
        public = open_key(folder, "ed25519").public
        assert before in (None, file.read_bytes())
        assert open_key(folder, "ed25519").public == public
        assert os.listdir(folder) == ["ed25519.key"]
        assert file.stat().st_mode & 0o777 == 0o400 and file.stat().st_nlink == 1
        whole += before is not None
    assert number > 10 and whole >= 3


@pytest.mark.parametrize("size", [0, 1, 31, 32])
def test_what_a_killed_start_left_beside_is_no_key(tmp_path: Path, size: int) -> None:
    (tmp_path / "secp256k1.key.new").write_bytes(b"\1" * size)
    key = open_key(tmp_path, "secp256k1")
    assert (tmp_path / "secp256k1.key").read_bytes() != b"\1" * 32
    assert os.listdir(tmp_path) == ["secp256k1.key"]
    assert open_key(tmp_path, "secp256k1").public == key.public


def test_a_key_file_that_is_none_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "ed25519.key").write_bytes(b"")
    with pytest.raises(KeyError_, match="0 bytes are no ed25519 key: give its file back"):
        open_key(tmp_path, "ed25519")
    assert (tmp_path / "ed25519.key").read_bytes() == b""


def test_the_lock_is_held_until_its_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        folders.lock(tmp_path)
        os.write(write, b".")
        signal.pause()
    os.read(read, 1)
    monkeypatch.setattr(folders, "LOCK_WAIT_S", 0.1)
    with pytest.raises(folders.FolderError, match=rf"another pod \(process {pid}\)"):
        folders.lock(tmp_path)
    monkeypatch.setattr(folders, "LOCK_WAIT_S", 20)
    os.kill(pid, signal.SIGKILL)
    held = folders.lock(tmp_path)  # also while the kernel is still ending the other
    os.waitpid(pid, 0)
    os.close(held)


def test_the_hosts_table_names_the_pods_limits() -> None:
    assert journals.REMEMBERED_MAX == limits.POD_REMEMBERED_MAX
    assert wire.FRAME_MAX_BYTES == limits.POD_FRAME_MAX_BYTES
    named = {one.name: one.value for one in limits.LIMITS}
    assert named["pod_remembered"] == journals.REMEMBERED_MAX
    assert named["signer_inflight"] == limits.SIGNER_INFLIGHT_MAX
    assert named["egress_queued"] == limits.EGRESS_QUEUED_MAX_BYTES
