"""Divergences that infinitely fast critics leave to the generator: chi-squared, Jensen-Shannon, non-saturating (theory, 7.2)."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

import numpy as np

from measureflow.energies.entropy import inverse_and_log_volume
from measureflow.energies.quadrature import gaussian_average
from measureflow.energies.ratios import FDivergence, Ratio
from measureflow.states import Gaussian

LOG_4 = float(np.log(4.0))


@final
class ChiSquared(FDivergence):
    """E(mu) = (1/2) int (dmu/dnu - 1)^2 dnu, the critic class L2(nu) with ridge 1: atoms move with -grad(dmu/dnu) (theory, 7.2).

    Parameters
    ----------
    target : Gaussian or Histogram
        The law nu. A Gaussian serves on every state with a density (`Quantiles`, `Gaussian`, `Histogram`) of its dimension, a
        Histogram on its own grid.

    Raises
    ------
    TypeError, ValueError
        If target is none of these, or singular; at evaluation, on states without a density or of another dimension or grid, and
        on a Gaussian so wide that the integral is infinite: 2 target.cov - cov must be positive definite.

    Notes
    -----
    Between N(m, S) and N(m0, S0), with B = 2 S0 - S and d = m - m0, it is (I - 1)/2 with I = det S0 / sqrt(det S det B) times
    exp(d.B^(-1) d). Densities on a grid are those at the cell centres. Where nu has no mass, mu must have none (else inf).

    Examples
    --------
    >>> from measureflow import Gaussian
    >>> round(ChiSquared(Gaussian(0.0, 1.0)).value(Gaussian(1.0, 1.0)), 12)  # (e - 1)/2
    0.85914091423
    """

    def of_ratio(self, l: np.ndarray) -> Ratio:  # noqa: E741
        ratio = np.exp(l)
        return Ratio(0.5 * np.expm1(l), ratio - 0.5, 0.5 * np.exp(2.0 * l), ratio)

    def _on_gaussian(self, law: Gaussian, target: Gaussian) -> tuple[float, np.ndarray]:
        inverse, log_volume = inverse_and_log_volume(self, law)
        room = 2.0 * target.cov - law.cov
        if float(np.linalg.eigvalsh(room)[0]) <= 0.0:
            raise ValueError(
                "the chi-squared divergence of a Gaussian is finite only if 2 target.cov - cov is positive definite, "
                f"got {law!r} and the target {target!r}"
            )
        offset, inner = law.mean - target.mean, np.linalg.inv(room)
        push = inner @ offset
        log_room = 0.5 * float(np.linalg.slogdet(2.0 * np.pi * room)[1])
        log_integral = 2.0 * self._constant - log_volume - log_room + float(offset @ push)
        with np.errstate(over="ignore"):
            integral, value = float(np.exp(log_integral)), 0.5 * float(np.expm1(log_integral))
        curve = 0.5 * (inner + inner.T - 2.0 * inverse) / 2.0 + np.outer(push, push)
        return value, integral * np.vstack([push, 0.5 * curve])


class _Logistic(FDivergence):
    """c int (s(+-l) dmu + s(l) dnu) - 2 c log 2 with the softplus s(l) = log(1 + exp(l))."""

    factor: float
    """c."""

    @abstractmethod
    def _own(self, l: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
        """Return c s(+-l), the first variation, and its derivative."""

    def _on_gaussian(self, law: Gaussian, target: Gaussian) -> tuple[float, np.ndarray]:
        def own(points: np.ndarray) -> np.ndarray:
            return self._own(self._log_ratio_at(law, points)[0])[0]

        def slopes(points: np.ndarray) -> np.ndarray:
            ratio, slope = self._log_ratio_at(law, points)
            return np.asarray(self._own(ratio)[1][:, None] * slope)

        def other(points: np.ndarray) -> np.ndarray:
            return self.factor * softplus(self._log_ratio_at(law, points)[0])

        value, gradient = gaussian_average(self, own, slopes, law, fine=True)
        return value + gaussian_average(self, other, np.zeros_like, target, fine=True)[0] - self.factor * LOG_4, gradient


@final
class JensenShannon(_Logistic):
    """E(mu) = (KL(mu | (mu + nu)/2) + KL(nu | (mu + nu)/2)) / 2 in nats, at most log 2 (theory, 7.2).

    The best logistic critic makes the saturating GAN loss 2 E - 2 log 2: generators move with -grad log(mu/(mu + nu)), minus
    twice the gradient of E.

    Parameters
    ----------
    target : Gaussian or Histogram
        The law nu. A Gaussian serves on every state with a density (`Quantiles`, `Gaussian`, `Histogram`) of its dimension, a
        Histogram on its own grid.

    Raises
    ------
    TypeError, ValueError
        If target is none of these, or singular; at evaluation, on states without a density or of another dimension or grid, and
        on Gaussians in dimension above 4.

    Notes
    -----
    On a Gaussian it is a Gauss-Hermite quadrature, of laws up to two deviations apart and twice as wide to 1e-8 on the line and
    in the plane, to 1e-4 in dimension 4. Densities on a grid are those at the cell centres.

    Examples
    --------
    >>> from measureflow import Gaussian
    >>> round(JensenShannon(Gaussian(0.0, 1.0)).value(Gaussian(0.1, 1.0)), 6)  # near 0.1^2/8
    0.001248
    """

    factor = -0.5

    def _own(self, l: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
        return -0.5 * softplus(-l), 0.5 * sigmoid(-l)

    def of_ratio(self, l: np.ndarray) -> Ratio:  # noqa: E741
        own, stiffness = self._own(l)
        variation = own + 0.5 * LOG_4
        return Ratio(variation - 0.5 * softplus_ratio(l), variation, 0.5 * softplus(l), stiffness)


@final
class NonSaturating(_Logistic):
    """E(mu) = 2 KL((mu + nu)/2 | nu) = KL(mu | nu) - 2 JS(mu, nu): atoms move with grad log(nu/(mu + nu)).

    That is the velocity of the non-saturating logistic generator with the best critic (theory, 7.2). The first variation
    log(1 + dmu/dnu) grows with mu, so that it is a gradient flow after all: that of a convex f-divergence (Arjovsky & Bottou,
    arXiv 1701.04862), although the loss that the generator is told to descend is another function.

    Parameters
    ----------
    target : Gaussian or Histogram
        The law nu. A Gaussian serves on every state with a density (`Quantiles`, `Gaussian`, `Histogram`) of its dimension, a
        Histogram on its own grid.

    Raises
    ------
    TypeError, ValueError
        If target is none of these, or singular; at evaluation, on states without a density or of another dimension or grid, and
        on Gaussians in dimension above 4.

    Notes
    -----
    On a Gaussian it is a Gauss-Hermite quadrature, as `JensenShannon`. Where nu has no mass, mu must have none (else inf).

    Examples
    --------
    >>> from measureflow import Gaussian
    >>> from measureflow.energies import KL
    >>> law, target = Gaussian(0.5, 2.0), Gaussian(0.0, 1.0)
    >>> both = NonSaturating(target) + 2.0 * JensenShannon(target)
    >>> abs(both.value(law) - KL(target).value(law)) < 1e-9
    True
    """

    factor = 1.0

    def _own(self, l: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
        return softplus(l), sigmoid(l)

    def of_ratio(self, l: np.ndarray) -> Ratio:  # noqa: E741
        own, stiffness = self._own(l)
        with np.errstate(invalid="ignore"):  # inf - inf
            pressure = np.where(l > 40.0, np.exp(l), np.exp(l) - own)
        return Ratio(own + softplus_ratio(l) - LOG_4, own + (1.0 - LOG_4), pressure, stiffness)


def softplus(x: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(x))."""
    return np.asarray(np.logaddexp(0.0, x))


def softplus_ratio(x: np.ndarray) -> np.ndarray:
    """Return exp(-x) log(1 + exp(x)): 1 at -inf, 0 at inf."""
    inside = np.clip(x, -40.0, 700.0)
    return np.where(x < -40.0, 1.0, np.where(x > 700.0, 0.0, np.exp(-inside) * softplus(inside)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    return np.asarray(np.exp(-softplus(-x)))
