"""`sovereign up FILE`: start a node and mind it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

EPILOG = (
    "Exit codes: 0 ended as asked; 2 wrong use, wrong file, or the node is already up; "
    "5 an actor could not be kept, the node ended halted (--until-idle, --for), or the host refused."
)


@click.command("up", epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--detach", is_flag=True, help="Go to the background once every actor runs.")
@click.option("--for", "seconds", type=float, default=0.0, metavar="S", help="End after S seconds.")
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

    With --json, at the end: {"node", "seconds", "archive", "fatal", "actors": [as in `ps --json`]}.
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
        for actor in spec.actors:
            inputs = ", ".join(one.ring for one in actor.inputs) or "-"
            click.echo(f"{actor.name}  {actor.kind}  cpu {actor.cpu}  inputs {inputs}")
        click.echo(f"{file}: sound; nothing was started")
        return
    if detach:
        _detach(spec.run_dir)
        return
    from sovereign.runtime.supervisor import Options, Supervisor

    began = time.monotonic()
    options = Options(seconds=seconds, until_idle=until_idle, fresh=fresh, resume_by=resume_by)
    supervisor = Supervisor(spec, options, lambda text: click.echo(text, err=True))
    click.echo(f"node {spec.name}: {len(spec.actors)} actors, Ctrl-C ends it", err=True)
    rows = supervisor.run()
    took = time.monotonic() - began
    if as_json:
        found: dict[str, Any] = {"node": spec.name, "seconds": round(took, 3)}
        found |= {"archive": str(spec.archive_dir), "fatal": supervisor.fatal, "actors": rows}
        click.echo(json.dumps(found, indent=2))
    else:
        from sovereign.cli.tables import summary

        click.echo(summary(rows))
        done = sum(row["counters"]["outputs"] for row in rows)
        click.echo(f"{done} messages in {took:.1f} s; archive: {spec.archive_dir}")
    for reason in supervisor.fatal:
        click.echo(f"could not be kept: {reason}", err=True)
        click.echo(_last_error(spec.run_dir, reason.partition(":")[0]), err=True)
    halted = supervisor.ended_halted and (until_idle or seconds > 0)
    if halted:
        click.echo("the node was halted when it ended: what it made did not leave it", err=True)
    raise SystemExit(5 if supervisor.fatal or halted else 0)


def _last_error(run_dir: Path, actor: str) -> str:
    """What the actor's log says last of why it failed, for people."""
    from sovereign.cli.logs import readable

    file = run_dir / "logs" / f"{actor}.log"
    lines = file.read_text().splitlines() if file.exists() else []
    errors = [line for line in lines if '"level": "error"' in line]
    return readable(errors[-1]) if errors else f"(nothing in {file})"


def _detach(run_dir: Path) -> None:
    """Start the same command in a session of its own, and wait until the node is ready."""
    from sovereign.cli.ready import wait_ready
    from sovereign.runtime.errors import SovereignError
    from sovereign.runtime.rundir import holder

    if (pid := holder(run_dir)) is not None:
        raise SovereignError(
            f"node {run_dir.name} is already up",
            where=str(run_dir),
            got=f"process {pid} runs it",
            hint="`sovereign ps` shows it; `sovereign down` ends it",
            exit_code=2,
        )
    logs = run_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    arguments = [one for one in sys.argv[1:] if one != "--detach"]
    with (logs / "up.log").open("ab") as log:
        said_at = log.tell()
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "sovereign.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while holder(run_dir) is None and child.poll() is None:
        time.sleep(0.01)
    try:
        wait_ready(run_dir, 60.0)
    except SovereignError as error:
        if error.exit_code != 3:
            raise
        code = child.wait()  # it ended before it was ready: what it said and its exit code are ours
        click.echo((logs / "up.log").read_bytes()[said_at:].decode(errors="replace"), err=True)
        raise SystemExit(code or 5) from None
    click.echo(f"node {run_dir.name} is up, process {child.pid}; `sovereign down` ends it")
