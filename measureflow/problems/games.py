"""Dual flows with exact orbits: bilinear and linear-quadratic games, Dirac-GANs, a GAN on the ring (theory, 6 to 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.games import GAN, Bilinear, DiracGAN, FeatureCritic, LinearQuadratic, Ridge
from measureflow.problems.base import ExactStep, Factor, Printed, Problem
from measureflow.recipes import named
from measureflow.schemes import Explicit
from measureflow.states import Particles, State, Vector

Pair = tuple[Any, Any]

RING = {
    (1.0, 0.6): ("0.8", "1"),
    (2.0, 0.5): ("1", "1.41421356"),
    (1.0, 1.4): ("0", "0.71428571"),
    (6.0, 0.5): ("0", "2"),
}
"""Printed wave speed and size of the critic of G15 by (eta, beta)."""


def _radius(states: Pair) -> float:
    return float(np.hypot(states[0].values[0], states[1].values[0]))


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

    def matrix(name: str, k: float) -> np.ndarray:
        turn = np.array([[0.0, -k], [k, 0.0]])
        eye = np.eye(2)
        return {
            "simultaneous": eye + turn,
            "alternating": eye + turn - np.diag([0.0, k * k]),
            "symmetric": (1.0 - 0.5 * k * k) * eye + turn + np.array([[0.0, 0.25 * k**3], [0.0, 0.0]]),
            "implicit": (eye + turn) / (1.0 + k * k),
            "extragradient": eye + turn + turn @ turn,
        }[name]

    def multiplier(name: str, k: float) -> complex:
        turning = complex(1.0 - k**2 / 2.0 + 1j * k * np.sqrt(complex(1.0 - k**2 / 4.0)))
        return {
            "simultaneous": 1.0 + 1j * k,
            "alternating": turning,
            "symmetric": turning,
            "implicit": 1.0 / (1.0 - 1j * k),
            "extragradient": 1.0 + 1j * k - k**2,
            "optimistic": complex(0.5 * (1.0 + 2j * k + np.sqrt(complex(1.0 - 4.0 * k**2)))),
        }[name]

    def step(name: str) -> ExactStep:
        return lambda states, tau: turned(states, matrix(name, frequency * tau))

    def factor(name: str) -> Factor:
        return lambda tau: multiplier(name, frequency * tau)

    def spelled(names: tuple[str, ...]) -> list[tuple[str, str]]:
        return [(f"{prefix}{name}", name) for name in names for prefix in ("", "explicit ")]

    one_step = ("simultaneous", "alternating", "symmetric", "implicit", "extragradient")
    factors = {key: factor(name) for key, name in spelled((*one_step, "optimistic"))}
    return {key: step(name) for key, name in spelled(one_step)}, factors


def linear_quadratic(P: Any = 0.3, C: Any = 2.0, Q: Any = 0.3, start: tuple[Any, Any] = (1.0, 1.0), t: float = 1.0) -> Problem:
    """G2: J = x.P x/2 + x.C y - y.Q y/2 with z_t = expm(-[[P, C], [-C^T, Q]] t) z_0; contracts at the rate of D2."""
    from scipy.linalg import expm

    game = LinearQuadratic(P, C, Q)
    x0, y0 = Vector(start[0]), Vector(start[1])
    z0 = np.concatenate([x0.values, y0.values])
    own, down, up = _blocks(game)
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


def _blocks(game: LinearQuadratic) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    """Return the multipliers of J = (a/2) x^2 + c x y - (a/2) y^2 (theory, D7)."""

    def alternating(tau: float) -> complex:
        # trace and determinant of the step: (2 (1 + a tau) - c^2 tau^2) / (1 + a tau)^2 and 1 / (1 + a tau)^2
        scale = 1.0 + a * tau
        half = 1.0 - c**2 * tau**2 / (2.0 * scale)
        return complex((half + np.sqrt(complex(half**2 - 1.0))) / scale)

    return {
        "simultaneous": lambda tau: (1.0 + 1j * c * tau) / (1.0 + a * tau),
        "alternating": alternating,
        "implicit": lambda tau: 1.0 / (1.0 + a * tau - 1j * c * tau),
        "explicit simultaneous": lambda tau: 1.0 - a * tau + 1j * c * tau,
    }


def dirac_gan(r2: float = 1.0, t: float | None = None) -> Problem:
    """G3: the Dirac-GAN: theta^2 + psi^2 = r2 is conserved, the period is 2 pi (1 + I_0(r2/2)).

    The angle solves t = phi + int exp((r2/2) sin 2u) du, a Bessel series. Starts at theta = psi.
    """
    from scipy.special import iv

    r2 = check.scalar("r2", r2, above=0.0)
    side = float(np.sqrt(r2 / 2.0))
    period = float(2.0 * np.pi * (1.0 + iv(0, r2 / 2.0)))
    angle = _dirac_angle(r2 / 2.0, period)

    def flow(time: float) -> Pair:
        phi = angle(time)
        return Vector(np.sqrt(r2) * np.cos(phi)), Vector(np.sqrt(r2) * np.sin(phi))

    periods = {0.5: "12.66492955", 1.0: "12.96524840", 2.0: "14.23811183"}
    reference = {"period": Printed(periods[r2], _always(period), 0.0)} if r2 in periods else {}
    if r2 == 2.0:
        reference |= _final_radii({"SIM": "3.09695", "ALT1": "1.42102", "ALT5": "1.84527"})
    return Problem(
        label="G3",
        title=f"Dirac-GAN, r^2 = {r2:g}",
        source="theory.md, 7.1 and 9.4 G3; Mescheder et al., arXiv 1801.04406",
        problem=DiracGAN("gan"),
        initial=(Vector(side), Vector(side)),
        t_span=(0.0, period if t is None else t),
        exact=flow,
        invariants={"radius": _radius},
        constants={"period": period},
        reference=reference,
    )


def _final_radii(digits: dict[str, str]) -> dict[str, Printed]:
    """Return the radii after 500 steps of size .2 from (1, 1), generator first (theory, section 11)."""
    schemes = {
        "SIM": Explicit("simultaneous"),
        "ALT1": Explicit("alternating"),
        "ALT5": Explicit("alternating", inner_steps=(1, 5)),
    }
    return {f"final radius, {key}": Printed(text, _radius, 100.0, schemes[key], 0.2) for key, text in digits.items()}


def _dirac_angle(a: float, period: float) -> Callable[[float], float]:
    """Return the angle phi(t), phi(0) = pi/4, of dphi/dt = 1 / (1 + exp(a sin 2 phi))."""
    from scipy.optimize import brentq
    from scipy.special import iv

    # exp(a sin v) = I_0 + 2 sum (-1)^k I_{2k+1} sin((2k+1) v) + 2 sum (-1)^k I_{2k} cos(2k v), integrated at v = 2 phi
    orders = np.arange(1, 60 + int(4.0 * a))
    odd = orders % 2 == 1
    terms = (-1.0) ** (orders // 2) * iv(orders, a) / orders

    def clock(phi: float) -> float:
        waves = np.where(odd, -np.cos(2.0 * orders * phi), np.sin(2.0 * orders * phi))
        return float(period / (2.0 * np.pi) * phi + terms @ waves)

    begin = np.pi / 4.0
    origin = clock(begin)

    def angle(time: float) -> float:
        turns, rest = divmod(time, period)
        bracket = begin - 1e-9, begin + 2.0 * np.pi + 1e-9
        phi = brentq(lambda phi: clock(phi) - origin - rest, *bracket, xtol=1e-15, rtol=1e-15)
        return float(phi + 2.0 * np.pi * turns)

    return angle


def nonsaturating_dirac_gan(t: float = 100.0) -> Problem:
    """G4: the Dirac-GAN with the non-saturating loss: r^2 decays like 1/(1/r_0^2 + t/8); no closed flow is known."""
    return Problem(
        label="G4",
        title="non-saturating Dirac-GAN",
        source="theory.md, 7.1 and 9.4 G4; Mescheder et al., arXiv 1801.04406",
        problem=DiracGAN("nsgan"),
        initial=(Vector(1.0), Vector(1.0)),
        t_span=(0.0, t),
        constants={"limit of t r^2": 8.0},
        reference=_final_radii({"SIM": ".64021", "ALT1": ".28392", "ALT5": ".13888"}),
    )


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
