"""Numba behind typed doors: strict type checks see ordinary functions, and every kernel is cached.

Kernels are compiled without the GIL and with an on-disk cache, so a restarted actor never compiles what
was compiled before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, ParamSpec, TypeVar

import numba
from numba import types
from numba.extending import intrinsic as _intrinsic
from numba.extending import register_jitable

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["checked", "external", "inlined", "intrinsic", "njit", "piece", "types"]


_PACKAGE = Path(__file__).parents[1]
_SHARED = (_PACKAGE / "runtime", _PACKAGE / "messages")
Stamps = tuple[tuple[str, int, int], ...]


@lru_cache(maxsize=256)
def _stamps(folder: Path) -> Stamps:
    """Name, time and size of the sources in `folder`; tests are nobody's ingredient."""
    found = [one for one in folder.glob("*.py") if not one.name.startswith(("test_", "conftest"))]
    said = [(one.name, one.stat()) for one in sorted(found)]
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in said)


def _folders(function: Any, seen: set[Any]) -> set[Path]:
    """Folders of the function's file and of what its globals name: compiled functions, and modules."""
    seen.add(function)
    found = {Path(function.__code__.co_filename).parent}
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        inner = getattr(value, "py_func", None)
        if isinstance(inner, FunctionType) and inner not in seen:
            found |= _folders(inner, seen)
        elif isinstance(value, ModuleType):
            file = Path(getattr(value, "__file__", None) or "")
            if file.name and "site-packages" not in file.parts:  # a library's version is pinned
                found.add(file.parent)
    return found


def _cached(function: Any, **options: Any) -> Any:
    dispatcher = numba.njit(cache=True, nogil=True, **options)(function)
    folders = sorted({*_folders(function, set()), *_SHARED})
    file = dispatcher._cache._cache_file
    stamps = tuple(_stamps(one) for one in folders)
    file._source_stamp = (file._source_stamp, stamps, tuple(sorted(options.items())))
    return dispatcher


def njit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile for the hot path: no GIL, no interpreter, cached on disk."""
    compiled: Callable[P, R] = _cached(function, boundscheck=False)
    return compiled


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Like `njit`, for an author's functions: an index beyond an array raises, as it does in plain Python."""
    compiled: Callable[P, R] = _cached(function, boundscheck=True)
    return compiled


def piece(function: Callable[P, R]) -> Callable[P, R]:
    """A function that an author's functions call: compiled into them, with bounds checks; else it is plain Python."""
    made: Callable[P, R] = register_jitable(boundscheck=True)(function)
    return made


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Like `njit`, for small pieces that must vanish into their caller."""
    compiled: Callable[P, R] = _cached(function, forceinline=True)
    return compiled


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare a function that writes its own LLVM."""
    made: Callable[..., Any] = _intrinsic(function)
    return made


def external(name: str, signature: Any) -> Callable[..., Any]:
    """Name a libc function that a kernel may call; unlike a ctypes pointer it stays cacheable."""
    made: Callable[..., Any] = types.ExternalFunction(name, signature)
    return made
