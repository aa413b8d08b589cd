"""The Dirac-GAN of Mescheder, Geiger and Nowozin (2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from numpy import exp, log1p

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.games.base import AbstractGame, FrozenFunction, States
from measureflow.states import State, Vector

Scalar = Callable[[float], float]


def _log_sigmoid(t: float) -> float:
    return float(-log1p(exp(-t)) if t > 0.0 else t - log1p(exp(t)))


def _sigmoid_of_minus(t: float) -> float:
    return float(exp(-t) / (1.0 + exp(-t)) if t > 0.0 else 1.0 / (1.0 + exp(t)))


def _identity(t: float) -> float:
    return t


def _one(t: float) -> float:
    return 1.0


def _number(name: str, state: State) -> float:
    if not isinstance(state, Vector) or len(state) != 1:
        raise ValueError(f"{name} must be a Vector of size 1 for the Dirac-GAN, got {state!r}")
    return float(state.values[0])


@final
class DiracGAN(AbstractGame):
    """Data delta_0, generator delta_theta, critic D(x) = psi x (theory, section 7.1).

    theta descends and psi ascends L = f(theta psi) + f(0), with f(t) = -log(1 + exp(-t)), or f(t) = t for "wgan"; with
    "nsgan" theta descends -f(-theta psi) instead. Both players are `Vector` of size 1.

    Parameters
    ----------
    variant : {"gan", "nsgan", "wgan"}

    Raises
    ------
    TypeError, ValueError
        If variant is none of these.

    Examples
    --------
    >>> from measureflow import Vector
    >>> DiracGAN("wgan").energy(0, (Vector(1.0), Vector(2.0))).gradient(Vector(1.0))
    array([2.])
    """

    def __init__(self, variant: str = "gan") -> None:
        self.variant = check.choice("variant", variant, ("gan", "nsgan", "wgan"))
        self._f, self._slope = (_identity, _one) if variant == "wgan" else (_log_sigmoid, _sigmoid_of_minus)

    @property
    def zero_sum(self) -> bool:
        return self.variant != "nsgan"

    def check(self, states: States) -> None:
        for k, state in enumerate(states):
            _number(f"initial[{k}]", state)

    def _frozen(self, player: int, others: States) -> Energy:
        opponent = _number(f"states[{1 - player}]", others[0])
        sign = 1.0 if player == 0 else -1.0
        inner = -1.0 if player == 0 and self.variant == "nsgan" else 1.0

        def payoff(own: State) -> tuple[float, np.ndarray]:
            t = inner * _number("state", own) * opponent
            value = sign * inner * self._f(t) + (sign * self._f(0.0) if inner > 0.0 else 0.0)
            return value, np.array([sign * opponent * self._slope(t)])

        return FrozenFunction("Dirac-GAN", payoff)

    def __repr__(self) -> str:
        return f"DiracGAN({self.variant!r})"
