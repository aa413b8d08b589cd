"""Errors of dual minimizing movements, with explicit constants (theory, D4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.schemes import RK4
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._dual import KINDS, Case, order_check, random_case, rows_apart, smooth_game, weighted
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel

BOUNDS = Panel("simultaneous steps of a stiff game", "$t$", r"$D(z(t), z_n)$", "log y")


def _d4(kind: str, seed: int, tau: float, speeds: Sequence[float] = (1.0, 1.0)) -> Iterator[Check | Curve]:
    """Compare errors and speeds of simultaneous minimizing movements with all three bounds of D4."""
    case = random_case(kind, seed, zero_sum=seed % 2 == 0, own=(0.0, 30.0 if kind == "vectors" else 4.0))
    if kind == "gaussians":  # entropies are convex, quadratics with lambda = 0 too
        case = random_case(kind, seed, zero_sum=seed % 2 == 0, own=(0.05, 4.0))
    steps = 8
    sol = solve(case.game, case.starts[0], steps * tau, tau, speeds=speeds)
    off, error = _errors(case, sol, speeds)
    yield from _bounds(sol, case.mixed, off, error, f"{kind}, seed {seed}, tau = {tau:g}", plot=(kind, seed) == ("vectors", 0))


def _errors(case: Case, sol: Solution, speeds: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return D(z(t_n), z_n) at all rows but the first, and how far the reference flow may be off."""
    count, span = len(sol) - 1, float(sol.t[-1])
    fine = [
        solve(case.game, case.starts[0], span, span / (count * n), scheme=RK4(), speeds=speeds, save_at=n).states for n in (4, 8)
    ]
    far, wrong = (weighted(rows_apart(*pair), speeds)[1:] for pair in ((sol.states, fine[1]), (fine[0], fine[1])))
    return far, wrong + 1e-9


def _bounds(
    sol: Solution, mixed: np.ndarray, off: np.ndarray, error: Any, where: str, *, plot: bool = False, claimed: float = 1.0
) -> Iterator[Check | Curve]:
    """Compare errors with the a posteriori and a priori bounds, and speeds with theirs; `claimed` multiplies L."""
    eta, tau, t = np.asarray(sol.players.speeds), float(sol.t[1]), sol.t[1:]
    lipschitz = claimed * float(mixed.max()) * float(np.sqrt(eta.prod()))
    balance = sol.balance()
    defect = np.sum(-balance.own - balance.work, axis=1) / tau
    moved = np.sqrt(tau * balance.work.sum(axis=1))
    slope = float(np.sqrt(np.sum(eta * sol.slopes[0] ** 2)))
    growth = np.exp(lipschitz * t)
    posterior = growth * (np.sqrt(tau**2 * np.maximum(np.cumsum(defect), 0.0)) + lipschitz * tau * np.cumsum(moved))
    prior = tau * slope * growth * ((1.0 + np.sqrt(0.5)) * growth - 1.0)
    label = " (L too small)" if claimed < 1.0 else ""
    ratio, error = off / posterior, error / posterior
    yield at_most(f"error / a posteriori bound{label}", ratio, 1.0, error=error, where=where)
    yield at_most("a posteriori bound / a priori bound", posterior / prior, 1.0, tolerance=1e-9, where=where)
    yield at_least("eps_n of T4 against frozen opponents", -balance.own - balance.work, 0.0, tolerance=1e-9, where=where)
    allowed = slope * (1.0 + lipschitz * tau) ** np.arange(len(t))
    residual = 1e-12 + 4.0 * float(np.max(sol.info["residual"])) / tau
    known = {"error": residual / allowed, "where": where}
    yield at_most(f"speed / its bound{label}", moved / tau / allowed, 1.0, tolerance=1e-9, **known)
    if plot:
        yield Curve(BOUNDS, "error", t, off)
        yield Curve(BOUNDS, "a posteriori bound", t, posterior, "predicted")
        yield Curve(BOUNDS, "a priori bound", t, prior, "predicted")


