"""The segment that an actor's state lies in: made whole or not at all, described by itself, read without its class.

    page 0: magic, version, schema, bytes, inputs, length of text │ schema pages │ copy A │ copy B

Each copy is whole pages: its tag (the number of the step, 0 for none), the output sequence and the input cursors after
that step, then the user's state. The schema pages hold the state's layout as JSON, so that an error, and a migration,
know the layout of a class that nobody has any more; and which rings its cursors belong to.

A segment is filled under a name of its own (`<actor>.new.state`) and renamed over the old one: a kill at any
instruction leaves the old state or the new one.
"""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from sovereign.runtime import commit, layout, limits
from sovereign.runtime.errors import LayoutError, LimitError
from sovereign.runtime.message import Message, dtype_of, layout_of
from sovereign.runtime.ring_description import Layout
from sovereign.runtime.shm import SHM_FOLDER, Segment, segment_name, unlink

FRESH = "`sovereign up --fresh` seals the rings and begins with a new State"


Rings = list[list[Any]]


class Committed(NamedTuple):
    """What a step left: its number (0: there was none), the output sequence, the input cursors, the user's state."""

    step: int
    output: int
    inputs: tuple[int, ...]
    state: bytes


def state_bytes(state: type[Message] | None) -> int:
    """Bytes of the user's part of a copy."""
    return state.dtype.itemsize if state else 0


def copy_bytes(size: int) -> int:
    """Bytes of one copy whose user's state has `size` bytes."""
    return layout.round_up(layout.COPY_STATE_AT + size, limits.PAGE_BYTES)


def shown(schema: dict[str, Any]) -> str:
    """A layout for people: name, id, a line a field."""
    if not schema:
        return "no State"
    text = layout_of(schema["fields"], schema["bytes"]).replace("\n", "\n      ")
    return f"{schema['name']} {schema['schema_id']}\n      {text}"


def told_rings(rings: Rings) -> str:
    """Rings for people: the output, then the inputs."""
    names = [f"{name} (generation {generation})" if name else "none" for name, generation in rings]
    return f"output {names[0]}, inputs {', '.join(names[1:]) or 'none'}"


def unfit(actor: str, got: str, expected: str) -> LayoutError:
    """A state that cannot be the one behind what its actor published and took."""
    return LayoutError(
        f"no committed state of {actor} fits what it published and took",
        got=got,
        expected=expected,
        hint=FRESH,
    )


class StateSegment:
    """An existing segment, mapped for writing. LayoutError when it is none of this version."""

    def __init__(self, node: str, actor: str) -> None:
        self.where = segment_name(node, f"{actor}.state")
        self.actor = actor
        self.mapped = Segment.open(self.where, writable=True, resident=True)
        magic = self.mapped.memory[0:8].tobytes()
        version = self._number(layout.STATE_VERSION_AT)
        if (magic, version) != (layout.STATE_MAGIC, limits.STATE_LAYOUT_VERSION):
            raise LayoutError(
                f"the state of {actor} was written by another version",
                where=f"/dev/shm{self.where}",
                got=f"{magic!r}, version {version}",
                expected=f"{layout.STATE_MAGIC!r}, version {limits.STATE_LAYOUT_VERSION}",
                hint=FRESH,
            )
        self.schema_id = self._number(layout.STATE_SCHEMA_AT)
        self.bytes = self._number(layout.STATE_BYTES_AT)
        self.inputs = self._number(layout.STATE_INPUTS_AT)
        self.copy_bytes = copy_bytes(self.bytes)
        expected = layout.STATE_FIRST_COPY_AT + 2 * self.copy_bytes
        length = self._number(layout.STATE_TEXT_BYTES_AT)
        if self.mapped.bytes != expected or not 0 < length <= _TEXT_MOST:
            raise self._misfit(
                f"{self.mapped.bytes} bytes, {length} of them text",
                f"{expected} bytes, 1 to {_TEXT_MOST} of them text",
            )
        text = self.mapped.memory[limits.PAGE_BYTES : limits.PAGE_BYTES + length].tobytes()
        said = _said(text, actor, self.where)
        self.schema: dict[str, Any] = said["schema"]
        self.rings: Rings = said["rings"]
        if self.inputs != len(self.rings) - 1:
            raise self._misfit(f"{self.inputs} inputs", f"{len(self.rings) - 1} inputs")

    def _misfit(self, got: str, expected: str) -> LayoutError:
        return LayoutError(
            f"the state of {self.actor} does not fit its own description",
            where=f"/dev/shm{self.where}",
            got=got,
            expected=expected,
            hint=FRESH,
        )

    def _number(self, at: int) -> int:
        return int(self.mapped.word(at)[0])

    def copy_at(self, copy: int) -> int:
        """Address of a copy."""
        return self.mapped.address + layout.STATE_FIRST_COPY_AT + copy * self.copy_bytes

    def user_state(self, copy: int) -> npt.NDArray[np.uint8]:
        """The user's bytes of a copy, in place."""
        return self.at(self.copy_at(copy) + layout.COPY_STATE_AT)

    def at(self, address: int) -> npt.NDArray[np.uint8]:
        """The user's bytes that stand at `address`, in place."""
        first = address - self.mapped.address
        return self.mapped.memory[first : first + self.bytes]

    def _word(self, copy: int, at: int) -> int:
        return self._number(self.copy_at(copy) - self.mapped.address + at)

    def newest(self, published: int) -> int | None:
        """The copy that was committed last; None before the first step. LayoutError when none fits."""
        tags = [self._word(copy, layout.COPY_TAG_AT) for copy in (0, 1)]
        fits = [
            (tags[copy], copy)
            for copy in (0, 1)
            if tags[copy] > 0 and self._word(copy, layout.COPY_OUTPUT_AT) == published
        ]
        if min(tags) > 0 and abs(tags[0] - tags[1]) != 1:
            raise unfit(self.actor, f"tags {tags}", "two copies that are one step apart")
        if fits:
            return max(fits)[1]
        # The first step may have been tagged and not published: it stands in copy 1, and copy 0 holds the defaults.
        if published or tags[0] or tags[1] > 1:
            got = f"tags {tags}, published {published}"
            raise unfit(self.actor, got, "a copy whose output sequence equals the published cursor")
        return None

    def read(self, copy: int) -> Committed:
        """What stands in a copy."""
        return Committed(
            self._word(copy, layout.COPY_TAG_AT),
            self._word(copy, layout.COPY_OUTPUT_AT),
            tuple(self._word(copy, layout.COPY_INPUTS_AT + 8 * i) for i in range(self.inputs)),
            self.user_state(copy).tobytes(),
        )

    def record(self, state: bytes) -> np.record | None:
        """A user's state of this segment's layout as a record of its own; None when there is no State."""
        if not self.schema:
            return None
        array = np.frombuffer(bytearray(state), dtype_of(self.schema), 1).view(np.recarray)
        record: np.record = array[0]
        return record


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    """What stands in the schema pages: `Message.schema` or nothing, and name and generation of each ring."""

    schema: dict[str, Any]
    rings: Annotated[list[tuple[str, int]], msgspec.Meta(min_length=1)]


