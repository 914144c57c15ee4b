"""`sovereign restart|stop|start ACTOR`: one actor, while the rest go on."""

from __future__ import annotations

import click

EPILOG = "Exit codes: 0 done; 3 nothing runs; 4 no such actor; 5 it did not start."


def _run(operation: str, actor: str, node: str | None) -> None:
    from sovereign.cli.node import tell
    from sovereign.runtime.control_socket import Request

    done = tell(node, Request(op=operation, actor=actor))
    click.echo(
        f"{done['actor']}: {done['state']}, process {done['pid']}, in {done['took_ns'] / 1e6:.1f} ms"
    )


@click.command("restart", epilog=EPILOG)
@click.argument("actor")
@click.option("--node", help="Which node, when several run.")
def restart(actor: str, node: str | None) -> None:
    """Restart one actor; it goes on where it was, with the newest code.

    \b
    Example: sovereign restart taker
    """
    _run("restart", actor, node)


@click.command("stop", epilog=EPILOG)
@click.argument("actor")
@click.option("--node", help="Which node, when several run.")
def stop(actor: str, node: str | None) -> None:
    """Drain and stop one actor. As a gate it then holds its writers back.

    \b
    Example: sovereign stop taker
    """
    _run("stop", actor, node)


@click.command("start", epilog=EPILOG)
@click.argument("actor")
@click.option("--node", help="Which node, when several run.")
def start(actor: str, node: str | None) -> None:
    """Start a stopped actor.

    \b
    Example: sovereign start taker
    """
    _run("start", actor, node)
