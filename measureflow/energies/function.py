"""The user's own energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Energy
from measureflow.states import Gaussian, State


@final
class Function(Energy):
    """E(state) = f(state), on any kind of state.

    Parameters
    ----------
    f : callable
        state -> float. States are array-like: ``lambda x: 0.5 * np.sum(x**2)`` works on `Vector`.
    grad : callable
        state -> array of the shape of the state's coordinates, as `Energy.gradient` describes it: for `Particles` the Wasserstein
        gradient, n times the partial derivative for n equal atoms. For `Gaussian` a pair (dE/dmean, dE/dcov) is accepted.
    convexity : float, optional
        A lambda for which E is lambda-convex along (generalised) geodesics.

    Raises
    ------
    TypeError
        If f or grad is not a function.
    CallbackError
        At evaluation, if they return the wrong shape or values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Vector
    >>> energy = Function(lambda x: np.sum(x**2) / 2, lambda x: x)
    >>> energy.value(Vector([3.0, 4.0]))
    12.5
    """

    def __init__(self, f: Callable[[Any], float], grad: Callable[[Any], Any], *, convexity: float | None = None) -> None:
        self.f = check.function("f", f)
        self.grad = check.function("grad", grad)
        self._convexity = None if convexity is None else check.scalar("convexity", convexity)

    @property
    def convexity(self) -> float | None:
        return self._convexity

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        value = check.returned_scalar("f", self.f(state))
        return value, returned_gradient("grad", self.grad(state), state)

    def __repr__(self) -> str:
        return f"Function({getattr(self.f, '__name__', type(self.f).__name__)})"


def returned_gradient(name: str, gradient: Any, state: State) -> np.ndarray:
    """Check a gradient that a user's function returned for a state; Gaussian: also (dE/dmean, dE/dcov)."""
    if isinstance(state, Gaussian) and isinstance(gradient, tuple) and len(gradient) == 2:
        d = state.dim
        return np.vstack([check.returned(name, gradient[0], (d,)), check.returned(name, gradient[1], (d, d))])
    return check.returned(name, gradient, state.coordinates.shape).copy()
