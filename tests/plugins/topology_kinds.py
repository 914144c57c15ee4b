"""Actor kinds for the tests of the topology: each says what it takes and gives, and never runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from sovereign.runtime.actor import Actor, Types
from sovereign.runtime.errors import PluginError
from sovereign.runtime.message import Message


class Price(Message):
    px_e9: np.int64


class Order(Message):
    px_e9: np.int64
    qty: np.int64


class Fill(Message):
    qty: np.int64


class FileDriver(
    msgspec.Struct, tag="file", tag_field="kind", frozen=True, forbid_unknown_fields=True
):
    path: str
    pace: Literal["full", "recorded"] = "full"


class NetDriver(
    msgspec.Struct, tag="udp", tag_field="kind", frozen=True, forbid_unknown_fields=True
):
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class FeedConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    driver: FileDriver | NetDriver = NetDriver(port=1)
    depth: int = 5
    out_dir: str = ""


class Feed(Actor):
    Config = FeedConfig
    needs_inputs = (0, 0)

    @classmethod
    def gives(cls, config: Any, upstream: tuple[Types, ...]) -> Types:
        return (Price,)


class Bus(Actor):
    needs_inputs = (1, 40)

    @classmethod
    def gives(cls, config: Any, upstream: tuple[Types, ...]) -> Types:
        return tuple(dict.fromkeys(kind for kinds in upstream for kind in kinds))


class TakerConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    params: dict[str, int | float] = {}
    burst: int = 1


class Taker(Actor):
    Config = TakerConfig
    needs_inputs = (1, 16)

    @classmethod
    def takes(cls, config: Any) -> Types:
        return (Price, Fill)

    @classmethod
    def gives(cls, config: Any, upstream: tuple[Types, ...]) -> Types:
        return (Order,)

    @classmethod
    def max_step_outputs(cls, config: Any) -> int:
        return int(config.burst)

    @classmethod
    def check(cls, config: Any) -> list[str]:
        return [
            f"params.{name}: the strategy has no such parameter\n  expected: threshold"
            for name in config.params
            if name != "threshold"
        ]


class Venue(Actor):
    needs_inputs = (1, 1)

    @classmethod
    def takes(cls, config: Any) -> Types:
        return (Order,)

    @classmethod
    def gives(cls, config: Any, upstream: tuple[Types, ...]) -> Types:
        return (Fill,)


class Sink(Actor):
    needs_inputs = (1, 16)


class Raises(Actor):
    @classmethod
    def gives(cls, config: Any, upstream: tuple[Types, ...]) -> Types:
        return 1 // 0  # type: ignore[return-value]


class Refuses(Actor):
    @classmethod
    def takes(cls, config: Any) -> Types:
        raise PluginError("this kind refuses", hint="use another")


NOT_AN_ACTOR = 1


class HotFeed(Feed):
    compiled = True


class HotTaker(Taker):
    compiled = True


class EventFeed(Feed):
    """Gives what the strategies for tests take."""

    @classmethod
    def gives(cls, config: Any, upstream: tuple[Types, ...]) -> Types:
        from strategies_for_tests import Event

        return (Event,)
