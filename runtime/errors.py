"""Errors that a user can mend.

    SovereignError
    ├── LayoutError      two sides disagree on a layout (version, schema)
    ├── LeaseError       another process holds this role
    ├── LimitError       a named limit would be exceeded
    ├── ResourceError    the host refused (memory, disk, port, permission)
    ├── PluginError      a user's code does not import, compile or run
    └── InputError       data that is not what it claims to be

Each says what is wrong, where, what was found and expected, and what to do.
"""

from __future__ import annotations


class SovereignError(Exception):
    """What is wrong, where, got and expected, and how to mend it. `exit_code` as in docs/operations.md."""

    exit_code = 5

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        got: str = "",
        expected: str = "",
        hint: str = "",
        exit_code: int | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.got, self.expected, self.hint = what, where, got, expected, hint
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in (
            ("where", self.where),
            ("got", self.got),
            ("expected", self.expected),
            ("fix", self.hint),
        ):
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)


class LayoutError(SovereignError):
    """Two sides disagree on a layout."""


class LeaseError(SovereignError):
    """A live process holds this role."""


class LimitError(SovereignError):
    """A named limit would be exceeded."""

    exit_code = 2


class ResourceError(SovereignError):
    """The host refused: memory, disk, a port, a permission."""


class PluginError(SovereignError):
    """A user's code does not import, compile or run."""

    exit_code = 2


class InputError(SovereignError):
    """Data that is not what it claims to be."""

    exit_code = 2


def innermost(error: BaseException) -> str:
    """File and line where it was raised; for a SyntaxError, where it stands."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}:{error.offset}"
    trace = error.__traceback__
    place = ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
