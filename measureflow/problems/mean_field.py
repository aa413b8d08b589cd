"""Games of laws under W2: linear-quadratic with entropy, and translation-invariant kernels (theory, 3.7 and 9.4 G11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Entropy
from measureflow.games import KernelGame, LinearQuadratic, Regularised
from measureflow.problems.base import ExactStep, Problem
from measureflow.problems.games import blocks
from measureflow.recipes import named
from measureflow.states import Gaussian, Quantiles

Pair = tuple[Any, ...]
Spread = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
"""(own curvature P, covariance, tau) -> covariance after a step."""

P = ((1.0, 0.3), (0.3, 0.6))
C = ((1.0, -0.5), (0.4, 0.8))
Q = ((0.7, -0.2), (-0.2, 1.1))


def entropic_linear_quadratic(
    temperature: float = 0.5,
    P: Any = P,
    C: Any = C,
    Q: Any = Q,
    first: Gaussian | None = None,
    second: Gaussian | None = None,
    t: float = 1.0,
) -> Problem:
    """G11: J = iint (x.P x/2 + x.C y - y.Q y/2) dmu dnu + T Ent(mu) - T Ent(nu): both players descend +T Ent of their own law.

    Means move as in G2, covariances by S_x = T P^(-1) + e^(-Pt) (S_x(0) - T P^(-1)) e^(-Pt), and S_y with Q. A minimizing
    movement of a covariance is that of S2 with tau T in the bracket. P and Q are positive definite.
    """
    T = check.scalar("temperature", temperature, above=0.0)
    game = LinearQuadratic(P, C, Q)
    for name, own in (("P", game.P), ("Q", game.Q)):
        if float(np.linalg.eigvalsh(own)[0]) <= 0.0:
            raise ValueError(f"{name} must be positive definite, got {own.tolist()}")
    laws = (_standard(len(game.P), 1.0, first), _standard(len(game.Q), -0.5, second))
    game.check(laws)
    curvatures = (game.P, game.Q)

    def flow(time: float) -> Pair:
        from scipy.linalg import expm

        m = expm(-time * sum(blocks(game))) @ np.concatenate([law.mean for law in laws])
        covs = []
        for own, law in zip(curvatures, laws, strict=True):
            decay, rest = expm(-time * own), T * np.linalg.inv(own)
            covs.append(rest + decay @ (law.cov - rest) @ decay)
        return _pair(m, covs)

    return Problem(
        label="G11",
        title=f"linear-quadratic game of laws, T = {T:g}",
        source="theory.md, 9.4 G11, 9.2 S2, D2",
        problem=Regularised(game, [Entropy(T), Entropy(T)]),
        initial=laws,
        t_span=(0.0, t),
        exact=flow,
        exact_step=_steps(game, T),
        constants={"rate of D2": min(float(np.linalg.eigvalsh(own)[0]) for own in curvatures)},
    )


def _standard(dim: int, shift: float, given: Gaussian | None) -> Gaussian:
    if given is not None:
        return check.instance("first and second", given, Gaussian, "a Gaussian or None")
    return Gaussian(shift * np.arange(1.0, dim + 1.0), np.diag(np.arange(1.0, dim + 1.0)) / dim + 0.1)


def _pair(m: np.ndarray, covs: list[np.ndarray]) -> Pair:
    cut = len(covs[0])
    means = m[:cut], m[cut:]
    return tuple(Gaussian(mean, 0.5 * (cov + cov.T)) for mean, cov in zip(means, covs, strict=True))


def _steps(game: LinearQuadratic, T: float) -> dict[str, ExactStep]:
    """Return the steps (I + tau left) m+ = (I - tau right) m of the means, with the covariances' own."""
    own, down, up = blocks(game)
    eye, nothing = np.eye(len(own)), np.zeros_like(own)

    def scheme(left: np.ndarray, right: np.ndarray, spread: Spread) -> ExactStep:
        def step(states: Pair, tau: float) -> Pair:
            m = np.linalg.solve(eye + tau * left, (eye - tau * right) @ np.concatenate([law.mean for law in states]))
            return _pair(m, [spread(a, law.cov, tau) for a, law in zip((game.P, game.Q), states, strict=True)])

        return step

    def minimizing(a: np.ndarray, cov: np.ndarray, tau: float) -> np.ndarray:
        values, basis = np.linalg.eigh(a)
        root = (basis * (1.0 + tau * values) ** -0.5) @ basis.T
        b, frame = np.linalg.eigh(root @ cov @ root)
        half = root @ frame
        return np.asarray((half * (0.5 * (b + 2.0 * tau * T + np.sqrt(b**2 + 4.0 * tau * T * b)))) @ half.T)

    def explicit(a: np.ndarray, cov: np.ndarray, tau: float) -> np.ndarray:
        move = np.eye(len(a)) - tau * (a - T * np.linalg.inv(cov))
        return np.asarray(move @ cov @ move.T)

    return {
        "simultaneous": scheme(own, down + up, minimizing),
        "alternating": scheme(own + up, down, minimizing),
        "implicit": scheme(own + down + up, nothing, minimizing),
        "explicit simultaneous": scheme(nothing, own + down + up, explicit),
        "explicit alternating": scheme(up, own + down, explicit),
    }


