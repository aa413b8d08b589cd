"""A thousand modes: three handwritten digits a sample, told apart by a classifier that is fixed in advance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import ClassVar, final

import numpy as np

from measureflow import _validate as check
from measureflow.datasets import digits
from measureflow.modes.definitions import Coverage, Samples, measured
from measureflow.modes.targets import Seed, Target

CHANNELS = 3
PIXELS = 64
CLASSES = 10
PLACES = CLASSES ** np.arange(CHANNELS - 1, -1, -1)
REAL = 0.975
"""Part of real digits that passes each of the two tests of quality."""
BLOCK = 4096


@final
@dataclass(frozen=True, eq=False)
class Reader:
    """A nearest-neighbour classifier of digits, fixed in advance: it knows 899 of the 1797 digits, the targets use the others.

    Attributes
    ----------
    images : ndarray, shape (899, 64)
        Every second digit, sorted by its kind.
    starts : ndarray of int, shape (10,)
        Where the kinds start.
    accuracy : float
        Part of the other 898 digits that is read rightly: 98.7 %.
    farthest, vaguest : float
        Largest distance to the nearest known digit, and largest ratio of it to the distance to the nearest of another kind,
        that a digit of quality may have. Of the other 898 digits 97.5 % pass each of the two.

    Examples
    --------
    >>> kind, good = reader().read(digits()[0][[1, 11, 21]])
    >>> kind, bool(good.all())
    (array([1, 1, 1]), True)
    """

    images: np.ndarray
    starts: np.ndarray
    accuracy: float
    farthest: float
    vaguest: float

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the kinds of images (n, 64), 0 to 9, and which of them look like a digit, both (n,)."""
        kinds, nearest, ratio = nearest_kinds(images, self.images, self.starts)
        return kinds, (nearest <= self.farthest) & (ratio <= self.vaguest)


@cache
def reader() -> Reader:
    """Return the classifier, made at first use from every second digit in well under a second."""
    (images, starts), (others, kinds) = _halves()
    found, nearest, ratio = nearest_kinds(others, images, starts)
    return Reader(
        images,
        starts,
        accuracy=float(np.mean(found == kinds)),
        farthest=float(np.quantile(nearest, REAL)),
        vaguest=float(np.quantile(ratio, REAL)),
    )


def _halves() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return the known digits, sorted, with the starts of their kinds; and the other ones with their kinds."""
    images, kinds = digits()
    order = np.argsort(kinds[0::2], kind="stable")
    starts = np.searchsorted(kinds[0::2][order], np.arange(CLASSES))
    return (images[0::2][order], starts), (images[1::2], kinds[1::2])


def nearest_kinds(points: np.ndarray, images: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return kind of and distance to the nearest image, and its ratio to that of the nearest one of another kind, all (n,)."""
    gaps = np.empty((len(points), CLASSES))
    sizes = np.sum(images**2, axis=1)
    for low in range(0, len(points), BLOCK):
        part = points[low : low + BLOCK]
        squares = np.sum(part**2, axis=1)[:, None] + sizes - 2.0 * (part @ images.T)
        gaps[low : low + BLOCK] = np.minimum.reduceat(squares, starts, axis=1)
    two = np.sqrt(np.maximum(np.partition(gaps, 1, axis=1)[:, :2], 0.0))
    return np.argmin(gaps, axis=1), two[:, 0], two[:, 0] / np.maximum(two[:, 1], np.finfo(float).tiny)


