"""Linearised minimizing movements of histograms: implicit finite volumes, on grids of 1 to 3 dimensions.

W2 is replaced by the length of the step in the weighted H^-1 norm, |rho - mu|^2 = tau^2 sum M |grad(phi + V)|^2, to which it is
equal up to terms of higher order in tau (Cances, Gallouet and Todeschi, arXiv 1907.08305). The step is of first order in tau,
as JKO.
"""

from __future__ import annotations

import numpy as np

from measureflow.energies import (
    KL,
    CellPotential,
    Energy,
    Entropy,
    Obstacle,
    Potential,
    PowerEntropy,
    Quadratic,
)
from measureflow.errors import UnsupportedError
from measureflow.kernels.fluxes import dissipation
from measureflow.metrics import Metric, Wasserstein
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.proximal.finite_volumes import Medium, implicit_step
from measureflow.states import Histogram, State

STALLED = 1e-7
"""Residual, relative to the box, that is accepted (and reported) where rounding ends the search."""
METHOD = "finite volumes"


def linearised(
    energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance, masses: np.ndarray | None = None
) -> Step:
    """Return the implicit finite-volume step of a histogram, from `masses` if they are given (BDF2 extrapolates).

    The residual is the mass that is missing in the equations of the cells times the diameter of the box.

    Raises
    ------
    ConvergenceError
        If the residual stays above the tolerance, and above 1e-7 of the box where rounding ends the search.
    UnsupportedError
        If the energy or the metric has no such step, or there is mass in blocked cells.
    """
    if not isinstance(x, Histogram) or not isinstance(metric, Wasserstein) or metric.p != 2 or metric.method != "auto":
        raise UnsupportedError(f"linearised steps are those of a Histogram under Wasserstein(p=2), got {x!r} under {metric!r}")
    medium = medium_of(energy, x)
    start = x.masses if masses is None else masses
    if np.any(start[~medium.free] > 0.0):
        raise UnsupportedError("mass must be in free cells only: an obstacle, or an empty cell of a KL target, holds some")
    mean = float(np.mean(x.masses))
    lengths = np.array([hi - lo for lo, hi in x.grid.bounds])
    diameter = float(np.sqrt(np.sum(lengths**2)))
    volume = x.grid.cell_volume
    mu = start / volume
    scale = diameter * volume * x.masses.size
    goal = tolerance.residual * max(1.0, diameter)
    solved = implicit_step(medium, mu, tau, goal / scale, tolerance.max_iterations)
    residual = solved.missing * scale
    if not residual <= max(goal, STALLED * diameter):
        raise not_converged(residual, goal, solved.iterations)
    p = solved.rho * (mean * x.masses.size / float(np.sum(solved.rho)))
    return Step(x.replace(p), _length(medium, solved.rho, tau, volume), residual, solved.iterations, METHOD)


def medium_of(energy: Energy, x: Histogram) -> Medium:
    """Sort an energy into pressure, potential and obstacles on the grid of a histogram."""
    coef: list[float] = []
    power: list[float] = []
    potential, blocked = np.zeros(x.grid.shape), np.zeros(x.grid.shape, dtype=bool)
    for c, term in energy.terms():
        if c == 0.0:
            continue
        if isinstance(term, (Entropy, KL)):
            coef, power = [*coef, c * getattr(term, "temperature", 1.0)], [*power, 1.0]
        elif isinstance(term, PowerEntropy):
            coef, power = [*coef, c], [*power, term.m]
        elif isinstance(term, Obstacle):
            term.value(x)
            blocked |= term.blocked
        elif not isinstance(term, (Potential, Quadratic, CellPotential)):
            raise UnsupportedError(
                "linearised steps know Entropy, PowerEntropy, KL, Potential, Quadratic, CellPotential and Obstacle, "
                f"got {type(term).__name__}"
            )
        if isinstance(term, KL):
            term.value(x)
            if isinstance(term.target, Histogram):
                blocked |= term.target.masses == 0.0
                density = np.where(term.target.masses > 0.0, term.target.density, 1.0)
                potential -= c * np.log(density)
            elif term.potential is not None:
                potential += c * term.potential.gradient(x)
        elif isinstance(term, (Potential, Quadratic, CellPotential)):
            potential += c * term.gradient(x)
    if min(coef, default=1.0) < 0.0:
        raise UnsupportedError(f"linearised steps need internal energies with positive factors, got {min(coef):g}")
    spacing = tuple(float(h) for h in x.grid.spacing)
    potential = np.where(blocked, 0.0, potential)
    return Medium(spacing, x.grid.periodic, np.array(coef), np.array(power), potential, ~blocked)


