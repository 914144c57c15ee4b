"""`sovereign graph FILE`: the topology as a drawing, in text or as Mermaid, or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import click

EPILOG = "Exit codes: 0 done; 2 the file has mistakes, or cannot be read."


@click.command("graph", epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option(
    "--format", "form", type=click.Choice(["text", "mermaid"]), default="text", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: Path, overrides: tuple[str, ...], form: str, as_json: bool) -> None:
    """Draw a topology: who reads whom, which messages, which gates.

    \b
    Example: sovereign graph topology.toml --format mermaid

    With --json: {"node", "actors": [{"actor", "kind", "cpu", "inputs": [{"ring", "gate", "feedback"}], "output": RING or
    null}], "own_ring": RING}; RING is {"ring", "types", "capacity", "stride", "bytes", "readers": [{"actor", "gate",
    "archives"}]}. "cpu" is null where any will do; "capacity" is in slots. Mistakes of the file go to stderr, as text.
    """
    from sovereign.topology.draw import as_data, draw_mermaid, draw_text
    from sovereign.topology.load import load
    from sovereign.topology.mistake import TopologyError

    try:
        spec = load(file, overrides)
    except TopologyError as error:
        click.echo(str(error), err=True)
        raise SystemExit(error.exit_code) from None
    if as_json:
        click.echo(json.dumps(as_data(spec), indent=2))
    else:
        click.echo(draw_mermaid(spec) if form == "mermaid" else draw_text(spec))
