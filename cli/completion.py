"""`sovereign completion`: what a shell needs to complete verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion", epilog="Exit codes: 0 printed; 2 no such shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Example: sovereign completion bash > ~/.local/share/bash-completion/completions/sovereign
    """
    from sovereign.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "sovereign", "_SOVEREIGN_COMPLETE").source())
