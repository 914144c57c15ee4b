"""Scratch: learned once an event, rebuilt at every start, the same when compiled and plain; and what is refused."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pytest

from sovereign.actors.auditor.actor import AuditorConfig
from sovereign.actors.ingress.decoders.dbn import Dbn, DbnConfig
from sovereign.actors.ingress.decoders.itch50 import Itch50, ItchConfig
from sovereign.actors.strategy import Strategy
from sovereign.actors.strategy.actor import StrategyConfig, StrategyHost
from sovereign.actors.strategy.scratch import ScratchMemory
from sovereign.examples.book import LEVELS, Lean
from sovereign.messages.market import OrderEvent
from sovereign.messages.orders import NewOrder
from sovereign.runtime import layout, limits
from sovereign.runtime.errors import PluginError
from sovereign.runtime.message import Message
from sovereign.runtime.reader import Reader
from sovereign.runtime.writer import Writer

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "plugins"))

from data import market, needs_data, order_events
from nodes import SmallNode, until
from strategies_for_tests import Answer, Event

HOST = "sovereign.actors.strategy.actor:StrategyHost"
BOOK = "sovereign.examples.book:Lean"
MODES = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "plain"])


def _config(name: str, **more: Any) -> StrategyConfig:
    return StrategyConfig(plugin=f"strategies_for_tests:{name}", **more)


class Feed:
    """Puts events into `source` and takes what the strategy gives."""

    def __init__(self, node: SmallNode, kind: type[Message], gives: type[Message]) -> None:
        self.kind, self.gives = kind, gives
        self.writer = Writer(node.name, "source", (kind,))
        self.reader = Reader(node.name, "s", "test")
        self.sent = 0
        self.got: list[Any] = []
        self.causes: list[int] = []

    def put(self, events: Any) -> None:
        """As many as there is room for; `sent` says where it stands."""
        for event in events[: self.writer.free]:
            self.writer.put(self.kind, event, origin_ns=1, publish_ns=self.sent + 1)
            self.sent += 1
        self.writer.publish()

    def take(self) -> None:
        """What has come."""
        ready = self.reader.available()
        for block in self.reader.slots(ready):
            mine = block[block["type_id"] == self.gives.type_id].copy()
            self.got += layout.payload(mine, self.gives.dtype).astype(self.gives.dtype).tolist()
            self.causes += mine["cause_seq"].tolist()
        self.reader.commit(ready)

    def both(self, events: Any) -> None:
        """Feed the rest of `events`, taking all the while."""
        while self.sent < len(events):
            self.put(events[self.sent : self.sent + 64])
            self.take()

    def settle(self, count: int) -> None:
        """Until `count` have come."""
        until(lambda: self.take() or len(self.got) >= count, 60)


def _values(first: int, last: int) -> list[dict[str, int]]:
    return [{"value": value} for value in range(first, last + 1)]


def _recorded(name: str) -> tuple[npt.NDArray[np.void], dict[str, Any]]:
    """Orders of a day, and the parameters of the book for them."""
    if name == "dbn":
        path = market("dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst")
        orders = order_events(Dbn(DbnConfig()), path)[8_000:13_000]
        return orders, {"tick_e9": 250_000_000, "threshold": 0.7, "gap": 20}
    orders = order_events(Itch50(ItchConfig()), market("itch/ex20101224.TEST_ITCH_50"))
    return orders, {"threshold": 0.7, "gap": 20}


def _by_functions(orders: Any, given: dict[str, Any]) -> tuple[list[Any], ScratchMemory]:
    """What the strategy's plain functions give for `orders`, and the book behind the last."""
    assert Lean.Scratch is not None
    params, state = Lean.params(given), Lean.State.new()
    memory = ScratchMemory(Lean.Scratch)
    expected = []
    for event in orders.view(np.recarray):
        out = NewOrder.new()
        Lean.learn_order(event, memory.record, params)
        if Lean.on_order(event, state, params, memory.read_only, out):
            expected.append(out.item())
    return expected, memory


