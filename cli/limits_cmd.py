"""`sovereign limits`: every limit of the system by name, value and unit."""

from __future__ import annotations

import json

import click


@click.command("limits", epilog="Exit codes: 0 done.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def command(as_json: bool) -> None:
    """Print every limit, its unit and why it stands there.

    \b
    Example: sovereign limits --json

    With --json: [{"name", "value", "unit", "why"}].
    """
    from sovereign.runtime.limits import LIMITS

    if as_json:
        click.echo(json.dumps([limit._asdict() for limit in LIMITS], indent=2))
        return
    name_width = max(len(limit.name) for limit in LIMITS)
    value_width = max(len(f"{limit.value:,}") for limit in LIMITS)
    unit_width = max(len(limit.unit) for limit in LIMITS)
    for one in LIMITS:
        value = f"{one.value:,}".rjust(value_width)
        click.echo(f"{one.name:<{name_width}}  {value}  {one.unit:<{unit_width}}  {one.why}")
