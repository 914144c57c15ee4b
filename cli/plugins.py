"""`sovereign plugins`: the installed actor kinds, decoders and strategies, and where each comes from."""

from __future__ import annotations

import json

import click

Row = dict[str, str | None]


@click.command("plugins", epilog="Exit codes: 0 done; 1 a plugin does not import (--check).")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.option("--check", "import_them", is_flag=True, help="Import each, and say which does not.")
def command(as_json: bool, import_them: bool) -> None:
    """List all plugins with their source.

    \b
    Example: sovereign plugins --check

    With --json: [{"group", "name", "entry", "source", "error"}]; error is null, or why it does not import.
    """
    from sovereign.topology import registry
    from sovereign.topology.importing import trials

    rows: list[Row] = []
    with trials():
        for one in (plugin for group in registry.GROUPS for plugin in registry.plugins(group)):
            rows.append(
                {
                    "group": one.group,
                    "name": one.name,
                    "entry": one.entry,
                    "source": one.source,
                    "error": _error(one.group, one.entry) if import_them else None,
                }
            )
    broken = sum(row["error"] is not None for row in rows)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print(rows)
    if import_them and not as_json:
        verdict = f"{broken} of them does not import" if broken == 1 else f"{broken} do not import"
        count = f"{len(rows)} plugin{'' if len(rows) == 1 else 's'}"
        click.echo(f"{count}: {verdict if broken else 'all import'}")
    raise SystemExit(1 if broken else 0)


def _error(group: str, entry: str) -> str | None:
    """Why it does not import, with the place in its code."""
    from sovereign.actors.ingress.decoder import Decoder
    from sovereign.actors.strategy.api import Strategy
    from sovereign.runtime.actor import Actor
    from sovereign.runtime.errors import PluginError
    from sovereign.topology import registry

    bases: dict[str, type] = {
        registry.ACTORS: Actor,
        registry.DECODERS: Decoder,
        registry.STRATEGIES: Strategy,
    }
    try:
        registry.load(group, entry, bases[group])
    except PluginError as failed:
        return f"{failed.what} ({failed.got})" if failed.got else failed.what
    return None


def _print(rows: list[Row]) -> None:
    shown = ("group", "name", "source", "entry")
    table = [
        tuple(name.upper() for name in shown),
        *(tuple(row[k] or "" for k in shown) for row in rows),
    ]
    widths = [max(len(line[at]) for line in table) for at in range(len(shown))]
    errors = [None, *(row["error"] for row in rows)]
    for line, error in zip(table, errors, strict=True):
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip() + (f"  error: {error}" if error else ""))