@needs_data
@pytest.mark.parametrize("name", ["dbn", "itch"])
def test_the_books_levels_are_what_its_orders_add_up_to(name: str) -> None:
    """Another book, of dictionaries, beside the example's."""
    orders, given = _recorded(name)
    _, memory = _by_functions(orders, given)
    instrument = int(orders["instrument"][0])
    book: dict[int, list[int]] = {}
    for event in orders[orders["instrument"] == instrument]:
        order, action = int(event["order_id"]), chr(event["action"])
        level = int(event["px_e9"]) // int(given.get("tick_e9", 10_000_000))
        if action == "A" and 0 <= level < LEVELS and event["qty"] > 0 and event["side"]:
            book.setdefault(order, [int(event["side"]), level, int(event["qty"])])
        elif order in book and action in "XE":
            book[order][2] -= int(event["qty"])
        elif order in book and action in "DMR":
            side = book.pop(order)[0]
            if action != "D":
                order = int(event["other_id"]) if action == "R" else order
                book[order] = [side, level, int(event["qty"])]
        if order in book and book[order][2] <= 0:
            del book[order]
    sums: dict[tuple[int, int], int] = defaultdict(int)
    for side, level, qty in book.values():
        sums[side, level] += qty
    scratch: Any = memory.record
    found = {(1, int(at)): int(scratch.bid_qty[at]) for at in np.flatnonzero(scratch.bid_qty)}
    found |= {(2, int(at)): int(scratch.ask_qty[at]) for at in np.flatnonzero(scratch.ask_qty)}
    assert len(book) > 100
    assert found == sums
    assert int(np.count_nonzero(scratch.side)) == len(book)
    assert scratch.best_bid == max(level for side, level in sums if side == 1)
    assert scratch.best_ask == min(level for side, level in sums if side == 2)


@needs_data
@MODES
@pytest.mark.parametrize("name", ["dbn", "itch"])
def test_a_book_gives_the_same_orders_hosted_and_after_kills(name: str, compiled: bool) -> None:
    """The ring is far too small for the history: the archive has it, in sealed segments and in the open one."""
    orders, given = _recorded(name)
    expected, _ = _by_functions(orders, given)
    assert len(expected) > 50
    seed = random.SystemRandom().randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    config = StrategyConfig(plugin=BOOK, params=given, compiled=compiled)
    audited = AuditorConfig(segment_records=1024)
    with SmallNode((OrderEvent,), ("s", HOST, config), capacity=512, audited=audited) as node:
        feed = Feed(node, OrderEvent, NewOrder)
        node.start(1)
        node.start(2)
        stops = sorted(chance.sample(range(1, len(orders)), 4))
        for stop in [*stops, len(orders)]:
            feed.both(orders[:stop])
            if stop < len(orders):
                node.kill(1)
                feed.put(orders[feed.sent : feed.sent + chance.randrange(512)])
                node.start(1)
        feed.settle(len(expected))
        until(lambda: feed.writer.ring.lowest_gate() == len(orders))
        feed.take()
        assert feed.got == expected, f"seed {seed}"
        assert "scratch rebuilt" in node.log("s")


@MODES
def test_scratch_is_rebuilt_from_the_ring_alone_as_long_as_it_holds_all(compiled: bool) -> None:
    config = _config("Counted", compiled=compiled)
    with SmallNode((Event,), ("s", HOST, config), capacity=1024, out_capacity=4096) as node:
        feed = Feed(node, Event, Answer)
        node.start(1)
        for last in (300, 301, 700):
            feed.both(_values(1, last))
            feed.settle(2 * feed.sent)
            node.kill(1)
            node.start(1)
        feed.both(_values(1, 1000))
        feed.settle(2000)
        assert feed.got == [(0, value) for value in range(1, 1001) for _ in (0, 1)]
        assert "no auditor reads the ring" in node.log("s")


