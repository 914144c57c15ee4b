"""Records of sealed segments as plain data, by the layouts in their manifests alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sovereign.runtime import layout
from sovereign.runtime.message import dtype_of, plain


def records(
    manifests: list[tuple[Path, dict[str, Any]]], first: int, count: int
) -> Iterator[dict[str, Any]]:
    """Up to `count` records from sequence `first` on."""
    for path, said in manifests:
        if said["last_sequence"] < first or count <= 0:
            continue
        types = {schema["type_id"]: (schema["name"], dtype_of(schema)) for schema in said["types"]}
        slots = np.load(path.with_suffix(".npy"), mmap_mode="r")
        start = max(0, first - said["first_sequence"])
        for i in range(start, min(len(slots), start + count)):
            yield _record(slots[i : i + 1], types)
            count -= 1
        first = said["last_sequence"] + 1


def _record(
    slot: np.ndarray[Any, np.dtype[np.void]], types: dict[int, tuple[str, np.dtype[np.void]]]
) -> dict[str, Any]:
    header = {name: int(slot[name][0]) for name in slot.dtype.names or () if name != "payload"}
    name, dtype = types.get(header["type_id"], ("?", None))
    if dtype is None:
        return {**header, "type": name}
    body = layout.payload(np.ascontiguousarray(slot), dtype)
    fields = {field: plain(body[field][0]) for field in dtype.names or ()}
    return {**header, "type": name, **fields}
