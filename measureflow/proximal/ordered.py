"""Laws of n equal atoms on the line as points of the cone of nondecreasing vectors.

For n equal atoms the step of a law is the Euclidean proximal map in sorted coordinates (theory, pitfall 1): W2 is
|u - x|^2 / n on the cone of nondecreasing vectors, for `Quantiles` and for `Particles` alike.
"""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow.energies import Energy
from measureflow.energies.base import Bounds
from measureflow.metrics import Metric
from measureflow.metrics.wasserstein import is_w2
from measureflow.proximal.base import Step
from measureflow.proximal.lbfgs import inner
from measureflow.states import Particles, Quantiles, State

SOFTEST = 1e-2
"""Least eigenvalue that a model Hessian keeps; that of |u - x|^2 / 2 alone is 1."""


@final
class Ordered:
    """A law of n equal atoms on the line in sorted coordinates (n,), and the way back.

    Attributes
    ----------
    origin : ndarray, shape (n,)
        The sorted atoms, less `shift`.
    shift : ndarray, shape (n,), optional
        What to add to coordinates for the atoms: they keep at least its distances.
    """

    def __init__(self, base: Quantiles | Particles, shift: np.ndarray | None = None) -> None:
        self.base, self.shift = base, shift
        self.order: np.ndarray | None = None
        self.origin = base.coordinates.ravel()
        if isinstance(base, Particles):
            self.order = np.argsort(self.origin, kind="stable")
            self.origin = self.origin[self.order]
        if shift is not None:
            self.origin = self.origin - shift

    def __len__(self) -> int:
        return len(self.origin)

    def state(self, u: np.ndarray) -> State:
        """Return the law at sorted coordinates (n,), its atoms labelled as those of the base."""
        u = u if self.shift is None else u + self.shift
        if self.order is None:
            return self.base.replace(u)
        points = np.empty((len(u), 1))
        points[self.order, 0] = u
        return self.base.replace(points)

    def evaluate(self, energy: Energy, u: np.ndarray) -> tuple[float, np.ndarray]:
        """Return value and gradient (n,) of an energy at sorted coordinates."""
        value, gradient = energy.value_and_gradient(self.state(u))
        return value, gradient if self.order is None else gradient[self.order, 0]

    def step(self, u: np.ndarray, residual: float = 0.0, iterations: int = 0, method: str = "closed form") -> Step:
        """Return the step to sorted coordinates."""
        return Step(self.state(u), norm(u - self.origin), residual, iterations, method)

    def goal(self, tolerance: float) -> float:
        """Return the residual to be reached: `tolerance` relative to max(1, size of the law)."""
        return tolerance * max(1.0, norm(self.origin))


def ordered(metric: Metric, x: State) -> Ordered | None:
    """Return sorted coordinates of a law of equal atoms on the line under W2, None for any other state."""
    if not is_w2(metric):
        return None
    if isinstance(x, Quantiles) or (isinstance(x, Particles) and x.dim == 1 and x.equal_weights):
        return Ordered(x)
    return None


def norm(a: np.ndarray) -> float:
    """Return the length of a displacement (n,) of n equal atoms."""
    return float(np.sqrt(inner(a, a) / len(a)))


def isotonic(z: np.ndarray, weights: np.ndarray | None = None, bounds: Bounds | None = None) -> np.ndarray:
    """Return the nearest nondecreasing vector in `bounds`, in the norm with these weights."""
    if np.any(z[1:] < z[:-1]):
        from scipy.optimize import isotonic_regression

        z = isotonic_regression(z, weights=weights).x
    return z if bounds is None else np.clip(z, *bounds)


def curvature(law: Ordered, terms: tuple[tuple[float, Energy], ...], u: np.ndarray) -> np.ndarray:
    """Return the Hessian's diagonal (n,) of energies that act on every atom by itself, by central differences."""
    total = np.zeros(len(u))
    step = 1e-4 * max(1.0, float(np.max(np.abs(u))))
    for factor, term in terms:
        ahead, behind = law.evaluate(term, u + step)[1], law.evaluate(term, u - step)[1]
        total += (factor / (2.0 * step)) * (ahead - behind)
    return total
