"""Every limit of the system, by name and unit. `sovereign limits` prints this table.

A limit that code relies on is a constant here and nowhere else.
"""

from __future__ import annotations

from typing import NamedTuple

RING_LAYOUT_VERSION = 3
STATE_LAYOUT_VERSION = 2
NODE_LAYOUT_VERSION = 2

PAGE_BYTES = 4096
CACHE_LINE_BYTES = 128
SLOT_HEADER_BYTES = 48
SLOT_ALIGN_BYTES = 64
SLOT_MAX_BYTES = 4096
RING_MIN_SLOTS = 2
RING_MAX_SLOTS = 1 << 26
RING_DEFAULT_SLOTS = 1 << 14
RING_MAX_READERS = 32
RING_SCHEMA_PAGES = 16
RING_GENERATION_MAX = (1 << 32) - 1
NODE_MAX_ACTORS = 64
ACTOR_MAX_INPUTS = 16
ACTOR_NAME_MAX_BYTES = 48
STATE_MAX_BYTES = 1 << 20
STATE_SCHEMA_PAGES = 16
SCRATCH_MAX_BYTES = 1 << 30
REBUILD_BATCH_SLOTS = 4096
STEP_MAX_EVENTS = 256
STEP_MAX_OUTPUTS_PER_EVENT = 64
HISTOGRAM_BUCKETS = 1536
HEARTBEAT_LIMIT_NS = 5_000_000_000
ORPHAN_GRACE_NS = 2_000_000_000
LEASE_WAIT_NS = 10_000_000_000
HEARTBEAT_LIMIT_MIN_NS = 10_000_000
HEARTBEAT_LIMIT_MAX_NS = 3_600_000_000_000
PARK_TIMEOUT_NS = 1_000_000
HALT_REACTION_NS = 1_000_000
HALT_EPOCH_BITS = 16
HALT_EPOCH_MASK = (1 << HALT_EPOCH_BITS) - 1
CAREFUL_STEPS = 1024
START_LIMIT_NS = 120_000_000_000
SIGNER_INFLIGHT_MAX = 64
# The pod imports nothing of ours: a test holds it to these two.
POD_REMEMBERED_MAX = 1 << 20
POD_FRAME_MAX_BYTES = 512
# Numbers that distributions and systemd leave to nobody (60578 to 61183).
POD_UID_FIRST = 60_600
POD_UID_COUNT = 500
EGRESS_QUEUED_MAX_BYTES = 16_384
EGRESS_HALT_GRACE_NS = HALT_REACTION_NS // 4
START_LIMIT_MIN_NS = 10_000_000
START_LIMIT_MAX_NS = 3_600_000_000_000
FAILURES_MAX = 1_000_000
FAILURES_WINDOW_MAX_S = 86_400
TICK_MIN_NS = 1_000
TICK_MAX_NS = 86_400_000_000_000
QUANTITY_MAX = 1 << 62
INSTRUMENT_MAX = (1 << 32) - 1
SYNC_INTERVAL_MAX_MS = 3_600_000
SEGMENT_MIN_RECORDS = 256
SEGMENT_MAX_RECORDS = 1 << 26
SOCKET_BUFFER_MAX_BYTES = 1 << 30
PLUGIN_IMPORT_LIMIT_S = 20
PLUGIN_IMPORT_NOTICE_S = 1
JITTER_MAX_S = 86_400
INGRESS_MAX_CHANNELS = 64
INGRESS_MAX_JUMP = 10_000_000
CAPTURE_MAX_INTERFACES = 4096


class Limit(NamedTuple):
    """One limit: what it bounds, its value, its unit and why it stands there."""

    name: str
    value: int
    unit: str
    why: str


