"""`sovereign new strategy NAME`: a package with a working strategy, a topology, and tests that pass at once."""

from __future__ import annotations

import importlib.util
import keyword
import shlex
import sys
from pathlib import Path

import click

TEMPLATES = Path(__file__).parent / "templates"
DATA = Path(__file__).parents[1] / "examples" / "data" / "test_data.mbp-1.dbn"


EPILOG = "Exit codes: 0 made; 2 the name does not fit, or is taken; 5 the folder cannot be written."


@click.group("new", epilog=EPILOG)
def command() -> None:
    """Make a package with a working strategy.

    \b
    Example: sovereign new strategy momentum && make -C momentum test
    """


def _taken(name: str) -> bool:
    """Whether an installed module would stand before the new one."""
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # `__main__`
        return True


@command.command("strategy", epilog=EPILOG)
@click.argument("name")
def strategy(name: str) -> None:
    """Make the package NAME in a folder of that name.

    \b
    Example: sovereign new strategy momentum
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        click.echo(
            f"{name!r} is no name for a package\n  expected: lower-case, such as momentum", err=True
        )
        raise SystemExit(2)
    if _taken(name):
        click.echo(
            f"{name!r} is the name of an installed module: yours could not be imported", err=True
        )
        click.echo(f"  fix: another name, such as my_{name}", err=True)
        raise SystemExit(2)
    folder = Path(name)
    if folder.exists():
        click.echo(f"{folder} is already there", err=True)
        raise SystemExit(2)
    folder.mkdir()
    title = "".join(word.capitalize() for word in name.split("_"))
    for template in sorted(TEMPLATES.glob("*.template")):
        target = folder / template.name.removesuffix(".template").replace("NAME", name)
        text = template.read_text().replace("@NAME@", name).replace("@TITLE@", title)
        text = text.replace("@PYTHON@", shlex.quote(sys.executable).replace("$", "$$"))
        target.write_text(text)
    (folder / "sample.mbp-1.dbn").write_bytes(DATA.read_bytes())
    count = len(list(folder.iterdir()))
    click.echo(
        f"{count} files in {folder}/; next: make -C {folder} test, then make -C {folder} run"
    )
