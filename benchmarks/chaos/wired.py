"""The node that is killed: every pillar that reads and writes, a cycle through the bus, and both transports.

    source ──> bus ──> taker ──> signer ──> udp
                ^        │          └─────> tcp
                └─ echo <┘                          the auditor reads every ring

The order of the bus is free and the taker's orders depend on it (`strategies.py`), so what comes out shows it.
"""

from __future__ import annotations

from pathlib import Path
from string import Template

from sovereign.runtime.spec import NodeSpec
from sovereign.topology.load import load

SOURCE, BUS, TAKER, ECHO, SIGNER, UDP, TCP, AUDITOR = (
    "source", "bus", "taker", "echo", "signer", "udp", "tcp", "auditor",
)  # fmt: skip
KILLABLE = (BUS, TAKER, ECHO, SIGNER, UDP, TCP, AUDITOR)
EGRESSES = (UDP, TCP)
HEARTBEAT_LIMIT_NS = 1_000_000_000
SLOTS = 256
# (writer, reader) of every ring that a killable actor writes.
EDGES = (
    (BUS, TAKER), (TAKER, ECHO), (ECHO, BUS), (TAKER, SIGNER), (SIGNER, UDP), (SIGNER, TCP),
    (BUS, AUDITOR), (TAKER, AUDITOR), (ECHO, AUDITOR), (SIGNER, AUDITOR), (UDP, AUDITOR), (TCP, AUDITOR),
)  # fmt: skip

_ACTORS = {
    SOURCE: 'kind = "sovereign.benchmarks.chaos.source:Source"',
    BUS: """kind = "bus"
inputs = ["source", { from = "echo", feedback = true }]
tick_ns = 5_000_000""",
    TAKER: """kind = "strategy"
plugin = "sovereign.benchmarks.chaos.strategies:Taker"
inputs = ["bus"]""",
    ECHO: """kind = "strategy"
plugin = "sovereign.benchmarks.chaos.strategies:Echo"
compiled = false
inputs = ["taker"]""",
    SIGNER: """kind = "signer"
scheme = "$SCHEME"
folder = "$FOLDER/pod"
policy = { max_qty = 7 }
inputs = ["taker"]""",
    UDP: """kind = "egress"
transport = { kind = "udp", to = "127.0.0.1:$UDP_PORT" }
dedupes = $UDP_DEDUPES
inputs = ["signer"]""",
    TCP: """kind = "egress"
transport = { kind = "tcp", to = "127.0.0.1:$TCP_PORT", max_backoff_ms = 20 }
dedupes = $TCP_DEDUPES
inputs = ["signer"]""",
    AUDITOR: """kind = "auditor"
segment_records = 1024
inputs = ["source", "bus", "taker", "echo", "signer", "udp", "tcp"]""",
}


def node_spec(name: str, folder: Path, ports: tuple[int, int], variant: int) -> NodeSpec:
    """Write the topology into `folder`, and load it. `ports`: of the venue, UDP and TCP.

    `variant`: its bit 0 says which transport's venue deduplicates, its bit 1 which scheme signs.
    """
    text = f'[node]\nname = "{name}"\nrun_dir = "{folder}/run/{name}"\narchive_dir = "{folder}/archive"\n'
    filled = {
        "FOLDER": str(folder),
        "SCHEME": "secp256k1" if variant & 2 else "ed25519",
        "UDP_PORT": str(ports[0]),
        "TCP_PORT": str(ports[1]),
        "UDP_DEDUPES": "false" if variant & 1 else "true",
        "TCP_DEDUPES": "true" if variant & 1 else "false",
    }
    for actor, lines in _ACTORS.items():
        text += f"\n[actors.{actor}]\n{Template(lines).substitute(filled)}"
        text += f"\nheartbeat_limit_ns = {HEARTBEAT_LIMIT_NS}"
        text += "\nrestart = { backoff_ms = 1, max_backoff_ms = 20, max_failures = 1_000_000 }"
        text += f"\nring = {{ capacity = {SLOTS} }}\n" if actor not in (ECHO, AUDITOR) else "\n"
    file = folder / "chaos.toml"
    file.write_text(text)
    (folder / "run" / name).mkdir(parents=True, mode=0o700)
    return load(file)
