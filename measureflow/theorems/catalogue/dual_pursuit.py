"""Two laws that attract each other, or one that flees (theory, G21)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from measureflow import problems
from measureflow.games import Pursuit
from measureflow.metrics import distance
from measureflow.problems.base import named_scheme
from measureflow.solve import solve
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._dual import Pair, random_gaussian
from measureflow.theorems.check import Check, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import limit, order

PURSUIT = Panel("two laws that descend, or one that flees", "$t$", r"$W_2(\mu, \nu)$", "log y")


def _g21(kind: str, cooperative: bool, speeds: Sequence[float], claimed: float | None = None) -> Iterator[Check | Curve]:
    """Compare W2(mu, nu) with its exponential, and steps with their exact factors; `claimed` is another rate."""
    first, second = speeds
    rate = first + (second if cooperative else -second)
    laws, game = _laws(kind), Pursuit(cooperative)
    times = np.linspace(0.0, 0.8, 3)
    scheme = "rk4" if kind == "plane" else "vim symmetric"
    found, error = _met(game, laws, times, scheme, speeds)
    exact = np.exp(-(rate if claimed is None else claimed) * times)
    where = [f"{kind}, t = {t:g}" for t in times[1:]]
    what = "cooperative" if cooperative else "zero-sum"
    yield equal(f"W2(mu, nu) / first, {what}", found[1:] / found[0], exact[1:], tolerance=2e-3, error=error[1:], where=where)
    label = f"{what}, speeds ({first:g}, {second:g})"
    shown = claimed is None and kind == ("quantiles" if cooperative else "gaussian")
    if claimed == 2.0 or shown:
        yield Curve(PURSUIT, label, times, found / found[0], "measured" if shown else "control")
    if claimed is not None:
        return
    if shown:
        yield Curve(PURSUIT, "", times, exact, "predicted")
    yield from _pursuit_steps(kind, game, laws, speeds)
    if kind != "plane" and tuple(speeds) == (1.0, 1.0):
        yield from _pursuit_orbit(kind, cooperative)


def _laws(kind: str) -> Pair:
    if kind == "plane":
        rng = np.random.default_rng(5)
        return random_gaussian(rng, 2), random_gaussian(rng, 2)
    start = problems.get("G21", kind=kind, n=20).initial
    return start[0], start[1]


def _met(game: Pursuit, laws: Pair, times: np.ndarray, scheme: str, speeds: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return W2 of the two players at equidistant times in the limit tau -> 0, and its error."""
    rows: list[list[float]] = []
    for count in (2, 4, 8):
        tau = float(times[1] - times[0]) / count
        sol = solve(game, laws, float(times[-1]), tau, scheme=named_scheme(scheme), speeds=speeds, save_at=count)
        rows.append([distance(*state) for state in sol.states])
    return limit(rows, named_scheme(scheme).order)


def _pursuit_steps(kind: str, game: Pursuit, laws: Pair, speeds: Sequence[float]) -> Iterator[Check]:
    """Compare one step with its factor: a minimizing movement goes the share s/(1 + s) of the way, away by s/(1 - s)."""
    tau = 0.2
    a, b = (eta * tau for eta in speeds)
    back = b / (1.0 + b) if game.cooperative else -b / (1.0 - b)
    sign = 1.0 if game.cooperative else -1.0
    shares = {
        "simultaneous": 1.0 - a / (1.0 + a) - back,
        "explicit simultaneous": 1.0 - a - sign * b,
        "alternating": (1.0 - a / (1.0 + a)) * (1.0 - back),
        "implicit": 1.0 / (1.0 + a + sign * b),
    }
    for name, share in shares.items():
        if kind == "plane" and not game.cooperative:
            continue
        sol = solve(game, laws, tau, tau, scheme=named_scheme(name), speeds=speeds)
        factor = distance(*sol.states[-1]) / distance(*sol.states[0])
        near = {"tolerance": 1e-9 if name == "implicit" or kind == "plane" else 1e-12, "where": f"{kind}, {name}"}
        yield equal("W2(mu+, nu+) / W2(mu, nu) of a step", factor, share, error=1e-14, **near)
    if tuple(speeds) == (1.0, 1.0) and game.cooperative:
        drift = solve(game, laws, 1.0, tau).invariants(drift=True)["weighted centre"]
        yield at_most("drift of the midpoint", np.abs(drift), 0.0, tolerance=1e-9, error=1e-12, where=kind)


def _pursuit_orbit(kind: str, cooperative: bool) -> Iterator[Check]:
    """Compare whole laws with the exact flow, order 1 for minimizing movements."""
    problem = problems.get("G21", cooperative=cooperative, kind=kind, n=20)
    taus = 0.05 / 2.0 ** np.arange(3)
    found = order(taus, [problem.error(problem.solve(float(tau), t=0.5)) for tau in taus])
    # (1 - tau)/(1 + tau) is a Pade approximation of exp(-2 tau): partners of equal speed have an order more
    known = {"tolerance": 0.05, "error": found.error, "where": f"{kind}, {'cooperative' if cooperative else 'zero-sum'}"}
    yield equal("order of simultaneous steps, whole laws", found.value, 2.0 if cooperative else 1.0, **known)


TRANSLATING_PURSUIT = Theorem(
    name="translating-pursuit",
    label="G21",
    title="laws that attract meet like exp(-2t), a pursuit translates",
    statement=(
        "Two laws that both descend half their squared distance meet along their geodesic: the distance decays like exp(-2t) and "
        "the midpoint stays. If one ascends it, their distance stays and both translate for ever. With speeds the exponents "
        "are -(eta_1 + eta_2) and eta_2 - eta_1; steps of minimizing movements have exact factors."
    ),
    formula=(
        r"W_2(\mu_t, \nu_t) = e^{-(\eta_1 + \eta_2) t} W_2(\mu_0, \nu_0), \quad "
        r"X_t' = \eta_1 (Y_t - X_t), \; Y_t' = \mp \eta_2 (Y_t - X_t)"
    ),
    hypotheses=("both laws can be joined by a geodesic that goes on as far as they flee", "on the line: quantiles stay monotone"),
    source="theory, section 9.4, G21",
    problems=("G21",),
    test=_g21,
    quick=[
        {"kind": "quantiles", "cooperative": True, "speeds": [1.0, 1.0]},
        {"kind": "gaussian", "cooperative": False, "speeds": [1.0, 1.0]},
        {"kind": "quantiles", "cooperative": True, "speeds": [0.5, 1.5]},
        {"kind": "gaussian", "cooperative": False, "speeds": [1.5, 0.5]},
        {"kind": "plane", "cooperative": True, "speeds": [1.0, 1.0]},
    ],
    full=[
        *every(kind=["quantiles", "gaussian"], cooperative=[True, False], speeds=[[1.0, 1.0], [0.5, 1.5], [1.5, 0.5]]),
        *every(kind=["plane"], cooperative=[True], speeds=[[1.0, 1.0], [0.5, 1.5]]),
    ],
    control=Control(
        violates="the players cooperate: one of them flees; then: the rate is claimed 1 % too high",
        test=_g21,
        trials=[
            {"kind": "quantiles", "cooperative": False, "speeds": [1.0, 1.0], "claimed": 2.0},
            {"kind": "gaussian", "cooperative": True, "speeds": [1.0, 1.0], "claimed": 2.02},
        ],
    ),
)

ENTRIES = (TRANSLATING_PURSUIT,)
