"""What generator and critic make of the critic's values: the losses of adversarial games (theory, sections 7.1 and 7.2).

The critic D is high on generated points. It ascends J = E_mu phi(D) + E_target psi(D), the generator descends E_mu chi(D); where
chi = phi the game is zero-sum and both see J.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]
Curve = Callable[[np.ndarray], Pair]
"""A function of the critic's values: (n,) -> values (n,) and derivatives (n,)."""

BLOCK = 1 << 18


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs of the critic: points (n, d) and weights (n,)."""

    points: np.ndarray
    weights: np.ndarray


@final
@dataclass(frozen=True)
class Side:
    """What one of two laws gives to the critic: the function of D that is averaged, and its derivative as s k(s t), k by name."""

    curve: Curve
    slope: str
    sign: float


class Loss(ABC):
    """What both players make of the critic's values: a (n,) at generated points, weights w; b (m,) at the target, weights v."""

    zero_sum: bool
    linear = False

    @abstractmethod
    def generator(self, a: np.ndarray, b: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the generator's first variation at its points, as function of a, and its derivative in a."""

    def offset(self, b: np.ndarray, v: np.ndarray) -> float:
        """Return the part of the generator's energy that does not depend on it."""
        return 0.0


@final
@dataclass(frozen=True)
class Separable(Loss):
    """E_mu phi(D) + E_target psi(D) for the critic, E_mu chi(D) for the generator; chi None: phi, a zero-sum game.

    `slopes` names k and l with phi'(t) = k(t) and psi'(t) = -l(-t), among one, logistic sigma(-t), affine 1 - t, step (t < 1) and
    exponential exp(-t): compiled kernels know these.
    """

    phi: Curve
    psi: Curve
    chi: Curve | None = None
    linear: bool = False
    slopes: tuple[str, str] = ("one", "one")

    @property
    def zero_sum(self) -> bool:  # type: ignore[override]
        return self.chi is None

    @cached_property
    def sides(self) -> tuple[Side, Side]:
        """The sides of the generator and of the target."""
        return Side(self.phi, self.slopes[0], 1.0), Side(self.psi, self.slopes[1], -1.0)

    def generator(self, a: np.ndarray, b: np.ndarray, v: np.ndarray) -> Pair:
        return (self.chi or self.phi)(a)

    def offset(self, b: np.ndarray, v: np.ndarray) -> float:
        return float(v @ self.psi(b)[0]) if self.zero_sum else 0.0


@final
@dataclass(frozen=True)
class Relativistic(Loss):
    """E f(D(x) - D(y)) over independent x of the generator and y of the target; the sums run over all pairs, in blocks."""

    f: Curve
    chi: Curve | None = None

    @property
    def zero_sum(self) -> bool:  # type: ignore[override]
        return self.chi is None

    def critic(self, a: np.ndarray, w: np.ndarray, b: np.ndarray, v: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return what the critic ascends, and its derivatives in a and b, weights included."""
        total, q, fall = 0.0, np.zeros(len(a)), np.zeros(len(b))
        for cut in _blocks(len(a), len(b)):
            values, slopes = self.f(a[cut, None] - b)
            total += float(w[cut] @ (values @ v))
            q[cut] = w[cut] * (slopes @ v)
            fall -= v * (w[cut] @ slopes)
        return total, q, fall

    def generator(self, a: np.ndarray, b: np.ndarray, v: np.ndarray) -> Pair:
        values, slopes = np.zeros(len(a)), np.zeros(len(a))
        for cut in _blocks(len(a), len(b)):
            on, slope = (self.chi or self.f)(a[cut, None] - b)
            values[cut], slopes[cut] = on @ v, slope @ v
        return values, slopes


def _blocks(n: int, m: int) -> list[slice]:
    """Cut n rows so that a block against m columns has at most BLOCK entries."""
    rows = max(1, BLOCK // max(m, 1))
    return [slice(low, low + rows) for low in range(0, n, rows)]


def _identity(d: np.ndarray) -> Pair:
    return d, np.ones_like(d)


def _log_sigmoid(d: np.ndarray) -> Pair:
    from measureflow.kernels.logistic import log_sigmoid  # numba is loaded at first use

    return log_sigmoid(d)


def _softplus(d: np.ndarray) -> Pair:
    from measureflow.kernels.logistic import softplus

    return softplus(d)


def _square(d: np.ndarray) -> Pair:
    return 0.5 * (1.0 + d) ** 2, 1.0 + d


def _hinge(d: np.ndarray) -> Pair:
    return -np.maximum(0.0, 1.0 - d), np.where(d < 1.0, 1.0, 0.0)


def _exponential(d: np.ndarray) -> Pair:
    with np.errstate(over="ignore"):  # a critic that runs away is found by the check of its energy
        values = np.exp(d)
    return values, values


def _parabola(d: np.ndarray) -> Pair:
    return d + 0.5 * d * d, 1.0 + d


def _times(factor: float, curve: Curve) -> Curve:
    """Return factor * curve(d)."""

    def scaled(d: np.ndarray) -> Pair:
        values, slopes = curve(d)
        return factor * values, factor * slopes

    return scaled


def _mirrored(curve: Curve) -> Curve:
    """Return curve(-d)."""

    def mirrored(d: np.ndarray) -> Pair:
        values, slopes = curve(-d)
        return values, -slopes

    return mirrored


def _plus(constant: float, curve: Curve) -> Curve:
    """Return constant + curve(d)."""

    def shifted(d: np.ndarray) -> Pair:
        values, slopes = curve(d)
        return constant + values, slopes

    return shifted


LOG2 = float(np.log(2.0))

LOSSES: dict[str, Loss] = {
    "wasserstein": Separable(_identity, _times(-1.0, _identity), linear=True),
    "minimax": Separable(_log_sigmoid, _times(-1.0, _softplus), slopes=("logistic", "logistic")),
    "non-saturating": Separable(_log_sigmoid, _times(-1.0, _softplus), _softplus, slopes=("logistic", "logistic")),
    "least squares": Separable(_times(-1.0, _mirrored(_square)), _times(-1.0, _square), _square, slopes=("affine", "affine")),
    "hinge": Separable(_hinge, _mirrored(_hinge), _identity, slopes=("step", "step")),
    "kl": Separable(_plus(1.0, _identity), _times(-1.0, _exponential), slopes=("one", "exponential")),
    "reverse kl": Separable(
        _times(-1.0, _mirrored(_exponential)), _plus(1.0, _times(-1.0, _identity)), slopes=("exponential", "one")
    ),
    "chi-squared": Separable(_identity, _times(-1.0, _parabola), slopes=("one", "affine")),
    "js": Separable(_plus(LOG2, _log_sigmoid), _plus(LOG2, _times(-1.0, _softplus)), slopes=("logistic", "logistic")),
    "relativistic": Relativistic(_log_sigmoid),
    "relativistic non-saturating": Relativistic(_log_sigmoid, _softplus),
}
