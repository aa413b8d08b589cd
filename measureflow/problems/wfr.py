"""Wasserstein-Fisher-Rao flows with what is known exactly about them (theory, section 1, 8 and 9.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from measureflow import _validate as check
from measureflow.energies import KL, MMD
from measureflow.metrics import WassersteinFisherRao
from measureflow.problems.base import Problem
from measureflow.problems.ode import integrated
from measureflow.states import Gaussian, Grid, Histogram, Particles


def relative_entropy(
    mean: float = 1.5,
    variance: float = 0.4,
    target_variance: float = 1.0,
    transport: float = 1.0,
    reaction: float = 1.0,
    n: int = 80,
    t: float = 1.0,
) -> Problem:
    """F3: E = KL(. | N(0, S)): Gaussians stay Gaussian, m' = -m (a + b V)/S, V' = (2a + b V)(1 - V/S), a, b the metric's weights.

    q = (2a + b V)/(S - V) grows like exp((b + 2a/S) t), and m exp((b + a/S) t)/(2a + b V) is constant. b = 0 is S1, a = 0 is F2.
    The state is a `Histogram` of n cells, for the scheme `Splitting`; the exact flow is that of the density.
    """
    m0, v0 = check.scalar("mean", mean), check.scalar("variance", variance, above=0.0)
    s = check.scalar("target_variance", target_variance, above=0.0)
    metric = WassersteinFisherRao(transport, reaction)
    a, b = metric.transport, metric.reaction
    grid = _line(m0, max(v0, s), check.integer("n", n, least=2))

    def moments(time: float) -> tuple[float, float]:
        v = s
        if v0 != s:
            q = (2.0 * a + b * v0) / (s - v0) * np.exp((b + 2.0 * a / s) * time)
            v = s - (2.0 * a + b * s) / (q + b)
        return m0 * float(np.exp(-(b + a / s) * time)) * (2.0 * a + b * v) / (2.0 * a + b * v0), float(v)

    def flow(time: float) -> Histogram:
        m, v = moments(time)
        return Histogram.from_density(lambda x: np.exp(-0.5 * (x[..., 0] - m) ** 2 / v), grid)

    return Problem(
        label="F3",
        title=f"relative entropy, transport {a:g} and reaction {b:g}",
        source="theory.md, section 1 and 9.3 F2, with both parts of the metric",
        problem=KL(Gaussian(0.0, s)),
        initial=flow(0.0),
        t_span=(0.0, t),
        exact=flow,
        constants={"m(t)": moments(t)[0], "V(t)": moments(t)[1]},
        metrics=(metric,),
    )


def _line(mean: float, variance: float, n: int) -> Grid:
    """Return cells on which a Gaussian on its way to a centred one ends in thin tails."""
    reach = 6.5 * float(np.sqrt(variance))
    return Grid([(min(mean, 0.0) - reach, max(mean, 0.0) + reach)], (n,))


def two_modes(
    shares: Sequence[float] = (0.2, 0.8),
    start: Sequence[float] = (-1.5, 1.7),
    place: float = 2.0,
    transport: float = 1.0,
    reaction: float = 1.0,
    t: float = 3.0,
) -> Problem:
    """8 WFR: half the squared MMD (Gaussian kernel) to modes at -+ place with given shares, from two atoms of half the mass each.

    Reaction brings mass from one mode to the other, whatever lies between; with transport alone weights stay, and with them an
    energy of about (1/2 - share)^2. The exact flow is an ODE in positions and log weights, solved to 1e-13.
    """
    q, x0 = check.array("shares", shares, shape=(2,)), check.array("start", start, shape=(2,))
    y = check.scalar("place", place, above=0.0) * np.array([-1.0, 1.0])
    metric = WassersteinFisherRao(transport, reaction)
    target = Particles(y[:, None], q)

    def velocity(z: np.ndarray) -> np.ndarray:
        x, w = z[:2], _shares(z[2:])
        own, other = x[:, None] - x, x[:, None] - y
        near, far = np.exp(-0.5 * own**2), np.exp(-0.5 * other**2)
        phi = near @ w - far @ q
        slope = -(own * near) @ w + (other * far) @ q
        return np.concatenate([-metric.transport * slope, -metric.reaction * (phi - w @ phi)])

    path = integrated(velocity, [*x0, 0.0, 0.0])

    def flow(time: float) -> Particles:
        z = path(time)
        return Particles(z[:2, None], _shares(z[2:]))

    return Problem(
        label="8 WFR",
        title=f"mass between two modes, transport {metric.transport:g} and reaction {metric.reaction:g}",
        source="theory.md, section 8 (mitigations) and section 1",
        problem=MMD(target, "gaussian"),
        initial=flow(0.0),
        t_span=(0.0, t),
        exact=flow,
        metrics=(metric,),
    )


def _shares(logs: np.ndarray) -> np.ndarray:
    masses = np.exp(logs - logs.max())
    return np.asarray(masses / masses.sum())
