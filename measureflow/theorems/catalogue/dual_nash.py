"""How dual flows meet Nash points: duality gaps, implicit steps (theory, D3, D6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.diagnostics.averages import averaged_states
from measureflow.games import Bilinear, KernelGame, LinearQuadratic
from measureflow.problems.base import named_scheme
from measureflow.schemes import JKO
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Particles, State, Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._dual import Pair, random_case, rows_apart, weighted
from measureflow.theorems.check import Check, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import limit

# D3 ----------------------------------------------------------------------------------------------------------------

GAP = Panel("strategies in a box, coupling that rotates", "$t$", r"duality gap $\cdot\ 2t / D_0^2$", "log y")
BOX = 3.0
"""Strategies of bilinear games have coordinates of at most this size, which orbits do not reach."""


def _d3(kind: str, speeds: Sequence[float], claim: str = "", steps: int = 40) -> Iterator[Check | Curve]:
    """Compare 2 t gap(t) / D_0^2 of time averages with 1; `claim` is one that does not hold."""
    game, start, best = _gap_case(kind, concave=claim == "concave")
    sols = [_rotated(game, start, speeds, steps * 2**k) for k in range(3)]
    rows = np.arange(steps // 10, steps + 1, steps // 10)
    ratios = np.array([_gap_ratio(sol, best, rows * 2**k, claim != "last") for k, sol in enumerate(sols)])
    where = [f"{kind}, t = {t:.3g}" for t in sols[0].t[rows]]
    name = {"last": "of the last iterate", "concave": "of averages, payoff concave in x"}.get(claim, "of averages")
    known = {"tolerance": 1e-9, "error": np.abs(ratios[2] - ratios[1]), "where": where}
    yield at_most(f"duality gap {name} * 2t / D0^2", ratios[2], 1.0, **known)
    if kind == "vectors" and claim != "better":
        role = "control" if claim else "measured"
        yield Curve(GAP, f"{name}, speeds {tuple(speeds)}", sols[0].t[rows], ratios[2], role)
        if not claim:
            yield Curve(GAP, "bound", sols[0].t[rows], np.ones(len(rows)), "predicted")
    if not claim:
        direct = _payoff_gaps(sols[0], best, rows)
        yield equal("duality gap, from two payoffs", sols[0].duality_gap(True, best)[rows], direct, tolerance=1e-9, where=where)
    if claim in ("", "better"):
        yield from _tested(kind, sols, rows, claim)


def _gap_case(kind: str, concave: bool) -> tuple[Any, Pair, Any]:
    """Return a game, initial states, and best responses where the game does not know them."""
    if kind == "vectors":
        C = np.array([[1.0, 0.3], [-0.4, 0.8]])
        return Bilinear(C), (Vector([1.0, 0.3]), Vector([-0.2, 0.7])), _in_the_box(C)
    if kind == "curved":
        game = LinearQuadratic([[0.2, 0.05], [0.05, 0.1]], [[1.0, 0.3, 0.0], [-0.4, 0.8, 0.5]], 0.1)
        return game, (Vector([1.0, 0.3]), Vector([-0.2, 0.7, 0.4])), None
    laws = Particles([[0.6], [0.9], [1.0]], [0.5, 0.2, 0.3]), Particles([[-0.1], [0.3]], [0.7, 0.3])
    bend = 1.5 if concave else 0.0
    box = KernelGame(
        lambda x, y: x @ y.T - 0.5 * bend * np.sum(x**2, axis=1)[:, None],
        lambda x, y: y[None, :, :] - bend * x[:, None, :],
        lambda x, y: np.broadcast_to(x[:, None, :], (len(x), len(y), 1)),
        clip=(BOX, BOX),
    )
    return box, laws, _in_the_box(np.ones((1, 1)))


def _in_the_box(C: np.ndarray) -> Any:
    """Return the function (player, states) -> the corner of the box that is best; for laws all mass there."""

    def best(player: int, states: tuple[State, ...]) -> State:
        own, other = states[player], states[1 - player]
        centre = other.coordinates if isinstance(other, Vector) else other.mean()  # type: ignore[attr-defined]
        slope = C @ centre if player == 0 else -C.T @ centre
        corner = -BOX * np.where(slope < 0.0, -1.0, 1.0)
        return Vector(corner) if isinstance(own, Vector) else Particles(corner[None, :])

    return best


def _rotated(game: Any, start: Pair, speeds: Sequence[float], steps: int) -> Solution:
    return solve(game, start, 12.0, 12.0 / steps, scheme=named_scheme("vim symmetric"), speeds=speeds)


def _gap_ratio(sol: Solution, best: Any, rows: np.ndarray, averaged: bool) -> np.ndarray:
    """Return 2 t gap / D_0^2 at some rows, with D_0 the distance of the start from the best responses there."""
    gap = sol.duality_gap(averaged, best)[rows]
    states: Sequence[Any] = averaged_states(sol) if averaged else sol.states
    respond: Any = best or sol.players.game.best_response
    goals = [[respond(player, states[k]) for player in (0, 1)] for k in rows]
    far = weighted(rows_apart([sol.row(0)] * len(goals), goals), sol.players.speeds)
    return np.asarray(2.0 * sol.t[rows] * gap / far**2)


def _payoff_gaps(sol: Solution, best: Any, rows: np.ndarray) -> np.ndarray:
    """Return J(mean x, w) - J(z, mean y) at some rows, (z, w) the best responses to the averages."""
    game, states = sol.players.game, averaged_states(sol)
    respond: Any = best or game.best_response
    gaps = []
    for k in rows:
        (x, y), z, w = states[k], respond(0, states[k]), respond(1, states[k])
        gaps.append(game.energy(0, (x, w)).value(x) - game.energy(0, (z, y)).value(z))
    return np.array(gaps)


def _tested(kind: str, sols: Sequence[Solution], rows: np.ndarray, claim: str) -> Iterator[Check]:
    """Compare averages of J(x, w) - J(z, y) with D_0^2/(2t) for fixed pairs (z, w), the last states of the flow among them."""
    rng = np.random.default_rng(0)
    last = sols[-1].row(-1)
    pairs = [last, *(tuple(x.replace(rng.uniform(-BOX, BOX, x.coordinates.shape)) for x in last) for _ in range(3))]
    start = sols[0].row(0)
    far = weighted(rows_apart([start] * len(pairs), pairs), sols[0].players.speeds)
    means = [_payoff_means(sol, pairs)[:, rows * 2**k] for k, sol in enumerate(sols)]
    value, error = limit(means, 2)
    scale = 2.0 * sols[0].t[rows] / far[:, None] ** 2
    value, error = value * scale, error * scale
    name = "average of J(x, w) - J(z, y), times 2t / D0^2"
    yield at_most(name, value[1:], 1.0, tolerance=1e-9, error=error[1:], where=f"{kind}, random (z, w)")
    known = {"error": error[0, -1], "where": f"{kind}, (z, w) the last states"}
    if claim == "better":
        yield at_most(f"{name}, 1 % better", value[0, -1], 0.99, tolerance=1e-9, **known)
    elif kind != "curved":
        yield equal(f"{name}, attained", value[0, -1], 1.0, tolerance=2e-3 if kind == "vectors" else 2e-2, **known)


def _payoff_means(sol: Solution, pairs: Sequence[Any]) -> np.ndarray:
    """Return the running means of J(x, w) - J(z, y), (pairs, rows)."""
    game = sol.players.game

    def regret(z: State, w: State) -> Any:
        return lambda row: game.energy(0, (row[0], w)).value(row[0]) - game.energy(0, (z, row[1])).value(z)

    found = sol.averages({f"pair {k}": regret(*pair) for k, pair in enumerate(pairs)}).running
    return np.array([found[f"pair {k}"] for k in range(len(pairs))])


DUALITY_GAP = Theorem(
    name="duality-gap",
    label="D3",
    title="averages of rotating flows have a duality gap of at most D0^2/(2t)",
    statement=(
        "Averaged over time, a convex-concave dual flow gains at most D_0^2/(2t) against any fixed pair of strategies: so the "
        "duality gap of its averages falls like 1/t, even if the flow itself rotates for ever and its own gap does not fall. "
        "Bilinear payoffs attain the bound against the strategies at which the flow ends."
    ),
    formula=(
        r"\frac{1}{t} \int_0^t \left( J(x_s, w) - J(z, y_s) \right) ds \leq "
        r"\frac{1}{2t} \left( \frac{d_1(x_0, z)^2}{\eta_1} + \frac{d_2(y_0, w)^2}{\eta_2} \right)"
    ),
    hypotheses=(
        "the game is zero-sum and both frozen energies are convex (EVI with lambda_i = 0)",
        "for the gap of averages: vectors, or laws with a payoff that is convex-concave in mixtures",
    ),
    source="theory, section 3.5, D3",
    problems=(),
    test=_d3,
    quick=[
        {"kind": "vectors", "speeds": [1.0, 1.0]},
        {"kind": "curved", "speeds": [0.5, 2.0]},
        {"kind": "laws", "speeds": [2.0, 0.7], "steps": 20},
    ],
    full=every(kind=["vectors", "curved", "laws"], speeds=[[1.0, 1.0], [2.0, 0.7]], steps=[60]),
    control=Control(
        violates=(
            "the gap is that of averages: the last iterate's is taken; then: the constant, 1 % better; "
            "then: the payoff is convex in x, here it is concave"
        ),
        test=_d3,
        trials=[
            {"kind": "vectors", "speeds": [1.0, 1.0], "claim": "last"},
            {"kind": "vectors", "speeds": [1.0, 1.0], "claim": "better"},
            {"kind": "laws", "speeds": [1.0, 1.0], "claim": "concave", "steps": 20},
        ],
    ),
)

# D6 ----------------------------------------------------------------------------------------------------------------

NASH = Panel("implicit steps towards the Nash point", "step", r"$D(z_n, z^*)$", "log y")


def _d6(
    kind: str, tau: float, coupling: float, seed: int = 0, scheme: str = "implicit", claimed: float = 1.0
) -> Iterator[Check | Curve]:
    """Compare every step with both inequalities of D6; `claimed` multiplies lambda."""
    speeds = (0.5, 2.0)
    game, starts, rate, nash, off = _nash_case(kind, seed, coupling, speeds)
    lam = claimed * rate
    options: dict[str, Any] = {"scheme": named_scheme(scheme), "speeds": speeds}
    first, second = (solve(game, start, 6.0 * tau, tau, **options) for start in starts)
    inner = 1e-14 + 4.0 * off + 4.0 * max(float(np.max(sol.info["residual"])) for sol in (first, second))
    far = _product([first.row(k) for k in range(len(first))], [nash] * len(first), speeds)
    moved = _product([first.row(k) for k in range(len(first) - 1)], [first.row(k + 1) for k in range(len(first) - 1)], speeds)
    kept = far[:-1] > 1e-3 * far[0]
    ratio = ((1.0 + 2.0 * lam * tau) * far[1:] ** 2 + moved**2)[kept] / far[:-1][kept] ** 2
    error = inner / far[:-1][kept]
    where = f"{kind}, tau = {tau:g}, coupling {coupling:g}"
    name = "((1 + 2 lambda tau) D+^2 + step^2) / D^2"
    known: dict[str, Any] = {"error": error, "where": where}
    if kind == "equal" and claimed == 1.0 and scheme == "implicit":
        yield equal(f"{name}, attained", ratio, 1.0, tolerance=1e-9, **known)
    else:
        yield at_most(name, ratio, 1.0, tolerance=1e-9, **known)
    if kind in ("equal", "vectors", "quadratic", "quantiles"):
        gap = _product([first.row(k) for k in range(len(first))], [second.row(k) for k in range(len(second))], speeds)
        seen = gap[:-1] > 1e-3 * gap[0]
        shrunk = (1.0 + lam * tau) * (gap[1:] / gap[:-1])[seen]
        known = {"error": inner / gap[:-1][seen], "where": where}
        if kind == "equal" and coupling == 0.0 and claimed == 1.0:
            yield equal("(1 + lambda tau) D+ / D of two orbits, attained", shrunk, 1.0, tolerance=1e-9, **known)
        else:
            yield at_most("(1 + lambda tau) D+ / D of two orbits", shrunk, 1.0, tolerance=1e-9, **known)
    if seed == 0 and claimed == 1.0 and (kind, coupling) in (("equal", 3.0), ("gaussians", 8.0)):
        label = rf"{kind if scheme == 'implicit' else scheme}, $\tau$ = {tau:g}, coupling {coupling:g}"
        yield Curve(NASH, label, np.arange(len(far)), np.maximum(far, 1e-12), "measured" if scheme == "implicit" else "control")
        if scheme == "implicit" and kind == "equal":
            bound = far[0] * (1.0 + 2.0 * lam * tau) ** (-0.5 * np.arange(len(far)))
            yield Curve(NASH, r"$(1 + 2 \lambda \tau)^{-n/2} D_0$", np.arange(len(far)), bound, "predicted")


def _nash_case(kind: str, seed: int, coupling: float, speeds: Sequence[float]) -> tuple[Any, Any, float, Any, float]:
    """Return a game, two pairs of states, min eta_i lambda_i, the Nash point and how far that may be off."""
    if kind == "equal":
        game: Any = LinearQuadratic(0.7 / speeds[0], coupling, 0.7 / speeds[1])
        starts = (Vector(1.0), Vector(-0.4)), (Vector(-0.3), Vector(1.2))
        return game, starts, 0.7, (Vector(0.0), Vector(0.0)), 0.0
    if kind in ("quadratic", "gaussians"):
        rng = np.random.default_rng(seed)
        case = random_case("gaussians", seed, zero_sum=True, own=(0.8, 3.0), coupling=coupling)
        rate = float(np.min(np.asarray(speeds) * case.convexity))
        if kind == "gaussians":
            flow: Any = problems.get("G11", **_parts(case.game)).exact
            return case.game, case.starts, rate, flow(1e3), 1e-12
        pairs = [(Vector(rng.normal(size=2)), Vector(rng.normal(size=2))) for _ in range(2)]
        return case.game.game, pairs, rate, (Vector([0.0, 0.0]), Vector([0.0, 0.0])), 0.0  # type: ignore[attr-defined]
    case = random_case(kind, seed, zero_sum=True, own=(0.8, 3.0), coupling=coupling)
    rate = float(np.min(np.asarray(speeds) * case.convexity))
    there = solve(case.game, case.starts[0], 600.0, 50.0, scheme=JKO("implicit"), speeds=speeds)
    # eta |dE|^2 is the squared slope in d^2/eta; the game is strongly monotone, so that D <= slope / lambda
    return case.game, case.starts, rate, there.row(-1), float(np.sqrt(np.sum(there.slopes[-1] ** 2 * speeds))) / rate


def _parts(game: Any) -> dict[str, Any]:
    return {"P": game.game.P, "C": game.game.C, "Q": game.game.Q, "temperature": game.energies[0].temperature}


def _product(first: Sequence[Any], second: Sequence[Any], speeds: Sequence[float]) -> np.ndarray:
    return weighted(rows_apart(first, second), speeds)


NASH_CONTRACTION = Theorem(
    name="nash-contraction",
    label="D6",
    title="implicit steps contract for every tau and every coupling",
    statement=(
        "A step of the fully implicit dual scheme comes nearer to a Nash point by a factor that neither the size of the step nor "
        "the coupling spoils, and what it gains includes the step's own length. In flat spaces the distance of any two orbits "
        "shrinks by 1/(1 + lambda tau). Equal rates attain the first, and, without coupling, the second."
    ),
    formula=(
        r"(1 + 2 \lambda \tau) D(z_{n+1}, z^*)^2 + D(z_n, z_{n+1})^2 \leq D(z_n, z^*)^2, \quad "
        r"(1 + \lambda \tau) D_{n+1} \leq D_n"
    ),
    hypotheses=(
        "the game is zero-sum, and both players' steps obey the discrete EVI with lambda_i >= 0",
        "the coupling is implicit; lambda = min eta_i lambda_i, D weighted by 1/eta_i",
        "the second inequality: a flat space",
    ),
    source="theory, section 5.2, D6",
    problems=("G11",),
    test=_d6,
    quick=[
        *every(kind=["equal"], tau=[0.1, 10.0], coupling=[0.0, 3.0]),
        {"kind": "equal", "tau": 1.0, "coupling": 50.0},
        {"kind": "quadratic", "tau": 20.0, "coupling": 8.0},
        {"kind": "gaussians", "tau": 1.0, "coupling": 8.0},
        *every(kind=["vectors", "particles", "quantiles"], tau=[0.5], coupling=[0.8]),
    ],
    full=[
        *every(kind=["equal"], tau=[0.1, 1.0, 10.0, 100.0], coupling=[0.0, 3.0, 50.0]),
        *every(kind=["quadratic", "gaussians"], tau=[0.1, 1.0, 20.0], coupling=[1.0, 8.0], seed=range(3)),
        *every(kind=["vectors", "particles", "quantiles"], tau=[0.1, 5.0], coupling=[0.8], seed=range(3)),
    ],
    control=Control(
        violates="the coupling is implicit: it is simultaneous; then: lambda is claimed 1 % too large, where it is attained",
        test=_d6,
        trials=[
            *every(kind=["equal"], tau=[1.0], coupling=[3.0], scheme=["simultaneous"]),
            *every(kind=["equal"], tau=[1.0], coupling=[0.0, 3.0], claimed=[1.01]),
        ],
    ),
)

ENTRIES = (DUALITY_GAP, NASH_CONTRACTION)
