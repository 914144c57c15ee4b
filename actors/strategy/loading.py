"""Find a strategy: an entry point of `sovereign.strategies`, or `module:Class`."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import entry_points
from pathlib import Path

from sovereign.actors.strategy.api import Strategy
from sovereign.runtime.errors import PluginError


def load_strategy(name: str) -> type[Strategy]:
    """The class. PluginError when it does not import, is not there, or is no Strategy."""
    target = name
    if ":" not in name:
        found = {one.name: one.value for one in entry_points(group="sovereign.strategies")}
        if name not in found:
            raise PluginError(
                f"no strategy is named {name!r}",
                expected=", ".join(sorted(found)) or "none is installed",
                hint="name one of these, or module:Class",
            )
        target = found[name]
    module_name, _, class_name = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # an author's own file, beside the topology
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise PluginError(
            f"strategy {name} does not import: {type(error).__name__}: {error}",
            where=_innermost(error),
        ) from error
    strategy = getattr(module, class_name, None)
    if not (isinstance(strategy, type) and issubclass(strategy, Strategy)):
        known = [
            k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, Strategy)
        ]
        raise PluginError(
            f"{module_name} has no strategy {class_name!r}",
            where=str(getattr(module, "__file__", "")),
            expected=", ".join(k for k in known if k != "Strategy") or "a subclass of Strategy",
        )
    return strategy


def _innermost(error: BaseException) -> str:
    """File and line where an import failed."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}:{error.offset}"
    return place
