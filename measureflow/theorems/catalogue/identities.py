"""Equal atoms and steps without an energy (theory, 12.1, 12.17, 13.11, 13.12)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from measureflow import energies as e
from measureflow import games as g
from measureflow.metrics import distance
from measureflow.problems.repulsion import kept_as_atoms
from measureflow.solve import solve
from measureflow.states import Field, Grid, Histogram, Particles, State, Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._battery import METRICS, SCHEMES, apart, shares, spring, state, waves
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel

Found = Iterator[Check | Curve]

# equal atoms --------------------------------------------------------------------------------------------------------------

NUDGE = 1e-5
"""Step of central differences; their error is below 1e-9 for the energies here."""


def _functionals(dim: int, rng: np.random.Generator) -> dict[str, e.Energy]:
    target = Particles(rng.normal(size=(3, dim)), shares(rng, 3))
    return {
        "potential": waves(0.3),
        "quadratic": e.Quadratic(2.0, centre=rng.normal(size=dim)) + 0.5 * e.QuadraticInteraction(-1.0),
        "interaction": spring(1.5),
        "discrepancy": e.MMD(target, "gaussian", 0.8) + spring(0.3),
        "blobs": e.BlobEntropy(0.7, 0.4) + e.Quadratic(),
        "transport": e.SquaredWasserstein(Particles(3.0 + rng.normal(size=(4, dim)), None)) + waves(),
    }


def _euclidean_residual(functional: e.Energy, x: Particles, u: Particles, tau: float) -> float:
    """Return the largest entry of u - x + n tau dE/du, with E as a plain function on R^(nd) and central differences."""
    pull = np.empty(u.points.shape)
    for k in np.ndindex(*u.points.shape):
        ends = []
        for side in (NUDGE, -NUDGE):
            moved = u.points.copy()
            moved[k] += side
            ends.append(functional.value(Particles(moved)))
        pull[k] = (ends[0] - ends[1]) / (2.0 * NUDGE)
    return float(np.max(np.abs(u.points - x.points + tau * len(x.points) * pull)))


def _matched(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return (1/n) sum |x_i - u_s(i)|^2 for all permutations s, the identity first."""
    orders = np.array(list(itertools.permutations(range(len(x)))))
    return np.asarray(np.mean(np.sum((x[None] - u[orders]) ** 2, axis=-1), axis=1))


def _permutations(n: int, dim: int, energy: str, seed: int, tau: float) -> Found:
    rng = np.random.default_rng([n, dim, seed])
    x = Particles(rng.normal(size=(n, dim)))
    functional = _functionals(dim, rng)[energy]
    sol = solve(functional, x, tau, tau)
    u, noise = sol.states[-1], 10.0 * float(sol.info["residual"][-1]) + 1e-12
    where = f"{energy}, n = {n}, d = {dim}, seed = {seed}"
    costs = _matched(x.points, u.points)
    yield equal("best matching of old and new atoms", costs[0], costs.min(), tolerance=1e-11, where=where)
    yield equal("exact W2^2 of the step", distance(x, u) ** 2, costs[0], tolerance=1e-10, error=1e-12, where=where)
    yield equal("step length that the solution tells", sol.info["distance"][-1] ** 2, costs[0], tolerance=1e-10, where=where)
    residual = _euclidean_residual(functional, x, u, tau)
    yield equal("condition of the Euclidean step", residual, 0.0, tolerance=1e-7, error=1e-9 + noise, where=where)
    reached = functional.value(u) + distance(x, u) ** 2 / (2.0 * tau)
    others = [u.points[rng.permutation(n)] + s * rng.normal(size=(n, dim)) for s in np.geomspace(1e-3, 2.0, 25)]
    found = [functional.value(Particles(v)) + distance(x, Particles(v)) ** 2 / (2.0 * tau) for v in others]
    yield at_least("E + W2^2/(2 tau) of other laws", found, reached, tolerance=1e-9, error=1e-11, where=where)
    order = rng.permutation(n)
    again = solve(functional, Particles(x.points[order]), tau, tau).states[-1]
    yield equal("step of renumbered atoms", again.points, u.points[order], tolerance=1e-7, error=noise, where=where)


