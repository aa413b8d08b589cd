"""Energies: functions of one state with a value and a gradient; they add and scale."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.kinks import Kinks
from measureflow.errors import UnsupportedError
from measureflow.states import Gaussian, Histogram, Law, State, Vector, atoms

Bounds = tuple[float, float]


class Energy(ABC):
    """A function of one state.

    `gradient` has the shape of the state's `coordinates`: the Wasserstein gradient at the atoms for `Particles` (n, d) and
    `Quantiles` (n,), the first variation on the grid for `Histogram` and `Field`, the ordinary gradient for `Vector`,
    and for `Gaussian` (d + 1, d), dE/dmean in row 0 and dE/dcov below.
    """

    __array_ufunc__ = None  # so that NumPy numbers times an energy come to __rmul__
    _memo: tuple[State, tuple[float, np.ndarray]] | None = None

    @abstractmethod
    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        """Return value and gradient."""

    def value_and_gradient(self, state: State) -> tuple[float, np.ndarray]:
        """Return (value, gradient) at a state; the last result is kept, so that asking again is free.

        Raises
        ------
        TypeError
            If the energy is not defined on this kind of state.
        """
        memo = self._memo
        if memo is not None and memo[0] is state:
            return memo[1]
        check.instance("state", state, State, "a state")
        return self.keep(state, *self._evaluate(state))

    def keep(self, state: State, value: float, gradient: np.ndarray) -> tuple[float, np.ndarray]:
        """Keep what was found at a state, for when it is asked for there, and return it."""
        gradient.flags.writeable = False
        self._memo = (state, (float(value), gradient))
        return self._memo[1]

    def value(self, state: State) -> float:
        """Return the energy of a state."""
        return self.value_and_gradient(state)[0]

    def gradient(self, state: State) -> np.ndarray:
        """Return the gradient at a state, of the shape of its coordinates."""
        return self.value_and_gradient(state)[1]

    def first_variation(self, law: State) -> np.ndarray:
        """Return dE/dmu, up to a constant, at the atoms of a law, (n,), or the cells of a `Histogram`, grid.shape.

        Raises
        ------
        TypeError
            If law is not a law, or the energy knows no first variation there.
        """
        check.instance("law", law, Law, "a law")
        return self.gradient(law) if isinstance(law, Histogram) else self._variation(law)

    def _variation(self, law: State) -> np.ndarray:
        """Return the first variation at the atoms of a law that is no Histogram."""
        raise UnsupportedError(f"{type(self).__name__} has no first variation at the atoms of {type(law).__name__}")

    @property
    def convexity(self) -> float | None:
        """A constant lambda for which the energy is lambda-convex along generalised geodesics; None if none is known."""
        return None

    @property
    def bounds(self) -> Bounds | None:
        """Interval in which every coordinate must stay, if the energy contains such a constraint."""
        return None

    boxed: bool = True
    """Whether `bounds` are all the constraints that the energy contains."""

    def project(self, z: np.ndarray) -> np.ndarray:
        """Return the nearest coordinates that satisfy the constraints which the energy contains."""
        return z if self.bounds is None else np.clip(z, *self.bounds)

    def project_within(self, z: np.ndarray, bounds: Bounds | None) -> np.ndarray:
        """Return coordinates that satisfy the constraints of the energy, near those of z that are in an interval."""
        return self.project(z if bounds is None else np.clip(z, *bounds))

    def kinks(self, state: State) -> Kinks | None:
        """Return the nearest kink of every atom of `Particles`, for energies that are not smooth; None if there is none."""
        return None

    def terms(self) -> tuple[tuple[float, Energy], ...]:
        """Return the (factor, energy) pairs of which this energy is the sum."""
        return ((1.0, self),)

    def minibatch(self, size: int, rng: np.random.Generator) -> Energy | None:
        """Return the same energy against `size` random atoms of its target; None if it has no target of atoms."""
        return None

    def __add__(self, other: Any) -> Energy:
        if not isinstance(other, Energy):
            return NotImplemented
        return Sum(self.terms() + other.terms())

    def __sub__(self, other: Any) -> Energy:
        return self + (-1.0) * other if isinstance(other, Energy) else NotImplemented

    def __mul__(self, factor: Any) -> Energy:
        number = check.scalar("factor", factor)
        return Sum(tuple((check.scalar("factor", number * c), term) for c, term in self.terms()))

    __rmul__ = __mul__

    def __radd__(self, other: Any) -> Energy:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # the start of sum()

    def __truediv__(self, divisor: Any) -> Energy:
        number = check.scalar("divisor", divisor)
        if number == 0.0:
            raise ValueError("divisor must not be 0, got 0.0")
        return (1.0 / number) * self

    def __neg__(self) -> Energy:
        return -1.0 * self


@final
class Sum(Energy):
    """A linear combination of energies; made by ``+`` and ``*``.

    Examples
    --------
    >>> import measureflow as mf
    >>> energy = mf.energies.Entropy() + 2.0 * mf.energies.Quadratic()
    >>> round(energy.value(mf.Gaussian(0.0, 1.0)), 12)
    -0.418938533205
    """

    def __init__(self, terms: tuple[tuple[float, Energy], ...]) -> None:
        self._terms = terms

    def terms(self) -> tuple[tuple[float, Energy], ...]:
        return self._terms

    @property
    def boxed(self) -> bool:  # type: ignore[override]
        return all(term.boxed for _, term in self._terms)

    def project(self, z: np.ndarray) -> np.ndarray:
        others = [term for _, term in self._terms if not term.boxed]
        return reduce(lambda z, term: term.project_within(z, self.bounds), others, z) if others else super().project(z)

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        parts = [(c, *term.value_and_gradient(state)) for c, term in self._terms]
        gradient = np.zeros(state.coordinates.shape)
        for c, _, g in parts:
            gradient += c * g
        return sum(c * value for c, value, _ in parts), gradient

    def _variation(self, law: State) -> np.ndarray:
        return sum((c * term.first_variation(law) for c, term in self._terms), np.zeros(len(atoms(law)[1])))

    @property
    def convexity(self) -> float | None:
        total = 0.0
        for c, term in self._terms:
            constant = term.convexity
            if constant is None or c < 0.0:
                return None
            total += c * constant
        return total

    @property
    def bounds(self) -> Bounds | None:
        boxes = [box for _, term in self._terms if (box := term.bounds) is not None]
        return (max(lo for lo, _ in boxes), min(hi for _, hi in boxes)) if boxes else None

    def kinks(self, state: State) -> Kinks | None:
        parts = [kinks.scaled(c) for c, term in self._terms if (kinks := term.kinks(state)) is not None]
        return reduce(lambda a, b: a.nearest(b, state.coordinates), parts) if parts else None

    def minibatch(self, size: int, rng: np.random.Generator) -> Energy | None:
        drawn = [term.minibatch(size, rng) for _, term in self._terms]
        if all(term is None for term in drawn):
            return None
        return Sum(tuple((c, new or old) for (c, old), new in zip(self._terms, drawn, strict=True)))

    def __repr__(self) -> str:
        return " + ".join(f"{c:g} * {term!r}" for c, term in self._terms)


class AtomEnergy(Energy):
    """An energy that is a sum over atoms or pairs of atoms, so that it needs no density.

    It lives on `Particles`, on `Quantiles` (equal atoms), on `Histogram` (atoms at the cell centres) and, through
    `_on_gaussian`, on `Gaussian` where that is possible.
    """

    @abstractmethod
    def _on_atoms(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the value and the gradient of the first variation at the atoms, (n, d)."""

    @abstractmethod
    def _first_variation(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the value and the first variation at the atoms, (n,)."""

    def _on_gaussian(self, law: Gaussian) -> tuple[float, np.ndarray]:
        raise unsupported(self, law, "Particles, Quantiles and Histogram")

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if isinstance(state, Gaussian):
            return self._on_gaussian(state)
        if isinstance(state, Histogram):
            value, potential = self._first_variation(*atoms(state))
            return value, potential.reshape(state.grid.shape)
        if isinstance(state, Vector) and not isinstance(self, PointEnergy):
            raise unsupported(self, state, "laws: Particles, Quantiles, Histogram")
        value, gradient = self._on_atoms(*atoms(state))
        return value, gradient.reshape(state.coordinates.shape)

    def _variation(self, law: State) -> np.ndarray:
        return self._first_variation(*atoms(law))[1]


class PointEnergy(AtomEnergy):
    """An atom energy that makes sense for a single point too: it accepts `Vector`, read as a Dirac law."""


def unsupported(energy: object, state: State, where: str, hint: str = "") -> UnsupportedError:
    """Return the error that says on which states an energy is defined."""
    text = f"{type(energy).__name__} is defined on {where}; got {type(state).__name__}"
    return UnsupportedError(f"{text}. {hint}" if hint else text)
