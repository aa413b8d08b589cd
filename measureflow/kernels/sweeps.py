"""Sweeps through a fully connected network on one block of rows: forward, backward, tangents and gradients.

The network is a_0 = x, z_l = a_(l-1) W_l + b_l, a_l = act(z_l), and a_L = z_L. With alpha_l the derivative of a number
in a_l and delta_l the derivative in z_l,

    delta_L = q,  alpha_(l-1) = delta_l W_l^T,  delta_l = alpha_l act'(z_l),  dW_l = a_(l-1)^T delta_l,  db_l = sum delta_l.

The derivative along U of a network with one output, U . grad D, is a forward sweep of tangents, da_0 = U,
dz_l = da_(l-1) W_l, da_l = act'(z_l) dz_l. Reversing it, with delta of the seeds q = 1, gives its gradient in the
parameters (an R1 penalty is such a sum):

    dW_l = da_(l-1)^T delta_l + a_(l-1)^T back_l,  db_l = sum back_l,
    back_L = 0,  back_l = alpha_l act''(z_l) dz_l + act'(z_l) (back_(l+1) W_(l+1)^T),

and with back_L = q the gradient of sum_i q_i D(x_i) is added to it in the same sweep.

All arrays are flat and laid out by a *plan*. Level l of a block has `capacity` rows of `pitch[l]` numbers, of which
width[l] are used. Layer l of the parameters has width[l] rows W of `pitch[l + 1]` numbers, then a row b. A width of at most 4
is its own pitch; others are rounded up to full tiles of `product`, above four an odd number of them, so that equal columns of
successive rows do not fall in the same lines of the cache. Numbers between width and pitch are 0 in parameters and gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow.kernels.activations import activate, add_times_slope, bend, times_slope
from measureflow.kernels.product import NO, ONE, YES, ZERO, columns_of, keep_apart, product

NARROW = 4  # widths up to this are done by plain loops
WIDTH, PITCH, LEVEL, LAYER = 0, 1, 2, 3  # rows of a plan

Plan = NDArray[np.int64]


def make_plan(widths: Any, capacity: int, itemsize: int) -> Plan:
    """Return the plan (4, L + 2): widths, pitches, start of each level, start of each layer; totals in the last column."""
    lanes, levels = 64 // itemsize, len(widths)
    plan = np.zeros((4, levels + 1), np.int64)
    plan[WIDTH, :-1] = widths
    plan[PITCH, :-1] = [n if n <= NARROW else lanes * (-(-n // lanes) | (n > 4 * lanes)) for n in widths]
    plan[LEVEL, 1:] = np.cumsum(plan[PITCH, :-1]) * capacity
    layers = (plan[WIDTH, :-2] + 1) * plan[PITCH, 1:-1]
    plan[LAYER, 1:-1] = np.cumsum(layers)
    plan[LAYER, -1] = layers.sum()
    return plan


def strip_size(plans: tuple[Plan, ...], capacity: int, itemsize: int) -> int:
    """Return the numbers that a strip must hold for these plans."""
    widest = max(int(plan[PITCH].max()) for plan in plans)
    return max(widest * max(NARROW, 64 // itemsize), capacity * (64 // itemsize))


@njit
def spread(packed: Any, plan: Any, laid: Any) -> None:
    """Lay out parameters: from the packed vector, W row by row and then b, to the layout of the plan (zeros elsewhere)."""
    k = 0
    for layer in range(plan.shape[1] - 2):
        n, pitch, at = plan[WIDTH, layer + 1], plan[PITCH, layer + 1], plan[LAYER, layer]
        for i in range(plan[WIDTH, layer] + 1):
            for j in range(n):
                laid[at + i * pitch + j] = packed[k]
                k += 1


@njit
def gather(laid: Any, plan: Any, packed: Any) -> None:
    """Pack laid out parameters: the inverse of `spread`."""
    k = 0
    for layer in range(plan.shape[1] - 2):
        n, pitch, at = plan[WIDTH, layer + 1], plan[PITCH, layer + 1], plan[LAYER, layer]
        for i in range(plan[WIDTH, layer] + 1):
            for j in range(n):
                packed[k] = laid[at + i * pitch + j]
                k += 1


@njit
def level(flat: Any, plan: Any, which: int, rows: int) -> Any:
    """Return the rows of a level as a matrix (rows, pitch)."""
    at, pitch = plan[LEVEL, which], plan[PITCH, which]
    return flat[at : at + rows * pitch].reshape((rows, pitch))


@njit
def entries(flat: Any, plan: Any, which: int, rows: int) -> Any:
    """Return the rows of a level as a vector, padding and all."""
    at = plan[LEVEL, which]
    return flat[at : at + rows * plan[PITCH, which]]


@njit
def matrix(flat: Any, plan: Any, layer: int) -> Any:
    """Return the matrix of a layer and its bias in the last row, (width + 1, pitch of the next level)."""
    at, pitch, rows = plan[LAYER, layer], plan[PITCH, layer + 1], plan[WIDTH, layer] + 1
    return flat[at : at + rows * pitch].reshape((rows, pitch))


@njit
def _take_transposed(source: Any, first: int, n: int, k: int, strip: Any, lanes: int) -> None:
    """Copy rows `first` to `first + n` (at most `lanes`) and k columns of `source` to a strip, transposed; zeros elsewhere."""
    keep_apart()
    for j in range(lanes):
        if j < n:
            for i in range(k):
                strip[i * lanes + j] = source[first + j, i]
        else:
            for i in range(k):
                strip[i * lanes + j] = 0


@njit
def _dots(a: Any, w: Any, rows: int, n: int, k: int, out: Any) -> None:
    """out[r, o] = sum over k of a[r, k] w[o, k], for few o; four rows at once, at the end some of them twice: the same bits."""
    keep_apart()
    for r in range(0, rows, 4):
        r1, r2, r3 = min(r + 1, rows - 1), min(r + 2, rows - 1), min(r + 3, rows - 1)
        for o in range(n):
            s = t = u = v = out.dtype.type(0)
            for i in range(k):
                s += a[r, i] * w[o, i]
                t += a[r1, i] * w[o, i]
                u += a[r2, i] * w[o, i]
                v += a[r3, i] * w[o, i]
            out[r, o], out[r1, o], out[r2, o], out[r3, o] = s, t, u, v


@njit
def _outer(a: Any, b: Any, rows: int, n: int, k: int, out: Any) -> None:
    """out[i, j] += sum over rows of a[r, i] b[r, j], for i < n, few, and j < k."""
    keep_apart()
    whole = rows - rows % 8
    for i in range(n):
        for r in range(0, whole, 8):
            s, t, u, v = a[r, i], a[r + 1, i], a[r + 2, i], a[r + 3, i]
            p, q, x, y = a[r + 4, i], a[r + 5, i], a[r + 6, i], a[r + 7, i]
            for j in range(k):
                one = (s * b[r, j] + t * b[r + 1, j]) + (u * b[r + 2, j] + v * b[r + 3, j])
                out[i, j] += one + ((p * b[r + 4, j] + q * b[r + 5, j]) + (x * b[r + 6, j] + y * b[r + 7, j]))
        for r in range(whole, rows):
            for j in range(k):
                out[i, j] += a[r, i] * b[r, j]


@njit
def _add_rows(d: Any, rows: int, n: int, out: Any) -> None:
    """out[j] += sum over rows of d[r, j], for j < n."""
    keep_apart()
    if n <= NARROW:
        for j in range(n):
            total = out.dtype.type(0)
            for r in range(rows):
                total += d[r, j]
            out[j] += total
        return
    whole = rows - rows % 8
    for r in range(0, whole, 8):
        for j in range(n):
            one = (d[r, j] + d[r + 1, j]) + (d[r + 2, j] + d[r + 3, j])
            out[j] += one + ((d[r + 4, j] + d[r + 5, j]) + (d[r + 6, j] + d[r + 7, j]))
    for r in range(whole, rows):
        for j in range(n):
            out[j] += d[r, j]


@njit
def _apply(params: Any, plan: Any, layer: int, source: Any, into: Any, rows: int, strip: Any) -> None:
    """Level layer + 1 of `into` = level `layer` of `source` times W."""
    keep_apart()
    k, n, lanes = plan[WIDTH, layer], plan[WIDTH, layer + 1], columns_of(strip)
    w = matrix(params, plan, layer)
    if n <= NARROW:
        for o in range(n):
            for i in range(k):
                strip[o * k + i] = w[i, o]
        _dots(level(source, plan, layer, rows), strip[: n * k].reshape((n, k)), rows, n, k, level(into, plan, layer + 1, rows))
        return
    at, pitch, to, across = plan[LEVEL, layer], plan[PITCH, layer], plan[LEVEL, layer + 1], plan[PITCH, layer + 1]
    for j in range(0, n, lanes):
        product(source, at, pitch, ONE, params, plan[LAYER, layer] + j, across, into, to + j, across, rows, k, NO)


@njit
def _apply_transposed(params: Any, plan: Any, layer: int, source: Any, into: Any, to: int, rows: int, strip: Any) -> None:
    """Fill the block of `into` at `to`, with the pitch of level `layer`, with level layer + 1 of `source` times W^T."""
    keep_apart()
    n, k, lanes = plan[WIDTH, layer], plan[WIDTH, layer + 1], columns_of(strip)
    w = matrix(params, plan, layer)
    across = plan[PITCH, layer]
    if n <= NARROW:
        out = into[to : to + rows * across].reshape((rows, across))
        _dots(level(source, plan, layer + 1, rows), w, rows, n, k, out)
        return
    at, pitch = plan[LEVEL, layer + 1], plan[PITCH, layer + 1]
    for j in range(0, n, lanes):
        _take_transposed(w, j, min(lanes, n - j), k, strip, lanes)
        product(source, at, pitch, ONE, strip, ZERO, lanes, into, to + j, across, rows, k, NO)


@njit
def forward(params: Any, plan: Any, code: int, acts: Any, rows: int, strip: Any) -> None:
    """Fill levels 1 to L of `acts` from level 0."""
    keep_apart()
    last = plan.shape[1] - 3
    for layer in range(last + 1):
        _apply(params, plan, layer, acts, acts, rows, strip)
        n, z, w = plan[WIDTH, layer + 1], level(acts, plan, layer + 1, rows), matrix(params, plan, layer)
        bias = w[plan[WIDTH, layer]]
        if layer < last:
            activate(z, bias, rows, n, code)
        else:
            for r in range(rows):
                for j in range(n):
                    z[r, j] += bias[j]


@njit
def backward(params: Any, plan: Any, code: int, acts: Any, delta: Any, rows: int, into_points: bool, strip: Any) -> None:
    """Fill levels 1 to L - 1 of `delta`, and level 0 if asked, from the seeds in level L."""
    keep_apart()
    for layer in range(plan.shape[1] - 3, 0, -1):
        _apply_transposed(params, plan, layer, delta, delta, plan[LEVEL, layer], rows, strip)
        times_slope(entries(delta, plan, layer, rows), entries(acts, plan, layer, rows), code)
    if into_points:
        _apply_transposed(params, plan, ZERO, delta, delta, plan[LEVEL, 0], rows, strip)


@njit
def tangents(params: Any, plan: Any, code: int, acts: Any, delta: Any, along: Any, back: Any, rows: int, strip: Any) -> None:
    """Fill levels 1 to L - 1 of `along` from level 0, the directions; start `back` there with alpha act'' dz."""
    keep_apart()
    for layer in range(plan.shape[1] - 3):
        _apply(params, plan, layer, along, along, rows, strip)
        here = layer + 1
        bend(
            entries(along, plan, here, rows),
            entries(back, plan, here, rows),
            entries(delta, plan, here, rows),
            entries(acts, plan, here, rows),
            code,
        )


@njit
def backward_again(params: Any, plan: Any, code: int, acts: Any, back: Any, spare: Any, rows: int, strip: Any) -> None:
    """Complete levels 1 to L - 1 of `back`, started by `tangents`, from the seeds in level L; `spare` is overwritten."""
    keep_apart()
    for layer in range(plan.shape[1] - 3, 0, -1):
        _apply_transposed(params, plan, layer, back, spare, plan[LEVEL, 0], rows, strip)
        add_times_slope(entries(back, plan, layer, rows), spare, entries(acts, plan, layer, rows), code)


@njit
def add_gradient(plan: Any, acts: Any, delta: Any, total: Any, rows: int, biases: bool, strip: Any) -> None:
    """Add a_(l-1)^T delta_l to the matrices of `total`, and the sums of delta_l to its biases if asked."""
    keep_apart()
    lanes = columns_of(strip)
    for layer in range(plan.shape[1] - 2):
        k, n, pitch = plan[WIDTH, layer], plan[WIDTH, layer + 1], plan[PITCH, layer + 1]
        a, d, into = level(acts, plan, layer, rows), level(delta, plan, layer + 1, rows), matrix(total, plan, layer)
        at, to = plan[LEVEL, layer], plan[LEVEL, layer + 1]
        if k <= NARROW:
            _outer(a, d, rows, k, n, into)
        elif n <= NARROW:
            sums = strip[: n * k].reshape((n, k))
            sums[:] = 0
            _outer(d, a, rows, n, k, sums)
            for i in range(k):
                for j in range(n):
                    into[i, j] += sums[j, i]
        else:
            for j in range(0, n, lanes):
                product(
                    acts, at, ONE, plan[PITCH, layer], delta, to + j, pitch, total, plan[LAYER, layer] + j, pitch, k, rows, YES
                )
        if biases:
            _add_rows(d, rows, n, into[k])