@final
@dataclass(frozen=True, eq=False, repr=False)
class StackedDigits(Target):
    """Three independent digits of 8 x 8 pixels a sample, in R^192: mode 100 a + 10 b + c has the digits a, b and c.

    The small brother of stacked MNIST (Metz et al. 2017; VEEGAN; PacGAN, section 4.2), from the digits that scikit-learn ships.
    Images come from every second digit, 898 of them; modes are told apart by `Reader`, which knows only the others. As published,
    26,000 samples are evaluated and any image is in some mode: the published numbers are `Coverage.visited` and
    `Coverage.reverse_kl`. `Coverage.modes` and `fair_modes` count only samples of which all three images look like a digit.

    Attributes
    ----------
    images : ndarray, shape (898, 64)
        The digits that samples are made of, grey values in [0, 1].
    kinds : ndarray of int, shape (898,)
        What the classifier reads in them, right in 98.7 %: the modes' weights are theirs.

    Examples
    --------
    >>> target = stacked_digits()
    >>> target, target.cover(target.sample(26000, seed=0)).visited
    (StackedDigits(modes=1000, d=192), 1000)
    """

    samples: ClassVar[int] = 26_000
    name: str
    images: np.ndarray
    kinds: np.ndarray

    @cached_property
    def centres(self) -> np.ndarray:  # type: ignore[override]
        """Means of the modes, (1000, 192)."""
        means = np.stack([self.images[self.kinds == kind].mean(axis=0) for kind in range(CLASSES)])
        return means[_places()].reshape(-1, CHANNELS * PIXELS)

    @cached_property
    def std(self) -> np.ndarray:  # type: ignore[override]
        """Root mean squares of the 192 standard deviations within the modes, (1000,)."""
        groups = [self.images[self.kinds == kind] for kind in range(CLASSES)]
        variances = np.array([np.mean((group - group.mean(axis=0)) ** 2) for group in groups])
        return np.asarray(np.sqrt(variances[_places()].mean(axis=1)))

    @cached_property
    def weights(self) -> np.ndarray:  # type: ignore[override]
        """Weights of the modes: products of the parts of every digit, (1000,)."""
        return np.asarray(self._parts[_places()].prod(axis=1))

    @cached_property
    def _parts(self) -> np.ndarray:
        return np.bincount(self.kinds, minlength=CLASSES) / len(self.kinds)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the target, (192,)."""
        return np.tile(self.images.mean(axis=0), CHANNELS)

    @property
    def spread(self) -> float:
        """Root mean square of the 192 standard deviations of the target."""
        return float(np.sqrt(np.mean((self.images - self.images.mean(axis=0)) ** 2)))

    @cached_property
    def perfect(self) -> float:
        """High-quality part of a perfect sampler: three digits of quality, exact for this law."""
        return float(reader().read(self.images)[1].mean() ** CHANNELS)

    def sample(self, n: int, seed: Seed = None) -> np.ndarray:
        """Return n independent samples, (n, 192), of 898^3 possible ones."""
        size = (check.integer("n", n, least=1), CHANNELS)
        chosen = np.random.default_rng(seed).integers(len(self.images), size=size)
        return self.images[chosen].reshape(n, CHANNELS * PIXELS)

    def cover(self, points: Samples, *, w2: bool = False, seed: int = 0) -> Coverage:
        """Return the coverage of the 1000 modes by a law of atoms or by points (n, 192): 1.5 s for 26,000 points."""

        def place(stacked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            kinds, good = reader().read(stacked.reshape(-1, PIXELS))
            return kinds.reshape(-1, CHANNELS) @ PLACES, np.all(good.reshape(-1, CHANNELS), axis=1)

        gap = self.distance(points, seed) if check.flag("w2", w2) else None
        return measured(points, self.dim, place, self.weights, perfect=self.perfect, w2=gap)

    @property
    def dim(self) -> int:
        """Dimension: three images of 64 pixels, 192."""
        return CHANNELS * PIXELS

    def __len__(self) -> int:
        return CLASSES**CHANNELS

    def __repr__(self) -> str:
        return f"StackedDigits(modes={len(self)}, d={self.dim})"


def _places() -> np.ndarray:
    """Return the three digits of every mode, (1000, 3)."""
    return np.arange(CLASSES**CHANNELS)[:, None] // PLACES % CLASSES


@cache
def stacked_digits() -> StackedDigits:
    """Return the target of 1000 modes in 192 dimensions, see `StackedDigits`.

    Raises
    ------
    ImportError
        If scikit-learn is not installed (extra `data`).

    Examples
    --------
    >>> stacked_digits().sample(2, seed=0).shape
    (2, 192)
    """
    _, (images, _) = _halves()
    return StackedDigits("stacked-digits", images, reader().read(images)[0])
