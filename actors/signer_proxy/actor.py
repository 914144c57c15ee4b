"""The signer proxy: takes orders, asks the pod, publishes what it signed or why it did not.

Guarantees: a request is named by the order's actor, generation and sequence, so after kill -9 the redo gets the same
signature; nothing is signed while the node is halted; the proxy never sees a key. Its own limits are looked at before
the pod's policy: they are cheaper, and the pod does not rely on them.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np

from enclave_signer import wire
from sovereign.actors.signer_proxy.pod import ProcessPod
from sovereign.actors.signer_proxy.pod_user import pod_user
from sovereign.messages.orders import HaltAck, NewOrder, OrderRefused, SignedOrder
from sovereign.runtime import commit, layout, limits
from sovereign.runtime.actor import Actor, Types
from sovereign.runtime.control import is_halt
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.message import Message
from sovereign.runtime.shm import SHM_FOLDER, segment_name

STAGE_PROXY, STAGE_POD = 1, 2
NAME_REUSED = b"name-reused"


# From 0, which refuses every order, as the pod's own policy has it.
Quantity = Annotated[int, msgspec.Meta(ge=0, le=limits.QUANTITY_MAX)]


class PolicyConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The pod's embedded policy, for nodes without a document of their own. Notional in whole currency units."""

    max_qty: Quantity = 1_000
    max_notional: Quantity = 10_000_000
    instruments: list[Annotated[int, msgspec.Meta(ge=0, le=limits.INSTRUMENT_MAX)]] | None = None


class SignerConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`scheme`: ed25519 or secp256k1. `policy`: limits, or the path of a document. `folder`: the pod's own.

    `max_inflight`: orders that the pod is asked at once. `user`: whom the pod runs as, where the node runs as root; without
    it, a uid of its own from `POD_UID_FIRST` on.
    """

    wall: Literal["process"] = "process"
    scheme: Literal["ed25519", "secp256k1"] = "ed25519"
    policy: PolicyConfig | str = msgspec.field(default_factory=PolicyConfig)
    folder: str = ""
    user: str = ""
    max_inflight: int = 32
    max_qty: Quantity = limits.QUANTITY_MAX


class Asked(NamedTuple):
    """An order in the batch at hand."""

    name: wire.Name
    order: bytes
    origin_ns: int
    cause: tuple[int, int]
    rule: str
    epoch: int


class Served(Message):
    """The proxy's state: the newest halt epoch that it told the pod and the ring."""

    epoch: np.uint64


