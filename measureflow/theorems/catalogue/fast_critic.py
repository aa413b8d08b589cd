"""Infinitely fast critics: how fast is fast, and what generators then follow (theory, 5.2 D9 and 7.2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow import problems
from measureflow.schemes import RK4
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._stochastic import Found, exact
from measureflow.theorems.check import at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

SHARE = 0.8
"""Steps are this share of eps."""


# the linear model --------------------------------------------------------------------------------------------------


def _roots(eps: float, beta: float) -> np.ndarray:
    """Return the eigenvalues of the computed game at its equilibrium, by their real parts."""
    p = problems.get("G9", eps=eps, beta=beta, start=(0.0, 0.0))
    return np.asarray(np.sort_complex(p.solve(0.1 * eps, "rk4", t=0.1 * eps).linearisation().eigenvalues))


def _linear(beta: float, figure: bool = False) -> Found:
    limit = problems.get("G9", beta=beta).constants["largest eps without rotation"]
    inside, outside = _roots(0.99 * limit, beta), _roots(1.01 * limit, beta)
    scale = beta / limit
    where = f"beta = {beta:g}"
    yield at_most("frequency at 0.99 of the threshold", np.abs(inside.imag).max() / scale, 1e-8, where=where)
    yield at_least("frequency at 1.01 of the threshold", np.abs(outside.imag).max() / scale, 0.01, where=where)
    for share in (0.1, 0.5, 1.5, 4.0):
        eps = share * limit
        found = _roots(eps, beta)
        size = np.abs(eps * found**2 + beta * found + 1.0) / (1.0 + beta**2 / eps)
        yield at_most("eps l^2 + beta l + 1", size, 1e-8, where=f"beta = {beta:g}, eps = {eps:g}")
    sizes = limit * 0.2 / 2.0 ** np.arange(4)
    slow = np.array([_roots(float(eps), beta)[-1].real for eps in sizes])
    rest = np.abs(slow + 1.0 / beta + sizes / beta**3 + 2.0 * sizes**2 / beta**5)
    value, error = order(sizes, rest)
    yield equal("order of the rest of the slow root", value, 3.0, tolerance=0.15, error=error, where=where)
    if figure:
        yield from _root_curves(beta, limit)


def _root_curves(beta: float, limit: float) -> Found:
    shares = np.concatenate([np.linspace(0.1, 0.99, 6), np.linspace(1.01, 4.0, 8)])
    found = np.array([_roots(float(share * limit), beta) for share in shares])
    panel = Panel("a fast critic does not rotate", r"$\varepsilon$ over $\beta^2 / 4$", "frequency")
    yield Curve(panel, r"$\beta = $" + f"{beta:g}", shares, np.abs(found.imag).max(axis=1))
    frequencies = np.sqrt(np.maximum(4.0 * shares * limit - beta**2, 0.0)) / (2.0 * shares * limit)
    yield Curve(panel, r"$\beta = $" + f"{beta:g}, predicted", shares, frequencies, "predicted")


# convergence -------------------------------------------------------------------------------------------------------


def _generator_error(kind: str, eps: float, beta: float, t: float, with_error: bool) -> tuple[float, float]:
    """Return the largest distance from the flow of the limit on [t/4, t], and the error of the solver."""
    steps = round(t / (SHARE * eps * min(1.0, 1.0 / beta)))
    tau = t / steps
    if kind == "linear":
        p = problems.get("G9", eps=eps, beta=beta, start=(1.0, 1.0 / beta), t=t)
        follow = np.exp(-p.constants["rate of the fast critic"] * np.linspace(0.0, t, 9))
    else:
        p, limit = problems.get("D9", eps=eps, beta=beta, n=24, t=t), problems.get("D9", eps=0.0, beta=beta, n=24, t=t)
    times = np.linspace(0.0, t, 9)
    sol = p.solve(tau, RK4(), save_at=times)
    gaps = []
    for k in range(2, 9):
        states = sol.states[k]
        if kind == "linear":
            gaps.append(abs(float(states[0].values[0]) - float(follow[k])))
        else:
            gaps.append(problems.distance_between(states[0], exact(limit, float(times[k]))))
    return max(gaps), p.error(sol) if with_error else 0.0


def _order_in_eps(kind: str, beta: float, t: float, figure: bool = False) -> Found:
    sizes = 0.05 * beta**2 / 2.0 ** np.arange(4)
    found = np.array([_generator_error(kind, float(eps), beta, t, eps == sizes[-2]) for eps in sizes])
    value, error = order(sizes, found[:, 0])
    off = float(found[-2, 1] / found[-2, 0])
    where = f"{kind}, beta = {beta:g}"
    yield equal("order in eps", value, 1.0, tolerance=0.05, error=error + 2.0 * off, where=where)
    if figure:
        panel = Panel("distance of the generator from the limit", r"$\varepsilon$", r"sup on $[t_0, T]$", "log")
        yield Curve(panel, where, sizes, found[:, 0])
        yield Curve(panel, f"{where}, predicted", sizes, found[0, 0] * sizes / sizes[0], "predicted")


def _frequency(eps: float) -> float:
    """Return the frequency of the generator for a critic of speed 1/eps, beta = 0."""
    p = problems.get("G1", start=(0.0, 0.0), speeds=(1.0, 1.0 / eps))
    return float(np.abs(p.solve(0.1, "rk4", t=0.1).linearisation().eigenvalues.imag).max())


def _end(eps: float) -> float:
    """Return the position of the generator at time 1 for a critic of speed 1/eps, beta = 0."""
    p = problems.get("G1", start=(1.0, 0.0), speeds=(1.0, 1.0 / eps))
    return float(p.solve(0.2 * float(np.sqrt(eps)), "rk4", save_at=10**6).states[-1][0].values[0])


def _faster_rotation() -> Found:
    sizes = 0.1 / 4.0 ** np.arange(4)
    found = np.array([_frequency(float(eps)) for eps in sizes])
    yield equal("frequency times sqrt(eps), beta = 0", found * np.sqrt(sizes), 1.0, tolerance=1e-8)
    panel = Panel("without a ridge it rotates faster", r"$\varepsilon$", "frequency", "log")
    yield Curve(panel, r"$\beta = 0$", sizes, found)
    yield Curve(panel, r"$\beta = 0$, predicted", sizes, 1.0 / np.sqrt(sizes), "predicted")


def _fast(part: str, **trial: Any) -> Found:
    parts: dict[str, Any] = {"linear": _linear, "order": _order_in_eps, "rotation": _faster_rotation}
    yield from parts[part](**trial)


def _fast_control(claim: str) -> Found:
    if claim == "no ridge":
        sizes = 0.02 / 2.0 ** np.arange(5)
        ends = np.array([_end(float(eps)) for eps in sizes])
        changes = np.abs(np.diff(ends))
        yield at_most("change from eps to eps/2, over that before", changes[1:] / changes[:-1], 0.75, where="beta = 0")
        panel = Panel("distance of the generator from the limit", r"$\varepsilon$", r"sup on $[t_0, T]$", "log")
        yield Curve(panel, r"$\beta = 0$, change", sizes[1:], changes, "control")
        return
    limit = problems.get("G9", beta=1.0).constants["largest eps without rotation"]
    yield at_most("frequency", np.abs(_roots(1.01 * limit, 1.0).imag).max(), 1e-3, where="1.01 of the threshold")


FAST = Theorem(
    name="fast-critic",
    label="D9",
    title="against a fast regularised critic the generator descends",
    statement=(
        "If the critic is 1/eps times as fast, its payoff beta-strongly concave, the generator converges, uniformly on [t0, T], "
        "to the gradient flow of V(mu) = max_w J(mu, w), error of order eps. In the linear model eps l^2 + beta l + 1 = 0, "
        "nothing rotates if and only if eps <= beta^2/4, and the slow root is -1/beta - eps/beta^3 - 2 eps^2/beta^5 - ... "
        "Without a ridge there is no limit: the frequency is eps^(-1/2)."
    ),
    formula=r"\varepsilon \lambda^2 + \beta \lambda + 1 = 0, \quad d(\mu_t^\varepsilon, \mu_t^0) = O(\varepsilon)",
    hypotheses=("beta > 0: the critic's payoff is beta-strongly concave", "the best critic w*(mu) is Lipschitz in mu"),
    source="theory, section 5.2, D9, and 9.4, G9; Tikhonov's theorem on slow and fast variables",
    problems=("G9", "D9", "G1"),
    test=_fast,
    quick=[
        {"part": "linear", "beta": 0.7, "figure": True},
        {"part": "rotation"},
        {"part": "order", "kind": "linear", "beta": 1.5, "t": 1.0, "figure": True},
        {"part": "order", "kind": "law", "beta": 0.8, "t": 0.4, "figure": True},
    ],
    full=[
        *every(part=["linear"], beta=[0.3, 0.7, 1.0, 3.0], figure=[False]),
        {"part": "linear", "beta": 2.0, "figure": True},
        {"part": "rotation"},
        *every(part=["order"], kind=["linear", "law"], beta=[0.7, 1.5], t=[1.0], figure=[False]),
        *every(part=["order"], kind=["linear", "law"], beta=[1.0], t=[2.0], figure=[True]),
    ],
    control=Control(
        "beta = 0: no limit for eps -> 0; eps lies 1 % above beta^2/4 and nothing is claimed to rotate",
        _fast_control,
        [{"claim": "no ridge"}, {"claim": "threshold"}],
    ),
)

ENTRIES = (FAST,)
