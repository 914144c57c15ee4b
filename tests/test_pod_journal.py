"""The pod's memory of what it signed: cut at a torn tail, refused when damaged, never silently shorter."""

from __future__ import annotations

from pathlib import Path

import pytest

from enclave_signer import journal as journals
from enclave_signer.journal import RECORD_BYTES, Journal
from enclave_signer.wire import Name


def _filled(folder: Path, count: int) -> Path:
    journal = Journal(folder)
    for sequence in range(1, count + 1):
        journal.add(Name(2, 1, sequence), b"order %d" % sequence, bytes([sequence]) * 64, 0)
    return folder / "signed.journal"


def test_a_torn_tail_is_cut_and_the_rest_is_known(tmp_path: Path) -> None:
    file = _filled(tmp_path, 3)
    whole = file.read_bytes()
    for cut in (1, RECORD_BYTES // 2, RECORD_BYTES - 1):
        file.write_bytes(whole[:-cut])
        journal = Journal(tmp_path)
        assert file.stat().st_size == 2 * RECORD_BYTES
        assert journal.find(Name(2, 1, 2), b"order 2") == bytes([2]) * 64
        assert journal.find(Name(2, 1, 2), b"another") == b""
        assert journal.find(Name(2, 1, 3), b"order 3") is None
    file.write_bytes(whole[:-4] + bytes(4))  # all bytes there, the last ones never written
    assert Journal(tmp_path).find(Name(2, 1, 3), b"order 3") is None


@pytest.mark.parametrize("at", [0, 20, RECORD_BYTES + 100, 2 * RECORD_BYTES - 1])
def test_damage_before_the_tail_is_refused_and_left_as_it_is(tmp_path: Path, at: int) -> None:
    file = _filled(tmp_path, 3)
    damaged = bytearray(file.read_bytes())
    damaged[at] ^= 0x10
    file.write_bytes(damaged)
    with pytest.raises(OSError, match="damaged at byte"):
        Journal(tmp_path)
    assert file.read_bytes() == damaged


def test_what_is_too_old_to_be_remembered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "REMEMBERED_MAX", 4)
    _filled(tmp_path, 10)
    journal = Journal(tmp_path)
    assert journal.find(Name(2, 1, 6), b"order 6") == b""
    assert journal.find(Name(2, 1, 7), b"order 7") == bytes([7]) * 64
    assert journal.find(Name(2, 1, 11), b"order 11") is None
    assert journal.find(Name(2, 2, 1), b"order 1") is None
