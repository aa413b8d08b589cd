"""The limited-memory BFGS recursion (Nocedal 1980), in any inner product, from any first inverse Hessian."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

MEMORY = 12
"""Secant pairs that are kept."""

Pairs = deque[tuple[np.ndarray, np.ndarray, float]]
Inner = Callable[[np.ndarray, np.ndarray], float]


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """Return the sum of products (n,), (n,); unlike BLAS the same bits on any number of threads."""
    return float(np.sum(a * b))


def remember(pairs: Pairs, change: np.ndarray, slope: np.ndarray, product: Inner = inner) -> None:
    """Keep a secant pair if the function is convex along it."""
    curvature = product(change, slope)
    if curvature > 1e-12 * product(change, change):
        pairs.append((change, slope, curvature))


def recursion(
    solve: Callable[[np.ndarray], np.ndarray], pairs: Pairs, gradient: np.ndarray, product: Inner = inner
) -> np.ndarray:
    """Apply the L-BFGS inverse Hessian that starts from `solve` to a gradient."""
    q, stack = gradient, []
    for change, slope, curvature in reversed(pairs):
        alpha = product(change, q) / curvature
        q = q - alpha * slope
        stack.append(alpha)
    q = solve(q)
    for (change, slope, curvature), alpha in zip(pairs, reversed(stack), strict=True):
        q = q + (alpha - product(slope, q) / curvature) * change
    return q


def preconditioned(solve: Callable[[np.ndarray], np.ndarray], pairs: Pairs, gradient: np.ndarray) -> np.ndarray:
    """Return the recursion's direction if it ascends, else that of `solve` alone."""
    q = recursion(solve, pairs, gradient)
    return q if inner(q, gradient) > 0.0 else solve(gradient)