@MODES
def test_an_event_is_learned_once_though_the_output_is_full(compiled: bool) -> None:
    """A ring of eight slots, a reader that takes one at a time: most steps end for want of room."""
    config = _config("Counted", compiled=compiled)
    with SmallNode((Event,), ("s", HOST, config), capacity=1024, out_capacity=8) as node:
        feed = Feed(node, Event, Answer)
        feed.put(_values(1, 1000))
        node.start(1)
        until(lambda: node.control.counters(1)["waits"] > 0)
        taken: list[tuple[int, int]] = []
        while len(taken) < 2001:
            until(lambda: feed.reader.available() > 0)
            slot = feed.reader.slots(1)[0][0]
            if int(slot["type_id"]) == Answer.type_id:
                answer = Answer.view(bytes(slot["payload"])[: Answer.dtype.itemsize])
                taken.append((int(answer.number), int(answer.value)))
            else:
                taken.append((0, 0))
            feed.reader.commit(1)
        assert taken[1:] == [(0, value) for value in range(1, 1001) for _ in (0, 1)]


@MODES
def test_after_an_exception_the_traceback_is_of_the_same_scratch(compiled: bool) -> None:
    """The handler raises only when Scratch is neither ahead nor behind."""
    config = _config("Counted", params={"boom": 150}, compiled=compiled)
    with SmallNode((Event,), ("s", HOST, config), out_capacity=4096) as node:
        feed = Feed(node, Event, Answer)
        feed.put(_values(1, 100))
        node.start(1)
        feed.settle(200)
        feed.put(_values(101, 200))
        assert node.reap(1) == 1
        assert "Counted.on_event raised ValueError: told to" in node.log("s")
        assert "event 150" in node.log("s")
        assert "strategies_for_tests.py" in node.log("s")


@MODES
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"boom_learning": 50}, "Counted.learn_event raised ValueError: learned too much"),
        ({"far": 50}, "Counted.learn_event raised IndexError"),
    ],
)
def test_a_learner_that_raises_shows_the_authors_line(
    compiled: bool, params: dict[str, int], said: str
) -> None:
    config = _config("Counted", params=params, compiled=compiled)
    with SmallNode((Event,), ("s", HOST, config), out_capacity=4096) as node:
        feed = Feed(node, Event, Answer)
        feed.put(_values(1, 100))
        node.start(1)
        assert node.reap(1) == 1
        assert said in node.log("s")
        assert "event 50" in node.log("s")
        assert "strategies_for_tests.py" in node.log("s")


@MODES
def test_a_learner_that_raises_in_the_rebuild_ends_the_start(compiled: bool) -> None:
    """Events that were handled by code that did not raise."""
    config = _config("Counted", compiled=compiled)
    with SmallNode((Event,), ("s", HOST, config), out_capacity=4096) as node:
        feed = Feed(node, Event, Answer)
        feed.put(_values(1, 100))
        node.start(1)
        feed.settle(200)
        node.kill(1)
        config.params["boom_learning"] = 70
        node.start(1)
        assert node.reap(1) == 78
        assert "Counted.learn_event raised ValueError: learned too much" in node.log("s")
        assert "event 70" in node.log("s")


def test_history_that_is_gone_ends_the_start_and_is_named() -> None:
    with SmallNode((Event,), ("s", HOST, _config("Counted")), capacity=64) as node:
        feed = Feed(node, Event, Answer)
        node.start(1)
        feed.both(_values(1, 200))
        feed.settle(400)
        node.kill(1)
        feed.put(_values(201, 220))
        node.start(1)
        assert node.reap(1) == 78
        log = node.log("s")
        assert "the history of ring source is not whole: 1 to 156 are missing" in log
        assert "the ring holds 157 to 220; no auditor reads it" in log
        assert "let an auditor read source" in log


def test_a_short_history_is_enough_for_who_declares_it() -> None:
    with SmallNode((Event,), ("s", HOST, _config("Recent")), capacity=64) as node:
        feed = Feed(node, Event, Answer)
        node.start(1)
        feed.both(_values(1, 200))
        feed.settle(200)
        node.kill(1)
        feed.put(_values(201, 248))  # the ring still holds 185 to 200
        node.start(1)
        feed.settle(248)
        sums = [sum(range(max(1, n - 15), n + 1)) for n in range(1, 249)]
        assert [value for _, value in feed.got] == sums
        node.kill(1)
        feed.put(_values(249, 297))  # and now one less than it needs
        node.start(1)
        assert node.reap(1) == 78
        assert "233 to 233 are missing" in node.log("s")


