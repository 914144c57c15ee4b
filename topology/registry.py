"""Plugins: what kinds, decoders and strategies there are, and which distribution each comes from.

A plugin is named by its entry point, or as `module:Class` without being registered at all. Nothing is imported until
it is asked for by name.
"""

from __future__ import annotations

import importlib
import traceback
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sovereign.runtime.actor import Actor
from sovereign.runtime.errors import PluginError
from sovereign.topology.mistake import nearest

__all__ = ["GROUPS", "Plugin", "actor_class", "find", "load", "plugins"]

ACTORS, DECODERS, STRATEGIES = "sovereign.actors", "sovereign.decoders", "sovereign.strategies"
GROUPS = (ACTORS, DECODERS, STRATEGIES)


@dataclass(frozen=True)
class Plugin:
    """One registered plugin. `source` is its distribution and version, as in `sovereign 0.1.0`."""

    group: str
    name: str
    entry: str
    source: str


@cache
def plugins(group: str) -> tuple[Plugin, ...]:
    """All plugins registered under `group`, by name."""
    found = {_plugin(point): None for point in entry_points(group=group)}
    return tuple(sorted(found, key=lambda one: (one.name, one.source)))


def _plugin(point: EntryPoint) -> Plugin:
    dist = point.dist
    source = f"{dist.name} {dist.version}" if dist is not None else "unknown"
    return Plugin(point.group, point.name, point.value, source)


def find(group: str, name: str) -> str:
    """`module:Class` of what is called `name` in `group`; a name with a colon stands for itself.

    PluginError when nothing is called so, or when two distributions claim the name.
    """
    if ":" in name:
        return name
    word = group.removeprefix("sovereign.").removesuffix("s")
    entries = {one.entry: one.source for one in plugins(group) if one.name == name}
    if len(entries) == 1:
        return next(iter(entries))
    if entries:
        raise PluginError(
            f'two distributions offer the {word} "{name}"',
            got=", ".join(sorted(entries.values())),
            hint="name the one you mean as module:Class",
        )
    known = sorted({one.name for one in plugins(group)})
    close = nearest(name, known)
    raise PluginError(
        f'no {word} is called "{name}"',
        got=f'"{name}"',
        expected=", ".join(known) + ", or module:Class",
        hint=f'did you mean "{close}"?' if close else "`sovereign plugins` lists what is installed",
    )


def load(group: str, name: str) -> Any:
    """Import and return the object behind `name`. PluginError says why it cannot, with the place in its code."""
    entry = find(group, name)
    module, _, attribute = entry.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise PluginError(
            f'"{name}" does not import: there is no module "{missing}"',
            got=entry,
            expected="a module that this Python can import",
            hint="install the package into this environment, or put its folder on PYTHONPATH",
        ) from error
    except AttributeError as error:
        names = [one for one in dir(found) if not one.startswith("_")]
        close = nearest(attribute, names)
        raise PluginError(
            f'"{name}" does not import: module {module} has no "{attribute}"',
            got=entry,
            hint=f'did you mean "{module}:{close}"?' if close else "",
        ) from error
    except Exception as error:
        raise PluginError(
            f'"{name}" does not import: {type(error).__name__}: {error}',
            got=_innermost(error),
            hint=f"`python -c 'import {module}'` shows the whole traceback",
        ) from error
    return found


def _innermost(error: Exception) -> str:
    """File and line where the import failed."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def actor_class(kind: str) -> tuple[str, type[Actor]]:
    """Entry and class of an actor kind. PluginError when it is no actor."""
    found = load(ACTORS, kind)
    if not (isinstance(found, type) and issubclass(found, Actor)):
        raise PluginError(
            f'"{kind}" is no actor kind',
            got=repr(found),
            expected="a subclass of sovereign.runtime.actor.Actor",
        )
    return find(ACTORS, kind), found
