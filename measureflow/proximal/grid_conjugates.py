"""Convex energies of cell densities, tau int u(rho) + V rho dx, and their conjugates: what the dual of a JKO step needs.

u is heat rho log rho + strength rho^m / (m - 1); the slope F'(rho) of tau E at density rho is u'(rho) + V. For a dual variable
phi the density rho(phi) solves F'(rho) = phi, 0 where there is none, and F*(phi) = int phi rho - u(rho) - V rho dx there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.energies import KL, CellPotential, Energy, Entropy, Potential, PowerEntropy, Quadratic
from measureflow.errors import UnsupportedError
from measureflow.states import Gaussian, Histogram

TINY, LARGE = 1e-290, 1e250
NEWTON = 60
"""Newton steps for a density from two internal energies, and for the shift to mass 1."""


@final
@dataclass(frozen=True, eq=False)
class CellEnergy:
    """tau E on the cells of a grid: heat rho log rho + strength rho^m/(m - 1) + potential rho, integrated."""

    heat: float
    strength: float
    m: float
    potential: np.ndarray
    volume: float

    @property
    def internal(self) -> bool:
        """Whether there is more than a potential."""
        return self.heat > 0.0 or self.strength > 0.0

    @property
    def compact(self) -> bool:
        """Whether densities may vanish."""
        return self.heat == 0.0 and self.m > 1.0

    def pressure(self, density: np.ndarray | float) -> np.ndarray:
        """Return u'(rho) for rho > 0."""
        slope = np.zeros(np.shape(density))
        if self.heat:
            slope += self.heat * (np.log(density) + 1.0)
        if self.strength:
            slope += self.strength * self.m / (self.m - 1.0) * np.asarray(density) ** (self.m - 1.0)
        return slope

    def stored(self, density: np.ndarray) -> np.ndarray:
        """Return u(rho), 0 at rho = 0."""
        value = np.zeros(density.shape)
        if self.heat:
            value += self.heat * density * np.log(np.maximum(density, TINY))
        if self.strength:
            value += self.strength / (self.m - 1.0) * density**self.m
        return value

    def density(self, theta: np.ndarray) -> np.ndarray:
        """Return the rho at which u'(rho) is theta = phi - V; theta < 0 for fast diffusion."""
        if not self.strength:
            return np.exp(np.clip(theta / self.heat - 1.0, -650.0, 650.0))
        if self.heat:
            return self._both(theta)
        scaled = np.maximum(theta * ((self.m - 1.0) / (self.strength * self.m)), 0.0 if self.m > 1.0 else TINY)
        if self.m == 2.0:
            return scaled
        with np.errstate(over="ignore"):
            return np.minimum(scaled ** (1.0 / (self.m - 1.0)), LARGE)

    def _both(self, theta: np.ndarray) -> np.ndarray:
        """Solve for log rho by Newton's method, monotone from the side where u' as a function of log rho bends outwards."""
        power, factor = self.m - 1.0, self.strength * self.m / (self.m - 1.0)
        w = np.clip(theta / self.heat - 1.0, -650.0, 650.0)
        alone = np.log(np.maximum(theta / factor, TINY)) / power
        w = np.minimum(w, np.maximum(alone, -1.0)) if power > 0.0 else np.maximum(w, np.minimum(alone, -1.0))
        for _ in range(NEWTON):
            share = factor * np.exp(np.clip(power * w, -650.0, 650.0))
            change = (self.heat * (w + 1.0) + share - theta) / (self.heat + power * share)
            w = np.clip(w - change, -650.0, 650.0)
            if float(np.max(np.abs(change))) < 1e-14 * (1.0 + float(np.max(np.abs(w)))):
                break
        return np.exp(w)

    def stiffness(self, density: np.ndarray) -> np.ndarray:
        """Return d rho / d phi, 0 where rho is 0."""
        held = density > TINY
        safe = np.where(held, density, 1.0)
        spring = np.full(density.shape, self.heat)
        if self.strength:
            spring = spring + self.strength * self.m * safe ** (self.m - 1.0)
        return np.where(held, safe / spring, 0.0)

    def secant(self, theta: np.ndarray, at_theta: np.ndarray, density: np.ndarray) -> np.ndarray:
        """Return (density - rho(phi)) / (u'(density) - theta), the stiffness that Newton's method needs to get there in one step.

        Where density is less than rho(phi) and u' is -infinite at 0, it is the stiffness at phi.
        """
        change = density - at_theta
        far = np.abs(change) > 1e-6 * at_theta
        if self.heat or self.m < 1.0:
            far &= change > 0.0
        far &= (density > TINY) | (at_theta > TINY)
        rise = self.pressure(np.where(far, np.maximum(density, TINY), 1.0)) - theta
        good = far & (rise * change > 0.0)
        return np.where(good, change / np.where(good, rise, 1.0), self.stiffness(at_theta))

    def conjugate(self, density: np.ndarray) -> np.ndarray:
        """Return theta rho - u(rho) where rho = rho(phi)."""
        value = self.heat * density
        return value + self.strength * density**self.m if self.strength else value

    def shift(self, theta: np.ndarray) -> float:
        """Return the c for which theta + c has mass 1, by Newton's method in a bracket."""
        top, bottom = float(np.max(theta)), float(np.min(theta))
        if not self.strength:
            return -top - self.heat * (float(np.log(self.volume * np.sum(np.exp((theta - top) / self.heat)))) - 1.0)
        even = float(self.pressure(np.array(1.0 / (self.volume * theta.size))))
        lo, hi = even - top, min(even - bottom, float(self.pressure(np.array(1.0 / self.volume))) - top)
        c = min(max(0.0, lo), hi)
        for _ in range(3 * NEWTON):
            density = self.density(theta + c)
            mass = self.volume * float(np.sum(density))
            if abs(mass - 1.0) <= 1e-13 or hi - lo <= 4e-16 * max(abs(lo), abs(hi)):
                return c
            lo, hi = (c, hi) if mass < 1.0 else (lo, c)
            c = self._newton(c, mass, density)
            if not lo < c < hi:
                c = 0.5 * (lo + hi)
        return c

    def _newton(self, c: float, mass: float, density: np.ndarray) -> float:
        """Return Newton's next c, for mass^(m - 1) or log mass, which are nearly linear in c."""
        slope = self.volume * float(np.sum(self.stiffness(density)))
        if not 1e-90 < mass < 1e90 or slope <= 0.0:
            return np.inf
        if self.heat:
            return c - np.log(mass) * mass / slope
        power = self.m - 1.0
        return c + (mass ** (-power) - 1.0) * mass / (power * slope)

    def gap(self, theta: np.ndarray, at_theta: np.ndarray, density: np.ndarray) -> float:
        """Return int u(density) + u*(theta) - theta density dx >= 0, for at_theta = rho(phi); nothing cancels for entropy."""
        if not self.strength:
            ratio = density / np.maximum(at_theta, TINY) - 1.0
            cells = self.heat * at_theta * np.where(ratio > -1.0, _bregman(ratio), 1.0)
        elif self.m == 2.0 and not self.heat:
            cells = self.strength * (density - at_theta) ** 2 + np.maximum(-theta, 0.0) * density
        else:
            cells = self.stored(density) + self.conjugate(at_theta) - theta * density
        return max(self.volume * float(np.sum(cells)), 0.0)


