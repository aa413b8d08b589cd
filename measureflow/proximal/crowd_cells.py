"""Cells below a density cap, and their conjugates: what the dual of a JKO step of a crowd needs.

With the indicator of rho <= cap the conjugate density is that of the other terms cut off at the cap. Without internal energy it
jumps from 0 to the cap where phi = V, and the dual has a kink there. So (sigma/2) |rho - centre|^2 is added, with a law below the
cap as centre, which makes the density clip(centre + (phi - V)/sigma, 0, cap); steps of the proximal point method move the centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.proximal.grid_conjugates import CellEnergy

BISECTIONS = 200


@final
@dataclass(frozen=True, eq=False)
class CappedCells:
    """tau E of cells with density at most cap: V rho + (sigma/2) (rho - centre)^2, or another energy of cells."""

    cells: CellEnergy
    cap: float
    sigma: float
    centre: np.ndarray

    @property
    def potential(self) -> np.ndarray:
        return self.cells.potential

    @property
    def volume(self) -> float:
        return self.cells.volume

    @property
    def internal(self) -> bool:
        """Always true: the dual has a maximum to be looked for."""
        return True

    @property
    def compact(self) -> bool:
        """Whether densities may vanish."""
        return not self.cells.internal or self.cells.compact

    def density(self, theta: np.ndarray) -> np.ndarray:
        """Return the rho at which the slope of the energy is theta = phi - V."""
        if self.cells.internal:
            return np.minimum(self.cells.density(theta), self.cap)
        return np.clip(self.centre + theta / self.sigma, 0.0, self.cap)

    def stiffness(self, density: np.ndarray) -> np.ndarray:
        """Return d rho / d phi as if there were no bounds: a scale for damping."""
        return self.cells.stiffness(density) if self.cells.internal else np.full(np.shape(density), 1.0 / self.sigma)

    def slope(self, density: np.ndarray) -> np.ndarray:
        """Return d rho / d phi, 0 where rho is 0 or the cap."""
        return np.where((density > 0.0) & (density < self.cap), self.stiffness(density), 0.0)

    def secant(self, theta: np.ndarray, at_theta: np.ndarray, density: np.ndarray) -> np.ndarray:
        """Return the stiffness at theta."""
        return self.slope(at_theta)

    def conjugate(self, density: np.ndarray) -> np.ndarray:
        """Return 0: where the cap holds theta rho - u(rho) is no function of the density, see `conjugates`."""
        return np.zeros(density.shape)

    def conjugates(self, theta: np.ndarray, density: np.ndarray) -> float:
        """Return the integral of the conjugate theta rho - u(rho) where rho = rho(phi)."""
        stored = self.cells.stored(density) if self.cells.internal else 0.5 * self.sigma * (density - self.centre) ** 2
        return self.volume * float(np.sum(theta * density - stored))

    def shift(self, theta: np.ndarray) -> float:
        """Return the c for which theta + c has mass 1, by Newton's method in a bracket."""
        lo, hi = self._bracket(theta)
        c = min(max(0.0, lo), hi)
        for _ in range(BISECTIONS):
            density = self.density(theta + c)
            missing = 1.0 - self.volume * float(np.sum(density))
            if abs(missing) <= 1e-14 or hi - lo <= 4e-16 * max(abs(lo), abs(hi)):
                break
            lo, hi = (c, hi) if missing > 0.0 else (lo, c)
            slope = self.volume * float(np.sum(self.slope(density)))
            c = c + missing / slope if slope > 0.0 else np.inf
            if not lo < c < hi:
                c = 0.5 * (lo + hi)
        return c

    def _bracket(self, theta: np.ndarray) -> tuple[float, float]:
        """Return shifts with mass below and above 1."""
        if not self.cells.internal:
            width = self.sigma * self.cap
            return -float(np.max(theta)) - width, width - float(np.min(theta))
        lo = self.cells.shift(theta)  # without the cap
        step = 1e-3 * (self.cells.heat + abs(float(self.cells.pressure(self.cap))))
        hi = lo + step
        while self.volume * float(np.sum(self.density(theta + hi))) < 1.0 and step < 1e100:
            step *= 2.0
            hi = lo + step
        return lo - 1e-12 * (1.0 + abs(lo)), hi

    def excess(self, theta: np.ndarray, density: np.ndarray) -> float:
        """Return int u(rho) + u*(theta) - theta rho dx >= 0 for rho = rho(phi), u without the term of sigma."""
        if self.cells.internal:
            return 0.0
        return self.volume * float(np.sum(self.cap * np.maximum(theta, 0.0) - theta * density))
