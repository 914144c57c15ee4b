"""What every actor needs, loaded once before the fork: Numba's registries, and the compiled loops from their cache.

A forked actor inherits them. Without this each start spent 250 ms on them; with it, a restart loads the plugin alone.
On a cold cache the loops compile here, once, and not in each actor.
"""

from __future__ import annotations

from typing import Any

from numba import types

from sovereign.actors.bus import loop as bus
from sovereign.actors.ingress import listen
from sovereign.actors.ingress import loop as ingress
from sovereign.actors.strategy import loop as strategy
from sovereign.runtime import commit, kernels

_LINE = types.int64[::1]
_TABLE = types.int64[:, ::1]
_WORD = types.int64

LOADED: tuple[tuple[Any, tuple[Any, ...]], ...] = (
    (strategy.run, (_LINE, _LINE, _LINE, _TABLE, _LINE, _TABLE, _LINE)),
    (strategy.learn, (_WORD, _WORD, _WORD, _TABLE, _LINE)),
    (bus.run, (_LINE, _LINE, _LINE, _TABLE, _LINE, _LINE, _LINE)),
    (
        ingress.run,
        (_LINE, _LINE, _LINE, _TABLE, _LINE, _LINE, _WORD, _LINE, _LINE, _LINE, _LINE),
    ),
    (
        listen.run,
        (_LINE, _LINE, _LINE, _TABLE, _LINE, _LINE, _WORD, _LINE, _LINE, _LINE, _LINE, _LINE),
    ),
    (commit.begin, (_LINE,)),
    (commit.commit, (_LINE, _LINE, _TABLE, _LINE, _WORD)),
    (kernels.room, (_LINE, _WORD)),
    (kernels.open_slot, (_WORD, _WORD, _WORD, _WORD)),
    (kernels.publish, (_LINE, _WORD)),
    (kernels.available, (_LINE,)),
    (kernels.release, (_LINE, _WORD)),
    (kernels.idle, (_WORD, _WORD, _TABLE, _WORD, _WORD)),
)

for _kernel, _signature in LOADED:
    _kernel.compile(_signature)
