"""Whom the pod runs as. Where the node is root, a user of its own, so that no other user of the host reads its key.

A node that is not root cannot give the pod another user: then whoever runs as the node's user can read the key file.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from pathlib import Path
from typing import NamedTuple

from sovereign.runtime import limits
from sovereign.runtime.errors import ResourceError

# chown, dac_override, fowner, setgid, setuid: capabilities(7)
_NEEDED = sum(1 << number for number in (0, 1, 3, 6, 7))


class PodUser(NamedTuple):
    """`ids`: uid and gid that the pod becomes; None: it stays what the node is, and `why`."""

    ids: tuple[int, int] | None
    why: str = ""

    @property
    def uid(self) -> int:
        """The uid that it runs as."""
        return os.geteuid() if self.ids is None else self.ids[0]


def pod_user(name: str, folder: Path) -> PodUser:
    """`name`, or else a uid for `folder`, always the same one. ResourceError when the topology names whom we cannot become."""
    unable = _unable()
    if not name:
        if unable:
            return PodUser(None, unable)
        uid = _own_uid(folder)
        return PodUser(None, unable) if (unable := _unmapped(uid)) else PodUser((uid, uid))
    try:
        found = pwd.getpwnam(name)
    except KeyError as error:
        raise ResourceError(
            f"there is no user {name}, whom the pod is to run as",
            hint=f"useradd --system --no-create-home --shell /usr/sbin/nologin {name}",
        ) from error
    if found.pw_uid == 0:
        raise ResourceError(f"the pod is to run as {name}, which is root", hint="name another user")
    if unable := unable or _unmapped(found.pw_uid):
        raise ResourceError(
            f"the pod cannot become {name}",
            got=unable,
            hint="start the node as root, or leave `user` out",
        )
    return PodUser((found.pw_uid, found.pw_gid))


def _unable() -> str:
    """Why this process can give nobody another user; "" when it can."""
    if os.geteuid() != 0:
        return f"the node runs as uid {os.geteuid()}, and only root can give the pod another"
    status = Path("/proc/self/status").read_text().splitlines()
    held = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    missing = _NEEDED & ~held
    return f"the node lacks capabilities of root: {missing:#x} (capabilities(7))" if missing else ""


def _unmapped(uid: int) -> str:
    """Why `uid` does not exist in this user namespace; "" when it does."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = (int(word) for word in line.split())
        if first <= uid < first + count:
            return ""
    return f"uid {uid} does not exist in this user namespace (user_namespaces(7))"


def _own_uid(folder: Path) -> int:
    """The folder's owner when that is a pod's, else a number by the folder's path that no user of the host has."""
    numbers = range(limits.POD_UID_FIRST, limits.POD_UID_FIRST + limits.POD_UID_COUNT)
    owner = int(folder.stat().st_uid)
    if owner in numbers:
        return owner
    digest = hashlib.sha256(str(folder).encode()).digest()
    begin = int.from_bytes(digest[:4]) % len(numbers)
    order: list[int] = [*numbers[begin:], *numbers[:begin]]
    for number in order:
        try:
            pwd.getpwuid(number)
        except KeyError:
            return number
    raise ResourceError(
        "every uid for pods belongs to somebody",
        got=f"{numbers[0]} to {numbers[-1]}",
        hint='name one: user = "sovereign-pod"',
    )
