"""Generators against infinitely fast critics: single flows of the critics' best values (theory, section 7.2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from measureflow import _validate as check
from measureflow.energies import MMD, ChiSquared, Energy, JensenShannon, NonSaturating
from measureflow.problems.base import Problem
from measureflow.problems.ode import integrated
from measureflow.states import Gaussian, Grid, Histogram, Particles

DEVIATION = 1.2
"""Standard deviation of the target N(0, DEVIATION^2)."""

Slope = Callable[[float, float], tuple[float, float]]


def _on_gaussians(
    label: str, title: str, energy: Energy, slope: Slope, start: tuple[float, float], t: float, rate: float
) -> Problem:
    """Return the flow among Gaussians N(m, s^2), where W2 is flat in (m, s): (m, s)' = -(dE/dm, dE/ds)."""
    mean, deviation = check.scalar("mean", start[0]), check.scalar("deviation", start[1], above=0.0)
    flow = integrated(lambda z: [-part for part in slope(float(z[0]), float(z[1]))], [mean, deviation])

    def exact(time: float) -> Gaussian:
        m, s = flow(time)
        return Gaussian(m, s**2)

    return Problem(
        label=label,
        title=title,
        source="theory.md, 7.2",
        problem=energy,
        initial=exact(0.0),
        t_span=(0.0, t),
        exact=exact,
        constants={"rate": rate / DEVIATION**2},
    )


def chi_squared(mean: float = 0.8, deviation: float = 0.7, t: float = 1.0) -> Problem:
    """7.2 chi2: the critic class L2(nu) with ridge 1, among Gaussians: E = (I - 1)/2, nu = N(0, s0^2), b = 2 s0^2 - s^2.

    I = s0^2 exp(m^2/b) / (s sqrt(b)). Near nu the mean decays at the rate 1/s0^2.
    """
    check.scalar("deviation", deviation, above=0.0, below=float(np.sqrt(2.0)) * DEVIATION)

    def slope(m: float, s: float) -> tuple[float, float]:
        b = 2.0 * DEVIATION**2 - s**2
        integral = DEVIATION**2 * np.exp(m**2 / b) / (s * np.sqrt(b))
        return integral * m / b, 0.5 * integral * (-1.0 / s + s / b + 2.0 * s * m**2 / b**2)

    energy = ChiSquared(Gaussian(0.0, DEVIATION**2))
    return _on_gaussians("7.2 chi2", "chi-squared divergence, among Gaussians", energy, slope, (mean, deviation), t, 1.0)


def jensen_shannon(mean: float = 0.8, deviation: float = 0.7, t: float = 2.0) -> Problem:
    """7.2 JS: a logistic critic, among Gaussians; near nu = N(0, s0^2) the mean decays at the rate 1/(4 s0^2)."""
    energy = JensenShannon(Gaussian(0.0, DEVIATION**2))
    slope = _by_trapezoids(lambda ratio: 0.5 / (1.0 + np.exp(ratio)))
    return _on_gaussians("7.2 JS", "Jensen-Shannon divergence, among Gaussians", energy, slope, (mean, deviation), t, 0.25)


def non_saturating(mean: float = 0.8, deviation: float = 0.7, t: float = 2.0) -> Problem:
    """7.2 NS: that with the non-saturating generator; near nu = N(0, s0^2) the mean decays at the rate 1/(2 s0^2)."""
    energy = NonSaturating(Gaussian(0.0, DEVIATION**2))
    slope = _by_trapezoids(lambda ratio: 1.0 / (1.0 + np.exp(-ratio)))
    return _on_gaussians("7.2 NS", "non-saturating divergence, among Gaussians", energy, slope, (mean, deviation), t, 0.5)


