"""The program: `sovereign`, or `python -m sovereign`. Signals are minded before anything that takes time is imported."""

from __future__ import annotations

from sovereign.cli import early


def main() -> None:
    """Run a verb; ends the process."""
    early.guard()
    from sovereign.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
