"""The base of every actor kind, ours and a user's alike.

An actor has its inputs and one output ring. A Python actor overrides `step`; a compiled one overrides `run`, which is
entered once and left when the stop word says so. Both run in a thread of their own, pinned; the process's main thread
minds signals and control (`host.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from sovereign.runtime.message import Message

if TYPE_CHECKING:
    from sovereign.runtime.host import Host

Types = tuple[type[Message], ...]


class NoConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """For kinds without keys of their own."""


class Actor:
    """Subclass, and name it under the entry point group `sovereign.actors` or as `module:Class`."""

    Config: ClassVar[type[msgspec.Struct]] = NoConfig
    State: ClassVar[type[Message] | None] = None
    needs_inputs: ClassVar[tuple[int, int]] = (0, 16)
    compiled: ClassVar[bool] = False
    is_source: ClassVar[bool] = False
    # Whether it may miss nothing: then its inputs must be gates, and neither detached nor skipped.
    gates_only: ClassVar[bool] = False

    @classmethod
    def takes(cls, config: Any) -> Types | None:
        """Message types that it handles; None: any."""
        return None

    @classmethod
    def gives(cls, config: Any, upstream: tuple[Types, ...]) -> Types:
        """Message types of its output ring; () for none. `upstream`: what each input carries."""
        return ()

    @classmethod
    def max_step_outputs(cls, config: Any) -> int:
        """Most slots that one event may fill; the ring must hold them at once."""
        return 1

    @classmethod
    def state_type(cls, config: Any) -> type[Message] | None:
        """The layout of its state; a host of plugins asks the plugin."""
        return cls.State

    @classmethod
    def migration(cls, config: Any) -> Callable[[Any], Any] | None:
        """Makes a record of the state's layout from one of an older layout; None: another layout is refused."""
        return None

    @classmethod
    def check(cls, config: Any) -> list[str]:
        """What is wrong with `config` beyond its types: each a sentence. Called before anything starts.

        A sentence that begins with the key and a colon (`params.treshold: …`) leaves no doubt where the mistake is.
        """
        return []

    @classmethod
    def compiles(cls, config: Any) -> list[str]:
        """What of `config` does not compile: sentences as `check` gives them. It may take seconds: `check --compile`."""
        return []

    def __init__(self, host: Host, config: Any) -> None:
        self.host = host
        self.config = config

    def setup(self) -> None:
        """Open, compile, warm. The actor is ready when this returns."""

    def step(self) -> int:
        """Handle at most one batch; the number of events handled, 0 when there was nothing to do."""
        raise NotImplementedError("a Python actor overrides step, a compiled one overrides run")

    def run(self) -> None:
        """The loop; ends when `host.loop.stop[0]` says so. Compiled actors override it."""
        self.host.run_steps(self.step)

    def drain(self) -> bool:
        """Whether nothing is in flight any more. Asked when the inputs are empty and the node stops."""
        return True

    def close(self) -> None:
        """Seal and close. Not called after a kill."""
