"""A plugin's module is made from its source as it stands when it is loaded, and the hash of these very bytes is kept.

Python's own cache goes by the second of the last change, and an author is faster. What the ring says about the code is
about the code that runs.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

__all__ = ["import_fresh", "source_hash"]

_hashes: dict[str, bytes] = {}


class _Loader(SourceFileLoader):
    """Compiles the source, and keeps the hash of what it compiled."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        source = self.get_data(path)
        _hashes[fullname] = hashlib.sha256(source).digest()
        code: CodeType | None = self.source_to_code(source, path)
        return code


def source_hash(module: str) -> bytes:
    """SHA-256 of the source that an imported module was made from."""
    known = _hashes.get(module)
    if known is not None:
        return known
    path = getattr(sys.modules[module], "__file__", None)
    return hashlib.sha256(Path(path).read_bytes() if path else b"").digest()


def import_fresh(name: str) -> ModuleType:
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
