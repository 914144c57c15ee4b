"""The file driver's part: read a file (zstd by magic), and cut it into frames, as capture or as plain format."""

from __future__ import annotations

import mmap
import os
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
import zstandard

from sovereign.actors.ingress.decoder import Bytes, Decoder
from sovereign.actors.ingress.drivers.capture import index_capture, is_capture
from sovereign.actors.ingress.frames import Frames
from sovereign.runtime.address import parse_group
from sovereign.runtime.errors import InputError

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_NOTHING = "the file holds no packet for this ingress"


class PcapDriver(
    msgspec.Struct, tag="pcap", tag_field="kind", kw_only=True, forbid_unknown_fields=True
):
    """A file: a capture, or a plain file of the decoder's format.

    `path`: relative to the topology file. `pace`: "full", "recorded", or a factor of the recorded speed.
    `groups`: of a capture, only packets to these "address:port" ("[address]:port" for IPv6), in numbers; empty: all.
    """

    path: str
    pace: Literal["full", "recorded"] | Annotated[float, msgspec.Meta(gt=0)] = "full"
    groups: list[str] = []

    def factor(self) -> float:
        """Recorded seconds a second; 0: as fast as it goes."""
        if self.pace == "full":
            return 0.0
        if self.pace == "recorded":
            return 1.0
        return self.pace


class Content(NamedTuple):
    """A file's bytes, decompressed. `cut`: the compressed file ends before its end mark; the bytes are those before it."""

    bytes: Bytes
    cut: bool = False


def _wanted(text: str, frames: Frames) -> tuple[int, int]:
    """A group as `frames.address` and `port` have it; an IPv6 group that the file does not hold fits no frame."""
    address, port = parse_group(text)
    if isinstance(address, IPv4Address):
        return int(address), port
    known = frames.six
    return (-1 - known.index(address) if address in known else -1 - len(known)), port


def read_content(path: str) -> Content:
    """What the file holds, decompressed when it is zstd's. InputError when it cannot be read, or is empty."""
    try:
        with Path(path).open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise InputError("the file is empty", where=path)
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=path) from error
    if mapped[:4] != _ZSTD_MAGIC:
        return Content(np.frombuffer(mapped, np.uint8))
    try:
        return _decompressed(memoryview(mapped))
    except zstandard.ZstdError as error:
        raise InputError(f"the file does not decompress: {error}", where=path) from error


def _decompressed(packed: memoryview) -> Content:
    """All frames of a zstd file."""
    parts: list[bytes] = []
    rest: bytes | memoryview = packed
    while len(rest):
        frame = zstandard.ZstdDecompressor().decompressobj()
        parts.append(frame.decompress(rest))
        if not frame.eof:
            return Content(np.frombuffer(b"".join(parts), np.uint8), cut=True)
        rest = frame.unused_data
    return Content(np.frombuffer(b"".join(parts), np.uint8))


def begins_as_capture(path: str) -> bool:
    """Whether the first bytes of the file, decompressed, are a capture's; little of it is read. InputError as above."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(len(_ZSTD_MAGIC))
            if not head:
                raise InputError("the file is empty", where=path)
            if head == _ZSTD_MAGIC:
                file.seek(0)
                head = zstandard.ZstdDecompressor().stream_reader(file).read(len(_ZSTD_MAGIC))
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=path) from error
    except zstandard.ZstdError as error:
        raise InputError(f"the file does not decompress: {error}", where=path) from error
    if not head:
        raise InputError(_NOTHING, where=path, got="no byte of it decompresses")
    return is_capture(np.frombuffer(head, np.uint8))


def load_frames(driver: PcapDriver, decoder: Decoder) -> Frames:
    """All frames of the file. InputError says what it is not, or that it holds none."""
    content, cut = read_content(driver.path)
    if len(content) == 0:  # only what is compressed gets here
        got = (
            "it is cut short before its first byte"
            if cut
            else "it is compressed, and holds nothing"
        )
        raise InputError(_NOTHING, where=driver.path, got=got)
    if is_capture(content):
        frames = index_capture(content, driver.path)
        if driver.groups:
            frames = frames.only({_wanted(group, frames) for group in driver.groups})
    else:
        plain = decoder.frames(content, driver.path)
        frames = plain if plain is not None else index_capture(content, driver.path)
    if cut and frames.cut_at < 0:
        frames.cut_at = len(content)
    if len(frames) == 0:
        raise _nothing(driver, frames)
    return frames


def _nothing(driver: PcapDriver, frames: Frames) -> InputError:
    """Why there is no frame."""
    if frames.cut_at >= 0:
        got, hint = f"it is cut short at byte {frames.cut_at}", "fetch it again"
    elif driver.groups:
        got = f"groups = {driver.groups}"
        hint = "leave driver.groups out to take all"
    else:
        got, hint = "no packet that carries UDP, or no record", ""
    return InputError(_NOTHING, where=driver.path, got=got, hint=hint)