class SignerProxy(Actor):
    """Kind `signer`."""

    Config = SignerConfig
    State = Served
    needs_inputs = (1, 16)
    gates_only = True

    @classmethod
    def takes(cls, config: SignerConfig) -> Types | None:
        """Orders."""
        return (NewOrder,)

    @classmethod
    def gives(cls, config: SignerConfig, upstream: tuple[Types, ...]) -> Types:
        """Signed orders, refusals, and acknowledgements of a halt."""
        return (SignedOrder, OrderRefused, HaltAck)

    @classmethod
    def max_step_outputs(cls, config: SignerConfig) -> int:
        """One answer an order, and one acknowledgement."""
        return 2

    @classmethod
    def check(cls, config: SignerConfig) -> list[str]:
        """Whether the policy's file is there; what stands in it, the pod judges when it starts."""
        if isinstance(config.policy, str) and not Path(config.policy).is_file():
            return [f"policy: there is no file {config.policy}"]
        most = limits.SIGNER_INFLIGHT_MAX
        if not 1 <= config.max_inflight <= most:
            return [f"max_inflight = {config.max_inflight} is not from 1 to {most}"]
        return []

    def setup(self) -> None:
        """Start the pod; it is ready when it has said who it is."""
        host = self.host
        folder = Path(self.config.folder or f"{host.archive_dir}.pod/{host.name}").resolve()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        user = pod_user(self.config.user, folder)
        # Not in the pod's folder: where another user may write, root had better not.
        policy = host.run_dir / f"{host.name}.policy.json"
        if isinstance(self.config.policy, str):
            policy = Path(self.config.policy).absolute()
        else:
            policy.write_text(json.dumps(msgspec.to_builtins(self.config.policy), sort_keys=True))
        page = SHM_FOLDER / segment_name(host.node)[1:]
        halt = (page, layout.NODE_EPOCH_AT)
        self.pod = ProcessPod(folder, policy, self.config.scheme, halt, user.ids)
        host.log.info(
            "pod ready",
            scheme=self.config.scheme,
            public_key=self.pod.public_key.hex(),
            walls=self.pod.walls,
            uid=user.uid,
        )
        if user.ids is None:
            host.log.warning(
                "the pod has no user of its own: this wall does not stand", why=user.why
            )
        self._folder, self._reuse_told = folder, False
        self._switched, self._untold = (self.host.control.epoch, False), False
        self._publish_key = np.frombuffer(self.pod.public_key.ljust(33, b"\0"), np.uint8)

    def step(self) -> int:
        """One batch of one input."""
        done, host = self._mind_halt(), self.host
        output = host.output
        for i, reader in enumerate(host.inputs):
            ready = reader.available()
            if ready == 0 or output is None:
                continue
            count = min(ready, self.config.max_inflight, output.free)
            if count > 0:
                count = host.batch(i, count)
                self._batch(i, count)
                return count + done
            host.counters["waits"] += 1
        return done

    def _batch(self, i: int, count: int) -> None:
        """Ask the pod for `count` slots of input i, and commit its answers as one step."""
        host, started = self.host, time.monotonic_ns()
        asked = [
            self._ask(i, slot) for block in host.inputs[i].slots(count) for slot in block
            if slot["type_id"] == NewOrder.type_id
        ]  # fmt: skip
        taken_ns = time.time_ns()
        frames = [wire.pack(wire.SIGN, one.name, one.order) for one in asked if not one.rule]
        host.counters["inflight"] = len(frames)
        answers = iter(self.pod.ask(frames))
        commit.kill_point()
        host.steps.begin()
        for one in asked:
            self._put(one, None if one.rule else next(answers))
        host.steps.commit([count if j == i else 0 for j in range(len(host.inputs))])
        ended = time.time_ns()
        for one in asked:
            host.counters.observe("origin", ended - one.origin_ns)
            host.counters.observe("hop", taken_ns - one.origin_ns)
        host.counters.observe("service", (time.monotonic_ns() - started) // count, count)
        host.counters["inflight"] = 0
        host.counters["events"] += count
        host.counters["ignored"] += count - len(asked)
        host.counters["outputs"] += len(asked)
        host.counters["steps"] += 1

    def _ask(self, i: int, slot: Any) -> Asked:
        """Name the order, and judge it by the proxy's own limits."""
        actor = self.host.input_specs[i].actor_index
        name = wire.Name(actor, int(slot["generation"]), int(slot["sequence"]))
        order = bytes(slot["payload"])[: NewOrder.dtype.itemsize]
        qty = wire.ORDER.unpack(order)[5]
        epoch = (
            self.host.control.epoch
        )  # before the pod is asked: a halt from here on is seen at egress
        rule = "halted" if is_halt(epoch) else ""
        if not rule and int(slot["halt_epoch"]) != epoch & limits.HALT_EPOCH_MASK:
            rule = "stale-halt-epoch"  # made before a halt that has been lifted meanwhile
        if not rule and qty > self.config.max_qty:
            rule = "proxy-max-qty"
        return Asked(name, order, int(slot["origin_ns"]), (actor, name.sequence), rule, epoch)

    def _put(self, one: Asked, answer: wire.Frame | None) -> None:
        """The answer's message, behind those before it."""
        if answer is not None and answer.kind == wire.SIGNED and answer.name == one.name:
            self._put_signed(one, answer.body)
            return
        if answer is not None and answer.kind != wire.REFUSED:
            raise SovereignError("the pod answered something else", got=str(answer))
        rule = one.rule.encode() if answer is None else answer.body
        if rule == NAME_REUSED:
            self._tell_reuse(one.name)
        record = OrderRefused.new(
            order_actor=one.name.actor,
            stage=STAGE_PROXY if answer is None else STAGE_POD,
            order_generation=one.name.generation,
            order_seq=one.name.sequence,
            halt_epoch=self.host.control.epoch,
            rule=rule,
        )
        self.host.steps.put(OrderRefused, record, origin_ns=one.origin_ns, cause=one.cause)
        self.host.counters["refused"] += 1

    def _tell_reuse(self, name: wire.Name) -> None:
        """Say once what the pod holds against a name, and how to go on."""
        if self._reuse_told:
            return
        self._reuse_told = True
        self.host.log.error(
            "the pod signed another order under this name before, or one too old to be remembered",
            order=name._asdict(),
            fix=f"the pod's folder {self._folder} remembers the orders of an archive that was deleted or moved: give the "
            f"archive back ({self.host.archive_dir}: its file `generation` keeps names from beginning anew); or, to begin "
            "anew, stop the node and move that whole folder away: the pod makes a new key, which the venue must be told",
        )

    def _put_signed(self, one: Asked, signature: bytes) -> None:
        instrument, side, time_in_force, flags, px_e9, qty, tag = wire.ORDER.unpack(one.order)
        record = SignedOrder.new(
            order_actor=one.name.actor,
            scheme=self.pod.scheme,
            side=side,
            order_generation=one.name.generation,
            order_seq=one.name.sequence,
            instrument=instrument,
            px_e9=px_e9,
            qty=qty,
            client_tag=tag,
            halt_epoch=one.epoch,
            time_in_force=time_in_force,
            strategy_flags=flags,
            public_key_bytes=len(self.pod.public_key),
            public_key=self.pod.public_key,
            signature=signature,
        )
        self.host.steps.put(SignedOrder, record, origin_ns=one.origin_ns, cause=one.cause)
        self.host.counters["signed"] += 1

    def _mind_halt(self) -> int:
        """Tell the pod of a halt or a resumption; acknowledge it in the counters, then in the ring when it has room."""
        now = self.host.control.epoch
        seen = (now, is_halt(now))
        if seen != self._switched and (seen[1] or self._switched[1]):
            self._tell_pod(*seen)
            self._switched, self._untold = seen, True
        output = self.host.output
        if not self._untold or output is None or output.free < 1:
            return 0
        self._untold = False
        epoch, halted = seen
        self.host.steps.begin()
        record = HaltAck.new(epoch=epoch, seen_ns=time.time_ns(), halted=int(halted))
        self.host.steps.put(HaltAck, record, origin_ns=time.time_ns())
        self.host.steps.commit()
        self.host.counters["outputs"] += 1
        return 1

    def _tell_pod(self, epoch: int, halted: bool) -> None:
        kind = wire.HALT if halted else wire.RESUME
        answer = self.pod.ask([wire.pack(kind, wire.NOBODY, wire.EPOCH.pack(epoch))])[0]
        if answer.kind not in (wire.HALTED, wire.RESUMED):
            raise SovereignError("the pod refused a halt or a resumption", got=str(answer))
        if halted:
            self.host.counters["halt_ack_ns"] = time.monotonic_ns()
            self.host.counters["halt_epoch"] = epoch

    def close(self) -> None:
        """End the pod."""
        self.pod.close()
