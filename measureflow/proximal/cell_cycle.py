"""A multigrid cycle as preconditioner for springs between neighbouring cells (`kernels.cell_cycle`)."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow.kernels.cell_cycle import add_prolonged, coarsen, inverse_diagonal, relax, restricted_residual

COARSEST = 16
"""Cells from which on no coarser grid is made."""


@final
class Cycle:
    """The V-cycle of one sweep forwards and one back, a symmetric positive approximation of A^(-1).

    Parameters
    ----------
    diagonal : ndarray, shape (n0, n1, n2)
        Nonnegative.
    faces : ndarray, shape (3, n0, n1, n2)
        Nonnegative; see `measureflow.kernels.cell_cycle`.
    """

    def __init__(self, diagonal: np.ndarray, faces: np.ndarray) -> None:
        self.faces, self.inverse = faces, np.empty(diagonal.shape)
        largest = float(np.max(diagonal)) + 2.0 * float(np.max(faces))
        inverse_diagonal(diagonal, faces, 1e-30 * largest, self.inverse)
        self.coarser: Cycle | None = None
        if diagonal.size > COARSEST:
            shape = tuple((n + 1) // 2 for n in diagonal.shape)
            coarse, springs = np.empty(shape), np.empty((3, *shape))
            coarsen(diagonal, faces, coarse, springs)
            self.coarser = Cycle(coarse, springs)

    def __call__(self, load: np.ndarray) -> np.ndarray:
        """Return about A^(-1) load."""
        v = np.zeros(load.shape)
        for _ in range(1 if self.coarser else 4):
            relax(self.inverse, self.faces, load, v, False)
        if self.coarser is not None:
            rest = np.empty(self.coarser.inverse.shape)
            restricted_residual(self.inverse, self.faces, load, v, rest)
            add_prolonged(self.coarser(rest), self.inverse, v)
        for _ in range(1 if self.coarser else 4):
            relax(self.inverse, self.faces, load, v, True)
        return v