def _by_trapezoids(stiffness: Callable[[np.ndarray], np.ndarray]) -> Slope:
    """Return dE/dm = E w'(X) and dE/ds = E w'(X) Z, X = m + s Z, with w' = stiffness(l) l' and l = log(mu/nu).

    The trapezoidal rule on [-10, 10]: errors fall exponentially in the number of nodes for analytic functions.
    """
    z, h = np.linspace(-10.0, 10.0, 1601, retstep=True)
    weights = h * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)

    def slope(m: float, s: float) -> tuple[float, float]:
        x = m + s * z
        ratio = 0.5 * ((x / DEVIATION) ** 2 - z**2) + np.log(DEVIATION / s)
        push = weights * stiffness(ratio) * (x / DEVIATION**2 - z / s)
        return float(push.sum()), float(push @ z)

    return slope


def unit_ball(initial: Particles | None = None, t: float = 0.8) -> Problem:
    """7.2 MMD: the critic in the unit ball of a Gaussian kernel's space: E = MMD, x' = -grad(witness)/MMD; atoms in the plane."""
    start = Particles([[1.5, 0.2], [-0.4, 1.0], [0.3, -1.2]]) if initial is None else initial
    check.instance("initial", start, Particles, "Particles")
    goal, shares = np.array([[0.8, 0.8], [-0.6, -0.5]]), np.array([0.7, 0.3])
    size, weights = start.points.shape, start.weights

    def field(z: np.ndarray) -> np.ndarray:
        x = z.reshape(size)
        own, other, there = _kernel(x, x), _kernel(x, goal), _kernel(goal, goal)
        square = weights @ own @ weights - 2.0 * weights @ other @ shares + shares @ there @ shares
        to_own, to_goal = x[:, None] - x[None], x[:, None] - goal[None]
        force = np.einsum("ij,ijd,j->id", other, to_goal, shares) - np.einsum("ij,ijd,j->id", own, to_own, weights)
        return np.asarray(-force / np.sqrt(square)).ravel()

    flow = integrated(field, start.points.ravel())
    return Problem(
        label="7.2 MMD",
        title="MMD, the critic in the unit ball of a kernel's space",
        source="theory.md, 7.2",
        problem=MMD(Particles(goal, shares), "gaussian", squared=False),
        initial=start,
        t_span=(0.0, t),
        exact=lambda time: Particles(flow(time).reshape(size), weights),
    )


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * np.sum((x[:, None] - y[None]) ** 2, axis=-1))


def chi_squared_to_uniform(cells: int = 120, t: float = 0.5) -> Problem:
    """7.2 chi2, to the uniform law on [-3, 3]: d_t rho = 3 (rho^2)_xx, the Barenblatt law of S4 at time 1 + 3 t.

    Until it reaches the ends, at t = 2/3, its distribution function is 1/2 + (3/4)(x/r - (x/r)^3/3) with
    r = (9 (1 + 3 t))^(1/3), and E = (18/(5 r) - 1)/2. For minimizing movements in which the front crosses about a cell a step:
    explicit steps of histograms there are none, and in shorter ones an empty cell holds the front up.
    """
    grid = Grid([(-3.0, 3.0)], (check.integer("cells", cells, least=2),))
    check.scalar("t", t, above=0.0, most=2.0 / 3.0)

    def exact(time: float) -> Histogram:
        ratio = np.clip(grid.edges[0] / (9.0 * (1.0 + 3.0 * time)) ** (1.0 / 3.0), -1.0, 1.0)
        masses = np.diff(0.75 * (ratio - ratio**3 / 3.0))
        return Histogram(masses / masses.sum(), grid)

    return Problem(
        label="7.2 chi2 uniform",
        title="chi-squared divergence to a uniform law",
        source="theory.md, 7.2 and 9.2 S4",
        problem=ChiSquared(Histogram(np.full(grid.shape, 1.0 / cells), grid)),
        initial=exact(0.0),
        t_span=(0.0, t),
        exact=exact,
        constants={"E(0)": _barenblatt_energy(0.0), "E(t)": _barenblatt_energy(t)},
    )


def _barenblatt_energy(time: float) -> float:
    return float(0.5 * (18.0 / (5.0 * (9.0 * (1.0 + 3.0 * time)) ** (1.0 / 3.0)) - 1.0))
