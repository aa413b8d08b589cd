"""Laws of n equal atoms on the line as points of the cone of nondecreasing vectors.

For n equal atoms the step of a law is the Euclidean proximal map in sorted coordinates (theory, pitfall 1): W2 is
|u - x|^2 / n on the cone of nondecreasing vectors, for `Quantiles` and for `Particles` alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import final

import numpy as np

from measureflow.energies import Energy
from measureflow.energies.base import Bounds
from measureflow.errors import ConvergenceError
from measureflow.metrics import Metric, Wasserstein
from measureflow.proximal.base import Step
from measureflow.states import Particles, Quantiles, State

SOFTEST = 1e-2
"""Least eigenvalue that a model Hessian keeps; that of |u - x|^2 / 2 alone is 1."""
Pairs = deque[tuple[np.ndarray, np.ndarray, float]]


@final
class Ordered:
    """A law of n equal atoms on the line in sorted coordinates (n,), and the way back.

    Attributes
    ----------
    origin : ndarray, shape (n,)
        The sorted atoms.
    """

    def __init__(self, base: Quantiles | Particles) -> None:
        self.base = base
        self.order: np.ndarray | None = None
        self.origin = base.coordinates.ravel()
        if isinstance(base, Particles):
            self.order = np.argsort(self.origin, kind="stable")
            self.origin = self.origin[self.order]

    def __len__(self) -> int:
        return len(self.origin)

    def state(self, u: np.ndarray) -> State:
        """Return the law at sorted coordinates (n,), its atoms labelled as those of the base."""
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
    if not isinstance(metric, Wasserstein) or metric.p != 2 or metric.method != "auto":
        return None
    if isinstance(x, Quantiles) or (isinstance(x, Particles) and x.dim == 1 and x.equal_weights):
        return Ordered(x)
    return None


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """Return the sum of products (n,), (n,); unlike BLAS the same bits on any number of threads."""
    return float(np.sum(a * b))


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


def not_converged(residual: float, goal: float, iterations: int, hint: str = "try a smaller tau") -> ConvergenceError:
    """Return the error of a step that did not reach its tolerance."""
    return ConvergenceError(
        f"the inner problem did not reach its tolerance: residual {residual:.3g} > {goal:.3g} after {iterations} iterations; "
        f"{hint}",
        residual,
        goal,
    )


def remember(pairs: Pairs, change: np.ndarray, slope: np.ndarray) -> None:
    """Keep a secant pair if the function is convex along it."""
    product = inner(change, slope)
    if product > 1e-12 * inner(change, change):
        pairs.append((change, slope, product))


def preconditioned(solve: Callable[[np.ndarray], np.ndarray], pairs: Pairs, gradient: np.ndarray) -> np.ndarray:
    """Apply the L-BFGS inverse Hessian that starts from `solve` to a gradient."""
    q, stack = gradient, []
    for change, slope, product in reversed(pairs):
        alpha = inner(change, q) / product
        q = q - alpha * slope
        stack.append(alpha)
    q = solve(q)
    for (change, slope, product), alpha in zip(pairs, reversed(stack), strict=True):
        q = q + (alpha - inner(slope, q) / product) * change
    return q if inner(q, gradient) > 0.0 else solve(gradient)
