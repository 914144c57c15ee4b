"""`sovereign graph FILE`: the topology as a drawing, in text or as Mermaid."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = "Exit codes: 0 done; 2 the file has mistakes, or cannot be read."


@click.command("graph", epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option(
    "--format", "form", type=click.Choice(["text", "mermaid"]), default="text", show_default=True
)
def command(file: Path, overrides: tuple[str, ...], form: str) -> None:
    """Draw a topology: who reads whom, which messages, which gates.

    \b
    Example: sovereign graph topology.toml --format mermaid
    """
    from sovereign.topology.draw import draw_mermaid, draw_text
    from sovereign.topology.load import load
    from sovereign.topology.mistake import TopologyError

    try:
        spec = load(file, overrides)
    except TopologyError as error:
        click.echo(str(error), err=True)
        raise SystemExit(error.exit_code) from None
    click.echo(draw_mermaid(spec) if form == "mermaid" else draw_text(spec))
