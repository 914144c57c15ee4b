"""The pod as a process: many requests at once, one pod a folder, a user of its own."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enclave_signer import wire
from enclave_signer.keys import open_key
from nodes import SmallNode, until
from sovereign.actors.signer_proxy import pod_user as users
from sovereign.actors.signer_proxy.actor import PolicyConfig, SignerConfig, SignerProxy
from sovereign.actors.signer_proxy.pod import ProcessPod
from sovereign.actors.signer_proxy.pod_user import pod_user
from sovereign.messages.orders import BUY, NewOrder
from sovereign.runtime import limits
from sovereign.runtime.errors import ResourceError
from sovereign.runtime.writer import Writer

SIGNER = "sovereign.actors.signer_proxy.actor:SignerProxy"
NOBODY = 65_534
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the pod another user")


@contextlib.contextmanager
def _pod(folder: Path, user: tuple[int, int] | None = None) -> Iterator[ProcessPod]:
    with tempfile.TemporaryDirectory(prefix="sovereign-test-") as beside:
        policy, page = Path(beside) / "policy.json", Path(beside) / "page"
        policy.write_text('{"max_qty": 100, "max_notional": 1000, "instruments": null}')
        page.write_bytes(bytes(4096))
        pod = ProcessPod(folder, policy, "ed25519", (page, 0), user)
        try:
            yield pod
        finally:
            pod.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="sovereign-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _request(sequence: int) -> bytes:
    order = wire.ORDER.pack(7, BUY, 0, 0, 5_000_000_000, 1, sequence)
    return wire.pack(wire.SIGN, wire.Name(1, 1, sequence), order)


def test_more_requests_than_the_sockets_hold_are_all_answered(tmp_path: Path) -> None:
    """Once both sides stood in send: 2,048 requests fill one direction while nobody empties the other."""
    with _pod(tmp_path) as pod:
        answers = pod.ask([_request(sequence) for sequence in range(1, 2049)])
        assert [one.name.sequence for one in answers] == list(range(1, 2049))
        assert {one.kind for one in answers} == {wire.SIGNED}
        again = pod.ask([_request(sequence) for sequence in range(1, 2049)])
        assert again == answers


@pytest.mark.parametrize(("inflight", "sound"), [(-1, 0), (0, 0), (1, 1), (64, 1), (65, 0)])
def test_max_inflight_is_checked(inflight: int, sound: int) -> None:
    wrong = SignerProxy.check(SignerConfig(max_inflight=inflight))
    assert wrong == ([] if sound else [f"max_inflight = {inflight} is not from 1 to 64"])


def test_a_second_pod_in_one_folder_is_refused(tmp_path: Path) -> None:
    with _pod(tmp_path) as first:
        with pytest.raises(ResourceError) as refused, _pod(tmp_path):
            pass
        assert f"another pod (process {first.process.pid}) works in this folder" in str(
            refused.value
        )
        assert first.ask([_request(1)])[0].kind == wire.SIGNED
    with _pod(tmp_path) as next_one:
        assert next_one.ask([_request(1)])[0].kind == wire.SIGNED


def _as_nobody(what: Callable[[], object]) -> str:
    """`repr` of what `what` gives in a process of uid 65534, or its exception's type."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(write, repr(what()).encode())
        except BaseException as error:
            traceback.print_exc()
            os.write(write, type(error).__name__.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read, "rb") as answer:
        return answer.read().decode()


