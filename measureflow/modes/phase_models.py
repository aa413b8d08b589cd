"""Models of mode collapse with a known threshold, measured at many parameters at once (theory, section 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, final

import numpy as np

from measureflow import problems
from measureflow.games import Bilinear, Unrolled
from measureflow.modes.side_by_side import SideBySide, side_by_side
from measureflow.solve import solve
from measureflow.states import Vector

Measured = dict[str, np.ndarray]
HIDDEN, SPREAD = 1e-6, 0.1
"""Width of a law that has collapsed, and the width from which it counts as one that spreads."""


class Status(StrEnum):
    """What a run ended as: "blurred" has every mode's share of the mass near it, but not on it (yet)."""

    COVERS = "covers"
    BLURRED = "blurred"
    COLLAPSES = "collapses"
    ROTATES = "rotates"
    FROZEN = "frozen"
    CONVERGES = "converges"


@final
@dataclass(frozen=True)
class Model:
    """A two-parameter family of flows with a threshold in its second parameter.

    Attributes
    ----------
    title, x, y, quantity : str
        Words for a picture: what it is, its axes, and what is measured.
    measure : callable
        (x, y, **settings) -> arrays by name, for parameters (M,), among them "value", the quantity, "status", and "calm": whether
        a member is on the far side of the threshold.
    predicted : callable
        (x, **settings) -> threshold in y, or None if the theory has none for them.
    grid : (ndarray, ndarray)
        Parameters by default.
    source : str
    whole : bool
        Whether x is a whole number.
    at_once : bool
        Whether many runs cost little more than one.
    whole_y : bool
        Whether y is a whole number.
    zero : pair of bool
        Whether x and y may be 0.
    """

    title: str
    x: str
    y: str
    quantity: str
    measure: Callable[..., Measured]
    predicted: Callable[..., np.ndarray | None]
    grid: tuple[np.ndarray, np.ndarray]
    source: str
    whole: bool = False
    at_once: bool = True
    whole_y: bool = False
    zero: tuple[bool, bool] = (True, False)

    @property
    def named(self) -> bool:
        """Whether y is a name."""
        return self.grid[1].dtype.kind == "U"


def _words(calm: np.ndarray, there: Status, here: Status) -> np.ndarray:
    """Return `there` where calm, else `here`."""
    return np.where(calm, str(there), str(here))


def _natural(game: Any, eta: np.ndarray, beta: np.ndarray, noise: Any = 0.0) -> SideBySide:
    """Return members whose time is counted in 1/sqrt(eta), which changes neither orbits nor thresholds."""
    slow = 1.0 / np.sqrt(eta)
    return side_by_side(game, np.stack([slow, slow * eta], axis=1), beta, noise)


def _step(eta: np.ndarray, beta: np.ndarray, most: float = 0.2) -> float:
    """Return a step with which RK4 is stable: the critic forgets at the rate beta sqrt(eta) in natural time."""
    return float(min(most, 2.0 / np.max(beta * np.sqrt(eta))))


# one atom on the ring --------------------------------------------------------------------------------------------------


def rotating_wave(eta: np.ndarray, beta: np.ndarray, noise: Any = 0.0, t: float = 200.0) -> Measured:
    """M1: how fast the atom runs, over sqrt(eta), in the last quarter of a run from elsewhere."""
    members = _natural(problems.get("G15").problem, eta, beta, noise)
    critic = np.sqrt(eta)[:, None] * np.array([0.5, -0.9])
    times, x, _ = members.solve(np.full((1, len(eta)), 0.2), critic, t, _step(eta, beta), save_at=25)
    late = len(times) * 3 // 4
    speed = np.abs(x[-1, 0] - x[late, 0]) / (times[-1] - times[late])
    calm = speed < 0.03
    return {"value": speed, "calm": calm, "status": _words(calm, Status.FROZEN, Status.ROTATES)}


def noisy_wave(sigma: np.ndarray, beta: np.ndarray, eta: float = 1.0, t: float = 200.0) -> Measured:
    """M1 with instance noise: features shrink by exp(-sigma^2/2)."""
    return rotating_wave(np.full(len(sigma), eta), beta, sigma, t)


