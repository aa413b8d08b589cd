"""Laws on the line as polylines, and their quantile functions sampled for n equal atoms."""

from __future__ import annotations

import numpy as np

from measureflow.errors import UnsupportedError
from measureflow.states import Gaussian, Histogram, Law, atoms
from measureflow.transport.line import Polyline, atoms_polyline, cells_polyline


def polyline(law: Law) -> Polyline:
    """Return the distribution function of Particles, Quantiles or a Histogram (mass even over each cell) on the line."""
    if law.dim != 1 or isinstance(law, Gaussian):
        raise UnsupportedError(f"a distribution function with finitely many pieces needs atoms or cells in 1-D, got {law!r}")
    if isinstance(law, Histogram):
        return cells_polyline(law.grid.edges[0], law.masses)
    points, weights = atoms(law)
    return atoms_polyline(points[:, 0], weights)


def level_values(law: Law, n: int) -> np.ndarray:
    """Return the quantile function of a law on the line at the levels (i + 1/2)/n, shape (n,)."""
    return law.to_quantiles(n).values


def level_means(law: Law, n: int) -> np.ndarray:
    """Return n int Q(s) ds over the levels i/n to (i + 1)/n of the quantile function Q of a law on the line, shape (n,).

    These are the n equal atoms nearest to the law in W2.
    """
    ends = np.arange(n + 1) / n
    if isinstance(law, Gaussian):
        from scipy.special import ndtri

        density = np.exp(-0.5 * ndtri(ends) ** 2) / np.sqrt(2.0 * np.pi)
        return np.asarray(law.mean[0] - np.sqrt(law.cov[0, 0]) * n * np.diff(density))
    line = polyline(law)
    y, levels = line.y, line.G
    total = np.concatenate([[0.0], np.cumsum(0.5 * (y[1:] + y[:-1]) * np.diff(levels))])
    k = np.clip(np.searchsorted(levels, ends, side="left") - 1, 0, len(y) - 2)
    part, width = ends - levels[k], np.maximum(levels[k + 1] - levels[k], np.finfo(float).tiny)
    integral = total[k] + part * (y[k] + 0.5 * (part / width) * (y[k + 1] - y[k]))
    return np.asarray(np.maximum.accumulate(n * np.diff(integral)))
