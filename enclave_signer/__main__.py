"""`python -m enclave_signer`: started by the proxy with a connected socket; serves until the proxy is gone."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from enclave_signer import folder, sandbox
from enclave_signer.folder import FolderError
from enclave_signer.journal import Journal
from enclave_signer.keys import KeyError_, open_key
from enclave_signer.policy import PolicyError, load_policy
from enclave_signer.server import Server, map_halt
from enclave_signer.wire import SCHEMES

_PAGE_BYTES = 4096
_HERE = Path()


def _user(text: str) -> tuple[int, int]:
    user, _, group = text.partition(":")
    if not user.isdigit() or not group.isdigit() or not int(user):
        raise argparse.ArgumentTypeError("UID:GID, and not root's")
    return int(user), int(group)


def main() -> int:
    """Exit codes: 0 the proxy closed, 2 cannot start as configured."""
    parser = argparse.ArgumentParser(prog="enclave_signer", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the connected SOCK_SEQPACKET socket")
    parser.add_argument("--folder", type=Path, required=True, help="the pod's own folder")
    parser.add_argument("--policy", type=Path, required=True, help="the policy document (JSON)")
    parser.add_argument("--scheme", choices=sorted(SCHEMES), default="ed25519")
    parser.add_argument("--user", type=_user, help="UID:GID to become; only root can")
    parser.add_argument("--halt-fd", type=int, default=-1, help="the node's page")
    parser.add_argument("--halt-at", type=int, default=0, help="offset of the halt word in it")
    parser.add_argument(
        "--sync", action="store_true", help="every signature survives a power failure"
    )
    given = parser.parse_args()
    sandbox.die_with_parent()
    try:
        policy = load_policy(given.policy)
        folder.enter(given.folder, given.user)
        walls = sandbox.become(*given.user) if given.user else []
        held = folder.lock(_HERE)
        key = open_key(_HERE, given.scheme)
        journal = Journal(_HERE, sync=given.sync)
        page = map_halt(given.halt_fd, _PAGE_BYTES) if given.halt_fd >= 0 else None
        connection = socket.socket(fileno=given.fd)
        server = Server(key, policy, journal, page, given.halt_at)
        server.walls = " ".join(sandbox.enter(_HERE, walls))
    except (PolicyError, KeyError_, FolderError, OSError) as error:
        print(f"pod: {error}", file=sys.stderr)
        return 2
    server.serve(connection)
    os.close(held)
    return 0


if __name__ == "__main__":
    sys.exit(main())
