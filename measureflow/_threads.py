"""One thread for linear algebra: the bits of BLAS sums depend on their number of threads, and small products only wait."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


@cache
def _loaded_libraries() -> Any:
    return _libraries()


def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def one_blas_thread(look_again: bool = True) -> AbstractContextManager[Any]:
    """Return a context in which BLAS runs on one thread.

    Parameters
    ----------
    look_again : bool
        Look for libraries loaded since the first call (0.3 ms); without it the context costs 10 microseconds.
    """
    if look_again:
        import scipy.linalg  # noqa: F401  # its own BLAS can be held to one thread only once it is loaded

    return (_libraries() if look_again else _loaded_libraries()).limit(limits=1)
