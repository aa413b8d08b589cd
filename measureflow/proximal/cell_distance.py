"""The distance between near laws on cells of any number: W2 to first order, by one elliptic problem."""

from __future__ import annotations

import numpy as np

from measureflow.proximal.elliptic import Elliptic
from measureflow.states import Histogram

VACUUM = 1e-6
"""Share of the mean density that the mobility has at least."""


def near_distance(a: Histogram, b: Histogram, accuracy: float = 1e-3) -> float:
    """Return |a - b| in the H^-1 norm weighted with the mean of both densities.

    That is (int M |grad psi|^2)^(1/2) with -div(M grad psi) = b - a, the length of the shortest way from a to b with the velocity
    field of one time: W2 up to terms of higher order in the distance where densities are positive (Peyre, Comparison between W2
    distance and H^-1 norm, 2018), and at most twice as much or little as their ratio allows. Faces have the mean density of
    their two cells, at least 1e-6 of the mean of all.

    Parameters
    ----------
    a, b : Histogram
        On one grid, of one to three dimensions, with walls or glued sides.
    accuracy : float
        Relative residual of the elliptic problem.
    """
    difference = b.masses - a.masses
    if not np.any(difference):
        return 0.0
    density = 0.5 * (a.density + b.density)
    density = np.maximum(density, VACUUM * float(np.mean(density)))
    faces = []
    for axis, (h, glued) in enumerate(zip(a.grid.spacing, a.grid.periodic, strict=True)):
        k = 0.5 * (density + np.roll(density, -1, axis)) / h**2
        if not glued or density.shape[axis] == 1:
            np.moveaxis(k, axis, 0)[-1] = 0.0
        faces.append(k)
    psi = Elliptic(np.zeros(density.shape), faces).solve((difference - np.mean(difference)) / a.grid.cell_volume, accuracy)[0]
    return float(np.sqrt(max(float(np.sum(difference * psi)), 0.0)))
