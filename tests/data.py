"""Where the recorded data lies: $SOVEREIGN_DATA, else shared/data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("SOVEREIGN_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (ROOT / "market").is_dir(), reason=f"the recorded market data is not in {ROOT}"
)


def market(path: str) -> Path:
    """A file of the recorded market data."""
    return ROOT / "market" / path
