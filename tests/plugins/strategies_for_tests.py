"""Strategies that the tests host: one that works, and one for each way to fail."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from sovereign.actors.strategy import Strategy
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
