"""Set a poison event aside: its slot, byte for byte, as a `.npy` of one record beside the archive.

`<archive>/quarantine/<actor>/<ring>-g<generation>-<sequence>.npy`, mode 0440. Writing it twice gives the same file.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from sovereign.runtime.poison import InHand
from sovereign.runtime.ring import Ring
from sovereign.runtime.spec import NodeSpec

QUARANTINE = "quarantine"


def set_aside_of(spec: NodeSpec, actor: str, ring: Ring) -> list[int]:
    """Sequences of `ring` that were set aside for `actor`, of the ring's generation."""
    folder = spec.archive_dir / QUARANTINE / actor
    named = f"{ring.name}-g{ring.generation:010d}-"
    return sorted(int(one.stem.removeprefix(named)) for one in folder.glob(f"{named}*.npy"))


def set_aside(spec: NodeSpec, actor: str, ring: Ring, event: InHand) -> Path:
    """Write the slot of `event` of `ring`; where. OSError when the disk refuses."""
    folder = spec.archive_dir / QUARANTINE / actor
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    path = folder / f"{ring.name}-g{ring.generation:010d}-{event.sequence:020d}.npy"
    slot = ring.slots()[(event.sequence - 1) & (ring.capacity - 1)].reshape(1).copy()
    draft = path.with_suffix(".draft")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as file:
        np.save(file, slot)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o440)
    draft.replace(path)
    return path