def _length(medium: Medium, rho: np.ndarray, tau: float, volume: float) -> float:
    """Return tau |grad(phi + V)| in L2 of the mobility."""
    flat = rho.reshape(-1), medium.potential.reshape(-1)
    pairs = zip(medium.axes(), medium.faces, strict=True)
    total = sum(dissipation(*flat, k.reshape(-1), medium.coef, medium.power, shape) for shape, k in pairs)
    return tau * float(np.sqrt(max(total, 0.0) * volume))


def extrapolated(past: np.ndarray, now: np.ndarray, reach: float) -> tuple[np.ndarray, bool]:
    """Return past + reach (now - past), reach > 1, kept nonnegative, and whether that took anything.

    Where a cell would be negative, the changes of the smallest block of 2^k cells a side that holds it and whose extrapolated sum
    is not negative are blended with a common factor on the masses of the block, as far as needed: mass is kept block by block,
    other blocks stay as they are.
    """
    base = now + (reach - 1.0) * (now - past)
    if base.min() >= 0.0:
        return base, False
    size = 2
    while base.min() < 0.0:
        base = _in_blocks(base, now, size)
        size *= 2
    return base, True


def _in_blocks(base: np.ndarray, now: np.ndarray, size: int) -> np.ndarray:
    """Blend `base` with multiples of `now` in those blocks where it is negative somewhere, but not in sum."""
    shape = base.shape
    padded = [np.pad(z, [(0, -n % min(size, _even(n))) for n in shape]) for z in (base, now)]
    blocks = [_blocked(z, [min(size, _even(n)) for n in shape]) for z in padded]
    b, a = blocks
    total, held = b.sum(axis=1, keepdims=True), a.sum(axis=1, keepdims=True)
    factor = np.divide(total, held, out=np.zeros_like(total), where=held > 0.0)
    safe = factor * a  # nonnegative, with the sum of b
    fall = safe - b
    room = np.divide(safe, fall, out=np.ones_like(safe), where=(b < 0.0) & (fall > 0.0))
    share = np.clip(room.min(axis=1, keepdims=True), 0.0, 1.0)
    mended = np.maximum(safe + share * (b - safe), 0.0)  # only rounding is below 0 where the sum is not
    mended = np.where((b.min(axis=1, keepdims=True) < 0.0) & (total >= 0.0), mended, b)
    return _unblocked(mended, padded[0].shape, [min(size, _even(n)) for n in shape])[tuple(slice(n) for n in shape)]


def _even(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()


def _blocked(z: np.ndarray, sides: list[int]) -> np.ndarray:
    """Return an array (blocks, cells of a block)."""
    d = z.ndim
    split = z.reshape([part for n, s in zip(z.shape, sides, strict=True) for part in (n // s, s)])
    return split.transpose([*range(0, 2 * d, 2), *range(1, 2 * d, 2)]).reshape(-1, int(np.prod(sides)))


def _unblocked(blocks: np.ndarray, shape: tuple[int, ...], sides: list[int]) -> np.ndarray:
    d = len(shape)
    split = blocks.reshape([*(n // s for n, s in zip(shape, sides, strict=True)), *sides])
    return split.transpose([axis for k in range(d) for axis in (k, d + k)]).reshape(shape)