def _wave_threshold(eta: np.ndarray, **settings: Any) -> np.ndarray:
    """Return beta with beta^2 eta = 1."""
    return np.asarray(1.0 / np.sqrt(eta))


def noisy_threshold(sigma: np.ndarray, eta: float = 1.0, t: float = 200.0) -> np.ndarray:
    """Return beta with beta^2 eta exp(sigma^2) = 1: that of the wave with features times exp(-sigma^2/2)."""
    return np.asarray(np.exp(-0.5 * sigma**2) / np.sqrt(eta))


# a collapsed law on the ring -------------------------------------------------------------------------------------------


def spreading(eta: np.ndarray, beta: np.ndarray, t: float = 100.0, atoms: int = 5) -> Measured:
    """M2: width, after the time t/sqrt(eta), of a law of width 1e-6 on the rotating wave, where beta sqrt(eta) < 1."""
    members = _natural(problems.get("G15").problem, eta, beta)
    lag = np.arccos(np.minimum(beta * np.sqrt(eta), 1.0))
    size = np.minimum(np.sqrt(eta), 1.0 / beta)
    critic = size[:, None] * np.stack([np.cos(lag), -np.sin(lag)], axis=1)
    points = np.linspace(-1.0, 1.0, atoms)
    points *= HIDDEN / np.sqrt(np.mean(points**2))
    times, x, _ = members.solve(np.repeat(points[:, None], len(eta), axis=1), critic, t, _step(eta, beta), save_at=5)
    width = np.std(x, axis=1)
    calm = width[-1] > SPREAD
    early = width < 1e-3
    last = len(times) - 1 - np.argmax(early[::-1], axis=0)
    ends = np.take_along_axis(width, last[None], axis=0)[0]
    rate = np.log(ends / width[0]) / np.maximum(times[last], 1e-9)
    return {"value": width[-1], "rate": rate, "calm": calm, "status": _words(calm, Status.COVERS, Status.COLLAPSES)}


def spreading_threshold(eta: np.ndarray, t: float = 100.0, atoms: int = 5) -> np.ndarray:
    """Return beta with eta beta (t/sqrt(eta)) = log(0.1/1e-6): the rate is eta beta, and the time t/sqrt(eta)."""
    return np.asarray(np.log(SPREAD / HIDDEN) / (t * np.sqrt(eta)))


# two modes -------------------------------------------------------------------------------------------------------------


