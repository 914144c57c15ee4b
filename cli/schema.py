"""`sovereign schema`: the JSON Schema of the topology file, so that editors complete and check it."""

from __future__ import annotations

import json

import click


@click.command("schema", epilog="Exit codes: 0 done.")
def command() -> None:
    """Print the JSON Schema (2020-12) of topology files, with the keys of every installed actor kind.

    \b
    Example: sovereign schema > topology.schema.json
    Editors with TOML support (Taplo) take it by a first line `#:schema topology.schema.json`.
    """
    from sovereign.topology.json_schema import topology_schema

    click.echo(json.dumps(topology_schema(), indent=2, ensure_ascii=False))
