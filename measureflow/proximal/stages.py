"""Transport on a grid axis by axis, last axis first: what the duals of W2 steps of histograms are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import numpy as np

from measureflow.kernels.cell_push import averages, bend, push, stiffness
from measureflow.kernels.ctransform import envelopes, transforms
from measureflow.kernels.transpose import exchange
from measureflow.proximal.lbfgs import inner
from measureflow.states import Grid


def _exchanged(a: np.ndarray) -> np.ndarray:
    """Return an array (outer, n, m) as (outer, m, n)."""
    outer, n, m = a.shape
    if n == 1 or m == 1:
        return np.ascontiguousarray(a).reshape(outer, m, n)
    out = np.empty((outer, m, n))
    exchange(a, out)
    return out


@final
class Stage:
    """The transport along one axis for given potentials: lines (other axes, n) in units of the cell width."""

    def __init__(self, axis: int, shape: tuple[int, ...], width: float, periodic: bool) -> None:
        self.axis, self.shape, self.n, self.square = axis, shape, shape[axis], width**2
        self.wrap = min(self.n, self.n // 2 + 1) if periodic else 0
        lines, room = int(np.prod(shape)) // self.n, self.n + 2 * self.wrap
        self.hull = np.empty((lines, room), np.int32)
        self.ends = np.empty((lines, room))
        self.counts = np.empty(lines, np.int64)
        self.weights = np.empty((0, 0))

    def lines(self, a: np.ndarray) -> np.ndarray:
        """Return values of cells as lines along the axis."""
        before = int(np.prod(self.shape[: self.axis]))
        return _exchanged(a.reshape(before, self.n, -1)).reshape(-1, self.n)

    def whole(self, lines: np.ndarray) -> np.ndarray:
        """Return what lines hold as values of cells."""
        before = int(np.prod(self.shape[: self.axis]))
        return _exchanged(lines.reshape(before, -1, self.n)).reshape(self.shape)

    def transform(self, phi: np.ndarray, kernel: Callable[..., None] = transforms) -> np.ndarray:
        """Return U along the axis, or what another kernel makes of the envelopes, which are kept."""
        scaled = self.lines(phi) / self.square
        out = np.empty(scaled.shape)
        envelopes(scaled, self.wrap, self.hull, self.ends, self.counts)
        kernel(scaled, self.wrap, self.hull, self.ends, out)
        return self.whole(self.square * out)

    def push(self, m: np.ndarray) -> np.ndarray:
        """Return the masses of the nodes that masses of the cells go to."""
        lines = self.lines(m)
        out = np.empty(lines.shape)
        push(lines, self.wrap, self.hull, self.ends, out)
        return self.whole(out)

    def average(self, v: np.ndarray) -> np.ndarray:
        """Return the averages over the cells of where they go."""
        lines = self.lines(v)
        out = np.empty(lines.shape)
        averages(lines, self.wrap, self.hull, self.ends, out)
        return self.whole(out)

    def stiffen(self, m: np.ndarray) -> np.ndarray:
        """Find the second derivative for masses of the cells; return springs between neighbouring nodes."""
        lines = self.lines(m)
        faces = np.empty(lines.shape)
        self.weights = np.zeros(self.ends.shape)
        stiffness(lines, self.wrap, self.hull, self.ends, self.counts, faces, self.weights)
        return self.whole(faces / self.square)

    def bend(self, v: np.ndarray) -> np.ndarray:
        """Return minus the second derivative applied to v."""
        lines = self.lines(v)
        out = np.zeros(lines.shape)
        bend(lines, self.wrap, self.hull, self.counts, self.weights, 1.0 / self.square, out)
        return self.whole(out)


def stages_of(grid: Grid) -> list[Stage]:
    """Return the stages of a grid, last axis first."""
    shape = (grid.shape + (1, 1))[:3]
    axes = [k for k in reversed(range(grid.dim)) if shape[k] > 1]
    return [Stage(k, shape, float(grid.spacing[k]), grid.periodic[k]) for k in axes]


def transformed(stages: Sequence[Stage], phi: np.ndarray, kernel: Callable[..., None] = transforms) -> np.ndarray:
    """Return the transform of phi along all axes; every stage keeps its envelopes."""
    for stage in stages:
        phi = stage.transform(phi, kernel)
    return phi


def pushed(stages: Sequence[Stage], masses: np.ndarray) -> np.ndarray:
    """Return the masses of the nodes that masses of the cells go to."""
    for stage in reversed(stages):
        masses = stage.push(masses)
    return masses


def springs(stages: Sequence[Stage], masses: np.ndarray) -> list[np.ndarray]:
    """Find the second derivative of all stages for masses of the cells; return springs between neighbours, one array an axis."""
    faces: list[np.ndarray] = [np.zeros(masses.shape)] * 3
    for k in reversed(range(len(stages))):
        found = stages[k].stiffen(masses)
        faces[stages[k].axis] = pushed(stages[:k], found)
        masses = stages[k].push(masses) if k else masses
    return faces


def conjugate_gradients(
    apply: Callable[[np.ndarray], np.ndarray],
    cycle: Callable[[np.ndarray], np.ndarray],
    load: np.ndarray,
    forcing: float,
    most: int,
) -> tuple[np.ndarray, int]:
    """Solve A x = load down to a share of the first residual, in at most so many steps; return x and their number.

    Without a step, as where A is not positive, x is what the preconditioning cycle makes of the load.
    """
    x, r = np.zeros(load.shape), load
    z = cycle(r)
    p, size = z, inner(r, z)
    first, count = size, 0
    while size > forcing**2 * first and count < most:
        q = apply(p)
        curvature = inner(p, q)
        if curvature <= 0.0:
            break
        step = size / curvature
        x, r = x + step * p, r - step * q
        z = cycle(r)
        new = inner(r, z)
        p, size, count = z + (new / size) * p, new, count + 1
    return (x if count else z), count
