"""Updates of a generator and a critic in compiled code, one member of an ensemble; see `adversarial` for what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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

LOSSES = ("wasserstein", "minimax", "nonsaturating", "least squares", "hinge")
WASSERSTEIN, MINIMAX, NONSATURATING, LEAST_SQUARES, HINGE = range(5)
LATENTS, DATA = np.int64(0), np.int64(1)  # streams of indices

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
def _mix(z: Any) -> Any:
    """Hash 64 bits (the finaliser of SplitMix64, Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit
def draw(seed: int, update: int, stream: int, count: int, n: int, indices: Array) -> None:
    """Fill indices[:count] with numbers below n, drawn with replacement; with 0, 1, ... where count = n."""
    keep_apart()
    if count == n:
        for j in range(count):
            indices[j] = j
        return
    golden = np.uint64(0x9E3779B97F4A7C15)
    key = _mix(_mix(np.uint64(seed) + golden) + np.uint64(update) * golden) + _mix(np.uint64(stream) + golden)
    for j in range(count):
        bits = _mix(key + np.uint64(j + 1) * golden) >> np.uint64(32)
        indices[j] = (bits * np.uint64(n)) >> np.uint64(32)


@njit
def _take(source: Array, indices: Array, low: int, into: Array, rows: int) -> None:
    """Copy rows indices[low], ... of `source` to the first columns of `into`."""
    for r in range(rows):
        i = indices[low + r]
        for j in range(source.shape[1]):
            into[r, j] = source[i, j]


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
def _generated(
    gen: Any,
    critic: Any,
    latents: Array,
    indices: Array,
    velocity: Array,
    loss: int,
    share: Any,
    moves: Any,
    rows: int,
    work: Any,
) -> None:
    """Go once through the generated batch: add to the gradients of the players that move (generator, critic).

    gen, critic: (parameters, plan, activation, activations, deltas, gradient); free particles: `velocity` is not empty, their
    points are `latents`, and their velocities (up to the sign) are put there.
    """
    keep_apart()
    g, gplan, gcode, gacts, gdelta, gtotal = gen
    c, cplan, ccode, acts, delta, total = critic
    strip, phi, chi = work
    glast, last, free, count = gplan.shape[1] - 2, cplan.shape[1] - 2, velocity.shape[0] > 0, indices.size
    mean = c.dtype.type(1) / c.dtype.type(count)
    for low in range(0, count, rows):
        here = min(rows, count - low)
        x = level(acts, cplan, 0, here)
        if free:
            _take(latents, indices, low, x, here)
        else:
            _take(latents, indices, low, level(gacts, gplan, 0, here), here)
            forward(g, gplan, gcode, gacts, here, strip)
            y = level(gacts, gplan, glast, here)
            for r in range(here):
                for j in range(cplan[WIDTH, 0]):
                    x[r, j] = y[r, j]
        forward(c, cplan, ccode, acts, here, strip)
        _on_generated(level(acts, cplan, last, here), here, loss, share, phi, chi)
        level(delta, cplan, last, here)[:] = share
        backward(c, cplan, ccode, acts, delta, here, moves[0], strip)
        if moves[0]:
            slopes = level(delta, cplan, 0, here)
            if free:
                for r in range(here):
                    for j in range(velocity.shape[1]):
                        velocity[low + r, j] = chi[r] * slopes[r, j]
            else:
                top = level(gdelta, gplan, glast, here)
                for r in range(here):
                    for j in range(gplan[WIDTH, glast]):
                        top[r, j] = (mean * chi[r]) * slopes[r, j]
                backward(g, gplan, gcode, gacts, gdelta, here, NO, strip)
                add_gradient(gplan, gacts, gdelta, gtotal, here, YES, strip)
        if moves[1]:
            _times_rows(delta, cplan, here, phi, mean)
            add_gradient(cplan, acts, delta, total, here, YES, strip)


@njit
def _on_data(
    critic: Any, target: Array, indices: Array, along: Array, back: Array, loss: int, share: Any, gamma: Any, rows: int, work: Any
) -> None:
    """Go through the target batch: add the gradient of E psi(D) - (gamma/2) E |grad D|^2 to the critic's."""
    keep_apart()
    c, plan, code, acts, delta, total = critic
    strip, psi, _ = work
    last, count = plan.shape[1] - 2, indices.size
    zero = c.dtype.type(0)
    mean = c.dtype.type(1) / c.dtype.type(count)
    for low in range(0, count, rows):
        here = min(rows, count - low)
        _take(target, indices, low, level(acts, plan, 0, here), here)
        forward(c, plan, code, acts, here, strip)
        _on_target(level(acts, plan, last, here), here, loss, share, psi)
        top = level(delta, plan, last, here)
        if gamma == zero:
            for r in range(here):
                top[r, 0] = psi[r] * (mean * share)
            backward(c, plan, code, acts, delta, here, NO, strip)
            add_gradient(plan, acts, delta, total, here, YES, strip)
            continue
        top[:] = share
        backward(c, plan, code, acts, delta, here, YES, strip)
        u, slopes = level(along, plan, 0, here), level(delta, plan, 0, here)
        end = level(back, plan, last, here)
        for r in range(here):
            end[r, 0] = psi[r] * (mean * share)
            for j in range(plan[WIDTH, 0]):
                u[r, j] = -(gamma * mean) * slopes[r, j]
        tangents(c, plan, code, acts, delta, along, back, here, strip)
        add_gradient(plan, along, delta, total, here, NO, strip)
        backward_again(c, plan, code, acts, back, delta, here, strip)
        add_gradient(plan, acts, back, total, here, YES, strip)


@njit
def _step(params: Array, total: Array, tau: Any, speed: Any, decay: Any, first: int) -> None:
    """Add tau (speed gradient - decay params) to `params`, and put the gradient to 0; those below `first` do not decay."""
    keep_apart()
    for i in range(first):
        params[i] += tau * (speed * total[i])
        total[i] = 0
    for i in range(first, params.size):
        params[i] += tau * (speed * total[i] - decay * params[i])
        total[i] = 0


@njit
def run(
    gen: Any, critic: Any, points: Array, latents: Array, target: Array, batches: Any, work: Any, settings: Any, rates: Array
) -> None:
    """Do the updates of one member in place; see `adversarial.train`."""
    along, back, strip, phi, chi, velocity = work
    loss, law, alternating, inner, steps, first, seed, rows, free_until = settings
    generated, data = batches
    g, gtotal, c, total = gen[0], gen[5], critic[0], critic[5]
    free, zero = velocity.shape[0] > 0, c.dtype.type(0)
    one = c.dtype.type(1)
    share = one / c.dtype.type(critic[1][WIDTH, 1]) if law else one
    tau, eta, ridge, gamma = rates[0], rates[1], rates[2], rates[3]
    pool = points if free else latents
    spare = (strip, phi, chi)
    for step in range(first, first + steps):
        for turn in range((1 if alternating else 0) + inner):
            moves = turn == 0, not (alternating and turn == 0)
            draw(seed, step * (inner + 1) + turn, LATENTS, generated.size, pool.shape[0], generated)
            _generated(gen, critic, pool, generated, velocity, loss, share, moves, rows, spare)
            if moves[1]:
                draw(seed, step * (inner + 1) + turn, DATA, data.size, target.shape[0], data)
                _on_data(critic, target, data, along, back, loss, share, gamma, rows, spare)
                if law:
                    total[total.size - 1] = zero
                _step(c, total, eta, one / share, ridge, free_until)
            if turn == (0 if alternating else inner - 1):
                if free:
                    for i in range(velocity.shape[0]):
                        for j in range(velocity.shape[1]):
                            points[i, j] -= tau * velocity[i, j]
                else:
                    _step(g, gtotal, -tau, one, zero, 0)
