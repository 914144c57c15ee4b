"""What of a topology's `params` does not fit a strategy's `Params`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sovereign.runtime.errors import PluginError
from sovereign.runtime.message import Message
from sovereign.topology.mistake import nearest


def unfit(
    owner: str, kind: type[Message], given: dict[str, Any]
) -> Iterator[tuple[str, PluginError]]:
    """(parameter, why not) for each that is unknown, missing, or whose value its field cannot hold. `owner`: whose they are."""
    known = kind.dtype.names or ()
    fields: Mapping[str, Any] = kind.dtype.fields or {}
    for name, value in given.items():
        if name not in known:
            close = nearest(name, known)
            yield (
                name,
                PluginError(
                    f'{owner} has no parameter "{name}"',
                    expected=", ".join(known),
                    hint=f'did you mean "{close}"?' if close else "",
                ),
            )
        elif expected := _cannot_hold(fields[name][0], value):
            yield (
                name,
                PluginError(
                    f"the parameter does not fit {owner}.Params",
                    got=_spell(value),
                    expected=expected,
                ),
            )
    for name in known:
        if name not in given and name not in kind.defaults:
            what = f'{owner} needs the parameter "{name}"'
            yield name, PluginError(what, hint=f"params = {{ {name} = … }}")


def _cannot_hold(kind: np.dtype[Any], value: Any) -> str:
    """What a field takes instead; "" when it can hold `value` unchanged (a float: but for its last digits)."""
    if kind.kind == "b":
        return "" if isinstance(value, bool) else "true or false"
    if kind.kind in "iu":
        info = np.iinfo(kind)
        if isinstance(value, int) and not isinstance(value, bool) and info.min <= value <= info.max:
            return ""
        return f"an integer from {info.min:_} to {info.max:_} ({kind.name})"
    if kind.kind == "f":
        if isinstance(value, int | float) and not isinstance(value, bool):
            most = float(np.finfo(kind).max)
            if isinstance(value, float) and not math.isfinite(value):
                return ""
            if abs(value) <= most:
                return ""
        return f"a number that {kind.name} holds"
    return f"nothing: a field of type {kind} takes no parameter"


def _spell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
