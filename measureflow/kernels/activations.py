"""Activations of networks and their derivatives, in place on rows of a matrix, for use inside other kernels.

Derivatives are taken from the activation t = act(z) itself, so that z need not be kept:
act' = 1 - t^2 for tanh, 1 where t > 0 for relu (0 at 0), 1 - exp(-t) for softplus. The second derivative is
act'' = act' times -2 t for tanh, 0 for relu, exp(-t) for softplus. NaN stays NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import overload

from measureflow._numba import njit
from measureflow.kernels.elementary import (
    exp32,
    exp64,
    expm1_negative32,
    expm1_negative64,
    select_less,
    softplus32,
    softplus64,
    tanh32,
    tanh64,
)
from measureflow.kernels.product import keep_apart

TANH, RELU, SOFTPLUS = 0, 1, 2
ACTIVATIONS = ("tanh", "relu", "softplus")


def tanh(z: Any) -> Any:
    """Hyperbolic tangent of the dtype of z."""
    raise NotImplementedError("compiled code only")


def softplus(z: Any) -> Any:
    """Return log(1 + exp(z)) of the dtype of z."""
    raise NotImplementedError("compiled code only")


def exp_negative(t: Any) -> Any:
    """Return exp(-t) of the dtype of t."""
    raise NotImplementedError("compiled code only")


def rise(t: Any) -> Any:
    """Return 1 - exp(-t) for t >= 0 of the dtype of t, accurate near 0."""
    raise NotImplementedError("compiled code only")


@overload(tanh)
def _tanh(z: Any) -> Callable[..., Any]:
    def single(z: Any) -> Any:
        return tanh32(z)

    def double(z: Any) -> Any:
        return tanh64(z)

    return single if z == types.float32 else double


@overload(softplus)
def _softplus(z: Any) -> Callable[..., Any]:
    def single(z: Any) -> Any:
        return softplus32(z)

    def double(z: Any) -> Any:
        return softplus64(z)

    return single if z == types.float32 else double


@overload(exp_negative)
def _exp_negative(t: Any) -> Callable[..., Any]:
    def single(t: Any) -> Any:
        return exp32(-t)

    def double(t: Any) -> Any:
        return exp64(-t)

    return single if t == types.float32 else double


@overload(rise)
def _rise(t: Any) -> Callable[..., Any]:
    high = types.float32.cast_python_value(80.0) if t == types.float32 else 700.0

    def single(t: Any) -> Any:
        return -expm1_negative32(-select_less(high, t, high, t))

    def double(t: Any) -> Any:
        return -expm1_negative64(-select_less(high, t, high, t))

    return single if t == types.float32 else double


@njit
def activate(z: Any, bias: Any, rows: int, n: int, code: int) -> None:
    """Put act(z + bias) in place of z, a matrix of which `rows` rows and `n` columns are used."""
    keep_apart()
    zero = z.dtype.type(0)
    if code == TANH:
        for r in range(rows):
            for j in range(n):
                z[r, j] = tanh(z[r, j] + bias[j])
    elif code == RELU:
        for r in range(rows):
            for j in range(n):
                s = z[r, j] + bias[j]
                z[r, j] = zero if s <= zero else s
    else:
        for r in range(rows):
            for j in range(n):
                z[r, j] = softplus(z[r, j] + bias[j])


@njit
def times_slope(factors: Any, t: Any, rows: int, n: int, code: int) -> None:
    """Multiply `factors` by act', entry by entry."""
    keep_apart()
    zero, one = t.dtype.type(0), t.dtype.type(1)
    if code == TANH:
        for r in range(rows):
            for j in range(n):
                factors[r, j] *= one - t[r, j] * t[r, j]
    elif code == RELU:
        for r in range(rows):
            for j in range(n):
                factors[r, j] *= one if t[r, j] > zero else t[r, j]
    else:
        for r in range(rows):
            for j in range(n):
                factors[r, j] *= rise(t[r, j])


@njit
def bend(tangents: Any, back: Any, delta: Any, t: Any, rows: int, n: int, code: int) -> None:
    """From tangents dz of z and delta = alpha act': back = alpha act'' dz, and tangents = act' dz."""
    keep_apart()
    zero, one, two = t.dtype.type(0), t.dtype.type(1), t.dtype.type(2)
    if code == TANH:
        for r in range(rows):
            for j in range(n):
                s, z = t[r, j], tangents[r, j]
                back[r, j] = -two * (delta[r, j] * s * z)
                tangents[r, j] = (one - s * s) * z
    elif code == RELU:
        for r in range(rows):
            for j in range(n):
                s = one if t[r, j] > zero else t[r, j]
                back[r, j] = zero
                tangents[r, j] *= s
    else:
        for r in range(rows):
            for j in range(n):
                s, z = t[r, j], tangents[r, j]
                back[r, j] = delta[r, j] * exp_negative(s) * z
                tangents[r, j] = rise(s) * z


@njit
def add_times_slope(back: Any, more: Any, t: Any, rows: int, n: int, code: int) -> None:
    """Add `more` times act' to `back`, entry by entry."""
    times_slope(more, t, rows, n, code)
    for r in range(rows):
        for j in range(n):
            back[r, j] += more[r, j]
