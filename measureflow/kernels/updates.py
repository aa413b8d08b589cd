"""Gradients of a generator and a critic in compiled code, one member of an ensemble; see `adversarial` for what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import overload
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow.kernels.elementary import sigmoid32, sigmoid64
from measureflow.kernels.product import NO, YES, keep_apart
from measureflow.kernels.sweeps import (
    WIDTH,
    Plan,
    add_gradient,
    backward,
    backward_again,
    forward,
    level,
    tangents,
)
from measureflow.kernels.views import look, push_back, take, weigh

LOSSES = ("wasserstein", "minimax", "nonsaturating", "least squares", "hinge")
WASSERSTEIN, MINIMAX, NONSATURATING, LEAST_SQUARES, HINGE = range(5)

Array = NDArray[Any]


def _sigmoid(z: Any) -> Any:
    """Return 1 / (1 + exp(-z)) of the dtype of z."""
    raise NotImplementedError("compiled code only")


@overload(_sigmoid)
def _sigmoid_compiled(z: Any) -> Callable[..., Any]:
    def single(z: Any) -> Any:
        return sigmoid32(z)

    def double(z: Any) -> Any:
        return sigmoid64(z)

    return single if z == types.float32 else double


@njit
def _on_generated(values: Array, rows: int, loss: int, share: Any, phi: Array, chi: Array) -> None:
    """Fill phi'(D) and chi'(D), D = share times the values (rows, 1)."""
    zero, one = values.dtype.type(0), values.dtype.type(1)
    for r in range(rows):
        phi[r] = chi[r] = one
    if loss == MINIMAX:
        for r in range(rows):
            phi[r] = chi[r] = _sigmoid(-share * values[r, 0])
    elif loss == NONSATURATING:
        for r in range(rows):
            chi[r] = _sigmoid(share * values[r, 0])
            phi[r] = _sigmoid(-share * values[r, 0])
    elif loss == LEAST_SQUARES:
        for r in range(rows):
            phi[r] = one - share * values[r, 0]
            chi[r] = one + share * values[r, 0]
    elif loss == HINGE:
        for r in range(rows):
            phi[r] = zero if share * values[r, 0] >= one else one


@njit
def _on_target(values: Array, rows: int, loss: int, share: Any, psi: Array) -> None:
    """Fill psi'(D), D = share times the values (rows, 1)."""
    zero, one = values.dtype.type(0), values.dtype.type(1)
    if loss == WASSERSTEIN:
        for r in range(rows):
            psi[r] = -one
    elif loss == LEAST_SQUARES:
        for r in range(rows):
            psi[r] = -one - share * values[r, 0]
    elif loss == HINGE:
        for r in range(rows):
            psi[r] = zero if share * values[r, 0] <= -one else -one
    else:
        for r in range(rows):
            psi[r] = -_sigmoid(share * values[r, 0])


@njit
def _times_rows(delta: Array, plan: Plan, rows: int, factors: Array, scale: Any) -> None:
    """Multiply every row of levels 1 to L by its factor and by `scale`."""
    for which in range(1, plan.shape[1] - 1):
        rows_of = level(delta, plan, which, rows)
        for r in range(rows):
            factor = factors[r] * scale
            for j in range(plan[WIDTH, which]):
                rows_of[r, j] *= factor


@njit
def _fused(
    gen: Any, critic: Any, latents: Array, indices: Array, loss: int, share: Any, moves: Any, rows: int, work: Any
) -> None:
    """Go once through the batch of a network, whose points the critic sees as they are, for all players that move.

    gen, critic: (parameters, plan, activation, activations, deltas, gradient); added to are the gradients of those that move,
    (generator, critic).
    """
    keep_apart()
    g, gplan, gcode, gacts, gdelta, gtotal = gen
    c, cplan, ccode, acts, delta, total = critic
    strip, phi, chi = work
    glast, last, count = gplan.shape[1] - 2, cplan.shape[1] - 2, indices.size
    mean = c.dtype.type(1) / c.dtype.type(count)
    for low in range(0, count, rows):
        here = min(rows, count - low)
        x = level(acts, cplan, 0, here)
        take(latents, indices, low, level(gacts, gplan, 0, here), here)
        forward(g, gplan, gcode, gacts, here, strip)
        _copy(level(gacts, gplan, glast, here), x, cplan[WIDTH, 0])
        forward(c, cplan, ccode, acts, here, strip)
        _on_generated(level(acts, cplan, last, here), here, loss, share, phi, chi)
        level(delta, cplan, last, here)[:] = share
        backward(c, cplan, ccode, acts, delta, here, moves[0], strip)
        if moves[0]:
            slopes, top = level(delta, cplan, 0, here), level(gdelta, gplan, glast, here)
            for r in range(here):
                for j in range(gplan[WIDTH, glast]):
                    top[r, j] = (mean * chi[r]) * slopes[r, j]
            backward(g, gplan, gcode, gacts, gdelta, here, NO, strip)
            add_gradient(gplan, gacts, gdelta, gtotal, here, YES, strip)
        if moves[1]:
            _times_rows(delta, cplan, here, phi, mean)
            add_gradient(cplan, acts, delta, total, here, YES, strip)


@njit
def _copy(source: Array, into: Array, columns: int) -> None:
    for r in range(source.shape[0]):
        for j in range(columns):
            into[r, j] = source[r, j]


