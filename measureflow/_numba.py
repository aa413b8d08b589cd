"""The one `njit` decorator of the package.

``error_model="numpy"`` lets loops with divisions vectorise; the fast-math flags allow contraction and reassociation but keep
NaN and infinity, so that a kernel fed with NaN returns NaN. Sums over threads go through fixed blocks, so that
the bits do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

FASTMATH = {"contract", "reassoc", "nsz", "arcp"}


def njit(function: F | None = None, *, parallel: bool = False, inline: bool = False) -> Any:
    """Compile a kernel lazily, cached beside the package, without the GIL."""

    def decorate(kernel: F) -> F:
        return numba.njit(
            kernel,
            cache=True,
            nogil=True,
            error_model="numpy",
            fastmath=FASTMATH,
            parallel=parallel,
            inline="always" if inline else "never",
        )

    return decorate if function is None else decorate(function)
