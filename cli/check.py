"""`sovereign check FILE`: every mistake of a topology file, with line, column and a caret."""

from __future__ import annotations

import json
from pathlib import Path

import click

EPILOG = "Exit codes: 0 the file is right; 2 it has mistakes, or cannot be read."


@click.command("check", epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option(
    "--compile", "compile_too", is_flag=True, help="Compile handlers and decoders too: seconds."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: Path, overrides: tuple[str, ...], compile_too: bool, as_json: bool) -> None:
    """Find all mistakes of a topology file, before anything starts.

    \b
    Example: sovereign check topology.toml --set actors.taker.cpu=3

    Plugins are imported, in a child process first. Whether a handler compiles is found with --compile, when the file has
    no other mistakes; what only the outside world knows (a port that is taken, a pod's own policy document) shows when
    the node starts.

    With --json: {"file", "sound", "actors", "rings", "mistakes": [{"code", "what", "key", "file", "line", "column",
    "length", "text", "got", "expected", "hint"}]}.
    """
    from sovereign.topology.load import examine
    from sovereign.topology.mistake import render

    examined = examine(file, overrides, compile_too=compile_too)
    spec = examined.spec
    rings = sum(one.output is not None for one in spec.actors) if spec else 0
    count = len(examined.mistakes)
    if as_json:
        found = {
            "file": str(file),
            "sound": spec is not None,
            "actors": len(examined.topology.parts),
            "rings": rings,
            "mistakes": [one.as_dict() for one in examined.mistakes],
        }
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif spec is None:
        for one in examined.mistakes:
            click.echo(render(one) + "\n")
        click.echo(f"{file}: {count} mistake{'' if count == 1 else 's'}")
    else:
        size = sum(one.output.capacity * one.output.stride for one in spec.actors if one.output)
        actors = f"{len(spec.actors)} actor{'' if len(spec.actors) == 1 else 's'}"
        ring_text = f"{rings} ring{'' if rings == 1 else 's'}"
        more = "; all compiles" if compile_too else ""
        mib = f"{size / (1 << 20):.1f} MiB of slots"
        click.echo(f"{file}: sound; {actors}, {ring_text}, {mib}{more}")
    raise SystemExit(0 if spec is not None else 2)
