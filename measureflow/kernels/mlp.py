"""A fully connected network on many points: values, slopes, and gradients in parameters and points.

The network D: R^d -> R^k has widths (d, n_1, ..., k), an activation after every layer but the last, and its parameters
in one vector: for each layer the matrix W (n_in, n_out) row by row, then the bias b (n_out,). Points are cut into
blocks of `ROWS` rows, so that activations stay in the cache and memory does not grow with their number. Blocks form at
most `CHUNKS` chunks, chosen from the shapes alone; each has its own sum, and the sums are added in order in float64. So
the bits do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow.kernels.activations import ACTIVATIONS
from measureflow.kernels.product import NO, YES
from measureflow.kernels.sweeps import (
    LAYER,
    LEVEL,
    Plan,
    add_gradient,
    backward,
    backward_again,
    gather,
    level,
    make_plan,
    spread,
    strip_size,
    tangents,
)
from measureflow.kernels.sweeps import forward as sweep_forward

ROWS = 128  # rows of a block
CHUNKS = 8
THREADED_WORK = 5.0e8  # multiply-adds from which threads are worth their start

Array = NDArray[Any]
Widths = tuple[int, ...]


def size(widths: Widths) -> int:
    """Return the number of parameters of a network of these widths.

    Examples
    --------
    >>> size((2, 3, 1))
    13
    """
    return sum((n + 1) * m for n, m in zip(widths[:-1], widths[1:], strict=True))


@njit
def put(source: Array, low: int, into: Array, rows: int) -> None:
    """Copy rows `low` on of `source` to the first columns of `into`."""
    for r in range(rows):
        for j in range(source.shape[1]):
            into[r, j] = source[low + r, j]


@njit
def _get(source: Array, into: Array, low: int, rows: int) -> None:
    """Copy the first columns of `source` to rows `low` on of `into`."""
    for r in range(rows):
        for j in range(into.shape[1]):
            into[low + r, j] = source[r, j]


@njit
def _flush(part: Array, total: Array) -> None:
    """Move a block's sum to the sum in float64."""
    for i in range(part.size):
        total[i] += part[i]
        part[i] = 0


@njit
def _values(params: Array, plan: Plan, code: int, points: Array, work: Any, rows: int, out: Array, slopes: Array) -> None:
    """Fill `out` (n, k) and, unless it is empty, `slopes` (n, d) of the first output."""
    acts, delta, _, _, strip, _ = work
    last, want = plan.shape[1] - 2, slopes.shape[0] > 0
    for low in range(0, points.shape[0], rows):
        here = min(rows, points.shape[0] - low)
        put(points, low, level(acts, plan, 0, here), here)
        sweep_forward(params, plan, code, acts, here, strip)
        _get(level(acts, plan, last, here), out, low, here)
        if want:
            level(delta, plan, last, here)[:] = 1
            backward(params, plan, code, acts, delta, here, YES, strip)
            _get(level(delta, plan, 0, here), slopes, low, here)


@njit
def _pull(
    params: Array, plan: Plan, code: int, points: Array, q: Array, work: Any, rows: int, total: Array, slopes: Array
) -> None:
    """Add the gradient of sum_i q_i . D(x_i) to `total` (float64); fill `slopes` (n, d) unless it is empty."""
    acts, delta, _, _, strip, part = work
    last, want = plan.shape[1] - 2, slopes.shape[0] > 0
    for low in range(0, points.shape[0], rows):
        here = min(rows, points.shape[0] - low)
        put(points, low, level(acts, plan, 0, here), here)
        put(q, low, level(delta, plan, last, here), here)
        sweep_forward(params, plan, code, acts, here, strip)
        backward(params, plan, code, acts, delta, here, want, strip)
        if want:
            _get(level(delta, plan, 0, here), slopes, low, here)
        add_gradient(plan, acts, delta, part, here, YES, strip)
        _flush(part, total)


