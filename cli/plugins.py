"""`sovereign plugins`: the installed actor kinds, decoders and strategies, and where each comes from."""

from __future__ import annotations

import json

import click


@click.command("plugins", epilog="Exit codes: 0 done; 1 a plugin does not import (--check).")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.option("--check", "import_them", is_flag=True, help="Import each, and say which does not.")
def command(as_json: bool, import_them: bool) -> None:
    """List all plugins with their source.

    \b
    Example: sovereign plugins --check

    With --json: [{"group", "name", "entry", "source", "error"}]; error is null, or why it does not import.
    """
    from sovereign.runtime.errors import PluginError
    from sovereign.topology import registry

    rows: list[dict[str, str | None]] = []
    for one in (plugin for group in registry.GROUPS for plugin in registry.plugins(group)):
        error = None
        if import_them:
            try:
                registry.load(one.group, one.entry)
            except PluginError as failed:
                error = failed.what
        rows.append(
            {
                "group": one.group,
                "name": one.name,
                "entry": one.entry,
                "source": one.source,
                "error": error,
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print(rows)
    raise SystemExit(1 if any(row["error"] for row in rows) else 0)


def _print(rows: list[dict[str, str | None]]) -> None:
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
