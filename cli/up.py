"""`sovereign up FILE`: start a node and mind it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sovereign.cli import early
from sovereign.cli.log_tail import LogTail
from sovereign.cli.logs import readable
from sovereign.cli.numbers import Seconds

if TYPE_CHECKING:
    from sovereign.runtime.spec import NodeSpec
    from sovereign.runtime.supervisor import Supervisor

EPILOG = (
    "Exit codes: 0 ended as asked; 2 wrong use, wrong file, the node is already up, or its rings are of another "
    "topology; 5 an actor could not be kept, the node ended halted (--until-idle, --for), or the host refused; 130 or 143 stopped by SIGINT or SIGTERM before "
    "every actor ran."
)


@click.command("up", epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--detach", is_flag=True, help="Go to the background once every actor runs.")
@click.option("--for", "seconds", type=Seconds(), default=0.0, metavar="S", help="End after S s.")
@click.option(
    "--until-idle", is_flag=True, help="End when the sources are done and all is handled."
)
@click.option("--dry-run", is_flag=True, help="Check and show what would start; start nothing.")
@click.option("--fresh", is_flag=True, help="Seal what an earlier run left, and begin anew.")
@click.option("--resume-by", metavar="WHO", default="", help="Lift the halt that it ended with.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(
    file: Path,
    detach: bool,
    seconds: float,
    until_idle: bool,
    dry_run: bool,
    fresh: bool,
    resume_by: str,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Start a node from its topology file; Ctrl-C ends it in order.

    \b
    Example: sovereign up topology.toml --until-idle

    With --json, at the end: {"node", "seconds", "archive", "fatal", "actors": [as in `ps --json`],
    "refused": {actor: {rule: count}}, "warnings": {actor: [text]}}; with --dry-run: {"file", "run_dir", "archive"} and what
    `graph --json` prints, actors in the order in which they would start.
    """
    from sovereign.topology.load import examine
    from sovereign.topology.mistake import render

    examined = examine(file, overrides)
    if examined.spec is None:
        for mistake in examined.mistakes:
            click.echo(render(mistake) + "\n", err=True)
        count = len(examined.mistakes)
        click.echo(f"{file}: {count} mistake{'' if count == 1 else 's'}", err=True)
        raise SystemExit(2)
    spec = examined.spec
    if dry_run:
        _show(file, spec, as_json)
        return
    if detach:
        from sovereign.cli.detach import detach as in_background

        in_background(spec.run_dir)
        return
    from sovereign.runtime.options import Options
    from sovereign.runtime.supervisor import Supervisor

    began, tail = time.monotonic(), LogTail(spec.run_dir)
    by = "Ctrl-C" if sys.stderr.isatty() else f"`sovereign down {spec.name}`"
    options = Options(
        seconds=seconds, until_idle=until_idle, fresh=fresh, resume_by=resume_by, ended_by=by
    )
    supervisor = Supervisor(spec, options, _say)
    rows = supervisor.run()
    early.release()  # a Ctrl-C from here on only cuts the summary short
    if supervisor.signals and not supervisor.ran:
        _say("stopped before it ran")
        raise SystemExit(early.exit_code(supervisor.signals[0]))
    took = time.monotonic() - began
    refused = _refusals(supervisor, rows)
    fatal = {reason.partition(":")[0] for reason in supervisor.fatal}
    warnings = {
        row["actor"]: told
        for row in rows
        if (told := tail.warnings(row["actor"], failed=row["actor"] in fatal))
    }
    if as_json:
        found: dict[str, Any] = {"node": spec.name, "seconds": round(took, 3)}
        found |= {"archive": str(spec.archive_dir), "fatal": supervisor.fatal, "actors": rows}
        click.echo(json.dumps({**found, "refused": refused, "warnings": warnings}, indent=2))
    else:
        _print(rows, refused, f"{took:.1f} s; archive: {spec.archive_dir}")
    for actor, texts in warnings.items():
        for text in texts:
            _say(f"{actor}: {text}")
    for reason in supervisor.fatal:
        _say(f"could not be kept: {reason}")
        name = reason.partition(":")[0]
        last = tail.last_error(name)
        _say(readable(last) if last else f"(`sovereign logs {name}` has no error of this run)")
    halted = supervisor.ended_halted and (until_idle or seconds > 0)
    if halted:
        _say("the node was halted when it ended: what it made did not leave it")
    raise SystemExit(5 if supervisor.fatal or halted else 0)


def _show(file: Path, spec: NodeSpec, as_json: bool) -> None:
    """What would start, in its order (--dry-run)."""
    from sovereign.topology.draw import as_data

    drawn = as_data(spec)
    if as_json:
        found = {"file": str(file), "run_dir": str(spec.run_dir), "archive": str(spec.archive_dir)}
        click.echo(json.dumps(found | drawn, indent=2))
        return
    for actor in drawn["actors"]:
        cpu = "any" if actor["cpu"] is None else actor["cpu"]
        inputs = ", ".join(one["ring"] for one in actor["inputs"]) or "-"
        click.echo(f"{actor['actor']}  {actor['kind']}  cpu {cpu}  inputs {inputs}")
    click.echo(f"{file}: sound; nothing was started")


def _print(rows: list[dict[str, Any]], refused: dict[str, dict[str, int]], end: str) -> None:
    """The summary for people."""
    from sovereign.cli.notes import notes
    from sovereign.cli.tables import summary

    click.echo(summary(rows))
    for line in notes(rows, refused):
        click.echo(line)
    done = sum(row["counters"]["outputs"] for row in rows)
    click.echo(f"{done} messages published by all actors in this run of {end}")


def _refusals(supervisor: Supervisor, rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """By actor and rule, as far as the rings still hold them: their names may be gone, our mapping is not."""
    from sovereign.cli.notes import rules_of

    rings, since_ns = supervisor.view.rings, supervisor.started_ns
    refused = [row["actor"] for row in rows if row["counters"]["refused"]]
    return {actor: rules_of(rings[actor], since_ns) for actor in refused if actor in rings}


def _say(text: str) -> None:
    """To stderr; whoever closed it (`2>&1 | head`) does not end the node by that."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)
