"""The linear systems of Newton's method for `proximal.laguerre`: minus the second derivative of the dual, for given cells.

The second derivative is S'(stiff S v) and, axis by axis, springs across the ends between atoms with neighbouring cells
(`kernels.cell_push`). Atoms without a cell have neither: weak springs between all neighbours that are held let them follow
those that have one. Systems are solved by conjugate gradients with a multigrid cycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from measureflow.kernels.cell_push import averages, gather, links, respond
from measureflow.kernels.springs import descend, dot, tie, turn
from measureflow.kernels.transpose import exchange
from measureflow.proximal.elliptic import Elliptic
from measureflow.proximal.stages import Stage, pushed

FORCING, SOLVES = 0.1, 100
"""Share of the first residual at which conjugate gradients stop, and their steps at most."""
RIDGE = 1e-8


@final
class Curvature:
    """Minus the second derivative of the dual.

    Parameters
    ----------
    stages : sequence of Stage
        The cells; their envelopes are read until the last solution.
    masses, held : ndarray, three axes
        Masses of the grid's cells, and which atoms take part.
    weak : float
        Weak springs, in terms of the largest.
    """

    def __init__(self, stages: Sequence[Stage], masses: np.ndarray, held: np.ndarray, weak: float) -> None:
        self.stages, self.held, self.shape = stages, held, held.shape
        self._loads: list[np.ndarray] = []
        self._faces = [np.empty((0, 0, 0))] * 3
        for k in reversed(range(len(stages))):
            stage, lines = stages[k], stages[k].lines(masses)
            self._loads.insert(0, lines)
            found = np.empty(lines.shape)
            links(lines, stage.wrap, stage.hull, stage.ends, stage.counts, found)
            found /= stage.square
            self._faces[stage.axis] = pushed(stages[:k], stage.whole(found))
            masses = stage.push(masses) if k else masses
        self._bind(weak)
        self._elliptic: Elliptic | None = None

    def _bind(self, share: float) -> None:
        """Add weak springs between held neighbours."""
        weak, wrap = [0.0] * 3, [False] * 3
        for stage in self.stages:
            k = stage.axis
            weak[k], wrap[k] = share * float(np.max(self._faces[k])), stage.wrap > 0
            pairs = self.held & np.roll(self.held, -1, axis=k)
            if not wrap[k]:
                np.moveaxis(pairs, k, 0)[-1] = False
            np.add(self._faces[k], weak[k], out=self._faces[k], where=pairs)
        order = sorted(range(3), key=lambda k: (self.shape[k] > 1, k))
        self._ridge = RIDGE * sum(weak) + 1e-300
        self._weak, self._wrap = tuple(weak[k] for k in order), tuple(wrap[k] for k in order)
        self._box = tuple(self.shape[k] for k in order)

    def stiffen(self, stiff: np.ndarray) -> None:
        """Set the stiffness of the grid's cells."""
        lumped = pushed(self.stages, stiff)
        lumped += self._ridge
        self.stiff = self.stages[-1].lines(stiff)
        if self._elliptic is None:
            self._elliptic = Elliptic(lumped, self._faces)
        else:
            self._elliptic.ground(lumped)

    def apply(self, v: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write minus the second derivative applied to v to `out`."""
        averaged = [v]
        for stage in self.stages[:-1]:
            averaged.append(_average(stage, v, out) if len(self.stages) == 2 else stage.average(averaged[-1]))
        for k in reversed(range(len(self.stages))):
            stage, load = self.stages[k], self._loads[k]
            given = (load, stage.wrap, stage.hull, stage.ends, stage.counts, 1.0 / stage.square)
            if k == len(self.stages) - 1:
                lines = stage.lines(averaged.pop())
                lines = lines.copy() if np.shares_memory(lines, v) else lines
                respond(lines, self.stiff, *given)
            else:
                lines = stage.lines(out)
                gather(stage.lines(averaged.pop()), lines, *given)
            _unfold(stage, lines, out)
            del lines
        box = self._box
        tie(v.reshape(box), self.held.reshape(box), self._ridge, self._weak, self._wrap, out.reshape(box))
        return out

    def _cycle(self, r: np.ndarray, out: np.ndarray) -> np.ndarray:
        assert self._elliptic is not None
        self._elliptic.cycle(r, out)
        out *= self.held
        return out

    def improve(self, r: np.ndarray, x: np.ndarray) -> None:
        """Add to x about the solution for the load r by conjugate gradients; r becomes what is left of the load."""
        z = np.empty(self.shape)
        p = self._cycle(r, np.empty(self.shape))
        first = size = dot(r, p)
        for _ in range(SOLVES):
            if not size > FORCING**2 * first:
                break
            bend = dot(p, self.apply(p, z))
            if not bend > 0.0:
                break
            descend(x, r, p, z, size / bend)
            new = dot(r, self._cycle(r, z))
            turn(p, z, new / size)
            size = new


def _average(stage: Stage, v: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return the averages over the cells of where they go, in `out` if lines need no copy."""
    lines = stage.lines(v)
    if not np.shares_memory(lines, v):
        return stage.average(v)
    averages(lines, stage.wrap, stage.hull, stage.ends, out.reshape(lines.shape))
    return out


def _unfold(stage: Stage, lines: np.ndarray, out: np.ndarray) -> None:
    """Write what lines hold to the cells."""
    before = int(np.prod(stage.shape[: stage.axis]))
    if not np.shares_memory(lines, out):
        exchange(lines.reshape(before, -1, stage.n), out.reshape(before, stage.n, -1))
