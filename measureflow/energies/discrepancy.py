"""Discrepancies to a target that see it through a kernel."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import AtomEnergy, Energy
from measureflow.energies.kernels import EnergyKernel, Kernel, kernel_from
from measureflow.energies.kinks import Kinks, TargetKinks
from measureflow.states import Histogram, Law, Particles, Quantiles, State, atoms
from measureflow.transport.laws import polyline
from measureflow.transport.line import Polyline


class _Discrepancy(AtomEnergy):
    """(1/2) MMD^2 to a target of atoms: (1/2) iint k d(mu - nu) d(mu - nu)."""

    kernel: Kernel

    def __init__(self, target: Law) -> None:
        law = check.instance("target", target, (Particles, Quantiles, Histogram), "Particles, Quantiles or a Histogram")
        self.target = law
        points, weights = atoms(law)
        held = weights > 0.0
        self._points, self._weights = points[held], weights[held]
        self._own: float | None = None
        self._kinks: TargetKinks | None = None

    def _self_term(self) -> float:
        """Return iint k dnu dnu, computed once."""
        if self._own is None:
            self._own = float(self._weights @ self.kernel.integrate(self._points, self._points, self._weights)[0])
        return self._own

    def _witness(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the energy, the witness k*(mu - nu) at the atoms and its gradient."""
        if points.shape[1] != self.target.dim:
            raise ValueError(f"target has dimension {self.target.dim}, the state has dimension {points.shape[1]}")
        own, own_slope = self.kernel.integrate(points, points, weights)
        other, other_slope = self.kernel.integrate(points, self._points, self._weights)
        value = 0.5 * float(weights @ own) - float(weights @ other) + 0.5 * self._self_term()
        return value, own - other, own_slope - other_slope

    def _on_atoms(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, _, slope = self._witness(points, weights)
        return value, slope

    def _first_variation(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, witness, _ = self._witness(points, weights)
        return value, witness

    def kinks(self, state: State) -> Kinks | None:
        if self.kernel.cone == 0.0 or not isinstance(state, Particles):
            return None
        if self._kinks is None:
            self._kinks = TargetKinks(self._points, self._weights, self.kernel.cone)
        return self._kinks.of(state.points, state.weights)

    def _sampled(self, size: int, rng: np.random.Generator) -> Particles | None:
        """Return `size` random atoms of the target, without replacement if there are that many."""
        if isinstance(self.target, Histogram):
            return None
        return random_atoms(self.target, size, rng)


def random_atoms(target: Law, size: int, rng: np.random.Generator) -> Particles:
    """Return `size` equal atoms drawn from those of a law: without replacement from equal atoms, else by their weights."""
    points, weights = atoms(target)
    if np.all(weights == weights[0]):
        if size > len(points):
            raise ValueError(f"batch must be at most the {len(points)} atoms of the target, got {size}")
        return Particles(points[rng.choice(len(points), size=size, replace=False)])
    return Particles(points[rng.choice(len(points), size=size, p=weights)])


@final
class MMD(_Discrepancy):
    """E(mu) = (1/2) MMD^2(mu, target): atoms move against the gradient of the witness k*(mu - target).

    With squared=False it is MMD itself, the critic in the unit ball of the kernel's space: atoms move against the gradient of
    the witness divided by MMD, and stay where MMD is 0 (theory, 7.2).

    Parameters
    ----------
    target : Particles, Quantiles or Histogram
        The target's atoms.
    kernel : Kernel, str or callable
        `GaussianKernel`, `LaplaceKernel`, `EnergyKernel`; their names "gaussian", "laplace", "energy"; or the user's own function
        (n, d), (m, d) -> (n, m), or `UserKernel` to give its gradient.
    bandwidth : float
        Bandwidth of a kernel given by name.
    squared : bool
        Whether the energy is half the square of MMD, or MMD itself.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or a state has another dimension.

    Notes
    -----
    Built-in kernels are summed by compiled loops without any n x m array. Double sums include the diagonal (V-statistic).
    MMD itself has a kink at the target, which its flow may reach in finite time: minimizing movements that end within about
    1e-6 of it can raise `ConvergenceError`, explicit steps rattle about it.

    Examples
    --------
    >>> from measureflow import Particles
    >>> energy = MMD(Particles([[0.0, 0.0]]), "gaussian")
    >>> round(energy.value(Particles([[1.0, 0.0]])), 6)
    0.393469
    """

    def __init__(self, target: Law, kernel: Any, bandwidth: float = 1.0, squared: bool = True) -> None:
        super().__init__(target)
        self.kernel = kernel_from(kernel, check.scalar("bandwidth", bandwidth, above=0.0))
        self.squared = check.flag("squared", squared)

    def _witness(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, witness, slope = super()._witness(points, weights)
        if self.squared:
            return value, witness, slope
        mmd, share = _root(value)
        return mmd, share * witness, share * slope

    def kinks(self, state: State) -> Kinks | None:
        kinks = super().kinks(state)
        if self.squared or kinks is None:
            return kinks
        mmd = self.value(state)
        return kinks.scaled(1.0 / mmd) if mmd > 0.0 else None

    def minibatch(self, size: int, rng: np.random.Generator) -> Energy | None:
        drawn = self._sampled(size, rng)
        return None if drawn is None else MMD(drawn, self.kernel, squared=self.squared)

    def __repr__(self) -> str:
        return f"MMD({self.target!r}, {self.kernel!r}{'' if self.squared else ', squared=False'})"


def _root(half_square: float) -> tuple[float, float]:
    """Return MMD and 1/MMD, or 0 and 0, from half its square."""
    mmd = float(np.sqrt(max(2.0 * half_square, 0.0)))
    return mmd, 1.0 / mmd if mmd > 0.0 else 0.0


@final
class EnergyDistance(_Discrepancy):
    """E(mu) = E|X - Y| - E|X - X'|/2 - E|Y - Y'|/2 with X ~ mu, Y ~ target (theory, S9, S10).

    On the line it is int (F_mu - F_target)^2 dx, computed by sorting, with the mass of a Histogram even over its cells;
    elsewhere it is half the squared MMD of the kernel -|x - y|.

    Parameters
    ----------
    target : Particles, Quantiles or Histogram

    Raises
    ------
    TypeError, ValueError
        If target is none of these, or a state has another dimension.

    Examples
    --------
    >>> from measureflow import Quantiles
    >>> EnergyDistance(Quantiles([0.0])).value(Quantiles([3.0]))
    3.0
    """

    kernel = EnergyKernel()

    def __init__(self, target: Law) -> None:
        super().__init__(target)
        self._cells = _CDF(polyline(target)) if isinstance(target, Histogram) and target.dim == 1 else None

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if self.target.dim != 1 or not isinstance(state, (Particles, Quantiles)) or state.dim != 1:
            return super()._evaluate(state)
        points, weights = atoms(state)
        x = points[:, 0]
        value, slope = self._to_atoms(x, weights) if self._cells is None else self._cells.energy(x, weights)
        if isinstance(state, Quantiles):
            slope = slope + 2.0 * _level_gap(x)
        return value, slope.reshape(state.coordinates.shape)

    def _variation(self, law: State) -> np.ndarray:
        if self._cells is None:
            return super()._variation(law)
        points, weights = atoms(law)
        own, _ = self.kernel.integrate(points, points, weights)
        return own + self._cells.mean_distance(points[:, 0])

    def _to_atoms(self, x: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        from measureflow.kernels.line import energy_line  # numba is loaded at first use

        return energy_line(x, weights, self._points[:, 0], self._weights)

    def minibatch(self, size: int, rng: np.random.Generator) -> Energy | None:
        drawn = self._sampled(size, rng)
        return None if drawn is None else EnergyDistance(drawn)

    def __repr__(self) -> str:
        return f"EnergyDistance({self.target!r})"


def _tie_ends(y: np.ndarray, ends: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return F at the middle of its jumps for sorted atoms y with cumulated weights `ends`, equal over ties."""
    _, first, inverse = np.unique(y, return_index=True, return_inverse=True)
    last = np.append(first[1:], len(y)) - 1
    return np.asarray((0.5 * (ends[first] - w[first] + ends[last]))[inverse])


def _level_gap(values: np.ndarray) -> np.ndarray:
    """Return F(x) - s on quantiles, F at the middle of its jumps: 0 without ties; it lets the levels s split ties."""
    if np.all(values[1:] > values[:-1]):
        return np.zeros(len(values))
    n = len(values)
    ends = np.arange(1, n + 1) / n
    return _tie_ends(values, ends, np.full(n, 1.0 / n)) - (ends - 0.5 / n)


class _CDF:
    """The distribution function G of a law on the line, its integral, and E|Y - Y'|."""

    def __init__(self, line: Polyline) -> None:
        self.y, self.levels = line.y, line.G
        width = np.diff(self.y)
        lo, hi = self.levels[:-1], self.levels[1:]
        self.integral = np.concatenate([[0.0], np.cumsum(0.5 * width * (lo + hi))])
        self.mean = float(np.sum(0.5 * (self.y[1:] + self.y[:-1]) * (hi - lo)))
        # E|Y - Y'| = 2 int G (1 - G) dy, a quadratic on each piece
        self.own = float(np.sum(2.0 * width * (0.5 * (lo + hi) - (lo * lo + lo * hi + hi * hi) / 3.0)))

    def energy(self, x: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Return E|X - Y| - E|X - X'|/2 - E|Y - Y'|/2 and 2 (G(x) - F(x)), F and G at the middle of their jumps."""
        order = np.argsort(x, kind="stable")
        y, w = x[order], weights[order]
        ends = np.cumsum(w)
        slope = np.empty_like(x)
        slope[order] = 2.0 * (self.middle(y) - _tie_ends(y, ends, w))
        own = float(np.sum(2.0 * np.diff(y) * ends[:-1] * (1.0 - ends[:-1])))
        return float(w @ self.mean_distance(y)) - 0.5 * own - 0.5 * self.own, slope

    def _sides(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return G(x-) and G(x)."""
        sides = []
        for side in ("left", "right"):
            k = np.searchsorted(self.y, x, side=side)
            inner = np.clip(k, 1, len(self.y) - 1)
            y0, y1 = self.y[inner - 1], self.y[inner]
            share = np.divide(x - y0, y1 - y0, out=np.zeros_like(x), where=y1 > y0)
            value = self.levels[inner - 1] + np.clip(share, 0.0, 1.0) * (self.levels[inner] - self.levels[inner - 1])
            sides.append(np.where(k == 0, 0.0, np.where(k == len(self.y), 1.0, value)))
        return sides[0], sides[1]

    def middle(self, x: np.ndarray) -> np.ndarray:
        """Return (G(x-) + G(x)) / 2 at positions x (n,)."""
        left, right = self._sides(x)
        return 0.5 * (left + right)

    def mean_distance(self, x: np.ndarray) -> np.ndarray:
        """Return E|x - Y| = 2 int_{-inf}^x G dy + E Y - x at positions x (n,)."""
        k = np.clip(np.searchsorted(self.y, x, side="right") - 1, 0, len(self.y) - 1)
        start = self.y[k]
        left, _ = self._sides(x)
        inside = self.integral[k] + 0.5 * (x - start) * (self.levels[k] + left)
        below = np.where(x < self.y[0], 0.0, np.where(x >= self.y[-1], self.integral[-1] + (x - self.y[-1]), inside))
        return np.asarray(2.0 * below + self.mean - x)