def _transport_step(weights: list[float], seed: int, tau: float) -> Found:
    """Step towards a law with the weights in other places: worth W2^2 / (2 (1 + tau)) if atoms need not split (S13)."""
    rng = np.random.default_rng(seed)
    n = len(weights)
    x = Particles(np.arange(n, dtype=float)[:, None] + 0.2 * rng.random((n, 1)), weights)
    goal = Particles(x.points + 0.1 * rng.random((n, 1)), weights[::-1])
    functional = e.SquaredWasserstein(goal)
    sol = solve(functional, x, tau, tau)
    value = sol.energies[-1] + sol.info["distance"][-1] ** 2 / (2.0 * tau)
    best = distance(x, goal) ** 2 / (2.0 * (1.0 + tau))
    yield equal("value of the step", value, best, tolerance=1e-9, error=1e-12, where=f"weights {weights}, seed = {seed}")
    role = "measured" if np.ptp(weights) == 0.0 else "control"
    label = f"{'equal' if role == 'measured' else 'unequal'} weights"
    yield Curve(VALUES, label, [seed], [value / best], role)


SPLITTING = Panel("atoms kept as atoms under repulsion (S7)", "$n$", "$W_2$ to the law", "log")
VALUES = Panel("least value among kept atoms / among laws", "seed", "ratio")


def _splitting(sizes: list[int], t: float) -> Found:
    """Atoms that stay atoms, by solving, against the law to which they should spread."""
    gaps = []
    repel = e.Interaction(lambda z: -np.abs(z).sum(axis=-1), lambda z: -np.sign(z), singular=True, convexity=0.0)
    for n in sizes:
        start = np.linspace(-1.0, 1.0, n)
        atoms = solve(repel, Particles(start[:, None]), t, 0.5 * t, save_at=10**6).states[-1]
        known, law = kept_as_atoms(start, t)
        yield equal("atoms kept as atoms", atoms.points, known.points, tolerance=1e-9, where=f"n = {n}")
        gaps.append(distance(atoms, law))
    exact = t / (np.sqrt(3.0) * np.asarray(sizes, dtype=float))
    # the law has 501 levels an atom, which takes 1/501^2 off the square
    yield equal("error t / (sqrt(3) n) of kept atoms", gaps / exact, 1.0, tolerance=1e-5, error=2.1e-6, where=f"t = {t}")
    yield Curve(SPLITTING, f"computed, t = {t:g}", sizes, gaps)
    yield Curve(SPLITTING, r"$t/(\sqrt{3}\,n)$", sizes, exact, "predicted")


def _equal_atoms(part: str, **arguments: Any) -> Found:
    parts: dict[str, Callable[..., Found]] = {
        "permutations": _permutations,
        "transport": _transport_step,
        "splitting": _splitting,
    }
    yield from parts[part](**arguments)


ENERGIES = ("potential", "quadratic", "interaction", "discrepancy", "blobs", "transport")

EQUAL_ATOMS = Theorem(
    name="equal-atoms",
    label="12.1",
    title="a step of equal atoms is a Euclidean step in n d dimensions",
    statement="The minimizing movement of n equal atoms, among laws of n equal atoms, is the proximal point of E as a function "
    "of all coordinates, for the metric (1/n) sum |dx_i|^2: the labels of the atoms are an optimal plan, whatever E and tau are. "
    "Atoms that want to split cannot: under repulsion on the line they miss the law by t/(sqrt(3) n).",
    formula=r"\min_{u, \sigma} E(u) + \frac{1}{2 \tau n} \sum_{i=1}^n |x_i - u_{\sigma(i)}|^2 = "
    r"\min_{u} E(u) + \frac{1}{2 \tau n} \sum_{i=1}^n |x_i - u_i|^2",
    hypotheses=("all atoms have the weight 1/n", "E is a function of the law, not of labels"),
    source="theory, section 12.1, 12.8, 13 (12), S7, S13",
    problems=("S7",),
    test=_equal_atoms,
    quick=[
        *every(part=["permutations"], n=[2, 4], dim=[1, 2], energy=ENERGIES, seed=[0], tau=[0.3]),
        *every(part=["transport"], weights=[[0.5, 0.5], [0.2] * 5], seed=[0, 1], tau=[0.7]),
        {"part": "splitting", "sizes": [2, 3, 5, 8], "t": 0.5},
    ],
    full=[
        *every(part=["permutations"], n=[2, 3, 4, 5, 6], dim=[1, 2, 3], energy=ENERGIES, seed=[0, 1], tau=[0.3]),
        *every(part=["permutations"], n=[4], dim=[2], energy=ENERGIES, seed=range(2, 8), tau=[0.05, 0.6]),
        *every(part=["transport"], weights=[[1.0 / n] * n for n in (2, 3, 5, 8)], seed=range(10), tau=[0.7]),
        *({"part": "splitting", "sizes": [2, 3, 5, 8, 13, 21], "t": t} for t in (0.5, 2.0)),
    ],
    control=Control(
        "the atoms have the weights .3 and .7: to exchange them costs .4, not 1, and no atom may split",
        _transport_step,
        every(weights=[[0.3, 0.7]], seed=[0, 1, 2], tau=[0.7]),
    ),
)

