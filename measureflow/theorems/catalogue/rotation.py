"""What is left of a rotation as tau -> 0: damping and growth by schemes, averages of the flow (theory, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.problems.base import Problem
from measureflow.solution import Solution
from measureflow.theorems.base import Control, Theorem, Trial, every
from measureflow.theorems.check import Check, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import limit, order

Found = Iterator[Check | Curve]

LEADING: Mapping[str, tuple[float, int]] = MappingProxyType(
    {
        **{f"{prefix}simultaneous": (0.5, 1) for prefix in ("", "explicit ")},
        **{f"{prefix}{name}": (-0.5, 1) for name in ("extragradient", "optimistic", "implicit") for prefix in ("", "explicit ")},
        "bdf2 implicit": (-0.25, 3),
        "vim optimistic": (0.25, 3),
        "rk2": (0.125, 3),
        "rk4": (-1.0 / 144.0, 5),
    }
)
"""Scheme -> (c, p): its log-growth of a rotation per unit of time is c omega^(p+1) tau^p to leading order."""

SWING: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        **{f"{prefix}alternating": lambda k: (1.0 + 0.5 * k) / (1.0 - 0.5 * k) for prefix in ("", "explicit ")},
        **{
            name: lambda k: 1.0 / (1.0 - 0.25 * k * k) for name in ("symmetric", "explicit symmetric", "adjoint", "vim symmetric")
        },
        "vim implicit": lambda k: 1.0,
    }
)
"""Scheme without growth -> kappa -> the largest ratio of two squared radii on one of its orbits."""

FIRST: Mapping[str, float] = MappingProxyType(
    {
        **{name: np.sign(c) if p == 1 else 0.0 for name, (c, p) in LEADING.items()},
        **dict.fromkeys(SWING, 0.0),
        "bdf2 optimistic": 0.0,
    }
)
"""Scheme -> sign of its damping term of first order in tau: the factor of -(tau/2) F'F in its modified equation."""


def radii(sol: Solution, speeds: Sequence[float]) -> np.ndarray:
    """Return sqrt(x^2/eta_1 + y^2/eta_2) at every row."""
    x, y = (np.array([state[k].coordinates.mean() for state in sol.states]) for k in range(2))
    return np.asarray(np.hypot(x / np.sqrt(speeds[0]), y / np.sqrt(speeds[1])))


def _bilinear(omega: float, speeds: Sequence[float]) -> tuple[Problem, float]:
    problem = problems.get("G1", omega=omega, speeds=tuple(speeds), start=(0.8, -0.6))
    return problem, abs(omega) * float(np.sqrt(speeds[0] * speeds[1]))


def _growth(scheme: str, omega: float, kappas: Sequence[float], speeds: Sequence[float]) -> Found:
    """Measure the leading coefficient of the log-growth on orbits of a bilinear game, behind the start of two-step schemes."""
    problem, frequency = _bilinear(omega, speeds)
    known, power = LEADING[scheme]
    seen = []
    for k in kappas:
        r = radii(problem.solve(k / frequency, scheme, t=40.0 * k / frequency), speeds)
        seen.append(np.log(r[40] / r[20]) / (20.0 * k ** (power + 1)))
    value, error = limit(seen, 2)
    slack = {"tolerance": 0.01 * abs(known), "error": 2.0 * error + 1e-16 / kappas[-1] ** (power + 1)}
    yield equal(f"log-growth / (omega^{power + 1} tau^{power}), tau -> 0", value, known, **slack, where=scheme)


def _swing(scheme: str, omega: float, kappa: float, speeds: Sequence[float], steps: int) -> Found:
    """Orbits of alternating, symmetric and midpoint steps stay between two radii for ever."""
    problem, frequency = _bilinear(omega, speeds)
    r = radii(problem.solve(kappa / frequency, scheme, t=steps * kappa / frequency), speeds)
    ratio, bound = (r.max() / r.min()) ** 2, SWING[scheme](kappa)
    slack = {"error": 2e-15 * steps, "where": f"{scheme}, {steps} steps"}
    yield at_most("largest ratio of squared radii", ratio, bound, tolerance=1e-12, **slack)
    yield equal("largest ratio of squared radii, attained", ratio, bound, tolerance=0.05 * (bound - 1.0) + 1e-12, **slack)


def _turns(scheme: str, r2: float, eta: float, counts: Sequence[int]) -> Found:
    """Measure the growth of a nonlinear rotation, the Dirac-GAN, over half a period: r^2 gains +- pi sqrt(eta) tau / 2."""
    problem = problems.get("G3", r2=r2, eta=eta)
    sign, place = FIRST[scheme], f"{scheme}, r^2 = {r2:g}, eta = {eta:g}"
    growths = np.array([log_growth(problem, scheme, n) for n in counts])
    taus = 0.5 * problem.constants["period"] / np.asarray(counts, np.float64)
    value, error = limit(growths / (0.5 * np.pi * np.sqrt(eta) * taus), 1)
    yield equal("log(r_T^2 / r_0^2) / (pi sqrt(eta) tau / 2), tau -> 0", value, sign, tolerance=0.03, error=error, where=place)
    if sign:
        rate = order(taus, np.abs(growths))
        yield equal(
            "order in tau at which growth or damping vanishes", rate.value, 1.0, tolerance=0.05, error=rate.error, where=place
        )


