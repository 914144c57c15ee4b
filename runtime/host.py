"""The process around one actor: attaches what the actor may touch, runs its loop, and minds the outside.

Two threads. The loop runs in its own, pinned to the actor's core; the main thread waits for signals, for the end of
the loop, and for the end of the supervisor (a pipe that closes). SIGTERM drains: what stands in the inputs is handled,
then the loop ends. A second SIGTERM, or the end of the supervisor, stops at once after the step at hand.

Exit codes of an actor: 0 stopped, 1 failed (the restart policy decides), 78 cannot work as configured (never
restarted; sysexits' EX_CONFIG).
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from sovereign.runtime import counters as counting
from sovereign.runtime import kernels, limits
from sovereign.runtime.actor import Actor
from sovereign.runtime.author import told
from sovereign.runtime.control import Control, own_counters
from sovereign.runtime.errors import (
    InputError,
    LayoutError,
    LimitError,
    PluginError,
    SovereignError,
)
from sovereign.runtime.lease import Lease, roles
from sovereign.runtime.log import file_log
from sovereign.runtime.loop import (
    C_PARK_AT,
    C_WAIT,
    DRAIN,
    RUN,
    STOP,
    WAITS,
    LoopWords,
    batch,
    in_hand,
)
from sovereign.runtime.reader import Reader
from sovereign.runtime.spec import USUAL_START, ActorSpec, NodeSpec, StartOptions
from sovereign.runtime.state import StateStore
from sovereign.runtime.step import Step
from sovereign.runtime.writer import Writer

EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_CONFIG = 78
# What another start would meet again; anything else (a port, memory, a lease) may be over by then.
_LASTING = (PluginError, LimitError, LayoutError, InputError)


def load_entry(entry: str) -> type[Actor]:
    """The class named `module:Class`."""
    module, _, name = entry.partition(":")
    found: type[Actor] = getattr(importlib.import_module(module), name)
    return found


class Host:
    """What an actor sees of its process and node."""

    def __init__(self, node: NodeSpec, index: int, options: StartOptions = USUAL_START) -> None:
        self.node_spec = node
        self.options = options
        self.spec: ActorSpec = node.actors[index]
        self.node, self.name, self.index = node.name, self.spec.name, index
        self.run_dir, self.archive_dir = node.run_dir, node.archive_dir
        self.input_specs = self.spec.inputs
        self.log = file_log(node.run_dir / "logs" / f"{self.name}.log", actor=self.name)
        wait_s = limits.LEASE_WAIT_NS / 1e9
        self.leases = [Lease(node.run_dir, role, wait_s=wait_s) for role in roles(self.spec)]
        self.control = Control(node.name)
        self._own, self.counters = own_counters(node.name, index)
        self.counters["phase"] = counting.STARTING
        self.counters["starts"] += 1
        self.counters["inflight"] = 0
        self.counters["hand_sequence"] = self.counters["halt_epoch"] = 0
        self.inputs = [Reader(node.name, one.ring, self.name) for one in self.spec.inputs]
        output = self.spec.output
        self.output = Writer(node.name, output.name, output.types) if output else None
        if self.output is not None:
            self.output.words[kernels.W_EPOCH_AT] = self.control.epoch_address
        self.loop = LoopWords(self.counters, self._wait_mode(), options.careful)
        self._store: StateStore | None = None
        self._step: Step | None = None
        self.types = {kind.type_id: kind for kinds in self.spec.upstream for kind in kinds}

    def _wait_mode(self) -> int:
        """`auto` spins only on a core of its own; elsewhere spinning would take the neighbour's time."""
        if self.spec.wait != "auto":
            return WAITS[self.spec.wait]
        pinned = [one.cpu for one in self.node_spec.actors if one.cpu is not None]
        alone = self.spec.cpu is not None and pinned.count(self.spec.cpu) == 1
        spare = (os.cpu_count() or 1) > len(set(pinned))
        return kernels.WAIT_SPIN if alone and spare else kernels.WAIT_PARK

    @property
    def store(self) -> StateStore:
        """The actor's state, recovered at first use."""
        if self._store is None:
            actor, config = load_entry(self.spec.entry), self.spec.config
            kind, migrate = actor.state_type(config), actor.migration(config)
            self._store = StateStore(self.node, self.name, kind, self.inputs, self.output, migrate)
        return self._store

    @property
    def steps(self) -> Step:
        """The commit rule for Python actors."""
        if self._step is None:
            self._step = Step(self.store)
        return self._step

    def settle(self) -> None:
        """Recover the state, and commit what is passed over unhandled: what a detached gate missed, a poison event."""
        missed = self.store.missed
        if any(missed):
            self.log.warning("went on behind what was missed while detached", missed=missed)
            self.counters["overrun"] += sum(missed)
            self.steps.begin()
            self.steps.commit(missed)
        skip = self.options.skip
        if skip is not None and self.inputs[skip[0]].cursor + 1 == skip[1]:
            self.log.warning("passed over a poison event", input=skip[0], sequence=skip[1])
            self.counters["quarantined"] += 1
            self.steps.begin()
            self.steps.commit([int(i == skip[0]) for i in range(len(self.inputs))])

    def batch(self, number: int, ready: int) -> int:
        """For Python actors: how many of the `ready` events of input `number` to take now; says that they are in hand."""
        in_hand(self.loop.words, number, self.inputs[number].cursor + 1)
        return int(batch(self.loop.words, ready))

    @property
    def stopping(self) -> bool:
        """Whether the loop should end."""
        return bool(self.loop.stop[0] != RUN)

    def fail(self, message: str, **details: Any) -> None:
        """End the actor as failed, with a reason."""
        raise SovereignError(message, **details)

    def run_steps(self, step: Callable[[], int]) -> None:
        """The loop of a Python actor: step, beat, and wait when there is nothing to do."""
        idles = 0
        actor_drained = False
        readers = self.store.readers
        count = len(self.inputs)
        park_at, mode = (int(self.loop.words[at]) for at in (C_PARK_AT, C_WAIT))
        while True:
            done = step()
            self.counters["heartbeat_ns"] = time.monotonic_ns()
            stop = int(self.loop.stop[0])
            if stop == STOP:
                return
            if done:
                idles = 0
                continue
            if stop == DRAIN:
                actor_drained = self._drained()
                if actor_drained:
                    return
            idles += 1
            if count == 0 or any(reader.lag for reader in self.inputs):
                time.sleep(0.0005)  # nothing to wait on, or held back by something that is no ring
            else:
                kernels.idle(mode, idles, readers, count, park_at)

    def _drained(self) -> bool:
        return all(reader.lag == 0 for reader in self.inputs) and self.actor.drain()

    actor: Actor

    def close(self) -> None:
        """Give up the leases last, so that a successor finds everything settled."""
        for lease in self.leases:
            lease.release()


