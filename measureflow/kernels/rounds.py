"""Rounds of adversarial training in compiled code, one member of an ensemble; see `adversarial` for what they are.

A generator that foresees K critic steps descends x -> E_0(x; y_K), y_k+1 = y_k + eta A(y_k; x) with the critic's ascent A. With
l_K = A(y_K) and l_k = l_k+1 + eta (d/ds) A(y_k + s l_k+1) the gradient is grad E_0(x; y_K) + eta sum_k (d/ds) grad E_0(x; y_k +
s l_k+1), as in `games.Unrolled`; derivatives along l are the same central differences of fourth order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow.kernels.draws import draw
from measureflow.kernels.product import NO, YES, keep_apart
from measureflow.kernels.sweeps import WIDTH
from measureflow.kernels.updates import gradients, make, pull_back
from measureflow.kernels.views import redraw

SIMULTANEOUS, ALTERNATING, EXTRAGRADIENT = range(3)
LATENTS, DATA = np.int64(0), np.int64(1)  # streams of indices
STEPS = (1e-2, 1e-3)  # displacements of differences, of single and double precision; the last as in `games.differences`
STENCIL = ((1.0, 8.0 / 12.0), (-1.0, -8.0 / 12.0), (2.0, -1.0 / 12.0), (-2.0, 1.0 / 12.0))

Array = NDArray[Any]


@njit
def _step(
    into: Array, start: Array, params: Array, total: Array, tau: Any, speed: Any, decay: Any, first: int, held: bool
) -> None:
    """Fill `into` with start + tau (speed gradient - decay params), and the gradient with 0; those below `first` do not decay.

    held: the last one does not move, the bias of the output of a law of neurons.
    """
    keep_apart()
    if held:
        total[total.size - 1] = 0
    for i in range(first):
        into[i] = start[i] + tau * (speed * total[i])
        total[i] = 0
    for i in range(first, params.size):
        into[i] = start[i] + tau * (speed * total[i] - decay * params[i])
        total[i] = 0


@njit
def _move(into: Array, start: Array, tau: Any, forces: Array) -> None:
    for i in range(forces.shape[0]):
        for j in range(forces.shape[1]):
            into[i, j] = start[i, j] - tau * forces[i, j]


@njit
def _copy(into: Array, source: Array) -> None:
    """Copy numbers of contiguous arrays of one size."""
    a, b = into.reshape(into.size), source.reshape(source.size)
    for i in range(a.size):
        a[i] = b[i]


@njit
def _largest(array: Array) -> float:
    size = 0.0
    for value in array:
        size = max(size, abs(value))
    return size


@njit
def _foresee(
    gen: Any, critic: Any, laws: Any, batches: Any, views: Any, kind: Any, rows: int, work: Any, ahead: Any, rates: Any
) -> None:
    """Fill the forces on points with those of a generator that foresees as many critic steps as `path` has rows, less one.

    ahead: (path, adjoint, summed forces); rates: (size of a step, what the critic's gradient is multiplied by, its decay, where
    that begins, whether the last bias is held). The critic ends where it was.
    """
    keep_apart()
    path, adjoint, summed = ahead
    size, speed, decay, first, held = rates
    c, total, forces = critic[0], critic[5], laws[3]
    steps, zero, one = path.shape[0] - 1, c.dtype.type(0), c.dtype.type(1)
    _copy(path[0], c)
    for k in range(steps):
        gradients(gen, critic, laws, batches, views, kind, (NO, YES), rows, work)
        _step(path[k + 1], c, c, total, size, speed, decay, first, held)
        _copy(c, path[k + 1])
    gradients(gen, critic, laws, batches, views, kind, (YES, YES), rows, work)
    _copy(summed, forces)
    for i in range(adjoint.size):
        adjoint[i] = zero
    _step(adjoint, adjoint, c, total, one, speed, decay, first, held)
    for k in range(steps - 1, -1, -1):
        length = _largest(adjoint)
        if length == 0.0:
            break
        h = STEPS[0 if c.itemsize == 4 else 1] * max(1.0, 1e-3 * _largest(path[k])) / length
        along = path[steps]  # no longer needed
        _copy(along, adjoint)
        for place, factor in STENCIL:
            for i in range(c.size):
                c[i] = path[k, i] + c.dtype.type(place * h) * along[i]
            gradients(gen, critic, laws, batches, views, kind, (YES, YES), rows, work)
            share = c.dtype.type(size * factor / h)
            for i in range(forces.shape[0]):
                for j in range(forces.shape[1]):
                    summed[i, j] += share * forces[i, j]
            _step(adjoint, adjoint, c, total, share, speed, decay, first, held)
    _copy(forces, summed)
    _copy(c, path[0])


@njit
def run(
    gen: Any,
    critic: Any,
    points: Array,
    laws: Any,
    batches: Any,
    views: Any,
    work: Any,
    starts: Any,
    ahead: Any,
    settings: Any,
    rates: Array,
) -> None:
    """Do the rounds of one member in place; see `adversarial.train`.

    points: of free particles, else none; laws: (what the critic sees points of, latents, target, forces); starts: generator,
    critic and points at the start of a round; ahead: None, compiled apart, or (path of a critic, adjoint, forces).
    """
    loss, law, coupling, inner, steps, first, seed, rows, free_until = settings
    latents, target, forces = laws[1], laws[2], laws[3]
    g, gtotal, c, total = gen[0], gen[5], critic[0], critic[5]
    free, zero, one = points.shape[0] > 0, c.dtype.type(0), c.dtype.type(1)
    share = one / c.dtype.type(critic[1][WIDTH, 1]) if law else one
    tau, eta, ridge, gamma, noise = rates[0], rates[1], rates[2], rates[3], rates[4]
    kind, strip, staged = (loss, share, gamma), work[2], forces.shape[0] > 0 and not free
    g_start, c_start, x_start = starts
    alternating, again = coupling == ALTERNATING, coupling == EXTRAGRADIENT
    for step in range(first, first + steps):
        for turn in range((1 if alternating else 0) + inner):
            moves = turn == 0, not (alternating and turn == 0)
            update = step * (inner + 1) + turn
            if free:
                draw(seed, update, LATENTS, batches[0].size, points.shape[0], batches[0])
            else:
                draw(seed, update, LATENTS, batches[0].size, latents.shape[0], batches[0])
            redraw(views[0], seed, update, 0, noise)
            if moves[1] or ahead is not None:
                draw(seed, update, DATA, batches[2].size, target.shape[0], batches[2])
                redraw(views[1], seed, update, 1, noise)
            if again:
                _copy(g_start, g)
                _copy(c_start, c)
                _copy(x_start, points)
            for _ in range(2 if again else 1):
                if staged:
                    make(gen, latents, batches[0], laws[0], rows, strip)
                left = moves
                if ahead is not None:
                    if moves[0]:
                        _foresee(
                            gen, critic, laws, batches, views, kind, rows, work, ahead, (eta, one / share, ridge, free_until, law)
                        )
                    left = False, moves[1]
                if left[0] or left[1]:
                    gradients(gen, critic, laws, batches, views, kind, left, rows, work)
                if staged and moves[0]:
                    pull_back(gen, latents, batches[0], forces, rows, strip)
                if moves[1]:
                    _step(c, c_start if again else c, c, total, eta, one / share, ridge, free_until, law)
                if turn == (0 if alternating else inner - 1):
                    if free:
                        _move(points, x_start if again else points, tau, forces)
                    else:
                        _step(g, g_start if again else g, g, gtotal, -tau, one, zero, 0, NO)
