"""The pod as a process behind a socket pair: started by the proxy, gone with it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

from enclave_signer import wire
from sovereign.runtime.errors import ResourceError, SovereignError

ANSWER_TIMEOUT_S = 5.0


class ProcessPod:
    """A connected pod. `ask` pipelines frames and gives their answers, in order."""

    def __init__(self, folder: Path, policy: Path, scheme: str, halt: tuple[Path, int]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        page = os.open(halt[0], os.O_RDONLY)
        command = [
            sys.executable, "-P", "-m", "enclave_signer",
            "--fd", str(theirs.fileno()), "--folder", str(folder), "--policy", str(policy),
            "--scheme", scheme, "--halt-fd", str(page), "--halt-at", str(halt[1]),
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command,
            pass_fds=(theirs.fileno(), page),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        theirs.close()
        os.close(page)
        self._socket = ours
        self._poll = select.poll()
        self._poll.register(ours, select.POLLIN)
        self._hello()

    def _hello(self) -> None:
        """Who it is: scheme, public key, halt epoch, and the walls that stand."""
        frame = self.ask([wire.pack(wire.HELLO, wire.NOBODY)])[0]
        size = wire.HELLO_BODY.size
        if frame.kind != wire.HELLO_REPLY or len(frame.body) < size:
            raise SovereignError("the pod does not answer as a pod", got=str(frame))
        self.scheme, length, _, _, self.epoch, public = wire.HELLO_BODY.unpack(frame.body[:size])
        self.public_key = public[:length]
        self.walls = frame.body[size:].decode("ascii", "replace").split()

    def ask(self, frames: list[bytes]) -> list[wire.Frame]:
        """Send all, then take as many answers. ResourceError when the pod is gone or silent."""
        try:
            for frame in frames:
                self._socket.send(frame)
            return [wire.unpack(self._receive()) for _ in frames]
        except (OSError, wire.WireError) as error:
            raise ResourceError(f"the pod is gone: {error}", got=self._last_words()) from error

    def _receive(self) -> bytes:
        if not self._poll.poll(ANSWER_TIMEOUT_S * 1000):
            raise ResourceError(
                "the pod is silent", expected=f"an answer within {ANSWER_TIMEOUT_S} s"
            )
        data = self._socket.recv(wire.FRAME_MAX_BYTES)
        if not data:
            raise OSError("it closed the connection")
        return data

    def _last_words(self) -> str:
        if self.process.poll() is None or self.process.stderr is None:
            return "it still runs"
        return self.process.stderr.read().decode(errors="replace").strip() or (
            f"exit code {self.process.returncode}"
        )

    def close(self) -> None:
        """Close the connection: the pod ends by itself."""
        self._socket.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()