def _pin(cpu: int | None) -> None:
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})


class _Loop(threading.Thread):
    """The actor's thread; keeps what ended it."""

    def __init__(self, host: Host, actor: Actor) -> None:
        super().__init__(name="loop", daemon=True)
        self.host, self.actor = host, actor
        self.error: BaseException | None = None
        self.ended_r, self._ended_w = os.pipe2(os.O_CLOEXEC)

    def run(self) -> None:
        try:
            _pin(self.host.spec.cpu)
            self.actor.run()
        except BaseException as error:  # kept, and told by the main thread
            self.error = error
        finally:
            os.write(self._ended_w, b".")


def _mind(host: Host, loop: _Loop, alive_fd: int, signals_fd: int) -> None:
    """Until the loop ends: turn signals and the supervisor's death into the stop word."""
    watched = [loop.ended_r, signals_fd] + ([alive_fd] if alive_fd >= 0 else [])
    while True:
        ready, _, _ = select.select(watched, [], [])
        if loop.ended_r in ready:
            return
        if signals_fd in ready and os.read(signals_fd, 64):
            host.loop.stop[0] = DRAIN if host.loop.stop[0] == RUN else STOP
            host.counters["phase"] = counting.DRAINING
        if alive_fd in ready:
            watched.remove(alive_fd)
            host.log.error("the supervisor is gone: stopping")
            host.loop.stop[0] = STOP


def _end_an_orphan(alive_fd: int, log: Any) -> None:
    """Without a supervisor nobody finds out that this process hangs, be it in its loop or in a plugin's import."""
    select.select([alive_fd], [], [])
    time.sleep(limits.ORPHAN_GRACE_NS / 1e9)
    log.error("it does not end without its supervisor: killed")
    os.kill(os.getpid(), signal.SIGKILL)


def _signals() -> int:
    """SIGTERM and SIGINT as bytes in a pipe; SIGINT is the supervisor's to handle, so it is ignored here."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(read, True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(write)
    return read


def run_actor(
    node: NodeSpec, index: int, alive_fd: int = -1, options: StartOptions = USUAL_START
) -> None:
    """The whole life of an actor's process; ends the process. `alive_fd`: EOF there means no supervisor."""
    sys.exit(_live(node, index, alive_fd, options))


def _live(node: NodeSpec, index: int, alive_fd: int, options: StartOptions) -> int:
    import setproctitle

    spec = node.actors[index]
    setproctitle.setproctitle(f"sovereign: {node.name}/{spec.name}")
    signals_fd = _signals()
    log = file_log(node.run_dir / "logs" / f"{spec.name}.log", actor=spec.name)
    if alive_fd >= 0:
        threading.Thread(target=_end_an_orphan, args=(alive_fd, log), daemon=True).start()
    host: Host | None = None
    try:
        host = Host(node, index, options)
        actor = load_entry(spec.entry)(host, spec.config)
        host.actor = actor
        host.settle()  # recovery stores the cursors before anything is claimed
        actor.setup()
    except SovereignError as error:
        log.error("cannot start", **told(error))
        return _end(host, EXIT_CONFIG if isinstance(error, _LASTING) else EXIT_FAILED)
    except BaseException as error:
        log.error("cannot start", **told(error))
        return _end(host, EXIT_FAILED)
    gc.freeze()
    loop = _Loop(host, actor)
    host.counters["heartbeat_ns"] = time.monotonic_ns()
    host.counters["ready_ns"] = time.time_ns()
    host.counters["phase"] = counting.RUNNING
    log.info("running", pid=os.getpid(), cpu=spec.cpu)
    loop.start()
    _mind(host, loop, alive_fd, signals_fd)
    return _conclude(host, actor, loop.error)


def _conclude(host: Host, actor: Actor, error: BaseException | None) -> int:
    """Close the actor and say how it ended."""
    if error is not None:
        host.log.error("failed", **told(error))
        return _end(host, EXIT_FAILED)
    try:
        actor.close()
    except Exception as failed:
        host.log.error("failed while closing", **told(failed))
        return _end(host, EXIT_FAILED)
    host.log.info("stopped")
    host.counters["phase"] = counting.STOPPED
    host.close()
    return EXIT_STOPPED


def _end(host: Host | None, code: int) -> int:
    if host is not None:
        host.counters["phase"] = counting.FAILED
        host.close()
    return code
