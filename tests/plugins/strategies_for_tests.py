"""Strategies that the tests host: one that works, and one for each way to fail."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from sovereign.actors.strategy import Strategy, piece
from sovereign.runtime.message import Message


class Event(Message):
    """What the test feeds."""

    value: np.int64


class Answer(Message):
    """What the strategies say."""

    number: np.int64
    value: np.int64


class EveryThird(Strategy):
    """Answers every `every`-th event."""

    class Params(Message):
        """Every how many events; which value raises."""

        every: np.int64 = 3
        boom: np.int64 = -1

    class State(Message):
        """How many events there were."""

        number: np.int64

    @staticmethod
    def on_event(event: Event, state: State, params: Params, out: Answer) -> int:
        """Count; answer every so often; raise when told to."""
        state.number += 1
        if event.value == params.boom:
            raise ValueError("told to")
        if state.number % params.every == 0:
            out.number = state.number
            out.value = event.value
            return 1
        return 0


class TwoSided(Strategy):
    """Answers each event twice, and a third time when told."""

    @staticmethod
    def on_event(event: Event, state: Message, params: Message, out: Annotated[Answer, 3]) -> int:
        """Negative and positive; the third only for multiples of ten."""
        out[0].value = -event.value
        out[1].value = event.value
        out[2].number = 9
        return 3 if event.value % 10 == 0 else 2


class DoesNotCompile(Strategy):
    """Valid Python that Numba cannot type."""

    @staticmethod
    def on_event(event: Event, state: Message, params: Message, out: Answer) -> int:
        """Opens a file, which no compiled handler can."""
        return len(open(__file__).readlines())


class Endless(Strategy):
    """Never returns from its first event."""

    @staticmethod
    def on_event(event: Event, state: Message, params: Message, out: Answer) -> int:
        """Spin for ever."""
        while event.value >= 0:
            out.value += 1
        return 0


@piece
def store(scratch: Any, at: Any) -> Any:
    """Write one of the last sixteen, or beyond them."""
    scratch.last[at] = 1


class Counted(Strategy):
    """Answers every event `each` times with how far its Scratch is from its State: 0, always."""

    class Params(Message):
        """Which event raises, and where."""

        boom: np.int64 = -1
        boom_learning: np.int64 = -1
        far: np.int64 = -1

    class State(Message):
        """Events handled, and their sum."""

        number: np.int64
        total: np.int64

    class Scratch(Message):
        """Events learned, and their sum; begins at -5."""

        number: np.int64
        total: np.int64 = -5
        last: Annotated[np.int64, 16]

    @staticmethod
    def learn_event(event: Event, scratch: Scratch, params: Params) -> None:
        """Count, and keep the last sixteen."""
        if event.value == params.boom_learning:
            raise ValueError("learned too much")
        scratch.last[scratch.number % 16] = event.value
        if event.value == params.far:
            store(scratch, scratch.number + 16)
        scratch.number += 1
        scratch.total += event.value

    @staticmethod
    def on_event(
        event: Event, state: State, params: Params, scratch: Scratch, out: Annotated[Answer, 2]
    ) -> int:
        """Compare. It raises only when Scratch is what it should be."""
        state.number += 1
        state.total += event.value
        if event.value == params.boom and scratch.number == state.number:
            raise ValueError("told to")
        out[0].number = scratch.number - state.number
        out[1].number = scratch.total + 5 - state.total
        out[0].value = event.value
        out[1].value = event.value
        return 2


class Recent(Strategy):
    """Needs no more than the last sixteen events: says their sum."""

    history = 16

    class Scratch(Message):
        """The last sixteen values; `at`: the oldest."""

        at: np.int64
        last: Annotated[np.int64, 16]

    @staticmethod
    def learn_event(event: Event, scratch: Scratch, params: Message) -> None:
        """Overwrite the oldest."""
        scratch.last[scratch.at] = event.value
        scratch.at = (scratch.at + 1) % 16

    @staticmethod
    def on_event(
        event: Event, state: Message, params: Message, scratch: Scratch, out: Answer
    ) -> int:
        """Say the sum."""
        out.value = scratch.last.sum()
        return 1


class OnlyLearned(Strategy):
    """Handles answers, and learns events."""

    class Scratch(Message):
        """How many events."""

        number: np.int64

    @staticmethod
    def learn_event(event: Event, scratch: Scratch, params: Message) -> None:
        """Count."""
        scratch.number += 1

    @staticmethod
    def on_answer(
        event: Answer, state: Message, params: Message, scratch: Scratch, out: Answer
    ) -> int:
        """Say the count."""
        out.number = scratch.number
        return 1


class EveryThirdAgain(EveryThird):
    """The same under another name: other code, to the ring."""
