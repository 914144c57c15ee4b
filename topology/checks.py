"""What must hold of a graph of actors, beyond the types of its keys. Each check tells all the mistakes it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sovereign.runtime import layout, limits
from sovereign.runtime.node_ring import AUDITOR_KIND
from sovereign.topology.blame import blame
from sovereign.topology.mistake import Mistake, nearest
from sovereign.topology.model import Part, Topology, Wire
from sovereign.topology.schema import Restart
from sovereign.topology.source import dotted
from sovereign.topology.wiring import certain, find_cycle, is_silent, is_wired, reaches, told

__all__ = ["check_graph", "compiled"]

Check = Callable[[Topology], Iterator[Mistake]]


def _inputs(topology: Topology) -> Iterator[tuple[Part, Wire]]:
    return ((part, wire) for part in topology.parts for wire in part.wires)


def _at(topology: Topology, code: str, what: str, wire: Wire, **more: str) -> Mistake:
    path = wire.name_path
    if not topology.source.has(path):
        path = wire.path
    return Mistake(code, what, topology.source.value(path), dotted(path), **more)


def unknown_inputs(topology: Topology) -> Iterator[Mistake]:
    """Every input names an actor that has an output ring."""
    names = [part.name for part in topology.parts]
    for part, wire in _inputs(topology):
        above = topology.part(wire.upstream)
        if above is None:
            close = nearest(wire.upstream, names)
            yield _at(
                topology,
                "unknown-input",
                f'no actor is named "{wire.upstream}"',
                wire,
                expected=", ".join(name for name in names if name != part.name),
                hint=f'did you mean "{close}"?' if close else "",
            )
        elif is_silent(topology, above):
            what = f'"{above.name}" has no output ring to read'
            got = f'kind "{above.common.kind}" gives no messages'
            yield _at(topology, "no-ring", what, wire, got=got)


def repeated_inputs(topology: Topology) -> Iterator[Mistake]:
    """No actor reads one ring twice."""
    for part in topology.parts:
        seen: set[str] = set()
        for wire in part.wires:
            if wire.upstream in seen:
                what = f'"{part.name}" reads "{wire.upstream}" twice'
                yield _at(topology, "input-twice", what, wire, hint="leave one of them out")
            seen.add(wire.upstream)


def input_counts(topology: Topology) -> Iterator[Mistake]:
    """Each kind has as many inputs as it can use."""
    for part in topology.parts:
        if part.cls is None:
            continue
        fewest, most = part.cls.needs_inputs
        most = min(most, limits.ACTOR_MAX_INPUTS)
        count = len(part.wires)
        if fewest <= count <= most or not part.inputs_known:  # the latter is told
            continue
        path = (*part.path, "inputs")
        at_key = topology.source.key(path if topology.source.has(path) else part.path)
        span = str(fewest) if fewest == most else f"{fewest} to {most}"
        yield Mistake(
            "inputs",
            f'"{part.name}" has {count} input{"" if count == 1 else "s"}; kind "{part.common.kind}" takes {span}',
            at_key,
            dotted(path),
            hint='inputs = ["NAME"]: the actor it shall read' if count < fewest else "",
        )


def cycles(topology: Topology) -> Iterator[Mistake]:
    """Every cycle passes through a feedback input."""
    for _, wire, way in find_cycle(topology):
        yield _at(
            topology,
            "cycle",
            f"a cycle without a feedback input: {' → '.join(way)}",
            wire,
            hint=f'mark the input that closes it: {{ from = "{wire.upstream}", feedback = true }}',
        )


def feedback(topology: Topology) -> Iterator[Mistake]:
    """Feedback inputs close a cycle, and are gates."""
    wired = all(is_wired(topology, part) for part in topology.parts)
    for part, wire in _inputs(topology):
        if not wire.feedback or topology.part(wire.upstream) is None:
            continue
        closes = reaches(topology, part.name, wire.upstream) is not None
        if not closes and not wired:  # what is missing, and told, may be what closes it
            continue
        if not closes:
            what = f'the input "{wire.upstream}" is marked as feedback, but closes no cycle'
            hint = (
                f'"{wire.upstream}"' + ": as a plain input it holds its writer back, not the node"
            )
            yield _at(topology, "feedback", what, wire, hint=hint)
        elif not wire.gate:
            what = f'the input "{wire.upstream}" is feedback and no gate: it would lose messages'
            yield _at(topology, "feedback", what, wire, hint="leave gate = false out")


def gates_only(topology: Topology) -> Iterator[Mistake]:
    """Kinds that may miss nothing read through gates, and are neither detached nor skip what kills them."""
    for part in topology.parts:
        if part.cls is None or not part.cls.gates_only:
            continue
        kind = part.common.kind
        for wire in part.wires:
            if not wire.gate:
                what = (
                    f'"{part.name}" is of kind "{kind}" and may miss nothing: its inputs are gates'
                )
                yield _at(topology, "gate", what, wire, hint="leave gate = false out")
        for key, asked, usual in (
            ("restart", part.common.restart, "detach"),
            ("poison", part.common.poison, "skip"),
        ):
            if asked is not None and asked.then == usual and kind == "auditor":
                what = f'"{part.name}" archives the node: it cannot be told to {usual}'
                path = (*part.path, key, "then")
                place = topology.source.value(path)
                yield Mistake("gate", what, place, dotted(path), hint='then = "halt"')


def poison(topology: Topology) -> Iterator[Mistake]:
    """Poison is found before the restarts are used up: one death to suspect an event, then `kills` with it alone."""
    for part in topology.parts:
        asked = part.common.poison
        if asked is None:
            continue
        most = (part.common.restart or Restart()).max_failures
        if most < asked.kills + 1:
            path = (*part.path, "poison")
            yield Mistake(
                "poison",
                f'"{part.name}" is given up before an event can be found to be poison',
                topology.source.value(path),
                dotted(path),
                f"kills = {asked.kills}, restart.max_failures = {most}",
                "max_failures of kills + 1 at least: the first death only makes an event suspect",
                f"restart = {{ max_failures = {asked.kills + 1} }}, or lower kills",
            )


def unaudited(topology: Topology) -> Iterator[Mistake]:
    """No audit, no trade: every ring is read by an auditor, unless the file says that one is not."""
    node = topology.source.tree.get(
        "node"
    )  # as written: another mistake in it must not hide this one
    if isinstance(node, dict) and node.get("audit") is False:
        return
    auditors = [part for part in topology.parts if _audits(part)]
    if not all(one.inputs_known for one in auditors):
        return  # told already, and what they read is not known
    meant = _meant(topology, auditors)
    for part in topology.parts:
        asked = part.common.ring
        if not part.gives or (asked is not None and not asked.audit):
            continue
        if any(reader in auditors for reader, _ in topology.readers(part.name)):
            continue
        if part.name in meant:
            continue
        if not auditors:
            where = ("node", "name")
            yield Mistake(
                "unaudited",
                "nothing that this node does is archived: it has no auditor",
                topology.source.value(where),
                dotted(where),
                hint='add [actors.auditor] with kind = "auditor" and its inputs, or say [node] audit = false',
            )
            return
        what = f'no auditor reads the ring of "{part.name}": what it says is not archived'
        hint = f'add "{part.name}" to the inputs of "{auditors[0].name}", or say ring = {{ audit = false }}'
        yield Mistake(
            "unaudited", what, topology.source.key(part.path), dotted(part.path), hint=hint
        )


def _audits(part: Part) -> bool:
    """Whether it is an auditor, or was meant to be one: then the word is told, and not what follows from it."""
    kind = part.common.kind
    return kind == AUDITOR_KIND or (part.cls is None and bool(nearest(kind, [AUDITOR_KIND])))


def _meant(topology: Topology, readers: list[Part]) -> set[str]:
    """Actors whose names stand misspelt in the inputs of `readers`."""
    names = [part.name for part in topology.parts]
    wrong = {wire.upstream for part in readers for wire in part.wires} - set(names)
    return {close for word in wrong if (close := nearest(word, names)) is not None}


def reader_types(topology: Topology) -> Iterator[Mistake]:
    """Every input brings something that its reader takes."""
    for part in topology.parts:
        if part.cls is None or not part.known:
            continue
        try:
            takes = part.cls.takes(part.config)
        except (Exception, SystemExit) as error:
            part.trouble = told(topology, part, error)  # told by `own_checks`
            continue
        if takes is None:
            continue
        known = {kind.schema_id for kind in takes}
        for wire, carried in zip(part.wires, part.carries, strict=True):
            above = topology.part(wire.upstream)
            if above is None or not certain(topology, above):
                continue
            if carried and not any(kind.schema_id in known for kind in carried):
                names = {kind.__name__ for kind in takes} & {kind.__name__ for kind in carried}
                yield _at(
                    topology,
                    "types",
                    f'"{part.name}" takes nothing of what "{wire.upstream}" gives',
                    wire,
                    got=", ".join(kind.__name__ for kind in carried),
                    expected=", ".join(kind.__name__ for kind in takes),
                    hint=f"the layouts of {', '.join(sorted(names))} differ" if names else "",
                )


def own_checks(topology: Topology) -> Iterator[Mistake]:
    """What each kind itself says of its configuration; what it raised when it was asked, only if it says nothing."""
    for part in topology.parts:
        if part.cls is None or part.config is None:
            continue
        try:
            sentences = part.cls.check(part.config)
        except (Exception, SystemExit) as error:
            sentences, part.trouble = [], part.trouble or told(topology, part, error)
        for sentence in sentences:
            yield blame(topology, part, sentence)
        if not sentences and part.trouble is not None:
            yield part.trouble


def compiled(topology: Topology) -> Iterator[Mistake]:
    """What does not compile of what each kind would compile. It takes seconds where the cache is cold."""
    for part in topology.parts:
        if part.cls is None or not part.known:
            continue
        try:
            sentences = part.cls.compiles(part.config)
        except (Exception, SystemExit) as error:
            yield told(topology, part, error)
            continue
        for sentence in sentences:
            yield blame(topology, part, sentence, "compile")


def slots(topology: Topology) -> Iterator[Mistake]:
    """Every message fits into the largest slot."""
    for part in topology.parts:
        for kind in part.gives:
            stride = layout.stride_for(kind.dtype.itemsize)
            if stride > limits.SLOT_MAX_BYTES:
                place = topology.source.key(part.path)
                what = f'"{part.name}" gives {kind.__name__}, which is too large for a slot'
                expected = f"at most {limits.SLOT_MAX_BYTES - limits.SLOT_HEADER_BYTES} bytes"
                got = f"{kind.dtype.itemsize} bytes"
                yield Mistake("limit", what, place, dotted(part.path), got, expected)


def counts(topology: Topology) -> Iterator[Mistake]:
    """Not more actors than a node has blocks, nor more readers than a ring has pages."""
    if len(topology.parts) > limits.NODE_MAX_ACTORS:
        part = topology.parts[limits.NODE_MAX_ACTORS]
        what = f"a node has at most {limits.NODE_MAX_ACTORS} actors; this is one too many"
        place = topology.source.key(part.path)
        yield Mistake("limit", what, place, dotted(part.path), f"{len(topology.parts)} actors")
    for part in topology.parts:
        readers = topology.readers(part.name)
        if len(readers) > limits.RING_MAX_READERS:
            what = f'"{part.name}" has {len(readers)} readers'
            expected = f"at most {limits.RING_MAX_READERS} readers a ring"
            yield _at(topology, "limit", what, readers[-1][1], expected=expected)


CHECKS: tuple[Check, ...] = (
    unknown_inputs,
    repeated_inputs,
    input_counts,
    cycles,
    feedback,
    gates_only,
    poison,
    unaudited,
    reader_types,
    own_checks,
    slots,
    counts,
)


def check_graph(topology: Topology) -> list[Mistake]:
    """All mistakes of the graph. `flow_types` must have run."""
    return [mistake for check in CHECKS for mistake in check(topology)]
