"""Targets made of modes: rings, grids, spirals, any mixture of round Gaussians, and ten modes in 1200 dimensions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.modes.definitions import SAMPLES, Coverage, Samples, coverage, mode_weights, mode_widths, transport_distance
from measureflow.quality import quality, quality_radius
from measureflow.states import Particles

Seed = int | np.random.SeedSequence | np.random.Generator | None
SPIRAL_POINTS = 4096


class Target(ABC):
    """A law made of modes that a generator has to cover.

    Attributes
    ----------
    name : str
    centres : ndarray, shape (k, d)
    std : float or ndarray, shape (k,)
        Standard deviations of the modes, for each of the d coordinates.
    weights : ndarray, shape (k,)
        Weights of the modes.
    samples : int
        Number of samples of one evaluation.

    Examples
    --------
    >>> target = ring()
    >>> target.cover(target.start(1000, seed=0, spread=0.01, at=target.centres[3]))
    Coverage(modes=1 of 8, high_quality=100.0 %, reverse_kl=2.08, fair_modes=1)
    """

    samples: ClassVar[int] = SAMPLES
    name: str
    centres: np.ndarray
    std: float | np.ndarray
    weights: np.ndarray

    @property
    def dim(self) -> int:
        """Dimension d."""
        return int(self.centres.shape[1])

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def widths(self) -> np.ndarray:
        """Standard deviations of the modes, (k,)."""
        return np.broadcast_to(np.asarray(self.std), (len(self),))

    @abstractmethod
    def sample(self, n: int, seed: Seed = None) -> np.ndarray:
        """Return n independent samples, (n, d)."""

    @abstractmethod
    def cover(self, points: Samples, *, w2: bool = False, seed: int = 0) -> Coverage:
        """Return the coverage of this target by a law of atoms or by points (n, d).

        Parameters
        ----------
        points : State or array_like, shape (n, d)
        w2 : bool
            Also measure W2 to a fresh sample of the same size (a perfect sampler is at `floor`).
        seed : int
            That sample.
        """

    @property
    @abstractmethod
    def mean(self) -> np.ndarray:
        """Mean of the target, (d,)."""

    @property
    @abstractmethod
    def spread(self) -> float:
        """Root mean square of the d standard deviations of the target."""

    def particles(self, n: int, seed: Seed = None) -> Particles:
        """Return n independent samples as a law, the data of a run."""
        return Particles(self.sample(n, seed))

    def start(self, n: int, seed: Seed = None, *, spread: float = 1.0, at: ArrayLike | None = None) -> Particles:
        """Return a law that knows the target's mean and size only: n samples of N(mean, (spread * target.spread)^2 I).

        Parameters
        ----------
        n : int
        seed : int, SeedSequence, Generator or None
        spread : float
            In units of the target's own; small: a law that has collapsed.
        at : array_like, shape (d,), optional
            Where it is; None: at the target's mean.
        """
        middle = self.mean if at is None else check.array("at", at, shape=(self.dim,))
        size = self.spread * check.scalar("spread", spread, above=0.0)
        rng = np.random.default_rng(seed)
        return Particles(middle + size * rng.standard_normal((check.integer("n", n, least=1), self.dim)))

    def box(self, margin: float = 0.25) -> np.ndarray:
        """Return bounds (d, 2) of the modes: four standard deviations around each, and a margin relative to their extent."""
        reach = 4.0 * self.widths[:, None]
        low, high = np.min(self.centres - reach, axis=0), np.max(self.centres + reach, axis=0)
        extra = check.scalar("margin", margin, least=0.0) * np.max(high - low)
        return np.stack([low - extra, high + extra], axis=1)

    def distance(self, points: Samples, seed: int = 0) -> float:
        """Return W2 of a law of atoms, or of points (n, d), to n fresh samples (sliced beyond 2500 of them)."""
        return transport_distance(points, self.sample(len(np.asarray(points)), seed))

    def floor(self, n: int, seed: int = 0) -> float:
        """Return what `distance` is for n samples of the target itself: two samples of n differ by chance."""
        return self.distance(self.sample(n, np.random.SeedSequence([seed, 1])), seed)


@final
@dataclass(frozen=True, eq=False, repr=False)
class Mixture(Target):
    """A mixture sum_j weights_j N(centres_j, std_j^2 diag(axes)^2).

    Made by `mixture`, `ring`, `grid`, `spiral` and `high_dimensional`.

    Attributes
    ----------
    radius : float
        Standard deviations within which a sample is of high quality; distances are Euclidean, whatever the axes.
    axes : ndarray, shape (d,), or None
        Which coordinates vary within a mode: 1 or 0; None: all.
    """

    name: str
    centres: np.ndarray
    std: float | np.ndarray
    weights: np.ndarray
    radius: float
    axes: np.ndarray | None = field(default=None)

    def sample(self, n: int, seed: Seed = None) -> np.ndarray:
        """Return n independent samples, (n, d).

        Examples
        --------
        >>> ring().sample(5, seed=0).shape
        (5, 2)
        """
        rng = np.random.default_rng(seed)
        mode = rng.choice(len(self), size=check.integer("n", n, least=1), p=self.weights)
        noise = self.widths[mode, None] * rng.standard_normal((n, self.dim))
        return self.centres[mode] + (noise if self.axes is None else noise * self.axes)

    def cover(self, points: Samples, *, w2: bool = False, seed: int = 0) -> Coverage:
        """Return the coverage of this target by a law of atoms or by points (n, d).

        Examples
        --------
        >>> target = ring()
        >>> target.cover(target.sample(2500, seed=0), w2=True).modes
        8
        """
        found = coverage(points, self.centres, self.std, self.weights, radius=self.radius)
        w2 = check.flag("w2", w2)
        return replace(found, perfect=self.perfect, w2=self.distance(points, seed) if w2 else None)

    @property
    def perfect(self) -> float:
        """High-quality part of a perfect sampler (modes that do not overlap)."""
        return quality(self.radius, self._freedom)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the target, (d,)."""
        return np.asarray(self.weights @ self.centres)

    @property
    def spread(self) -> float:
        """Root mean square of the d standard deviations of the target."""
        between = self.weights @ np.sum((self.centres - self.mean) ** 2, axis=1)
        within = self.weights @ self.widths**2 * self._freedom
        return float(np.sqrt((between + within) / self.dim))

    @property
    def _freedom(self) -> int:
        return self.dim if self.axes is None else int(np.count_nonzero(self.axes))

    def __repr__(self) -> str:
        return f"Mixture({self.name!r}, modes={len(self)}, d={self.dim})"


