"""Mixed strategies and weights under Fisher-Rao: what is conserved and what decays (theory, 3.6 and 9.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.energies import Entropy
from measureflow.games import MatrixGame, Regularised
from measureflow.games.strategies import cross_entropy
from measureflow.metrics import FisherRao
from measureflow.problems.fisher_rao import ROCK_PAPER_SCISSORS
from measureflow.schemes import Mirror
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Grid, Histogram
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]
FR = FisherRao()


def _law(masses: Any) -> Histogram:
    values = np.asarray(masses, np.float64)
    return Histogram(values / values.sum(), Grid([(0.0, float(len(values)))], (len(values),)))


def _random_game(size: int, seed: int) -> tuple[np.ndarray, tuple[Histogram, Histogram], tuple[Histogram, Histogram]]:
    """Return a payoff matrix, its interior Nash point, and a start."""
    rng = np.random.default_rng(seed)
    nash = [rng.uniform(0.5, 1.5, size=size) for _ in range(2)]
    p, q = (w / w.sum() for w in nash)
    free = rng.normal(size=(size, size))
    # p @ A and A @ q are constant: what is left of a matrix without its parts along p and q, and a constant
    matrix = free - np.outer(np.ones(size), p @ free) - np.outer(free @ q, np.ones(size)) + (p @ free @ q) + 0.7
    starts = [_law(rng.uniform(0.2, 1.0, size=size)) for _ in range(2)]
    return matrix, (_law(p), _law(q)), (starts[0], starts[1])


def _weighted(nash: Any, states: Any, speeds: Any) -> float:
    """Return KL(p* | p)/eta_0 + KL(q* | q)/eta_1."""
    pairs = zip(nash, states, speeds, strict=True)
    return float(sum(cross_entropy(best.masses, law.masses) / eta for best, law, eta in pairs))


def _sums(nash: Any, sol: Solution, speeds: Any) -> np.ndarray:
    return np.array([_weighted(nash, states, speeds) for states in sol.states])


# conservation ------------------------------------------------------------------------------------------------------


def _conserved(size: int, seed: int, speeds: list[float], figure: bool = False) -> Found:
    """Check that the sum drifts with the order of the scheme, and is what the game declares."""
    matrix, nash, start = _random_game(size, seed)
    game, t = MatrixGame(matrix), 2.0
    where = f"{size} choices, seed {seed}, speeds {speeds}"
    for scheme, power, allowed in (("mirror", 1.0, 0.05), ("explicit", 1.0, 0.05), ("rk4", 4.0, 0.2)):
        taus = t / (np.array([40, 80, 160]) if power == 1.0 else np.array([10, 20, 40]))
        runs = [
            solve(game, start, t, tau, scheme=problems.SCHEMES[scheme], metric=FR, speeds=speeds, save_at=10**6) for tau in taus
        ]
        drift = [abs(float(np.ptp(_sums(nash, sol, speeds)))) for sol in runs]
        value, error = order(taus, drift)
        if power == 1.0:
            yield equal(f"order of the drift, {scheme}", value, power, tolerance=allowed, error=error, where=where)
        else:
            yield at_least(f"order of the drift, {scheme}", value, power, tolerance=allowed, error=error, where=where)
        declared = runs[-1].invariants()["KL to the mixed Nash point"]
        yield equal("the game's invariant", declared, _sums(nash, runs[-1], speeds), tolerance=1e-10, where=where)
    if figure:
        yield from _conserved_curves(game, nash, start, speeds)


def _conserved_curves(game: MatrixGame, nash: Any, start: Any, speeds: Any) -> Found:
    panel = Panel("divergence from the mixed Nash point", "time $t$", r"$KL(p_*|p) + KL(q_*|q)$")
    for scheme in ("mirror simultaneous", "mirror alternating"):
        sol = solve(game, start, 20.0, 0.2, scheme=problems.SCHEMES[scheme], metric=FR, speeds=speeds)
        yield Curve(panel, scheme, sol.t, _sums(nash, sol, speeds))
        if scheme.endswith("simultaneous"):
            growth = np.concatenate([[0.0], np.cumsum(_log_sums(game.A, sol, speeds))])
            yield Curve(panel, f"{scheme}, predicted", sol.t, _sums(nash, sol, speeds)[0] + growth, "predicted")
        else:
            yield Curve(panel, f"{scheme}, predicted", sol.t, np.full(len(sol), _sums(nash, sol, speeds)[0]), "predicted")


def _log_sums(matrix: np.ndarray, sol: Solution, speeds: Any) -> np.ndarray:
    """Return log Z_p/eta_0 + log Z_q/eta_1 of every step, payoffs less their mean."""
    found = []
    for (p, q), tau in zip(sol.states[:-1], np.diff(sol.t), strict=True):
        value = p.masses @ matrix @ q.masses
        z_p = np.sum(p.masses * np.exp(-tau * speeds[0] * (matrix @ q.masses - value)))
        z_q = np.sum(q.masses * np.exp(tau * speeds[1] * (p.masses @ matrix - value)))
        found.append(np.log(z_p) / speeds[0] + np.log(z_q) / speeds[1])
    return np.array(found)


def _growth(size: int, seed: int, speeds: list[float], tau: float) -> Found:
    """Check that simultaneous mirror steps, of unequal size too, raise the sum by exactly log Z_p + log Z_q >= 0."""
    matrix, nash, start = _random_game(size, seed)
    sol = solve(MatrixGame(matrix), start, 10.5 * tau, tau, scheme=Mirror(), metric=FR, speeds=speeds)
    gain, logs = np.diff(_sums(nash, sol, speeds)), _log_sums(matrix, sol, speeds)
    where = f"{size} choices, seed {seed}, speeds {speeds}, tau = {tau:g}"
    yield equal("gain of a step less log Z_p + log Z_q", gain - logs, 0.0, tolerance=1e-12, where=where)
    yield at_least("gain of a step", gain, 0.0, where=where)


def _long(scheme: str, tau: float, t: float) -> Found:
    """Check that alternating mirror steps circle for ever."""
    p = problems.get("G14")
    (total,) = p.invariants.values()
    values = np.array([total(states) for states in p.solve(tau, scheme, t=t).states])
    half = len(values) // 2
    size = np.ptp(values[:half])
    yield at_most("range in the second half of the time", np.ptp(values[half:]), 1.1 * size, where=scheme)
    yield at_most(
        "shift of the mean between the halves", abs(values[half:].mean() - values[:half].mean()), 0.1 * size, where=scheme
    )
    turning = problems.get("G14", first=np.full(3, 1.0 / 3.0), second=np.full(3, 1.0 / 3.0))
    frequency = turning.solve(0.1, "explicit", t=0.1).linearisation().frequency
    yield equal("frequency at the Nash point", frequency, turning.constants["frequency"], tolerance=1e-8)


def _other(label: str, parameters: dict[str, Any], orders: dict[str, float]) -> Found:
    """Check the sums of G13 and of the game on the circle."""
    p = problems.get(label, **parameters)
    (total,) = p.invariants.values()
    t = 2.0
    for scheme, power in orders.items():
        taus = t / (np.array([80, 160, 320]) if power == 1.0 else np.array([8, 16, 32]))
        drift = [abs(total(p.solve(tau, scheme, t=t, save_at=10**6).states[-1]) - total(p.initial)) for tau in taus]
        value, error = order(taus, drift)
        where = f"{label}, {scheme}"
        if power == 1.0:
            yield equal("order of the drift", value, 1.0, tolerance=0.05, error=error, where=where)
        else:
            yield at_least("order of the drift", value, power, tolerance=0.3, error=error, where=where)


# decay -------------------------------------------------------------------------------------------------------------


def _decay(T: float, start: list[float], speeds: list[float], figure: bool = False) -> Found:
    """Check e^(-Tt) along the flow, the exact rate -T (KL + KL reversed), and (1 + T tau)^-1 of implicit mirror steps."""
    game, laws = _with_entropy(T), (_law(start), _law(start[::-1]))
    nash = (_law(np.ones(3)), _law(np.ones(3)))
    t, slowest = 1.0, min(speeds)
    sol = solve(game, laws, t, 0.02, scheme=problems.SCHEMES["rk4"], metric=FR, speeds=speeds)
    sums = _sums(nash, sol, speeds)
    where = f"T = {T:g}, speeds {speeds}"
    bound = np.exp(-slowest * T * sol.t) * sums[0]
    yield at_most("KL sum of the flow", sums, bound, tolerance=1e-9, where=where)
    rates = T * _both_ways(nash, sol)
    rule = np.trapezoid(rates, sol.t)
    yield equal("loss of the KL sum less its integral", sums[0] - sums[-1], rule, tolerance=2e-3 * rule, where=where)
    tau = 0.2
    steps = solve(game, laws, t, tau, scheme=Mirror("implicit", implicit=True), metric=FR, speeds=speeds)
    found = _sums(nash, steps, speeds)
    yield at_most(
        "KL sum of a step, times 1 + T tau", found[1:] * (1.0 + slowest * T * tau), found[:-1], tolerance=1e-7, where=where
    )
    if figure:
        panel = Panel("with entropy of temperature T", "time $t$", "KL sum over its first value", "log y")
        yield Curve(panel, f"T = {T:g}", sol.t, sums / sums[0])
        yield Curve(panel, f"T = {T:g}, predicted bound", sol.t, bound / sums[0], "predicted")


def _with_entropy(T: float) -> Regularised:
    return Regularised(MatrixGame(ROCK_PAPER_SCISSORS), [Entropy(T), Entropy(T)])


def _both_ways(nash: Any, sol: Solution) -> np.ndarray:
    """Return KL(z* | z) + KL(z | z*) summed over the players, unweighted: the players' speeds cancel in the rate."""
    pairs = [list(zip(nash, states, strict=True)) for states in sol.states]
    return np.array([sum(cross_entropy(a.masses, b.masses) + cross_entropy(b.masses, a.masses) for a, b in row) for row in pairs])


