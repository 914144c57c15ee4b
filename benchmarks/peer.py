"""What a peer is: something that carries 64-byte messages between pinned processes, and is measured as ours is."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from types import ModuleType
from typing import ClassVar, NamedTuple

from sovereign.benchmarks.pair import Times
from sovereign.runtime import limits
from sovereign.runtime.errors import ResourceError

MESSAGE_BYTES = 64
SLOTS = limits.RING_DEFAULT_SLOTS  # of every ring, ours or not, whose length can be chosen
PROCESSES = {"1to1": 2, "1to2": 3, "1to3": 4, "pipeline3": 4, "diamond": 4}
READERS = {"1to1": 1, "1to2": 2, "1to3": 3}


class Flow(NamedTuple):
    """A work of the throughput bench: its shape, and how many messages the source publishes at once."""

    shape: str
    batch: int

    @property
    def name(self) -> str:
        """As rows say it: `1to2 batch16`."""
        return self.shape + (f" batch{self.batch}" if self.batch > 1 else "")


ALL_FLOWS = tuple(Flow(shape, batch) for shape in PROCESSES for batch in (1, 16))


class Peer(ABC):
    """Making one builds or imports what it needs: ResourceError says how to install what is missing.

    Both rounds raise SovereignError when a message is lost or arrives wrong.
    """

    name: ClassVar[str]
    flows: ClassVar[tuple[Flow, ...]] = ALL_FLOWS
    trips_share: ClassVar[float] = 1.0
    """Of the round trips asked for, how many are made: less where one takes long."""
    messages_share: ClassVar[float] = 1.0

    @abstractmethod
    def hop_round(self, trips: int) -> Times:
        """ns of each of `trips` round trips of 64 bytes."""

    @abstractmethod
    def flow_round(self, flow: Flow, messages: int) -> float:
        """Messages a second; `messages` is a multiple of the batch."""

    def warm_hop(self) -> None:
        """Run whatever a first round would pay for."""
        self.hop_round(100)

    def warm_flow(self, flow: Flow) -> None:
        """The same, for one flow."""
        self.flow_round(flow, 1_600)

    def close(self) -> None:
        """End what was started."""
        return


def module(name: str, wanted_by: str, package: str) -> ModuleType:
    """A module of the optional extra `bench`. ResourceError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ResourceError(
            f"{wanted_by} needs the package {package}: {error}",
            hint=f"pip install {package} (or `make bench`, which installs all that the benches use)",
        ) from error
