"""The modes of a target, found in its atoms, and which of them a generator holds along a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.diagnostics.paths import generated
from measureflow.errors import UnsupportedError
from measureflow.quality import FAIR, mass_by_mode, nearest_modes, quality_radius
from measureflow.states import Gaussian, State, atoms

if TYPE_CHECKING:
    from measureflow.solution import Solution

ATOMS = 1500
FEW = 10
HIGH = 20
GAP = 1.3
FEWEST = 3
LEAST = 0.1
TRIES = 20
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
        """How often the heaviest mode changed."""
        return int(np.count_nonzero(np.diff(np.argmax(self.nearest, axis=1))))

    def since(self) -> float:
        """Return the time from which the number of visited modes has been at most what it is at the end."""
        more = np.flatnonzero(self.visited > self.visited[-1])
        return float(self.t[0] if not len(more) else self.t[min(more[-1] + 1, len(self.t) - 1)])


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
    """Return the clusters of a target's atoms, parts between which gaps are wider than within; None if there are none."""
    if target is None or isinstance(target, Gaussian):
        return None
    try:
        points, weights = atoms(target)
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
    square = np.bincount(label, weights=weights * np.sum((points - centres[label]) ** 2, axis=1), minlength=k) / shares
    d, apart = points.shape[1], _apart(centres)
    radii = np.sqrt(square / d) * quality_radius(d)
    return Modes(centres, np.where(radii > 0.02 * apart, np.minimum(radii, 0.5 * apart), 0.25 * apart), shares)


def _clusters(points: np.ndarray) -> np.ndarray | None:
    """Return the cluster of every point, or None: single linkage, cut at its widest gap; a few points are modes of their own."""
    from scipy.cluster.hierarchy import fcluster, linkage

    distinct = np.unique(points, axis=0)
    if len(distinct) < 2:
        return None
    if len(distinct) <= FEW:
        return np.asarray(np.unique(points, axis=0, return_inverse=True)[1]).ravel()
    tree = linkage(points, method="single")
    heights = tree[:, 2]
    ratios = heights[1:] / np.maximum(heights[:-1], 1e-12 * heights[-1])
    ratios[: len(ratios) // 2] = 0.0
    high = points.shape[1] >= HIGH  # where distances within a mode are all alike
    for cut in np.flatnonzero(ratios > 1.05)[:TRIES] if high else np.argsort(-ratios)[:TRIES]:
        if ratios[cut] < (1.05 if high else GAP) or heights[cut + 1] < 0.02 * heights[-1]:
            continue
        label = np.asarray(fcluster(tree, 0.5 * (heights[cut] + heights[cut + 1]), "distance") - 1)
        sizes = np.bincount(label)
        if sizes.min() >= max(FEWEST, LEAST * len(points) / len(sizes)):
            return label
    return None


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
