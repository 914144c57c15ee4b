"""`sovereign`: finds the verb, and turns errors into text and exit codes (docs/operations.md)."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any

import click

from sovereign import __version__

VERBS: dict[str, tuple[str, str]] = {
    "up": ("up", "Start a node from its topology file."),
    "down": ("down", "End a running node, draining it first."),
    "ps": ("ps", "Show the actors of a running node."),
    "restart": ("operate", "Restart one actor while the rest go on."),
    "stop": ("operate", "Stop one actor."),
    "start": ("operate", "Start a stopped actor."),
    "logs": ("logs", "Show the logs of a node or of one actor."),
    "ready": ("ready", "Wait until every actor runs."),
    "halt": ("halt", "The kill switch: nothing leaves the node any more."),
    "resume": ("halt", "Lift a halt."),
    "check": ("check", "Find all mistakes of a topology file."),
    "graph": ("graph", "Draw a topology."),
    "schema": ("schema", "Print the JSON Schema of the topology file."),
    "plugins": ("plugins", "List actors, decoders and strategies."),
    "limits": ("limits_cmd", "List every limit of the system."),
    "audit": ("audit", "Look into an archive and check it."),
    "new": ("new", "Make a package with a working strategy."),
    "demo": ("demo", "Run a node on recorded market data and show what it did."),
    "completion": ("completion", "Print the completion script of a shell."),
    "chaos": ("chaos", "Kill actors at any store; count what was lost or repeated."),
    "jitter": ("jitter", "Measure what the host itself costs, and who takes it."),
    "bench": ("bench", "Measure the ring beside the limit of this machine."),
}


def _nearest(word: str) -> str:
    """The verb that was meant: the same letters in another order, else the most alike; "" when none is."""

    def likeness(verb: str) -> tuple[bool, float]:
        return sorted(verb) == sorted(word), difflib.SequenceMatcher(None, word, verb).ratio()

    best = max(VERBS, key=likeness)
    return best if max(likeness(best)) >= 0.6 else ""


class Verbs(click.Group):
    """Loads a verb when it is used: `sovereign --help` imports nothing heavy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which people need them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The verb's command."""
        if name not in VERBS:
            return None
        module = importlib.import_module(f"sovereign.cli.{VERBS[name][0]}")
        found: click.Command = getattr(module, name.replace("-", "_"), None) or module.command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with their first lines, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """An unknown verb gets the nearest known one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            close = _nearest(args[0])
            hint = f"  did you mean {close!r}?" if close else "  `sovereign --help` lists the verbs"
            click.echo(f"no verb is named {args[0]!r}\n{hint}", err=True)
            raise SystemExit(2)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="sovereign %(version)s")
def cli() -> None:
    """Run trading nodes: isolated, pinned processes over shared-memory rings.

    \b
    Example: sovereign up topology.toml --until-idle
    """


def main() -> None:
    """The entry point; a SovereignError becomes its text on stderr and its exit code."""
    from sovereign.runtime.errors import SovereignError

    try:
        cli()
    except SovereignError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        click.echo(f"the host refused: {error.strerror or error}", err=True)
        if error.filename:
            click.echo(f"  where: {error.filename}", err=True)
        sys.exit(5)
    except Exception:
        import traceback

        traceback.print_exc()
        click.echo("this is a mistake of sovereign itself: please report the lines above", err=True)
        sys.exit(5)


if __name__ == "__main__":
    main()
