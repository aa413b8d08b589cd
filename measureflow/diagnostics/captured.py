"""The modes of a target, found in its atoms, and which of them a generator holds along a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.diagnostics.clusters import clusters
from measureflow.diagnostics.paths import generated
from measureflow.errors import UnsupportedError
from measureflow.quality import FAIR, mass_by_mode, nearest_modes, quality_radius
from measureflow.states import Gaussian, Histogram, Law, Particles, State, atoms

if TYPE_CHECKING:
    from measureflow.solution import Solution

ATOMS = 1500
FEW = 10
PRIOR = 4
NARROW = 1e-3
LOST = 0.05
MOST = 0.9
ROWS = 300


@final
@dataclass(frozen=True, eq=False)
class Modes:
    """Balls that hold a target: centres (k, d), radii (k,), weights (k,)."""

    centres: np.ndarray
    radii: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)

    def held(self, points: np.ndarray, masses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mass within the radius of every mode, and that nearest to it, both (k,)."""
        nearest, gap = nearest_modes(points, self.centres, self.radii)
        return mass_by_mode(nearest, masses * (gap <= 1.0), len(self)), mass_by_mode(nearest, masses, len(self))


@final
@dataclass(frozen=True, eq=False)
class Captured:
    """What a flow's generator holds of the modes.

    Attributes
    ----------
    t : ndarray, shape (r,)
    inside, nearest : ndarray, shape (r, k)
        Mass within each mode, and mass nearest to it.
    modes : Modes
    atoms : int
        Number of atoms of the generator.
    """

    t: np.ndarray
    inside: np.ndarray
    nearest: np.ndarray
    modes: Modes
    atoms: int

    @property
    def fair(self) -> np.ndarray:
        """Number of modes that hold 20 % of their weight within the mode, (r,)."""
        return np.asarray(np.sum(self.inside >= FAIR * self.modes.weights, axis=1))

    @property
    def visited(self) -> np.ndarray:
        """Number of modes that are nearest to 20 % of their weight, (r,)."""
        return np.asarray(np.sum(self.nearest >= FAIR * self.modes.weights, axis=1))

    @property
    def union(self) -> int:
        """Number of modes that were visited at any time of the last half."""
        late = self.nearest[len(self.nearest) // 2 :] >= FAIR * self.modes.weights
        return int(np.any(late, axis=0).sum())

    @property
    def hops(self) -> int:
        """How often the heaviest mode changed in the last half."""
        return int(np.count_nonzero(np.diff(np.argmax(self.nearest[len(self.nearest) // 2 :], axis=1))))

    @property
    def late(self) -> slice:
        """The last quarter of the rows."""
        return slice(len(self.t) - max(len(self.t) // 4, 1), len(self.t))

    @property
    def quality(self) -> np.ndarray:
        """Mass within the modes, (r,)."""
        return np.asarray(self.inside.sum(axis=1))

    @property
    def come_and_go(self) -> int:
        """Number of modes that were lost (below 5 % of their weight) and held again, or the other way round, in the last half."""
        part = self.nearest[len(self.nearest) // 2 :] / self.modes.weights
        state = np.where(part >= FAIR, 1, np.where(part < LOST, -1, 0))
        return int(sum(np.count_nonzero(np.diff(column[column != 0])) >= 2 for column in state.T))

    def since(self, most: int) -> float:
        """Return the time from which the number of visited modes has been at most this."""
        more = np.flatnonzero(self.visited > most)
        return float(self.t[0] if not len(more) else self.t[min(more[-1] + 1, len(self.t) - 1)])

    def held_since(self) -> float:
        """Return the time from which every mode has held 20 % of its weight, up to rows that are few."""
        held = self.fair == len(self.modes)
        share = np.cumsum(held[::-1])[::-1] / np.arange(len(held), 0, -1)
        good = np.flatnonzero(held & (share >= MOST))
        return float(self.t[good[0]] if len(good) else self.t[-1])


def given_modes(centres: Any, std: Any) -> Modes | None:
    """Return the modes that a caller names, or None."""
    if centres is None:
        if std is not None:
            raise ValueError(f"std must be None without centres, got {check.show(std)}")
        return None
    where = check.array("centres", centres, ndim=2)
    if len(where) < 2:
        raise ValueError(f"centres must be two or more, got {len(where)}")
    if std is None:
        return Modes(where, 0.25 * _apart(where), np.full(len(where), 1.0 / len(where)))
    widths = check.array("std", std, ndim=(0, 1))
    if widths.min() <= 0.0 or widths.size not in (1, len(where)):
        raise ValueError(f"std must be positive, one number or one a centre, got {check.show(std)}")
    return Modes(where, np.full(len(where), widths * quality_radius(where.shape[1])), np.full(len(where), 1.0 / len(where)))


def found_modes(target: State | None) -> Modes | None:
    """Return the clusters of a target's atoms, or of samples of a density on cells; None if there are none."""
    if not isinstance(target, Law) or isinstance(target, Gaussian):
        return None
    try:
        density = isinstance(target, Histogram) and np.count_nonzero(target.masses) > FEW
        points, weights = atoms(Particles(target.sample(ATOMS, 0)) if density else target)
    except UnsupportedError:
        return None
    held = np.flatnonzero(weights > 0.0)
    stride = max(-(-len(held) // ATOMS), 1)
    points, weights = points[held[::stride]], weights[held[::stride]]
    weights = weights / weights.sum()
    label = _clusters(points)
    if label is None:
        return None
    k = int(label.max()) + 1
    shares = np.bincount(label, weights=weights, minlength=k)
    centres = np.stack([np.bincount(label, weights=weights * x, minlength=k) / shares for x in points.T], axis=1)
    d, apart = points.shape[1], _apart(centres)
    radii = _widths(points - centres[label], label, k) * quality_radius(d)
    return Modes(centres, np.where(radii > NARROW * apart, np.minimum(radii, 0.5 * apart), 0.25 * apart), shares)


def _widths(deviations: np.ndarray, label: np.ndarray, k: int) -> np.ndarray:
    """Return the standard deviations of the clusters, each weighed against that of all as if this were of five points."""
    squares = np.bincount(label, weights=np.mean(deviations**2, axis=1), minlength=k)
    freedom = np.bincount(label, minlength=k) - 1
    pooled = squares.sum() / max(freedom.sum(), 1)
    return np.asarray(np.sqrt((squares + PRIOR * pooled) / (freedom + PRIOR)))


def _clusters(points: np.ndarray) -> np.ndarray | None:
    """Return the cluster of every point, or None; a few points are modes of their own."""
    distinct, index = np.unique(points, axis=0, return_inverse=True)
    if len(distinct) < 2:
        return None
    return np.asarray(index).ravel() if len(distinct) <= FEW else clusters(points)


def _apart(centres: np.ndarray) -> np.ndarray:
    """Return the distance of every centre to the nearest other one."""
    from scipy.spatial.distance import cdist

    gaps = cdist(centres, centres)
    np.fill_diagonal(gaps, np.inf)
    return np.asarray(gaps.min(axis=1))


def captured(sol: Solution, problem: Any, modes: Modes) -> Captured | None:
    """Return which modes the first player holds at up to 300 rows; None if it is no law of atoms in the modes' dimension."""
    rows = np.unique(np.linspace(0, len(sol) - 1, min(len(sol), ROWS)).round().astype(int))
    entries, count = [], 0
    for k in rows:
        points = generated(problem, sol.row(int(k))[0])
        if points is None or points[0].shape[1] != modes.centres.shape[1]:
            return None
        entries.append(modes.held(*points))
        count = int(np.count_nonzero(points[1]))
    inside, nearest = (np.array(part) for part in zip(*entries, strict=True))
    return Captured(sol.t[rows], inside, nearest, modes, count)