@njit
def _pull_slopes(params: Array, plan: Plan, code: int, points: Array, along: Array, work: Any, rows: int, total: Array) -> None:
    """Add the gradient of sum_i along_i . grad D(x_i) to `total` (float64)."""
    acts, delta, tangent, back, strip, part = work
    last = plan.shape[1] - 2
    for low in range(0, points.shape[0], rows):
        here = min(rows, points.shape[0] - low)
        put(points, low, level(acts, plan, 0, here), here)
        put(along, low, level(tangent, plan, 0, here), here)
        level(delta, plan, last, here)[:] = 1
        level(back, plan, last, here)[:] = 0
        sweep_forward(params, plan, code, acts, here, strip)
        backward(params, plan, code, acts, delta, here, NO, strip)
        tangents(params, plan, code, acts, delta, tangent, back, here, strip)
        add_gradient(plan, tangent, delta, part, here, NO, strip)
        backward_again(params, plan, code, acts, back, delta, here, strip)
        add_gradient(plan, acts, back, part, here, YES, strip)
        _flush(part, total)


def _workspace(plan: Plan, rows: int, dtype: Any, second: bool) -> tuple[Array, ...]:
    """Return activations, deltas, tangents, second deltas (the last two only if asked), a strip and a gradient."""
    levels, strip = int(plan[LEVEL, -1]), strip_size((plan,), rows, dtype.itemsize)
    sizes = levels, levels, levels * second, levels * second, strip, int(plan[LAYER, -1])
    return tuple(np.zeros(k, dtype) for k in sizes)


def _threads(work: float) -> int:
    """Threads that so many multiply-adds are worth."""
    return int(numba.get_num_threads()) if work > THREADED_WORK else 1