# no energy, no motion -------------------------------------------------------------------------------------------------------

ON_ATOMS = tuple(name for name in SCHEMES if name not in ("linearised", "mirror", "implicit mirror"))
ON_LAWS = tuple(name for name in ON_ATOMS if not name.startswith("splitting"))
ON_CELLS = tuple(name for name in ON_LAWS if name != "langevin")
PLACES: dict[tuple[str, str], tuple[str, ...]] = {
    ("vector", "Euclid"): ON_LAWS,
    ("field", "Euclid"): ON_LAWS,
    ("field", "H1"): ON_LAWS,
    ("field", "H-1"): ON_LAWS,
    **{(kind, "W2"): ON_LAWS for kind in ("particles", "weighted", "quantiles", "gaussian")},
    **{(kind, "FR"): ON_ATOMS for kind in ("particles", "weighted")},
    **{(kind, "WFR"): ON_ATOMS for kind in ("particles", "weighted")},
    **{(kind, "W2"): (*ON_CELLS, "linearised") for kind in ("cells", "plane cells")},
    **{(kind, "FR"): (*ON_LAWS, "mirror", "implicit mirror") for kind in ("cells", "plane cells")},
    **{(kind, "WFR"): ("splitting", "splitting, unsymmetric") for kind in ("cells", "plane cells")},
}
"""Which schemes take a kind of states in a metric."""


def nothings(x: State) -> dict[str, e.Energy]:
    """Return energies that vanish, or are constant, on a state."""
    zeros = np.zeros(x.coordinates.shape)
    if isinstance(x, Field):
        return {"function 0": e.Function(lambda field: 0.0, lambda field: zeros)}
    none: dict[str, e.Energy] = {"0 E": 0.0 * e.Quadratic()}
    if not isinstance(x, Vector):
        none["interaction 0"] = e.Interaction(lambda z: 0.0 * z[..., 0], lambda z: 0.0 * z)
    none["potential 3"] = e.Potential(lambda z: 3.0 + 0.0 * z[..., 0], lambda z: 0.0 * z)
    if isinstance(x, Histogram):
        none["cell potential 3"] = e.CellPotential(np.full(x.masses.shape, 3.0))
        none["0 Entropy"] = 0.0 * e.Entropy()
    return none


def _zero_energy(kind: str, metric: str, seed: int) -> Found:
    x = state(kind, seed)
    for scheme in PLACES[kind, metric]:
        for name, nothing in nothings(x).items():
            sol = solve(nothing, x, 0.7, 0.3, scheme=SCHEMES[scheme], metric=METRICS[metric], speeds=1.7)
            where = f"{name}, {kind}, {metric}, {scheme}, seed = {seed}"
            yield at_most("motion without an energy", apart(sol.states[-1], x), 1e-9, where=where)
            yield at_most("length without an energy", sol.info["distance"], 1e-10, where=where)


def _faint(kind: str, seed: int, strength: float) -> Found:
    """Let the solvers run: a faint energy moves the law by at most sqrt(2 tau (E(x) - E(u)))."""
    x, tau = state(kind, seed), 0.5
    functional = strength * (
        e.Entropy() + e.Quadratic() if kind in ("cells", "plane cells", "quantiles", "gaussian") else waves()
    )
    sol = solve(functional, x, tau, tau)
    moved, gain = apart(sol.states[-1], x), float(-np.diff(sol.energies)[0])
    where = f"{kind}, seed = {seed}, strength = {strength:g}"
    bound = float(np.sqrt(2.0 * tau * max(gain, 0.0)))
    yield at_most("length of a faint step", sol.info["distance"][-1], bound, tolerance=1e-7, error=1e-9, where=where)
    yield at_most("motion of a faint step", moved, 100.0 * strength, tolerance=1e-9, where=where)


