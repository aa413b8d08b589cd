"""What mode coverage means: the published definitions, and stricter ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.metrics import Wasserstein, distance
from measureflow.quality import FAIR, PERFECT, RADIUS, mass_by_mode, nearest_modes, quality
from measureflow.states import Particles, State, atoms

SAMPLES = 2500
"""Samples of one evaluation (VEEGAN, PacGAN)."""
EXACT_PAIRS = SAMPLES**2

Samples = State | ArrayLike
Place = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Coverage:
    """How well a law covers the modes of a target.

    Attributes
    ----------
    mass : ndarray, shape (k,)
        Mass of the high-quality samples of every mode: those within the radius of it, and nearer to no other.
    histogram : ndarray, shape (k,)
        Mass of all samples by their nearest mode, of whatever quality; its sum is 1.
    weights : ndarray, shape (k,)
        What a perfect law has in this histogram: the weights of the modes.
    n : int
        Number of samples.
    perfect : float
        High-quality part of a perfect sampler.
    w2 : float or None
        W2 to a sample of the target, if one was given; sliced for more than 2500 atoms, and then smaller.

    Notes
    -----
    `modes`, `high_quality` and `reverse_kl` are the published numbers: Srivastava et al., VEEGAN (2017), section 5.1, and Lin et
    al., PacGAN (2018), section 4.1, for 2500 samples. They are weak: one sample of 2500 captures a mode. `fair_modes` asks for
    20 % of its weight.

    Examples
    --------
    >>> seen = coverage([[0.0, 0.0], [0.1, 0.0], [0.5, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], 0.05)
    >>> seen
    Coverage(modes=2 of 3, high_quality=75.0 %, reverse_kl=0.536, fair_modes=2)
    >>> seen.mass, seen.histogram
    (array([0.5 , 0.25, 0.  ]), array([0.75, 0.25, 0.  ]))
    """

    mass: np.ndarray
    histogram: np.ndarray
    weights: np.ndarray
    n: int
    perfect: float = PERFECT
    w2: float | None = None

    @property
    def captured(self) -> np.ndarray:
        """Which modes hold a high-quality sample, (k,) of bool; of weighted atoms one in max(n, 2500) samples is expected."""
        return self.mass >= self._least

    @property
    def modes(self) -> int:
        """Number of modes captured: nearest to at least one high-quality sample."""
        return int(np.count_nonzero(self.captured))

    @property
    def visited(self) -> int:
        """Number of modes nearest to at least one sample of whatever quality."""
        return int(np.count_nonzero(self.histogram >= self._least))

    @property
    def fair_modes(self) -> int:
        """Number of modes that hold at least 20 % of their weight in high-quality samples."""
        return int(np.count_nonzero(self.mass >= FAIR * self.weights * (1.0 - 1e-12)))

    @property
    def high_quality(self) -> float:
        """Part of the samples within the radius of their nearest mode."""
        return float(min(self.mass.sum(), 1.0))

    @property
    def reverse_kl(self) -> float:
        """KL(generated | true) of the histogram of all samples by their nearest mode."""
        return relative_entropy(self.histogram, self.weights)

    @property
    def reverse_kl_high_quality(self) -> float:
        """KL(generated | true) of the histogram of high-quality samples only; infinite if there are none."""
        total = self.mass.sum()
        return relative_entropy(self.mass / total, self.weights) if total > 0.0 else np.inf

    @property
    def entropy(self) -> float:
        """Entropy - sum h log h of the histogram of all samples; a perfect law on k equal modes has log k."""
        held = self.histogram[self.histogram > 0.0]
        return float(max(-np.sum(held * np.log(held)), 0.0))

    @property
    def complete(self) -> bool:
        """Whether every mode is a fair one."""
        return self.fair_modes == len(self.weights)

    @property
    def _least(self) -> float:
        return (1.0 - 1e-9) / max(self.n, SAMPLES)

    def numbers(self) -> dict[str, float]:
        """Return the numbers of a table, by name; W2 is missing if it was not asked for."""
        row = {name: float(getattr(self, name)) for name in NUMBERS}
        return row if self.w2 is None else row | {"w2": self.w2}

    def __repr__(self) -> str:
        return (
            f"Coverage(modes={self.modes} of {len(self.weights)}, high_quality={100.0 * self.high_quality:.1f} %, "
            f"reverse_kl={self.reverse_kl:.3g}, fair_modes={self.fair_modes})"
        )


NUMBERS = ("modes", "high_quality", "reverse_kl", "fair_modes", "visited", "entropy", "reverse_kl_high_quality")


def coverage(
    samples: Samples,
    centres: ArrayLike,
    std: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    radius: float = RADIUS,
    reference: Samples | None = None,
) -> Coverage:
    """Return how well samples cover the modes of a mixture of Gaussians N(centres_j, std_j^2 I).

    Every sample belongs to its nearest mode, distances in units of the mode's own standard deviation (for equal ones: the
    nearest centre). It is of high quality within `radius` of it. Atoms count by their weights.

    Parameters
    ----------
    samples : State or array_like, shape (n, d)
        A law of atoms, such as `Particles`, or points of equal weight.
    centres : array_like, shape (k, d)
    std : float or array_like, shape (k,)
    weights : array_like, shape (k,), optional
        Weights of the modes, positive with sum 1; None: equal ones. (Weights of samples: hand in `Particles`.)
    radius : float
        In standard deviations. Three hold 98.9 % of a Gaussian in the plane, 97.1 % in space, and next to nothing of one in
        100 dimensions: see `quality_radius`.
    reference : State or array_like, shape (m, d), optional
        A sample of the target, for W2: exact up to 2500 x 2500 atoms, beyond it sliced, by 100 random projections.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> coverage([[0.0], [5.0]], [[0.0], [5.0]], 0.1).modes
    2
    """
    where = check.array("centres", centres, ndim=2)
    widths, shares = mode_widths(std, len(where)), mode_weights(weights, len(where))
    radius = check.scalar("radius", radius, above=0.0)

    def place(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nearest, gap = nearest_modes(points, where, widths)
        return nearest, gap <= radius

    dim = where.shape[1]
    w2 = None if reference is None else transport_distance(samples, reference)
    return measured(samples, dim, place, shares, perfect=quality(radius, dim), w2=w2)


def measured(samples: Samples, dim: int, place: Place, weights: np.ndarray, *, perfect: float, w2: float | None) -> Coverage:
    """Return the coverage by samples in `dim` dimensions; `place` says of points which is their mode, and if they are good."""
    points, masses = _atoms("samples", samples)
    if points.shape[1] != dim:
        raise ValueError(f"samples must have shape (n, {dim}), as the modes have dimension {dim}, got {points.shape}")
    mode, good = place(points)
    return Coverage(
        mass=mass_by_mode(mode, masses * good, len(weights)),
        histogram=mass_by_mode(mode, masses, len(weights)),
        weights=weights,
        n=len(points),
        perfect=perfect,
        w2=w2,
    )


def transport_distance(samples: Samples, reference: Samples) -> float:
    """Return W2 between two laws of atoms: exact up to 2500 x 2500 atoms, else sliced with 100 random projections."""
    one, other = (Particles(*_atoms(name, law)) for name, law in (("samples", samples), ("reference", reference)))
    exact = one.dim == 1 or len(one) * len(other) <= EXACT_PAIRS
    return distance(one, other, None if exact else Wasserstein(method="sliced"))


def relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    """Return KL(p | q) = sum p log(p / q) of two histograms (k,), q positive."""
    held = p > 0.0
    return float(max(np.sum(p[held] * np.log(p[held] / q[held])), 0.0))


def mode_widths(std: ArrayLike, k: int) -> np.ndarray:
    """Return the standard deviations of k modes, (k,), after checking them."""
    widths = check.array("std", std, ndim=(0, 1))
    if widths.ndim and widths.shape != (k,):
        raise ValueError(f"std must be a number or have shape ({k},), one for each of the centres, got shape {widths.shape}")
    if widths.min() <= 0.0:
        raise ValueError(f"std must be positive, got the minimum {widths.min():g}")
    return np.broadcast_to(widths, (k,))


def mode_weights(weights: ArrayLike | None, k: int) -> np.ndarray:
    """Return the weights of k modes, (k,), after checking them."""
    if weights is None:
        return np.full(k, 1.0 / k)
    given = check.array("weights", weights, ndim=1)
    if given.shape != (k,):
        raise ValueError(f"weights must have shape ({k},), one for each of the centres, got {given.shape}")
    if given.min() <= 0.0 or abs(given.sum() - 1.0) > 1e-9:
        raise ValueError(f"weights must be positive with sum 1, got the minimum {given.min():g} and the sum {given.sum():g}")
    return given


def _atoms(name: str, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(samples, State):
        return atoms(samples)
    points = check.array(name, samples, ndim=2)
    return points, np.full(len(points), 1.0 / len(points))
