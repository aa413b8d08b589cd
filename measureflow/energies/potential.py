"""Potential energies: int V dmu."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import PointEnergy
from measureflow.energies.quadrature import gaussian_average
from measureflow.states import Gaussian

PointFunction = Callable[[np.ndarray], np.ndarray]


@final
class Potential(PointEnergy):
    """E(mu) = int V dmu.

    Parameters
    ----------
    V : callable
        (n, d) -> (n,).
    grad : callable, optional
        (n, d) -> (n, d). Without it: central differences of step 6e-6 max(1, |x_k|) in each coordinate.
    prox : callable, optional
        (points (n, d), tau) -> (n, d), the minimisers u of V(u) + |u - x|^2 / (2 tau); if given, minimizing movements
        use it: the step of int V dmu is the push-forward by prox of V, for any law.
    convexity : float, optional
        A lambda for which V is lambda-convex.

    Raises
    ------
    TypeError
        If an argument is not as described.
    CallbackError
        At evaluation, if a function returns the wrong shape or values that are not finite.

    Notes
    -----
    On `Gaussian` the average is a Gauss-Hermite rule, exact for polynomials (see `measureflow.energies.quadrature`).

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Particles
    >>> well = Potential(lambda x: np.sum(x**2, axis=1) / 2, lambda x: x)
    >>> well.value(Particles([[1.0], [3.0]]))
    2.5
    """

    def __init__(
        self,
        V: PointFunction,
        grad: PointFunction | None = None,
        *,
        prox: Callable[[np.ndarray, float], np.ndarray] | None = None,
        convexity: float | None = None,
    ) -> None:
        self.V = check.function("V", V)
        self.grad = None if grad is None else check.function("grad", grad)
        self.prox = None if prox is None else check.function("prox", prox)
        self._convexity = None if convexity is None else check.scalar("convexity", convexity)

    @property
    def convexity(self) -> float | None:
        return self._convexity

    def values(self, points: np.ndarray) -> np.ndarray:
        """Return V at points (n, d), checked: (n,)."""
        return check.returned("V", self.V(points), (len(points),))

    def gradients(self, points: np.ndarray) -> np.ndarray:
        """Return grad V at points (n, d), checked: (n, d)."""
        if self.grad is None:
            return central_differences(self.values, points)
        return check.returned("grad", self.grad(points), points.shape)

    def _on_atoms(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        return float(weights @ self.values(points)), self.gradients(points).copy()

    def _first_variation(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        values = self.values(points)
        return float(weights @ values), values.copy()

    def _on_gaussian(self, law: Gaussian) -> tuple[float, np.ndarray]:
        return gaussian_average(self, self.values, self.gradients, law)

    def __repr__(self) -> str:
        return f"Potential({getattr(self.V, '__name__', type(self.V).__name__)})"


def central_differences(values: PointFunction, points: np.ndarray) -> np.ndarray:
    """Return the gradient (n, d) of a function (n, d) -> (n,) by central differences of step 6e-6 max(1, |x_k|)."""
    gradient = np.empty_like(points)
    for k in range(points.shape[1]):
        step = 6e-6 * np.maximum(1.0, np.abs(points[:, k]))
        ahead, behind = points.copy(), points.copy()
        ahead[:, k] += step
        behind[:, k] -= step
        gradient[:, k] = (values(ahead) - values(behind)) / (ahead[:, k] - behind[:, k])
    return gradient
