"""`sovereign halt` and `sovereign resume`: the kill switch, by a named person."""

from __future__ import annotations

import json

import click

from sovereign.cli.complete import nodes


@click.command("halt", epilog="Exit codes: 0 acknowledged; 3 nothing runs; 5 not acknowledged.")
@click.option("--reason", required=True, help="Why; it is archived.")
@click.option("--by", required=True, help="Who; it is archived.")
@click.option("--node", shell_complete=nodes, help="Which node, when several run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def halt(reason: str, by: str, node: str | None, as_json: bool) -> None:
    """Stop everything that leaves the node; returns when signer and egress have acknowledged.

    \b
    Example: sovereign halt --reason "fat finger" --by "A. Lovelace"

    With --json: {"epoch", "acknowledged": {actor: ns}, "missing": [actor], "already": [actor], "not_persisted": [text]}.
    """
    from sovereign.cli.node import tell
    from sovereign.runtime.control_socket import Request

    done = tell(node, Request(op="halt", by=by, reason=reason))
    if as_json:
        click.echo(json.dumps(done, indent=2))
        raise SystemExit(5 if done["missing"] or done["not_persisted"] else 0)
    for actor, took_ns in sorted(done["acknowledged"].items()):
        click.echo(f"{actor}: acknowledged after {took_ns / 1e6:.2f} ms")
    for actor in done["already"]:
        click.echo(f"{actor}: not running, nothing can leave it")
    for reason in done["not_persisted"]:
        click.echo(f"halted, but a crash would forget it: {reason}", err=True)
    for actor in done["missing"]:
        click.echo(f"{actor}: did NOT acknowledge", err=True)
    click.echo(f"halted, epoch {done['epoch']}; `sovereign resume --by WHO` lifts it")
    raise SystemExit(5 if done["missing"] or done["not_persisted"] else 0)


@click.command("resume", epilog="Exit codes: 0 lifted; 2 not halted; 3 nothing runs.")
@click.option("--by", required=True, help="Who; it is archived.")
@click.option("--node", shell_complete=nodes, help="Which node, when several run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def resume(by: str, node: str | None, as_json: bool) -> None:
    """Lift a halt. Orders that were made before it never leave.

    \b
    Example: sovereign resume --by "A. Lovelace"

    With --json: {"epoch"}.
    """
    from sovereign.cli.node import tell
    from sovereign.runtime.control_socket import Request

    done = tell(node, Request(op="resume", by=by))
    click.echo(json.dumps(done, indent=2) if as_json else f"resumed, epoch {done['epoch']}")
