"""Dual flows with exact orbits: bilinear and linear-quadratic games, a GAN on the ring (theory, 6 to 9)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.games import GAN, Bilinear, Consensus, FeatureCritic, LinearQuadratic, Ridge, Unrolled
from measureflow.problems.base import ExactStep, Factor, Printed, Problem
from measureflow.problems.rotation import MATRICES, MULTIPLIERS
from measureflow.recipes import named
from measureflow.states import Particles, State, Vector

Pair = tuple[Any, Any]

RING = {
    (1.0, 0.6): ("0.8", "1"),
    (2.0, 0.5): ("1", "1.41421356"),
    (1.0, 1.4): ("0", "0.71428571"),
    (6.0, 0.5): ("0", "2"),
}
"""Printed wave speed and size of the critic of G15 by (eta, beta)."""


def _always(number: float) -> Callable[[Any], float]:
    return lambda states: number


def bilinear(
    omega: float = 1.0,
    start: tuple[float, float] = (1.0, 0.5),
    speeds: tuple[float, float] = (1.0, 1.0),
    t: float = 1.0,
    laws: bool = False,
) -> Problem:
    """G1: J = omega x y: orbits are circles x^2/eta_1 + y^2/eta_2 = const of frequency omega sqrt(eta_1 eta_2).

    With ``laws=True`` the players are laws of 5 atoms, that translate with their means.
    """
    omega = check.scalar("omega", omega)
    width, height = (float(np.sqrt(check.scalar("speeds", eta, above=0.0))) for eta in speeds)
    frequency = omega * width * height
    x0, y0 = (_around(m, laws) for m in start)

    def turned(states: Pair, matrix: np.ndarray) -> Pair:
        """Apply a matrix to the means in the coordinates (x / sqrt(eta_1), y / sqrt(eta_2)); shapes are frozen."""
        old = np.array([_mean(states[0]) / width, _mean(states[1]) / height])
        shift = (matrix @ old - old) * [width, height]
        return tuple(state.replace(state.coordinates + s) for state, s in zip(states, shift, strict=True))

    def rotation(angle: float) -> np.ndarray:
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    steps, factors = _rotation_schemes(frequency, turned)
    return Problem(
        label="G1",
        title=f"bilinear game, omega = {omega:g}" + (", laws" if laws else ""),
        source="theory.md, 6 and 9.4 G1; Zhang and Yu, arXiv 1908.05699",
        problem=Bilinear(omega),
        initial=(x0, y0),
        t_span=(0.0, t),
        exact=lambda time: turned((x0, y0), rotation(frequency * time)),
        exact_step=steps,
        speeds=tuple(float(eta) for eta in speeds),
        invariants={"radius": lambda states: float(np.hypot(_mean(states[0]) / width, _mean(states[1]) / height))},
        factors=factors,
        constants={"period": float(2.0 * np.pi / abs(frequency)) if frequency else np.inf},
    )


def _around(mean: float, law: bool) -> State:
    spread = np.linspace(-1.0, 1.0, 5) ** 3
    return Particles(mean + spread[:, None]) if law else Vector(mean)


def _mean(state: State) -> float:
    return float(np.mean(state.coordinates))


def _rotation_schemes(
    frequency: float, turned: Callable[[Pair, np.ndarray], Pair]
) -> tuple[dict[str, ExactStep], dict[str, Factor]]:
    """Return steps and multipliers of the table of section 6, kappa = frequency * tau."""

    def step(matrix: Callable[[float], np.ndarray]) -> ExactStep:
        return lambda states, tau: turned(states, matrix(frequency * tau))

    def factor(multiplier: Factor) -> Factor:
        return lambda tau: multiplier(frequency * tau)

    steps = {name: step(matrix) for name, matrix in MATRICES.items()}
    return steps, {name: factor(multiplier) for name, multiplier in MULTIPLIERS.items()}


def damped_bilinear(
    omega: float = 1.0,
    unrolled: int = 0,
    eta: float = 0.1,
    consensus: float = 0.2,
    start: tuple[float, float] = (1.0, 0.5),
    t: float = 3.0,
) -> Problem:
    """G10: J = omega x y with a generator that foresees `unrolled` critic steps of size eta, or, if 0, a consensus term.

    The flow is linear: z' = -[[a, omega], [-omega, b]] z with a = 2 K eta omega^2, b = 0, or a = b = gamma omega^2; its
    eigenvalues are -K eta omega^2 +- sqrt(K^2 eta^2 omega^4 - omega^2), and -gamma omega^2 +- i omega.
    """
    from scipy.linalg import expm

    steps, gamma = check.integer("unrolled", unrolled, least=0), check.scalar("consensus", consensus, least=0.0)
    foresight = 2.0 * steps * check.scalar("eta", eta, above=0.0) * omega**2
    a, b = (foresight, 0.0) if steps else (gamma * omega**2, gamma * omega**2)
    field = -np.array([[a, omega], [-omega, b]])
    root = complex(-0.5 * (a + b) + np.sqrt(complex(0.25 * (a - b) ** 2 - omega**2)))
    x0, y0 = start

    def moved(matrix: np.ndarray, states: Pair) -> Pair:
        x, y = matrix @ [states[0].values[0], states[1].values[0]]
        return Vector(x), Vector(y)

    def step(order: int) -> ExactStep:
        return lambda states, tau: moved(_taylor(tau * field, order), states)

    def factor(order: int) -> Factor:
        return lambda tau: complex(_taylor(np.array([[tau * root]]), order)[0, 0])

    orders = {"explicit": 1, "explicit simultaneous": 1, "rk2": 2, "rk4": 4}
    return Problem(
        label="G10",
        title=f"bilinear game, {f'{steps} critic steps unrolled' if steps else f'consensus term {gamma:g}'}",
        source="theory.md, 6 and 9.4 G10; Metz et al., arXiv 1611.02163; Mescheder et al., arXiv 1705.10461",
        problem=Unrolled(Bilinear(omega), steps, eta) if steps else Consensus(Bilinear(omega), gamma),
        initial=(Vector(x0), Vector(y0)),
        t_span=(0.0, t),
        exact=lambda time: moved(expm(field * time), (Vector(x0), Vector(y0))),
        exact_step={name: step(n) for name, n in orders.items()},
        factors={name: factor(n) for name, n in orders.items()},
        constants={"growth": root.real, "frequency": abs(root.imag)},
    )


def _taylor(z: np.ndarray, order: int) -> np.ndarray:
    """Return the Taylor polynomial of exp(z) for a square matrix z."""
    return np.asarray(sum(np.linalg.matrix_power(z, n) / math.factorial(n) for n in range(order + 1)))


def linear_quadratic(P: Any = 0.3, C: Any = 2.0, Q: Any = 0.3, start: tuple[Any, Any] = (1.0, 1.0), t: float = 1.0) -> Problem:
    """G2: J = x.P x/2 + x.C y - y.Q y/2 with z_t = expm(-[[P, C], [-C^T, Q]] t) z_0; contracts at the rate of D2."""
    from scipy.linalg import expm

    game = LinearQuadratic(P, C, Q)
    x0, y0 = Vector(start[0]), Vector(start[1])
    z0 = np.concatenate([x0.values, y0.values])
    own, down, up = blocks(game)
    scalar = game.P.shape == game.Q.shape == (1, 1) and game.P[0, 0] == game.Q[0, 0]
    a, c = float(game.P[0, 0]), float(game.C[0, 0])
    threshold = 2.0 * a / (c**2 - a**2) if scalar and abs(c) > a else np.inf
    printed = scalar and (a, c, start) == (0.3, 2.0, (1.0, 1.0))

    def split(z: np.ndarray) -> Pair:
        return Vector(z[: len(x0)]), Vector(z[len(x0) :])

    return Problem(
        label="G2",
        title="linear-quadratic game",
        source="theory.md, 9.4 G2, D2, D7",
        problem=game,
        initial=(x0, y0),
        t_span=(0.0, t),
        exact=lambda time: split(expm(-(own + down + up) * time) @ z0),
        exact_step=_block_steps(own, down, up, split),
        factors=_damped_factors(a, c) if scalar else {},
        constants={"largest stable simultaneous tau": threshold} if scalar else {},
        reference={
            "x(1)": Printed("-.9819132608", lambda states: float(states[0].values[0]), 1.0),
            "y(1)": Printed(".3653349428", lambda states: float(states[1].values[0]), 1.0),
            "largest stable tau": Printed(".1534526854", _always(threshold), 0.0),
        }
        if printed
        else {},
    )


def blocks(game: LinearQuadratic) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the parts of z' = -(own + down + up) z: own curvatures, what x sees of y, what y sees of x."""
    p, q = game.C.shape
    own, down, up = (np.zeros((p + q, p + q)) for _ in range(3))
    own[:p, :p], own[p:, p:] = game.P, game.Q
    down[:p, p:], up[p:, :p] = game.C, -game.C.T
    return own, down, up


