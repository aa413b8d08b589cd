"""Penalties and constraints on critics (theory, sections 7.1 and 8): the critic's energy gains them, the generator is free."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Box, Energy
from measureflow.games.critics import Critic
from measureflow.games.losses import Sample
from measureflow.states import State


class Penalty(ABC):
    """What a critic pays, or is kept from."""

    on_generator: bool = False
    """Whether the penalty depends on the generator's points; otherwise a zero-sum game stays zero-sum."""

    @abstractmethod
    def energy(self, critic: Critic, generated: Sample, target: Sample, seed: int) -> Energy:
        """Return the energy of the critic's state."""


@final
@dataclass(frozen=True)
class Ridge(Penalty):
    """Penalty (beta/2) |c|^2 on a critic; for a law of neurons the mean of |c|^2 beta/2 under the law.

    Parameters
    ----------
    beta : float
        Nonnegative.

    Examples
    --------
    >>> Ridge(1.0)
    Ridge(beta=1.0)
    """

    beta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", check.scalar("beta", self.beta, least=0.0))

    def energy(self, critic: Critic, generated: Sample, target: Sample, seed: int) -> Energy:
        return critic.ridge(self.beta)


@dataclass(frozen=True)
class _Flat(Penalty):
    """(gamma/2) E |grad D|^2 at the generated points or at the target's, as `on_generator` says."""

    gamma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "gamma", check.scalar("gamma", self.gamma, least=0.0))

    def energy(self, critic: Critic, generated: Sample, target: Sample, seed: int) -> Energy:
        return _flatness(critic, generated if self.on_generator else target, self.gamma)


@final
class R1(_Flat):
    """Penalty (gamma/2) E_target |grad D|^2 (Mescheder, Geiger and Nowozin 2018).

    Parameters
    ----------
    gamma : float
        Nonnegative.

    Examples
    --------
    >>> R1(0.5)
    R1(gamma=0.5)
    """


@final
class R2(_Flat):
    """Penalty (gamma/2) E_mu |grad D|^2 at the generated points (Mescheder, Geiger and Nowozin 2018).

    Parameters
    ----------
    gamma : float
        Nonnegative.

    Examples
    --------
    >>> R2(0.5)
    R2(gamma=0.5)
    """

    on_generator = True


@final
@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """Penalty (weight/2) E (|grad D| - slope)^2, or E max(0, |grad D| - slope)^2 if one-sided (Gulrajani et al. 2017).

    The expectation is over points between independent generated and target points, (1 - s) x + s y with s uniform, or over either
    law. At grad D = 0, where the two-sided penalty has a concave kink, its derivative is taken as 0. `weight` = 2 lambda gives
    the usual lambda E (|grad D| - 1)^2.

    Parameters
    ----------
    weight : float
        Nonnegative.
    slope : float
        The size of the gradient that costs nothing, nonnegative.
    one_sided : bool
        Whether smaller gradients cost nothing either.
    where : {"between", "target", "generated"}

    Notes
    -----
    Pairs and the shares s are drawn anew in each step of a run with `batch`; without it they are the same ones in every step.

    Examples
    --------
    >>> GradientPenalty(20.0)
    GradientPenalty(weight=20.0, slope=1.0, one_sided=False, where='between')
    """

    weight: float
    slope: float = 1.0
    one_sided: bool = False
    where: str = "between"

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", check.scalar("weight", self.weight, least=0.0))
        object.__setattr__(self, "slope", check.scalar("slope", self.slope, least=0.0))
        object.__setattr__(self, "one_sided", check.flag("one_sided", self.one_sided))
        object.__setattr__(self, "where", check.choice("where", self.where, ("between", "target", "generated")))

    @property
    def on_generator(self) -> bool:  # type: ignore[override]
        return self.where != "target"

    def energy(self, critic: Critic, generated: Sample, target: Sample, seed: int) -> Energy:
        places = {"target": target, "generated": generated}
        sample = places[self.where] if self.where in places else _between(generated, target, seed)
        return _SlopePenalty(critic, sample, self.weight, self.slope, self.one_sided)


@dataclass(frozen=True)
class _Bounded(Penalty):
    """A constraint with a bound; steps are projected on it."""

    bound: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", check.scalar("bound", self.bound, above=0.0))


@final
class Clip(_Bounded):
    """The constraint that every coordinate of the critic stays in [-bound, bound]: steps are projected on it (a dual EVI flow).

    Parameters
    ----------
    bound : float
        Positive.

    Examples
    --------
    >>> Clip(0.1)
    Clip(bound=0.1)
    """

    def energy(self, critic: Critic, generated: Sample, target: Sample, seed: int) -> Energy:
        return Box(-self.bound, self.bound)


@final
class SpectralBound(_Bounded):
    """The constraint that the critic's weight matrices have spectral norms of at most `bound`; explicit steps are projected.

    For a law of neurons |a| <= bound and |w| <= bound at every neuron.

    Parameters
    ----------
    bound : float
        Positive.

    Examples
    --------
    >>> SpectralBound(1.0)
    SpectralBound(bound=1.0)
    """

    def energy(self, critic: Critic, generated: Sample, target: Sample, seed: int) -> Energy:
        return critic.spectral_bound(self.bound)


def _flatness(critic: Critic, sample: Sample, gamma: float) -> Energy:
    """Return (gamma/2) E |grad D|^2, a quadratic form where the critic is linear in its state."""
    closed = critic.roughness(sample.points, sample.weights)
    return _SlopePenalty(critic, sample, gamma, 0.0, False) if closed is None else gamma * closed


@final
class _SlopePenalty(Energy):
    """c -> (weight/2) sum_i w_i (|grad D_c(x_i)| - slope)^2, the negative part left out if one-sided."""

    def __init__(self, critic: Critic, sample: Sample, weight: float, slope: float, one_sided: bool) -> None:
        self.critic = critic
        self.sample = sample
        self.weight = weight
        self.slope = slope
        self.one_sided = one_sided

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        points, weights = self.sample.points, self.sample.weights
        _, slopes = self.critic.values_and_slopes(state, points)
        if self.slope == 0.0:
            value, directions = 0.5 * float(weights @ np.sum(slopes**2, axis=1)), weights[:, None] * slopes
        else:
            sizes = np.sqrt(np.sum(slopes**2, axis=1))
            excess = sizes - self.slope
            if self.one_sided:
                excess = np.maximum(excess, 0.0)
            value = 0.5 * float(weights @ excess**2)
            directions = (weights * excess / np.where(sizes > 0.0, sizes, np.inf))[:, None] * slopes
        return self.weight * value, self.weight * self.critic.pullback(state, points, None, directions)


def _between(a: Sample, b: Sample, seed: int) -> Sample:
    """Return equal atoms between independent points of two samples, as many as the larger one has."""
    rng = np.random.default_rng(seed)
    count = max(len(a.points), len(b.points))
    x, y = (s.points[_resampled(s.weights, count)] for s in (a, b))
    share = rng.random((count, 1))
    return Sample((1.0 - share) * x + share * y[rng.permutation(count)], np.full(count, 1.0 / count))


def _resampled(weights: np.ndarray, count: int) -> np.ndarray:
    """Return `count` indices that hold every atom as often as its weight asks for, to one."""
    levels = (np.arange(count) + 0.5) / count
    return np.minimum(np.searchsorted(np.cumsum(weights), levels), len(weights) - 1)
