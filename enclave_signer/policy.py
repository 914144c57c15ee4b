"""What the pod signs: one document, fail-closed. What it does not allow by name is refused, and the rule is named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from enclave_signer.wire import ORDER, ORDER_BYTES

_KEYS = {"max_qty", "max_notional", "instruments"}


class PolicyError(Exception):
    """A policy document that cannot be used; the text says why."""


@dataclass(frozen=True)
class Policy:
    """`max_qty` a order; `max_notional` a order, in whole units of the currency; `instruments`: None allows all."""

    max_qty: int
    max_notional: int
    instruments: frozenset[int] | None

    def judge(self, order: bytes) -> str:
        """The rule that refuses `order`; "" when none does."""
        if len(order) != ORDER_BYTES:
            return "order-layout"
        instrument, side, time_in_force, _, px_e9, qty, _ = ORDER.unpack(order)
        if side not in (1, 2) or time_in_force > 2:
            return "order-fields"
        if qty <= 0:
            return "qty-not-positive"
        if qty > self.max_qty:
            return "max-qty"
        if abs(px_e9) * qty > self.max_notional * 1_000_000_000:
            return "max-notional"
        if self.instruments is not None and instrument not in self.instruments:
            return "instrument-not-allowed"
        return ""


def load_policy(path: Path) -> Policy:
    """The policy in a JSON file. PolicyError for an unknown, missing or mistyped key."""
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PolicyError(f"{path}: {error}") from error
    if not isinstance(said, dict) or set(said) != _KEYS:
        raise PolicyError(f"{path}: the keys must be {', '.join(sorted(_KEYS))}")
    allowed = said["instruments"]
    numbers = [said["max_qty"], said["max_notional"], *(allowed or [])]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise PolicyError(f"{path}: limits and instruments are whole numbers from 0")
    return Policy(
        said["max_qty"], said["max_notional"], None if allowed is None else frozenset(allowed)
    )