def checked(params: Array, widths: Widths, activation: str, dtype: Any) -> tuple[Array, int]:
    """Return the parameters in the dtype, and the activation's code; ValueError where they do not fit."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {ACTIVATIONS}, got {activation!r}")
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths must be at least two positive integers, got {widths}")
    vector = np.ascontiguousarray(params, dtype)
    if vector.shape != (size(widths),):
        raise ValueError(f"params must have shape {(size(widths),)} for widths {widths}, got {vector.shape}")
    return vector, ACTIVATIONS.index(activation)


def _points(points: Array, widths: Widths) -> Array:
    """Return the points in float32 or float64, in order of rows."""
    x = np.ascontiguousarray(points, None if getattr(points, "dtype", None) == np.float32 else np.float64)
    if x.ndim != 2 or x.shape[1] != widths[0]:
        raise ValueError(f"points must have shape (n, {widths[0]}), got {x.shape}")
    return x


def _partner(name: str, values: Array, x: Array, columns: int) -> Array:
    """Return `values`, (n, columns), in the dtype of the points x."""
    rows = np.ascontiguousarray(values, x.dtype)
    if rows.shape != (len(x), columns):
        raise ValueError(f"{name} must have shape {(len(x), columns)}, got {rows.shape}")
    return rows


def _run(params: Array, widths: Widths, activation: str, x: Array, second: bool, task: Callable[..., None]) -> Array:
    """Call task(start, stop, arguments of a sweep, total) for each chunk; return the sum of the totals, packed."""
    vector, code = checked(params, widths, activation, x.dtype)
    plan = make_plan(widths, ROWS, x.itemsize)
    laid, packed = np.zeros(int(plan[LAYER, -1]), x.dtype), np.zeros(vector.size)
    spread(vector, plan, laid)
    n, total = len(x), np.zeros(laid.size)
    step = ROWS * max(1, -(-n // (ROWS * CHUNKS)))

    def chunk(start: int) -> Array:
        part, cut = np.zeros(laid.size), slice(start, min(start + step, n))
        task(cut, (laid, plan, code, x[cut]), _workspace(plan, min(ROWS, max(n, 1)), x.dtype, second), part)
        return part

    threads = _threads(6.0 * n * vector.size)
    if threads == 1:
        for start in range(0, n, step):
            total += chunk(start)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for part in pool.map(chunk, range(0, n, step)):
                total += part
    gather(total, plan, packed)
    return packed


def values(params: Array, widths: Widths, activation: str, points: Array) -> Array:
    """Return the outputs of the network.

    Parameters
    ----------
    params : (p,), see the head of this module
    widths : (d, n_1, ..., k)
    activation : "tanh", "relu" or "softplus"
    points : (n, d), float32 or float64, the dtype of the work and of the results

    Returns
    -------
    (n, k)

    Examples
    --------
    >>> import numpy as np
    >>> values(np.array([2.0, 0.5, 3.0, 1.0]), (1, 1, 1), "relu", np.array([[1.0], [-1.0]]))
    array([[8.5],
           [1. ]])
    """
    x = _points(points, widths)
    out, none = np.empty((len(x), widths[-1]), x.dtype), np.empty((0, widths[0]), x.dtype)

    def task(cut: slice, args: Any, work: Any, part: Array) -> None:
        _values(*args, work, ROWS, out[cut], none)

    _run(params, widths, activation, x, False, task)
    return out


def with_slopes(params: Array, widths: Widths, activation: str, points: Array) -> tuple[Array, Array]:
    """Return the values (n,) of a network with one output and its gradients in the points (n, d); arguments as `values`.

    Examples
    --------
    >>> import numpy as np
    >>> with_slopes(np.array([2.0, 0.5, 3.0, 1.0]), (1, 1, 1), "relu", np.array([[1.0], [-1.0]]))
    (array([8.5, 1. ]), array([[6.],
           [0.]]))
    """
    _single(widths)
    x = _points(points, widths)
    out, slopes = np.empty((len(x), 1), x.dtype), np.empty_like(x)

    def task(cut: slice, args: Any, work: Any, part: Array) -> None:
        _values(*args, work, ROWS, out[cut], slopes[cut])

    _run(params, widths, activation, x, False, task)
    return out[:, 0], slopes


def _single(widths: Widths) -> None:
    if widths[-1] != 1:
        raise ValueError(f"widths must end in 1 (one output), got {widths}")


def pullback(
    params: Array, widths: Widths, activation: str, points: Array, q: Array, want_points: bool = False
) -> tuple[Array, Array | None]:
    """Return the gradients of sum_i q_i . D(x_i) in the parameters (p,) and, if asked, in the points (n, d).

    Parameters
    ----------
    params, widths, activation, points : see `values`
    q : (n, k)
    want_points : compute the gradient in the points too

    Examples
    --------
    >>> import numpy as np
    >>> pullback(np.array([2.0, 0.5, 3.0, 1.0]), (1, 1, 1), "relu", np.array([[1.0]]), np.array([[1.0]]), True)
    (array([3. , 3. , 2.5, 1. ]), array([[6.]]))
    """
    x = _points(points, widths)
    seeds, slopes = _partner("q", q, x, widths[-1]), np.empty((len(x) if want_points else 0, widths[0]), x.dtype)

    def task(cut: slice, args: Any, work: Any, part: Array) -> None:
        _pull(*args, seeds[cut], work, ROWS, part, slopes[cut])

    gradient = _run(params, widths, activation, x, False, task)
    return gradient.astype(x.dtype, copy=False), slopes if want_points else None


def pullback_slopes(params: Array, widths: Widths, activation: str, points: Array, directions: Array) -> Array:
    """Return the gradient in the parameters (p,) of sum_i u_i . grad D(x_i), for a network with one output.

    With u_i = grad D(x_i) / n it is the gradient of the mean of |grad D|^2 / 2, an R1 penalty. relu has second derivative 0.

    Parameters
    ----------
    params, widths, activation, points : see `values`
    directions : (n, d), the u_i

    Examples
    --------
    >>> import numpy as np
    >>> pullback_slopes(np.array([2.0, 0.5, 3.0, 1.0]), (1, 1, 1), "relu", np.array([[1.0]]), np.array([[1.0]]))
    array([3., 0., 2., 0.])
    """
    _single(widths)
    x = _points(points, widths)
    along = _partner("directions", directions, x, widths[0])

    def task(cut: slice, args: Any, work: Any, part: Array) -> None:
        _pull_slopes(*args, along[cut], work, ROWS, part)

    return _run(params, widths, activation, x, True, task).astype(x.dtype, copy=False)
