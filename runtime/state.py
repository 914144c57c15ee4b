"""The state segment of one actor: made, checked, recovered.

    page 0: magic, version, state's schema, bytes, inputs, ring's generation │ copy A │ copy B (each whole pages)

Recovery stores first: the input cursors that it derives stand in the readers' pages before anything is claimed, so a
second kill in the middle of recovery repeats nothing.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from sovereign.runtime import commit, kernels, layout, limits
from sovereign.runtime.errors import LayoutError, LimitError, ResourceError
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.shm import Segment, half_made, segment_name, unlink
from sovereign.runtime.writer import Writer


class StateStore:
    """`words` and `readers` are what `commit.begin` and `commit.commit` take."""

    def __init__(
        self,
        node: str,
        actor: str,
        state: type[Message] | None,
        inputs: list[Reader],
        output: Writer | None,
    ) -> None:
        self.state = state
        self.inputs = inputs
        self.output = output
        size = state.dtype.itemsize if state else 0
        if size > limits.STATE_MAX_BYTES:
            raise LimitError(
                f"the State of {actor} is too large",
                got=f"{size} bytes",
                expected=f"at most {limits.STATE_MAX_BYTES} bytes; keep derived data in Scratch",
            )
        self._copy_bytes = layout.round_up(layout.COPY_STATE_AT + size, limits.PAGE_BYTES)
        self._segment = self._attach(segment_name(node, f"{actor}.state"), size)
        base = self._segment.address + limits.PAGE_BYTES
        self.words = np.zeros(commit.S_WORDS, np.int64)
        self.words[commit.S_COPY_A] = base
        self.words[commit.S_COPY_B] = base + self._copy_bytes
        self.words[commit.S_BYTES] = size
        self.words[commit.S_INPUTS] = len(inputs)
        if commit.KILL_POINTS:
            self.words[commit.S_KILL_AT] = int(os.environ.get("SOVEREIGN_KILL_AT", "0"))
        self.out_words = output.words if output else np.zeros(kernels.W_WORDS, np.int64)
        self.readers = np.zeros((max(1, len(inputs)), kernels.R_WORDS), np.int64)
        # Slots that a detached gate missed: its page is ahead of what the state has committed.
        self.missed = [0] * len(inputs)
        self._recover(actor)
        for i, reader in enumerate(inputs):
            self.readers[i] = reader.words
            reader.words = self.readers[i]

    @property
    def _schema(self) -> int:
        return self.state.schema_id if self.state else 0

    @property
    def _generation(self) -> int:
        """Of the ring that the state belongs to: a ring made anew must not meet an old state."""
        rings = [end.ring for end in (self.output, *self.inputs) if end is not None]
        return rings[0].generation if rings else 0

    def _attach(self, name: str, size: int) -> Segment:
        if half_made(name):  # a predecessor was killed at its first start
            unlink(name)
        try:
            segment = Segment.open(name, writable=True)
        except ResourceError:
            segment = Segment.create(name, limits.PAGE_BYTES + 2 * self._copy_bytes)
            segment.word(8)[0] = limits.STATE_LAYOUT_VERSION
            segment.word(layout.STATE_SCHEMA_AT)[0] = self._schema
            segment.word(layout.STATE_BYTES_AT)[0] = size
            segment.word(layout.STATE_INPUTS_AT)[0] = len(self.inputs)
            segment.word(layout.STATE_GENERATION_AT)[0] = self._generation
            if self.state is not None:
                first = limits.PAGE_BYTES + layout.COPY_STATE_AT
                initial = np.frombuffer(self.state.new().tobytes(), np.uint8)
                segment.memory[first : first + size] = initial
            commit.kill_point()
            segment.memory[0:8] = np.frombuffer(layout.STATE_MAGIC, np.uint8)
        found = (
            segment.memory[0:8].tobytes(),
            *(
                int(segment.word(at)[0])
                for at in (8, layout.STATE_SCHEMA_AT, layout.STATE_BYTES_AT)
            ),
            int(segment.word(layout.STATE_INPUTS_AT)[0]),
            int(segment.word(layout.STATE_GENERATION_AT)[0]),
        )
        expected = (
            layout.STATE_MAGIC,
            limits.STATE_LAYOUT_VERSION,
            self._schema,
            size,
            len(self.inputs),
            self._generation,
        )
        if found != expected:
            raise LayoutError(
                "the state that stands in shared memory has another layout",
                where=f"/dev/shm{name}",
                got=f"(magic, version, schema, bytes, inputs, generation) = {found}",
                expected=str(expected),
                hint="`sovereign up --fresh` begins with a new State",
            )
        return segment

    def _copy(self, index: int) -> npt.NDArray[np.uint8]:
        first = limits.PAGE_BYTES + index * self._copy_bytes
        return self._segment.memory[first : first + self._copy_bytes]

    def _word(self, copy: int, at: int) -> int:
        return int(self._copy(copy)[at : at + 8].view(np.int64)[0])

    def _resume(self, number: int, committed: int) -> None:
        """Let input `number` go on behind `committed`; a gate that was detached, where it is one again.

        A reader's page is ahead of its state only then, also when a kill came between the two.
        """
        reader = self.inputs[number]
        at = reader.reattach() if reader.detached else reader.cursor
        if at > committed:
            self.missed[number] = at - committed
            reader.words[kernels.R_CURSOR] = reader.words[kernels.R_SEEN] = committed
        else:
            reader.seek(committed)

    def _recover(self, actor: str) -> None:
        """Choose the copy that was committed; store its input cursors."""
        published = self.output.ring.cursor if self.output else 0
        tags = [self._word(copy, layout.COPY_TAG_AT) for copy in (0, 1)]
        fits = [
            (tags[copy], copy)
            for copy in (0, 1)
            if tags[copy] > 0 and self._word(copy, layout.COPY_OUTPUT_AT) == published
        ]
        if not fits:
            if any(tags) or published:
                raise LayoutError(
                    f"no committed state of {actor} fits what it published",
                    got=f"tags {tags}, published {published}",
                    expected="a copy whose output sequence equals the published cursor",
                    hint="`sovereign up --fresh` seals the rings and begins anew",
                )
            for number, reader in enumerate(self.inputs):
                if reader.detached:
                    self._resume(number, 0)
            return
        step, newer = max(fits)
        self.words[commit.S_STEP] = step
        self.words[commit.S_NEWER] = newer
        for i in range(len(self.inputs)):
            self._resume(i, self._word(newer, layout.COPY_INPUTS_AT + 8 * i))
            commit.kill_point()

    def committed(self) -> np.record | None:
        """A copy of the user's state as it was committed last."""
        if self.state is None:
            return None
        start = layout.COPY_STATE_AT
        raw = self._copy(int(self.words[commit.S_NEWER]))[start : start + self.state.dtype.itemsize]
        return self.state.view(bytearray(raw.tobytes()))

    def working(self, address: int) -> np.record | None:
        """The working copy's user state as a record that can be changed in place."""
        if self.state is None:
            return None
        first = address - self._segment.address
        raw = self._segment.memory[first : first + self.state.dtype.itemsize]
        record: np.record = raw.view(self.state.dtype).view(np.recarray)[0]
        return record

    def close(self) -> None:
        """Unmap; the state stays."""
        self._segment.close()