def _partners(tau: float, claimed: float = 1.0) -> Iterator[Check | Curve]:
    """Compare cooperating players without own parts, who attain the bound of speeds, with all bounds."""
    strength = 1.3
    problem = problems.get("G22", own=(0.0, 0.0), coupling=(strength, strength), start=(1.0, 1.0), t=4.0 * tau)
    sol = problem.solve(tau)
    off = np.array([problem.error(sol, row) for row in range(1, len(sol))])
    yield from _bounds(sol, np.full(2, strength), off, 1e-14, f"cooperation, tau = {tau:g}", claimed=claimed)
    if claimed == 1.0:
        speeds = sol.speeds[1:, 0] * np.sqrt(2.0) / (strength * np.sqrt(2.0) * (1.0 + strength * tau) ** np.arange(4))
        yield equal("speed / its bound, attained", speeds, 1.0, tolerance=1e-12, error=1e-14, where=f"tau = {tau:g}")


def _first_order(label: str, couplings: Sequence[str]) -> Iterator[Check | Curve]:
    """Measure the order of minimizing movements with several couplings."""
    problem = smooth_game(label)
    for name in couplings:
        yield order_check(problem, name, 1.0, 0.05)[0]


def _d4_all(**trial: Any) -> Iterator[Check | Curve]:
    part = _first_order if "label" in trial else _d4 if "kind" in trial else _partners
    yield from part(**trial)


JKO_ORDER = Theorem(
    name="dual-jko-order",
    label="D4",
    title="simultaneous minimizing movements have order 1 with explicit constants",
    statement=(
        "The distance of simultaneous dual minimizing movements from the flow is bounded by quantities of the computed steps, "
        "and by tau times the first slope times a function of L t: order 1 in tau, for stiff own energies too. Speeds grow by "
        "at most 1 + L tau a step, which cooperating players attain. Alternating and implicit couplings have order 1 as well."
    ),
    formula=(
        r"D(z(t_n), z_n) \leq e^{L t_n} \left( \left( \sum_j \tau^2 \epsilon_j \right)^{1/2} + L \sum_j \tau \delta_j \right) "
        r"\leq \tau s_0 e^{L t_n} \left( (1 + \frac{1}{\sqrt{2}}) e^{L t_n} - 1 \right)"
    ),
    hypotheses=(
        "mixed differences are Lipschitz, L = max L_i (with speeds times sqrt(eta_1 eta_2))",
        "frozen energies obey the discrete EVI with lambda_i >= 0",
        "first slopes are finite, steps equal",
    ),
    source="theory, section 5.2, D4",
    problems=("G2", "G11", "G22"),
    test=_d4_all,
    quick=[
        {"tau": 0.05},
        *every(kind=KINDS, seed=[0], tau=[0.05]),
        {"kind": "vectors", "seed": 1, "tau": 0.1, "speeds": [0.5, 2.0]},
        {"label": "G2", "couplings": ["simultaneous", "alternating", "implicit"]},
        {"label": "G11", "couplings": ["simultaneous", "alternating"]},
    ],
    full=[
        *every(tau=[0.01, 0.05, 0.2]),
        *every(kind=KINDS, seed=range(4), tau=[0.1]),
        *every(kind=["vectors", "gaussians"], seed=range(4), tau=[0.02], speeds=[[0.5, 2.0]]),
        *every(label=["G2", "G11", "G18", "G12"], couplings=[["simultaneous", "alternating", "implicit"]]),
    ],
    control=Control(
        violates="L is the mixed Lipschitz constant: it is taken 1 % too small, then 0, as if players were alone (T3, T4)",
        test=_partners,
        trials=every(tau=[0.05], claimed=[0.99, 1e-3]),
    ),
)

ENTRIES = (JKO_ORDER,)
