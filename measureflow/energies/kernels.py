"""Kernels k(x, y) of maximum mean discrepancies: three built in, summed by compiled loops, and the user's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import numpy as np

from measureflow import _validate as check

BLOCK_ENTRIES = 1 << 20


class Kernel(ABC):
    """A symmetric kernel that can be integrated against signed weighted atoms."""

    cone: float = 0.0
    """Slope c of the kink k(x, y) = k(x, x) - c |x - y| + ...; 0 for a smooth kernel."""

    @abstractmethod
    def integrate(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return f(x_i) = sum_j weights_j k(x_i, y_j), shape (n,), and its gradient, shape (n, d); no n x m array is kept."""


class _BuiltIn(Kernel):
    name: str

    def __init__(self, bandwidth: float = 1.0) -> None:
        self.bandwidth = check.scalar("bandwidth", bandwidth, above=0.0)

    def integrate(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from measureflow.kernels.pairwise import potential_and_gradient  # numba is loaded at first use

        values, slopes = potential_and_gradient(self.name, x, y, weights, self.bandwidth)
        assert slopes is not None
        return values, slopes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.bandwidth:g})"


@final
class GaussianKernel(_BuiltIn):
    """k(x, y) = exp(-|x - y|^2 / (2 bandwidth^2)).

    Parameters
    ----------
    bandwidth : float
        Positive.

    Examples
    --------
    >>> GaussianKernel(0.5)
    GaussianKernel(0.5)
    """

    name = "gaussian"


@final
class LaplaceKernel(_BuiltIn):
    """k(x, y) = exp(-|x - y| / bandwidth).

    Parameters
    ----------
    bandwidth : float
        Positive.

    Examples
    --------
    >>> LaplaceKernel(2.0)
    LaplaceKernel(2)
    """

    name = "laplace"

    def __init__(self, bandwidth: float = 1.0) -> None:
        super().__init__(bandwidth)
        self.cone = 1.0 / self.bandwidth


@final
class EnergyKernel(_BuiltIn):
    """k(x, y) = -|x - y|, conditionally positive definite; half its squared MMD is the energy distance.

    Examples
    --------
    >>> EnergyKernel()
    EnergyKernel()
    """

    name = "energy"
    cone = 1.0

    def __init__(self) -> None:
        super().__init__(1.0)

    def __repr__(self) -> str:
        return "EnergyKernel()"


@final
class UserKernel(Kernel):
    """The user's own kernel.

    Parameters
    ----------
    k : callable
        (n, d), (m, d) -> (n, m), symmetric.
    grad_x : callable, optional
        (n, d), (m, d) -> (n, m, d), the gradient in the first argument. Without it: central differences of step 6e-6
        max(1, |x_k|).

    Examples
    --------
    >>> import numpy as np
    >>> linear = UserKernel(lambda x, y: x @ y.T, lambda x, y: np.broadcast_to(y, (len(x), *y.shape)))
    >>> linear.integrate(np.ones((1, 2)), np.eye(2), np.array([1.0, 2.0]))
    (array([3.]), array([[1., 2.]]))
    """

    def __init__(self, k: Callable[..., Any], grad_x: Callable[..., Any] | None = None) -> None:
        self.k = check.function("k", k)
        self.grad_x = None if grad_x is None else check.function("grad_x", grad_x)

    def integrate(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = max(1, BLOCK_ENTRIES // (len(y) * x.shape[1]))
        parts = [self._block(x[start : start + rows], y, weights) for start in range(0, len(x), rows)]
        return np.concatenate([f for f, _ in parts]), np.concatenate([g for _, g in parts])

    def _block(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = self._values(x, y) @ weights
        if self.grad_x is None:
            from measureflow.energies.potential import central_differences

            return values, central_differences(lambda points: self._values(points, y) @ weights, x)
        gradient = check.returned("grad_x", self.grad_x(x, y), (len(x), len(y), x.shape[1]))
        return values, np.einsum("nmd,m->nd", gradient, weights)

    def _values(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return check.returned("kernel", self.k(x, y), (len(x), len(y)))

    def __repr__(self) -> str:
        return f"UserKernel({getattr(self.k, '__name__', type(self.k).__name__)})"


NAMED: dict[str, Any] = {"gaussian": GaussianKernel, "laplace": LaplaceKernel, "energy": lambda bandwidth: EnergyKernel()}


def kernel_from(kernel: Any, bandwidth: float) -> Kernel:
    """Return a kernel from a Kernel, one of the names "gaussian", "laplace", "energy", or a function (n, d), (m, d) -> (n, m)."""
    if isinstance(kernel, Kernel):
        return kernel
    if isinstance(kernel, str):
        return NAMED[check.choice("kernel", kernel, tuple(NAMED))](bandwidth)
    if not callable(kernel):
        raise TypeError(f"kernel must be a Kernel, a function or one of {', '.join(NAMED)}, got {check.show(kernel)}")
    return UserKernel(kernel)
