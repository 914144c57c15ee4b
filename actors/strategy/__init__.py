"""The strategy pillar: hosts a plugin; compiled by default, plain Python when the author asks."""

from sovereign.actors.strategy.api import Strategy

__all__ = ["Strategy"]
