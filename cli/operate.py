"""`sovereign restart|stop|start ACTOR`: one actor, while the rest go on."""

from __future__ import annotations

import json

import click

from sovereign.cli.complete import actors, nodes

EPILOG = "Exit codes: 0 done; 3 nothing runs; 4 no such actor; 5 it did not start."


def _run(operation: str, actor: str, node: str | None, as_json: bool) -> None:
    from sovereign.cli.node import tell
    from sovereign.runtime.control_socket import Request

    done = tell(node, Request(op=operation, actor=actor))
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    process = f"process {done['pid']}, " if done["pid"] else ""
    click.echo(f"{done['actor']}: {done['state']}, {process}in {done['took_ns'] / 1e6:.1f} ms")


@click.command("restart", epilog=EPILOG)
@click.argument("actor", shell_complete=actors)
@click.option("--node", shell_complete=nodes, help="Which node, when several run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def restart(actor: str, node: str | None, as_json: bool) -> None:
    """Restart one actor; it goes on where it was, with the newest code.

    \b
    Example: sovereign restart taker

    With --json: {"actor", "state", "pid", "took_ns"}.
    """
    _run("restart", actor, node, as_json)


@click.command("stop", epilog=EPILOG)
@click.argument("actor", shell_complete=actors)
@click.option("--node", shell_complete=nodes, help="Which node, when several run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def stop(actor: str, node: str | None, as_json: bool) -> None:
    """Drain and stop one actor. As a gate it then holds its writers back.

    \b
    Example: sovereign stop taker

    With --json: {"actor", "state", "pid", "took_ns"}.
    """
    _run("stop", actor, node, as_json)


@click.command("start", epilog=EPILOG)
@click.argument("actor", shell_complete=actors)
@click.option("--node", shell_complete=nodes, help="Which node, when several run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def start(actor: str, node: str | None, as_json: bool) -> None:
    """Start a stopped actor.

    \b
    Example: sovereign start taker

    With --json: {"actor", "state", "pid", "took_ns"}.
    """
    _run("start", actor, node, as_json)
