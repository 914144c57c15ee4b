"""The control socket: one AF_UNIX stream socket in the run directory; a JSON line asked, a JSON line answered.

Peers prove who they are through the kernel (SO_PEERCRED): the node's own user and root may ask, nobody else. A peer that
is slow, silent or too talkative cannot hold the supervisor up: sockets never block, and a line is bounded.

    asked      {"op": "ps" | "stop" | "start" | "restart" | "down" | "halt" | "resume", "actor": …, "by": …, "reason": …}
    answered   {"ok": true, "value": …} or {"ok": false, "error": {"what", "where", "got", "expected", "hint", "exit_code"}}
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from sovereign.runtime.errors import SovereignError
from sovereign.runtime.rundir import SOCKET_NAME, holder

LINE_MAX_BYTES = 64 * 1024
ANSWER_MAX_BYTES = 1024 * 1024
CLIENTS_MAX = 64
_CREDENTIALS = struct.Struct("3i")


class Peer(msgspec.Struct, frozen=True):
    """Who asks, as the kernel says."""

    pid: int
    uid: int


class Request(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One question. `by` and `reason` belong to halt and resume, `now` to down."""

    op: str
    actor: str = ""
    by: str = ""
    reason: str = ""
    now: bool = False


class Failure(msgspec.Struct, kw_only=True):
    """A SovereignError on the wire."""

    what: str
    where: str = ""
    got: str = ""
    expected: str = ""
    hint: str = ""
    exit_code: int = 5


class Answer(msgspec.Struct, kw_only=True):
    """One answer."""

    ok: bool
    value: Any = None
    error: Failure | None = None


def answer_for(error: SovereignError) -> Answer:
    """The error as the client will raise it again."""
    failure = Failure(
        what=error.what,
        where=error.where,
        got=error.got,
        expected=error.expected,
        hint=error.hint,
        exit_code=error.exit_code,
    )
    return Answer(ok=False, error=failure)


class _At:
    """A socket path of any length: AF_UNIX takes 107 bytes, so the folder is named by its descriptor."""

    def __init__(self, run_dir: Path) -> None:
        self._fd = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}/{SOCKET_NAME}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def peer_of(connection: socket.socket) -> Peer:
    """The peer's credentials at the time it connected."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid)


class ControlServer:
    """Listens in `run_dir`. `handle(request, peer)` answers; what it raises as SovereignError goes to the peer."""

    def __init__(self, run_dir: Path, handle: Callable[[Request, Peer], Any]) -> None:
        self._path = run_dir / SOCKET_NAME
        self._handle = handle
        self._path.unlink(missing_ok=True)  # the node's lock is ours: whoever left it is dead
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)
        try:
            with _At(run_dir) as address:
                self.listener.bind(address)
        finally:
            os.umask(before)
        self.listener.listen(CLIENTS_MAX)
        self._clients: dict[int, tuple[socket.socket, Peer, bytearray]] = {}
        self._answering: set[int] = set()

    def filenos(self) -> list[int]:
        """Descriptors to poll."""
        return [self.listener.fileno(), *(self._clients.keys() - self._answering)]

    def on_readable(self, fileno: int) -> None:
        """Serve what became readable; descriptors that are not ours are ignored."""
        if fileno == self.listener.fileno():
            self._accept()
        elif fileno in self._clients:
            self._serve(fileno)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection, _ = self.listener.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ANSWER_MAX_BYTES)
            peer = peer_of(connection)
            if peer.uid not in (os.geteuid(), 0):
                self._send(connection, answer_for(_not_allowed(peer)))
                connection.close()
            elif len(self._clients) >= CLIENTS_MAX:
                self._send(connection, answer_for(SovereignError("too many control connections")))
                connection.close()
            else:
                self._clients[connection.fileno()] = (connection, peer, bytearray())

    def _serve(self, fileno: int) -> None:
        connection, peer, buffer = self._clients[fileno]
        if (
            fileno in self._answering
        ):  # in the middle of one question: the next one waits, and so does its hanging up
            return
        try:
            data = connection.recv(LINE_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        buffer += data
        sound = bool(data) and (b"\n" in buffer or len(buffer) <= LINE_MAX_BYTES)
        while sound and b"\n" in buffer:
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            self._answering.add(fileno)
            try:
                sound = self._send(connection, self._answer(line, peer))
            finally:
                self._answering.discard(fileno)
        if not sound:
            del self._clients[fileno]
            connection.close()

    def _answer(self, line: bytes, peer: Peer) -> Answer:
        try:
            request = msgspec.json.decode(line, type=Request)
        except msgspec.DecodeError as error:
            return answer_for(
                SovereignError("the control request is malformed", got=str(error), exit_code=2)
            )
        try:
            return Answer(ok=True, value=self._handle(request, peer))
        except SovereignError as error:
            return answer_for(error)
        except Exception as error:  # one question may fail; the node's supervisor may not
            return answer_for(
                SovereignError(f"{request.op} failed", got=f"{type(error).__name__}: {error}")
            )

    @staticmethod
    def _send(connection: socket.socket, answer: Answer) -> bool:
        """All of it or nothing worth keeping: a peer that does not read is dropped."""
        data = msgspec.json.encode(answer) + b"\n"
        try:
            return connection.send(data, socket.MSG_NOSIGNAL) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        """Stop listening; the socket's name goes away."""
        for connection, _, _ in self._clients.values():
            connection.close()
        self._clients.clear()
        self.listener.close()
        self._path.unlink(missing_ok=True)


def _not_allowed(peer: Peer) -> SovereignError:
    return SovereignError(
        "only the node's own user and root may control it",
        got=f"uid {peer.uid}",
        expected=f"uid {os.geteuid()} or 0",
    )


def nothing_runs(node: str) -> SovereignError:
    """Exit code 3."""
    return SovereignError(
        f"node {node} is not running", hint="`sovereign up FILE` starts it", exit_code=3
    )


def ask(run_dir: Path, request: Request, *, timeout_s: float = 30.0) -> Any:
    """One question to the supervisor of `run_dir`. Its error is raised here; nothing there: exit code 3."""
    node = run_dir.name
    if holder(run_dir) is None:
        raise nothing_runs(node)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            with _At(run_dir) as address:
                connection.connect(address)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            data = _line(connection)
        except (FileNotFoundError, ConnectionError) as error:
            if holder(run_dir) is None:
                raise nothing_runs(node) from error
            raise SovereignError(
                f"node {node} is starting or ending and does not answer yet", hint="ask again"
            ) from error
        except TimeoutError as error:
            raise SovereignError(f"node {node} did not answer within {timeout_s} s") from error
    answer = msgspec.json.decode(data, type=Answer)
    if answer.error is not None:
        failure = answer.error
        raise SovereignError(
            failure.what,
            where=failure.where,
            got=failure.got,
            expected=failure.expected,
            hint=failure.hint,
            exit_code=failure.exit_code,
        )
    return answer.value


def _line(connection: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        part = connection.recv(65_536)
        if not part:
            raise ConnectionResetError("the supervisor closed the connection")
        data += part
    return bytes(data)
