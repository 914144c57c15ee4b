"""The file driver's part: read a file (zstd by magic), and cut it into frames, as capture or as plain format."""

from __future__ import annotations

import io
import ipaddress
import mmap
from pathlib import Path

import msgspec
import numpy as np
import zstandard

from sovereign.actors.ingress.decoder import Bytes, Decoder
from sovereign.actors.ingress.drivers.capture import index_capture, is_capture
from sovereign.actors.ingress.frames import Frames
from sovereign.runtime.errors import InputError

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class PcapDriver(
    msgspec.Struct, tag="pcap", tag_field="kind", kw_only=True, forbid_unknown_fields=True
):
    """A file: a capture, or a plain file of the decoder's format.

    `path`: relative to the topology file. `pace`: "full", "recorded", or a factor of the recorded speed.
    `groups`: only packets to these "address:port" ("[address]:port" for IPv6); empty: all.
    """

    path: str
    pace: str | float = "full"
    groups: list[str] = []

    def factor(self) -> float:
        """Recorded seconds a second; 0: as fast as it goes."""
        if self.pace == "full":
            return 0.0
        if self.pace == "recorded":
            return 1.0
        factor = float(self.pace) if isinstance(self.pace, int | float) else -1.0
        if factor <= 0:
            raise InputError(
                "driver.pace is not usable",
                got=repr(self.pace),
                expected="full, recorded, or a factor above 0",
            )
        return factor


def parse_group(text: str) -> tuple[int, int]:
    """`address:port` as two integers. InputError when it is not."""
    address, _, port = text.rpartition(":")
    try:
        return int(ipaddress.IPv4Address(address)), int(port)
    except ValueError as error:
        raise InputError(
            f"{text!r} is no IPv4 address and port", expected="224.0.31.64:14340"
        ) from error


def _wanted(text: str, frames: Frames) -> tuple[int, int]:
    """A group as `frames.address` and `port` have it; an IPv6 group that the file does not hold fits no frame."""
    if not text.startswith("["):
        return parse_group(text)
    address, _, port = text[1:].rpartition("]:")
    try:
        six, number = ipaddress.IPv6Address(address), int(port)
    except ValueError as error:
        raise InputError(
            f"{text!r} is no IPv6 address and port", expected="[ff3e::8000:1]:14340"
        ) from error
    return (-1 - frames.six.index(six) if six in frames.six else -1 - len(frames.six)), number


def read_content(path: str) -> Bytes:
    """The file's bytes, decompressed when they are zstd's. InputError when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            if Path(path).stat().st_size == 0:
                return np.zeros(0, np.uint8)
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=path) from error
    if mapped[:4] != _ZSTD_MAGIC:
        return np.frombuffer(mapped, np.uint8)
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(
            io.BytesIO(mapped), read_across_frames=True
        )
        return np.frombuffer(reader.read(), np.uint8)
    except zstandard.ZstdError as error:
        raise InputError(f"the file does not decompress: {error}", where=path) from error


def load_frames(driver: PcapDriver, decoder: Decoder) -> Frames:
    """All frames of the file. InputError says what it is not."""
    content = read_content(driver.path)
    if is_capture(content):
        frames = index_capture(content, driver.path)
        if driver.groups:
            frames = frames.only({_wanted(group, frames) for group in driver.groups})
        return frames
    plain = decoder.frames(content, driver.path) if len(content) else None
    return plain if plain is not None else index_capture(content, driver.path)
