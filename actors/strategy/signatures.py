"""From an author's function to what it takes and gives: the annotations are read here, and what does not fit is refused.

on_<something>(event: E, state: State, params: Params, out: O) -> int
on_<something>(event: E, state: State, params: Params, scratch: Scratch, out: O) -> int
learn_<something>(event: E, scratch: Scratch, params: Params) -> None
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from sovereign.runtime import limits
from sovereign.runtime.errors import PluginError
from sovereign.runtime.message import Message


class Handler(NamedTuple):
    """One `on_*` function and the types that its annotations name."""

    name: str
    function: Callable[..., int]
    takes: type[Message]
    gives: type[Message]
    most: int = 1
    sees_scratch: bool = False


class Learner(NamedTuple):
    """One `learn_*` function and the type that it takes."""

    name: str
    function: Callable[..., None]
    takes: type[Message]


class Route(NamedTuple):
    """What is called for one message type: first the learner, then the handler."""

    takes: type[Message]
    handler: Handler | None
    learner: Learner | None


def where_is(thing: Any) -> str:
    """File and line of a class or a function."""
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return str(thing)


class _Signature:
    """A static method of a strategy: its parameters' names and annotations."""

    def __init__(self, cls: Any, name: str, forms: tuple[str, ...]) -> None:
        raw = inspect.getattr_static(cls, name)
        self.function = raw.__func__ if isinstance(raw, staticmethod) else raw
        self.title = f"{cls.__name__}.{name}"
        own = {word: getattr(cls, word) for word in ("State", "Params", "Scratch")}
        try:
            # Its own module's names: a base class may stand in another.
            scope = {**self.function.__globals__, **own}
            self.hints = typing.get_type_hints(self.function, scope, include_extras=True)
        except NameError as error:
            raise self.wrong(f"an annotation does not resolve: {error}") from error
        self.words = list(inspect.signature(self.function).parameters)
        counts = [form.count(",") + 1 for form in forms]
        if len(self.words) not in counts or not isinstance(raw, staticmethod):
            raise self.wrong(
                "it has another form",
                got=f"({', '.join(self.words)})",
                expected="a @staticmethod with " + " or ".join(forms),
            )

    def wrong(self, what: str, *, got: str = "", expected: str = "") -> PluginError:
        """An error about this function."""
        where = where_is(self.function)
        return PluginError(f"{self.title}: {what}", where=where, got=got, expected=expected)

    def message(self, place: int) -> tuple[type[Message], int]:
        """The message type that a parameter's annotation names, and how many of them."""
        word, most = self.words[place], 1
        kind = self.hints.get(word)
        if typing.get_origin(kind) is typing.Annotated:
            kind, most = typing.get_args(kind)[:2]
        if not (isinstance(kind, type) and issubclass(kind, Message)):
            expected = "a subclass of Message as its annotation"
            raise self.wrong(
                f"parameter {word!r} names no message type", got=str(kind), expected=expected
            )
        return kind, most

    def scratch(self, place: int, cls: Any) -> None:
        """Refuse a parameter that is not annotated as the strategy's Scratch."""
        word = self.words[place]
        if self.hints.get(word) is not cls.Scratch:
            got = getattr(self.hints.get(word), "__name__", str(self.hints.get(word)))
            raise self.wrong(
                f"parameter {word!r} is where scratch stands", got=got, expected="Scratch"
            )


def handler_of(cls: Any, name: str) -> Handler:
    """The handler `on_*` of a strategy."""
    forms: tuple[str, ...] = ("(event, state, params, out)",)
    if cls.Scratch is not None:
        forms = (*forms, "(event, state, params, scratch, out)")
    signature = _Signature(cls, name, forms)
    takes, one = signature.message(0)
    gives, most = signature.message(len(signature.words) - 1)
    sees_scratch = len(signature.words) == 5
    if one != 1:
        raise signature.wrong("an event comes alone", got=f"Annotated[…, {one}]")
    if not 1 <= most <= limits.STEP_MAX_OUTPUTS_PER_EVENT:
        expected = f"1 to {limits.STEP_MAX_OUTPUTS_PER_EVENT}"
        raise signature.wrong(f"it gives {most} messages at once", expected=expected)
    if sees_scratch:
        signature.scratch(3, cls)
        _refuse_writes(signature, signature.words[3])
    return Handler(name, signature.function, takes, gives, most, sees_scratch)


def learner_of(cls: Any, name: str) -> Learner:
    """The learner `learn_*` of a strategy."""
    signature = _Signature(cls, name, ("(event, scratch, params)",))
    takes, one = signature.message(0)
    if one != 1:
        raise signature.wrong("an event comes alone", got=f"Annotated[…, {one}]")
    signature.scratch(1, cls)
    return Learner(name, signature.function, takes)


def by_type(
    cls: Any, handlers: tuple[Handler, ...], learners: tuple[Learner, ...]
) -> tuple[Route, ...]:
    """One route a type. PluginError when two functions of a kind take the same."""
    for found in (handlers, learners):
        names: dict[type[Message], str] = {}
        for one in found:
            if one.takes in names:
                raise PluginError(
                    f"{cls.__name__}.{names[one.takes]} and {one.name} both take {one.takes.__name__}",
                    where=where_is(one.function),
                    expected="one function of a kind for a message type",
                )
            names[one.takes] = one.name
    deciding = {one.takes: one for one in handlers}
    learning = {one.takes: one for one in learners}
    return tuple(
        Route(kind, deciding.get(kind), learning.get(kind)) for kind in {**deciding, **learning}
    )


def _refuse_writes(signature: _Signature, word: str) -> None:
    """A decision must not change what is derived: after a restart it would not be there."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(signature.function)))
    except (OSError, SyntaxError):
        return  # no source to look at; plain Python refuses the write itself
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else []
        if isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in (inner for one in targets for inner in ast.walk(one)):
            root: Any = target
            while isinstance(root, ast.Attribute | ast.Subscript):
                root = root.value
            if root is not target and isinstance(root, ast.Name) and root.id == word:
                raise signature.wrong(
                    "it writes into scratch",
                    got=ast.unparse(target),
                    expected="learn_* writes it, on_* only reads it: what a decision leaves belongs into State",
                )
