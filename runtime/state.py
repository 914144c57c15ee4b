"""The state of one actor: attached or made, migrated when its layout changed, recovered.

Recovery stores first: the input cursors that it derives stand in the readers' pages before anything is claimed, so a
second kill in the middle of recovery repeats nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from sovereign.runtime import commit, kernels, limits
from sovereign.runtime.errors import LayoutError, LimitError, PluginError, innermost
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.shm import SHM_FOLDER, segment_name, unlink
from sovereign.runtime.state_segment import (
    FRESH,
    Committed,
    Rings,
    StateSegment,
    make_segment,
    shown,
    state_bytes,
    told_rings,
    unfit,
)
from sovereign.runtime.writer import Writer

Migrate = Callable[[np.record | None], Any]


class StateStore:
    """`words` and `readers` are what `commit.begin` and `commit.commit` take.

    `migrate` makes a record of `state` from one of the layout that stands there; without it another layout is refused.
    `migrated_from`: the schema that it was, None when nothing was migrated.
    """

    def __init__(
        self,
        node: str,
        actor: str,
        state: type[Message] | None,
        inputs: list[Reader],
        output: Writer | None,
        migrate: Migrate | None = None,
    ) -> None:
        self.state = state
        self.inputs = inputs
        self.output = output
        self.migrated_from: dict[str, Any] | None = None
        self._node, self._actor = node, actor
        size = state_bytes(state)
        if size > limits.STATE_MAX_BYTES:
            raise LimitError(
                f"the State of {actor} is too large",
                got=f"{size} bytes",
                expected=f"at most {limits.STATE_MAX_BYTES} bytes; keep derived data in Scratch",
            )
        self._segment = self._attach(migrate)
        self.words = np.zeros(commit.S_WORDS, np.int64)
        self.words[commit.S_COPY_A] = self._segment.copy_at(0)
        self.words[commit.S_COPY_B] = self._segment.copy_at(1)
        self.words[commit.S_BYTES] = size
        self.words[commit.S_INPUTS] = len(inputs)
        if commit.KILL_POINTS:
            self.words[commit.S_KILL_AT] = int(os.environ.get("SOVEREIGN_KILL_AT", "0"))
        self.out_words = output.words if output else np.zeros(kernels.W_WORDS, np.int64)
        self.readers = np.zeros((max(1, len(inputs)), kernels.R_WORDS), np.int64)
        # Slots that a detached gate missed: its page is ahead of what the state has committed.
        self.missed = [0] * len(inputs)
        self._recover()
        for i, reader in enumerate(inputs):
            self.readers[i] = reader.words
            reader.words = self.readers[i]

    @property
    def _rings(self) -> Rings:
        """Name and generation of the rings that the cursors belong to: another ring must not meet an old state."""
        output = (
            [["", 0]]
            if self.output is None
            else [[self.output.ring.name, self.output.ring.generation]]
        )
        return output + [[one.ring.name, one.ring.generation] for one in self.inputs]

    @property
    def _published(self) -> int:
        return self.output.ring.cursor if self.output else 0

    def _make(self, first: Committed) -> StateSegment:
        make_segment(self._node, self._actor, self.state, self._rings, first)
        return StateSegment(self._node, self._actor)

    def _attach(self, migrate: Migrate | None) -> StateSegment:
        unlink(segment_name(self._node, f"{self._actor}.new.state"))
        name = segment_name(self._node, f"{self._actor}.state")
        if not (SHM_FOLDER / name[1:]).exists():
            taken = [reader.cursor for reader in self.inputs]
            if self._published or any(taken):
                got = f"no state at all, published {self._published}, taken {taken}"
                raise unfit(self._actor, got, f"a state in /dev/shm{name}")
            initial = self.state.new().tobytes() if self.state else b""
            return self._make(Committed(0, 0, (0,) * len(self.inputs), initial))
        found = StateSegment(self._node, self._actor)
        if found.rings != self._rings:
            raise LayoutError(
                f"the state of {self._actor} belongs to other rings, or to inputs in another order",
                where=f"/dev/shm{found.where}",
                got=told_rings(found.rings),
                expected=told_rings(self._rings),
                hint=FRESH,
            )
        wanted = self.state.schema_id if self.state else 0
        if (found.schema_id, found.bytes) == (wanted, state_bytes(self.state)):
            return found
        if migrate is None:
            raise LayoutError(
                f"the State of {self._actor} has another layout than the one that stands in shared memory",
                where=f"/dev/shm{found.where}",
                got=shown(found.schema),
                expected=shown(self.state.schema() if self.state else {}),
                hint="give the strategy a static method migrate(old) that returns State.new(...), or `sovereign up --fresh`",
            )
        first = self._migrated(found, migrate)
        self.migrated_from = found.schema
        found.mapped.close()
        return self._make(first)

    def _migrated(self, found: StateSegment, migrate: Migrate) -> Committed:
        """The committed copy with the author's new state in it. PluginError with the author's traceback."""
        before = found.read(found.newest(self._published) or 0)
        assert self.state is not None
        try:
            made = migrate(found.record(before.state))
        except Exception as error:
            raise PluginError(
                f"migrate raised {type(error).__name__}: {error}",
                where=innermost(error),
                got=f"step {before.step} of {shown(found.schema)}",
                expected=f"a record of {shown(self.state.schema())}",
                hint="the old state stands as it was: mend migrate, or start the old code again",
            ) from error
        kind = getattr(made, "dtype", None)
        if kind is None or np.dtype(kind.descr) != np.dtype(self.state.dtype.descr):
            raise PluginError(
                "migrate returned no record of the new State",
                got=str(kind or repr(made)),
                expected="State.new(...)",
                hint="the old state stands as it was: mend migrate, or start the old code again",
            )
        return before._replace(state=made.tobytes())

    def _resume(self, number: int, committed: int) -> None:
        """Let input `number` go on behind `committed`; a gate that was detached, where it is one again.

        A reader's page is ahead of its state only then, also when a kill came between the two: a kill within
        `reattach` may have left a cursor that the writer has passed by. Any other gate holds its writer.
        """
        reader = self.inputs[number]
        if reader.overtaken and reader.cursor <= committed:
            oldest = reader.ring.cursor - reader.ring.capacity
            got = f"its gate in {reader.ring.name} stands at {reader.cursor}"
            raise unfit(self._actor, got, f"at least {oldest}, behind which all was overwritten")
        at = reader.reattach() if reader.detached or reader.overtaken else reader.cursor
        if at > committed:
            self.missed[number] = at - committed
            reader.words[kernels.R_CURSOR] = reader.words[kernels.R_SEEN] = committed
        else:
            reader.seek(committed)

    def _recover(self) -> None:
        """Choose the copy that was committed; store its input cursors."""
        newest = self._segment.newest(self._published)
        if newest is None:
            for number, reader in enumerate(self.inputs):
                if (
                    reader.detached or reader.cursor or reader.overtaken
                ):  # a kill came right after the page was ahead
                    self._resume(number, 0)
            return
        found = self._segment.read(newest)
        self.words[commit.S_STEP] = found.step
        self.words[commit.S_NEWER] = newest
        for reader, cursor in zip(self.inputs, found.inputs, strict=True):
            if not 0 <= cursor <= reader.ring.cursor:
                got = f"its cursor in {reader.ring.name} is {cursor}"
                raise unfit(self._actor, got, f"at most {reader.ring.cursor}, which was written")
        for number, cursor in enumerate(found.inputs):
            self._resume(number, cursor)
            commit.kill_point()

    def committed(self) -> np.record | None:
        """A copy of the user's state as it was committed last."""
        if self.state is None:
            return None
        raw = self._segment.user_state(int(self.words[commit.S_NEWER]))
        return self.state.view(bytearray(raw.tobytes()))

    def working(self, address: int) -> np.record | None:
        """The working copy's user state as a record that can be changed in place."""
        if self.state is None:
            return None
        record: np.record = self._segment.at(address).view(self.state.dtype).view(np.recarray)[0]
        return record

    def close(self) -> None:
        """Unmap; the state stays."""
        self._segment.mapped.close()
