"""Energies of the Dirac-GAN as functions of two numbers (theory, section 7.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np

Curve = Callable[[np.ndarray], np.ndarray]

SPACING, REACH = 0.125, 8.5


def _log_sigmoid(t: np.ndarray) -> np.ndarray:
    return np.asarray(-np.logaddexp(0.0, -t))


def _falling(t: np.ndarray) -> np.ndarray:
    """Return the first derivative of the log sigmoid, 1 / (1 + exp(t))."""
    return np.asarray(np.exp(-np.logaddexp(0.0, t)))


def _bend(t: np.ndarray) -> np.ndarray:
    """Return the second derivative of the log sigmoid."""
    return np.asarray(-np.exp(-np.logaddexp(0.0, t) - np.logaddexp(0.0, -t)))


def _identity(t: np.ndarray) -> np.ndarray:
    return t


LOGISTIC: tuple[Curve, Curve, Curve] = (_log_sigmoid, _falling, _bend)
LINEAR: tuple[Curve, Curve, Curve] = (_identity, np.ones_like, np.zeros_like)


def normal_rule() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the trapezoidal rule for N(0, 1).

    It is exact to rounding for functions of the logistic loss at |psi| sigma <= 5, where Gauss-Hermite rules of 160 nodes err by
    1e-9: the poles of f at +- i pi come near the line.
    """
    nodes = SPACING * np.arange(-round(REACH / SPACING), round(REACH / SPACING) + 1)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


@final
@dataclass(frozen=True, eq=False)
class DiracLoss:
    """What the players make of numbers theta and psi (arrays that broadcast), before clipping.

    `sign` is -1 if the generator descends -f(-D), `noise` and `weights` are the instance noise, the penalty on the critic is
    (strength/2) (|psi| - size)^2 + (r1/2) psi^2, and gamma the strength of consensus.
    """

    f: tuple[Curve, Curve, Curve]
    sign: float
    noise: np.ndarray
    weights: np.ndarray
    strength: float
    size: float
    r1: float
    gamma: float

    def _mean(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(values[..., 0] if len(self.weights) == 1 else np.sum(values * self.weights, axis=-1))

    def _seen(self, theta: Any, psi: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return generated points (..., k), and the critic there and at the data."""
        points, tilt = np.asarray(theta)[..., None] + self.noise, np.asarray(psi)[..., None]
        return points, tilt * points, tilt * self.noise

    def penalty(self, psi: Any) -> Any:
        """Return the critic's penalty."""
        return 0.5 * self.strength * (np.abs(psi) - self.size) ** 2 + 0.5 * self.r1 * psi**2

    def penalty_slope(self, psi: Any, side: Any = None) -> Any:
        """Return the derivative of the penalty, on a side of its kink (+1, -1) if one is given."""
        return (self.strength + self.r1) * psi - self.strength * self.size * (np.sign(psi) if side is None else side)

    def ascent(self, theta: Any, psi: Any) -> np.ndarray:
        """Return the derivative in psi of the payoff without its penalty."""
        points, at, data = self._seen(theta, psi)
        return np.asarray(self._mean(points * self.f[1](at)) + self._mean(self.noise * self.f[1](data)))

    def _own_value(self, player: int, theta: Any, psi: Any) -> np.ndarray:
        """Return the energy without consensus: +- (E f(D(theta + noise)) + E f(D(noise)) - penalty), or -E f(-D)."""
        _, at, data = self._seen(theta, psi)
        if player == 0 and self.sign < 0.0:
            return -self._mean(self.f[0](-at))
        payoff = self._mean(self.f[0](at)) + self._mean(self.f[0](data)) - self.penalty(psi)
        return np.asarray(payoff if player == 0 else -payoff)

    def _own_slope(self, player: int, theta: Any, psi: Any) -> np.ndarray:
        """Return the derivative of the energy without consensus in the player's own number."""
        if player == 1:
            return np.asarray(self.penalty_slope(psi) - self.ascent(theta, psi))
        return np.asarray(psi * self._mean(self.f[1](self.sign * self._seen(theta, psi)[1])))

    def value(self, player: int, theta: Any, psi: Any) -> np.ndarray:
        """Return the energy of a player."""
        value = self._own_value(player, theta, psi)
        if self.gamma:
            value = value + 0.5 * self.gamma * sum(self._own_slope(k, theta, psi) ** 2 for k in range(2))
        return value

    def slope(self, player: int, theta: Any, psi: Any) -> np.ndarray:
        """Return the derivative of a player's energy in the player's own number."""
        if not self.gamma:
            return self._own_slope(player, theta, psi)
        slopes = [self._own_slope(k, theta, psi) for k in range(2)]
        curved = self._slopes_of_field(player, theta, psi)
        return np.asarray(slopes[player] + self.gamma * (slopes[0] * curved[0] + slopes[1] * curved[1]))

    def _slopes_of_field(self, player: int, theta: Any, psi: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of both players' gradients in one player's number."""
        points, at, data = self._seen(theta, psi)
        curved, tilt = self.f[2](self.sign * at), self.f[1](self.sign * at)
        own, bent = self.f[1](at), self.f[2](at)
        if player == 0:
            return np.asarray(psi**2 * self.sign * self._mean(curved)), -self._mean(own + at * bent)
        stiff = self._mean(points**2 * bent) + self._mean(self.noise**2 * self.f[2](data))
        return self._mean(tilt + self.sign * at * curved), np.asarray(self.strength + self.r1 - stiff)

    def nearest(self, theta: float, psi: float, tau: float) -> float:
        """Return the minimiser u of the critic's energy + |u - psi|^2 / (2 tau): the better of one on each side of the kink.

        Both are equally good where theta = psi = 0: then the positive one.
        """
        sides = (1.0, -1.0) if psi >= 0.0 else (-1.0, 1.0)
        return min(
            (self._on_side(side, theta, psi, tau) for side in sides),
            key=lambda u: tau * float(self._own_value(1, theta, u)) + 0.5 * (u - psi) ** 2,
        )

    def _on_side(self, side: float, theta: float, psi: float, tau: float) -> float:
        """Solve u - psi + tau (derivative of the critic's energy) = 0, whose left side has slopes >= 1, on a side of 0."""
        from scipy.optimize import brentq

        def equation(u: float) -> float:
            return u - psi + tau * float(self.penalty_slope(u, side) - self.ascent(theta, u))

        gap = equation(psi)
        if self.f is LINEAR:
            u = psi - gap / (1.0 + tau * (self.strength + self.r1))
        else:
            u = brentq(equation, psi - 2.0 * gap, psi, xtol=1e-300, rtol=1e-15) if gap else psi
        return side * max(side * u, 0.0)
