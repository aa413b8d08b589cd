"""Mode collapse in models that can be solved: hopping, laws on the ring, a fast critic, packing (theory, sections 5.2 and 8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import MMD, UserKernel
from measureflow.games import GAN, FeatureCritic, Ridge
from measureflow.problems.base import ExactStep, Problem
from measureflow.problems.games import ring_critic
from measureflow.problems.ode import integrated
from measureflow.recipes import named
from measureflow.states import Particles, Vector

Pair = tuple[Any, Any]


# two modes and one atom --------------------------------------------------------------------------------------------


@named("x and its square less one")
def _two_moments(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, x**2 - 1.0], axis=1)


@named("slopes of x and its square less one")
def _two_slopes(x: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), 2.0 * x], axis=1)


def hopping(eta: float = 1.0, beta: float = 0.0, start: tuple[float, float, float] = (0.9, 0.1, 0.0), t: float = 5.0) -> Problem:
    """G17: modes at -1 and 1, a one-atom generator theta, the critic w1 x + w2 (x^2 - 1) of speed eta with a ridge beta.

    theta' = -(w1 + 2 w2 theta), w1' = eta (theta - beta w1), w2' = eta (theta^2 - 1 - beta w2). The points theta^2 = 1/2
    with w = (theta, theta^2 - 1)/beta are stable if and only if beta^2 eta > 1; else the generator hops between the modes.
    Without a ridge its averages over time tend to those of the target, E theta = 0 and E theta^2 = 1 (D10).
    """
    eta, beta = check.scalar("eta", eta, above=0.0), check.scalar("beta", beta, least=0.0)
    entries = check.entries("start", start, 3, "theta, w1 and w2")
    z0 = np.array([check.scalar(f"start[{k}]", entry) for k, entry in enumerate(entries)])

    def split(z: np.ndarray) -> Pair:
        return Particles([[z[0]]]), Vector(z[1:])

    flow = integrated(hopping_field(eta, beta), z0)
    return Problem(
        label="G17",
        title=f"one atom between two modes, eta = {eta:g}, beta = {beta:g}",
        source="theory.md, 8 M4 and 9.4 G17; reference flow by DOP853",
        problem=GAN(Particles([[-1.0], [1.0]]), critic=FeatureCritic(_two_moments, _two_slopes), penalty=Ridge(beta)),
        initial=split(z0),
        t_span=(0.0, t),
        exact=lambda time: split(flow(time)),
        exact_step=_hopping_steps(eta, beta),
        speeds=(1.0, eta),
        constants={
            "largest eta without stable points": 1.0 / beta**2 if beta else np.inf,
            "theta^2 of the fixed points": 0.5,
            "average of theta": 0.0,
            "average of theta^2": 1.0,
        },
    )


def hopping_field(eta: float, beta: float) -> Callable[[np.ndarray], list[float]]:
    """Return the field of (theta, w1, w2) in `hopping`."""

    def field(z: np.ndarray) -> list[float]:
        theta, w1, w2 = z
        return [-(w1 + 2.0 * w2 * theta), eta * (theta - beta * w1), eta * (theta**2 - 1.0 - beta * w2)]

    return field


def _hopping_steps(eta: float, beta: float) -> dict[str, ExactStep]:
    """Return the steps of both players: minimizing movements divide by 1 + 2 tau w2 and by 1 + tau eta beta."""

    def generator(theta: float, w: np.ndarray, tau: float, implicit: bool) -> float:
        moved = theta - tau * w[0]
        return float(moved / (1.0 + 2.0 * tau * w[1]) if implicit else moved - 2.0 * tau * w[1] * theta)

    def critic(w: np.ndarray, theta: float, tau: float, implicit: bool) -> np.ndarray:
        push = eta * tau * np.array([theta, theta**2 - 1.0])
        return (w + push) / (1.0 + eta * tau * beta) if implicit else (1.0 - eta * tau * beta) * w + push

    def scheme(implicit: bool, alternating: bool) -> ExactStep:
        def step(states: Pair, tau: float) -> Pair:
            old, w = float(states[0].points[0, 0]), states[1].values
            new = generator(old, w, tau, implicit)
            return Particles([[new]]), Vector(critic(w, new if alternating else old, tau, implicit))

        return step

    return {
        "simultaneous": scheme(True, False),
        "alternating": scheme(True, True),
        "explicit simultaneous": scheme(False, False),
        "explicit alternating": scheme(False, True),
    }


# laws on the ring --------------------------------------------------------------------------------------------------


def ring_law(
    eta: float = 1.0,
    beta: float = 0.6,
    start: tuple[complex, complex] = (0.5, 0.3 + 0.4j),
    n: int = 64,
    modes: int = 2,
    t: float = 3.0,
) -> Problem:
    """M2: GAN on the circle with a law as generator, critic D = Re(conj(P) e^(ix)) of speed eta with a ridge beta.

    Features of equidistant modes vanish. Atoms e^(ix) move by Moebius maps of the disc,

        w = (Z + e^(i psi) u) / (1 + conj(Z) e^(i psi) u),  Z' = (conj(P) Z^2 - P)/2,  psi' = Im(conj(P) Z),
        P' = eta (Z - beta P),

    so that wrapped Cauchy laws, images of the uniform law, stay such: Z = E e^(ix), |Z| < 1, and
    d/dt log(1 - |Z|^2) = Re(conj(Z) P). Along the rotating wave a collapsed law spreads at the rate eta beta, a frozen one at
    1/beta; the uniform law is a Nash point with eigenvalues l^2 + eta beta l + eta/2 = 0.

    The atoms are the images of n equidistant points, exact up to |Z|^n; `start` is (Z, P).
    """
    eta, beta = check.scalar("eta", eta, above=0.0), check.scalar("beta", beta, least=0.0)
    z0, p0 = (complex(entry) for entry in check.entries("start", start, 2, "the complex numbers Z and P"))
    check.scalar("the modulus of start[0]", abs(z0), below=1.0)
    angles = 2.0 * np.pi * (np.arange(check.integer("n", n, least=3)) + 0.5) / n - np.pi
    flow = integrated(ring_field(eta, beta), [z0.real, z0.imag, 0.0, p0.real, p0.imag])

    def state(time: float) -> Pair:
        x, y, turn, a, b = flow(time)
        return Particles(wrapped_cauchy(complex(x, y), turn, angles)[:, None]), Vector([a, b])

    return Problem(
        label="M2",
        title=f"GAN on the ring with a law, eta = {eta:g}, beta = {beta:g}",
        source="theory.md, 8 M2; reference flow by DOP853 in five variables",
        problem=GAN(_equidistant(modes), critic=ring_critic(), penalty=Ridge(beta)),
        initial=state(0.0),
        t_span=(0.0, t),
        exact=state,
        speeds=(1.0, eta),
        constants=_ring_constants(eta, beta),
    )


def _equidistant(modes: int) -> Particles:
    return Particles(2.0 * np.pi * np.arange(check.integer("modes", modes, least=2))[:, None] / modes)


def ring_field(eta: float, beta: float) -> Callable[[np.ndarray], list[float]]:
    """Return the field of (Re Z, Im Z, psi, Re P, Im P)."""

    def field(values: np.ndarray) -> list[float]:
        z, p = complex(values[0], values[1]), complex(values[3], values[4])
        law = 0.5 * (p.conjugate() * z**2 - p)
        critic = eta * (z - beta * p)
        return [law.real, law.imag, (p.conjugate() * z).imag, critic.real, critic.imag]

    return field


def _ring_constants(eta: float, beta: float) -> dict[str, float]:
    """Return the rates of section 8 M2; the real and imaginary part of the slowest eigenvalue at the uniform Nash point."""
    root = 0.5 * (np.sqrt(complex(eta**2 * beta**2 - 2.0 * eta)) - eta * beta)
    waves = beta * np.sqrt(eta) < 1.0
    return {
        "spreading rate": eta * beta if waves else 1.0 / beta,
        "critic": float(np.sqrt(eta) if waves else 1.0 / beta),
        "speed": float(np.sqrt(eta * (1.0 - beta**2 * eta))) if waves else 0.0,
        "decay at the uniform law": float(-root.real),
        "frequency at the uniform law": float(abs(root.imag)),
    }


def wrapped_cauchy(mean: complex, turn: float, angles: np.ndarray) -> np.ndarray:
    """Return the angles of (mean + e^(i turn) u) / (1 + conj(mean) e^(i turn) u), u = e^(i angles), without jumps.

    Examples
    --------
    >>> x = wrapped_cauchy(0.3j, 0.0, 2 * np.pi * np.arange(40) / 40)
    >>> bool(abs(np.exp(1j * x).mean() - 0.3j) < 1e-15)
    True
    """
    turned = turn + angles
    return np.asarray(turned + 2.0 * np.angle(1.0 + mean * np.exp(-1j * turned)))


# a fast critic -----------------------------------------------------------------------------------------------------


@named("cosine of the difference")
def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.cos(x - y.T))


@named("slope of the cosine of the difference")
def _cosine_slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(-np.sin(x - y.T))[:, :, None]


def fast_critic(eps: float = 0.05, beta: float = 1.0, size: float = 0.6, n: int = 64, t: float = 2.0) -> Problem:
    """D9: `ring_law` with a critic of speed 1/eps, from its best reply P = Z/beta and the wrapped Cauchy law with Z = `size`.

    For eps -> 0 the law follows the gradient flow of V(mu) = max_w J = |Phi(mu) - Phi(nu)|^2 / (2 beta), with an error of order
    eps: |Z|^2 / (1 - |Z|^2) decays like exp(-t/beta). ``eps=0`` is that gradient flow.
    """
    beta, size = check.scalar("beta", beta, above=0.0), check.scalar("size", size, above=0.0, below=1.0)
    if check.scalar("eps", eps, least=0.0) == 0.0:
        return _infinitely_fast_critic(beta, size, n, t)
    slow = ring_law(1.0 / eps, beta, (size, size / beta), n=n, t=t)
    return Problem(
        label="D9",
        title=f"fast critic, eps = {eps:g}",
        source="theory.md, 5.2 D9; reference flow by DOP853",
        problem=slow.problem,
        initial=slow.initial,
        t_span=slow.t_span,
        exact=slow.exact,
        speeds=slow.speeds,
        constants={"order in eps": 1.0},
    )


def _infinitely_fast_critic(beta: float, size: float, n: int, t: float) -> Problem:
    angles = 2.0 * np.pi * (np.arange(check.integer("n", n, least=3)) + 0.5) / n - np.pi

    def state(time: float) -> Particles:
        odds = size**2 / (1.0 - size**2) * np.exp(-time / beta)
        return Particles(wrapped_cauchy(complex(np.sqrt(odds / (1.0 + odds))), 0.0, angles)[:, None])

    return Problem(
        label="D9",
        title="infinitely fast critic",
        source="theory.md, 5.2 D9 and 7.2",
        problem=(1.0 / beta) * MMD(_equidistant(2), UserKernel(_cosine, _cosine_slope)),
        initial=state(0.0),
        t_span=(0.0, t),
        exact=state,
        constants={"decay of the odds": 1.0 / beta},
    )


# packing -----------------------------------------------------------------------------------------------------------


def packed_total_variation(k: int, j: int, m: int) -> float:
    """Return TV(P^m, Q^m) of P uniform on k modes and Q uniform on j of them, that a critic of packs of m sees (G25).

    Examples
    --------
    >>> packed_total_variation(4, 2, 3)
    0.875
    """
    return 1.0 - _share(k, j, m)


def packed_jensen_shannon(k: int, j: int, m: int) -> float:
    """Return the Jensen-Shannon divergence of P^m and Q^m, P uniform on k modes and Q uniform on j of them (G25).

    With A = (j/k)^m: (1/2) [A log(2A/(1 + A)) + (1 - A) log 2 + log(2/(1 + A))].

    Examples
    --------
    >>> round(packed_jensen_shannon(4, 2, 3), 10)
    0.4969291266
    """
    a = _share(k, j, m)
    return float(0.5 * (a * np.log(2.0 * a / (1.0 + a)) + (1.0 - a) * np.log(2.0) + np.log(2.0 / (1.0 + a))))


def _share(k: int, j: int, m: int) -> float:
    k = check.integer("k", k, least=1)
    j = check.integer("j", j, least=1, most=k)
    return float((j / k) ** check.integer("m", m, least=1))
