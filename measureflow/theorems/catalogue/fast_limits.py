"""What generators follow against infinitely fast critics, class by class (theory, section 7.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.energies import KL, MMD, ChiSquared, Energy, JensenShannon, NonSaturating, Wasserstein1
from measureflow.games import GAN, FastCritic, FieldCritic, Ridge, RKHSCritic, quadratic_critic
from measureflow.solve import solve
from measureflow.states import Field, Gaussian, Grid, Histogram, Law, Particles, Quantiles, Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]
LINE = Grid([(-3.0, 3.0)], (40,))


def _cloud(n: int, dim: int, seed: int) -> Particles:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 1.5, size=n)
    return Particles(rng.normal(size=(n, dim)), weights / weights.sum())


def _size(values: np.ndarray) -> float:
    return float(np.abs(values).max())


def _off(found: np.ndarray, predicted: np.ndarray) -> float:
    """Return the largest difference relative to the largest entry."""
    return _size(found - predicted) / _size(predicted)


# critics of a Hilbert space ----------------------------------------------------------------------------------------


def _kernel_critic(seed: int, beta: float, dim: int, centres: int | None = None) -> tuple[GAN, Particles, Particles, int]:
    law, target = _cloud(5, dim, seed), _cloud(4, dim, seed + 100)
    places = np.vstack([law.points, target.points])[:centres]
    return GAN(target, critic=RKHSCritic("gaussian", places), penalty=Ridge(beta)), law, target, len(places)


def _hilbert(seed: int, beta: float, dim: int) -> Found:
    """Check the rows "RKHS + ridge" and "RKHS unit ball": velocities, values, and the unit norm of the best critic."""
    game, law, target, size = _kernel_critic(seed, beta, dim)
    limit, where = FastCritic(game, size), f"seed {seed}, d = {dim}, beta = {beta:g}"
    half = MMD(target, "gaussian")
    yield equal(
        "RKHS + ridge, value over MMD^2/(2 beta)", limit.value(law) * beta / half.value(law), 1.0, tolerance=1e-9, where=where
    )
    yield at_most("RKHS + ridge, velocity", _off(limit.gradient(law), half.gradient(law) / beta), 1e-7, where=where)
    best = limit.best_critic(law)
    yield at_most("ridge: |grad| of J at the best critic", _size(game.energy(1, (law, best)).gradient(best)), 1e-9, where=where)
    unit = Vector(best.coordinates / np.linalg.norm(best.coordinates))
    free = GAN(target, critic=game.critic)
    root = MMD(target, "gaussian", squared=False)
    pushed = free.energy(0, (law, unit))
    yield equal("RKHS unit ball, value over MMD", pushed.value(law) / root.value(law), 1.0, tolerance=1e-9, where=where)
    yield at_most("RKHS unit ball, velocity", _off(pushed.gradient(law), root.gradient(law)), 1e-7, where=where)
    rival = Vector(np.random.default_rng(seed).normal(size=size))
    rival = Vector(rival.values / np.linalg.norm(rival.values))
    yield at_most("unit ball: J of another critic", free.energy(0, (law, rival)).value(law), root.value(law), where=where)


def _features(seed: int, beta: float, dim: int) -> Found:
    """Check V = |Phi(mu) - Phi(nu)|^2/(2 beta) for a quadratic critic, on particles and on Gaussians."""
    law, target = _cloud(6, dim, seed), _cloud(5, dim, seed + 50)
    game = GAN(target, critic=quadratic_critic(), penalty=Ridge(beta))
    count = dim + dim * (dim + 1) // 2
    gap = _moments(law) - _moments(target)
    for state in (law, law.to_gaussian()):
        found = FastCritic(game, count).value(state)
        where = f"{type(state).__name__}, seed {seed}, d = {dim}"
        yield equal("features + ridge, value", found / (0.5 * gap @ gap / beta), 1.0, tolerance=1e-8, where=where)


def _moments(law: Particles) -> np.ndarray:
    mean, second = law.mean(), law.covariance() + np.outer(law.mean(), law.mean())
    return np.concatenate([mean, (0.5 * second).ravel()])


# all functions -----------------------------------------------------------------------------------------------------


def _masses(seed: int) -> tuple[Histogram, Histogram]:
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(2, 3, 1)) * np.sin(np.outer([1, 2, 3], LINE.axes[0]) + rng.uniform(0, 6, size=(2, 3, 1)))
    masses = np.exp(-0.2 * LINE.axes[0] ** 2 + 0.4 * waves.sum(axis=1))
    first, second = (Histogram(m / m.sum(), LINE) for m in masses)
    return first, second


def _limit_of(loss: str, target: Histogram) -> tuple[float, Energy | None, float]:
    """Return factor, divergence and constant: max_D J = factor E + constant; None: KL(target | mu)."""
    table: dict[str, tuple[float, Energy | None, float]] = {
        "kl": (1.0, KL(target), 0.0),
        "reverse kl": (1.0, None, 0.0),
        "chi-squared": (1.0, ChiSquared(target), 0.0),
        "js": (2.0, JensenShannon(target), 0.0),
        "minimax": (2.0, JensenShannon(target), -2.0 * float(np.log(2.0))),
        "non-saturating": (1.0, NonSaturating(target), 0.0),
    }
    return table[loss]


def _centred(law: Histogram, values: np.ndarray) -> np.ndarray:
    """Return a first variation less its mean: constants do not move a law."""
    return np.asarray(values - np.sum(law.masses * values))


def _best_field(loss: str, law: Histogram, target: Histogram) -> Field:
    ratio = law.masses / target.masses
    return Field(ratio - 1.0 if loss == "chi-squared" else np.log(ratio), law.grid)


def _divergence(loss: str, seed: int) -> Found:
    """Check best critic, value and first variation of one loss over all functions on a grid."""
    law, target = _masses(seed)
    game, best = GAN(target, loss, critic=FieldCritic(LINE)), _best_field(loss, law, target)
    where = f"{loss}, seed {seed}"
    yield at_most("|grad| of J at the best critic", _size(game.energy(1, (law, best)).gradient(best)), 1e-10, where=where)
    factor, energy, constant = _limit_of(loss, target)
    pushed = game.energy(0, (law, best))
    if loss != "non-saturating":
        value = KL(law).value(target) if energy is None else factor * energy.value(law)
        yield equal("value at the best critic", pushed.value(law), value + constant, tolerance=1e-10, where=where)
        bump = 0.1 * np.random.default_rng(seed).normal(size=LINE.shape)
        other = Field(best.values + bump, LINE)
        yield at_most("J of another critic", game.energy(0, (law, other)).value(law), value + constant, where=where)
    if energy is not None:
        off = _off(_centred(law, pushed.first_variation(law)), _centred(law, factor * energy.first_variation(law)))
        yield at_most("first variation of the generator", off, 1e-10, where=where)


def _sums(kind: str, seed: int) -> Found:
    """Check that the saturating and the non-saturating velocity add up to that of KL."""
    rng = np.random.default_rng(seed)
    target: Any = Gaussian(0.0, 1.44)
    law: Law = Gaussian(rng.normal(), rng.uniform(0.5, 1.5))
    if kind == "histogram":
        law, target = _masses(seed)
    both = 2.0 * JensenShannon(target) + NonSaturating(target)
    found, predicted = (np.asarray(energy.gradient(law)) for energy in (both, KL(target)))
    if isinstance(law, Histogram):
        found, predicted = _centred(law, found), _centred(law, predicted)
    allowed = 1e-6 if kind == "gaussian" else 1e-9
    yield at_most("saturating + non-saturating against KL", _off(found, predicted), allowed, where=f"{kind}, seed {seed}")
    yield equal("values", both.value(law), KL(target).value(law), tolerance=1e-7, where=f"{kind}, seed {seed}")


def _expansion(s: float, figure: bool = False) -> Found:
    """Check JS(N(th, s^2), N(0, s^2)) = th^2/(8 s^2) + O(th^4)."""
    shifts = s * 0.4 / 2.0 ** np.arange(4)
    energy = JensenShannon(Gaussian(0.0, s * s))
    ratios = np.array([energy.value(Gaussian(th, s * s)) for th in shifts]) * 8.0 * s**2 / shifts**2
    value, error = order(shifts, np.abs(ratios - 1.0))
    yield equal("order of JS 8 s^2/th^2 - 1", value, 2.0, tolerance=0.1, error=error, where=f"s = {s:g}")
    yield equal("JS 8 s^2/th^2", ratios[-1], 1.0, tolerance=2e-3, where=f"s = {s:g}")


# flows -------------------------------------------------------------------------------------------------------------


def _flow(label: str, scheme: str, power: float, figure: bool = False) -> Found:
    """Check that the solver follows the exact flow of the limit."""
    p = problems.get(label, **({"eps": 0.0, "n": 16} if label == "D9" else {}))
    taus = (p.t_span[1]) / np.array([8, 16, 32, 64])
    if label == "S12":
        worst = max(p.error(p.solve(tau, scheme)) for tau in (*taus, 0.09))
        yield at_most("error of minimizing movements for W1", worst, 1e-9, where=label)
        yield from _unit_speed(p)
        return
    errors = np.array([p.error(p.solve(tau, scheme, save_at=10**6)) for tau in taus])
    value, error = order(taus, errors)
    yield equal(
        "order of the flow", value, power, tolerance=0.05 if power == 1.0 else 0.1, error=error, where=f"{label}, {scheme}"
    )
    if figure:
        panel = Panel("solver against the flows of the limits", r"$\tau$", r"$W_2$ error", "log")
        yield Curve(panel, f"{label}, {scheme}", taus, errors)
        yield Curve(panel, f"{label}, {scheme}, predicted", taus, errors[-1] * (taus / taus[-1]) ** power, "predicted")


def _unit_speed(p: problems.Problem) -> Found:
    assert isinstance(p.problem, Wasserstein1) and isinstance(p.initial, Quantiles)
    speeds = np.abs(p.problem.gradient(p.initial))
    yield equal("speed of quantiles against the Lipschitz critic", speeds, 1.0, tolerance=1e-12)


def _through_fast_critic(beta: float, scheme: str) -> Found:
    """Check that solving against the best critic and solving the limit give the same flow, on the ring."""
    game, limit = problems.get("D9", eps=0.1, beta=beta, n=16).problem, problems.get("D9", eps=0.0, beta=beta, n=16)
    assert isinstance(game, GAN)
    ends = [
        solve(energy, limit.initial, 1.0, 0.1, scheme=scheme).states[-1].points for energy in (FastCritic(game, 2), limit.problem)
    ]
    moved, where = _size(ends[1] - limit.initial.points), f"{scheme}, beta = {beta:g}"
    yield at_most("FastCritic against MMD^2/(2 beta)", _size(ends[0] - ends[1]) / moved, 1e-7, where=where)
    yield at_least("what they move", moved, 0.01, where=where)


def _velocities() -> Found:
    """Yield the figure of the three logistic velocities."""
    target, law = Gaussian(0.0, 1.44), Gaussian(1.5, 0.5)
    x = np.linspace(-1.5, 3.5, 60)
    ratio = 0.5 * (x**2 / 1.44 - (x - 1.5) ** 2 / 0.5) + 0.5 * np.log(1.44 / 0.5)
    slope = x / 1.44 - (x - 1.5) / 0.5
    grid = Grid([(-6.0, 7.0)], (1300,))
    laws = law.to_histogram(grid), target.to_histogram(grid)
    panel = Panel("velocities against the best logistic critic", "$x$", "velocity")
    shares = (1.0 / (1.0 + np.exp(ratio)), 1.0 / (1.0 + np.exp(-ratio)), np.ones_like(x))
    energies: tuple[tuple[str, Energy], ...] = (
        ("saturating", 2.0 * JensenShannon(laws[1])),
        ("non-saturating", NonSaturating(laws[1])),
        ("KL, their sum", KL(laws[1])),
    )
    for (name, energy), share in zip(energies, shares, strict=True):
        velocity = -np.gradient(energy.gradient(laws[0]), grid.axes[0])
        yield Curve(panel, name, x, np.interp(x, grid.axes[0], velocity))
        yield Curve(panel, f"{name}, predicted", x, -share * slope, "predicted")


PARTS: dict[str, Any] = {
    "hilbert": _hilbert,
    "features": _features,
    "divergence": _divergence,
    "sums": _sums,
    "expansion": _expansion,
    "flow": _flow,
    "solver": _through_fast_critic,
}


def _limits(part: str, **trial: Any) -> Found:
    if part == "sums" and trial["kind"] == "histogram":
        yield from _velocities()
    yield from PARTS[part](**trial)


def _limits_control(claim: str) -> Found:
    if claim == "few features":
        game, law, target, size = _kernel_critic(0, 1.0, 1, 2)
        found = FastCritic(game, size).gradient(law)
        yield at_most("velocity", _off(found, MMD(target, "gaussian").gradient(law)), 1e-2, where="two centres")
        return
    cells, goal = _masses(0)
    game = GAN(goal, "non-saturating", critic=FieldCritic(LINE))
    pushed = game.energy(0, (cells, _best_field("minimax", cells, goal)))
    saturating = 2.0 * JensenShannon(goal)
    off = _off(_centred(cells, pushed.first_variation(cells)), _centred(cells, saturating.first_variation(cells)))
    yield at_most("non-saturating velocity against that of 2 JS", off, 1e-2)


LIMITS = Theorem(
    name="fast-critic-limits",
    label="7.2",
    title="each critic class leaves its divergence to the generator",
    statement=(
        "Against an infinitely fast critic the generator follows the gradient flow of V(mu) = max_D J(mu, D): W1 for Lipschitz "
        "critics, MMD for the unit ball of a kernel's space, MMD^2/(2 beta) with a ridge, chi^2/2 for L2(nu) with ridge 1, the "
        "f-divergence for all functions, 2 JS - 2 log 2 for the logistic loss. The velocities of the saturating and the "
        "non-saturating generator add up to that of KL. JS(N(th, s^2), N(0, s^2)) = th^2/(8 s^2) + O(th^4)."
    ),
    formula=r"V(\mu) = \max_D J(\mu, D), \quad v = -\nabla \frac{\delta V}{\delta \mu}",
    hypotheses=("the critic is at its best against the law at every time", "the best critic is unique up to constants (Danskin)"),
    source="theory, section 7.2; Nowozin, Cseke and Tomioka 2016",
    problems=("S12", "D9", "7.2 chi2", "7.2 JS", "7.2 NS", "7.2 MMD"),
    test=_limits,
    quick=[
        *every(part=["hilbert"], seed=[0], beta=[0.5], dim=[1, 2]),
        *every(part=["features"], seed=[0], beta=[0.5], dim=[1, 2]),
        *every(part=["divergence"], loss=["kl", "reverse kl", "chi-squared", "js", "minimax", "non-saturating"], seed=[0]),
        *every(part=["sums"], kind=["gaussian", "histogram"], seed=[0]),
        {"part": "expansion", "s": 1.3},
        {"part": "flow", "label": "S12", "scheme": "jko", "power": 1.0},
        *every(part=["flow"], label=["7.2 chi2", "7.2 JS", "7.2 NS"], scheme=["explicit"], power=[1.0], figure=[True]),
        *every(part=["solver"], beta=[0.5], scheme=["explicit"]),
    ],
    full=[
        *every(part=["hilbert"], seed=range(8), beta=[0.5, 2.0], dim=[1, 2, 3]),
        *every(part=["features"], seed=range(4), beta=[0.5, 2.0], dim=[1, 2, 3]),
        *every(part=["divergence"], loss=["kl", "reverse kl", "chi-squared", "js", "minimax", "non-saturating"], seed=range(5)),
        *every(part=["sums"], kind=["gaussian"], seed=range(5)),
        {"part": "sums", "kind": "histogram", "seed": 0},
        *every(part=["expansion"], s=[0.5, 1.3]),
        {"part": "flow", "label": "S12", "scheme": "jko", "power": 1.0},
        *every(
            part=["flow"],
            label=["7.2 chi2", "7.2 JS", "7.2 NS", "7.2 MMD", "D9"],
            scheme=["jko", "explicit"],
            power=[1.0],
            figure=[True],
        ),
        *every(part=["flow"], label=["7.2 chi2", "7.2 JS", "7.2 MMD"], scheme=["vim"], power=[2.0]),
        *every(part=["solver"], beta=[0.5, 2.0], scheme=["explicit", "jko"]),
    ],
    control=Control(
        "the critic sees two features of the kernel only; the generator descends another function than the critic's payoff",
        _limits_control,
        [{"claim": "few features"}, {"claim": "non-saturating"}],
    ),
)

ENTRIES = (LIMITS,)
