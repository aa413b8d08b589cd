"""Distances to a target averaged over projections on lines, in O(n log n) for each line."""

from __future__ import annotations

import math
from typing import ClassVar, Self, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Energy, unsupported
from measureflow.energies.discrepancy import random_atoms
from measureflow.states import Histogram, Law, Particles, Quantiles, State, atoms


class _Sliced(Energy):
    """A mean over directions of a squared distance of projections to those of a target."""

    name: ClassVar[str]

    def __init__(self, target: Law, projections: int = 100, seed: int = 0, adapted: float = 0.0) -> None:
        self.target = check.instance("target", target, (Particles, Quantiles, Histogram), "Particles, Quantiles or a Histogram")
        self.projections = check.integer("projections", projections, least=1)
        self.seed = check.seed("seed", seed)
        self.adapted = check.scalar("adapted", adapted, least=0.0, most=1.0)
        points, weights = atoms(self.target)
        held = weights > 0.0
        self._points, self._weights = np.asfortranarray(points[held]), weights[held]
        law = (self._points, self._weights) if self.adapted > 0.0 else None
        self.directions = directions(self.target.dim, self.projections, self.seed, law, self.adapted)

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, Particles):
            raise unsupported(self, state, "Particles", "On the line, EnergyDistance and SquaredWasserstein are exact.")
        if state.dim != self.target.dim:
            raise ValueError(f"target has dimension {self.target.dim}, the state has dimension {state.dim}")
        from measureflow.kernels.sliced import sliced  # numba is loaded at first use

        value, gradient = sliced(self.name, self.directions, state.points, state.weights, self._points, self._weights)
        if not (math.isfinite(value) and np.all(np.isfinite(gradient))):
            raise ValueError("target must be so close to the state that their distance is finite")
        return value, np.ascontiguousarray(gradient)

    def minibatch(self, size: int, rng: np.random.Generator) -> Self | None:
        """Return the energy against `size` random atoms of the target, on new directions."""
        if isinstance(self.target, Histogram):
            return None
        return type(self)(random_atoms(self.target, size, rng), self.projections, int(rng.integers(2**63)), self.adapted)

    def __repr__(self) -> str:
        adapted = f", {self.adapted:g}" if self.adapted else ""
        return f"{type(self).__name__}({self.target!r}, {self.projections}, {self.seed}{adapted})"


def directions(
    d: int, count: int, seed: int, law: tuple[np.ndarray, np.ndarray] | None = None, adapted: float = 0.0
) -> np.ndarray:
    """Return unit vectors (count, d), each uniform on the sphere, spread better than independent ones.

    In the plane a half turn in equal steps from a random angle; from three dimensions on the columns of random rotations, d of
    which are orthogonal (Rowland et al., Orthogonal estimation of Wasserstein distances, 2019). On the line there is but one.

    With a law of atoms (m, d) and weights (m,), the part `adapted` of each orthogonal set spans what random differences of its
    atoms span, and the rest is uniform on what is orthogonal to them.
    """
    rng = np.random.default_rng(seed)
    if d == 1:
        return np.ones((1, 1))
    if d == 2 and law is None:
        angles = np.pi * (np.arange(count) + rng.random()) / count
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    from measureflow._threads import one_blas_thread

    blocks = []
    with one_blas_thread():
        for start in range(0, count, d):
            columns = rng.normal(size=(d, min(d, count - start)))
            if law is not None:
                _difference(columns[:, : round(adapted * columns.shape[1])], law, rng)
            q, r = np.linalg.qr(columns)
            blocks.append((q * np.where(np.diag(r) < 0.0, -1.0, 1.0)).T)
    return np.ascontiguousarray(np.concatenate(blocks))


def _difference(columns: np.ndarray, law: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    """Replace columns (d, k) by differences of independent draws from a law, of size 1; leave those where they are equal."""
    points, weights = law
    i, j = rng.choice(len(points), size=(2, columns.shape[1]), p=weights)
    gaps = 0.5 * points[i].T - 0.5 * points[j].T
    sizes = np.max(np.abs(gaps), axis=0, initial=0.0)
    apart = sizes > 0.0
    columns[:, apart] = gaps[:, apart] / sizes[apart]


@final
class SlicedWasserstein(_Sliced):
    """E(mu) = half the mean over directions of the squared W2 distance of the projections of mu and the target.

    In dimension 1 it is `SquaredWasserstein`; in dimension d a translate of the target feels 1/d of its pull.

    Source: Bonneel, Rabin, Peyre and Pfister, Sliced and Radon Wasserstein barycenters of measures, 2015.

    Parameters
    ----------
    target : Particles, Quantiles or Histogram
        The target's atoms.
    projections : int
        Number of directions.
    seed : int
        Chooses the directions, which stay the same for all states; mini-batches of the target draw new ones.
    adapted : float
        Part of the directions that differences of the target's atoms choose, 0 to 1. Of a target of modes in many dimensions
        uniform directions see next to nothing: each is far from all that part the modes. With less than 1 every direction still
        has a density, so that the energy is 0 at the target only.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; at evaluation, on states other than Particles or of another dimension.

    Notes
    -----
    Exact on each line, by a radix sort: O(projections (n + m) d), in linear memory, with the same bits on any number of threads.
    In the plane the directions are equal steps of a half turn; in d >= 3 they come in orthogonal sets of d.

    Examples
    --------
    >>> from measureflow import Particles
    >>> energy = SlicedWasserstein(Particles([[3.0, 4.0]]))
    >>> round(energy.value(Particles([[0.0, 0.0]])), 12)  # 25 / 2 / d
    6.25
    """

    name = "transport"


@final
class SlicedEnergyDistance(_Sliced):
    """E(mu) = mean over directions of the energy distance of the projections of mu and the target, int (F - G)^2.

    With all directions it is c times `EnergyDistance`, c = Gamma(d/2) / (sqrt(pi) Gamma((d + 1)/2)), the mean of |cos| over the
    sphere: 1, 2/pi, 1/2 for d = 1, 2, 3. So E/c stands for the energy distance of 1e5 atoms and more.

    Source: Hertrich, Wald, Altekrueger and Hagemann, Generative sliced MMD flows with Riesz kernels, 2024.

    Parameters
    ----------
    target : Particles, Quantiles or Histogram
        The target's atoms.
    projections : int
        Number of directions.
    seed : int
        Chooses the directions, which stay the same for all states; mini-batches of the target draw new ones.
    adapted : float
        Part of the directions that differences of the target's atoms choose, 0 to 1. Of a target of modes in many dimensions
        uniform directions see next to nothing: each is far from all that part the modes. With less than 1 every direction still
        has a density, so that the energy is 0 at the target only.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; at evaluation, on states other than Particles or of another dimension.

    Notes
    -----
    As `SlicedWasserstein`. The energy has a kink wherever projections of two atoms meet, so that minimizing movements may not
    converge near the target: take the scheme `Explicit`.

    Examples
    --------
    >>> from measureflow import Particles
    >>> SlicedEnergyDistance(Particles([[0.0], [1.0]])).value(Particles([[0.0]]))
    0.25
    """

    name = "energy"
