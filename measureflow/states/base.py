"""What every state has: immutable data, coordinates as one array, and a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from measureflow import _validate as check
from measureflow.errors import NotFiniteError, UnsupportedError

if TYPE_CHECKING:
    from measureflow.states.gaussian import Gaussian
    from measureflow.states.particles import Particles
    from measureflow.states.quantiles import Quantiles

S = TypeVar("S", bound="State")


class State(ABC):
    """A point of a metric space.

    A state is immutable and array-like: NumPy sees its `coordinates`, so that ``np.sum(x**2)`` works on a `Vector` and
    ``np.asarray(law)`` gives the atoms of `Particles`. States compare by identity.
    """

    __slots__ = ()
    __array_priority__ = 1000.0
    painter: ClassVar[Callable[[State], bytes | None] | None] = None
    """Makes the small picture that notebooks show; `measureflow.states.draw` hangs it here."""

    @property
    @abstractmethod
    def coordinates(self) -> np.ndarray:
        """Free coordinates of the state, a read-only array."""

    @abstractmethod
    def replace(self: S, coordinates: np.ndarray) -> S:
        """Return the state of the same structure (weights, grid) with other coordinates, of the same shape."""

    @abstractmethod
    def _summary(self) -> str:
        """Return what `repr` says between the brackets."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._summary()})"

    def _repr_png_(self) -> bytes | None:
        return None if State.painter is None else State.painter(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values = self.coordinates
        if dtype is not None and np.dtype(dtype) != values.dtype:
            return values.astype(dtype)
        return values.copy() if copy else values

    def __len__(self) -> int:
        return len(self.coordinates)

    def __neg__(self) -> np.ndarray:
        return -self.coordinates

    def __getitem__(self, index: Any) -> Any:
        return self.coordinates[index]


def _binary(name: str) -> Any:
    def operate(self: State, other: Any) -> Any:
        return getattr(np.asarray(self), name)(np.asarray(other))

    operate.__name__ = name
    return operate


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul"):
    for _side in ("__", "__r"):
        setattr(State, f"{_side}{_name}__", _binary(f"{_side}{_name}__"))


class Law(State):
    """A probability law on R^d; `Gaussian` has its moments as attributes, every other law as methods."""

    __slots__ = ()
    kinds: ClassVar[dict[str, Any]] = {}
    """Every kind of law by name, so that laws convert into each other without knowing each other."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Law.kinds[cls.__name__] = cls

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension d of the space that carries the law."""

    @abstractmethod
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean (d,) and covariance (d, d)."""

    @abstractmethod
    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n independent samples (n, d)."""

    @abstractmethod
    def _quantile(self, levels: np.ndarray) -> np.ndarray:
        """Return the quantile function of a law on the line at levels in (0, 1), shape (n,)."""

    def _levels(self) -> int | None:
        """Return the number of levels that suits the law, or None if there is none."""
        return None

    def _atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """Return points (n, d) and weights (n,) against which the law integrates functions."""
        raise UnsupportedError(f"atoms exist for Particles, Quantiles, Histogram and Vector, got {type(self).__name__}")

    def sample(self, n: int, seed: int | np.random.SeedSequence | np.random.Generator | None = None) -> np.ndarray:
        """Draw independent samples.

        Parameters
        ----------
        n : int
            Number of samples, at least 1.
        seed : int, SeedSequence, Generator or None
            Source of randomness; the same int gives the same samples.

        Returns
        -------
        ndarray, shape (n, d)
        """
        return self._draw(check.integer("n", n, least=1), generator(seed))

    def to_gaussian(self) -> Gaussian:
        """Return the Gaussian of the same mean and covariance."""
        return Law.kinds["Gaussian"](*self._moments())

    def to_quantiles(self, n: int | None = None) -> Quantiles:
        """Return the quantile function of a law on the line at the levels (i + 1/2)/n.

        Atoms give a step function (left-continuous inverse of the CDF), a histogram a piecewise linear one (mass even over
        each cell), a Gaussian its exact quantiles.

        Parameters
        ----------
        n : int, optional
            Number of levels; default: the number of equal atoms, of quantiles or of cells. Other laws need it.

        Raises
        ------
        TypeError, ValueError
            If the law is not on the line, or n is missing or not a positive integer.
        """
        if self.dim != 1:
            raise UnsupportedError(f"quantiles exist for laws on the line, got dimension {self.dim}")
        count = self._levels() if n is None else check.integer("n", n, least=1)
        if count is None:
            raise ValueError(f"n must be given to take quantiles of {self!r}")
        return Law.kinds["Quantiles"](self._quantile((np.arange(count) + 0.5) / count))

    def to_particles(self) -> Particles:
        """Return the atoms: equal ones at quantiles, those at the centres of the cells with mass of a histogram.

        Raises
        ------
        TypeError
            If the law is a Gaussian; sample it instead.
        """
        points, weights = self._atoms()
        held = weights > 0.0
        return Law.kinds["Particles"](points[held], weights[held])


class MassLaw(Law):
    """A law of pieces of mass, atoms or cells, with its moments as methods."""

    __slots__ = ()

    def mean(self) -> np.ndarray:
        """Return the mean, shape (d,)."""
        return self._moments()[0]

    def covariance(self) -> np.ndarray:
        """Return the covariance, shape (d, d)."""
        return self._moments()[1]


def atoms(state: State) -> tuple[np.ndarray, np.ndarray]:
    """Return points (n, d) and weights (n,) against which a state integrates functions.

    Particles: the atoms; Quantiles: equal atoms at the values; Histogram: cell centres and masses; Vector: one atom.
    """
    if isinstance(state, Law):
        return state._atoms()
    point = state.coordinates
    if point.ndim != 1 or hasattr(state, "grid"):
        raise UnsupportedError(f"atoms exist for Particles, Quantiles, Histogram and Vector, got {type(state).__name__}")
    return point[None, :], np.ones(1)


def generator(seed: Any) -> np.random.Generator:
    """Return a random generator from an int >= 0, a SeedSequence, a Generator or None."""
    if seed is None or isinstance(seed, (np.random.SeedSequence, np.random.Generator)):
        return np.random.default_rng(seed)
    return np.random.default_rng(check.seed("seed", seed))


def moments(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (d,) and covariance (d, d) of any law."""
    return law._moments()


def weighted_moments(points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (d,) and covariance (d, d) of atoms (n, d) with weights (n,)."""
    mean = weights @ points
    centred = points - mean
    cov = (centred * weights[:, None]).T @ centred
    return mean, 0.5 * (cov + cov.T)


def normalised(name: str, weights: np.ndarray) -> np.ndarray:
    """Return weights divided by their sum, after checking that the sum is 1 to 1e-9; read-only.

    Weights whose sum is 1 to rounding keep their bits, so that a law made of another law's weights is the same law.
    """
    with np.errstate(over="ignore"):
        total = float(weights.sum())
    if abs(total - 1.0) > 1e-9:
        raise ValueError(f"{name} must sum to 1, got the sum {total!r}")
    rounding = 4.0 * np.finfo(float).eps * np.sqrt(weights.size)
    result = weights if abs(total - 1.0) <= rounding else weights / total
    result.flags.writeable = False
    return result


def owned(name: str, coordinates: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Take over an array made by the package: checks shape and finiteness, makes it read-only, copies nothing if it can."""
    if not isinstance(coordinates, np.ndarray) or coordinates.dtype != np.float64:
        return check.array(name, coordinates, shape=shape)
    values = np.ascontiguousarray(coordinates)
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
    check.require_finite(name, values, NotFiniteError)
    if values is coordinates and not values.flags.owndata:
        values = values.copy()
    values.flags.writeable = False
    return values