def _sharp(share: float) -> Found:
    """Check that no rate above T is true: at laws that nearly lack two choices the sum falls like e^(-Tt)."""
    T, t = 1.0, 0.1
    sol, nash, speeds = _edge_flow(T, t)
    sums = _sums(nash, sol, speeds)
    rate = float(np.log(sums[0] / sums[-1])) / t
    yield at_least("rate at the edge", rate, T, tolerance=1e-9)
    yield at_most("rate at the edge", rate, (1.0 + share) * T)


def _edge_flow(T: float, t: float) -> tuple[Solution, Any, tuple[float, float]]:
    nash, speeds = (_law(np.ones(3)), _law(np.ones(3))), (1.0, 1.0)
    laws = _law([1.0, 1e-150, 1e-150]), _law([1.0, 1e-150, 1e-150])
    return solve(_with_entropy(T), laws, t, 1e-3, scheme=Mirror(), metric=FR, save_at=10), nash, speeds


PARTS: dict[str, Any] = {
    "conserved": _conserved,
    "growth": _growth,
    "long": _long,
    "other": _other,
    "decay": _decay,
    "sharp": _sharp,
}


def _divergences(part: str, **trial: Any) -> Found:
    yield from PARTS[part](**trial)


def _divergences_control(claim: str) -> Found:
    if claim == "rate":
        sol, nash, speeds = _edge_flow(1.0, 0.1)
        sums = _sums(nash, sol, speeds)
        yield at_most("KL sum of the flow", sums[1:], np.exp(-1.01 * sol.t[1:]) * sums[0], where="rate 1.01 T claimed")
        return
    matrix, nash, start = _random_game(3, 0)
    if claim == "no interior Nash point":
        matrix = matrix + np.array([[1.0], [0.0], [0.0]])
    sol = solve(MatrixGame(matrix), start, 2.0, 0.02, scheme=problems.SCHEMES["rk4"], metric=FR, speeds=(0.5, 2.0))
    weights = (1.0, 1.0) if claim == "speeds forgotten" else (0.5, 2.0)
    sums = _sums(nash, sol, weights)
    yield at_most("drift of the KL sum", np.abs(sums - sums[0]), 1e-4, where=claim)


