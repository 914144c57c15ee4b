"""`sovereign demo`: a node on recorded market data, and what it did, each claim checked after the run."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

EXAMPLES = Path(__file__).parents[1] / "examples"


@click.command(
    "demo", epilog="Exit codes: 0 all sound; 1 a signature or the archive is not; 5 no run."
)
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for the archive; it stays.")
def command(keep: Path | None) -> None:
    """Run a node on recorded market data and show what it did.

    \b
    Example: sovereign demo
    """
    if keep is not None:
        code = _show(keep.absolute())
        click.echo(f"archive: {keep / 'archive'} (try: sovereign audit ls {keep / 'archive'})")
        raise SystemExit(code)
    folder = Path(tempfile.mkdtemp(prefix="sovereign-demo-"))
    try:
        code = _show(folder)
        if code == 1:
            click.echo(f"what is not sound stays for a look: {folder}", err=True)
        else:
            click.echo("its archive is removed; `sovereign demo --keep DIR` keeps it")
    except BaseException:
        code = 5
        raise
    finally:
        if code != 1:
            shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(code)


def _show(folder: Path) -> int:
    """Run the node with its files in `folder`, and print what it did; the exit code."""
    began = time.monotonic()
    topology = EXAMPLES / "cme.toml"
    if not (EXAMPLES / "../../shared/data/market/cme").resolve().is_dir():
        topology = EXAMPLES / "demo.toml"
    done = _run(topology, folder)
    rows = {row["kind"]: row["counters"] for row in done["actors"]}
    click.echo(f"data: {topology.name} ({_what(topology)})")
    feed, taker, signer, egress = (rows[k] for k in ("ingress", "strategy", "signer", "egress"))
    click.echo(f"packets {feed['packets']}, messages {feed['outputs']}, gaps {feed['gaps']}")
    archive = folder / "archive"
    orders, right = _signatures(archive)
    click.echo(f"orders {orders}, of {taker['events']} messages; sent {egress['sent']}")
    click.echo(
        f"signatures {signer['signed']}: {right} verified by a library that did not make them"
    )
    sound = _verified(archive)
    from sovereign.cli.tables import summary

    click.echo("\nlatency by hop, at full replay speed (queues included):")
    click.echo(summary(done["actors"]))
    click.echo(f"\ndone in {time.monotonic() - began:.1f} s")
    return 0 if sound and right == orders == signer["signed"] else 1


def _run(topology: Path, folder: Path) -> dict[str, Any]:
    """`sovereign up --until-idle` in a session of its own; its JSON summary. Signals are passed on: it ends in order."""
    command_line = [
        sys.executable, "-P", "-m", "sovereign", "up", str(topology), "--until-idle", "--json",
        "--set", f'node.archive_dir="{folder}/archive"', "--set", f'node.run_dir="{folder}/run"',
    ]  # fmt: skip
    click.echo(f"$ sovereign up {topology} --until-idle", err=True)
    done = subprocess.Popen(command_line, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: done.send_signal(number))
    said, _ = done.communicate()
    if done.returncode != 0:
        raise SystemExit(done.returncode)
    found: dict[str, Any] = json.loads(said)
    return found


def _what(topology: Path) -> str:
    first = topology.read_text().partition("\n")[0]
    return first.removeprefix("# ").partition(" Paths are")[0]


def _verified(archive: Path) -> bool:
    from sovereign.actors.auditor.verify import verify_archive

    verdict = verify_archive(archive)
    word = "sound" if verdict.sound else "TAMPERED"
    click.echo(
        f"archive {word}: {verdict.records} records of {len(verdict.rings)} rings, hashes derived anew"
    )
    return verdict.sound


def _signatures(archive: Path) -> tuple[int, int]:
    """Orders of the newest run in the archive, and how many of their signatures verify."""
    import numpy as np

    from sovereign.cli.signatures import verifies
    from sovereign.messages.orders import NewOrder, SignedOrder
    from sovereign.runtime import layout
    from sovereign.runtime.estate import GENERATION_FILE

    orders = right = 0
    # A folder that was kept holds earlier runs too.
    newest = int((archive / GENERATION_FILE).read_text())
    for file in sorted(archive.glob(f"*/g{newest:010d}/*.npy")):
        slots = np.load(file, mmap_mode="r")
        orders += int((slots["type_id"] == NewOrder.type_id).sum())
        mine = np.ascontiguousarray(slots[slots["type_id"] == SignedOrder.type_id])
        if len(mine):
            right += sum(verifies(one) for one in layout.payload(mine, SignedOrder.dtype))
    return orders, right