def log_growth(problem: Problem, scheme: str, steps: int) -> float:
    """Return log(r^2(T) / r^2(0)) over half a period T of a problem with a radius, in so many steps."""
    half, radius = 0.5 * problem.constants["period"], problem.invariants["radius"]
    last = problem.solve(half / steps, scheme, t=half).states[-1]
    return float(2.0 * np.log(radius(last) / radius(problem.initial)))


def _averages(omega: float, times: Sequence[float], speeds: Sequence[float], counts: Sequence[int]) -> Found:
    """Time averages of the flow: z_0 (exp(i omega T) - 1) / (i omega T), of size 2 |sin(omega T / 2)| / (omega T) |z_0|."""
    problem, frequency = _bilinear(omega, speeds)
    first, turning = complex(*_scaled(problem.initial, speeds)), float(np.sign(omega)) * frequency
    for t in times:
        means = [_mean(problem.solve(t / n, "rk4", t=t), speeds) for n in counts]
        slack = {"tolerance": 1e-4, "where": f"T = {t:g}"}
        value, error = limit(np.abs([complex(*row) for row in means]), 2)
        known = 2.0 * abs(np.sin(0.5 * frequency * t)) / (frequency * t) * abs(first)
        yield equal("size of the time average of the flow", value, known, error=error, **slack)
        point = first * (np.exp(1j * turning * t) - 1.0) / (1j * turning * t)
        gap, bound = abs(complex(*means[-1]) - point), (frequency * t / counts[-1]) ** 2 * abs(first) / 6.0
        yield at_most("distance from the time average of the flow", gap, bound, error=1e-12, where=f"T = {t:g}")


def _scaled(states: Any, speeds: Sequence[float]) -> list[float]:
    return [float(x.values[0] / np.sqrt(eta)) for x, eta in zip(states, speeds, strict=True)]


def _mean(sol: Solution, speeds: Sequence[float]) -> list[float]:
    running = sol.averages().running
    return [float(running[f"player{k}_values"][-1, 0] / np.sqrt(eta)) for k, eta in enumerate(speeds)]


def _picture(counts: Sequence[int]) -> Found:
    damping = Panel("Dirac-GAN, half a period", r"$\tau$", r"$\log(r_T^2 / r_0^2)$")
    problem = problems.get("G3", r2=1.0)
    taus = 0.5 * problem.constants["period"] / np.asarray(counts, np.float64)
    for scheme in ("explicit simultaneous", "explicit alternating", "explicit extragradient", "explicit optimistic"):
        yield Curve(damping, scheme, taus, [log_growth(problem, scheme, n) for n in counts])
    for sign in (1.0, 0.0, -1.0):
        label = r"$\pm \pi \tau / 2$ and 0" if sign > 0.0 else ""
        yield Curve(damping, label, [0.0, *taus[::-1]], 0.5 * sign * np.pi * np.array([0.0, *taus[::-1]]), role="predicted")
    radius, (game, _) = Panel(r"bilinear game, $\tau = 0.2$", r"$t$", r"$|z|$"), _bilinear(1.0, (1.0, 1.0))
    for scheme in ("simultaneous", "alternating", "implicit", "optimistic"):
        sol = game.solve(0.2, scheme, t=8.0)
        yield Curve(radius, scheme, sol.t, radii(sol, (1.0, 1.0)))
    for sign in (0.5, -0.5):
        yield Curve(radius, "", sol.t, np.exp(sign * 0.2 * sol.t), role="predicted")


_CASES: Mapping[str, Callable[..., Found]] = {
    "growth": _growth,
    "swing": _swing,
    "turns": _turns,
    "averages": _averages,
    "picture": _picture,
}


def _test(case: str, **trial: Any) -> Found:
    yield from _CASES[case](**trial)