DIVERGENCES = Theorem(
    name="kl-conservation",
    label="3.6",
    title="replicators keep their divergence from a mixed Nash point",
    statement=(
        "Fisher-Rao flows of a bilinear game with an interior Nash point conserve KL(p*|p)/eta_0 + KL(q*|q)/eta_1. Simultaneous "
        "mirror steps raise it by exactly log Z_p/eta_0 + log Z_q/eta_1 >= 0. With entropies of temperature T on both players it "
        "falls at the rate T times KL + KL reversed, so at least like e^(-Tt); no larger rate is true."
    ),
    formula=r"\frac{d}{dt} \left[ KL(p_*|p_t) + KL(q_*|q_t) \right] = 0, \quad \leq -T \left[ KL(p_*|p_t) + KL(q_*|q_t) \right]",
    hypotheses=("J = p.A q with a Nash point of full support", "Fisher-Rao metric", "temperature 0, or T > 0 for both players"),
    source="theory, section 3.6, and 9.4, G13 and G14; Lascu et al., arXiv 2402.08106",
    problems=("G14", "G13"),
    test=_divergences,
    quick=[
        {"part": "growth", "size": 3, "seed": 0, "speeds": [0.5, 2.0], "tau": 0.3},
        {"part": "conserved", "size": 3, "seed": 1, "speeds": [0.5, 2.0], "figure": True},
        {"part": "decay", "T": 0.5, "start": [0.6, 0.3, 0.1], "speeds": [1.0, 1.0], "figure": True},
        {"part": "sharp", "share": 0.01},
        {"part": "long", "scheme": "mirror alternating", "tau": 0.2, "t": 30.0},
        {"part": "other", "label": "G13", "parameters": {"eta": 3.0}, "orders": {"rk4": 4.0}},
    ],
    full=[
        *every(part=["growth"], size=[2, 3, 5], seed=range(4), speeds=[[1.0, 1.0], [0.5, 2.0]], tau=[0.1, 0.5]),
        *every(part=["conserved"], size=[3, 4], seed=[1, 2], speeds=[[1.0, 1.0], [0.5, 2.0]]),
        {"part": "conserved", "size": 3, "seed": 1, "speeds": [1.0, 1.0], "figure": True},
        *every(
            part=["decay"],
            T=[0.2, 1.0],
            start=[[0.6, 0.3, 0.1], [0.9, 0.05, 0.05]],
            speeds=[[1.0, 1.0], [0.5, 2.0]],
            figure=[False],
        ),
        *every(part=["decay"], T=[0.5, 2.0], start=[[0.6, 0.3, 0.1]], speeds=[[1.0, 1.0]], figure=[True]),
        {"part": "sharp", "share": 0.01},
        {"part": "long", "scheme": "mirror alternating", "tau": 0.2, "t": 200.0},
        {
            "part": "other",
            "label": "G13",
            "parameters": {"eta": 3.0},
            "orders": {"explicit simultaneous": 1.0, "jko": 1.0, "rk4": 4.0},
        },
        {
            "part": "other",
            "label": "G14",
            "parameters": {"kind": "torus", "n": 48},
            "orders": {"mirror simultaneous": 1.0, "rk4": 4.0},
        },
    ],
    control=Control(
        "the Nash point is not one of the game; speeds are left out of the sum; a rate 1 % above T is claimed",
        _divergences_control,
        [{"claim": "no interior Nash point"}, {"claim": "speeds forgotten"}, {"claim": "rate"}],
    ),
)

ENTRIES = (DIVERGENCES,)
