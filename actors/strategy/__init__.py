"""The strategy pillar: hosts a plugin; compiled by default, plain Python when the author asks."""

from sovereign.actors.strategy.api import Strategy
from sovereign.runtime.jit import piece

__all__ = ["Strategy", "piece"]