def _attach(pid: int) -> str:
    """errno's name of PTRACE_ATTACH."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return "attached" if libc.ptrace(16, pid, 0, 0) == 0 else errno.errorcode[ctypes.get_errno()]


def _status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}


@root
def test_the_pod_has_a_user_of_its_own_that_nobody_else_can_look_into(open_folder: Path) -> None:
    folder = open_folder / "pod"
    config = SignerConfig(folder=str(folder), policy=PolicyConfig())
    with SmallNode((NewOrder,), ("sign", SIGNER, config)) as node:
        pid = node.start(1)
        (pod,) = (
            int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        )
        status = _status(pod)
        uid = int(status["Uid"][0])
        assert limits.POD_UID_FIRST <= uid < limits.POD_UID_FIRST + limits.POD_UID_COUNT
        assert f'"uid": {uid}' in node.log("sign") and "own-user" in node.log("sign")
        assert status["Uid"] == status["Gid"] == [str(uid)] * 4
        assert status["Groups"] == []
        locking = 1 << 14  # CAP_IPC_LOCK, the only one that is kept
        assert int(status["CapPrm"][0], 16) == int(status["CapEff"][0], 16)
        assert int(status["CapEff"][0], 16) == int(_status(os.getpid())["CapEff"][0], 16) & locking
        assert ("memory-locked" in node.log("sign")) or not int(status["CapEff"][0], 16)
        assert int(status["VmLck"][0]) > 1024 or not int(status["CapEff"][0], 16)
        assert status["NoNewPrivs"] == ["1"] and status["Seccomp"] == ["2"]
        key = folder / "ed25519.key"
        assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (uid, 0o700)
        assert (key.stat().st_uid, stat.S_IMODE(key.stat().st_mode)) == (uid, 0o400)
        (open_folder / "public").write_text("for all")
        assert _as_nobody((open_folder / "public").read_text) == "'for all'"
        assert _as_nobody(key.read_bytes) == "PermissionError"
        assert _as_nobody(lambda: open(f"/proc/{pod}/mem", "rb")) == "PermissionError"
        assert _as_nobody(lambda: _attach(pod)) == "'EPERM'"
        # What the last three say would mean nothing, could that user not look at a process of its own.
        assert _as_nobody(lambda: _attach(_sleeper())) == "'attached'"


def _sleeper() -> int:
    """A child that ends with its parent, and that may be attached to once it is another program."""
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
        os.execv("/bin/sleep", ["sleep", "30"])
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    return pid


@root
def test_a_folder_that_root_left_is_taken_over_with_its_key(tmp_path: Path) -> None:
    public = open_key(tmp_path, "ed25519").public
    user = pod_user("", tmp_path)
    assert user.ids is not None
    (tmp_path / "elsewhere").symlink_to("/etc/hostname")
    with _pod(tmp_path, user.ids) as pod:
        assert pod.public_key == public
        assert "own-user" in pod.walls
        first = pod.ask([_request(1)])
    assert (tmp_path / "ed25519.key").stat().st_uid == user.uid
    assert (tmp_path / "signed.journal").stat().st_uid == user.uid
    assert Path("/etc/hostname").stat().st_uid == 0
    assert pod_user("", tmp_path) == user  # by the folder's owner now
    with _pod(tmp_path, user.ids) as pod:
        assert pod.ask([_request(1)]) == first


@root
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    with (
        pytest.raises(ResourceError, match=r"the pod is gone") as refused,
        _pod(tmp_path, (60_601, 60_601)),
    ):
        pass
    assert f"belongs to uid {NOBODY}, and the pod is to be uid 60601" in str(refused.value)
    assert os.listdir(tmp_path) == []


@root
def test_users_by_name(tmp_path: Path) -> None:
    named = pod_user("nobody", tmp_path)
    assert named.ids is not None and named.uid == NOBODY
    with _pod(tmp_path, named.ids) as pod:
        assert int(_status(pod.process.pid)["Uid"][1]) == NOBODY
    with pytest.raises(ResourceError, match="which is root"):
        pod_user("root", tmp_path)
    with pytest.raises(ResourceError, match="useradd --system"):
        pod_user("no-such-user", tmp_path)


@root
def test_a_node_that_is_not_root_says_that_this_wall_does_not_stand() -> None:
    with tempfile.TemporaryDirectory(prefix="sovereign-test-") as name:
        os.chown(name, NOBODY, NOBODY)
        why = _as_nobody(lambda: pod_user("", Path(name)))
        assert why == (
            "PodUser(ids=None, why='the node runs as uid 65534, and only root can give the pod another')"
        )
        assert _as_nobody(lambda: pod_user("daemon", Path(name))) == "ResourceError"

        def signs() -> bool:
            with _pod(Path(name)) as pod:
                return "own-user" not in pod.walls and pod.ask([_request(1)])[0].kind == wire.SIGNED

        if _as_nobody(lambda: os.access(sys.executable, os.X_OK)) != "True":
            pytest.skip(f"uid {NOBODY} may not enter the folder of {sys.executable}")
        assert _as_nobody(signs) == "True"


def test_the_log_says_so_when_the_wall_does_not_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "_unable", lambda: "only root can")
    config = SignerConfig(folder=str(tmp_path), policy=PolicyConfig())
    with SmallNode((NewOrder,), ("sign", SIGNER, config)) as node:
        node.start(1)
        log = node.log("sign")
        assert "the pod has no user of its own: this wall does not stand" in log
        assert "only root can" in log and "own-user" not in log


def test_a_reused_name_is_told_with_the_way_out(tmp_path: Path) -> None:
    config = SignerConfig(folder=str(tmp_path), policy=PolicyConfig())
    for qty in (1, 2):  # the second node begins anew, as after its archive was deleted
        with SmallNode((NewOrder,), ("sign", SIGNER, config)) as node:
            writer = Writer(node.name, "source", (NewOrder,))
            node.start(1)
            for _ in range(2):
                fields = {"instrument": 7, "side": BUY, "px_e9": 5_000_000_000, "qty": qty}
                writer.put(NewOrder, fields, origin_ns=1, cause_seq=1)
                writer.publish()
            counters = node.control.counters(1)
            until(lambda counters=counters: counters["events"] == 2)
            log = node.log("sign")
            if qty == 1:
                assert counters["signed"] == 2 and "remembers" not in log
                continue
            assert counters["refused"] == 2
            assert log.count("remembers the orders of an archive that was deleted or moved") == 1
            assert str(tmp_path) in log and "move that whole folder away" in log
