"""Find a strategy: an entry point of `sovereign.strategies`, or `module:Class`; and the hash of its source."""

from __future__ import annotations

from sovereign.actors.strategy.api import Strategy
from sovereign.topology import fresh_source, registry


def load_strategy(name: str) -> type[Strategy]:
    """The class. PluginError when it does not import, is not there, or is no Strategy."""
    return registry.load(registry.STRATEGIES, name, Strategy)[1]


def source_hash(strategy: type[Strategy]) -> bytes:
    """SHA-256 of the source that the strategy's module was made from."""
    return fresh_source.source_hash(strategy.__module__)