def _control(case: str, scheme: str) -> Found:
    """Claim the damping for a cooperative game, or for the flow itself, or that alternating steps damp."""
    panel = Panel("a game that is not zero-sum", r"$\tau$", "log-growth beyond the flow")
    if case == "cooperative":
        problem = problems.get("G22", own=(0.0, 0.0), coupling=(1.0, 1.0), start=(1.0, 1.0))
        taus = np.array([0.1, 0.05, 0.025])
        grown = np.array([np.log(radii(problem.solve(h, scheme, t=1.0), (1.0, 1.0))[-1] / np.sqrt(2.0)) - 1.0 for h in taus])
        value, error = limit(grown / taus, 1)
        yield equal(
            "log-growth beyond that of the flow / tau", value, LEADING[scheme][0], tolerance=0.05, error=error, where=scheme
        )
    else:
        problem = problems.get("G3", r2=1.0)
        taus = 0.5 * problem.constants["period"] / np.array([20.0, 40.0, 80.0])
        grown = np.array([log_growth(problem, scheme, n) for n in (20, 40, 80)])
        value, error = limit(grown if case == "flow" else grown / (0.5 * np.pi * taus), 1)
        claim = float(grown[-1]) if case == "flow" else -1.0
        yield equal("log-growth, tau -> 0", value, claim, tolerance=0.03 * abs(claim), error=error, where=f"{scheme}, {case}")
    if case == "cooperative":
        yield Curve(panel, f"{scheme}, {case}", taus, grown, role="control")


def _quick() -> list[Trial]:
    kappas = [0.2, 0.1, 0.05]
    plain: dict[str, Any] = {"omega": [-1.4], "speeds": [[0.6, 1.5]]}
    names = ["simultaneous", "extragradient", "optimistic", "vim optimistic", "rk2"]
    growth = every(case=["growth"], scheme=names, kappas=[kappas], **plain)
    swing = every(case=["swing"], scheme=["alternating", "symmetric"], kappa=[0.3], steps=[60], **plain)
    names = ["explicit simultaneous", "explicit alternating", "explicit extragradient", "explicit optimistic"]
    turns = every(case=["turns"], scheme=names, r2=[1.0], eta=[2.0], counts=[[30, 60, 120]])
    nash = every(case=["turns"], scheme=["simultaneous"], r2=[0.7], eta=[0.5], counts=[[16, 32, 64]])
    means = every(case=["averages"], times=[[1.0, 5.0]], counts=[[20, 40, 80]], **plain)
    return [*growth, *swing, *turns, *nash, *means, {"case": "picture", "counts": [20, 40, 80]}]


def _full() -> list[Trial]:
    plain: dict[str, Any] = {"omega": [0.9], "speeds": [[1.0, 1.0], [3.0, 0.2]]}
    growth = every(case=["growth"], scheme=list(LEADING), kappas=[[0.2, 0.1, 0.05]], **plain)
    swing = every(case=["swing"], scheme=list(SWING), kappa=[0.1, 0.7], steps=[100], **plain)
    names = [name for name in FIRST if "implicit" not in name]
    turns = every(case=["turns"], scheme=names, r2=[0.5], eta=[1.0], counts=[[40, 80, 160]])
    names = ["implicit", "vim implicit", "bdf2 implicit"]
    nash = every(case=["turns"], scheme=names, r2=[0.7], eta=[3.0], counts=[[24, 48, 96]])
    names = [name for name in FIRST if name.startswith("explicit")]
    large = every(case=["turns"], scheme=names, r2=[2.0], eta=[0.4], counts=[[100, 200, 400]])
    means = every(case=["averages"], times=[[0.5, 3.0, 12.0]], counts=[[64, 128, 256]], **plain)
    return [*_quick(), *growth, *swing, *turns, *nash, *large, *means]


MODIFIED = Theorem(
    name="modified-equation",
    label="6 modified",
    title="damping by extragradient, optimistic and implicit steps is of size tau",
    statement=(
        "Simultaneous steps integrate z' = F - (tau/2) F'F up to tau^2, implicit, extragradient and optimistic ones z' = F "
        "+ (tau/2) F'F, alternating, symmetric and midpoint ones have no damping term of first order. A rotation of "
        "frequency omega so grows like exp(omega^2 tau T / 2), shrinks as fast, or keeps its size, and r^2 of the Dirac-GAN"
        " is multiplied by exp(+- pi sqrt(eta) tau / 2) or 1 in each half period, whatever its size: the flow itself "
        "rotates for ever. Its averages over [0, T] have the size 2 |sin(omega T / 2)| / (omega T) |z_0|."
    ),
    formula=r"\dot z = F \mp \frac{\tau}{2} F^\prime F, \quad |z_T| \approx |z_0| \exp(\pm \omega^2 \tau T / 2)",
    hypotheses=("zero-sum, with F'F = -f^2 z and F = f J z up to speeds", "tau -> 0 at fixed T", "equal steps"),
    source="theory, section 6, modified-equation reading",
    problems=("G1", "G3", "G22"),
    test=_test,
    quick=_quick(),
    full=_full(),
    control=Control(
        "the game is not zero-sum; the claim is made of the flow, not of a scheme; alternating steps are taken for damped ones",
        _control,
        [
            *every(case=["cooperative"], scheme=["simultaneous", "extragradient"]),
            *every(case=["flow"], scheme=["explicit simultaneous", "explicit extragradient"]),
            *every(case=["like implicit steps"], scheme=["explicit alternating", "rk2"]),
        ],
    ),
)

ENTRIES = (MODIFIED,)
