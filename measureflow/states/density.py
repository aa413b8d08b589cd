"""Densities of laws on the line, for pictures only: smooth curves (x, density), or None for a law at one place."""

from __future__ import annotations

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]

IRREGULAR = 0.15


def gaussian_density(mean: float, variance: float) -> Curve | None:
    """Return the density of N(mean, variance) on four standard deviations either side."""
    if variance <= 0.0:
        return None
    s = np.linspace(-4.0, 4.0, 241)
    deviation = np.sqrt(variance)
    return mean + deviation * s, np.exp(-0.5 * s**2) / (deviation * np.sqrt(2.0 * np.pi))


def kernel_density(points: np.ndarray, weights: np.ndarray) -> Curve | None:
    """Return a Gaussian kernel estimate from atoms (n,) with weights (n,).

    The bandwidth is Silverman's, with the spread measured where the mass is, so that separate clusters stay separate.
    """
    from scipy.ndimage import gaussian_filter1d

    order = np.argsort(points, kind="stable")
    x, w = points[order], weights[order]
    reach = float(x[-1] - x[0])
    if _one_place(x):
        return None
    h = max(0.9 * _spread(x, w) * float(np.sum(w**2)) ** 0.2, reach / 300.0)
    edges = np.linspace(x[0] - 3.5 * h, x[-1] + 3.5 * h, 1025)
    cell = edges[1] - edges[0]
    masses, _ = np.histogram(x, edges, weights=w)
    smooth = gaussian_filter1d(masses / cell, h / cell, mode="constant", truncate=5.0)
    return 0.5 * (edges[1:] + edges[:-1])[::2], smooth[::2]


def quantile_density(values: np.ndarray) -> Curve | None:
    """Return the density of a law given by its quantiles (n,): the mass between neighbours over their gap.

    Ties are drawn as boxes of an eightieth of the range; quantiles that are random samples (irregular gaps) are
    smoothed by `kernel_density` instead.
    """
    n = len(values)
    if _one_place(values):
        return None
    if _irregular(values):
        return kernel_density(values, np.full(n, 1.0 / n))
    knots = values[:: -(-n // 400)] if n > 400 else values
    mass = (1.0 if n > 400 else (n - 1) / n) / (len(knots) - 1)
    gaps = np.diff(knots)
    reach = float(knots[-1] - knots[0])
    middle = float(knots[(3 * len(knots)) // 4] - knots[len(knots) // 4])
    tied = gaps < min(reach, middle or reach) / 2000.0
    places = (0.5 * (knots[1:] + knots[:-1]))[~tied]
    x, density = _extended(places, mass / gaps[~tied], float(knots[0]), float(knots[-1]))
    return _with_boxes(x, density, knots[:-1][tied], mass, reach / 80.0)


def _extended(x: np.ndarray, y: np.ndarray, first: float, last: float) -> Curve:
    """Return a curve continued along its first and last pieces to `first` and `last`, not below zero."""
    if len(x) == 1:
        return np.array([first, last]), np.array([y[0], y[0]])
    before = y[0] - (y[1] - y[0]) * (x[0] - first) / (x[1] - x[0])
    after = y[-1] + (y[-1] - y[-2]) * (last - x[-1]) / (x[-1] - x[-2])
    return np.concatenate([[first], x, [last]]), np.concatenate([[max(before, 0.0)], y, [max(after, 0.0)]])


def _with_boxes(x: np.ndarray, density: np.ndarray, places: np.ndarray, mass: float, width: float) -> Curve:
    """Return a curve with a box of this mass and width added around each of the places; equal ones add up."""
    if not len(places):
        return x, density
    centres, counts = np.unique(places, return_counts=True)
    left, right = centres - 0.5 * width, centres + 0.5 * width
    sides = np.concatenate([left, right])
    grid = np.unique(np.concatenate([x, sides - 1e-6 * width, sides + 1e-6 * width]))
    inside = (grid[:, None] > left) & (grid[:, None] < right)
    return grid, np.interp(grid, x, density, left=0.0, right=0.0) + inside @ (counts * (mass / width))


def _one_place(x: np.ndarray) -> bool:
    return float(x[-1] - x[0]) <= 1e-12 * max(1.0, float(np.abs(x).max()))


def _spread(x: np.ndarray, w: np.ndarray) -> float:
    """Return the local spread, from the widths of a tenth of the mass, between 1/8 and 1 standard deviation."""
    levels = np.cumsum(w) - 0.5 * w
    shifted = np.interp(np.linspace(0.05, 0.95, 91), levels, x)
    local = float(np.median(shifted[10:] - shifted[:-10])) / 0.30  # 0.30: the same width of a standard normal law
    deviation = float(np.sqrt(w @ (x - w @ x) ** 2))
    return float(np.clip(local, deviation / 8.0, deviation))


def _irregular(values: np.ndarray) -> bool:
    """Return whether neighbouring gaps differ as those of random samples do: |a - b| / (a + b) is 0.5 there."""
    gaps = np.diff(values)
    both = gaps[1:] + gaps[:-1]
    held = both > 0.0
    return bool(len(gaps) > 8 and held.any() and np.median(np.abs(np.diff(gaps))[held] / both[held]) > IRREGULAR)