def entropy_exchange(kernel: str = "quadratic", n: int = 200, t: float = 1.0) -> Problem:
    """3.7: J = iint k(x - y) dmu dnu on the line: Ent(mu) + Ent(nu) is conserved, so that both laws cannot spread.

    `kernel` is "quadratic", k = (x - y)^2/2: mu contracts about its mean by e^(-t), nu expands by e^t, and both means move with
    the constant velocity m_nu - m_mu; or "waves", k = cos(x - y) + cos(2 (x - y) + 1)/2, without a closed flow, where
    quantiles at n levels conserve the sum up to O(n^(-2)).
    """
    quadratic = check.choice("kernel", kernel, ("quadratic", "waves")) == "quadratic"
    levels = (np.arange(check.integer("n", n, least=3)) + 0.5) / n
    x0, y0 = Quantiles(levels + 0.3 * levels**2), Quantiles(0.5 + np.sin(np.pi * (levels - 0.5)) + levels)
    functions = (_square, _square_in_x, _square_in_y) if quadratic else (_waves, _waves_in_x, _waves_in_y)
    return Problem(
        label="3.7",
        title=f"exchange of entropy, {kernel} kernel",
        source="theory.md, 3.7",
        problem=KernelGame(*functions, translation_invariant=True),
        initial=(x0, y0),
        t_span=(0.0, t),
        exact=(lambda time: _scaled((x0, y0), time, np.exp(-time), np.exp(time))) if quadratic else None,
        exact_step={
            "simultaneous": lambda states, tau: _scaled(
                states, (tau / (1.0 + tau), tau / (1.0 - tau)), 1.0 / (1.0 + tau), 1.0 / (1.0 - tau)
            ),
            "explicit simultaneous": lambda states, tau: _scaled(states, tau, 1.0 - tau, 1.0 + tau),
        }
        if quadratic
        else {},
        invariants={"Ent(mu) + Ent(nu)": lambda states: sum(quantile_entropy(law) for law in states)},
    )


def _scaled(states: Pair, travel: float | tuple[float, float], first: float, second: float) -> Pair:
    """Return the laws scaled about their means by `first` and `second`, with the means moved by `travel` (m_nu - m_mu)."""
    means = [float(np.mean(law.values)) for law in states]
    shares = travel if isinstance(travel, tuple) else (travel, travel)
    moved = zip(states, means, shares, (first, second), strict=True)
    return tuple(Quantiles(m + share * (means[1] - means[0]) + scale * (law.values - m)) for law, m, share, scale in moved)


def quantile_entropy(law: Quantiles) -> float:
    """Return int rho log rho of a law with quantiles at the levels (i + 1/2)/n: -mean log(n gap), the end gaps counting 3/2."""
    weights = np.full(len(law) - 1, 1.0 / len(law))
    weights[0] += 0.5 / len(law)
    weights[-1] += 0.5 / len(law)
    return -float(np.sum(weights * np.log(len(law) * np.diff(law.values))))


@named("half squared difference")
def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (x - y.T) ** 2)


@named("slope of half the squared difference in x")
def _square_in_x(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((x - y.T)[..., None])


@named("slope of half the squared difference in y")
def _square_in_y(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((y.T - x)[..., None])


@named("two waves")
def _waves(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.cos(x - y.T) + 0.5 * np.cos(2.0 * (x - y.T) + 1.0))


@named("slope of two waves in x")
def _waves_in_x(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(-(np.sin(x - y.T) + np.sin(2.0 * (x - y.T) + 1.0))[..., None])


@named("slope of two waves in y")
def _waves_in_y(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((np.sin(x - y.T) + np.sin(2.0 * (x - y.T) + 1.0))[..., None])