def _games(seed: int) -> Found:
    start = tuple(state(kind, seed) for kind in ("particles", "gaussian", "vector"))
    none = e.Function(lambda own: 0.0, lambda own: np.zeros(own.coordinates.shape))
    for coupling in ("simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic", "adjoint"):
        for scheme in (SCHEMES["jko"], SCHEMES["vim"], SCHEMES["explicit"]):
            if coupling not in type(scheme).couplings:
                continue
            sol = solve(g.Game([none, none, none]), start, 0.7, 0.3, scheme=type(scheme)(coupling), speeds=(1.0, 2.0, 0.5))
            where = f"{type(scheme).__name__}, {coupling}"
            yield at_most("motion without a payoff", apart(sol.states[-1], start), 1e-10, where=where)


def _no_motion(part: str, **arguments: Any) -> Found:
    parts: dict[str, Callable[..., Found]] = {"zero": _zero_energy, "faint": _faint, "games": _games}
    yield from parts[part](**arguments)


EPSILONS = [0.01, 0.003]
BLUR = Panel("variance gained by steps without an energy", "step", "variance gained")


def _entropic(epsilon: float, steps: int) -> Found:
    """Take steps with an entropic cost in the place of W2^2/2, by POT: each adds epsilon to the variance."""
    import ot

    grid = Grid([(-2.0, 2.0)], 81)
    law = Histogram.from_density(lambda x: np.exp(-8.0 * x[..., 0] ** 2), grid)
    axis = grid.points[:, 0]
    cost = 0.5 * (axis[:, None] - axis[None, :]) ** 2
    masses, gained = law.masses, [0.0]
    for _ in range(steps):
        masses = ot.bregman.barycenter(masses[:, None], cost, epsilon, weights=np.ones(1), numItermax=1, warn=False)
        masses = masses / masses.sum()
        gained.append(float(masses @ axis**2 - (masses @ axis) ** 2 - law.covariance()[0, 0]))
    sol = solve(0.0 * e.Entropy(), law, float(steps), 1.0)
    exact = [float(x.covariance()[0, 0] - law.covariance()[0, 0]) for x in sol.states]
    yield at_most("variance gained", np.abs(gained), 1e-10, where=f"epsilon = {epsilon:g}")
    if epsilon == EPSILONS[0]:
        yield Curve(BLUR, "exact steps", sol.t, exact)
    yield Curve(BLUR, rf"entropic steps, $\varepsilon = {epsilon:g}$", sol.t, gained, "control")
    yield Curve(BLUR, r"$n \varepsilon$", sol.t, epsilon * sol.t, "predicted")


MOVED = ("vector", "particles", "weighted", "quantiles", "gaussian", "cells", "plane cells")

ZERO_ENERGY = Theorem(
    name="zero-energy",
    label="13.11",
    title="without an energy nothing moves",
    statement="With E = 0, or any constant, a step of every scheme, on every kind of state and in every metric, is the identity, "
    "and a faint energy moves the state faintly: inner solvers add no blur of their own.",
    formula=r"E = \mathrm{const} \quad \Rightarrow \quad x_+ = x",
    hypotheses=("the distance of the step is that of the space, without an entropy of the plan",),
    source="theory, section 12.17, 13 (11)",
    problems=(),
    test=_no_motion,
    quick=[
        *({"part": "zero", "kind": kind, "metric": metric, "seed": 0} for kind, metric in PLACES if kind != "particles"),
        *every(part=["faint"], kind=MOVED, seed=[0], strength=[1e-6]),
        {"part": "games", "seed": 0},
    ],
    full=[
        *({"part": "zero", "kind": kind, "metric": metric, "seed": s} for s in range(2) for kind, metric in PLACES),
        *every(part=["faint"], kind=MOVED, seed=range(4), strength=[1e-4, 1e-6, 1e-8]),
        *every(part=["games"], seed=range(4)),
    ],
    control=Control("the cost has an entropy of weight epsilon (POT's Sinkhorn)", _entropic, every(epsilon=EPSILONS, steps=[6])),
)

ENTRIES = (EQUAL_ATOMS, ZERO_ENERGY)