LIMITS: tuple[Limit, ...] = (
    Limit("slot_header", SLOT_HEADER_BYTES, "bytes", "fixed part of every slot"),
    Limit("slot_align", SLOT_ALIGN_BYTES, "bytes", "a slot's stride is a multiple of a cache line"),
    Limit("slot_max", SLOT_MAX_BYTES, "bytes", "largest slot, header included"),
    Limit("cursor_distance", CACHE_LINE_BYTES, "bytes", "no two cursors share a prefetched line"),
    Limit("ring_min", RING_MIN_SLOTS, "slots", "smallest ring"),
    Limit("ring_max", RING_MAX_SLOTS, "slots", "largest ring"),
    Limit("ring_default", RING_DEFAULT_SLOTS, "slots", "ring.capacity when the topology is silent"),
    Limit("ring_readers", RING_MAX_READERS, "readers", "gates and readers of one ring"),
    Limit("ring_generation", RING_GENERATION_MAX, "makings", "a slot's header has 32 bits for it"),
    Limit("node_actors", NODE_MAX_ACTORS, "actors", "blocks in the node's page"),
    Limit("actor_inputs", ACTOR_MAX_INPUTS, "rings", "cursors in one state copy"),
    Limit("actor_name", ACTOR_NAME_MAX_BYTES, "bytes", "POSIX shared-memory names are short"),
    Limit("state_max", STATE_MAX_BYTES, "bytes", "a strategy's State; copied once a step"),
    Limit("state_schema", STATE_SCHEMA_PAGES * PAGE_BYTES, "bytes", "a State's layout, as text"),
    Limit("scratch_max", SCRATCH_MAX_BYTES, "bytes", "a strategy's Scratch; private, never copied"),
    Limit("rebuild_batch", REBUILD_BATCH_SLOTS, "slots", "read at once when Scratch is rebuilt"),
    Limit("step_events", STEP_MAX_EVENTS, "events", "largest batch that commits as one step"),
    Limit("step_outputs", STEP_MAX_OUTPUTS_PER_EVENT, "messages", "most that one event may emit"),
    Limit("histogram_buckets", HISTOGRAM_BUCKETS, "buckets", "log-linear, about 3 % wide"),
    Limit(
        "careful_steps",
        CAREFUL_STEPS,
        "steps",
        "of one event each, after an event killed its actor",
    ),
    Limit("start", START_LIMIT_NS, "ns", "an actor that is not ready after it is hung"),
    Limit("heartbeat", HEARTBEAT_LIMIT_NS, "ns", "an actor that is silent for longer is hung"),
    Limit("orphan_grace", ORPHAN_GRACE_NS, "ns", "then an actor without supervisor kills itself"),
    Limit("lease_wait", LEASE_WAIT_NS, "ns", "longest wait of an actor for its predecessor's end"),
    Limit("start_min", START_LIMIT_MIN_NS, "ns", "a fork of what is loaded takes about that"),
    Limit("start_max", START_LIMIT_MAX_NS, "ns", "an hour: a longer start is never told of"),
    Limit(
        "heartbeat_min", HEARTBEAT_LIMIT_MIN_NS, "ns", "a busy host pauses any process that long"
    ),
    Limit("heartbeat_max", HEARTBEAT_LIMIT_MAX_NS, "ns", "an hour: a hung actor is never told of"),
    Limit("failures_max", FAILURES_MAX, "deaths", "restart.max_failures and poison.kills"),
    Limit("failures_window", FAILURES_WINDOW_MAX_S, "s", "restart.window_s: deaths are kept a day"),
    Limit("tick_min", TICK_MIN_NS, "ns", "a shorter period of ticks is a mistake in the unit"),
    Limit("tick_max", TICK_MAX_NS, "ns", "a day between ticks"),
    Limit("quantity_max", QUANTITY_MAX, "units", "limits of quantity and notional; i64 inside"),
    Limit("instrument_max", INSTRUMENT_MAX, "id", "instruments are u32 in every message"),
    Limit(
        "sync_interval", SYNC_INTERVAL_MAX_MS, "ms", "longest time that a power failure may cost"
    ),
    Limit("segment_min", SEGMENT_MIN_RECORDS, "slots", "smallest segment of an archive"),
    Limit("segment_max", SEGMENT_MAX_RECORDS, "slots", "largest segment of an archive"),
    Limit("socket_buffer", SOCKET_BUFFER_MAX_BYTES, "bytes", "the kernel doubles it in an int"),
    Limit(
        "plugin_import", PLUGIN_IMPORT_LIMIT_S, "s", "a module that is not imported by then is hung"
    ),
    Limit(
        "plugin_import_notice", PLUGIN_IMPORT_NOTICE_S, "s", "a slower import is told of on stderr"
    ),
    Limit("park_timeout", PARK_TIMEOUT_NS, "ns", "longest sleep of a parked reader"),
    Limit("halt_epoch", HALT_EPOCH_BITS, "bits", "of the halt count that a slot carries"),
    Limit("halt_reaction", HALT_REACTION_NS, "ns", "halt word set to last acknowledgement"),
    Limit(
        "egress_queued",
        EGRESS_QUEUED_MAX_BYTES,
        "bytes",
        "in the kernel, not acknowledged by the venue's host",
    ),
    Limit(
        "egress_halt_grace",
        EGRESS_HALT_GRACE_NS,
        "ns",
        "from a halt until what is queued is cut off with its connection",
    ),
    Limit(
        "signer_inflight",
        SIGNER_INFLIGHT_MAX,
        "requests",
        "to the pod and not yet answered; max_inflight",
    ),
    Limit(
        "pod_remembered",
        POD_REMEMBERED_MAX,
        "orders",
        "whose signatures the pod gives again; older ones it refuses",
    ),
    Limit("pod_frame", POD_FRAME_MAX_BYTES, "bytes", "largest frame between proxy and pod"),
    Limit(
        "pod_uid_first",
        POD_UID_FIRST,
        "uid",
        "first of the users that pods get where the node is root",
    ),
    Limit("pod_uids", POD_UID_COUNT, "uids", "how many of them there are, from pod_uid_first on"),
    Limit(
        "ingress_channels", INGRESS_MAX_CHANNELS, "channels", "whose numbers one ingress follows"
    ),
    Limit(
        "ingress_jump", INGRESS_MAX_JUMP, "numbers", "a longer jump forward needs a second packet"
    ),
    Limit("capture_interfaces", CAPTURE_MAX_INTERFACES, "interfaces", "of a pcapng section"),
    Limit("jitter_run", JITTER_MAX_S, "s", "longest run of `sovereign jitter` on a core"),
)