def hopping(eta: np.ndarray, beta: np.ndarray, t: float = 200.0) -> Measured:
    """M4: amplitude of the atom between two modes in the last quarter of a run from near the point of rest."""
    members = _natural(problems.get("G17", beta=1.0).problem, eta, beta)
    start = 0.75
    critic = np.stack([start / beta, (start**2 - 1.0) / beta], axis=1)
    most = float(min(0.1, np.min(beta * np.sqrt(eta))))  # near rest the atom moves at the rate 1/(beta sqrt(eta))
    times, x, _ = members.solve(np.full((1, len(eta)), start), critic, t, _step(eta, beta, most), save_at=5)
    late = x[len(times) * 3 // 4 :, 0]
    amplitude = late.std(axis=0)
    calm = amplitude < 0.05
    hops = np.sum(np.diff(np.sign(late), axis=0) != 0, axis=0)
    return {"value": amplitude, "hops": hops, "calm": calm, "status": _words(calm, Status.FROZEN, Status.ROTATES)}


# linear flows ----------------------------------------------------------------------------------------------------------


def eigenvalues(values: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return damping, frequency and discriminant from samples (rows, M) of solutions of linear flows in the plane.

    Samples obey y_(n+2) = a y_(n+1) + b y_n with the roots exp(l spacing) of m^2 - a m - b (Prony's method): a pair of complex
    eigenvalues l, a rotation, where a^2 + 4 b < 0.

    Examples
    --------
    >>> t = 0.1 * np.arange(40)
    >>> damping, frequency, _ = eigenvalues((np.exp(-0.3 * t) * np.cos(2.0 * t))[:, None], 0.1)
    >>> round(float(damping[0]), 9), round(float(frequency[0]), 9)
    (0.3, 2.0)
    """
    y0, y1, y2 = values[:-2], values[1:-1], values[2:]
    s11, s01, s00 = (np.sum(p * q, axis=0) for p, q in ((y1, y1), (y0, y1), (y0, y0)))
    r1, r0 = np.sum(y2 * y1, axis=0), np.sum(y2 * y0, axis=0)
    det = s11 * s00 - s01**2
    a, b = (r1 * s00 - r0 * s01) / det, (s11 * r0 - s01 * r1) / det
    gap = a**2 + 4.0 * b
    root = np.log((a + np.sqrt(gap.astype(complex))) / 2.0) / spacing
    return -root.real, np.where(gap < 0.0, np.abs(root.imag), 0.0), gap


def fast_critic(eta: np.ndarray, beta: np.ndarray) -> Measured:
    """G9: a Dirac-WGAN with a critic of speed eta = 1/eps and a ridge: frequency of the rotation over sqrt(eta)."""
    members = _natural(_dirac(), eta, beta)
    times, x, _ = members.solve(
        np.ones((1, len(eta))), np.zeros((len(eta), 1)), 6.0, _step(eta, beta, 0.02), save_at=np.linspace(0, 6, 31)
    )
    damping, frequency, _ = eigenvalues(x[:, 0], float(times[1] - times[0]))
    calm = frequency == 0.0
    return {"value": frequency, "damping": damping, "calm": calm, "status": _words(calm, Status.CONVERGES, Status.ROTATES)}


def _dirac() -> Any:
    """Return the game J = theta psi: a critic with the feature x, and the target 0."""
    from measureflow.games import GAN, FeatureCritic
    from measureflow.states import Particles

    critic = FeatureCritic(lambda x: x, lambda x: np.ones((len(x), 1, 1)))
    return GAN(Particles([[0.0]]), critic=critic)


def unrolling(steps: np.ndarray, size: np.ndarray) -> Measured:
    """G10: the bilinear game with `steps` critic steps foreseen; frequency over omega, by steps and size * omega (size 0.1)."""
    damping, frequency = np.empty(len(size)), np.empty(len(size))
    for k in np.unique(steps):
        chosen = steps == k
        omega = size[chosen] / 0.1
        game = Unrolled(Bilinear(np.diag(omega)), int(k), 0.1)
        start = Vector(np.ones(len(omega))), Vector(np.zeros(len(omega)))
        tau = float(min(0.02, 1.0 / np.max(k * 0.1 * omega**2)))
        sol = solve(game, start, 24 * 2 * tau, tau, scheme="rk4", save_at=2)
        slow, turn, _ = eigenvalues(np.array([row[0].values for row in sol.states]), 2.0 * tau)
        damping[chosen], frequency[chosen] = slow / omega, turn / omega
    calm = frequency == 0.0
    return {"value": frequency, "damping": damping, "calm": calm, "status": _words(calm, Status.CONVERGES, Status.ROTATES)}


def steps_of_gans(tau: np.ndarray, ridge: np.ndarray, scheme: Any = "explicit", steps: int = 400) -> Measured:
    """6, 7.1: growth of |z| a step of the Dirac-WGAN with a ridge, by the step; both players see the old states."""
    members = side_by_side(_dirac(), np.stack([tau, tau], axis=1), ridge)
    count = len(tau)
    _, x, c = members.solve(np.ones((1, count)), np.zeros((count, 1)), float(steps), 1.0, scheme=scheme, save_at=steps // 2)
    size = np.hypot(x[:, 0], c[..., 0])
    growth = np.log(np.maximum(size[-1], 1e-290) / np.maximum(size[1], 1e-290)) / (steps - steps // 2)
    calm = growth < 0.0
    return {"value": growth, "calm": calm, "status": _words(calm, Status.CONVERGES, Status.ROTATES)}


def simultaneous_threshold(tau: np.ndarray, **settings: Any) -> np.ndarray:
    """Return beta = tau, at which |mu|^2 = 1 - tau beta + tau^2 is 1."""
    return np.asarray(tau, np.float64)


# mini-batches ----------------------------------------------------------------------------------------------------------


def batches(n: np.ndarray, scale: np.ndarray, draws: int = 400, seed: int = 0) -> Measured:
    """N4: log growth of the scale g/g* of a law against W2 in batches of n, whose loss falls short of the target's scale."""
    growth = np.empty(len(scale))
    for k in np.unique(n):
        chosen = n == k
        problem = problems.get("N4", n=int(k), copies=int(np.sum(chosen)))
        initial = Vector(scale[chosen])
        sol = solve(problem.problem, initial, 0.5, 0.1, scheme="explicit", batch=draws, seed=seed, save_at=5)
        growth[chosen] = np.log(sol.states[-1].values / scale[chosen]) / 0.5
    calm = growth < 0.0
    return {"value": growth, "calm": calm, "status": _words(calm, Status.COLLAPSES, Status.COVERS)}


def shrink_factor(n: np.ndarray, **settings: Any) -> np.ndarray:
    """Return rho_n, the share of the target's scale that batches of n find."""
    return np.array([problems.get("N4", n=int(k)).constants["g/target"] for k in n])


_ETA, _BETA = np.geomspace(0.1, 10.0, 20), np.geomspace(0.1, 6.0, 20)

MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "rotating-wave": Model(
            "One atom on the ring runs or freezes (M1)",
            r"critic speed $\eta$",
            r"ridge $\beta$",
            r"speed of the generator / $\sqrt{\eta}$",
            rotating_wave,
            _wave_threshold,
            (_ETA, _BETA),
            "theory, 8 M1: beta^2 eta = 1",
        ),
        "spreading": Model(
            "A collapsed law spreads in time, or not (M2)",
            r"critic speed $\eta$",
            r"ridge $\beta$",
            "width of the law",
            spreading,
            spreading_threshold,
            (_ETA, np.geomspace(0.02, 0.9, 20)),
            "theory, 8 M2: rate eta beta, width from 1e-6 to 0.1 in the time 100/sqrt(eta)",
        ),
        "hopping": Model(
            "One atom between two modes hops or rests (M4)",
            r"critic speed $\eta$",
            r"ridge $\beta$",
            "amplitude of the generator",
            hopping,
            _wave_threshold,
            (_ETA, _BETA),
            "theory, 8 M4: beta^2 eta = 1",
        ),
        "fast-critic": Model(
            "A fast critic with a ridge does not rotate (G9)",
            r"critic speed $1/\varepsilon$",
            r"ridge $\beta$",
            r"frequency $\cdot \sqrt{\varepsilon}$",
            fast_critic,
            lambda eta: np.asarray(2.0 / np.sqrt(eta)),
            (_ETA, _BETA),
            "theory, D9 and 8: eps = beta^2/4",
        ),
        "unrolling": Model(
            "A generator that foresees critic steps does not rotate (G10)",
            "steps foreseen $K$",
            r"size of a step $\eta \omega$",
            r"frequency / $\omega$",
            unrolling,
            lambda steps: np.asarray(1.0 / steps),
            (np.arange(1.0, 9.0), np.geomspace(0.05, 2.0, 20)),
            "theory, 8 and G10: K eta = 1",
            whole=True,
        ),
        "instance-noise": Model(
            "Instance noise slows the wave and does not damp (M1)",
            r"noise $\sigma$",
            r"ridge $\beta$",
            r"speed of the generator / $\sqrt{\eta}$",
            noisy_wave,
            noisy_threshold,
            (np.linspace(0.0, 2.0, 20), np.geomspace(0.05, 4.0, 20)),
            "theory, 8: features times exp(-sigma^2/2), so that beta^2 eta exp(sigma^2) = 1",
        ),
        "step": Model(
            "A ridge against the growth of simultaneous steps",
            r"step $\tau$",
            r"ridge $\beta$",
            "growth a step",
            steps_of_gans,
            simultaneous_threshold,
            (np.geomspace(0.02, 0.8, 20), np.geomspace(0.01, 1.0, 20)),
            "theory, 6 and 7.1: |mu|^2 = 1 - tau beta + tau^2",
        ),
        "batch": Model(
            "Transport in small batches shrinks a law (N4)",
            "batch $n$",
            r"scale $g / g_*$",
            "log growth of the scale",
            batches,
            shrink_factor,
            (np.array([2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0]), np.geomspace(0.1, 1.4, 20)),
            "theory, 9.5 N4: rho_n",
            whole=True,
        ),
    }
)
"""Solvable models by name."""
