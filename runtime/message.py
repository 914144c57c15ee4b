"""A message is a class whose annotations are NumPy scalar types; its layout is the C layout.

    class Quote(Message):
        instrument: np.uint32
        bid_px_e9: np.int64
        symbol: Annotated[bytes, 8]

Guarantees: `dtype` is aligned as a C compiler would; `schema_id` depends on names, types and offsets and on
nothing else, so two processes agree exactly when their layouts do. Reading is pointing: nothing is parsed.
"""

from __future__ import annotations

import contextlib
import hashlib
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from sovereign.runtime.errors import SovereignError

__all__ = ["Message", "dtype_of", "layout_of", "plain", "shown"]


def _field_type(owner: type, name: str, hint: Any) -> Any:
    """NumPy format of one annotation."""
    if typing.get_origin(hint) is typing.Annotated:
        base, size = typing.get_args(hint)[:2]
        if base is bytes and isinstance(size, int):
            return (np.uint8, (size,))
        if isinstance(base, type) and issubclass(base, np.generic) and isinstance(size, int):
            return (base, (size,))
    if isinstance(hint, type) and issubclass(hint, np.generic) and hint is not np.generic:
        return hint
    raise SovereignError(
        f"field {name!r} of message {owner.__name__} has no fixed layout",
        where=f"{owner.__module__}.{owner.__qualname__}",
        got=str(hint),
        expected="a NumPy scalar type, or Annotated[bytes, N], or Annotated[np.T, N]",
        exit_code=2,
    )


class Message:
    """Base of all fixed-layout records. Subclass it with annotations; do not instantiate: see `new`."""

    dtype: ClassVar[np.dtype[np.void]]
    schema_id: ClassVar[int]
    type_id: ClassVar[int]
    defaults: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        hints = {
            name: hint
            for name, hint in typing.get_type_hints(cls, include_extras=True).items()
            if name not in Message.__annotations__
        }
        formats = [(name, *_as_tuple(_field_type(cls, name, hint))) for name, hint in hints.items()]
        cls.dtype = np.dtype(formats, align=True)
        cls.defaults = {name: getattr(cls, name) for name in hints if hasattr(cls, name)}
        digest = hashlib.sha256(f"{cls.__name__}\n{cls.layout()}".encode()).digest()
        cls.schema_id = int.from_bytes(digest[:8], "little") & 0x7FFF_FFFF_FFFF_FFFF
        cls.type_id = cls.schema_id & 0xFFFF_FFFF

    @classmethod
    def layout(cls) -> str:
        """One line a field: offset, type, name; then the size."""
        return layout_of(cls._spelled(), cls.dtype.itemsize)

    @classmethod
    def _spelled(cls) -> list[list[Any]]:
        """Name, type and offset of each field."""
        fields: Mapping[str, Any] = cls.dtype.fields or {}
        return [[name, _spell(fields[name][0]), fields[name][1]] for name in cls.dtype.names or ()]

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The layout as plain data, for manifests and error texts."""
        return {
            "name": cls.__name__,
            "schema_id": f"{cls.schema_id:016x}",
            "type_id": cls.type_id,
            "bytes": cls.dtype.itemsize,
            "fields": cls._spelled(),
        }

    @classmethod
    def new(cls, **values: Any) -> np.record:
        """One record in memory of its own, fields readable as attributes; defaults fill what is not given."""
        array = cls.array(1)
        for name, value in {**cls.defaults, **values}.items():
            if name not in (cls.dtype.names or ()):
                raise SovereignError(
                    f"message {cls.__name__} has no field {name!r}",
                    expected=", ".join(cls.dtype.names or ()),
                    exit_code=2,
                )
            if isinstance(value, bytes | bytearray):
                size = array[name].shape[1]
                array[name][0, :] = np.frombuffer(bytes(value[:size]).ljust(size, b"\0"), np.uint8)
            else:
                array[name][0] = value
        record: np.record = array[0]
        return record

    @classmethod
    def array(cls, count: int) -> np.recarray[Any, np.dtype[np.record]]:
        """`count` zeroed records whose fields read as attributes."""
        return np.zeros(count, cls.dtype).view(np.recarray)

    @classmethod
    def view(cls, raw: bytes | bytearray | memoryview) -> np.record:
        """The record that stands in `raw` (no copy)."""
        array = np.frombuffer(raw, cls.dtype, 1).view(np.recarray)
        record: np.record = array[0]
        return record


def layout_of(fields: list[list[Any]], size: int) -> str:
    """The layout as text, from fields as `Message.schema` gives them."""
    lines = [f"{offset:5d}  {spelled:<10} {name}" for name, spelled, offset in fields]
    return "\n".join([*lines, f"{size:5d}  bytes"])


def dtype_of(schema: dict[str, Any]) -> np.dtype[np.void]:
    """The dtype that `Message.schema` describes: records of a class that is not at hand any more."""
    formats: list[Any] = []
    for _, spelled, _ in schema["fields"]:
        base, _, size = spelled.partition("[")
        formats.append((base, (int(size[:-1]),)) if size else base)
    return np.dtype(
        {
            "names": [name for name, _, _ in schema["fields"]],
            "formats": formats,
            "offsets": [offset for _, _, offset in schema["fields"]],
            "itemsize": schema["bytes"],
        }
    )


def _as_tuple(kind: Any) -> tuple[Any, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


def _spell(kind: np.dtype[Any]) -> str:
    """`int64`, `uint8[8]`: a type as it is written in layouts."""
    if kind.subdtype is not None:
        base, shape = kind.subdtype
        return f"{base.name}[{shape[0]}]"
    return kind.name


def plain(value: Any) -> Any:
    """A field as JSON has it: bytes as text where they are text (NUL-padded UTF-8), else as hex; numbers as numbers."""
    if not isinstance(value, np.ndarray):
        return value.item()
    if value.dtype != np.uint8:
        return value.tolist()
    raw = value.tobytes()
    with contextlib.suppress(UnicodeDecodeError):
        text = raw.rstrip(b"\0").decode()
        if text.isprintable():
            return text
    return raw.hex()


def shown(record: Any) -> str:
    """A record for people, `field=value` after `field=value` in the order of its layout. Text in quotes, other bytes hex."""
    pairs = []
    for name in record.dtype.names or ():
        value = plain(record[name])
        if isinstance(value, str) and value != record[name].tobytes().hex():
            value = repr(value)
        pairs.append(f"{name}={value}")
    return " ".join(pairs)
