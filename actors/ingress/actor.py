"""Ingress: packets from a driver, through a decoder, as messages into the ring.

Guarantees: one decoder serves every driver, with the same bytes; a file goes on after kill -9 at the frame that was not
published; each channel's numbers are followed by themselves; what is not decoded is counted by reason, and gaps and
new sessions are messages too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numba
import numpy as np

from sovereign.actors.ingress import claim, listen, loop
from sovereign.actors.ingress.decoder import Decoder
from sovereign.actors.ingress.drivers.file import PcapDriver, begins_as_capture, load_frames
from sovereign.actors.ingress.drivers.udp import UdpDriver, UdpSocket
from sovereign.actors.ingress.frames import Frames
from sovereign.actors.ingress.plugins import decoder_class, make_decoder, wrong_decoder
from sovereign.runtime import kernels, limits
from sovereign.runtime.actor import Actor, Types
from sovereign.runtime.address import parse_address, parse_group, parse_host
from sovereign.runtime.errors import InputError, SovereignError
from sovereign.runtime.message import Message


class IngressConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`driver`: where packets come from, by `kind` ("pcap" or "udp"). `decoder`: its `kind`, and its own keys.

    `on_full`: when a gate holds the ring back, "wait", or "drop" the packet at hand and count it (`full_drops`); what was
    dropped shows as a gap by sequence.
    """

    driver: PcapDriver | UdpDriver
    decoder: dict[str, Any]
    on_full: Literal["wait", "drop"] = "wait"


def _told(key: str, parse: Callable[[str], object], text: str) -> list[str]:
    """What `parse` has against `text`, as a sentence that begins with the key."""
    try:
        parse(text)
    except InputError as error:
        return [f"{key}: {error}"]
    return []


def _wrong(driver: UdpDriver) -> list[str]:
    """Addresses that are none."""
    return [
        *_told("driver.listen", parse_address, driver.listen),
        *_told("driver.interface", parse_host, driver.interface),
    ]


def _wrong_file(driver: PcapDriver) -> list[str]:
    """A file that is not there or is empty, groups that are none, or groups where the format has none."""
    wrong = []
    for index, group in enumerate(driver.groups):
        wrong += _told(f"driver.groups[{index}]", parse_group, group)
    if not Path(driver.path).is_file():
        return [*wrong, f"driver.path: there is no file {driver.path}"]
    try:
        if not begins_as_capture(driver.path) and driver.groups:
            what = "the file is no capture, and only the packets of a capture have groups"
            return [f"driver.groups: {what}\n  fix: leave groups out"]
    except InputError as error:
        wrong.append(f"driver.path: {error}")
    return wrong


class Position(Message):
    """The next frame, and the decoder's words (`claim.D_*`: gaps, duplicates, …; then the channels, `channel.py`)."""

    frame: np.int64
    decoder: Annotated[np.int64, claim.STATE_WORDS]


