"""Which event killed its actor: told from deaths alone, without knowing what the actor does.

An actor says which event is the first of the step in hand (`hand_*` in its counters). When it dies with an event in hand
that is not committed, it is started again *carefully*: steps of one event each, so that the next death points at one
event exactly. An event that killed its actor `kills` times while it was alone in hand is poison. An event that was
committed never is: whatever killed the actor then, it was something else.
"""

from __future__ import annotations

from typing import NamedTuple

from sovereign.runtime import limits
from sovereign.runtime.spec import PoisonPolicy, StartOptions


class InHand(NamedTuple):
    """The event that an actor had in hand when it died: which input, and its sequence there."""

    input: int
    sequence: int


class Suspicion:
    """The deaths of one actor. `died` after each; `options` for its next start."""

    def __init__(self, policy: PoisonPolicy) -> None:
        self.policy = policy
        self.options = StartOptions()
        self._event: InHand | None = None
        self.kills = 0

    def died(self, event: InHand | None, *, next_is: int) -> InHand | None:
        """Note a death with `event` in hand (None: nothing that is uncommitted); the event when it is poison.

        `next_is`: the first sequence of that input that is not committed. Only an actor that went carefully, and had
        exactly that one in hand, counts against the event.
        """
        careful = self.options.careful > 0
        self.options = StartOptions()
        if event is None:
            self._event, self.kills = None, 0
            return None
        self.options = StartOptions(careful=limits.CAREFUL_STEPS)
        if not careful or event.sequence != next_is:
            return None
        self.kills = self.kills + 1 if event == self._event else 1
        self._event = event
        return event if self.kills >= self.policy.kills else None

    def skip(self, event: InHand) -> None:
        """Let the next start pass over `event`."""
        self.options = StartOptions(
            careful=limits.CAREFUL_STEPS, skip=(event.input, event.sequence)
        )
        self._event, self.kills = None, 0
