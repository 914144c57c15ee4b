"""Find a strategy: an entry point of `sovereign.strategies`, or `module:Class`.

A plugin is compiled from its source as it stands when it is loaded, whatever Python's own cache holds (that goes by the
second of the last change, and an author is faster), and the hash of these very bytes is kept: what the ring says about
the code is about the code that runs.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, ModuleType

from sovereign.actors.strategy.api import Strategy
from sovereign.runtime.errors import PluginError, innermost


def load_strategy(name: str) -> type[Strategy]:
    """The class. PluginError when it does not import, is not there, or is no Strategy."""
    target = name
    if ":" not in name:
        found = {one.name: one.value for one in entry_points(group="sovereign.strategies")}
        if name not in found:
            raise PluginError(
                f"no strategy is named {name!r}",
                expected=", ".join(sorted(found)) or "none is installed",
                hint="name one of these, or module:Class",
            )
        target = found[name]
    module_name, _, class_name = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # an author's own file, beside the topology
    try:
        module = _import(module_name)
    except Exception as error:
        raise PluginError(
            f"strategy {name} does not import: {type(error).__name__}: {error}",
            where=innermost(error),
        ) from error
    strategy = getattr(module, class_name, None)
    if not (isinstance(strategy, type) and issubclass(strategy, Strategy)):
        known = [
            k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, Strategy)
        ]
        raise PluginError(
            f"{module_name} has no strategy {class_name!r}",
            where=str(getattr(module, "__file__", "")),
            expected=", ".join(k for k in known if k != "Strategy") or "a subclass of Strategy",
        )
    return strategy


_hashes: dict[str, bytes] = {}


class _Loader(SourceFileLoader):
    """Compiles the source, and keeps the hash of what it compiled."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        source = self.get_data(path)
        _hashes[fullname] = hashlib.sha256(source).digest()
        code: CodeType | None = self.source_to_code(source, path)
        return code


def source_hash(strategy: type[Strategy]) -> bytes:
    """SHA-256 of the source that the strategy's module was made from."""
    known = _hashes.get(strategy.__module__)
    if known is not None:
        return known
    path = getattr(sys.modules[strategy.__module__], "__file__", None)
    return hashlib.sha256(Path(path).read_bytes() if path else b"").digest()


def _import(name: str) -> ModuleType:
    """`importlib.import_module`, a module of plain source through `_Loader`."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None or type(spec.loader) is not SourceFileLoader:
        return importlib.import_module(name)
    spec.loader = _Loader(spec.loader.name, spec.loader.path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    return sys.modules[name]