def _said(text: bytes, actor: str, where: str) -> dict[str, Any]:
    """The description. LayoutError when it is no such text."""
    try:
        said = msgspec.json.decode(text, type=_Said)
        if said.schema:
            msgspec.convert(said.schema, Layout)
            dtype_of(said.schema)
        return {"schema": said.schema, "rings": [list(one) for one in said.rings]}
    except Exception as error:  # whatever msgspec and NumPy make of a damaged text
        raise LayoutError(
            f"the description of the state of {actor} is damaged",
            where=f"/dev/shm{where}",
            got=f"{type(error).__name__}: {error}",
            expected="JSON with schema and rings",
            hint=FRESH,
        ) from None


_TEXT_MOST = limits.STATE_SCHEMA_PAGES * limits.PAGE_BYTES


def make_segment(
    node: str, actor: str, state: type[Message] | None, rings: Rings, first: Committed
) -> None:
    """Put a segment whose newest copy is `first` in the place of any other. LimitError, ResourceError.

    `rings`: name and generation of the rings whose cursors stand in it: the output's, then each input's, in order.
    """
    size = state_bytes(state)
    text = json.dumps({"schema": state.schema() if state else {}, "rings": rings}).encode()
    if len(text) > _TEXT_MOST:
        raise LimitError(
            f"the State of {actor} has too many fields",
            got=f"{len(text)} bytes of layout",
            expected=f"at most {_TEXT_MOST} bytes; make an array of fields that are alike",
        )
    draft = segment_name(node, f"{actor}.new.state")
    unlink(draft)  # a predecessor was killed before it could rename it
    with Segment.create(draft, layout.STATE_FIRST_COPY_AT + 2 * copy_bytes(size)) as segment:
        copy = layout.STATE_FIRST_COPY_AT
        for at, value in (
            (layout.STATE_VERSION_AT, limits.STATE_LAYOUT_VERSION),
            (layout.STATE_SCHEMA_AT, state.schema_id if state else 0),
            (layout.STATE_BYTES_AT, size),
            (layout.STATE_INPUTS_AT, len(first.inputs)),
            (layout.STATE_TEXT_BYTES_AT, len(text)),
            (copy + layout.COPY_TAG_AT, first.step),
            (copy + layout.COPY_OUTPUT_AT, first.output),
            *((copy + layout.COPY_INPUTS_AT + 8 * i, at) for i, at in enumerate(first.inputs)),
        ):
            segment.word(at)[0] = value
        for at, data in (
            (limits.PAGE_BYTES, text),
            (copy + layout.COPY_STATE_AT, first.state),
            (0, layout.STATE_MAGIC),
        ):
            segment.memory[at : at + len(data)] = np.frombuffer(data, np.uint8)
    commit.kill_point()
    os.rename(SHM_FOLDER / draft[1:], SHM_FOLDER / segment_name(node, f"{actor}.state")[1:])
