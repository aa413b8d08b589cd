"""The Dirac-GAN of Mescheder, Geiger and Nowozin (2018), with its regularisers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Box, Energy, Potential, Quadratic
from measureflow.games.base import AbstractGame, States
from measureflow.games.dirac_loss import LINEAR, LOGISTIC, DiracLoss, normal_rule
from measureflow.metrics import Euclidean
from measureflow.states import State, Vector


def _number(name: str, state: State) -> float:
    if not isinstance(state, Vector) or len(state) != 1:
        raise ValueError(f"{name} must be a Vector of size 1 for the Dirac-GAN, got {state!r}")
    return float(state.values[0])


@final
class DiracGAN(AbstractGame):
    """Data delta_0, generator delta_theta, critic D(x) = psi x (theory, section 7.1).

    theta descends and psi ascends L = f(theta psi) + f(0), with f(t) = -log(1 + exp(-t)), or f(t) = t for "wgan"; with
    "nsgan" theta descends -f(-theta psi) instead. Both players are `Vector` of size 1. Penalties on the critic are part of L,
    so that "gan" and "wgan" stay zero-sum; consensus is a term of both players' own energies.

    Parameters
    ----------
    variant : {"gan", "nsgan", "wgan"}
    clip : float, optional
        c: |psi| <= c; steps are projected.
    gradient_penalty : (float, float), optional
        (g, g0): the critic pays (g/2) (|psi| - g0)^2, with derivative g (|psi| - g0) sign(psi), sign(0) = 0. This has a concave
        kink at 0, of whose two sides minimizing movements take the better one.
    r1 : float, optional
        g: the critic pays (g/2) psi^2.
    instance_noise : float, optional
        sigma: data and generated points get noise sigma xi, xi ~ N(0, 1): L = E f(psi (theta + sigma xi)) + E f(psi sigma xi).
        Averages are trapezoidal sums, exact to rounding for |psi| sigma <= 5.
    consensus : float, optional
        gamma: the field v becomes v - gamma grad(|v|^2 / 2), both players' energies gain (gamma/2) |v|^2 (Mescheder, Nowozin and
        Geiger, 2017). v is the field with the penalties, before clipping.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or gradient_penalty is given with clip, another bound for the same slope, or
        with consensus, that needs a field with derivatives.

    Notes
    -----
    Eigenvalues of the flow at (0, 0), with f1 = f'(0) = 1/2 and f2 = f''(0) = -1/4 (wgan: 1 and 0):

    ====================== ========================================================
    none                   +- i f1
    r1                     -g/2 +- sqrt(g^2/4 - f1^2)
    instance_noise         f2 sigma^2 +- sqrt(f2^2 sigma^4 - f1^2): none for wgan
    consensus              -gamma f1^2 +- i f1
    gradient_penalty       none: the field jumps at psi = 0
    ====================== ========================================================

    The row of instance_noise is that of noise on both laws: each of the two terms of L has the second derivative f2 sigma^2 in
    psi, so that psi' = f1 theta + 2 f2 sigma^2 psi near 0; noise on one law alone would halve the real part.

    Examples
    --------
    >>> from measureflow import Vector
    >>> DiracGAN("wgan").energy(0, (Vector(1.0), Vector(2.0))).gradient(Vector(1.0))
    array([2.])
    >>> DiracGAN("wgan", r1=0.5).energy(1, (Vector(1.0), Vector(2.0))).gradient(Vector(2.0))
    array([0.])
    """

    def __init__(
        self,
        variant: str = "gan",
        *,
        clip: float | None = None,
        gradient_penalty: tuple[float, float] | None = None,
        r1: float | None = None,
        instance_noise: float | None = None,
        consensus: float | None = None,
    ) -> None:
        self.variant = check.choice("variant", variant, ("gan", "nsgan", "wgan"))
        self.clip = _positive("clip", clip)
        self.r1 = _positive("r1", r1)
        self.instance_noise = _positive("instance_noise", instance_noise)
        self.consensus = _positive("consensus", consensus)
        self.gradient_penalty = None if gradient_penalty is None else _penalty(gradient_penalty)
        for name in ("clip", "consensus"):
            if self.gradient_penalty is not None and getattr(self, name) is not None:
                raise ValueError(f"gradient_penalty must be None with {name}, got {gradient_penalty!r}")
        self._loss = self._made()

    def _made(self) -> DiracLoss:
        linear = self.variant == "wgan"
        nodes, weights = normal_rule() if self.instance_noise and not linear else (np.zeros(1), np.ones(1))
        strength, size = self.gradient_penalty or (0.0, 0.0)
        return DiracLoss(
            f=LINEAR if linear else LOGISTIC,
            sign=-1.0 if self.variant == "nsgan" else 1.0,
            noise=(self.instance_noise or 0.0) * nodes,
            weights=weights,
            strength=strength,
            size=size,
            r1=self.r1 or 0.0,
            gamma=self.consensus or 0.0,
        )

    @property
    def zero_sum(self) -> bool:
        return self.variant != "nsgan" and self.consensus is None

    def check(self, states: States) -> None:
        for k, state in enumerate(states):
            _number(f"initial[{k}]", state)
        psi = _number("initial[1]", states[1])
        if self.clip is not None and abs(psi) > self.clip:
            raise ValueError(f"initial[1] must lie in the interval of clip = {self.clip:g}, got {psi!r}")

    def invariants(self, metrics: Sequence[Any], speeds: Sequence[float]) -> dict[str, Callable[[States], float]]:
        """Return theta^2/eta_0 + psi^2/eta_1 for "gan" and "wgan" without regularisers; noise is none for "wgan"."""
        noise = None if self.variant == "wgan" else self.instance_noise
        regularisers = (self.clip, self.gradient_penalty, self.r1, noise, self.consensus)
        if self.variant == "nsgan" or any(r is not None for r in regularisers):
            return {}
        if not all(isinstance(metric, Euclidean) for metric in metrics):
            return {}

        def squared_radius(states: States) -> float:
            return sum(_number(f"states[{k}]", states[k]) ** 2 / speed for k, speed in enumerate(speeds))

        return {"squared radius": squared_radius}

    def best_response(self, player: int, states: States) -> State | None:
        """Return the best critic of "wgan" with a penalty or a clip; at theta = 0 several may be as good."""
        if player != 1 or self.variant != "wgan" or self.consensus is not None:
            return None
        theta, loss = _number("states[0]", states[0]), self._loss
        stiffness, side, clip = loss.strength + loss.r1, float(np.sign(theta)), np.inf if self.clip is None else self.clip
        if stiffness > 0.0:
            return Vector(np.clip((theta + loss.strength * loss.size * (side or 1.0)) / stiffness, -clip, clip))
        return None if self.clip is None else Vector(self.clip * side)

    def _frozen(self, player: int, others: States) -> Energy:
        opponent = _number(f"states[{1 - player}]", others[0])
        smooth = player == 0 or self.gradient_penalty is None
        linear = self.variant == "wgan" and self.consensus is None and smooth
        energy: Energy = self._quadratic(player, opponent) if linear else self._potential(player, opponent)
        return energy if player == 0 or self.clip is None else energy + Box(-self.clip, self.clip)

    def _quadratic(self, player: int, opponent: float) -> Quadratic:
        if player == 1:
            return Quadratic(self._loss.r1, linear=[-opponent])
        return Quadratic(0.0, linear=[opponent], constant=-float(self._loss.penalty(opponent)))

    def _potential(self, player: int, opponent: float) -> Potential:
        loss = self._loss

        def numbers(points: np.ndarray) -> tuple[Any, Any]:
            return (points[:, 0], opponent) if player == 0 else (opponent, points[:, 0])

        def nearest(points: np.ndarray, tau: float) -> np.ndarray:
            return np.array([[loss.nearest(opponent, float(u), tau)] for u in points[:, 0]])

        has_kink = player == 1 and self.gradient_penalty is not None
        return Potential(
            lambda points: loss.value(player, *numbers(points)),
            lambda points: loss.slope(player, *numbers(points))[:, None],
            prox=nearest if has_kink else None,
            convexity=self._convexity(player, opponent),
        )

    def _convexity(self, player: int, opponent: float) -> float | None:
        """Return a lower bound of the second derivative: f is concave with f'' >= -1/4."""
        if self.consensus is not None or (player == 1 and self.gradient_penalty is not None):
            return None
        if player == 1:
            return self._loss.r1
        return -0.25 * opponent**2 if self.variant == "gan" else 0.0

    def __repr__(self) -> str:
        names = ("clip", "gradient_penalty", "r1", "instance_noise", "consensus")
        given = [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) is not None]
        return f"DiracGAN({', '.join([repr(self.variant), *given])})"


def _positive(name: str, value: Any) -> float | None:
    return None if value is None else check.scalar(name, value, above=0.0)


def _penalty(value: Any) -> tuple[float, float]:
    strength, size = check.entries("gradient_penalty", value, 2, "a strength and a size")
    return check.scalar("gradient_penalty[0]", strength, above=0.0), check.scalar("gradient_penalty[1]", size, least=0.0)
