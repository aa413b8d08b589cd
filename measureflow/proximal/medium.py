"""What mass moves through in finite volumes: a grid with its faces, pressure and potential, and its coarser grids."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from measureflow.kernels import fluxes
from measureflow.proximal.elliptic import Elliptic

CAP = 1e8
"""Bound on 1 / P'(rho), relative to tau / h^2."""
SMALLEST = 8
HELD = 12
"""Grids whose multigrid hierarchies a thread keeps."""

_local = threading.local()


@final
@dataclass(frozen=True, eq=False)
class Medium:
    """What mass moves through: a grid, the pressure, a potential, and cells that it cannot enter.

    Parameters
    ----------
    spacing : tuple of float
        Widths of a cell.
    periodic : tuple of bool
    coef, power : ndarray, shape (k,)
        Internal energy, see `measureflow.kernels.fluxes`.
    potential : ndarray, shape of the grid
    free : ndarray of bool, shape of the grid
        Where mass may be.
    cap : float
        Bound on the density.
    """

    spacing: tuple[float, ...]
    periodic: tuple[bool, ...]
    coef: np.ndarray
    power: np.ndarray
    potential: np.ndarray
    free: np.ndarray
    cap: float = np.inf

    @cached_property
    def faces(self) -> list[np.ndarray]:
        """1/h^2 at open faces behind the cells, one array an axis; read only."""
        return self._held()[1]

    @cached_property
    def still(self) -> bool:
        """Whether there is no potential, and no pressure of a crowd."""
        return self.cap == np.inf and bool(np.ptp(self.potential[self.free]) == 0.0)

    def elliptic(self) -> Elliptic:
        """Return the multigrid hierarchy of this grid, one for each thread."""
        return self._held()[0]

    def _held(self) -> tuple[Elliptic, list[np.ndarray]]:
        """Return the hierarchy and the faces, which this thread keeps for the next media on the same grid."""
        held: OrderedDict[tuple[object, ...], tuple[Elliptic, list[np.ndarray]]] = _local.__dict__.setdefault(
            "held", OrderedDict()
        )
        key = (self.free.shape, self.spacing, self.periodic, np.packbits(self.free).tobytes())
        if key not in held:
            faces = self._faces()
            held[key] = Elliptic(np.zeros(self.free.shape), faces), faces
        held.move_to_end(key)
        while len(held) > HELD:
            held.popitem(last=False)
        return held[key]

    def _faces(self) -> list[np.ndarray]:
        found = []
        for axis, (h, glued) in enumerate(zip(self.spacing, self.periodic, strict=True)):
            open_ = self.free & np.roll(self.free, -1, axis)
            if not glued or self.free.shape[axis] == 1:
                np.moveaxis(open_, axis, 0)[-1] = False
            found.append(open_ / h**2)
        return found

    def axes(self) -> list[tuple[int, int, int]]:
        """Return (outer, n, inner) of every axis."""
        shape = self.free.shape
        return [(int(np.prod(shape[:k])), n, int(np.prod(shape[k + 1 :]))) for k, n in enumerate(shape)]

    def pressure(self, rho: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
        """Return P(rho) and 1/P'(rho), the latter bounded and 0 in blocked cells."""
        p, a = np.empty_like(rho), np.empty_like(rho)
        fluxes.pressure(rho, self.coef, self.power, CAP * 2.0 * tau * sum(h**-2.0 for h in self.spacing), p, a)
        return p, a if self.free.all() else a * self.free

    def coarser(self) -> Medium | None:
        """Return the same on half the cells an axis; None if an axis cannot be halved."""
        if any(n > 1 and (n % 2 or n < SMALLEST) for n in self.free.shape):
            return None
        spacing = tuple(2.0 * h if n > 1 else h for h, n in zip(self.spacing, self.free.shape, strict=True))
        count = averaged(self.free.astype(float))
        potential = averaged(np.where(self.free, self.potential, 0.0)) / np.where(count > 0.0, count, 1.0)
        return Medium(spacing, self.periodic, self.coef, self.power, potential, count > 0.0, self.cap)


def averaged(values: np.ndarray) -> np.ndarray:
    """Return the averages over pairs of cells along each axis longer than 1."""
    for axis, n in enumerate(values.shape):
        if n > 1:
            even, odd = (np.take(values, range(s, n, 2), axis) for s in (0, 1))
            values = 0.5 * (even + odd)
    return values


def repeated(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return values on cells of half the width, constant on pairs."""
    for axis, n in enumerate(shape):
        if n != values.shape[axis]:
            values = np.repeat(values, 2, axis)
    return values


def refined(values: np.ndarray, shape: tuple[int, ...], periodic: tuple[bool, ...]) -> np.ndarray:
    """Return values on cells of half the width, linear between the centres."""
    for axis, n in enumerate(shape):
        if n == values.shape[axis]:
            continue
        before, after = np.roll(values, 1, axis), np.roll(values, -1, axis)
        if not periodic[axis]:
            np.moveaxis(before, axis, 0)[0] = np.moveaxis(values, axis, 0)[0]
            np.moveaxis(after, axis, 0)[-1] = np.moveaxis(values, axis, 0)[-1]
        pair = np.stack([0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after], axis + 1)
        values = pair.reshape([*values.shape[:axis], n, *values.shape[axis + 1 :]])
    return values
