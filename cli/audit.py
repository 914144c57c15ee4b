"""`sovereign audit`: look into an archive and check it. Offline: no ring and no running node is needed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

EPILOG = "Exit codes: 0 sound; 1 tampered; 2 wrong use; 5 could not be checked."


@click.group("audit", epilog=EPILOG)
def command() -> None:
    """Look into an archive and check it.

    \b
    Example: sovereign audit verify archive/demo
    """


def _nothing(folder: Path) -> None:
    click.echo(f"could not be checked: {folder} holds no archive", err=True)
    click.echo("  fix: name the folder that `sovereign up` printed in its last line", err=True)
    raise SystemExit(5)


@command.command("verify", epilog=EPILOG)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(folder: Path, as_json: bool) -> None:
    """Derive every hash of an archive anew and compare.

    \b
    Example: sovereign audit verify archive/demo --json

    With --json: {"sound", "segments", "records", "bytes", "open_segments", "open_records", "rings": {name: records},
    "failures": [{"file", "sequence", "found", "expected"}]}.
    """
    from msgspec import to_builtins

    from sovereign.actors.auditor.verify import verify_archive

    started = time.monotonic()
    try:
        verdict = verify_archive(folder)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            click.echo(f"could not be checked: {error}", err=True)
            raise SystemExit(5) from error
        _nothing(folder)
        return
    if as_json:
        click.echo(json.dumps({"sound": verdict.sound, **to_builtins(verdict)}, indent=2))
        raise SystemExit(0 if verdict.sound else 1)
    for ring, records in sorted(verdict.rings.items()):
        click.echo(f"{ring}: {records} records")
    for one in verdict.failures:
        click.echo(
            f"FAILED {one.file} sequence {one.sequence}: found {one.found}, expected {one.expected}"
        )
    if verdict.open_segments:
        click.echo(
            f"{verdict.open_segments} open segments, {verdict.open_records} records unsealed"
        )
    click.echo(
        f"{'sound' if verdict.sound else 'TAMPERED'}: {verdict.segments} segments, "
        f"{verdict.records} records, {verdict.bytes} bytes in {time.monotonic() - started:.2f} s"
    )
    raise SystemExit(0 if verdict.sound else 1)


def _manifests(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for path in sorted(folder.glob("*/g*/*.json")):
        try:
            found.append((path, json.loads(path.read_text())))
        except ValueError as error:
            click.echo(f"could not be read: {path} is no manifest: {error}", err=True)
            click.echo("  fix: `sovereign audit verify` says what else is damaged", err=True)
            raise SystemExit(5) from error
    if not found:
        _nothing(folder)
    return found


@command.command("ls")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def ls(folder: Path, as_json: bool) -> None:
    """List the sealed segments.

    \b
    Example: sovereign audit ls archive/demo

    With --json: {"segments": [{"ring", "file", "first_sequence", "last_sequence", "first_publish", "recovered"}]}.
    """
    keys = ("ring", "first_sequence", "last_sequence", "first_publish", "recovered")
    rows = [
        {**{k: said[k] for k in keys}, "file": str(p.with_suffix(".npy"))}
        for p, said in _manifests(folder)
    ]
    if as_json:
        click.echo(json.dumps({"segments": rows}, indent=2))
        return
    for row in rows:
        mark = "  recovered" if row["recovered"] else ""
        click.echo(
            f"{row['ring']:<12} {row['first_sequence']:>10} to {row['last_sequence']:<10} "
            f"{row['first_publish']}  {row['file']}{mark}"
        )


@command.command("show")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("ring")
@click.option("--from", "first", default=1, show_default=True, help="First sequence.")
@click.option("--count", default=10, show_default=True, help="How many records.")
def show(folder: Path, ring: str, first: int, count: int) -> None:
    """Print records of a ring, decoded by the layouts in its manifest; one JSON object a line.

    \b
    Example: sovereign audit show archive/demo taker --from 1 --count 3
    """
    from sovereign.actors.auditor.decode import records

    manifests = [(path, said) for path, said in _manifests(folder) if said["ring"] == ring]
    if not manifests:
        known = ", ".join(sorted({said["ring"] for _, said in _manifests(folder)}))
        click.echo(f"no ring is named {ring!r}; there are {known}", err=True)
        raise SystemExit(4)
    for record in records(manifests, first, count):
        click.echo(json.dumps(record))
