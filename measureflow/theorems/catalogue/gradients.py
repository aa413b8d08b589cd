"""Values and gradients of all energies and games: Taylor remainders, and values against sums and integrals (theory, 1, 12.20)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from measureflow import energies as e
from measureflow import games as g
from measureflow.metrics import FisherRao, Wasserstein
from measureflow.states import Gaussian, Grid, Histogram, Particles, Quantiles, Vector
from measureflow.taylor import check_gradient
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue import _energies as cases
from measureflow.theorems.catalogue._battery import shares, spring, waves
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel

Found = Iterator[Check | Curve]

# gradients --------------------------------------------------------------------------------------------------------------------

REMAINDER = Panel("Taylor remainder", "$h$", "remainder / its first", "log")
KINKED = (
    "EnergyDistance",
    "Wasserstein1",
    "SlicedEnergyDistance",
    "SlicedWasserstein",
    "MMD: energy",
    "MMD: laplace",
    "hinge",
    "SquaredWasserstein",
)
"""Names of energies with kinks, where the remainder of small steps may vanish faster."""
DRAWN = ("KL, gaussian", "Interaction, atoms", "MMD: gaussian, plane atoms", "PowerEntropy, quantiles")


def _slope(name: str, energy: e.Energy, state: Any, seed: int) -> Found:
    seen = check_gradient(energy, state, seed)
    if name.startswith(KINKED):
        yield at_least("order of the Taylor remainder", seen.slope, 2.0, tolerance=0.1, where=name)
    else:
        yield equal("order of the Taylor remainder", seen.slope, 2.0, tolerance=0.1, where=name)
    if name in DRAWN and seed == 0:
        visible = seen.remainders > 1e-13
        yield Curve(REMAINDER, name, seen.steps[visible], seen.remainders[visible] / seen.remainders[0])


def _gradients(of: str, seed: int) -> Found:
    if of == "energies":
        for name, (energy, state) in cases.energies(seed).items():
            yield from _slope(name, energy, state, seed)
        steps = 2.0 ** -np.arange(4, 16)
        yield Curve(REMAINDER, "$h^2$", steps, (steps / steps[0]) ** 2, "predicted")
    elif of == "classes":
        missing = cases.uncovered()
        yield equal("classes without a case", len(missing), 0.0, tolerance=0.5, where=", ".join(missing))
    else:
        for name, (game, states) in (cases.games(seed) if of == "games" else cases.gans(seed)).items():
            for player in (0, 1):
                yield from _slope(f"{name}, player {player}", game.energy(player, states), states[player], seed)
                if game.zero_sum:
                    values = [game.energy(k, states).value(states[k]) for k in (0, 1)]
                    yield equal("sum of energies of a zero-sum game", sum(values), 0.0, tolerance=1e-11, where=name)


CHANGES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "half a percent": lambda gradient: 1.005 * gradient,
    "dE/dx_i for n dE/dx_i": lambda gradient: gradient / len(gradient),
    "factor 2": lambda gradient: 2.0 * gradient,
    "sign": lambda gradient: -gradient,
}
WRONG = ("Potential, atoms", "Interaction, plane equal", "Entropy, quantiles", "KL, gaussian", "MMD: gaussian, plane atoms")


def _changed(energy: e.Energy, change: str) -> Callable[[Any], np.ndarray]:
    return lambda x: CHANGES[change](energy.gradient(x))


def _wrong(change: str) -> Found:
    known = cases.energies(0)
    for name in WRONG:
        energy, state = known[name]
        changed = e.Function(energy.value, _changed(energy, change))
        seen = check_gradient(changed, state)
        yield equal("order of the Taylor remainder", seen.slope, 2.0, tolerance=0.1, where=name)
        if name == WRONG[-1]:
            yield Curve(REMAINDER, change, seen.steps, seen.remainders / seen.remainders[0], "control")


GRADIENTS = Theorem(
    name="gradients",
    label="1",
    title="gradients of all energies and games are those of their values",
    statement="For every energy, and every player of every game, the remainder of the first Taylor polynomial is of second "
    "order, in the inner product of the metric: the gradient at one of n equal atoms is n dE/dx_i, that on cells is the first "
    "variation. No class of the package is left out. The energies of zero-sum games cancel.",
    formula=r"E(x + h v) = E(x) + h \left\langle \mathrm{grad} E(x), v \right\rangle + O(h^2)",
    hypotheses=("the gradient is that of the value, in the convention of the table of section 1",),
    source="theory, sections 1, 12.20",
    problems=(),
    test=_gradients,
    quick=[{"of": "classes", "seed": 0}, *every(of=["energies", "games", "gans"], seed=[0])],
    full=[{"of": "classes", "seed": 0}, *every(of=["energies", "games", "gans"], seed=range(8))],
    control=Control("the gradient is another one, by a factor", _wrong, every(change=list(CHANGES))),
)

# conventions of values --------------------------------------------------------------------------------------------------------


def _norm(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(a[:, None] - b[None], axis=-1))


def _double(k: Callable[[np.ndarray, np.ndarray], np.ndarray], a: Particles, b: Particles) -> float:
    return float(a.weights @ k(a.points, b.points) @ b.weights)


def _on_atoms(seed: int, dim: int) -> Iterator[tuple[str, float, float]]:
    """Return (name, value, what it must be) of energies of atoms, from sums over all pairs."""
    rng = np.random.default_rng([seed, dim])
    mu, nu = (Particles(rng.normal(size=(n, dim)), shares(rng, n)) for n in (6, 4))
    z = mu.points[:, None] - mu.points[None]
    pairs = np.log1p(np.sum(z**2, axis=-1))
    yield "Interaction", spring().value(mu), 0.5 * float(mu.weights @ pairs @ mu.weights)
    off = 1.0 - np.eye(6)
    far = e.Interaction(lambda d: -np.log(np.sum(d**2, -1)), lambda d: -2.0 * d / np.sum(d**2, -1)[..., None], True)
    yield (
        "Interaction, singular",
        far.value(mu),
        0.5 * float(mu.weights @ (-off * np.log(np.sum(z**2, -1) + np.eye(6))) @ mu.weights),
    )
    spread = np.sum(z**2, axis=-1)
    yield "QuadraticInteraction", e.QuadraticInteraction(1.7).value(mu), 0.25 * 1.7 * float(mu.weights @ spread @ mu.weights)
    yield "Potential", waves().value(mu), float(mu.weights @ np.sum(0.5 * mu.points**2 + np.sin(mu.points), axis=1))
    yield (
        "Quadratic",
        e.Quadratic(3.0, centre=np.ones(dim)).value(mu),
        1.5 * float(mu.weights @ np.sum((mu.points - 1.0) ** 2, axis=1)),
    )
    cross, own, other = (_double(_norm, *pair) for pair in ((mu, nu), (mu, mu), (nu, nu)))
    yield "EnergyDistance", e.EnergyDistance(nu).value(mu), cross - 0.5 * own - 0.5 * other
    for name, k in (
        ("gaussian", lambda a, b: np.exp(-0.5 * _norm(a, b) ** 2 / 0.64)),
        ("laplace", lambda a, b: np.exp(-_norm(a, b) / 0.8)),
        ("energy", lambda a, b: -_norm(a, b)),
    ):
        square = _double(k, mu, mu) - 2.0 * _double(k, mu, nu) + _double(k, nu, nu)
        yield f"MMD, {name}", e.MMD(nu, name, 0.8).value(mu), 0.5 * square
        yield f"MMD root, {name}", e.MMD(nu, name, 0.8, squared=False).value(mu), float(np.sqrt(square))
    peak = (2.0 * np.pi * 0.49) ** (-0.5 * dim)
    smeared = peak * np.exp(-0.5 * spread / 0.49) @ mu.weights
    yield "BlobEntropy", e.BlobEntropy(0.7, 0.6).value(mu), 0.6 * float(mu.weights @ np.log(smeared))
    yield "BlobPowerEntropy", e.BlobPowerEntropy(3.0, 0.7).value(mu), 0.5 * float(mu.weights @ smeared**2)
    moved = Particles(mu.points + np.arange(1.0, dim + 1.0), mu.weights)
    square = float(np.sum(np.arange(1.0, dim + 1.0) ** 2))
    yield "SquaredWasserstein of a translate", e.SquaredWasserstein(moved).value(mu), 0.5 * square
    yield "Wasserstein1 of a translate", e.Wasserstein1(moved).value(mu), float(np.sqrt(square))
    yield "SlicedWasserstein of a translate", e.SlicedWasserstein(moved, 60).value(mu), 0.5 * square / dim
    yield "Sinkhorn divergence of a translate", e.SinkhornDivergence(moved, 0.7, tolerance=1e-12).value(mu), 0.5 * square


def _of_gaussians(seed: int) -> Iterator[tuple[str, float, float]]:
    """Return the same for energies of densities, from sums over 4001 points of the line, exact to rounding."""
    rng = np.random.default_rng([seed, 77])
    law, target = Gaussian(rng.normal(), 0.8 + rng.random()), Gaussian(0.3, 1.8 + 0.4 * rng.random())
    x = np.linspace(-16.0, 16.0, 4001)
    rho, pi = (np.exp(-0.5 * (x - z.mean[0]) ** 2 / z.cov[0, 0]) / np.sqrt(2.0 * np.pi * z.cov[0, 0]) for z in (law, target))
    logs = [-0.5 * (x - z.mean[0]) ** 2 / z.cov[0, 0] - 0.5 * np.log(2.0 * np.pi * z.cov[0, 0]) for z in (law, target)]
    h, ratio = x[1] - x[0], logs[0] - logs[1]

    def integral(values: np.ndarray) -> float:
        return float(h * values.sum())

    mixed = 0.5 * integral(rho * (np.log(2.0) - np.logaddexp(0.0, -ratio)) + pi * (np.log(2.0) - np.logaddexp(0.0, ratio)))
    yield "Entropy", e.Entropy(0.7).value(law), 0.7 * integral(rho * logs[0])
    for m in (2.0, 3.5, 0.6):
        yield f"PowerEntropy({m:g})", e.PowerEntropy(m).value(law), integral(np.exp(m * logs[0])) / (m - 1.0)
    yield "KL", e.KL(target).value(law), integral(rho * ratio)
    yield "ChiSquared", e.ChiSquared(target).value(law), 0.5 * integral((np.expm1(ratio)) ** 2 * pi)
    yield "JensenShannon", e.JensenShannon(target).value(law), mixed
    yield "NonSaturating", e.NonSaturating(target).value(law), integral(rho * ratio) - 2.0 * mixed
    gap, spreads = law.mean[0] - target.mean[0], np.sqrt([law.cov[0, 0], target.cov[0, 0]])
    square = float(gap**2 + (spreads[0] - spreads[1]) ** 2)
    yield "SquaredWasserstein", e.SquaredWasserstein(target).value(law), 0.5 * square
    yield "W2 of Gaussians", Wasserstein().distance(law, target) ** 2, square
    yield "Potential on a Gaussian", waves().value(law), integral(rho * (0.5 * x**2 + np.sin(x)))
    yield "QuadraticInteraction on a Gaussian", e.QuadraticInteraction(1.7).value(law), 0.85 * float(law.cov[0, 0])


def _on_cells(seed: int) -> Iterator[tuple[str, float, float]]:
    rng = np.random.default_rng([seed, 78])
    grid = Grid([(0.0, 1.0), (0.0, 2.0)], (4, 3))
    p, q = (Histogram(shares(rng, (4, 3)), grid) for _ in range(2))
    rho, ratio, volume = p.masses / grid.cell_volume, p.masses / q.masses, grid.cell_volume
    m = 0.5 * (p.masses + q.masses)
    js = 0.5 * float(np.sum(p.masses * np.log(p.masses / m) + q.masses * np.log(q.masses / m)))
    yield "Entropy on cells", e.Entropy(0.7).value(p), 0.7 * volume * float(np.sum(rho * np.log(rho)))
    yield "PowerEntropy on cells", e.PowerEntropy(3.0).value(p), 0.5 * volume * float(np.sum(rho**3))
    yield "KL on cells", e.KL(q).value(p), float(np.sum(p.masses * np.log(ratio)))
    yield "ChiSquared on cells", e.ChiSquared(q).value(p), 0.5 * float(np.sum(q.masses * (ratio - 1.0) ** 2))
    yield "JensenShannon on cells", e.JensenShannon(q).value(p), js
    yield "NonSaturating on cells", e.NonSaturating(q).value(p), float(np.sum(p.masses * np.log(ratio))) - 2.0 * js
    yield "CellPotential", e.CellPotential(ratio, 3.0).value(p), 3.0 + float(np.sum(p.masses * ratio))
    yield "Fisher-Rao distance", FisherRao().distance(p, q), 2.0 * float(np.arccos(np.sum(np.sqrt(p.masses * q.masses))))
    tops = (0.999 * rho.max(), 1.001 * rho.max())
    for k, cap in enumerate(tops):
        yield "Congestion, as exp(-E)", float(np.exp(-e.Congestion(cap).value(p))), float(k)
    yield "Box, as exp(-E)", float(np.exp(-e.Box(-1.0, 1.0).value(Vector([0.0, 1.2])))), 0.0
    yield "Obstacle, as exp(-E)", float(np.exp(-e.Obstacle(p.masses == p.masses.max()).value(p))), 0.0
    order = np.sort(rng.normal(size=(2, 9)), axis=1)
    a, b = Quantiles(order[0]), Quantiles(order[1])
    yield "SquaredWasserstein of quantiles", e.SquaredWasserstein(b).value(a), 0.5 * float(np.mean((order[0] - order[1]) ** 2))
    yield "Wasserstein1 of quantiles", e.Wasserstein1(b).value(a), float(np.mean(np.abs(order[0] - order[1])))


def _payoffs(seed: int) -> Iterator[tuple[str, float, float]]:
    """Return payoffs J = E_mu D - E_target D - penalties of GANs, with D(x) = c_1 x + c_2 x^2/2, and of the other games."""
    rng = np.random.default_rng([seed, 79])
    mu, nu = (Particles(rng.normal(size=(n, 1)), shares(rng, n)) for n in (5, 4))
    c = rng.normal(size=2)
    critic = g.FeatureCritic(lambda x: np.hstack([x, 0.5 * x**2]), lambda x: np.stack([np.ones_like(x), x], axis=1))
    d, slope = (lambda x: (c[0] * x + 0.5 * c[1] * x**2)[:, 0]), (lambda x: (c[0] + c[1] * x)[:, 0])
    a, b = d(mu.points), d(nu.points)
    flat = {"R1": float(nu.weights @ slope(nu.points) ** 2), "R2": float(mu.weights @ slope(mu.points) ** 2)}
    fees: dict[str, tuple[Any, float]] = {
        "no penalty": (None, 0.0),
        "Ridge": (g.Ridge(0.6), 0.3 * float(c @ c)),
        "R1": (g.R1(0.6), 0.3 * flat["R1"]),
        "R2": (g.R2(0.6), 0.3 * flat["R2"]),
        "GradientPenalty": (
            g.GradientPenalty(0.6, 0.5, where="target"),
            0.3 * float(nu.weights @ (np.abs(slope(nu.points)) - 0.5) ** 2),
        ),
    }
    for name, (penalty, fee) in fees.items():
        game = g.GAN(nu, critic=critic, penalty=penalty)
        value = -game.energy(1, (mu, Vector(c))).value(Vector(c))
        yield f"GAN, {name}", value, float(mu.weights @ a - nu.weights @ b) - fee
    log = lambda t: -np.logaddexp(0.0, -t)  # noqa: E731
    gain = float(mu.weights @ log(a) + nu.weights @ log(-b))
    for loss, sign in (("minimax", log(a)), ("non-saturating", -log(-a))):
        game = g.GAN(nu, loss, critic=critic)
        states = mu, Vector(c)
        yield f"GAN, {loss}, critic", -game.energy(1, states).value(states[1]), gain
        own = game.energy(0, states).value(mu) - game.energy(0, (nu, states[1])).value(nu)
        other = log(b) if loss == "minimax" else -log(-b)
        yield f"GAN, {loss}, generator", own, float(mu.weights @ sign - nu.weights @ other)
    x, y, C = rng.normal(size=2), rng.normal(size=3), rng.normal(size=(2, 3))
    yield "Bilinear", g.Bilinear(C).energy(0, (Vector(x), Vector(y))).value(Vector(x)), float(x @ C @ y)
    P, Q = 2.0 * np.eye(2), 3.0 * np.eye(3)
    both = Vector(x), Vector(y)
    payoff = float(x @ x + x @ C @ y - 1.5 * y @ y)
    yield "LinearQuadratic", g.LinearQuadratic(P, C, Q).energy(0, both).value(both[0]), payoff
    t = Vector(x[:1]), Vector(y[:1])
    f = float(log(x[0] * y[0]) + log(0.0))
    dirac = g.DiracGAN("gan").energy(0, t).value(t[0]) - g.DiracGAN("gan").energy(0, (Vector(0.0), t[1])).value(Vector(0.0))
    yield "DiracGAN", dirac, f - 2.0 * float(log(0.0))


def _values(part: str, seed: int, dim: int = 1) -> Found:
    tables: dict[str, Callable[[], Iterator[tuple[str, float, float]]]] = {
        "atoms": lambda: _on_atoms(seed, dim),
        "gaussians": lambda: _of_gaussians(seed),
        "cells": lambda: _on_cells(seed),
        "payoffs": lambda: _payoffs(seed),
    }
    seen = list(tables[part]())
    for name, value, known in seen:
        # quadratures and Sinkhorn iterations are good to 1e-7
        rough = name.startswith(("JensenShannon", "NonSaturating", "Sinkhorn", "Sliced", "Blob", "Potential on"))
        tolerance = 1e-6 if rough else 1e-11
        yield equal("value", value, known, tolerance=tolerance, error=0.2 * tolerance, where=f"{name}, seed = {seed}")
    if seed == 0 and dim == 1:
        yield Curve(VALUES, part, [entry[2] for entry in seen], [entry[1] for entry in seen])


VALUES = Panel("values of energies", "sum or integral", "value of the package")


def _other_factor(factor: float) -> Found:
    """Half a double sum taken for the whole one, and the like: values by another factor."""
    for part in (_on_atoms(0, 1), _of_gaussians(0)):
        for name, value, known in part:
            yield at_most("difference of values", abs(factor * value - known), 1e-6, where=name)


CONVENTIONS = Theorem(
    name="conventions",
    label="12.20",
    title="factors of energies and distances",
    statement="Values are those of their definitions, factors included: half a double sum for interactions, half the square of "
    "MMD and of W2, E|X-Y| - E|X-X'|/2 - E|Y-Y'|/2, 1/(m-1) of power entropies, beta/2 and gamma/2 of penalties, payoffs "
    "E_mu D - E_nu D less penalties; the Fisher-Rao distance is that of a sphere of radius 2.",
    formula=r"E = \frac{1}{2} \int\int W d\mu d\mu, \quad \frac{1}{2} \mathrm{MMD}^2, \quad \frac{1}{2} W_2^2, \quad "
    r"\int \frac{\rho^m}{m - 1}, \quad d_{FR} = 2 \arccos \int \sqrt{\mu \nu}",
    hypotheses=("factors as in the table of section 1",),
    source="theory, sections 1, 7, 9.2, 12.20",
    problems=(),
    test=_values,
    quick=[*every(part=["atoms"], seed=[0], dim=[1, 2]), *every(part=["gaussians", "cells", "payoffs"], seed=[0])],
    full=[*every(part=["atoms"], seed=range(20), dim=[1, 2, 3]), *every(part=["gaussians", "cells", "payoffs"], seed=range(20))],
    control=Control("the energy has another factor", _other_factor, every(factor=[0.5, 2.0, 1.001])),
)

ENTRIES = (GRADIENTS, CONVENTIONS)
