"""Numba behind typed doors: strict type checks see ordinary functions, and every kernel is cached.

Kernels are compiled without the GIL and with an on-disk cache, so a restarted actor never compiles what
was compiled before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
from numba import types
from numba.extending import intrinsic as _intrinsic

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["external", "inlined", "intrinsic", "njit", "types"]


def njit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile for the hot path: no GIL, no interpreter, cached on disk."""
    compiled: Callable[P, R] = numba.njit(cache=True, nogil=True, boundscheck=False)(function)
    return compiled


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Like `njit`, for small pieces that must vanish into their caller."""
    compiled: Callable[P, R] = numba.njit(cache=True, nogil=True, forceinline=True)(function)
    return compiled


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare a function that writes its own LLVM."""
    made: Callable[..., Any] = _intrinsic(function)
    return made


def external(name: str, signature: Any) -> Callable[..., Any]:
    """Name a libc function that a kernel may call; unlike a ctypes pointer it stays cacheable."""
    made: Callable[..., Any] = types.ExternalFunction(name, signature)
    return made
