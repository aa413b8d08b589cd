"""Interaction energies of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import AtomEnergy
from measureflow.energies.convolution import Convolution
from measureflow.energies.potential import central_differences
from measureflow.energies.quadrature import gaussian_average
from measureflow.errors import CallbackError
from measureflow.states import Gaussian, Grid, Histogram, State

BLOCK_ENTRIES = 1 << 20
"""Largest number of coordinates in one block of differences handed to W (8 MiB)."""
GRIDS = 4
"""Grids for which the transformed W is kept."""


@final
class Interaction(AtomEnergy):
    """E(mu) = (1/2) iint W(x - y) dmu dmu.

    Parameters
    ----------
    W : callable
        (..., d) -> (...), even.
    grad : callable, optional
        (..., d) -> (..., d). Without it: central differences of step 6e-6 max(1, |z_k|).
    singular : bool
        Leave out the diagonal, pairs of an atom with itself. On a `Histogram` W is then averaged over the cells instead, which
        takes W that are infinite at 0 but integrable: -log|z| in any dimension, 1/|z| in 2-D and 3-D.
    convexity : float, optional
        A lambda for which E is lambda-convex: 0 if W is convex.

    Raises
    ------
    TypeError
        If an argument is not as described.
    CallbackError
        At evaluation, if a function returns the wrong shape or values that are not finite, or W is not even.

    Notes
    -----
    Pairs are taken in blocks: no n x n array is formed. On `Gaussian` the law of x - y is N(0, 2 cov) and the average is
    a Gauss-Hermite rule. On `Histogram` sums over pairs of cells are convolutions by fast Fourier transforms, whose transformed W
    is kept; along glued axes x - y is the nearest image (`energies.convolution`).

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Particles
    >>> spring = Interaction(lambda z: np.sum(z**2, axis=-1) / 2, lambda z: z)
    >>> spring.gradient(Particles([[0.0], [2.0]]))
    array([[-1.],
           [ 1.]])
    """

    def __init__(
        self,
        W: Callable[[np.ndarray], np.ndarray],
        grad: Callable[[np.ndarray], np.ndarray] | None = None,
        singular: bool = False,
        *,
        convexity: float | None = None,
    ) -> None:
        self.W = check.function("W", W)
        self.grad = None if grad is None else check.function("grad", grad)
        self.singular = check.flag("singular", singular)
        self._convexity = None if convexity is None else check.scalar("convexity", convexity)
        self._convolutions: dict[Grid, Convolution] = {}

    @property
    def convexity(self) -> float | None:
        return self._convexity

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, Histogram):
            return super()._evaluate(state)
        potential = self._convolution(state.grid)(state.masses)
        return 0.5 * float(np.sum(state.masses * potential)), potential

    def _convolution(self, grid: Grid) -> Convolution:
        """Return the convolution with W on a grid; those of the last few grids are kept."""
        known = self._convolutions.get(grid)
        if known is None:
            known = Convolution(self._values, grid, self.singular)
            self._convolutions = dict([*list(self._convolutions.items())[1 - GRIDS :], (grid, known)])
        return known

    def _values(self, differences: np.ndarray) -> np.ndarray:
        hint = "W" if self.singular else "W (if it is infinite at 0, say singular=True)"
        return check.returned(hint, self.W(differences), differences.shape[:-1])

    def _gradients(self, differences: np.ndarray) -> np.ndarray:
        if self.grad is not None:
            return check.returned("grad", self.grad(differences), differences.shape)
        flat = differences.reshape(-1, differences.shape[-1])
        return central_differences(self._values, flat).reshape(differences.shape)

    def _require_even(self, points: np.ndarray) -> None:
        ahead = points[1:65] - points[0]
        there, back = self._values(ahead), self._values(-ahead)
        if not np.allclose(there, back, rtol=1e-9, atol=1e-12 * (1.0 + np.abs(there).max(initial=0.0))):
            raise CallbackError("W must be even, got different values at x - y and y - x")

    def _sum(
        self, points: np.ndarray, weights: np.ndarray, function: Callable[[np.ndarray], np.ndarray], width: tuple[int, ...]
    ) -> np.ndarray:
        """Return sum_j weights_j function(x_i - x_j) for all i, shape (n, *width), in blocks of rows."""
        n, d = points.shape
        result = np.empty((n, *width))
        rows = max(1, BLOCK_ENTRIES // (n * d))
        for start in range(0, n, rows):
            block = np.arange(start, min(start + rows, n))
            differences = points[block, None, :] - points[None, :, :]
            if self.singular:
                differences[block - start, block] = 1.0
            values = function(differences)
            if self.singular:
                values = values.copy()
                values[block - start, block] = 0.0
            result[block] = np.einsum("ij...,j->i...", values, weights)
        return result

    def _first_variation(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        self._require_even(points)
        potential = self._sum(points, weights, self._values, ())
        return 0.5 * float(weights @ potential), potential

    def _on_atoms(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, _ = self._first_variation(points, weights)
        return value, self._sum(points, weights, self._gradients, (points.shape[1],))

    def _on_gaussian(self, law: Gaussian) -> tuple[float, np.ndarray]:
        difference = Gaussian(np.zeros(law.dim), 2.0 * law.cov)
        value, gradient = gaussian_average(self, self._values, self._gradients, difference)
        return 0.5 * value, np.vstack([np.zeros(law.dim), gradient[1:]])

    def __repr__(self) -> str:
        return f"Interaction({getattr(self.W, '__name__', type(self.W).__name__)})"


@final
class QuadraticInteraction(AtomEnergy):
    """E(mu) = (1/2) iint a |x - y|^2 / 2 dmu dmu = (a/2) tr cov(mu): every atom is drawn to the mean (theory, S6).

    Minimizing movements have a closed form: offsets from the mean shrink by 1 + a tau, the mean stays.

    Parameters
    ----------
    strength : float
        a; negative for repulsion.

    Raises
    ------
    TypeError, ValueError
        If strength is not a finite number.

    Examples
    --------
    >>> from measureflow import Particles
    >>> QuadraticInteraction().gradient(Particles([[0.0], [2.0]]))
    array([[-1.],
           [ 1.]])
    """

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = check.scalar("strength", strength)

    @property
    def convexity(self) -> float:
        return min(self.strength, 0.0)

    def _first_variation(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        squares = np.sum((points - weights @ points) ** 2, axis=1)
        value = 0.5 * self.strength * float(weights @ squares)
        return value, 0.5 * self.strength * squares + value

    def _on_atoms(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        return self._first_variation(points, weights)[0], self.strength * (points - weights @ points)

    def _on_gaussian(self, law: Gaussian) -> tuple[float, np.ndarray]:
        value = 0.5 * self.strength * float(np.trace(law.cov))
        return value, np.vstack([np.zeros(law.dim), 0.5 * self.strength * np.eye(law.dim)])

    def __repr__(self) -> str:
        return f"QuadraticInteraction({self.strength:g})"