def _bregman(r: np.ndarray) -> np.ndarray:
    """Return (1 + r) log(1 + r) - r, without cancellation for small r."""
    r = np.maximum(r, -1.0 + 1e-300)
    exact = (1.0 + r) * np.log1p(np.maximum(r, -1.0 + 1e-16)) - r
    small = np.clip(r, -1e-4, 1e-4)
    return np.where(np.abs(r) < 1e-4, small * small * (0.5 - small / 6.0 + small * small / 12.0), exact)


def cell_energy(energy: Energy, law: Histogram, tau: float) -> CellEnergy | None:
    """Return tau E on the cells of a histogram's grid; None if a term is not local and convex."""
    heat, strength, m = 0.0, 0.0, 2.0
    potential = np.zeros(law.grid.shape)
    for c, term in energy.terms():
        if c == 0.0:
            continue
        if isinstance(term, (Potential, Quadratic, CellPotential)):
            potential += tau * c * term.gradient(law)
        elif isinstance(term, Entropy) and c > 0.0:
            heat += tau * c * term.temperature
        elif isinstance(term, KL) and c > 0.0:
            heat += tau * c
            potential += tau * c * _log_target(term, law)
        elif isinstance(term, PowerEntropy) and c > 0.0 and (strength == 0.0 or term.m == m):
            strength, m = strength + tau * c, term.m
        else:
            return None
    return CellEnergy(heat, strength, m, potential, law.grid.cell_volume)


def _log_target(term: KL, law: Histogram) -> np.ndarray:
    """Return -log of the target's density at the cells."""
    value, gradient = term.value_and_gradient(law)  # checks grids and dimensions
    if isinstance(term.target, Gaussian):
        assert term.potential is not None
        return term.potential.values(law.grid.points).reshape(law.grid.shape)
    assert isinstance(term.target, Histogram)
    if float(term.target.masses.min()) == 0.0:
        raise UnsupportedError("the energy must be finite where every cell has mass: a KL target may have no empty cells")
    return -np.log(term.target.density)
