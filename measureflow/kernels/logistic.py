"""The logistic loss on whole arrays: softplus and its derivative in one vectorised pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow.kernels.elementary import sigmoid64, softplus64

Array = NDArray[Any]


@njit
def _fill(x: Array, sign: float, values: Array, slopes: Array) -> None:
    """Put sign softplus(sign x) in `values` and its derivative sigmoid(sign x) in `slopes`."""
    for i in range(x.size):
        t = sign * x[i]
        values[i] = sign * softplus64(t)
        slopes[i] = sigmoid64(t)


def softplus(x: Array) -> tuple[Array, Array]:
    """Return log(1 + exp(x)) and its derivative 1/(1 + exp(-x)), of any shape, in float64.

    Examples
    --------
    >>> softplus(np.array([0.0, 1.0]))
    (array([0.69314718, 1.31326169]), array([0.5       , 0.73105858]))
    """
    return _both(x, 1.0)


def log_sigmoid(x: Array) -> tuple[Array, Array]:
    """Return -log(1 + exp(-x)) and its derivative 1/(1 + exp(x)), of any shape, in float64.

    Examples
    --------
    >>> log_sigmoid(np.array([0.0, 1.0]))
    (array([-0.69314718, -0.31326169]), array([0.5       , 0.26894142]))
    """
    return _both(x, -1.0)


def _both(x: Array, sign: float) -> tuple[Array, Array]:
    flat = np.ascontiguousarray(x, np.float64).ravel()
    values, slopes = np.empty_like(flat), np.empty_like(flat)
    _fill(flat, sign, values, slopes)
    return values.reshape(np.shape(x)), slopes.reshape(np.shape(x))
