"""The kill switch: one word in shared memory, acknowledged, measured, persisted.

A halt is written to disk *after* the word is set (the word must not wait for a disk) and before the operator is told,
so whoever was told finds the node halted after any crash. A node that was halted starts halted.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sovereign.runtime import counters as counting
from sovereign.runtime.control import Control, is_halt
from sovereign.runtime.errors import SovereignError
from sovereign.runtime.estate import write_durably
from sovereign.runtime.host import load_entry
from sovereign.runtime.spec import NodeSpec

HALT_FILE = "halt.json"
ACKNOWLEDGING_KINDS = frozenset({"signer", "egress"})
ACK_WAIT_NS = 1_000_000_000
# An actor looks at the word before it acts for the first time.
_NOT_ACTING = (counting.STARTING, counting.STOPPED, counting.FAILED)


class HaltRecord(msgspec.Struct, kw_only=True):
    """The last word on halting: `halted` now or not, the epoch (odd: halted), by whom, why, when (CLOCK_REALTIME ns)."""

    halted: bool
    epoch: int
    by: str = ""
    reason: str = ""
    at_ns: int = 0


class HaltResult(msgspec.Struct, kw_only=True):
    """`acknowledged`: actor → ns from the word to its acknowledgement; `missing`: actors that did not within a second.

    `already`: actors whose process was not there, so that nothing could leave them.
    """

    epoch: int
    acknowledged: dict[str, int]
    missing: list[str]
    already: list[str]


def _files(spec: NodeSpec) -> tuple[Path, Path]:
    """The run directory may lie in memory: the copy beside the archive survives a power failure."""
    return spec.run_dir / HALT_FILE, spec.archive_dir / HALT_FILE


def persist(spec: NodeSpec, record: HaltRecord) -> list[str]:
    """Write the record to both places; what kept one from being written, a sentence each. Never raises: the word stands."""
    data = msgspec.json.encode(record)
    failed = []
    for path in _files(spec):
        try:
            write_durably(path, data)
        except OSError as error:
            failed.append(f"{path}: {error.strerror or error}")
    return failed


def restored(spec: NodeSpec) -> HaltRecord:
    """What was persisted last. Doubt does not trade: a file that cannot be read is a halt, later than all that can be."""
    found, doubts = [], []
    for path in _files(spec):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=HaltRecord))
        except FileNotFoundError:
            continue
        except (OSError, msgspec.DecodeError) as error:
            doubts.append(f"{path} cannot be read: {error}")
    last = max(found, key=lambda one: one.epoch, default=HaltRecord(halted=False, epoch=0))
    if last.halted != is_halt(last.epoch):
        last.epoch += 1
    if doubts:
        epoch = last.epoch + (0 if last.halted else 1)
        return HaltRecord(halted=True, epoch=epoch, by="nobody", reason="; ".join(doubts))
    return last


def told(record: HaltRecord) -> str:
    """For whoever starts a halted node: who halted it, when and why, and how to lift it."""
    when = datetime.fromtimestamp(record.at_ns / 1e9, UTC).isoformat(timespec="seconds")
    who = f"by {record.by}" if record.by else "by someone"
    at = f" at {when}" if record.at_ns else ""
    return (
        f"the node was halted {who}{at} and starts halted: {record.reason or 'no reason is known'}\n"
        "  fix: `sovereign resume --by WHO` lifts it, or begin with `sovereign up FILE --resume-by WHO`"
    )


def acknowledging(spec: NodeSpec) -> list[int]:
    """Actors that must say that nothing of theirs is half done: signer, egress, and kinds that declare it."""
    found = []
    for actor in spec.actors:
        declared = getattr(load_entry(actor.entry), "acknowledges_halt", False)
        if declared or actor.kind in ACKNOWLEDGING_KINDS:
            found.append(actor.index)
    return found


def halt(control: Control, spec: NodeSpec, waited_for: list[int], alive: set[int]) -> HaltResult:
    """Set the word, then wait until each of `waited_for` acknowledged, for one second at most. `alive`: have a process."""
    set_ns = time.monotonic_ns()
    epoch = control.halt()
    acknowledged: dict[str, int] = {}
    already: list[str] = []
    missing = {index: spec.actors[index].name for index in waited_for}
    while missing and time.monotonic_ns() - set_ns < ACK_WAIT_NS:
        for index in list(missing):
            block = control.counters(index)
            if block["halt_epoch"] >= epoch:
                acknowledged[missing.pop(index)] = max(0, block["halt_ack_ns"] - set_ns)
            elif index not in alive or block["phase"] in _NOT_ACTING:
                already.append(missing.pop(index))
        time.sleep(0.000_05)
    return HaltResult(
        epoch=epoch,
        acknowledged=acknowledged,
        missing=sorted(missing.values()),
        already=sorted(already),
    )


def refuse_if_not_halted(control: Control) -> None:
    """Resuming what trades is a mistake worth telling."""
    if not control.halted:
        raise SovereignError(
            "the node is not halted", hint="`sovereign ps` shows its state", exit_code=2
        )