class Ingress(Actor):
    """Kind `ingress`."""

    Config = IngressConfig
    State = Position
    needs_inputs = (0, 0)
    compiled = True
    is_source = True

    @classmethod
    def gives(cls, config: IngressConfig, upstream: tuple[Types, ...]) -> Types:
        """What the decoder gives."""
        return decoder_class(config.decoder).gives

    @classmethod
    def max_step_outputs(cls, config: IngressConfig) -> int:
        """Most messages of one packet."""
        return decoder_class(config.decoder).most_per_packet

    @classmethod
    def check(cls, config: IngressConfig) -> list[str]:
        """Whether the decoder can be made, the file is there and has groups to choose from, and addresses are such."""
        driver = config.driver
        wrong = wrong_decoder(config.decoder)
        return wrong + (_wrong_file(driver) if isinstance(driver, PcapDriver) else _wrong(driver))

    @classmethod
    def compiles(cls, config: IngressConfig) -> list[str]:
        """The decoder's kernel."""
        try:
            claim.compiled_address(make_decoder(config.decoder).kernel)
        except numba.core.errors.NumbaError as error:
            said = str(error).strip()
            return [f"decoder.kind: the decoder's kernel does not compile\n  got: {said}"]
        return []

    def setup(self) -> None:
        """Load the frames or open the socket; compile the decoder and the loop."""
        self.decoder: Decoder = make_decoder(self.config.decoder)
        address, self._keep = claim.compiled_address(self.decoder.kernel)
        self._result = np.zeros(1, np.int64)
        self._saved = np.zeros(claim.HEAD_WORDS, np.int64)
        self._undo = np.zeros(claim.CHANNEL_WORDS, np.int64)
        output = self.host.output
        assert output is not None
        self._claim = np.zeros(claim.CLAIM_WORDS, np.int64)
        self._claim[claim.K_SLOTS] = output.words[kernels.W_SLOTS]
        self._claim[claim.K_MASK] = output.words[kernels.W_MASK]
        self._claim[claim.K_STRIDE] = output.words[kernels.W_STRIDE]
        self._claim[claim.K_UNDO_AT] = self._undo.ctypes.data
        self._taken = np.zeros(1, np.int64)
        self._g = np.zeros(loop.G_WORDS, np.int64)
        counters = self.host.counters
        for place, value in (
            (loop.G_DECODE, address),
            (loop.G_RESULT_AT, self._result.ctypes.data),
            (loop.G_CLAIM_AT, self._claim.ctypes.data),
            (loop.G_SAVED_AT, self._saved.ctypes.data),
            (loop.G_BATCH, 64),
            (loop.G_MOST, self.decoder.most_per_packet),
            (loop.G_PACKETS_AT, counters.at("packets")),
            (loop.G_BYTES_AT, counters.at("bytes")),
            (loop.G_DONE_AT, counters.at("done")),
            (loop.G_DROP_AT, counters.at("full_drops") if self.config.on_full == "drop" else 0),
        ):
            self._g[place] = value
        for i, name in enumerate(loop.TOLD):
            self._g[loop.G_COUNTS_AT + i] = counters.at(name)
        counters["done"] = 0
        driver = self.config.driver
        if isinstance(driver, PcapDriver):
            self._open_file(driver)
        else:
            self._open_socket(driver)
        self._channels = self._frames.channels()
        self._g[loop.G_TABLES_AT] = self.decoder.tables.ctypes.data
        self._warm()

    def _open_file(self, driver: PcapDriver) -> None:
        self._socket: UdpSocket | None = None
        self._frames = load_frames(driver, self.decoder)
        if self._frames.cut_at >= 0:
            self.host.log.warning(
                f"the file is cut at byte {self._frames.cut_at}: what stands whole before it is delivered",
                file=driver.path,
                byte=self._frames.cut_at,
                frames=len(self._frames),
            )
        self._tell_what_is_left_out(driver)
        self._g[loop.G_FRAMES] = len(self._frames)
        self._g[loop.G_PACE_E6] = round(driver.factor() * 1_000_000)

    def _tell_what_is_left_out(self, driver: PcapDriver) -> None:
        """Log, and count, the file's packets that will not be decoded; and its channels."""
        skipped = self._frames.skipped
        self.host.counters["skipped"] = sum(skipped.values())
        if skipped:
            self.host.log.warning(
                "packets of the file are not decoded", file=driver.path, **skipped
            )
        channels = self._frames.destinations()
        self.host.log.info("the file's channels", channels=channels[: limits.INGRESS_MAX_CHANNELS])
        if len(channels) > limits.INGRESS_MAX_CHANNELS:
            self.host.log.warning(
                "the file has more channels than one ingress follows: the last ones are dropped, and counted"
                " (channel_drops)",
                channels=len(channels),
                most=limits.INGRESS_MAX_CHANNELS,
                fix="name those that you want in driver.groups",
            )

    def _open_socket(self, driver: UdpDriver) -> None:
        self._socket = UdpSocket(driver)
        if self._socket.buffer_short_bytes:
            self.host.log.warning(
                "the socket's buffer is smaller than asked for: bursts may be dropped (and counted)",
                missing_bytes=self._socket.buffer_short_bytes,
                fix=f"sysctl -w net.core.rmem_max={driver.receive_buffer_bytes}",
            )
        zeros = np.zeros(len(self._socket.offset), np.int64)
        self._frames = Frames(
            self._socket.buffer.reshape(-1),
            self._socket.offset,
            zeros,
            zeros.copy(),
            zeros + self._socket.address,
            zeros + self._socket.port,
        )
        self._links = self._socket.links(self.host.counters.at("drops"))

    def _arguments(self) -> tuple[Any, ...]:
        store, frames = self.host.store, self._frames
        return (
            self.host.loop.words,
            store.words,
            store.out_words,
            store.readers,
            self._taken,
            self._g,
            frames.content.ctypes.data,
            frames.offset,
            frames.length,
            frames.time_ns,
            self._channels,
        )

    def _warm(self) -> None:
        """Enter the loop once with the stop word set, so that it is compiled before the actor is ready."""
        self.host.loop.stop[0] = 2
        self._enter()
        self.host.loop.stop[0] = 0

    def _enter(self) -> int:
        """The compiled loop, until it ends: 0 when it was stopped."""
        if self._socket is not None:
            return int(listen.run(*(*self._arguments(), self._links)))
        return int(loop.run(*self._arguments()))

    def run(self) -> None:
        """The compiled loop, over a file or a socket."""
        if self._socket is None:
            state = self.host.store.committed()
            frame = int(state["frame"]) if state is not None else 0
            if frame < len(self._frames):
                self._g[loop.G_FIRST_NS] = self._frames.time_ns[frame]
            self._g[loop.G_STARTED_NS] = time.monotonic_ns()
        if self._enter() != 0:
            raise self._too_many()

    def _too_many(self) -> SovereignError:
        """What is wrong with the packet that the loop gave up at."""
        number = int(self._g[loop.G_BAD_FRAME]) + 1
        driver, most = self.config.driver, self.decoder.most_per_packet
        if isinstance(driver, PcapDriver):
            where = f"{driver.path}, packet {number}"
        else:
            where = f"{driver.listen}, datagram {number}"
        output = self.host.output
        assert output is not None
        slots = int(output.words[kernels.W_CAPACITY])
        if slots < most:
            return SovereignError(
                "a packet gives more messages than the ring holds",
                where=where,
                expected=f"at most {slots} messages",
                hint=f"raise actors.{self.host.name}.ring.capacity",
            )
        return SovereignError(
            "a packet gives more messages than its decoder declares",
            where=where,
            expected=f"at most {most} messages a packet",
            hint=f"if the packet is sound, raise most_per_packet of {type(self.decoder).__name__}",
        )