def _block_steps(own: np.ndarray, down: np.ndarray, up: np.ndarray, split: Callable[[np.ndarray], Pair]) -> dict[str, ExactStep]:
    """Return the steps (I + tau left) z+ = (I - tau right) z."""
    eye, nothing = np.eye(len(own)), np.zeros_like(own)

    def scheme(left: np.ndarray, right: np.ndarray) -> ExactStep:
        def step(states: Pair, tau: float) -> Pair:
            z = np.concatenate([state.coordinates for state in states])
            return split(np.linalg.solve(eye + tau * left, (eye - tau * right) @ z))

        return step

    return {
        "simultaneous": scheme(own, down + up),
        "alternating": scheme(own + up, down),
        "implicit": scheme(own + down + up, nothing),
        "explicit simultaneous": scheme(nothing, own + down + up),
        "explicit alternating": scheme(up, own + down),
    }


def _damped_factors(a: float, c: float) -> dict[str, Factor]:
    """Return the leading multipliers of J = (a/2) x^2 + c x y - (a/2) y^2 (theory, D7)."""

    def alternating(tau: float) -> complex:
        # trace and determinant of the step: (2 (1 + a tau) - c^2 tau^2) / (1 + a tau)^2 and 1 / (1 + a tau)^2
        scale = 1.0 + a * tau
        half = 1.0 - c**2 * tau**2 / (2.0 * scale)
        root = np.sqrt(complex(half**2 - 1.0))
        return complex((half - root if half < -1.0 else half + root) / scale)  # the larger one where they are real

    return {
        "simultaneous": lambda tau: (1.0 + 1j * c * tau) / (1.0 + a * tau),
        "alternating": alternating,
        "implicit": lambda tau: 1.0 / (1.0 + a * tau - 1j * c * tau),
        "explicit simultaneous": lambda tau: 1.0 - a * tau + 1j * c * tau,
    }


