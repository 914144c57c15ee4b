"""`sovereign audit`: look into an archive and check it. Offline: no ring and no running node is needed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NoReturn

import click

SEQUENCE = click.IntRange(min=1)
EPILOG = "Exit codes: 0 sound; 1 tampered; 2 wrong use; 5 could not be checked."


@click.group("audit", epilog=EPILOG)
def command() -> None:
    """Look into an archive and check it.

    \b
    Example: sovereign audit verify archive/demo
    """


def _nothing(folder: Path) -> NoReturn:
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
            f"{verdict.open_segments} open segments, {verdict.open_records} records unsealed: not verified"
        )
    click.echo(
        f"{'sound' if verdict.sound else 'TAMPERED'}: {verdict.segments} segments, "
        f"{verdict.records} records, {verdict.bytes} bytes in {time.monotonic() - started:.2f} s"
    )
    raise SystemExit(0 if verdict.sound else 1)


def _unreadable(path: Path, why: str) -> NoReturn:
    click.echo(f"could not be read: {path}: {why}", err=True)
    click.echo("  fix: `sovereign audit verify` says what else is damaged", err=True)
    raise SystemExit(5)


def _manifest(path: Path) -> dict[str, Any]:
    """One manifest, with the keys that are read here; exit code 5 when it is none."""
    needed = {"ring": str, "first_sequence": int, "last_sequence": int, "types": list}
    needed |= {"first_publish": str, "recovered": bool}
    try:
        said = json.loads(path.read_text())
    except ValueError as error:
        _unreadable(path, f"it is no manifest: {error}")
    if not isinstance(said, dict):
        _unreadable(path, "it is no manifest: no JSON object")
    wrong = [key for key, kind in needed.items() if not isinstance(said.get(key), kind)]
    if wrong:
        _unreadable(path, f"it is no manifest: {', '.join(wrong)} missing, or of another type")
    return dict(said)


def _manifests(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every manifest of an archive, generation by generation."""
    paths = sorted(folder.glob("*/g*/*.json"), key=lambda one: (_generation(one), one))
    if not paths:
        _nothing(folder)
    return [(path, _manifest(path)) for path in paths]


def _generation(manifest: Path) -> int:
    """Which making of the rings a segment is of: its folder says."""
    number = manifest.parent.name[1:]
    return int(number) if number.isdecimal() else -1


@command.command("ls", epilog="Exit codes: 0 listed; 2 wrong use; 5 could not be read.")
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


@command.command(
    "show", epilog="Exit codes: 0 shown; 2 wrong use; 4 no such ring; 5 could not be read."
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("ring")
@click.option(
    "--from", "first", type=SEQUENCE, default=1, show_default=True, help="First sequence."
)
@click.option("--count", type=SEQUENCE, default=10, show_default=True, help="How many records.")
@click.option("--generation", type=SEQUENCE, help="Which making of the rings; the newest.")
def show(folder: Path, ring: str, first: int, count: int, generation: int | None) -> None:
    """Print records of a ring, decoded by the layouts in its manifest; one JSON object a line.

    \b
    Example: sovereign audit show archive/demo taker --from 1 --count 3

    Sequences begin anew with each generation of the rings.
    """
    from sovereign.actors.auditor.decode import records
    from sovereign.runtime.errors import SovereignError

    all_of_them = _manifests(folder)
    of_ring = [one for one in all_of_them if one[1]["ring"] == ring]
    known = {said["ring"] for _, said in all_of_them}
    if not of_ring:
        expected = ", ".join(sorted(known))
        raise SovereignError(f"no ring is named {ring!r}", expected=expected, exit_code=4)
    made = sorted({_generation(path) for path, _ in of_ring})
    chosen = made[-1] if generation is None else generation
    manifests = [one for one in of_ring if _generation(one[0]) == chosen]
    if not manifests:
        expected = ", ".join(map(str, made))
        raise SovereignError(
            f"ring {ring} has no generation {chosen}", expected=expected, exit_code=4
        )
    last = manifests[-1][1]["last_sequence"]
    if first > last:
        raise SovereignError(
            f"ring {ring} ends before sequence {first}",
            got=f"the last one of generation {chosen} is {last}",
            hint=f"--generation: {', '.join(map(str, made))}" if len(made) > 1 else "",
            exit_code=2,
        )
    try:
        for record in records(manifests, first, count):
            click.echo(json.dumps(record))
    except (ValueError, KeyError, TypeError, EOFError) as error:  # a cut segment, a wrong layout
        _unreadable(manifests[0][0].parent, f"a segment or its manifest is damaged: {error}")
