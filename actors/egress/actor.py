"""Egress: what was signed leaves the node, once.

Guarantees: the intent (`Sending`) is published before the bytes leave, `Sent` after. After a crash an intent without its
`Sent` is uncertain: where the venue deduplicates by name (`dedupes = true`) the same bytes go again, elsewhere it
becomes `Uncertain`. The halt word is looked at right before each send; an order of an older halt epoch never leaves.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec
import numpy as np

from sovereign.actors.egress.transport import (
    TcpLink,
    TcpTransport,
    UdpTransport,
    make_link,
    split_address,
)
from sovereign.messages.orders import HaltAck, OrderRefused, Sending, Sent, SignedOrder, Uncertain
from sovereign.runtime import commit
from sovereign.runtime.actor import Actor, Types
from sovereign.runtime.control import is_halt
from sovereign.runtime.errors import InputError, SovereignError
from sovereign.runtime.message import Message

STAGE_EGRESS = 3
CRASHED, BROKEN = 1, 2


class EgressConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`transport`: kind "udp" or "tcp", and where to. `dedupes`: the venue drops what it has seen by name.

    `audit`: "bounded": an order may leave before the archive has it on disk, at most a ring of them (the auditor is a
    gate); "before-send": none leaves before every auditor of its ring has it on disk, which costs the auditor's
    `interval_ms`, or nothing to speak of where its `durability` is "batch".
    """

    transport: UdpTransport | TcpTransport
    dedupes: bool = False
    audit: Literal["bounded", "before-send"] = "bounded"


class Pending(Message):
    """The egress's state: the input and sequence of the order whose intent is published; sequence 0: none."""

    input: np.uint64
    sequence: np.uint64
    attempt: np.uint64


