"""The flow on cells as an ordinary differential equation: rho' = div(M grad(phi(rho) + V)) in finite volumes.

The fluxes are those of `measureflow.proximal.finite_volumes`, so that its implicit steps are the resolvents (1 - tau F)^-1 of
this F: in the flat space of masses every scheme made of them is the Runge-Kutta or multi-step method of the same name for the
equation p' = F(p), of its full order (theory, 4.4). Where cells are too wide for the diffusion, the share of the density upstream
is that of the law here, and of the first guess there: a difference within the error of the cells.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import final

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
    Sum,
)
from measureflow.errors import UnsupportedError
from measureflow.kernels import fluxes
from measureflow.proximal.linearised import length, medium_of
from measureflow.proximal.medium import Medium
from measureflow.states import Grid, Histogram, State

LOCAL = (KL, CellPotential, Entropy, Obstacle, Potential, PowerEntropy, Quadratic)
"""Terms that finite volumes know; of others the first variation at a given law is taken, as a potential."""
CEILING = 1e300
VACUUM = 1e-140
"""Densities that do not flow: products of smaller ones are no numbers."""
SAFETY = 0.9
_local = threading.local()
MOST = 1_000_000
"""Explicit substeps that a step may have."""


def frozen(terms: Iterable[tuple[float, Energy]], x: Histogram) -> tuple[tuple[float, Energy], ...]:
    """Return terms in which those that are not local, and no constraints, are replaced by their first variations at x."""
    local = ((c, term, isinstance(term, LOCAL) or not term.boxed) for c, term in terms)
    return tuple((c, term if known else CellPotential(term.gradient(x))) for c, term, known in local)


def _medium(energy: Energy, x: Histogram) -> Medium:
    """Return the medium at x; if it is the same at all laws, the one that this thread made last for this energy."""
    held: tuple[Energy, Grid, Medium] | None = getattr(_local, "held", None)
    if held is not None and held[0] is energy and held[1] == x.grid:
        return held[2]
    terms = energy.terms()
    medium = medium_of(Sum(frozen(terms, x)), x)
    if all(isinstance(term, LOCAL) or not term.boxed for _, term in terms):
        _local.held = energy, x.grid, medium
    return medium


def substep(left: float, fastest: float, tau: float) -> float:
    """Return the size of the next explicit substep of a step of size tau: what is left, cut into equal parts that are stable.

    Raises
    ------
    UnsupportedError
        If a step would need more than a million of them.
    """
    count = left * fastest / SAFETY
    if not count <= MOST:
        raise UnsupportedError(
            f"explicit steps on these cells must be shorter than {SAFETY / fastest:.3g}, and tau = {tau:.3g} may have at most "
            f"{MOST:,} of them: take an implicit scheme, as BDF2, or wider cells"
        )
    return left / max(1.0, np.ceil(count))


@final
@dataclass(frozen=True, eq=False)
class CellRates:
    """The rates of change F of the masses of a histogram, and their bound."""

    medium: Medium
    law: Histogram

    @staticmethod
    def of(energy: Energy, x: State) -> CellRates:
        """Return the rates at a histogram x.

        Raises
        ------
        UnsupportedError
            If finite volumes do not know the energy, or there is mass in blocked cells.
        """
        assert isinstance(x, Histogram)
        medium = _medium(energy, x)
        if not medium.free.all() and np.any(x.masses[~medium.free] > 0.0):
            raise UnsupportedError("mass must be in free cells only: an obstacle, or an empty cell of a KL target, holds some")
        if medium.cap < np.inf:
            raise UnsupportedError('explicit steps do not hold densities below a cap: take JKO(inner="linearised")')
        return CellRates(medium, x)

    @cached_property
    def _state(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Densities, pressures and the inverse slopes of these, flat."""
        rho = self.law.density.reshape(-1)
        rho = np.where(rho < VACUUM, 0.0, rho)
        p, inverse = np.empty_like(rho), np.empty_like(rho)
        fluxes.pressure(rho, self.medium.coef, self.medium.power, CEILING, p, inverse)
        return rho, p, inverse

    @cached_property
    def masses(self) -> np.ndarray:
        """F: rates of the masses, shape grid.shape, sum 0 up to rounding."""
        medium, (rho, p, _) = self.medium, self._state
        out, none = np.zeros(rho.size), np.empty(0)
        for shape, faces in zip(medium.axes(), medium.faces, strict=True):
            k = faces.reshape(-1)
            if medium.still:
                fluxes.add_fluxes(p, k, k, shape, out)
            else:
                fluxes.flow(rho, medium.potential.reshape(-1), k, none, medium.coef, medium.power, shape, out, none, none)
        return -out.reshape(self.law.masses.shape) * self.law.grid.cell_volume

    @property
    def fastest(self) -> float:
        """A bound on the outflow of a cell for each unit of its mass, and on its derivative where fluxes are monotone.

        A flux out of x is at most P(x) without potential, else twice x (phi(x) + V(x) - V(y)), phi without the entropy's part
        (for the entropy alone P(x) + x (V(x) - V(y))): explicit Euler steps up to 1/fastest keep signs. Where its slope in x has
        the same bound, as without potential and for the entropy, they keep order, and are contractions in L1. Polynomials
        1 + z + ... + z^s/s! of a linear map of that kind keep signs as far (their threshold
        factor is 1).
        """
        medium, (rho, p, inverse) = self.medium, self._state
        above = [] if medium.still else [2.0 * m / (m - 1.0) for m in medium.power.tolist() if m > 1.0]
        most = max([1.0, *above])
        steep = np.maximum(1.0 / inverse, np.divide(most * p, rho, out=np.zeros_like(p), where=rho > 0.0)).reshape(
            medium.free.shape
        )
        simple = np.array_equal(medium.power, np.ones(medium.power.size)[:1])
        leaving = np.zeros(medium.free.shape)
        for axis, k in enumerate(medium.faces):
            leaving += (k + np.roll(k, 1, axis)) * steep
            if not medium.still:
                fall = (1.0 if simple else 2.0) * k * (medium.potential - np.roll(medium.potential, -1, axis))
                leaving += np.maximum(fall, 0.0) + np.roll(np.maximum(-fall, 0.0), 1, axis)
        return float(np.max(leaving))

    def length(self, tau: float) -> float:
        """Return tau |grad(phi + V)| in L2 of the mobility: the length of a step."""
        return length(self.medium, self.law.density, self.medium.potential, tau, self.law.grid.cell_volume)
