"""`sovereign`: finds the verb, and turns errors into text and exit codes (docs/operations.md)."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import json
import os
import sys
import traceback
from typing import Any

import click

from sovereign import __version__
from sovereign.cli import early

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
        if args and args[0] != "up":  # it minds signals without a gap, since it makes things
            early.release()
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="sovereign %(version)s")
def cli() -> None:
    """Run trading nodes: isolated, pinned processes over shared-memory rings.

    \b
    Example: sovereign up topology.toml --until-idle
    """


def _tell(what: str, code: int, **more: str) -> None:
    """With `--json` a failure is an object too, on stdout; the text for people stands on stderr in any case."""
    if "--json" in sys.argv[1:]:
        with contextlib.suppress(OSError):  # a full stdout: the code says it all the same
            click.echo(json.dumps({"error": {"what": what, **more, "exit_code": code}}, indent=2))


def _refused(error: OSError) -> int:
    """The host's own word, and where; 5."""
    what = f"the host refused: {error.strerror or error}"
    where = str(error.filename or "")
    click.echo(what + (f"\n  where: {where}" if where else ""), err=True)
    _tell(what, 5, where=where)
    return 5


def _run() -> int:
    """The verb's exit code; every error that is not its own becomes text on stderr."""
    from sovereign.runtime.errors import SovereignError

    stdout = sys.stdout
    try:
        code = cli.main(prog_name="sovereign", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as ended:
        if sys.stdout is not stdout:  # click's way to say that the reader has enough: `| head`
            return 141
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except click.Abort:
        click.echo("stopped", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        _tell(error.format_message(), error.exit_code)
        return error.exit_code
    except SovereignError as error:
        click.echo(str(error), err=True)
        said = {k: getattr(error, k) for k in ("where", "got", "expected", "hint")}
        _tell(error.what, error.exit_code, **said)
        return error.exit_code
    except OSError as error:
        return _refused(error)
    except Exception:
        traceback.print_exc()
        click.echo("this is a mistake of sovereign itself: please report the lines above", err=True)
        return 5


def _flushed(code: int) -> int:
    """Write what is still in hand. What cannot be written is no success, and no traceback of the interpreter's end."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), number)
            code = 141 if isinstance(error, BrokenPipeError) else code or 5
    return code


def main() -> None:
    """The entry point; a SovereignError becomes its text on stderr and its exit code."""
    early.guard()
    sys.exit(_flushed(_run()))


if __name__ == "__main__":
    main()
