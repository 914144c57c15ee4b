"""From a published SBE template file to the table that the CME decoder reads: one row a template id.

Source: FIX Simple Binary Encoding 1.0 (offset, blockLength, dimensionType), CME's templates_FixBinary.xml.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from sovereign.runtime.errors import InputError

(KIND, TIME, INDICATOR, GROUP_HEADER, GROUP_COUNT, GROUP_COUNT_BYTES, PX, PX_SCALE, SIZE, SECURITY, RPT, ORDERS,
 LEVEL, ACTION, TYPE, TYPE_CONSTANT, AGGRESSOR) = range(17)  # fmt: skip
COLUMNS = 17
KIND_BOOK, KIND_TRADE, KIND_STATISTIC, KIND_HEARTBEAT, KIND_RAW = 0, 1, 2, 3, -1

TEMPLATE_FILE_MAX_BYTES = 16 << 20
TEMPLATE_ID_MAX = 4095

_PRIMITIVE_BYTES = {
    "char": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4,
    "int64": 8, "uint64": 8, "float": 4, "double": 8,
}  # fmt: skip
_FIELDS = {
    "MDEntryPx": PX,
    "MDEntrySize": SIZE,
    "SecurityID": SECURITY,
    "RptSeq": RPT,
    "NumberOfOrders": ORDERS,
    "MDPriceLevel": LEVEL,
    "MDUpdateAction": ACTION,
    "MDEntryType": TYPE,
    "AggressorSide": AGGRESSOR,
}


def load_templates(path: str) -> npt.NDArray[np.int64]:
    """The table, shape (largest id + 1, COLUMNS). InputError when the file is no template file."""
    file = Path(path)
    try:
        if file.stat().st_size > TEMPLATE_FILE_MAX_BYTES:
            raise InputError(f"{path} is too large for a template file")
        root = ElementTree.parse(file).getroot()
    except OSError as error:
        raise InputError(
            f"the template file cannot be read: {error.strerror}",
            where=path,
            hint="name CME's templates_FixBinary.xml in decoder.templates",
        ) from error
    except ElementTree.ParseError as error:
        raise InputError(
            "the template file is not well-formed XML", where=f"{path}:{error.position[0]}"
        ) from error
    types = {_name(one): one for one in root.iter() if one.get("name") and _tag(one) != "message"}
    messages = [one for one in root.iter() if _tag(one) == "message"]
    if not messages:
        raise InputError(
            "the template file names no message", where=path, expected="an SBE messageSchema"
        )
    largest = max(int(one.get("id", "0")) for one in messages)
    if largest > TEMPLATE_ID_MAX:
        raise InputError(f"template id {largest} is beyond {TEMPLATE_ID_MAX}", where=path)
    table = np.full((largest + 1, COLUMNS), -1, np.int64)
    for message in messages:
        table[int(message.get("id", "0"))] = _row(message, types)
    return table


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _name(element: Any) -> str:
    return str(element.get("name"))


def _row(message: Any, types: dict[str, Any]) -> npt.NDArray[np.int64]:
    """One template's row."""
    row = np.full(COLUMNS, -1, np.int64)
    row[TYPE_CONSTANT] = 0
    row[PX_SCALE] = 1
    name = _name(message)
    if "Heartbeat" in name:
        row[KIND] = KIND_HEARTBEAT
        return row
    groups = [one for one in message if _tag(one) == "group"]
    if not groups or _name(groups[0]) != "NoMDEntries" or "Incremental" not in name:
        return row
    for field in (one for one in message if _tag(one) == "field"):
        if _name(field) == "TransactTime":
            row[TIME] = int(field.get("offset"))
        elif _name(field) == "MatchEventIndicator":
            row[INDICATOR] = int(field.get("offset"))
    _dimension(row, types[groups[0].get("dimensionType")])
    for field in (one for one in groups[0] if _tag(one) == "field"):
        column = _FIELDS.get(_name(field))
        if column is None:
            continue
        constant = _constant(types.get(field.get("type")))
        if constant is not None:
            row[TYPE_CONSTANT] = constant if column == TYPE else row[TYPE_CONSTANT]
        elif field.get("offset") is not None:
            row[column] = int(field.get("offset"))
        if column == PX:
            row[PX_SCALE] = _scale(types[field.get("type")], name)
    row[KIND] = KIND_TRADE if "Trade" in name else KIND_BOOK if "Book" in name else KIND_STATISTIC
    return row


def _dimension(row: npt.NDArray[np.int64], composite: Any) -> None:
    """Size of the group's header, and where its count stands."""
    at = 0
    for member in composite:
        width = _PRIMITIVE_BYTES[member.get("primitiveType")]
        at = int(member.get("offset", at))
        if _name(member) == "numInGroup":
            row[GROUP_COUNT], row[GROUP_COUNT_BYTES] = at, width
        at += width
    row[GROUP_HEADER] = at


def _constant(kind: Any) -> int | None:
    """The value of a constant char type (some templates fix MDEntryType so)."""
    if kind is None or kind.get("presence") != "constant" or not (kind.text or "").strip():
        return None
    return ord(kind.text.strip()[0])


def _scale(composite: Any, message: str) -> int:
    """What a mantissa is multiplied by to be in 1e-9. InputError when that is no whole number of 64 bits."""
    exponent = _exponent(composite)
    if not -9 <= exponent <= 9:
        raise InputError(
            f"the prices of template {message} cannot be given in 1e-9",
            got=f"exponent {exponent}",
            expected="an exponent from -9 to 9",
        )
    return int(10 ** (9 + exponent))


def _exponent(composite: Any) -> int:
    for member in composite:
        if _name(member) == "exponent":
            return int(member.text)
    return 0
