"""Energies int f(log(rho / pi)) dmu of a density rho relative to a target pi, on every state that has a density.

`Histogram` takes densities at the cell centres, as `KL` does. `Quantiles` x_0 <= ... <= x_{n-1} cut the line into n + 1 cells
with masses 1/(2n), 1/n, ..., 1/n, 1/(2n), and the divergence is that of these masses from those of the target: never above that
of the laws, and least, 0, at the quantiles of the target itself.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Energy, unsupported
from measureflow.energies.entropy import HINT, WHERE, inverse_and_log_volume
from measureflow.energies.quadratic import Quadratic
from measureflow.states import Gaussian, Histogram, Law, Quantiles, State

TINY = float(np.finfo(float).tiny)


class Ratio(NamedTuple):
    """Functions of l = log(rho / pi): f, first variation f + f', pressure / pi = exp(l) f', stiffness f' + f''."""

    value: np.ndarray
    variation: np.ndarray
    pressure: np.ndarray
    stiffness: np.ndarray


class FDivergence(Energy):
    """E = int f(log(rho / pi)) dmu with f(0) = 0, which is convex in rho."""

    _kept: tuple[np.ndarray, Cells] | None = None

    def __init__(self, target: Law) -> None:
        self.target = check.instance("target", target, (Gaussian, Histogram), "a Gaussian or a Histogram")
        if isinstance(target, Gaussian):
            if float(np.linalg.eigvalsh(target.cov)[0]) <= 0.0:
                raise ValueError("target must have an invertible covariance, got a singular one")
            inverse, self._constant = inverse_and_log_volume(self, target)
            self._potential = Quadratic(inverse, centre=target.mean)

    @abstractmethod
    def of_ratio(self, l: np.ndarray) -> Ratio:  # noqa: E741
        """Return the functions of l = log(rho / pi), each of the shape of l."""

    @abstractmethod
    def _on_gaussian(self, law: Gaussian, target: Gaussian) -> tuple[float, np.ndarray]:
        """Return value and gradient (d + 1, d)."""

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, (Quantiles, Gaussian, Histogram)):
            raise unsupported(self, state, WHERE, HINT)
        if state.dim != self.target.dim:
            raise ValueError(f"target has dimension {self.target.dim}, the state has dimension {state.dim}")
        if isinstance(state, Histogram):
            return self._on_histogram(state)
        if not isinstance(self.target, Gaussian):
            raise unsupported(self, state, "Histogram, as its target is one", "Convert the state or take a Gaussian target.")
        if isinstance(state, Gaussian):
            return self._on_gaussian(state, self.target)
        return self._on_quantiles(state.values)

    # histograms

    def log_ratio(self, law: Histogram) -> np.ndarray:
        """Return log(rho / pi) at the cells, +inf where only pi is 0; the logarithm of 0 is that of the least normal number."""
        log_density = np.log(np.maximum(law.density, TINY))
        if isinstance(self.target, Gaussian):
            potential = self._potential.values(law.grid.points).reshape(law.grid.shape)
            return np.asarray(log_density + potential + self._constant)
        assert isinstance(self.target, Histogram)
        if law.grid != self.target.grid:
            raise ValueError("target must live on the grid of the state")
        outside = (self.target.masses == 0.0) & (law.masses > 0.0)
        return np.where(outside, np.inf, log_density - np.log(np.maximum(self.target.density, TINY)))

    def stiffness(self, law: Histogram) -> np.ndarray:
        """Return rho times the second derivative in rho of the energy's density, at the cells."""
        with np.errstate(over="ignore"):
            return self.of_ratio(self.log_ratio(law)).stiffness

    def _on_histogram(self, law: Histogram) -> tuple[float, np.ndarray]:
        with np.errstate(over="ignore"):
            parts = self.of_ratio(self.log_ratio(law))
        held = law.masses > 0.0
        return float(np.sum(law.masses[held] * parts.value[held])), parts.variation

    # quantiles

    def cells(self, values: np.ndarray) -> Cells:
        """Return the cells between quantiles (n,), with a Gaussian target; those of the last state are kept."""
        if self._kept is None or self._kept[0] is not values:
            found = self._cells(values)
            if values.flags.writeable:
                return found
            self._kept = (values, found)
        return self._kept[1]

    def _cells(self, values: np.ndarray) -> Cells:
        assert isinstance(self.target, Gaussian)
        n, deviation = len(values), float(np.sqrt(self.target.cov[0, 0]))
        z = (values - self.target.mean[0]) / deviation
        log_masses = -np.log(np.concatenate([[2.0 * n], np.full(n - 1, float(n)), [2.0 * n]]))
        log_ratio = log_masses - _log_normal_masses(z)
        density = np.exp(-0.5 * z**2 - self._constant)
        with np.errstate(over="ignore"):
            return Cells(np.exp(log_masses), log_ratio, self.of_ratio(log_ratio), density, -density * z / deviation)

    def _on_quantiles(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """dE/dx_k = pi(x_k) (pressure above - pressure below), times n for the weight of an atom."""
        cells = self.cells(values)
        value = float(np.sum(cells.masses * cells.parts.value))
        if not np.all(np.isfinite(cells.parts.pressure)):
            return value, np.full(len(values), np.nan)
        return value, len(values) * cells.density * np.diff(cells.parts.pressure)

    def spread(self, density: float) -> float:
        """Return f' of a law on the line with this density where that of the target, a Gaussian, is largest."""
        log_ratio = np.array([np.log(density) + self._constant])
        with np.errstate(over="ignore"):
            return float(self.of_ratio(log_ratio).pressure[0] * np.exp(-log_ratio[0]))

    # Gaussians

    def _log_ratio_at(self, law: Gaussian, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log(rho / pi) at points (k, d) and its gradient (k, d), with a Gaussian target."""
        inverse, log_volume = inverse_and_log_volume(self, law)
        offset = points - law.mean
        slope = offset @ inverse
        matrix, linear, _ = self._potential.normal_form(law.dim)
        values = self._potential.values(points) + self._constant - 0.5 * np.sum(offset * slope, axis=1) - log_volume
        return values, points @ matrix + linear - slope

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r})"


@final
@dataclass(frozen=True, eq=False)
class Cells:
    """The n + 1 cells into which n quantiles cut the line.

    Attributes
    ----------
    masses, log_ratio : ndarray, shape (n + 1,)
        Masses of the cells, and log of mass over mass of the target.
    parts : Ratio
        Functions of the ratio.
    density, slope : ndarray, shape (n,)
        Density of the target at the quantiles, and its derivative.
    """

    masses: np.ndarray
    log_ratio: np.ndarray
    parts: Ratio
    density: np.ndarray
    slope: np.ndarray

    def chain(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the Hessian in the quantiles, times n: stiffness of the ground (n,) and of the springs between them (n - 1,).

        In the mass q of a cell of the target the energy's second derivative is w = (mass / q)^2 stiffness / mass.
        """
        n, p = len(self.density), np.concatenate([[0.0], self.density, [0.0]])
        with np.errstate(over="ignore", invalid="ignore"):
            w = np.exp(2.0 * self.log_ratio) / self.masses * self.parts.stiffness
            ground = w[:-1] * p[1:-1] * (p[1:-1] - p[:-2]) + w[1:] * p[1:-1] * (p[1:-1] - p[2:])
            ground += np.diff(self.parts.pressure) * self.slope
            return n * ground, n * (w[1:-1] * p[1:-2] * p[2:-1])


def _log_normal_masses(z: np.ndarray) -> np.ndarray:
    """Return the logarithms (n + 1,) of the standard normal law's masses of the cells between nondecreasing z (n,)."""
    from scipy.special import log_ndtr

    low, high = np.concatenate([[-np.inf], z]), np.concatenate([z, [np.inf]])
    mirrored = low > 0.0  # so that no mass is a difference of numbers near 1
    low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    top = log_ndtr(high)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = top + np.log(-np.expm1(log_ndtr(low) - top))
    return np.where(np.isnan(result), -np.inf, result)
