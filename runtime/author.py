"""What went wrong, as its reader needs it: the reason, and the frames that lie in the author's own file.

A framework's frames help nobody who writes a strategy. They stay in the log file for whoever asks (`logs --json`); people
are shown the text of an error that has one, and where in *their* code it came from.
"""

from __future__ import annotations

import os
import sysconfig
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sovereign.runtime import compile_error
from sovereign.runtime.errors import SovereignError

_PACKAGE = Path(__file__).parents[1]
_OUR_FOLDERS = ("runtime", "topology", "actors", "cli", "messages", "benchmarks", "enclave_signer")
_LIBRARIES = ("numba", "llvmlite", "numpy", "msgspec", "structlog", "multiprocess", "click")


def _folder_of(library: str) -> str:
    spec = find_spec(library)
    return str(Path(spec.origin).parent) if spec and spec.origin else ""


_NOT_THEIRS = tuple(
    f"{folder}{os.sep}"
    for folder in (*(str(_PACKAGE / one) for one in _OUR_FOLDERS), *map(_folder_of, _LIBRARIES))
    if folder
)
_STANDARD = sysconfig.get_path("stdlib") + os.sep
_INSTALLED = ("site-packages", "dist-packages")  # these lie within the standard library's folder


def is_theirs(file: str) -> bool:
    """Whether a source file is neither ours, nor Python's, nor a library's that we work with."""
    path = os.path.abspath(file)
    standard = path.startswith(_STANDARD) and not any(part in path for part in _INSTALLED)
    return os.path.isfile(path) and not standard and not path.startswith(_NOT_THEIRS)


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what caused it, the cause last."""
    found = [error]
    while (cause := found[-1].__cause__ or found[-1].__context__) and cause not in found:
        found.append(cause)
    return found


def frames(error: BaseException) -> str:
    """The lines of a traceback that lie in the author's files, with their source; "" when none does."""
    for one in reversed(_chain(error)):
        if isinstance(one, SyntaxError) and one.filename and is_theirs(one.filename):
            return "".join(traceback.format_exception_only(one)[:-1]).rstrip()
        found = [
            frame for frame in traceback.extract_tb(one.__traceback__) if is_theirs(frame.filename)
        ]
        if found:
            return "".join(traceback.format_list(found)).rstrip()
    return ""


def told(error: BaseException) -> dict[str, Any]:
    """Fields of a log line: `reason`; `author`, the frames in their files; `exc_info`, all frames.

    `error` names the kind where the reason says all there is to say.
    """
    said: dict[str, Any] = {}
    if isinstance(error, SovereignError):
        said = {"error": type(error).__name__, "reason": str(error)}
    elif isinstance(error, OSError):
        where = f"\n  where: {error.filename}" if error.filename else ""
        said = {"error": type(error).__name__, "reason": f"{error.strerror or error}{where}"}
    elif type(error).__module__.partition(".")[0] == "numba":
        reason, where = compile_error.reason_and_place(error, is_theirs)
        where = f"\n  where: {where}" if where else ""
        said = {"error": type(error).__name__, "reason": f"it does not compile: {reason}{where}"}
    else:
        text = str(error)
        said = {"reason": f"{type(error).__name__}: {text}" if text else type(error).__name__}
    theirs = frames(error)
    if theirs:
        said["author"] = theirs
    return {**said, "exc_info": (type(error), error, error.__traceback__)}