@njit
def make(gen: Any, latents: Array, indices: Array, made: Array, rows: int, strip: Array) -> None:
    """Fill `made` (count, d) with the points of a network's batch."""
    keep_apart()
    g, plan, code, acts, _, _ = gen
    for low in range(0, indices.size, rows):
        here = min(rows, indices.size - low)
        take(latents, indices, low, level(acts, plan, 0, here), here)
        forward(g, plan, code, acts, here, strip)
        _copy(level(acts, plan, plan.shape[1] - 2, here), made[low : low + here], made.shape[1])


@njit
def pull_back(gen: Any, latents: Array, indices: Array, forces: Array, rows: int, strip: Array) -> None:
    """Add to a network's gradient the one that forces (count, d) on its points have."""
    keep_apart()
    g, plan, code, acts, delta, total = gen
    last, mean = plan.shape[1] - 2, g.dtype.type(1) / g.dtype.type(indices.size)
    for low in range(0, indices.size, rows):
        here = min(rows, indices.size - low)
        take(latents, indices, low, level(acts, plan, 0, here), here)
        forward(g, plan, code, acts, here, strip)
        top = level(delta, plan, last, here)
        for r in range(here):
            for j in range(forces.shape[1]):
                top[r, j] = mean * forces[low + r, j]
        backward(g, plan, code, acts, delta, here, NO, strip)
        add_gradient(plan, acts, delta, total, here, YES, strip)


@njit
def _on_points(
    critic: Any, points: Array, indices: Array, view: Any, forces: Array, loss: int, share: Any, moves: Any, rows: int, work: Any
) -> None:
    """Go once through what the critic sees of points: fill the forces chi'(D) grad D on them, add to the critic's gradient."""
    keep_apart()
    c, plan, code, acts, delta, total = critic
    strip, phi, chi = work
    last, count = plan.shape[1] - 2, indices.size * view[2].size
    mean = c.dtype.type(1) / c.dtype.type(indices.size)
    if moves[0]:
        forces[:] = 0
    for low in range(0, count, rows):
        here = min(rows, count - low)
        look(points, indices, view, low, level(acts, plan, 0, here), here)
        forward(c, plan, code, acts, here, strip)
        _on_generated(level(acts, plan, last, here), here, loss, share, phi, chi)
        level(delta, plan, last, here)[:] = share
        backward(c, plan, code, acts, delta, here, moves[0], strip)
        if moves[0]:
            push_back(level(delta, plan, 0, here), chi, view, low, here, forces)
        if moves[1]:
            weigh(view, low, here, phi)
            _times_rows(delta, plan, here, phi, mean)
            add_gradient(plan, acts, delta, total, here, YES, strip)


@njit
def _on_data(
    critic: Any, target: Array, indices: Array, view: Any, loss: int, share: Any, gamma: Any, rows: int, work: Any
) -> None:
    """Go through the target batch: add the gradient of E psi(D) - (gamma/2) E |grad D|^2 to the critic's."""
    keep_apart()
    c, plan, code, acts, delta, total = critic
    along, back, strip, psi, weights = work
    last, count = plan.shape[1] - 2, indices.size * view[2].size
    zero = c.dtype.type(0)
    mean = c.dtype.type(1) / c.dtype.type(indices.size)
    for low in range(0, count, rows):
        here = min(rows, count - low)
        look(target, indices, view, low, level(acts, plan, 0, here), here)
        forward(c, plan, code, acts, here, strip)
        _on_target(level(acts, plan, last, here), here, loss, share, psi)
        weights[:] = mean
        weigh(view, low, here, weights)
        top = level(delta, plan, last, here)
        if gamma == zero:
            for r in range(here):
                top[r, 0] = psi[r] * (weights[r] * share)
            backward(c, plan, code, acts, delta, here, NO, strip)
            add_gradient(plan, acts, delta, total, here, YES, strip)
            continue
        top[:] = share
        backward(c, plan, code, acts, delta, here, YES, strip)
        u, slopes = level(along, plan, 0, here), level(delta, plan, 0, here)
        end = level(back, plan, last, here)
        for r in range(here):
            end[r, 0] = psi[r] * (weights[r] * share)
            for j in range(plan[WIDTH, 0]):
                u[r, j] = -(gamma * weights[r]) * slopes[r, j]
        tangents(c, plan, code, acts, delta, along, back, here, strip)
        add_gradient(plan, along, delta, total, here, NO, strip)
        backward_again(c, plan, code, acts, back, delta, here, strip)
        add_gradient(plan, acts, back, total, here, YES, strip)


@njit(inline=True)
def gradients(gen: Any, critic: Any, laws: Any, batches: Any, views: Any, kind: Any, moves: Any, rows: int, work: Any) -> None:
    """Add to the gradients of the players that move, (generator, critic); fill the forces on points, if there are any.

    laws: (generated points, latents, target, forces); no forces: the points are made by a network, block by block.
    batches: (latents of the network, generated points, target); kind: (loss, share, gamma).
    """
    points, latents, target, forces = laws
    loss, share, gamma = kind
    along, back, strip, phi, chi = work
    if forces.shape[0] > 0:
        _on_points(critic, points, batches[1], views[0], forces, loss, share, moves, rows, (strip, phi, chi))
    else:
        _fused(gen, critic, latents, batches[0], loss, share, moves, rows, (strip, phi, chi))
    if moves[1]:
        _on_data(critic, target, batches[2], views[1], loss, share, gamma, rows, (along, back, strip, phi, chi))
