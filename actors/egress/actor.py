"""Egress: what was signed leaves the node, once.

Guarantees: the intent (`Sending`) is published before the bytes leave, `Sent` when the kernel took all of them. After a
crash an intent without its `Sent` is uncertain: where the venue deduplicates by name (`dedupes = true`) the same bytes go
again, elsewhere it becomes `Uncertain`; so does, after its `Sent`, an order whose bytes nobody had acknowledged when the
connection or this process ended (`unacknowledged.py`). The halt word is looked at right before each send; an order of an
older halt epoch never leaves. A halt is acknowledged when nothing of ours stands in the kernel any more: what does
not go within `EGRESS_HALT_GRACE_NS` is cut off with its connection. No step waits for anything (docs/operations.md).
"""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

import msgspec

from sovereign.actors.egress.transport import TcpTransport, UdpTransport, make_link, wrong_in
from sovereign.actors.egress.unacknowledged import FRAME_BYTES, Order, Pending, Unacknowledged
from sovereign.messages.orders import HaltAck, OrderRefused, Sending, Sent, SignedOrder, Uncertain
from sovereign.runtime import commit, limits
from sovereign.runtime.actor import Actor, Types
from sovereign.runtime.control import is_halt
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.message import Message

STAGE_EGRESS = 3
CRASHED, BROKEN, CUT_BY_HALT = 1, 2, 3  # reasons of an `Uncertain`
HALT_CUT = "a halt cut it: bytes of ours were still queued"


class EgressConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`transport`: kind "udp" or "tcp", and where to. `dedupes`: the venue drops what it has seen by name.

    `audit`: "bounded": an order may leave before the archive has it on disk, at most a ring of them (the auditor is a
    gate); "before-send": none leaves before every auditor of its ring has it on disk, which costs the auditor's
    `interval_ms`, or nothing to speak of where its `durability` is "batch".
    """

    transport: UdpTransport | TcpTransport
    dedupes: bool = False
    audit: Literal["bounded", "before-send"] = "bounded"


class Intent(NamedTuple):
    """An order whose `Sending` is published and whose bytes the kernel has not taken whole."""

    input: int
    slot: Any
    order: Any
    data: bytes
    said: dict[str, int]


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
    def max_step_outputs(cls, config: EgressConfig) -> int:
        """An order's `Sending`, `Sent` and later `Uncertain`, and an acknowledgement of a halt."""
        return 4

    @classmethod
    def check(cls, config: EgressConfig) -> list[str]:
        """The transport's address and times."""
        return wrong_in(config.transport)

    def setup(self) -> None:
        """Look the venue's name up, open the link, and take over what a crash left open."""
        self.link = make_link(self.config.transport, self.host.counters, self.host.log)
        self._switched, self._untold = (self.host.control.epoch, False), False
        self._complained = False
        self._auditors = [self._auditors_of(i) for i in range(len(self.host.inputs))]
        state = self.host.store.committed()
        assert state is not None
        self._left_open = int(state["sequence"])
        self._book = Unacknowledged(state, CRASHED)
        self._intent: Intent | None = None
        self._grace_ends_ns = 0

    def step(self) -> int:
        """One order of one input, or what has to be done before the next one may go."""
        self.link.tend(may_connect=not self.host.control.halted)
        if self.link.lost:
            self._write_off(BROKEN)
        done = self._mind_halt()
        if self._book.lost:
            return done + self._tell_lost()
        if self._intent is not None:
            return done + self._go_on(self._intent)
        if self._left_open:
            return done + self._settle()
        return done + (self._take() or self._retire())

    def _take(self) -> int:
        """One order of the first input that has one that may go now."""
        for i, reader in enumerate(self.host.inputs):
            if reader.available() == 0:
                continue
            if not self._room(2):
                self.host.counters["waits"] += 1
                continue
            self.host.batch(i, 1)
            slot = reader.slots(1)[0][0].copy()
            if slot["type_id"] != SignedOrder.type_id:
                self._skip(i)
                return 1
            order = SignedOrder.view(bytes(slot["payload"])[: SignedOrder.dtype.itemsize])
            if self._stale(order):
                self._refuse(i, slot, order)
                return 1
            if not self._archived(i, int(slot["sequence"])):
                self.host.counters["waits"] += 1
                continue
            return self._send(i, slot, order, attempt=1)
        return 0

    def _room(self, slots: int) -> bool:
        """Whether the ring has `slots` for new messages, beside the one that an open intent will need."""
        kept = int(self._intent is not None)
        return self.host.output is not None and self.host.output.free >= slots + kept

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
        """The intent, then the bytes. 0: the link is down or full, and the order waits in the ring."""
        if not self._may_send():
            return 0
        data = order.tobytes()
        state = self.host.steps.begin()
        assert state is not None
        state["input"], state["sequence"], state["attempt"] = i, int(slot["sequence"]), attempt
        said = {"attempt": attempt, "sent_bytes": len(data), "transport": self.link.number}
        self._put(Sending, i, slot, order, **said)
        self.host.steps.commit()
        self._intent = Intent(i, slot, order, data, said)
        self._go_on(self._intent)
        return 1

    def _may_send(self) -> bool:
        """Whether the kernel may be given an order now; what holds it back is counted, a link that is down told."""
        if not self.link.up:
            self._complain()
            return False
        self._complained = False
        if not self.link.ready(FRAME_BYTES):
            self.host.counters["held"] += 1
            return False
        return True

    def _go_on(self, intent: Intent) -> int:
        """Hand over what the kernel has not taken yet; 0: it takes nothing now."""
        if self._stale(intent.order):  # the halt word was set between the intent and the send
            self._give_up(intent)
            return 1
        if not self.link.begun and not self._may_send():
            return 0
        commit.kill_point()
        try:
            whole = self.link.flush() if self.link.begun else self.link.send(intent.data)
        except OSError as error:
            self.host.log.error(
                "the send broke", reason=str(error), order=self._named(intent.order)
            )
            self.host.counters["errors"] += 1
            self._close_intent(intent, reason=BROKEN)
            return 1
        if whole:
            self._complete(intent)
        return int(whole)

    def _give_up(self, intent: Intent) -> None:
        """A halt met an open intent. What is half gone goes no further: its connection is cut."""
        if self.link.begun:
            self.link.abort(HALT_CUT)
            self._write_off(CUT_BY_HALT)
        else:
            # An earlier attempt may have left: then nobody may say that the order did not.
            first = intent.said["attempt"] == 1
            self._close_intent(intent, reason=None if first else CRASHED)

    def _complete(self, intent: Intent) -> None:
        """The kernel has all of it: `Sent`, and a place in the book until the venue's host acknowledges it."""
        i, slot, order, data, said = intent
        sent_ns = time.time_ns()
        commit.kill_point()
        acked = self.link.acked
        self._book.retire(acked)
        if acked < self.link.written:
            self._book.enter(self._entry(i, slot, order), self.link.written)
        self._finish()
        self._put(Sent, i, slot, order, **said, sent_ns=sent_ns)
        self.host.steps.commit(self._took(i))
        self.host.counters["sent"] += 1
        self.host.counters["events"] += 1
        self.host.counters["bytes"] += len(data)
        self.host.counters.observe("hop", sent_ns - int(slot["publish_ns"]))
        self.host.counters.observe("origin", sent_ns - int(slot["origin_ns"]))

    def _entry(self, i: int, slot: Any, order: Any) -> Order:
        names = self._named(order).values()
        actor, generation, sequence = names
        cause = self.host.input_specs[i].actor_index, int(slot["sequence"])
        return Order(actor, cause[0], generation, sequence, cause[1], int(slot["origin_ns"]))

    def _finish(self) -> None:
        """Begin the step that ends the open intent."""
        state = self.host.steps.begin()
        assert state is not None
        state["sequence"] = 0
        self._book.record(state)
        self._intent = None

    def _close_intent(self, intent: Intent, reason: int | None) -> None:
        """End an intent that did not become `Sent`. `reason` None: not a byte of it left."""
        i, slot, order, _, _ = intent
        self._finish()
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

    def _write_off(self, reason: int) -> None:
        """The connection is gone: what nobody acknowledged is lost, the message that was half gone too."""
        self._book.retire(self.link.acked)
        lost = self._book.lose(reason)
        half = self.link.begun
        self.host.log.warning(
            "the connection ended", reason=self.link.lost, unacknowledged=lost, half_sent=half
        )
        self.link.write_off()
        if half and self._intent is not None:
            self._close_intent(self._intent, reason)

    def _tell_lost(self) -> int:
        """Publish `Uncertain` for the oldest order that was lost; nothing else is sent before all are told."""
        if not self._room(1):
            self.host.counters["waits"] += 1
            return 0
        reason, one = self._book.lost.popleft()
        state = self.host.steps.begin()
        self._book.record(state)
        record = Uncertain.new(
            order_actor=one.actor,
            reason=reason,
            order_generation=one.generation,
            order_seq=one.sequence,
        )
        cause = (one.cause_actor, one.cause_seq)
        self.host.steps.put(Uncertain, record, origin_ns=one.origin_ns, cause=cause)
        self.host.steps.commit()
        self.host.counters["uncertain"] += 1
        self.host.counters["outputs"] += 1
        return 1

    def _retire(self) -> int:
        """With nothing else to do: take out of the state what was acknowledged meanwhile."""
        if len(self._book) and self._book.retire(self.link.acked):
            self._book.record(self.host.steps.begin())
            self.host.steps.commit()
        return 0

    def _settle(self) -> int:
        """After a crash: the intent without its completion goes again, or becomes `Uncertain`."""
        state = self.host.store.committed()
        assert state is not None
        i, attempt = int(state["input"]), int(state["attempt"])
        reader = self.host.inputs[i]
        if reader.available() == 0 or not self._room(2):
            return 0
        slot = reader.slots(1)[0][0].copy()
        order = SignedOrder.view(bytes(slot["payload"])[: SignedOrder.dtype.itemsize])
        if self.config.dedupes and not self._stale(order):
            if not self._send(i, slot, order, attempt + 1):
                return 0
        else:
            intent = Intent(i, slot, order, b"", {"attempt": attempt})
            self._close_intent(intent, reason=CRASHED)
        self._left_open = 0
        return 1

    def _complain(self) -> None:
        """Say once that the venue cannot be reached; the order stays in the ring."""
        if not self._complained and self.link.reason:
            self.host.log.error(
                "the venue cannot be reached: orders wait in the ring",
                to=self.config.transport.to,
                reason=self.link.reason,
            )
            self._complained = True

    def _mind_halt(self) -> int:
        """Acknowledge a halt, once nothing of ours can leave any more.

        The counters first, whatever room the ring has; the message when there is some.
        """
        epoch = self.host.control.epoch
        halted = is_halt(epoch)
        seen = (epoch, halted)
        if seen != self._switched and (seen[1] or self._switched[1]):
            if halted and not self._silenced():
                return 1  # not yet: look again at once
            self._switched, self._untold = seen, True
            if halted:
                self.host.counters["halt_ack_ns"] = time.monotonic_ns()
                self.host.counters["halt_epoch"] = epoch
        if not self._untold or not self._room(1):
            return 0
        self._untold = False
        self.host.steps.begin()
        record = HaltAck.new(epoch=epoch, seen_ns=time.time_ns(), halted=int(halted))
        self.host.steps.put(HaltAck, record, origin_ns=time.time_ns())
        self.host.steps.commit()
        self.host.counters["outputs"] += 1
        return 1

    def _silenced(self) -> bool:
        """Whether nothing of ours can leave any more. What the kernel does not get rid of in the grace is cut off."""
        if self._intent is not None:
            self._give_up(self._intent)
        now_ns = time.monotonic_ns()
        if self.link.queued() and not self._grace_ends_ns:
            self._grace_ends_ns = now_ns + limits.EGRESS_HALT_GRACE_NS
        if self.link.queued() and now_ns >= self._grace_ends_ns:
            self.link.abort(HALT_CUT)
            if self.link.lost:
                self._write_off(CUT_BY_HALT)
        silent = self.link.queued() == 0
        if silent:
            self._grace_ends_ns = 0
        return silent

    def drain(self) -> bool:
        """Whether nothing is in flight: no intent open, nothing unacknowledged, nothing lost and untold."""
        settled = self._left_open == 0 and self._intent is None and len(self._book) == 0
        return settled and self.link.queued() == 0

    def close(self) -> None:
        """Close the link; bytes that are still queued die with it, and are uncertain at the next start."""
        self.link.close()
