"""Who takes part: our own rings, and each peer that is installed here; what is missing is named, not fatal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

from sovereign.benchmarks.ours import Sovereign
from sovereign.benchmarks.peer import SLOTS, Peer
from sovereign.runtime.errors import SovereignError

_PEERS = (
    ("c_ring", "CRing", True),
    ("c_ring", "CRing128", True),
    ("c_ring", "CRingPrefetch", True),
    ("lmax", "Lmax", True),
    ("iceoryx2", "Iceoryx2", False),
    ("faster_fifo", "FasterFifo", False),
    ("pyzmq", "PyZmq", False),
    ("mp", "MpQueue", False),
    ("mp", "MpPipe", False),
)
"""File, class, and whether the length of its ring can be chosen."""

Say = Callable[[str, SovereignError], None]


@contextmanager
def assembled(peers: bool, say: Say, slots: int = SLOTS) -> Iterator[list[Peer]]:
    """Ours first, then the peers if they are wanted; `say` hears of each that is left out. Closed at the end."""
    found: list[Peer] = [Sovereign(slots)]
    try:
        for file, kind, sized in _PEERS if peers else ():
            made: type[Peer] = getattr(import_module(f"sovereign.benchmarks.peers.{file}"), kind)
            try:
                found.append(made(slots) if sized else made())  # type: ignore[call-arg]
            except SovereignError as error:
                say(made.name, error)
        yield found
    finally:
        for peer in found:
            peer.close()