class Egress(Actor):
    """Kind `egress`."""

    Config = EgressConfig
    State = Pending
    needs_inputs = (1, 16)
    gates_only = True

    @classmethod
    def takes(cls, config: EgressConfig) -> Types | None:
        """Signed orders; refusals and acknowledgements that stand beside them are passed over."""
        return (SignedOrder, OrderRefused, HaltAck)

    @classmethod
    def gives(cls, config: EgressConfig, upstream: tuple[Types, ...]) -> Types:
        """Intents, completions, and what did not leave."""
        return (Sending, Sent, Uncertain, OrderRefused, HaltAck)

    @classmethod
    def check(cls, config: EgressConfig) -> list[str]:
        """The address."""
        try:
            split_address(config.transport.to)
        except InputError as error:
            return [str(error)]
        return []

    def setup(self) -> None:
        """Open the link, and settle what a crash left open."""
        self.link = make_link(self.config.transport)
        self._switched, self._untold = (self.host.control.epoch, False), False
        self._complained = False
        self._auditors = [self._auditors_of(i) for i in range(len(self.host.inputs))]
        state = self.host.store.committed()
        assert state is not None
        self._left_open = int(state["sequence"])

    def step(self) -> int:
        """One order of one input."""
        done = self._mind_halt()
        if self._left_open:
            return done + self._settle()
        for i, reader in enumerate(self.host.inputs):
            if reader.available() == 0:
                continue
            if self.host.output is None or self.host.output.free < 2:
                self.host.counters["waits"] += 1
                continue
            self.host.batch(i, 1)
            slot = reader.slots(1)[0][0].copy()
            if slot["type_id"] != SignedOrder.type_id:
                self._skip(i)
                return done + 1
            order = SignedOrder.view(bytes(slot["payload"])[: SignedOrder.dtype.itemsize])
            if self._stale(order):
                self._refuse(i, slot, order)
                return done + 1
            if not self._archived(i, int(slot["sequence"])):
                self.host.counters["waits"] += 1
                continue
            return done + self._send(i, slot, order, attempt=1)
        return done

    def _auditors_of(self, i: int) -> list[int]:
        """Indices, among the readers of input i's ring, of its auditors. SovereignError: none, and one is asked for."""
        spec = self.host.node_spec
        names = {one.name for one in spec.actors if one.kind == "auditor"}
        ring = self.host.inputs[i].ring
        found = [n for n, reader in enumerate(ring.readers) if reader.name in names]
        if self.config.audit == "before-send" and not found:
            raise SovereignError(
                'audit = "before-send", and no auditor reads what is sent',
                got=f"ring {ring.name} without an auditor",
                hint=f'add "{ring.name}" to the inputs of an auditor',
            )
        return found

    def _archived(self, i: int, sequence: int) -> bool:
        """Whether slot `sequence` of input i may leave as far as the archive is concerned."""
        if self.config.audit == "bounded":
            return True
        ring = self.host.inputs[i].ring
        return all(ring.durable_cursor(index) >= sequence for index in self._auditors[i])

    def _skip(self, i: int) -> None:
        """Pass over a message that is no order."""
        self.host.steps.begin()
        self.host.steps.commit(self._took(i))
        self.host.counters["ignored"] += 1
        self.host.counters["events"] += 1

    def _took(self, i: int) -> list[int]:
        return [int(j == i) for j in range(len(self.host.inputs))]

    def _stale(self, order: Any) -> bool:
        epoch = self.host.control.epoch
        return is_halt(epoch) or int(order["halt_epoch"]) != epoch

    def _named(self, order: Any) -> dict[str, int]:
        names = ("order_actor", "order_generation", "order_seq")
        return {name: int(order[name]) for name in names}

    def _put(self, kind: type[Message], i: int, slot: Any, order: Any, **fields: Any) -> None:
        cause = (self.host.input_specs[i].actor_index, int(slot["sequence"]))
        record = kind.new(**self._named(order), **fields)
        self.host.steps.put(kind, record, origin_ns=int(slot["origin_ns"]), cause=cause)
        self.host.counters["outputs"] += 1

    def _refuse(self, i: int, slot: Any, order: Any) -> None:
        """An order that was signed, and does not leave: the node is halted, or was in between."""
        self.host.steps.begin()
        epoch = self.host.control.epoch
        rule = b"halted" if self.host.control.halted else b"stale-halt-epoch"
        self._put(OrderRefused, i, slot, order, stage=STAGE_EGRESS, halt_epoch=epoch, rule=rule)
        self.host.steps.commit(self._took(i))
        self.host.counters["refused"] += 1
        self.host.counters["events"] += 1

    def _send(self, i: int, slot: Any, order: Any, attempt: int) -> int:
        """Intent, bytes, completion. 0: the link is down, and the order waits in the ring."""
        if not self.link.up():
            self._complain()
            return 0
        data = order.tobytes()
        state = self.host.steps.begin()
        assert state is not None
        state["input"], state["sequence"], state["attempt"] = i, int(slot["sequence"]), attempt
        said = {"attempt": attempt, "sent_bytes": len(data), "transport": self.link.number}
        self._put(Sending, i, slot, order, **said)
        self.host.steps.commit()
        if self._stale(order):  # the halt word was set between the intent and the send
            # An earlier attempt may have left: then nobody may say that the order did not.
            self._close_intent(i, slot, order, reason=None if attempt == 1 else CRASHED)
            return 1
        commit.kill_point()
        try:
            self.link.send(data)
        except OSError as error:
            self.host.log.error("the send broke", reason=str(error), order=self._named(order))
            self.host.counters["errors"] += 1
            self._close_intent(i, slot, order, reason=BROKEN)
            return 1
        sent_ns = time.time_ns()
        commit.kill_point()
        self._finish(i)
        self._put(Sent, i, slot, order, **said, sent_ns=sent_ns)
        self.host.steps.commit(self._took(i))
        self.host.counters["sent"] += 1
        self.host.counters["events"] += 1
        self.host.counters["bytes"] += len(data)
        self.host.counters.observe("hop", sent_ns - int(slot["publish_ns"]))
        self.host.counters.observe("origin", sent_ns - int(slot["origin_ns"]))
        return 1

    def _finish(self, i: int) -> None:
        state = self.host.steps.begin()
        assert state is not None
        state["sequence"] = 0

    def _close_intent(self, i: int, slot: Any, order: Any, reason: int | None) -> None:
        """End an intent that did not become `Sent`."""
        self._finish(i)
        if reason is None:
            epoch = self.host.control.epoch
            self._put(
                OrderRefused, i, slot, order, stage=STAGE_EGRESS, halt_epoch=epoch, rule=b"halted"
            )
            self.host.counters["refused"] += 1
        else:
            self._put(Uncertain, i, slot, order, reason=reason)
            self.host.counters["uncertain"] += 1
        self.host.steps.commit(self._took(i))
        self.host.counters["events"] += 1

    def _settle(self) -> int:
        """After a crash: the intent without its completion goes again, or becomes `Uncertain`."""
        state = self.host.store.committed()
        assert state is not None
        i, attempt = int(state["input"]), int(state["attempt"])
        reader = self.host.inputs[i]
        if reader.available() == 0 or self.host.output is None or self.host.output.free < 2:
            return 0
        slot = reader.slots(1)[0][0].copy()
        order = SignedOrder.view(bytes(slot["payload"])[: SignedOrder.dtype.itemsize])
        if self.config.dedupes and not self._stale(order):
            if not self._send(i, slot, order, attempt + 1):
                return 0
        else:
            self._close_intent(i, slot, order, reason=CRASHED)
        self._left_open = 0
        return 1

    def _complain(self) -> None:
        """Say once that the venue cannot be reached; the order stays in the ring."""
        if not self._complained and isinstance(self.link, TcpLink):
            self.host.log.error(
                "the venue cannot be reached: orders wait in the ring",
                to=self.config.transport.to,
                reason=self.link.reason,
            )
            self._complained = True

    def _mind_halt(self) -> int:
        """Acknowledge a halt: nothing is half sent here, since a send is whole before `step` returns.

        The counters first, whatever room the ring has; the message when there is some.
        """
        epoch = self.host.control.epoch
        halted = is_halt(epoch)
        seen = (epoch, halted)
        if seen != self._switched and (seen[1] or self._switched[1]):
            self._switched, self._untold = seen, True
            if halted:
                self.host.counters["halt_ack_ns"] = time.monotonic_ns()
                self.host.counters["halt_epoch"] = epoch
        if not self._untold or self.host.output is None or self.host.output.free < 1:
            return 0
        self._untold = False
        self.host.steps.begin()
        record = HaltAck.new(epoch=epoch, seen_ns=time.time_ns(), halted=int(halted))
        self.host.steps.put(HaltAck, record, origin_ns=time.time_ns())
        self.host.steps.commit()
        self.host.counters["outputs"] += 1
        return 1

    def drain(self) -> bool:
        """Nothing is in flight between steps, unless a crash's intent still waits for its link."""
        return self._left_open == 0

    def close(self) -> None:
        """Close the link."""
        self.link.close()