def mixture(
    centres: ArrayLike,
    std: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    radius: float | None = None,
    name: str = "mixture",
) -> Mixture:
    """Return any mixture of round Gaussians as a target.

    Parameters
    ----------
    centres : array_like, shape (k, d)
    std : float or array_like, shape (k,)
    weights : array_like, shape (k,), optional
        Positive, with sum 1; None: equal.
    radius : float, optional
        Standard deviations within which a sample is of high quality; None: three as published, and beyond the plane the chi
        quantile that a perfect sampler meets as often, 98.9 %.
    name : str

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> target = mixture([[0.0, 0.0], [3.0, 0.0]], [0.1, 0.5], [0.9, 0.1])
    >>> target.cover(target.sample(2500, seed=1)).fair_modes
    2
    """
    where = check.array("centres", centres, ndim=2)
    widths, shares = mode_widths(std, len(where)), mode_weights(weights, len(where))
    dim = where.shape[1]
    reach = max(3.0, quality_radius(dim)) if radius is None else check.scalar("radius", radius, above=0.0)
    plain = np.ndim(std) == 0
    return Mixture(name, where, float(widths[0]) if plain else np.array(widths), shares, reach)


def ring(n_modes: int = 8, radius: float = 1.0, std: float = 0.01, weights: ArrayLike | None = None) -> Mixture:
    """Return the published ring: eight Gaussians of standard deviation 0.01 on the unit circle.

    Examples
    --------
    >>> ring()
    Mixture('ring', modes=8, d=2)
    """
    angle = 2.0 * np.pi * np.arange(check.integer("n_modes", n_modes, least=1)) / n_modes
    size = check.scalar("radius", radius, above=0.0)
    return mixture(size * np.stack([np.cos(angle), np.sin(angle)], axis=1), std, weights, name="ring")


