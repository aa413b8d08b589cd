"""When a sample belongs to a mode: the nearest one, and the radius that holds a part of a Gaussian."""

from __future__ import annotations

import numpy as np

from measureflow import _validate as check

RADIUS = 3.0
"""Standard deviations within which a sample is of high quality (VEEGAN and PacGAN, in the plane)."""
FAIR = 0.2
"""Part of its share that a mode must hold to count as a fair one."""
PERFECT = 1.0 - float(np.exp(-0.5 * RADIUS**2))
"""Part of a Gaussian in the plane within three standard deviations: 98.889 %."""
BLOCK = 2**22
"""Distances that are computed at once."""


def quality(radius: float, dim: int) -> float:
    """Return the part of a Gaussian in `dim` dimensions within `radius` standard deviations: the chi distribution.

    Examples
    --------
    >>> [round(quality(3.0, dim), 4) for dim in (1, 2, 3, 10)]
    [0.9973, 0.9889, 0.9707, 0.4679]
    """
    from scipy.special import gammainc

    return float(gammainc(0.5 * check.integer("dim", dim, least=1), 0.5 * check.scalar("radius", radius, least=0.0) ** 2))


def quality_radius(dim: int, part: float = PERFECT) -> float:
    """Return the radius in standard deviations that holds `part` of a Gaussian in `dim` dimensions; 3 for the plane.

    Examples
    --------
    >>> [round(quality_radius(dim), 3) for dim in (2, 3, 10, 700)]
    [3.0, 3.334, 4.786, 28.078]
    """
    from scipy.special import gammaincinv

    part = check.scalar("part", part, above=0.0, below=1.0)
    return float(np.sqrt(2.0 * gammaincinv(0.5 * check.integer("dim", dim, least=1), part)))


def nearest_modes(points: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for points (n, d) the nearest of the modes (k, d) and the distance to it in units of its width, both (n,)."""
    from scipy.spatial.distance import cdist

    index, gap = np.empty(len(points), dtype=np.intp), np.empty(len(points))
    step = max(BLOCK // len(centres), 1)
    for low in range(0, len(points), step):
        part = slice(low, low + step)
        scaled = cdist(points[part], centres) / widths
        index[part] = np.argmin(scaled, axis=1)
        gap[part] = np.take_along_axis(scaled, index[part, None], axis=1)[:, 0]
    return index, gap


def mass_by_mode(index: np.ndarray, masses: np.ndarray, k: int) -> np.ndarray:
    """Return the mass (k,) of the samples (n,) of every mode."""
    return np.bincount(index, weights=masses, minlength=k)
