"""Energies of a density: entropy, power entropies and the Kullback-Leibler divergence.

They live on `Quantiles`, `Gaussian` and `Histogram`. Quantiles x_0 <= ... <= x_{n-1} carry mass 1/n between neighbours, so that
the density on a gap is 1/(n gap). The weights of the gaps are those of `free_ends`, with which Gaussians and the profiles of
Barenblatt flow exactly, for every n; nothing is added for the two half cells beyond the ends (an error of order log(n)/n in the
value).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Energy, unsupported
from measureflow.energies.free_ends import gap_weights
from measureflow.energies.quadratic import Quadratic
from measureflow.states import Gaussian, Histogram, Law, Quantiles, State

WHERE = "Quantiles, Gaussian and Histogram, which have a density"
HINT = "Atoms have none: use to_quantiles() in 1-D, or to_gaussian()."


class InternalEnergy(Energy):
    """An energy int u(rho) dx of the density rho."""

    exponent: float
    """The m of u(rho) = rho^m / (m - 1), 1 for rho log rho."""

    @abstractmethod
    def per_mass(self, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return u(rho)/rho and the pressure over density, u'(rho) - u(rho)/rho, for densities > 0."""

    @abstractmethod
    def gap_curvature(self, density: np.ndarray) -> np.ndarray:
        """Return v'' gap^2 where v(gap) = u(rho)/rho at rho = mass/gap."""

    @abstractmethod
    def _on_gaussian(self, law: Gaussian) -> tuple[float, np.ndarray]:
        """Return value and gradient (d + 1, d)."""

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if isinstance(state, Quantiles):
            return self._on_quantiles(state.values)
        if isinstance(state, Gaussian):
            return self._on_gaussian(state)
        if isinstance(state, Histogram):
            return self._on_histogram(state)
        raise unsupported(self, state, WHERE, HINT)

    def _on_quantiles(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """E = (1/n) sum w v(gap); with the weight 1/n of an atom the gradient is a difference of pressures."""
        n, gaps = len(values), np.diff(values)
        if gaps.size and gaps.min() <= 0.0:
            return np.inf, np.full(n, np.nan)
        per_mass, pressure = self.per_mass(1.0 / (n * gaps))
        weights = gap_weights(self.exponent, n)
        push = weights * pressure / gaps
        gradient = np.zeros(n)
        gradient[:-1] += push
        gradient[1:] -= push
        return float(weights @ per_mass) / n, gradient

    def _on_histogram(self, law: Histogram) -> tuple[float, np.ndarray]:
        density = law.density
        held = density > 0.0
        per_mass, pressure = self.per_mass(np.where(held, density, np.finfo(float).tiny))
        return float(np.sum(np.where(held, law.masses * per_mass, 0.0))), per_mass + pressure


@final
class Entropy(InternalEnergy):
    """E = T int rho log rho; its W2 flow is the heat equation d_t rho = T Lap rho (theory, S1-S3).

    Parameters
    ----------
    temperature : float
        T > 0.

    Raises
    ------
    TypeError, ValueError
        If temperature is not a positive number; at evaluation, on states without a density.

    Examples
    --------
    >>> from measureflow import Gaussian
    >>> round(Entropy().value(Gaussian(0.0, 1.0)), 12)
    -1.418938533205
    """

    exponent = 1.0

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = check.scalar("temperature", temperature, above=0.0)

    @property
    def convexity(self) -> float:
        return 0.0

    def per_mass(self, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.temperature * np.log(density), np.full(density.shape, self.temperature)

    def gap_curvature(self, density: np.ndarray) -> np.ndarray:
        return np.full(density.shape, self.temperature)

    def _on_gaussian(self, law: Gaussian) -> tuple[float, np.ndarray]:
        inverse, log_volume = inverse_and_log_volume(self, law)
        return -self.temperature * (log_volume + 0.5 * law.dim), np.vstack([np.zeros(law.dim), -0.5 * self.temperature * inverse])

    def __repr__(self) -> str:
        return f"Entropy({self.temperature:g})"


@final
class PowerEntropy(InternalEnergy):
    """E = int rho^m / (m - 1); its W2 flow is d_t rho = Lap(rho^m) (theory, S4, S5).

    Parameters
    ----------
    m : float
        Positive, not 1 (that is `Entropy`): m > 1 is the porous medium equation, m < 1 fast diffusion.

    Raises
    ------
    TypeError, ValueError
        If m is not as described; at evaluation, on states without a density.

    Examples
    --------
    >>> from measureflow import Grid, Histogram
    >>> PowerEntropy(2).value(Histogram([0.5, 0.5], Grid([(0.0, 2.0)], (2,))))
    0.5
    """

    def __init__(self, m: float) -> None:
        self.m = check.scalar("m", m, above=0.0)
        if self.m == 1.0:
            raise ValueError("m must not be 1, got 1.0: that is Entropy()")
        self.exponent = self.m

    @property
    def convexity(self) -> float | None:
        return 0.0 if self.m > 1.0 else None

    def per_mass(self, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        power = density ** (self.m - 1.0)
        return power / (self.m - 1.0), power

    def gap_curvature(self, density: np.ndarray) -> np.ndarray:
        return np.asarray(self.m * density ** (self.m - 1.0))

    def _on_gaussian(self, law: Gaussian) -> tuple[float, np.ndarray]:
        inverse, log_volume = inverse_and_log_volume(self, law)
        value = float(np.exp((1.0 - self.m) * log_volume)) * self.m ** (-0.5 * law.dim) / (self.m - 1.0)
        return value, np.vstack([np.zeros(law.dim), 0.5 * (1.0 - self.m) * value * inverse])

    def __repr__(self) -> str:
        return f"PowerEntropy({self.m:g})"


def inverse_and_log_volume(energy: Energy, law: Gaussian) -> tuple[np.ndarray, float]:
    """Return cov^(-1) and log det(2 pi cov) / 2."""
    sign, logdet = np.linalg.slogdet(2.0 * np.pi * law.cov)
    if sign <= 0.0 or not np.isfinite(logdet):
        raise unsupported(energy, law, "Gaussian with invertible covariance")
    inverse = np.linalg.inv(law.cov)
    return 0.5 * (inverse + inverse.T), 0.5 * float(logdet)


@final
class KL(Energy):
    """E = int rho log(rho / pi), the Kullback-Leibler divergence to a target; its W2 flow is Fokker-Planck (theory, S1, S2).

    Parameters
    ----------
    target : Gaussian or Histogram
        The law pi. A Gaussian target serves on every state with a density of its dimension, a Histogram on its own grid.

    Raises
    ------
    TypeError, ValueError
        If target is none of these, or singular; at evaluation, on states without a density or of another dimension or grid.

    Examples
    --------
    >>> from measureflow import Gaussian
    >>> round(KL(Gaussian(0.0, 1.0)).value(Gaussian(1.0, 1.0)), 12)
    0.5
    """

    def __init__(self, target: Law) -> None:
        self.target = check.instance("target", target, (Gaussian, Histogram), "a Gaussian or a Histogram")
        self._entropy = Entropy()
        self.potential: Quadratic | None = None
        if isinstance(target, Gaussian):
            if float(np.linalg.eigvalsh(target.cov)[0]) <= 0.0:
                raise ValueError("target must have an invertible covariance, got a singular one")
            inverse, self._constant = inverse_and_log_volume(self, target)
            self.potential = Quadratic(inverse, centre=target.mean)

    @property
    def convexity(self) -> float | None:
        return None if self.potential is None else self.potential.convexity

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, (Quantiles, Gaussian, Histogram)):
            raise unsupported(self, state, WHERE, HINT)
        if state.dim != self.target.dim:
            raise ValueError(f"target has dimension {self.target.dim}, the state has dimension {state.dim}")
        entropy, entropy_gradient = self._entropy.value_and_gradient(state)
        if isinstance(self.target, Gaussian):
            assert self.potential is not None
            value, gradient = self.potential.value_and_gradient(state)
            return entropy + value + self._constant, entropy_gradient + gradient + self._on_grid(state)
        if not isinstance(state, Histogram) or not isinstance(self.target, Histogram):
            raise unsupported(self, state, "Histogram, as its target is one", "Convert the state or take a Gaussian target.")
        if state.grid != self.target.grid:
            raise ValueError("target must live on the grid of the state")
        tiny = np.finfo(float).tiny
        log_target = np.log(np.where(self.target.masses > 0.0, self.target.density, tiny))
        if np.any((self.target.masses == 0.0) & (state.masses > 0.0)):
            return np.inf, entropy_gradient - log_target
        return entropy - float(np.sum(state.masses * log_target)), entropy_gradient - log_target

    def _on_grid(self, state: State) -> float:
        """Return the constant of the first variation, which only a Histogram's gradient shows."""
        return self._constant if isinstance(state, Histogram) else 0.0

    def __repr__(self) -> str:
        return f"KL({self.target!r})"
