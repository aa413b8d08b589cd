"""Sums over all pairs of cells of a grid, by real fast Fourier transforms: walls by padding, glued axes as they are.

The kernel K is even and taken at differences of cell centres, along glued axes at the nearest image (the mean of both where two
are equally near). A sum costs O(n log n) and agrees with the one over pairs up to about 1e-15 of the largest |K|.

A kernel that is infinite at 0 but integrable is averaged over the cell of the source, so that the result is the potential at cell
centres of masses spread evenly over their cells: products of Gauss points, and in the cell of the singularity dyadic shells. The
potential of a smooth density has an error of second order in the width of the cells.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import final

import numpy as np

from measureflow.errors import CallbackError
from measureflow.states import Grid

Kernel = Callable[[np.ndarray], np.ndarray]
"""(..., d) -> (...)."""

BLOCK_ENTRIES = 1 << 20
"""Largest number of coordinates in one block of differences handed to a kernel (8 MiB)."""
FAR, NEAR, REACH = 2, 8, 4
"""Gauss points an axis, and within so many cells of the singularity."""
SHELLS = 60
"""Halvings of the cell of the singularity, shared among the dimensions."""
LEFT = 1e-3
"""Share of the average that may be left in the innermost cell: more means that the kernel is not integrable."""


@final
class Convolution:
    """The map m -> sum_j K(x_i - x_j) m_j on the cells of a grid.

    Parameters
    ----------
    kernel : callable
        (..., d) -> (...), even.
    grid : Grid
    singular : bool
        Whether to average the kernel over cells.

    Raises
    ------
    CallbackError
        If the kernel is not even, or `singular` and not integrable at 0.
    """

    def __init__(self, kernel: Kernel, grid: Grid, singular: bool = False) -> None:
        from scipy.fft import next_fast_len, rfftn

        self.shape, self.axes = grid.shape, tuple(range(grid.dim))
        values = _averaged(kernel, grid) if singular else _samples(kernel, grid, _offsets(grid))
        values = _even(values, grid)
        pairs = list(zip(grid.shape, grid.periodic, strict=True))
        self.room = tuple(n if glued else next_fast_len(2 * n - 1, real=True) for n, glued in pairs)
        places = [np.mod(k, room) for k, room in zip(_offsets(grid), self.room, strict=True)]
        padded = np.zeros(self.room)
        padded[np.ix_(*places)] = values
        self.transform = np.ascontiguousarray(rfftn(padded).real)  # of an even kernel

    def __call__(self, masses: np.ndarray) -> np.ndarray:
        """Return the sums, shape of the grid, for masses of that shape."""
        from scipy.fft import irfftn, rfftn

        spectrum = rfftn(masses, self.room, self.axes)
        spectrum *= self.transform
        sums = irfftn(spectrum, self.room, self.axes)
        return np.ascontiguousarray(sums[tuple(slice(n) for n in self.shape)])


def _offsets(grid: Grid) -> list[np.ndarray]:
    """Return the differences of cells that occur along every axis, in the order of Fourier transforms: 0, 1, ..., -2, -1."""
    pairs = zip(grid.shape, grid.periodic, strict=True)
    return [np.arange(n) - n * (2 * np.arange(n) > n) if glued else np.r_[0:n, 1 - n : 0] for n, glued in pairs]


def _samples(kernel: Kernel, grid: Grid, offsets: list[np.ndarray], shift: np.ndarray | None = None) -> np.ndarray:
    """Return the kernel at all differences of cells plus a shift, in cells; beyond half a glued axis at the nearest image."""
    steps = [k if shift is None else k + s for k, s in zip(offsets, np.zeros(grid.dim) if shift is None else shift, strict=True)]
    pairs = zip(steps, grid.shape, grid.periodic, strict=True)
    wrapped = [k - n * np.rint(k / n) * (2.0 * np.abs(k) > n) if glued else k for k, n, glued in pairs]
    first, *rest = [k * h for k, h in zip(wrapped, grid.spacing, strict=True)]
    out = np.empty([len(k) for k in offsets])
    rows = max(1, BLOCK_ENTRIES // (grid.dim * max(1, int(np.prod(out.shape[1:])))))
    for start in range(0, len(first), rows):
        part = slice(start, start + rows)
        out[part] = kernel(np.stack(np.meshgrid(first[part], *rest, indexing="ij"), axis=-1))
    return out


def _even(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the mean of a kernel and its mirror image, which differ at most halfway around glued axes."""
    mirrored = np.roll(np.flip(values), 1, tuple(range(values.ndim)))
    halfway = np.zeros(values.shape, dtype=bool)
    for k, (n, glued) in enumerate(zip(grid.shape, grid.periodic, strict=True)):
        if glued and n % 2 == 0:
            np.moveaxis(halfway, k, 0)[n // 2] = True
    close = np.isclose(values, mirrored, rtol=1e-9, atol=1e-12 * (1.0 + np.abs(values).max()))
    if not np.all(close | halfway):
        raise CallbackError("W must be even, got different values at x - y and y - x")
    return 0.5 * (values + mirrored)


def _gauss(count: int, dim: int) -> list[tuple[float, np.ndarray]]:
    """Return (weight, point) of the product rule on the cube [-1/2, 1/2]^dim, of `count` points an axis."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    pairs = list(zip(0.5 * weights, 0.5 * nodes, strict=True))
    return [(float(np.prod([w for w, _ in p])), np.array([x for _, x in p])) for p in product(pairs, repeat=dim)]


def _averaged(kernel: Kernel, grid: Grid) -> np.ndarray:
    """Return the averages of a kernel over the cells around all differences of cells."""
    offsets = _offsets(grid)
    values = sum(w * _samples(kernel, grid, offsets, x) for w, x in _gauss(FAR, grid.dim))
    near = [np.flatnonzero(np.abs(k) <= REACH) for k in offsets]
    close = [k[held] for k, held in zip(offsets, near, strict=True)]
    count = NEAR if grid.dim < 3 else NEAR - 2
    around = np.asarray(sum(w * _samples(kernel, grid, close, x) for w, x in _gauss(count, grid.dim)))
    around[(0,) * grid.dim] = _at_singularity(kernel, grid.spacing, count)
    out = np.asarray(values)
    out[np.ix_(*near)] = around
    return out


def _at_singularity(kernel: Kernel, spacing: np.ndarray, count: int) -> float:
    """Return the average over the cell around 0, summed over shells between the cell and half of it, and so on."""
    dim = len(spacing)
    rule = _gauss(count, dim)
    centres = np.array([c for c in product((-0.375, -0.125, 0.125, 0.375), repeat=dim) if max(map(abs, c)) > 0.2])
    points = np.concatenate([centres + 0.25 * x for _, x in rule])
    weights = np.repeat([0.25**dim * w for w, _ in rule], len(centres))
    total, scale = 0.0, 1.0
    for _ in range(SHELLS // dim):
        total += scale**dim * float(weights @ kernel(scale * spacing * points))
        scale *= 0.5
    left = scale**dim * float(sum(w * kernel(scale * spacing * x[None])[0] for w, x in rule))
    if not abs(left) <= LEFT * (abs(total) + abs(float(kernel(spacing[None])[0]))):
        raise CallbackError("W must be integrable at 0 for a Histogram, got one that grows too fast")
    return total + left