def grid(side: int = 5, spacing: float = 2.0, std: float = 0.05, weights: ArrayLike | None = None) -> Mixture:
    """Return the published grid: side^2 Gaussians, by default at {-4, -2, 0, 2, 4}^2 with standard deviation 0.05.

    Examples
    --------
    >>> grid().centres[[0, 24]]
    array([[-4., -4.],
           [ 4.,  4.]])
    """
    side = check.integer("side", side, least=1)
    place = check.scalar("spacing", spacing, above=0.0) * (np.arange(side) - 0.5 * (side - 1))
    return mixture(np.stack(np.meshgrid(place, place, indexing="ij"), axis=-1).reshape(-1, 2), std, weights, name="grid")


def spiral(
    n_modes: int = 20, turns: float = 2.0, radius: float = 3.0, std: float = 0.05, weights: ArrayLike | None = None
) -> Mixture:
    """Return Gaussians at even distances along a spiral from `radius` / 6 to `radius`.

    Examples
    --------
    >>> spiral(30)
    Mixture('spiral', modes=30, d=2)
    """
    count = check.integer("n_modes", n_modes, least=1)
    turns, size = check.scalar("turns", turns, above=0.0), check.scalar("radius", radius, above=0.0)
    part = np.linspace(0.0, 1.0, SPIRAL_POINTS)
    distance = size * (1.0 + 5.0 * part) / 6.0
    line = distance[:, None] * np.stack([np.cos(2.0 * np.pi * turns * part), np.sin(2.0 * np.pi * turns * part)], axis=1)
    length = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1)))
    stops = np.linspace(0.0, length[-1], count)
    return mixture(np.stack([np.interp(stops, length, line[:, k]) for k in range(2)], axis=1), std, weights, name="spiral")


def uneven(target: Mixture, ratio: float = 10.0, seed: int = 0) -> Mixture:
    """Return a mixture with geometric weights in random order, the largest `ratio` times the smallest.

    Examples
    --------
    >>> weights = uneven(ring(), 10.0).weights
    >>> round(float(weights.max() / weights.min()), 10)
    10.0
    """
    ratio = check.scalar("ratio", ratio, least=1.0)
    check.instance("target", target, Mixture, "a Mixture")
    shares = ratio ** np.linspace(0.0, 1.0, len(target))
    order = np.random.default_rng(check.seed("seed", seed)).permutation(len(target))
    return replace(target, name=f"uneven {target.name}", weights=shares[order] / shares.sum())


HIGH_PLACES = (-1.0, -0.5, 0.0, 0.5, -2.0, -2.5, 10.0, 0.25, -13.0, -5.5)


def high_dimensional(dim: int = 1200, inner: int = 700) -> Mixture:
    """Return the published ten modes in 1200 dimensions: N(0, I) in the first 700 coordinates, moved by a number in all.

    The modes are at a (1, ..., 1), a in {-1, -0.5, 0, 0.5, -2, -2.5, 10, 0.25, -13, -5.5}, with equal weights; 500 coordinates
    do not vary within a mode. The two nearest are 8.7 standard deviations apart.

    Notes
    -----
    Places and noise are those of PacGAN's code; VEEGAN (section 5.1) describes ten 700-dimensional Gaussians embedded in 1200
    dimensions. In 700 dimensions a perfect sample is 26.5 standard deviations away from its centre, so that three standard
    deviations hold nothing, nor would ten: here the radius is the chi quantile of 700 degrees of freedom, 28.1, and distances are
    Euclidean in all 1200 coordinates. A ball of this radius around one mode holds the centres of others: look at W2 and at the
    histogram too.

    Examples
    --------
    >>> target = high_dimensional()
    >>> target, round(target.radius, 2)
    (Mixture('high-dimensional', modes=10, d=1200), 28.08)
    """
    dim = check.integer("dim", dim, least=1)
    inner = check.integer("inner", inner, least=1, most=dim)
    places = np.outer(HIGH_PLACES, np.ones(dim))
    axes = (np.arange(dim) < inner).astype(float)
    return replace(mixture(places, 1.0, radius=quality_radius(inner), name="high-dimensional"), axes=axes)
