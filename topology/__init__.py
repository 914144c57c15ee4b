"""The topology file: schema, loading, graph checks, and mistakes with file, line and column."""

from sovereign.topology.load import examine, load
from sovereign.topology.mistake import Mistake, TopologyError
from sovereign.topology.plan import run_base, start_order

__all__ = ["Mistake", "TopologyError", "examine", "load", "run_base", "start_order"]
