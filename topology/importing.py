"""The import of a plugin's module: what can go wrong with it, said so that its author can mend it.

Inside `with trials():` a module that is not the framework's own is first imported in a child process (`trial.py`), so
that a module which ends the interpreter, or never returns, cannot do that to the process that asks. What failed once is not
tried again. An actor's process makes no trial: its supervisor minds it.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType

from sovereign.runtime.errors import PluginError
from sovereign.topology import trial
from sovereign.topology.frames import LIBRARIES, place_of
from sovereign.topology.fresh_source import import_fresh
from sovereign.topology.mistake import nearest

__all__ = ["import_plugin", "own_folder", "trials"]

_OWN_PACKAGE = __name__.partition(".")[0]

_failures: dict[str, trial.Failure] | None = None


@contextlib.contextmanager
def trials() -> Iterator[None]:
    """Within it, plugins are imported in a child first."""
    global _failures
    kept, _failures = _failures, {} if _failures is None else _failures
    try:
        yield
    finally:
        _failures = kept


def own_folder(folder: str) -> None:
    """Let an author's own module be found in `folder`, behind what is installed."""
    if folder not in sys.path:
        sys.path.append(folder)


def import_plugin(name: str, module: str) -> ModuleType:
    """The module. PluginError says why `name` does not import, and where in its code that is."""
    own = module.partition(".")[0] == _OWN_PACKAGE
    if _failures is not None and not own and module not in sys.modules:
        failure = _failures.get(module) or trial.attempt(module, _explain)
        if failure is not None:
            _failures[module] = failure
            raise _refusal(name, failure)
    try:
        return import_fresh(module) if not own else importlib.import_module(module)
    except KeyboardInterrupt:  # the user's own, since a module that raises it fails its trial
        raise
    except BaseException as error:
        raise _refusal(name, _explain(module, error)) from error


def _refusal(name: str, failure: trial.Failure) -> PluginError:
    what = f'"{name}" does not import: {failure.reason}'
    return PluginError(what, got=failure.place, expected=failure.expected, hint=failure.hint)


def _explain(module: str, error: BaseException) -> trial.Failure:
    """What an import raised, in words."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _not_found(module, error.name, error)
    hint = f"`python -c 'import {module}'` shows the whole traceback"
    if isinstance(error, SystemExit):
        reason = f"it calls sys.exit({error.code!r}), which would end whoever imports it"
        return trial.Failure(reason, _place(error), hint="leave that to its `if __name__` part")
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}:{error.offset}"
        return trial.Failure(f"{type(error).__name__}: {error.msg}", place, hint=hint)
    return trial.Failure(f"{type(error).__name__}: {error}", _place(error), hint=hint)


def _not_found(module: str, missing: str, error: BaseException) -> trial.Failure:
    reason = f'there is no module "{missing}"'
    if not (module == missing or module.startswith(f"{missing}.")):  # something that it needs
        hint = "install it into this environment"
        return trial.Failure(reason, _place(error), "a module that this Python can import", hint)
    folders = [one for one in sys.path if one and not one.startswith(LIBRARIES)]
    close = nearest(missing, [one.name for one in pkgutil.iter_modules(folders)])
    hint = "install the package into this environment, or put its folder on PYTHONPATH"
    return trial.Failure(
        reason,
        "",
        "a module that this Python can import",
        f'did you mean "{close}"?' if close else hint,
    )


def _place(error: BaseException) -> str:
    """File and line where it was raised, in the author's own code when that is known."""
    frames = traceback.extract_tb(error.__traceback__)
    return place_of([(one.filename, one.lineno or 0) for one in reversed(frames)])
