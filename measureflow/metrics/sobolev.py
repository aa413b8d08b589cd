"""Sobolev spaces H^s of functions on a grid."""

from __future__ import annotations

from functools import reduce
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.errors import UnsupportedError
from measureflow.metrics.base import Chart, Flat, Metric, same_structure
from measureflow.states import Field, Grid, State


class _SobolevChart(Flat):
    """Coordinates are the values; the inner product is <(I - Lap)^s a, b> in L2."""

    def __init__(self, base: Field, order: float) -> None:
        super().__init__(base, base.grid.cell_volume)
        self.grid = base.grid
        self.order = order

    def pull(self, z: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        return bessel(gradient, self.grid, -self.order)

    def inner(self, a: np.ndarray, b: np.ndarray) -> float:
        return super().inner(bessel(a, self.grid, self.order), b)


@final
class Sobolev(Metric):
    """The distance of H^s for functions on a grid: |a - b|^2 = <(I - Lap)^s (a - b), a - b> in L2.

    Parameters
    ----------
    order : float
        The exponent s; 0 is L2, 1 the default is H^1. Negative orders are allowed.

    Notes
    -----
    The Laplacian has no-flux walls, or is periodic, as the grid says; it acts on cosine and Fourier modes exactly.

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Field, Grid
    >>> grid = Grid([(0.0, np.pi)], (64,))
    >>> wave = Field(np.cos(grid.axes[0]), grid)
    >>> round(Sobolev(1).distance(wave, Field(np.zeros(64), grid)) ** 2 / np.pi, 12)
    1.0
    """

    def __init__(self, order: float = 1) -> None:
        self.order = check.scalar("order", order)

    def _distance(self, a: State, b: State) -> float:
        same_structure(a, b)
        return self.chart(a).norm(np.asarray(b) - np.asarray(a))

    def chart(self, base: State) -> Chart:
        """Return the values as coordinates, with the inner product of H^s."""
        if not isinstance(base, Field):
            raise UnsupportedError(f"the Sobolev metric is for Field, got {type(base).__name__}")
        return _SobolevChart(base, self.order)

    def __repr__(self) -> str:
        return f"Sobolev(order={self.order:g})"


def bessel(values: np.ndarray, grid: Grid, power: float) -> np.ndarray:
    """Return (I - Lap)^power applied to values on a grid (cosine modes; Fourier modes in periodic dimensions)."""
    if power == 0.0:
        return values
    from scipy import fft

    spectrum = values.astype(complex) if any(grid.periodic) else values
    for axis, periodic in enumerate(grid.periodic):
        spectrum = fft.fft(spectrum, axis=axis) if periodic else fft.dct(spectrum, axis=axis, norm="ortho")
    spectrum = spectrum * (1.0 + _squared_frequencies(grid)) ** power
    for axis, periodic in enumerate(grid.periodic):
        spectrum = fft.ifft(spectrum, axis=axis) if periodic else fft.idct(spectrum, axis=axis, norm="ortho")
    return np.ascontiguousarray(spectrum.real)


def _squared_frequencies(grid: Grid) -> np.ndarray:
    waves = []
    for (lo, hi), n, periodic in zip(grid.bounds, grid.shape, grid.periodic, strict=True):
        index = np.fft.fftfreq(n, 1.0 / n) * 2.0 if periodic else np.arange(n)
        waves.append((np.pi * index / (hi - lo)) ** 2)
    return reduce(np.add.outer, waves)