@MODES
def test_what_is_only_learned_is_not_ignored(compiled: bool) -> None:
    config = _config("OnlyLearned", compiled=compiled)
    with SmallNode((Event, Answer), ("s", HOST, config)) as node:
        writer = Writer(node.name, "source", (Event, Answer))
        reader = Reader(node.name, "s", "test")
        node.start(1)
        for value in range(5):
            writer.put(Event, {"value": value}, origin_ns=1)
        writer.put(Answer, {"number": 1}, origin_ns=1)
        writer.publish()
        until(lambda: reader.available() == 2)
        slot = reader.slots(2)[-1][-1]
        assert Answer.view(bytes(slot["payload"])[: Answer.dtype.itemsize]).number == 5
        assert node.control.counters(1)["ignored"] == 0


def test_plain_handlers_cannot_write_scratch() -> None:
    memory = ScratchMemory(Lean.Scratch)  # type: ignore[arg-type]
    seen: Any = memory.read_only
    with pytest.raises(ValueError, match="read-only"):
        seen.best_bid = 3
    with pytest.raises(ValueError, match="read-only"):
        seen.bid_qty[4] = 3
    memory.record["best_bid"] = 9
    assert seen.best_bid == 9
    memory.wipe()
    assert (seen.best_bid, seen.best_ask) == (-1, LEVELS)


class _Base(Strategy):
    class Scratch(Message):
        """Small."""

        n: np.int64
        last: Annotated[np.int64, 4]

    @staticmethod
    def learn_event(event: Event, scratch: Scratch, params: Message) -> None:
        scratch.n += 1

    @staticmethod
    def on_event(event: Event, state: Message, params: Message, out: Answer) -> int:
        return 0


class _NothingLearned(Strategy):
    Scratch = _Base.Scratch
    on_event = staticmethod(_Base.on_event)


class _NothingToLearnInto(Strategy):
    on_event = staticmethod(_Base.on_event)

    @staticmethod
    def learn_event(event: Event, scratch: Message, params: Message) -> None:
        return None


class _NoScratch(Strategy):
    @staticmethod
    def on_event(event: Event, state: Message, params: Message, scratch: Any, out: Answer) -> int:
        return 0


class _OtherOrder(_Base):
    @staticmethod
    def learn_event(event: Event, params: Message, scratch: _Base.Scratch) -> None:  # type: ignore[override]
        return None


class _Writes(_Base):
    @staticmethod
    def on_other(
        event: Answer, state: Message, params: Message, scratch: _Base.Scratch, out: Answer
    ) -> int:
        out.number, scratch.last[1] = 1, 2
        return 0


class _Twice(_Base):
    @staticmethod
    def learn_again(event: Event, scratch: _Base.Scratch, params: Message) -> None:
        return None


class _Huge(_Base):
    class Scratch(Message):  # type: ignore[assignment]
        """Beyond the limit."""

        n: Annotated[np.int64, limits.SCRATCH_MAX_BYTES // 8 + 1]


class _History(_Base):
    history = -1


@pytest.mark.parametrize(
    ("strategy", "said", "got"),
    [
        (_NothingLearned, "nothing fills the Scratch of _NothingLearned", ""),
        (_NothingToLearnInto, "learn_event has nothing to learn into", ""),
        (_NoScratch, "it has another form", "(event, state, params, scratch, out)"),
        (_OtherOrder, "parameter 'params' is where scratch stands", "Message"),
        (_Writes, "it writes into scratch", "scratch.last[1]"),
        (_Twice, "learn_again and learn_event both take Event", ""),
        (_Huge, "the Scratch of _Huge is too large", f"{limits.SCRATCH_MAX_BYTES + 8} bytes"),
        (_History, "the history of _History is no number of events", "-1"),
    ],
)
def test_what_does_not_fit_is_refused(strategy: type[Strategy], said: str, got: str) -> None:
    with pytest.raises(PluginError) as refused:
        strategy.routes()
    assert got in refused.value.got
    assert "test_strategy_scratch.py" in refused.value.where
    assert said in str(refused.value)


def test_the_types_that_are_learned_are_taken() -> None:
    assert set(StrategyHost.takes(_config("OnlyLearned")) or ()) == {Event, Answer}
