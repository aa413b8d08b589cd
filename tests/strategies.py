"""Random laws and fields for the property tests: moderate numbers, few atoms, so that a failing case can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import measureflow as mf

COORDINATES = st.integers(-500, 500).map(lambda k: k / 100.0)
"""Numbers in [-5, 5] with two digits, so that ties between atoms happen."""


FEW, SOME = st.integers(1, 6), st.integers(1, 8)


def matrices(rows: int, columns: int) -> st.SearchStrategy[np.ndarray]:
    """Arrays (rows, columns) of `COORDINATES`."""
    return arrays(np.float64, (rows, columns), elements=COORDINATES)


@st.composite
def weights(draw: st.DrawFn, n: int) -> np.ndarray:
    """Positive weights (n,) with sum 1, none below 1/(10 n)."""
    parts = draw(arrays(np.float64, n, elements=st.integers(10, 100).map(float)))
    return np.asarray(parts / parts.sum())


@st.composite
def particles(draw: st.DrawFn, dim: int = 2, n: Any = FEW, equal: bool | None = None) -> mf.Particles:
    """Atoms in R^dim, with equal weights (equal=True), other weights (False) or either (None)."""
    count = draw(n) if isinstance(n, st.SearchStrategy) else n
    flat = draw(st.booleans()) if equal is None else equal
    return mf.Particles(draw(matrices(count, dim)), None if flat else draw(weights(count)))


@st.composite
def quantiles(draw: st.DrawFn, n: Any = SOME) -> mf.Quantiles:
    """Laws on the line; ties allowed."""
    count = draw(n) if isinstance(n, st.SearchStrategy) else n
    return mf.Quantiles(np.sort(draw(matrices(count, 1))[:, 0]))


@st.composite
def gaussians(draw: st.DrawFn, dim: int = 2) -> mf.Gaussian:
    """Gaussians whose covariance has eigenvalues of at least 0.05."""
    root = draw(matrices(dim, dim)) / 5.0
    return mf.Gaussian(draw(matrices(1, dim))[0], root @ root.T + 0.05 * np.eye(dim))


@st.composite
def vectors(draw: st.DrawFn, size: int = 3) -> mf.Vector:
    """Points of R^size."""
    return mf.Vector(draw(matrices(1, size))[0])


@st.composite
def fields(draw: st.DrawFn, grid: mf.Grid) -> mf.Field:
    """Functions on a grid."""
    return mf.Field(draw(arrays(np.float64, grid.shape, elements=COORDINATES)), grid)


@st.composite
def histograms(draw: st.DrawFn, grid: mf.Grid) -> mf.Histogram:
    """Histograms on a grid; empty cells allowed."""
    parts = draw(arrays(np.float64, grid.shape, elements=st.integers(0, 20).map(float)).filter(lambda p: p.sum() > 0.0))
    return mf.Histogram(parts / parts.sum(), grid)
