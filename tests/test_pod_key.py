"""The pod's key file: made once, whole or not at all."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from enclave_signer import keys
from enclave_signer.keys import KeyError_, open_key


@pytest.mark.parametrize("dies_in", ["write", "fsync", "link"])
def test_a_kill_while_the_key_is_made_leaves_a_pod_that_starts(
    tmp_path: Path, dies_in: str
) -> None:
    pid = os.fork()
    if pid == 0:
        setattr(keys.os, dies_in, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        open_key(tmp_path, "ed25519")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    key = open_key(tmp_path, "ed25519")
    assert open_key(tmp_path, "ed25519").public == key.public
    assert [one.name for one in tmp_path.iterdir()] == ["ed25519.key"]
    assert (tmp_path / "ed25519.key").stat().st_mode & 0o777 == 0o400


def test_a_key_file_that_is_none_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "ed25519.key").write_bytes(b"short")
    with pytest.raises(KeyError_, match="5 bytes are no ed25519 key"):
        open_key(tmp_path, "ed25519")
    assert (tmp_path / "ed25519.key").read_bytes() == b"short"
