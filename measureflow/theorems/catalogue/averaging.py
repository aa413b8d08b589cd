"""Averages over time: what a rotating generator matches (theory, 5.2 D10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.games import GAN, FeatureCritic, Game, Ridge
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Gaussian, Particles, atoms
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]


def _features(game: GAN, law: Any) -> np.ndarray:
    """Return Phi(mu), the means of the critic's features."""
    assert isinstance(game.critic, FeatureCritic)
    points, weights = _points(law)
    return np.asarray(weights @ game.critic.features(points))


def _points(law: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(law, Gaussian):
        return atoms(law)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)  # on the line
    return law.mean + np.sqrt(law.cov[0, 0]) * nodes[:, None], weights / weights.sum()


def _telescoping(game: GAN, sol: Solution, eta: float, beta: float, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides of sum tau_n (Phi(mu_seen) - Phi(nu) - beta w_seen) = (w_T - w_0)/eta, one row a step."""
    w = np.array([states[1].values for states in sol.states])
    phi = np.array([_features(game, states[0]) for states in sol.states]) - _features(game, game.target)
    seen = phi[1:] if "alternating" in scheme or scheme == "implicit" else phi[:-1]
    ridge = w[:-1] if "explicit" in scheme else w[1:]
    steps = np.diff(sol.t)[:, None]
    return np.cumsum(steps * (seen - beta * ridge), axis=0), (w[1:] - w[0]) / eta


def _case(label: str, eta: float, beta: float) -> problems.Problem:
    if label == "G12":
        p = problems.get("G12", target=Gaussian(0.4, 1.69), law=Gaussian(-0.2, 0.5), beta=beta)
        return replace(p, speeds=(1.0, eta))
    return problems.get(label, eta=eta, beta=beta, **({"n": 12} if label == "M2" else {}))


def _exact(label: str, scheme: str, eta: float, beta: float, tau: float, t: float = 2.0, figure: bool = False) -> Found:
    """Check the identity of a solver's steps, also of steps of unequal size, to roundoff."""
    p = _case(label, eta, beta)
    assert isinstance(p.problem, GAN)
    sol = p.solve(tau, scheme, t=t)
    left, right = _telescoping(p.problem, sol, eta, beta, scheme)
    error = np.abs(left - right).max(axis=1) / max(1.0, float(np.abs(right).max()))
    where = f"{label}, {scheme}, eta = {eta:g}, beta = {beta:g}"
    allowed = 1e-9 if scheme == "implicit" else 1e-12
    yield at_most("telescoping sum, left less right", error, allowed, where=lambda k: f"{where}, t = {sol.t[k + 1]:g}")
    yield at_least("what the critic moves", np.abs(right).max(), 0.01, where=where)


def _generators(kind: str, eta: float, beta: float, scheme: str) -> Found:
    """Check it for a generator that follows a law of its own, whatever the critic does."""
    p = problems.get("G17", eta=eta, beta=beta)
    gan = p.problem
    assert isinstance(gan, GAN)

    def wilful(law: Particles, others: Any) -> tuple[float, np.ndarray]:
        x = law.points
        pull = np.sin(3.0 * x) + others[0].values[0] ** 2 if kind == "wilful" else 0.0 * x
        return 0.0, pull

    game = Game([wilful, lambda w, others: gan.energy(1, (others[0], w)).value_and_gradient(w)])
    start = Particles([[0.9], [-0.3], [0.2]]), p.initial[1]
    sol = solve(game, start, 2.05, 0.1, scheme=problems.SCHEMES[scheme], speeds=(1.0, eta))
    left, right = _telescoping(gan, sol, eta, beta, scheme)
    yield at_most("telescoping sum, another generator", np.abs(left - right).max(), 1e-12, where=f"{kind}, {scheme}")


def _of_first_order(label: str, scheme: str, power: float, eta: float, beta: float, figure: bool = False) -> Found:
    """Check that means over time by the trapezoidal rule satisfy the identity up to the order of the scheme."""
    p = _case(label, eta, beta)
    assert isinstance(p.problem, GAN)
    gan, t = p.problem, 2.0
    taus = t / np.array([40, 80, 160])
    errors = []
    for tau in taus:
        sol = p.solve(tau, scheme, t=t)
        found = sol.averages({"phi": lambda states: _features(gan, states[0])})
        mean = found.running["phi"][-1] - _features(gan, gan.target)
        w = found.instantaneous["player1_values"]
        right = (w[-1] - w[0]) / (eta * t) + beta * found.running["player1_values"][-1]
        errors.append(float(np.linalg.norm(mean - right)))
    value, error = order(taus, errors)
    where = f"{label}, {scheme}"
    yield equal("order of the identity of means", value, power, tolerance=0.05 * power, error=error, where=where)
    if figure:
        panel = Panel("the identity of trapezoidal means", r"$\tau$", "left less right", "log")
        yield Curve(panel, where, taus, errors)
        yield Curve(panel, f"{where}, predicted", taus, errors[-1] * (taus / taus[-1]) ** power, "predicted")


def _matching(t: float, tau: float, start: list[float], figure: bool = False) -> Found:
    """Check that without a ridge a hopping generator matches the target's features on average, never at any time."""
    p = problems.get("G17", start=tuple(start))
    assert isinstance(p.problem, GAN)
    gan = p.problem
    sol = p.solve(tau, "explicit alternating", t=t)
    found = sol.averages({"phi": lambda states: _features(gan, states[0])})
    goal, w = _features(gan, gan.target), found.instantaneous["player1_values"]
    late = sol.t >= 0.25 * t
    off = np.linalg.norm(found.running["phi"] - goal, axis=1)
    radius = float(np.linalg.norm(w - w[0], axis=1).max())
    bound = (radius + tau * np.abs(found.instantaneous["phi"] - goal).max() * 2.0) / sol.t[late]
    yield at_most("distance of averaged features", off[late], bound, where=lambda k: f"t = {sol.t[late][k]:g}")
    now = np.linalg.norm(found.instantaneous["phi"] - goal, axis=1)
    yield at_least("distance of the features at every time", now[late], 0.5 * np.sqrt(3.0), tolerance=1e-6)
    averages = [p.constants["average of theta"], p.constants["average of theta^2"] - 1.0]
    yield equal("goal", goal, averages, tolerance=1e-12)
    if figure:
        panel = Panel("one atom between two modes", "time $t$", "distance of features to the target's", "log y")
        yield Curve(panel, "at every time", sol.t[late], now[late])
        yield Curve(panel, "averaged over time", sol.t[late], off[late])
        yield Curve(panel, r"bound $|w|_\infty / (\eta t)$, predicted", sol.t[late], bound, "predicted")


PARTS: dict[str, Any] = {"exact": _exact, "generator": _generators, "order": _of_first_order, "matching": _matching}


def _averaging(part: str, **trial: Any) -> Found:
    yield from PARTS[part](**trial)


def _averaging_control(claim: str) -> Found:
    if claim == "loss":
        p = problems.get("G17", eta=1.0)
        assert isinstance(p.problem, GAN)
        game = GAN(p.problem.target, "minimax", critic=p.problem.critic, penalty=Ridge(0.0))
        sol = solve(game, p.initial, 2.0, 0.05, scheme=problems.SCHEMES["explicit simultaneous"])
        left, right = _telescoping(game, sol, 1.0, 0.0, "explicit simultaneous")
        yield at_most("telescoping sum, left less right", np.abs(left - right).max(), 1e-12, where="minimax loss")
        return
    p = problems.get("G17", eta=2.0, beta=0.9)
    assert isinstance(p.problem, GAN)
    gan = p.problem
    found = p.solve(0.05, "explicit alternating", t=40.0).averages({"phi": lambda states: _features(gan, states[0])})
    off = np.linalg.norm(found.running["phi"] - _features(gan, gan.target), axis=1)
    radius = float(np.linalg.norm(found.instantaneous["player1_values"], axis=1).max())
    yield at_most("distance of averaged features", off[-1], (radius + 0.1) / (2.0 * 40.0), where="beta = 0.9")
    panel = Panel("one atom between two modes", "time $t$", "distance of features to the target's", "log y")
    yield Curve(panel, "averaged, with a ridge", found.t[200::20], off[200::20], "control")


AVERAGING = Theorem(
    name="averaging-identity",
    label="D10",
    title="on average a rotating generator matches the critic's features",
    statement=(
        "If the critic is linear in features and ascends w' = eta (Phi(mu_t) - Phi(nu) - beta w), then for every motion of the "
        "generator the mean over time of Phi(mu_t) - Phi(nu) is (w_T - w_0)/(eta T) + beta mean(w). The critic's steps satisfy "
        "it exactly, as a telescoping sum. Without a ridge and with bounded w the averaged generator matches all features, even "
        "if every single law is collapsed."
    ),
    formula=r"\frac{1}{T} \int_0^T (\Phi(\mu_t) - \Phi(\nu)) dt = \frac{w_T - w_0}{\eta T} + \frac{\beta}{T} \int_0^T w_t dt",
    hypotheses=(
        "Wasserstein loss, critic linear in its features, ridge beta >= 0",
        "the critic takes explicit or proximal steps",
    ),
    source="theory, section 5.2, D10, and 9.4, G17",
    problems=("G17", "M2", "G12"),
    test=_averaging,
    quick=[
        {"part": "exact", "label": "G17", "scheme": "explicit simultaneous", "eta": 2.0, "beta": 0.3, "tau": 0.07},
        {"part": "exact", "label": "G17", "scheme": "alternating", "eta": 0.5, "beta": 0.3, "tau": 0.07},
        {"part": "exact", "label": "M2", "scheme": "explicit alternating", "eta": 1.5, "beta": 0.4, "tau": 0.07},
        {"part": "exact", "label": "G12", "scheme": "simultaneous", "eta": 3.0, "beta": 0.5, "tau": 0.07},
        {"part": "generator", "kind": "wilful", "eta": 2.0, "beta": 0.3, "scheme": "explicit simultaneous"},
        {
            "part": "order",
            "label": "G17",
            "scheme": "explicit simultaneous",
            "power": 1.0,
            "eta": 2.0,
            "beta": 0.3,
            "figure": True,
        },
        {"part": "order", "label": "G17", "scheme": "rk4", "power": 2.0, "eta": 2.0, "beta": 0.3, "figure": True},
        {"part": "matching", "t": 30.0, "tau": 0.05, "start": [0.9, 0.1, 0.0], "figure": True},
    ],
    full=[
        *every(
            part=["exact"],
            label=["G17", "M2", "G12"],
            scheme=["explicit simultaneous", "explicit alternating", "simultaneous", "alternating"],
            eta=[0.5, 3.0],
            beta=[0.0, 0.4],
            tau=[0.07],
        ),
        *every(
            part=["generator"],
            kind=["still", "wilful"],
            eta=[2.0],
            beta=[0.3],
            scheme=["explicit simultaneous", "explicit alternating"],
        ),
        *every(
            part=["order"],
            label=["G17", "M2"],
            scheme=["explicit simultaneous", "alternating"],
            power=[1.0],
            eta=[2.0],
            beta=[0.3],
            figure=[True],
        ),
        *every(part=["order"], label=["G17", "M2"], scheme=["rk4"], power=[2.0], eta=[2.0], beta=[0.3], figure=[True]),
        {"part": "matching", "t": 200.0, "tau": 0.05, "start": [0.9, 0.1, 0.0], "figure": True},
        {"part": "matching", "t": 100.0, "tau": 0.025, "start": [0.5, -0.5, 0.3]},
    ],
    control=Control(
        "the loss is not linear in the critic; a ridge is there, and averages are claimed to match all the same",
        _averaging_control,
        [{"claim": "loss"}, {"claim": "ridge"}],
    ),
)

ENTRIES = (AVERAGING,)