def ring_gan(eta: float = 1.0, beta: float = 0.6, modes: int = 2, t: float = 5.0) -> Problem:
    """G15: GAN on the circle, one-atom generator, critic in span(cos, sin) of speed eta with a ridge beta.

    The features of equidistant modes vanish. If beta sqrt(eta) < 1 the generator runs around for ever with
    theta' = sqrt(eta (1 - beta^2 eta)) and |critic| = sqrt(eta), the critic behind by the angle whose cosine is
    beta sqrt(eta); else it freezes at any angle, |critic| = 1/beta.
    """
    eta, beta = check.scalar("eta", eta, above=0.0), check.scalar("beta", beta, above=0.0)
    damping = beta * np.sqrt(eta)
    speed = float(np.sqrt(max(eta * (1.0 - damping**2), 0.0)))
    size = float(np.sqrt(eta) if damping < 1.0 else 1.0 / beta)
    lag = float(np.arccos(min(damping, 1.0)))
    angles = 2.0 * np.pi * np.arange(check.integer("modes", modes, least=2)) / modes

    def flow(time: float) -> Pair:
        theta = speed * time
        return Particles([[theta]]), Vector(size * np.array([np.cos(theta - lag), np.sin(theta - lag)]))

    digits = RING.get((eta, beta), ("nan", "nan"))
    return Problem(
        label="G15",
        title=f"one-atom GAN on the ring, eta = {eta:g}, beta = {beta:g}",
        source="theory.md, 8 M1 and 9.4 G15",
        problem=GAN(Particles(angles[:, None]), critic=ring_critic(), penalty=Ridge(beta)),
        initial=flow(0.0),
        t_span=(0.0, t),
        exact=flow,
        speeds=(1.0, eta),
        invariants={"critic": critic_size, "generator speed": generator_speed},
        constants={"speed": speed, "critic": size, "lag": lag},
        reference={
            "speed": Printed(digits[0], generator_speed, t),
            "critic": Printed(digits[1], critic_size, t),
        }
        if (eta, beta) in RING
        else {},
    )


@named("cosine and sine")
def _on_the_ring(x: np.ndarray) -> np.ndarray:
    return np.concatenate([np.cos(x), np.sin(x)], axis=1)


@named("slopes of cosine and sine")
def _along_the_ring(x: np.ndarray) -> np.ndarray:
    return np.stack([-np.sin(x), np.cos(x)], axis=1)


def ring_critic() -> FeatureCritic:
    """Return the critic D(x) = c_1 cos x + c_2 sin x."""
    return FeatureCritic(_on_the_ring, _along_the_ring)


def critic_size(states: Pair) -> float:
    """Return |c| of the critic's weights."""
    return float(np.hypot(*states[1].values))


def generator_speed(states: Pair) -> float:
    """Return -D'(theta) of the generator's only atom."""
    theta, (a, b) = float(states[0].points[0, 0]), states[1].values
    return float(a * np.sin(theta) - b * np.cos(theta))
