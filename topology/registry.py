"""Plugins: what kinds, decoders and strategies there are, and which distribution each comes from.

A plugin is named by its entry point, or as `module:Class` without being registered at all. Nothing is imported until
it is asked for by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from sovereign.runtime.actor import Actor
from sovereign.runtime.errors import PluginError
from sovereign.topology.importing import import_plugin
from sovereign.topology.mistake import nearest

__all__ = ["GROUPS", "Plugin", "actor_class", "find", "load", "plugins"]

ACTORS, DECODERS, STRATEGIES = "sovereign.actors", "sovereign.decoders", "sovereign.strategies"
GROUPS = (ACTORS, DECODERS, STRATEGIES)

T = TypeVar("T")


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
    word = _word(group)
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


def load(group: str, name: str, base: type[T]) -> tuple[str, type[T]]:
    """Entry and class of what is called `name`. PluginError when it does not import, or is no `base`."""
    entry = find(group, name)
    module_name, _, attribute = entry.partition(":")
    module: Any = import_plugin(name, module_name)
    found: Any = module
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        offered = _offered(module, base)
        close = nearest(attribute, offered)
        raise PluginError(
            f'"{name}" does not import: module {module_name} has no "{attribute}"',
            got=str(getattr(module, "__file__", "")),
            expected=", ".join(offered) or f"a subclass of {_spell(base)}",
            hint=f'did you mean "{module_name}:{close}"?' if close else "",
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise PluginError(
            f'"{name}" is no {_word(group)}',
            got=repr(found),
            expected=f"a subclass of {_spell(base)}",
            hint=", ".join(f"{module_name}:{one}" for one in _offered(module, base)),
        )
    return entry, found


def _offered(module: Any, base: type) -> list[str]:
    """Names of the classes of that kind which the module itself defines."""
    return [
        name
        for name, one in vars(module).items()
        if isinstance(one, type) and issubclass(one, base) and one.__module__ == module.__name__
    ]


def _spell(base: type) -> str:
    return f"{base.__module__}.{base.__qualname__}"


def _word(group: str) -> str:
    """What a plugin of the group is."""
    return {ACTORS: "actor", DECODERS: "decoder", STRATEGIES: "strategy"}[group]


def actor_class(kind: str) -> tuple[str, type[Actor]]:
    """Entry and class of an actor kind. PluginError when it is no actor."""
    return load(ACTORS, kind, Actor)
