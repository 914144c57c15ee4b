"""The commit rule for actors in Python: begin, put, commit.

    state = step.begin()
    step.put(Order, {...}, origin_ns=..., cause=(actor, sequence))
    step.commit([taken of input 0, ...])

Nothing is seen by anyone before `commit`, and a kill before it leaves everything to be done again.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from sovereign.runtime import commit, kernels, layout
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.message import Message
from sovereign.runtime.state import StateStore


class Step:
    """One actor's steps over its `StateStore`."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._begun = False
        self._epoch = 0
        self._taken = np.zeros(max(1, len(store.inputs)), np.int64)

    def begin(self) -> np.record | None:
        """The working copy of State, to be changed in place; None when the actor has none."""
        self._begun = True
        self._epoch = int(kernels.halt_epoch(self._store.out_words))
        return self._store.working(int(commit.begin(self._store.words)))

    def put(
        self,
        kind: type[Message],
        record: Any,
        *,
        origin_ns: int,
        cause: tuple[int, int] = (layout.NO_ACTOR, 0),
        flags: int = 0,
    ) -> int:
        """Fill the next slot of the output ring; the sequence that it will have."""
        if self._store.output is None:
            raise SovereignError("this actor has no output ring")
        return self._store.output.put(
            kind,
            record,
            origin_ns=origin_ns,
            publish_ns=time.time_ns(),
            cause_actor=cause[0],
            cause_seq=cause[1],
            flags=flags,
            halt_epoch=self._epoch,
        )

    def commit(self, taken: list[int] | None = None) -> None:
        """The commit point: state, outputs and input cursors become one fact."""
        if not self._begun:
            self.begin()
        store = self._store
        self._taken[:] = 0
        if taken is not None:
            self._taken[: len(taken)] = taken
        produced = store.output.filled if store.output else 0
        commit.commit(store.words, store.out_words, store.readers, self._taken, produced)
        if store.output:
            store.output.filled = 0
        self._begun = False

    def abandon(self) -> None:
        """Forget what was put since `begin`."""
        if self._store.output:
            self._store.output.filled = 0
        self._begun = False
