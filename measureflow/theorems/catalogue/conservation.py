"""What flows conserve, and what schemes make of it (theory, sections 3.7 and 13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.energies import Entropy
from measureflow.games import Game, KernelGame
from measureflow.problems.mean_field import quantile_entropy
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Quantiles
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]
ENDS = 10**6


# entropies ---------------------------------------------------------------------------------------------------------


def _entropies(sol: Solution) -> np.ndarray:
    """Return Ent of both players, (rows, 2), right to O(n^-2) along the flow."""
    return np.array([[quantile_entropy(law) for law in states] for states in sol.states])


def _exchange(kernel: str, scheme: str, power: float, speeds: list[float], n: int = 100, figure: bool = False) -> Found:
    """Check that the sum of entropies, over the speeds, drifts with the order of the scheme while each entropy moves."""
    p = problems.get("3.7", kernel=kernel, n=n, t=0.6)
    weights, where = 1.0 / np.array(speeds), f"{kernel}, {scheme}, speeds {speeds}"
    taus = 0.6 / (np.array([40, 80, 160]) if power == 1.0 else np.array([6, 12, 24]))
    runs = [p.solve(tau, scheme, speeds=speeds) for tau in taus]
    ends = np.array([(_entropies(sol)[[0, -1]]) @ weights for sol in runs])
    drift = np.diff(ends, axis=1)[:, 0]
    floor = _floor(kernel, n, speeds) if kernel == "waves" else 0.0
    value, error = order(taus, np.abs(drift - floor))
    if power == 1.0:
        yield equal("order of the drift of the sum", value, 1.0, tolerance=0.05, error=error, where=where)
    else:
        yield at_least("order of the drift of the sum", value, power, tolerance=0.1 * power, error=error, where=where)
    moved = np.abs(np.diff(_entropies(runs[-1])[[0, -1]], axis=0)).min()
    yield at_least("what each entropy moves", moved, 10.0 * abs(drift[-1]) + 0.01, where=where)
    if scheme == "rk4":
        yield at_most("drift of the sum", np.abs(_entropies(runs[-1]) @ weights - ends[-1, 0]), 2e-5, where=where)
    known = np.array([[Entropy().value(law) for law in states] for states in runs[-1].states]) @ weights
    yield equal("the game's invariant", runs[-1].invariants()["entropy sum"], known, tolerance=1e-10, where=where)
    if figure:
        yield from _entropy_curves(runs[-1], kernel, weights)


def _floor(kernel: str, n: int, speeds: list[float]) -> float:
    """Return the drift that n quantiles leave when steps are exact, O(n^-2)."""
    p = problems.get("3.7", kernel=kernel, n=n, t=0.6)
    found = _entropies(p.solve(0.01, "rk4", speeds=speeds, save_at=ENDS)) @ (1.0 / np.array(speeds))
    return float(found[-1] - found[0])


def _entropy_curves(sol: Solution, kernel: str, weights: np.ndarray) -> Found:
    panel = Panel(f"entropies, {kernel} kernel", "time $t$", "change")
    change = (_entropies(sol) - _entropies(sol)[0]) * weights
    yield Curve(panel, r"$Ent(\mu) / \eta_0$", sol.t, change[:, 0])
    yield Curve(panel, r"$Ent(\nu) / \eta_1$", sol.t, change[:, 1])
    yield Curve(panel, "sum", sol.t, change.sum(axis=1))
    yield Curve(panel, "sum, predicted", sol.t, 0.0 * sol.t, "predicted")


def _refined(sizes: list[int]) -> Found:
    """Check that what n quantiles leave falls like n^-2, for a kernel of two waves."""
    floors = np.array([abs(_floor("waves", n, [1.0, 1.0])) for n in sizes])
    value, error = order(1.0 / np.array(sizes), floors)
    yield at_least("order of the drift in 1/n", value, 2.0, tolerance=0.3, error=error)


def _mixed_product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * x**2 * y.T**2)


def _mixed_in_x(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((x * y.T**2)[..., None])


def _mixed_in_y(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((x**2 * y.T)[..., None])


def _together(law: Quantiles, others: Any) -> tuple[float, np.ndarray]:
    gap = law.values[:, None] - others[0].values
    return float(0.5 * np.mean(gap**2)), gap.mean(axis=1)


def _exchange_control(claim: str) -> Found:
    p = problems.get("3.7", n=60)
    games: dict[str, Any] = {
        "not of x - y": KernelGame(_mixed_product, _mixed_in_x, _mixed_in_y),
        "not zero-sum": Game([_together, _together]),
    }
    sol = solve(games.get(claim, p.problem), p.initial, 0.5, 0.05, scheme=problems.SCHEMES["rk4"], speeds=(1.0, 2.0))
    weights = np.array([1.0, 1.0 if claim == "speeds forgotten" else 0.5])
    sums = _entropies(sol) @ weights
    yield at_most("drift of the sum", np.abs(sums - sums[0]), 0.01, where=claim)
    panel = Panel("entropies, a hypothesis missing", "time $t$", "change of the sum")
    yield Curve(panel, claim, sol.t, sums - sums[0], "control")


def _entropy_exchange(part: str, **trial: Any) -> Found:
    yield from (_refined if part == "refined" else _exchange)(**trial)


EXCHANGE = Theorem(
    name="entropy-exchange",
    label="3.7",
    title="two laws can only exchange their entropy",
    statement=(
        "In a zero-sum game J = iint k(x - y) dmu dnu under W2 x W2 the sum Ent(mu)/eta_0 + Ent(nu)/eta_1 of the entropies "
        "int rho log rho is constant although each of them moves: densities cannot both relax to a diffuse Nash point. Schemes "
        "let it drift with their order."
    ),
    formula=r"\frac{d}{dt} \left[ \mathrm{Ent}(\mu_t) + \mathrm{Ent}(\nu_t) \right] = 0",
    hypotheses=("k depends on x - y only, and is smooth", "zero-sum", "both players flow in W2"),
    source="theory, section 3.7",
    problems=("3.7",),
    test=_entropy_exchange,
    quick=[
        {"part": "run", "kernel": "quadratic", "scheme": "explicit simultaneous", "power": 1.0, "speeds": [0.5, 2.0], "n": 40},
        {"part": "run", "kernel": "quadratic", "scheme": "rk4", "power": 4.0, "speeds": [1.0, 1.0], "n": 40, "figure": True},
        {"part": "run", "kernel": "waves", "scheme": "explicit alternating", "power": 1.0, "speeds": [1.0, 1.0], "n": 60},
    ],
    full=[
        *every(
            part=["run"],
            kernel=["quadratic", "waves"],
            scheme=["explicit simultaneous", "simultaneous"],
            power=[1.0],
            speeds=[[1.0, 1.0], [0.5, 2.0]],
            n=[60],
        ),
        *every(part=["run"], kernel=["quadratic", "waves"], scheme=["alternating"], power=[1.0], speeds=[[1.0, 1.0]], n=[60]),
        *every(part=["run"], kernel=["quadratic"], scheme=["rk4"], power=[4.0], speeds=[[1.0, 1.0]], n=[200], figure=[True]),
        *every(part=["run"], kernel=["quadratic"], scheme=["rk4"], power=[4.0], speeds=[[0.5, 2.0]], n=[100]),
        {"part": "refined", "sizes": [50, 100, 200]},
    ],
    control=Control(
        "the kernel is not one of x - y; the game is not zero-sum; speeds are left out of the sum",
        _exchange_control,
        [{"claim": "not of x - y"}, {"claim": "not zero-sum"}, {"claim": "speeds forgotten"}],
    ),
)


# all problems with invariants --------------------------------------------------------------------------------------

ORDERS = {name: 2.0 for name in ("vim", "vim implicit", "symmetric", "rk2")} | {"rk4": 4.0}
"""The least order of the drift where it is not 1; means and radii may do better."""

EXACT = 1e-11
"""Drifts below this are none."""


def _drift(label: str, scheme: str, t: float, parameters: dict[str, Any] | None = None, figure: bool = False) -> Found:
    """Check that every invariant of a problem drifts at most with the order of the scheme."""
    p = problems.get(label, **(parameters or {}))
    power = ORDERS.get(scheme, 1.0)
    counts = np.array([8, 16, 32]) if power > 1.0 else np.array([20, 40, 80])
    runs = [p.solve(t / k, scheme, t=t) for k in counts]
    for name, function in p.invariants.items():
        first = float(function(p.initial))
        drift = np.array([max(abs(float(function(states)) - first) for states in sol.states) for sol in runs])
        where, scale = f"{label}, {name}, {scheme}", max(1.0, abs(first))
        if drift.max() < EXACT * scale:
            yield at_most("drift where it is exact", drift, EXACT * scale, where=where)
            continue
        value, error = order(t / counts, drift)
        yield at_least("order of the drift", value, power, tolerance=0.1 * power, error=error, where=where)
        if figure:
            panel = Panel("drift of what the flow conserves", r"$\tau$", "drift", "log")
            yield Curve(panel, f"{label}, {scheme}", t / counts, drift)
            predicted = drift[-1] * (counts[-1] / counts) ** power
            yield Curve(panel, f"{label}, {scheme}, predicted", t / counts, predicted, "predicted")


def _secular(label: str, scheme: str, tau: float, t: float, allowed: float, role: str = "") -> Found:
    """Check that a scheme that keeps areas lets nothing drift for ever: the means of both halves of a long time agree."""
    p = problems.get(label)
    sol = p.solve(tau, scheme, t=t)
    (name, function), *_ = p.invariants.items()
    values = np.array([float(function(states)) for states in sol.states])
    half, where = len(values) // 2, f"{label}, {name}, {scheme}"
    wave = max(float(np.ptp(values[:half])), EXACT)
    shift = abs(values[half:].mean() - values[:half].mean())
    yield at_most("shift of the mean between the halves, over the range", shift / wave, allowed, where=where)
    yield at_most("range in the second half, over that in the first", np.ptp(values[half:]) / wave, 1.0 + allowed, where=where)
    if role:
        panel = Panel(f"{label} for a long time", "time $t$", f"{name} less its first value")
        yield Curve(panel, scheme, sol.t, values - values[0], role)


def _quantities(part: str, **trial: Any) -> Found:
    yield from (_secular if part == "secular" else _drift)(**trial)


def _quantities_control(label: str, scheme: str, tau: float, t: float) -> Found:
    yield from _secular(label, scheme, tau, t, 0.25, "control")


FLAT = ["jko", "explicit", "vim"]
GAMES = ["explicit simultaneous", "alternating", "implicit", "rk4"]
CASES: list[tuple[str, float, list[str], dict[str, Any]]] = [
    ("S3", 0.5, FLAT, {}),
    ("S6", 1.0, FLAT, {}),
    ("S7", 0.5, ["jko"], {"n": 40}),
    ("S8", 0.3, ["jko"], {"n": 40}),
    ("S17", 1.0, FLAT, {}),
    ("G1", 2.0, [*GAMES, "symmetric", "vim implicit", "rk2"], {"speeds": (0.5, 2.0)}),
    ("G1", 2.0, ["simultaneous", "rk4"], {"laws": True}),
    ("G3", 3.0, ["explicit simultaneous", "explicit alternating", "rk4"], {"eta": 2.0}),
    ("G12", 2.0, ["explicit simultaneous", "alternating", "rk4"], {}),
    ("G13", 1.0, ["explicit simultaneous", "rk4"], {"eta": 2.0}),
    ("G14", 2.0, ["mirror", "rk4"], {}),
    ("G14", 2.0, ["mirror"], {"kind": "torus", "n": 32}),
    ("G15", 2.0, ["explicit simultaneous", "rk4"], {}),
    ("G21", 1.0, ["simultaneous", "explicit simultaneous"], {}),
    ("G23", 1.0, ["simultaneous", "implicit", "rk4"], {"modes": 3}),
    ("3.7", 0.5, ["explicit simultaneous", "simultaneous"], {"n": 40}),
]
"""Label, time, schemes, parameters."""


def _trials(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    """Return the trials of `CASES`, or those of these labels and schemes."""
    found = []
    for label, t, schemes, parameters in CASES:
        for scheme in schemes:
            if not pairs or (label, scheme) in pairs:
                trial = {"part": "drift", "label": label, "scheme": scheme, "t": t, "figure": (label, scheme) in SHOWN}
                found.append(trial | ({"parameters": parameters} if parameters else {}))
    return found


SHOWN = {("G3", "explicit simultaneous"), ("G3", "rk4"), ("G12", "alternating")}
LONG: list[dict[str, Any]] = [
    {
        "part": "secular",
        "label": "G3",
        "scheme": "explicit alternating",
        "tau": 0.2,
        "t": 200.0,
        "allowed": 0.05,
        "role": "measured",
    },
    {"part": "secular", "label": "G1", "scheme": "explicit alternating", "tau": 0.2, "t": 200.0, "allowed": 0.05},
    {"part": "secular", "label": "G1", "scheme": "vim implicit", "tau": 0.2, "t": 100.0, "allowed": 1.0},
]

QUANTITIES = Theorem(
    name="conserved-quantities",
    label="13.7",
    title="schemes drift from what flows conserve by their order",
    statement=(
        "What a flow conserves (means, radii, energies of orbits, sums of divergences or entropies) drifts on bounded times by "
        "O(tau^p) under a scheme of order p. On long times schemes that keep areas, alternating and midpoint ones, have no "
        "secular drift; simultaneous explicit steps have one."
    ),
    formula=r"|I(z_n) - I(z_0)| \leq C(T) \tau^p, \quad n \tau \leq T",
    hypotheses=("the flow conserves I, smooth near its orbit", "a scheme of order p", "no secular drift: the scheme keeps areas"),
    source="theory, section 13 (7); sections 3.6, 3.7, 6 and 9.4",
    problems=tuple(dict.fromkeys(label for label, *_ in CASES)),
    test=_quantities,
    quick=[
        *_trials(
            ("S6", "jko"),
            ("S17", "vim"),
            ("G1", "explicit simultaneous"),
            ("G1", "vim implicit"),
            ("G3", "explicit simultaneous"),
            ("G3", "rk4"),
            ("G12", "alternating"),
            ("G14", "mirror"),
            ("G21", "simultaneous"),
        ),
        LONG[0] | {"t": 40.0, "allowed": 0.25},
    ],
    full=[*_trials(), *LONG],
    control=Control(
        "the scheme does not keep areas: simultaneous explicit steps for a long time",
        _quantities_control,
        [
            {"label": "G3", "scheme": "explicit simultaneous", "tau": 0.2, "t": 40.0},
            {"label": "G1", "scheme": "implicit", "tau": 0.2, "t": 10.0},
        ],
    ),
)

ENTRIES = (EXCHANGE, QUANTITIES)
