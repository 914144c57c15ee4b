"""Pictures of results: the same bytes for the same results, every row in them, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sovereign.benchmarks.plots import draw
from sovereign.benchmarks.report import as_text
from sovereign.runtime.errors import InputError

ROOT = Path(__file__).parents[1]


def _results(folder: Path) -> Path:
    """Results as the benches write them, with made-up figures."""
    machine = {"cpu": "a cpu", "cores": 2, "kernel": "6.1"}
    found: dict[str, Any] = {"machine": machine, "rounds": 3}
    curve = [[50.0, 100.0], [90.0, 120.0], [99.0, 200.0], [99.9, 5000.0]]
    names = ("limit", "sovereign", "c-ring", "lmax")
    hop = [{"name": name, "p50": 100.0, "p99": 200.0, "curve": curve} for name in names]
    del hop[2]["curve"]
    rate = {"per_s": 2e7, "min": 1e7, "max": 3e7}
    flows = ("sovereign 1to1", "sovereign 1to1 batch16", "lmax diamond batch16", "mp-queue 1to1")
    rows = [{"name": name, **rate} for name in ("limit", *flows)]
    (folder / "hop.json").write_text(as_text({"bench": "hop", **found, "rows": hop}))
    text = as_text({"bench": "throughput", **found, "rows": rows})
    (folder / "throughput.json").write_text(text)
    return folder


def _draw(results: Path, out: Path) -> list[bytes]:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: `make peers` does it")
    out.mkdir()
    return [file.read_bytes() for file in draw(results, out)]


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (_draw(_results(tmp_path), tmp_path / name) for name in ("one", "two"))
    assert first == second and len(first) == 2
    for picture in first:
        assert picture.startswith(b"<?xml") and b"<dc:date>" not in picture


def test_the_verb_draws_in_another_process_what_this_one_draws(tmp_path: Path) -> None:
    here = _draw(_results(tmp_path), tmp_path / "here")
    (tmp_path / "there").mkdir()
    words = ["bench", "plot", "--results", str(tmp_path), "--out", str(tmp_path / "there")]
    done = subprocess.run(
        [sys.executable, "-m", "sovereign.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    written = done.stdout.split()
    assert [Path(name).name for name in written] == ["hop.svg", "throughput.svg"]
    assert [Path(name).read_bytes() for name in written] == here


def test_each_row_is_a_line_of_the_picture(tmp_path: Path) -> None:
    hop, throughput = (one.decode() for one in _draw(_results(tmp_path), tmp_path / "out"))
    for name in ("limit", "sovereign", "c-ring", "lmax"):
        assert f"<!-- {name} -->" in hop
    for text in ("1to1, 2 processes", "diamond, 4 processes", "mp-queue", "20 in batches of 16"):
        assert f"<!-- {text} -->" in throughput


def test_the_pictures_in_docs_are_those_of_the_results_in_the_repository(tmp_path: Path) -> None:
    drawn = _draw(ROOT / "benchmarks" / "results", tmp_path / "out")
    kept = [(ROOT / "docs" / f"{name}.svg").read_bytes() for name in ("hop", "throughput")]
    assert drawn == kept, "draw them anew: sovereign bench plot"


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        ("hop.json", None, "no results of hop"),
        ("hop.json", "{", "not a result of a bench"),
        ("throughput.json", '{"bench": "hop", "rows": [1]}', "results of another bench"),
        ("throughput.json", '{"bench": "throughput", "rows": []}', "results of another bench"),
    ],
)
def test_what_is_not_a_result_is_refused(
    tmp_path: Path, file: str, text: str | None, what: str
) -> None:
    target = _results(tmp_path) / file
    target.unlink()
    if text is not None:
        target.write_text(text)
    with pytest.raises(InputError, match=what) as caught:
        draw(tmp_path, tmp_path)
    assert caught.value.where == str(target) and "sovereign bench" in caught.value.hint


def test_pairs_of_numbers_stand_on_one_line_and_nothing_else_changes() -> None:
    found = {"curve": [[50.0, 1e-07], [99.999, 3.0]], "text": "[\n 1, 2]", "one": [1.0]}
    text = as_text(found)
    assert json.loads(text) == found and "[50.0, 1e-07]" in text
