"""Losses whose mini-batches are biased: only large batches find the target's scale (theory, section 9.5, N3 and N4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow import problems
from measureflow.energies import EnergyDistance
from measureflow.metrics import distance
from measureflow.problems.batches import order_statistics
from measureflow.states import Gaussian, Grid, Particles, Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._stochastic import ALL, Found, energy_of, exact
from measureflow.theorems.check import at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import Estimate, mean

SIZES = (2, 3, 4, 8, 16, 32, 64)


def _flow_end(p: problems.Problem, tau: float, t: float, target: float, **drawn: Any) -> Estimate:
    """Return the mean of g/target over the copies at the end of a solve."""
    values = p.solve(tau, "explicit", t=t, save_at=ALL, **drawn).states[-1].values / target
    return mean(values) if drawn else Estimate(float(values[0]), float(np.ptp(values)))


def _ends(label: str, n: int, tau: float, batch: int, seed: int, copies: int, extra: dict[str, Any]) -> Found:
    """Check where the mean of all batches, and where noisy steps, end."""
    target = 2.0
    p = problems.get(label, n=n, target=target, start=1.5, copies=copies, **extra)
    ratio, where = p.constants["g/target"], f"n = {n}, tau = {tau:g}"
    long = (2.0, 150.0) if label == "N3" else (0.5, 20.0)
    yield equal("g/target of the mean loss", _flow_end(p, *long, target).value, ratio, tolerance=1e-6, where=where)
    t = 20.0
    noisy, mean_end = _flow_end(p, tau, t, target, batch=batch, seed=seed), float(exact(p, t).values[0]) / target
    yield equal("g/target of batches", noisy.value, mean_end, tolerance=0.02, error=noisy.error, where=where)
    for key, entry in p.reference.items():
        yield equal(f"printed {key}", entry.value, entry.measure(None), tolerance=entry.tolerance, where=where)


def _curves(label: str, n: int, seed: int, extra: dict[str, Any], name: str) -> Found:
    """Yield the scale along a noisy flow, and the limit by n."""
    panel = Panel("the scale of the generator", "time $t$", r"$g / g_*$")
    p = problems.get(label, n=n, start=1.5, copies=30, **extra)
    sol = p.solve(0.4, "explicit", t=24.0, batch=4, seed=seed, save_at=2)
    yield Curve(panel, f"{name}, n = {n}", sol.t, [x.values.mean() for x in sol.states])
    yield Curve(panel, f"{name}, n = {n}, predicted", sol.t, [exact(p, float(t)).values[0] for t in sol.t], "predicted")
    limits = Panel("where it ends", "atoms in a batch $n$", r"$g / g_*$", "log x")
    constants = [problems.get(label, n=k, **extra).constants["g/target"] for k in SIZES]
    yield Curve(limits, f"{name}, predicted", SIZES, constants, "predicted")
    yield Curve(limits, name, n, np.mean([x.values.mean() for x in sol.states[-10:]]))


# N3 ----------------------------------------------------------------------------------------------------------------


def _fine_normal(deviation: float) -> Any:
    """Return N(0, deviation^2) on cells so small that its energy distance is exact to about 1e-6."""
    reach = 7.0 * deviation
    return Gaussian(0.0, deviation**2).to_histogram(Grid([(-reach, reach)], (2800,)))


def _mean_distance(n: int, scale: float, draws: int, seed: int) -> Found:
    """Check that the energy distance of n random atoms, as `energies` has it, has the mean that the problem states."""
    rng, target = np.random.default_rng(seed), 1.3
    energy = EnergyDistance(_fine_normal(target))
    found = mean([energy.value(Particles(scale * rng.normal(size=(n, 1)))) for _ in range(draws)])
    predicted = energy_of(problems.get("N3", n=n, target=target)).value(Vector(scale))
    where = f"n = {n}, g = {scale:g}"
    yield equal(
        "mean energy distance", found.value, predicted, tolerance=3.0 * found.error + 1e-5, error=found.error, where=where
    )


def _energy_distance(
    n: int, tau: float, batch: int, seed: int, copies: int = 60, unbiased: bool = False, figure: bool = False
) -> Found:
    extra = {"unbiased": unbiased}
    yield from _ends("N3", n, tau, batch, seed, copies, extra)
    if unbiased:
        limit = problems.get("N3", n=n, unbiased=True).constants["g/target"]
        yield equal("limit of the U-statistic", limit, 1.0, tolerance=1e-12, where=f"n = {n}")
    else:
        yield from _mean_distance(n, 0.7, 300, seed)
    if figure:
        yield from _curves("N3", n, seed, extra, "U-statistic" if unbiased else "V-statistic")


def _energy_distance_control(n: int, batch: int) -> Found:
    p = problems.get("N3", n=n, target=2.0, start=1.5, copies=40)
    found = _flow_end(p, 0.5, 30.0, 2.0, batch=batch, seed=4)
    yield equal("g/target of V-statistics", found.value, 1.0, tolerance=0.02, error=found.error, where=f"n = {n}")
    panel = Panel("where it ends", "atoms in a batch $n$", r"$g / g_*$", "log x")
    yield Curve(panel, "", n, found.value, "control")


# N4 ----------------------------------------------------------------------------------------------------------------


def _mean_transport(n: int, scale: float, draws: int, seed: int) -> Found:
    """Check that W2^2/2 between n and n random atoms has the mean that the problem states."""
    rng, target = np.random.default_rng(seed), 1.3
    laws = [[Particles(size * rng.normal(size=(n, 1))) for size in (scale, target)] for _ in range(draws)]
    found = mean([0.5 * distance(pair[0], pair[1]) ** 2 for pair in laws])
    predicted = energy_of(problems.get("N4", n=n, target=target)).value(Vector(scale))
    where = f"n = {n}, g = {scale:g}"
    yield equal("mean of W2^2/2", found.value, predicted, tolerance=3.0 * found.error, error=found.error, where=where)


def _transport(n: int, tau: float, batch: int, seed: int, copies: int = 60, figure: bool = False) -> Found:
    yield from _ends("N4", n, tau, batch, seed, copies, {})
    yield from _mean_transport(n, 0.7, 300, seed)
    rho = float(np.mean(np.square(order_statistics(n))))
    if n == 2:
        yield equal("rho_2", rho, 1.0 / np.pi, tolerance=1e-12)
    yield at_most("rho_n", rho, 1.0 - 1.0 / n, where=f"n = {n}")
    if figure:
        yield from _curves("N4", n, seed, {}, "transport")


def _transport_control(claim: str) -> Found:
    """Check the claims that small learning rates, or many small batches, find the scale of the target."""
    n, tau, batch = 4, (0.02 if claim == "small steps" else 0.1), (20 if claim == "small steps" else 400)
    p = problems.get("N4", n=n, start=1.0, copies=30)
    found = _flow_end(p, tau, 5.0, 1.0, batch=batch, seed=6)
    yield equal("g/target", found.value, 1.0, tolerance=0.05, error=found.error, where=claim)
    panel = Panel("where it ends", "atoms in a batch $n$", r"$g / g_*$", "log x")
    yield Curve(panel, claim, n, found.value, "control")


DISTANCE = Theorem(
    name="batched-energy-distance",
    label="N3",
    title="V-statistics shrink the generator, U-statistics do not",
    statement=(
        "The energy distance of batches of n generated points to a normal target, pairs of equal points counted, is least at a "
        "scale below the target's, for every step and number of batches. With pairs of different points only it is unbiased."
    ),
    formula=r"\frac{g}{g_*} = \left( \frac{(1 - 1/n)^2}{2 - (1 - 1/n)^2} \right)^{1/2}",
    hypotheses=("generator g Z and target N(0, g_*^2) on the line, the target's part exact", "pairs counted as in a V-statistic"),
    source="theory, section 9.5, N3",
    problems=("N3",),
    test=_energy_distance,
    quick=[
        {"n": 2, "tau": 0.2, "batch": 40, "seed": 0},
        {"n": 4, "tau": 0.2, "batch": 20, "seed": 1, "figure": True},
        {"n": 4, "tau": 0.2, "batch": 20, "seed": 2, "unbiased": True, "figure": True},
    ],
    full=[
        *every(n=[2, 4, 16], tau=[0.2, 0.05], batch=[20], seed=[0, 1], figure=[False]),
        *every(n=[2, 8, 16], tau=[0.1], batch=[20], seed=[2], figure=[True]),
        *every(n=[2, 4, 16], tau=[0.2], batch=[20], seed=[3], unbiased=[True]),
        {"n": 4, "tau": 0.1, "batch": 20, "seed": 4, "unbiased": True, "figure": True},
    ],
    control=Control(
        "pairs of equal points are counted, but the scale is claimed to be the target's (that of the U-statistic)",
        _energy_distance_control,
        [{"n": 4, "batch": 20}, {"n": 16, "batch": 40}],
    ),
)

TRANSPORT = Theorem(
    name="batched-transport",
    label="N4",
    title="mini-batch transport collapses the variance",
    statement=(
        "Training the scale of a normal generator on W2 between batches of n points, however small the steps and many the "
        "batches, ends at the share rho_n < 1 of the target's scale, rho_n the mean square of the expected order statistics: "
        "rho_1 = 0, rho_2 = 1/pi."
    ),
    formula=r"\frac{g}{g_*} = \rho_n = \frac{1}{n} \sum_{i=1}^n \left( E Z_{(i:n)} \right)^2",
    hypotheses=(
        "generator g Z and target N(0, g_*^2) on the line",
        "W2^2/2 between n generated points and n of the target, averaged",
    ),
    source="theory, section 9.5, N4",
    problems=("N4",),
    test=_transport,
    quick=[
        {"n": 2, "tau": 0.2, "batch": 100, "seed": 0},
        {"n": 5, "tau": 0.1, "batch": 10, "seed": 1, "figure": True},
    ],
    full=[
        *every(n=[2, 5, 16], tau=[0.2, 0.05], batch=[20], seed=[0, 1], copies=[200]),
        *every(n=[2, 8, 32], tau=[0.1], batch=[20], seed=[2], copies=[200], figure=[True]),
    ],
    control=Control(
        "batches stay small, but steps vanish, or batches are many: the scale is claimed to be the target's",
        _transport_control,
        [{"claim": "small steps"}, {"claim": "many batches"}],
    ),
)

ENTRIES = (DISTANCE, TRANSPORT)
