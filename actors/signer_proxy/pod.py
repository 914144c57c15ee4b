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
START_TIMEOUT_S = 30.0
LAST_WORDS_S = 1.0


class ProcessPod:
    """A connected pod. `ask` pipelines frames and gives their answers, in order."""

    def __init__(
        self,
        folder: Path,
        policy: Path,
        scheme: str,
        halt: tuple[Path, int],
        user: tuple[int, int] | None = None,
    ) -> None:
        """`halt`: the node's page and the place of its word there. `user`: uid and gid that the pod becomes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        page = os.open(halt[0], os.O_RDONLY)
        command = [
            sys.executable, "-P", "-m", "enclave_signer",
            "--fd", str(theirs.fileno()), "--folder", str(folder), "--policy", str(policy),
            "--scheme", scheme, "--halt-fd", str(page), "--halt-at", str(halt[1]),
        ]  # fmt: skip
        if user is not None:
            command += ["--user", f"{user[0]}:{user[1]}"]
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
        ours.setblocking(False)
        self._poll = select.poll()
        self._poll.register(ours, select.POLLIN)
        self._hello()

    def _hello(self) -> None:
        """Who it is: scheme, public key, halt epoch, and the walls that stand."""
        frame = self.ask([wire.pack(wire.HELLO, wire.NOBODY)], START_TIMEOUT_S)[0]
        size = wire.HELLO_BODY.size
        if frame.kind != wire.HELLO_REPLY or len(frame.body) < size:
            raise SovereignError("the pod does not answer as a pod", got=str(frame))
        self.scheme, length, _, _, self.epoch, public = wire.HELLO_BODY.unpack(frame.body[:size])
        self.public_key = public[:length]
        self.walls = frame.body[size:].decode("ascii", "replace").split()

    def ask(self, frames: list[bytes], timeout_s: float = ANSWER_TIMEOUT_S) -> list[wire.Frame]:
        """Send all, and take as many answers, in order. ResourceError when the pod is gone, or silent for `timeout_s`.

        Both directions at once: a pod whose answers nobody takes stops taking requests.
        """
        answers: list[wire.Frame] = []
        sent = 0
        try:
            while len(answers) < len(frames):
                sent += self._send(frames[sent:])
                self._wait(writing=sent < len(frames), timeout_s=timeout_s)
                answers += self._receive(len(frames) - len(answers))
        except (OSError, wire.WireError) as error:
            raise ResourceError(f"the pod is gone: {error}", got=self._last_words()) from error
        return answers

    def _send(self, frames: list[bytes]) -> int:
        """As many as the kernel takes now."""
        for count, frame in enumerate(frames):
            try:
                self._socket.send(frame, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return count
        return len(frames)

    def _wait(self, *, writing: bool, timeout_s: float) -> None:
        """Until there is an answer, or room for a request."""
        self._poll.modify(self._socket, select.POLLIN | (select.POLLOUT if writing else 0))
        if not self._poll.poll(timeout_s * 1000):
            raise ResourceError("the pod is silent", expected=f"an answer within {timeout_s} s")

    def _receive(self, most: int) -> list[wire.Frame]:
        """The answers that are there."""
        found: list[wire.Frame] = []
        while len(found) < most:
            try:
                data = self._socket.recv(wire.FRAME_MAX_BYTES)
            except BlockingIOError:
                break
            if not data:
                raise OSError("it closed the connection")
            found.append(wire.unpack(data))
        return found

    def _last_words(self) -> str:
        """What the pod said on stderr when it ended."""
        try:
            code = self.process.wait(LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            return "it still runs"
        said = self.process.stderr.read().decode(errors="replace") if self.process.stderr else ""
        return said.strip() or f"exit code {code}"

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
