"""A strategy's functions called as plain Python: for authors who ask for it, and to explain what failed when compiled."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from sovereign.actors.strategy.api import Strategy
from sovereign.actors.strategy.scratch import ScratchMemory
from sovereign.actors.strategy.signatures import Handler, Route, where_is
from sovereign.runtime.errors import PluginError


class PlainStrategy:
    """Learns and handles one slot at a time, exactly as the compiled loop does."""

    def __init__(
        self, strategy: type[Strategy], params: Any, scratch: ScratchMemory | None
    ) -> None:
        self._strategy, self._params, self._scratch = strategy, params, scratch
        self.routes: dict[int, Route] = {one.takes.type_id: one for one in strategy.routes()}
        self.most = max(h.most for h in strategy.handlers())

    def takes(self, slot: Any) -> bool:
        """Whether a function takes the slot's type."""
        return int(slot["type_id"]) in self.routes

    def learn(self, slot: Any) -> None:
        """Run the slot's learner, if it has one. PluginError carries the author's traceback and the event."""
        route = self.routes.get(int(slot["type_id"]))
        if route is None or route.learner is None or self._scratch is None:
            return
        arguments = (_event(route, slot), self._scratch.record, self._params)
        self._call(route.learner.name, route.learner.function, arguments, slot)

    def handle(self, slot: Any, state: Any) -> tuple[Handler | None, Any, int]:
        """Learn the slot, then decide: the handler, its records, and how many of them go. PluginError as `learn`."""
        self.learn(slot)
        route = self.routes.get(int(slot["type_id"]))
        if route is None or route.handler is None:
            return None, None, 0
        handler = route.handler
        outs = handler.gives.array(handler.most)
        out = outs if handler.most > 1 else outs[0]
        seen = (self._scratch.read_only,) if handler.sees_scratch and self._scratch else ()
        arguments = (_event(route, slot), state, self._params, *seen, out)
        given = self._call(handler.name, handler.function, arguments, slot, state.copy())
        if not isinstance(given, int | np.integer) or not 0 <= given <= handler.most:
            raise PluginError(
                f"{self._strategy.__name__}.{handler.name} returned {given!r}",
                where=where_is(handler.function),
                got=f"event {int(slot['sequence'])}",
                expected=f"how many messages it gives: an integer from 0 to {handler.most}",
                hint="the last parameter's annotation says how many it may give: Annotated[Order, 3] for three",
            )
        return handler, outs, int(given)

    def _call(
        self, name: str, function: Callable[..., Any], arguments: Any, slot: Any, state: Any = None
    ) -> Any:
        """Call; `state`: a copy of the State that the function is given, if it is."""
        try:
            with np.errstate(divide="raise"):  # as when compiled: a division by zero raises
                return function(*arguments)
        except Exception as error:
            event = arguments[0]
            shown = f"event {int(slot['sequence'])} = {event!r} {event.dtype.names}"
            frames = traceback.extract_tb(error.__traceback__)[1:]
            raise PluginError(
                f"{self._strategy.__name__}.{name} raised {type(error).__name__}: {error}",
                where=f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "",
                got=shown if state is None else f"{shown}, state = {state!r}",
                hint="mend it and `sovereign restart` this actor: what is unhandled waits in the ring",
            ) from error


def _event(route: Route, slot: Any) -> Any:
    return route.takes.view(bytes(slot["payload"])[: route.takes.dtype.itemsize])
