"""One thread for linear algebra: the bits of BLAS sums depend on their number of threads, and small products only wait."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from functools import cache, lru_cache
from typing import Any


@cache
def _loaded_libraries() -> Any:
    return _libraries(len(sys.modules))


@lru_cache(maxsize=1)
def _libraries(modules: int) -> Any:
    """Return the BLAS libraries of the process, looked for anew when the number of modules has changed: modules load them."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def one_blas_thread(look_again: bool = True) -> AbstractContextManager[Any]:
    """Return a context in which BLAS runs on one thread.

    Parameters
    ----------
    look_again : bool
        Look for libraries loaded since the first call: 1 to 3 ms after a module was imported, else as without it some 30
        microseconds.
    """
    if look_again:
        import scipy.linalg  # noqa: F401  # its own BLAS can be held to one thread only once it is loaded

    return (_libraries(len(sys.modules)) if look_again else _loaded_libraries()).limit(limits=1)
