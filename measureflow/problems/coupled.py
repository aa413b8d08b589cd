"""Coupled flows: double wells, pursuit, cooperation, unbounded and explicit couplings (theory, sections 3, 5.2 and 9.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Quadratic
from measureflow.games import Bilinear, Pursuit, QuadraticGame, Regularised
from measureflow.problems.base import ExactStep, Problem
from measureflow.problems.games import linear_quadratic
from measureflow.problems.ode import integrated
from measureflow.problems.potentials import double_well
from measureflow.states import Gaussian, Quantiles, State, Vector

Pair = tuple[Any, Any]


def double_well_cycle(c: float = 10.0, start: tuple[float, float] = (1.2, 0.0), t: float = 1.0) -> Problem:
    """G18: x' = x - x^3 - c y, y' = c x + y - y^3: for large c an attracting cycle, r^2 -> 4/3 and frequency c.

    Averaged over an angle, (r^2)' = 2 r^2 - (3/2) r^4: deviations from 4/3 decay like exp(-2t).
    """
    c = check.scalar("c", c)
    x0, y0 = (check.scalar(f"start[{k}]", entry) for k, entry in enumerate(check.entries("start", start, 2, "x and y")))

    well = double_well().problem
    assert isinstance(well, Energy)
    flow = integrated(lambda z: [z[0] - z[0] ** 3 - c * z[1], c * z[0] + z[1] - z[1] ** 3], [x0, y0])
    return Problem(
        label="G18",
        title=f"double wells with a rotation, c = {c:g}",
        source="theory.md, 8 M6 and 9.4 G18; reference flow by DOP853",
        problem=Regularised(Bilinear(c), [well, well]),
        initial=(Vector(x0), Vector(y0)),
        t_span=(0.0, t),
        exact=lambda time: (Vector(flow(time)[0]), Vector(flow(time)[1])),
        constants={"limit of r^2": 4.0 / 3.0, "limit of the frequency": c},
    )


# two laws ----------------------------------------------------------------------------------------------------------


def pursuit(cooperative: bool = True, kind: str = "quantiles", n: int = 50, t: float = 1.0) -> Problem:
    """G21: two laws X, Y on the line that descend W2^2/2 (cooperative), or one descends and the other ascends it.

    Cooperative: Y - X decays like exp(-2t), the midpoint stays. Zero-sum: Y - X stays, both translate with velocity Y - X.
    `kind` is "quantiles" or "gaussian", with (mean, deviation) in place of the quantiles.
    """
    check.choice("kind", kind, ("quantiles", "gaussian"))
    levels = (np.arange(check.integer("n", n, least=2)) + 0.5) / n
    laws = (Quantiles(levels**2), Quantiles(1.0 + levels + levels**3)) if kind == "quantiles" else _two_gaussians()
    game = Pursuit(cooperative)
    return Problem(
        label="G21",
        title=("two laws that meet" if game.cooperative else "pursuit") + f", {kind}",
        source="theory.md, 9.4 G21",
        problem=game,
        initial=laws,
        t_span=(0.0, t),
        exact=lambda time: _met(laws, float(np.exp(-2.0 * time))) if game.cooperative else _moved(laws, time, time),
        exact_step=_pursuit_steps(game.cooperative),
        invariants={"midpoint": lambda states: _mean_of(states, 0.5, 0.5)}
        if game.cooperative
        else {"distance of the means": lambda states: _mean_of(states, -1.0, 1.0)},
        factors={"simultaneous": lambda tau: (1.0 - tau) / (1.0 + tau), "explicit simultaneous": lambda tau: 1.0 - 2.0 * tau}
        if game.cooperative
        else {},
        constants={"decay of Y - X": 2.0 if game.cooperative else 0.0},
    )


def _two_gaussians() -> tuple[Gaussian, Gaussian]:
    return Gaussian(-1.0, 0.25), Gaussian(2.0, 1.44)


def _numbers(law: State) -> np.ndarray:
    """Return coordinates in which W2 is Euclidean: quantiles, or (mean, deviation)."""
    return np.array([law.mean[0], np.sqrt(law.cov[0, 0])]) if isinstance(law, Gaussian) else law.coordinates


def _law(like: State, numbers: np.ndarray) -> State:
    return Gaussian(numbers[0], numbers[1] ** 2) if isinstance(like, Gaussian) else like.replace(numbers)


def _moved(states: Pair, first: float, second: float) -> Pair:
    """Return (X + first (Y - X), Y + second (Y - X))."""
    x, y = (_numbers(law) for law in states)
    return _law(states[0], x + first * (y - x)), _law(states[1], y + second * (y - x))


def _met(states: Pair, factor: float) -> Pair:
    """Return the laws with Y - X multiplied by a factor, the midpoint kept."""
    return _moved(states, 0.5 * (1.0 - factor), -0.5 * (1.0 - factor))


def _mean_of(states: Pair, first: float, second: float) -> float:
    x, y = (float(np.mean(_numbers(law)[:1] if isinstance(law, Gaussian) else _numbers(law))) for law in states)
    return first * x + second * y


def _pursuit_steps(cooperative: bool) -> dict[str, ExactStep]:
    """Return steps on X and Y: a minimizing movement goes the share tau/(1 + tau) of the way, away by tau/(1 - tau)."""

    def scheme(there: Callable[[float], float], away: Callable[[float], float]) -> ExactStep:
        return lambda states, tau: _moved(states, there(tau), -there(tau) if cooperative else away(tau))

    return {
        "simultaneous": scheme(lambda tau: tau / (1.0 + tau), lambda tau: tau / (1.0 - tau)),
        "explicit simultaneous": scheme(lambda tau: tau, lambda tau: tau),
    }


# linear flows ------------------------------------------------------------------------------------------------------


def cooperation(
    own: tuple[float, float] = (1.0, 0.5),
    coupling: tuple[float, float] = (0.7, 1.2),
    start: tuple[float, float] = (1.0, 0.4),
    t: float = 1.0,
) -> Problem:
    """G22: E1 = l1 x^2/2 - L1 x y, E2 = l2 y^2/2 - L2 x y, for which the bound of D1 is an equality.

    Two orbits with differences a = |x - x~|, b = |y - y~| of equal signs satisfy (a, b)(t) = exp(tM) (a, b)(0) with
    M = [[-l1, L1], [L2, -l2]]; `start` is the difference from the orbit that rests at 0.
    """
    from scipy.linalg import expm

    l1, l2 = (check.scalar(f"own[{k}]", entry) for k, entry in enumerate(check.entries("own", own, 2, "l1 and l2")))
    pair = check.entries("coupling", coupling, 2, "L1 and L2")
    up, down = (check.scalar(f"coupling[{k}]", entry, least=0.0) for k, entry in enumerate(pair))
    matrix = np.array([[-l1, up], [down, -l2]])
    z0 = np.array([check.scalar(f"start[{k}]", entry) for k, entry in enumerate(check.entries("start", start, 2, "x and y"))])

    def split(z: np.ndarray) -> Pair:
        return Vector(z[0]), Vector(z[1])

    return Problem(
        label="G22",
        title="cooperative linear-quadratic game",
        source="theory.md, 3.3 D1 and 9.4 G22",
        problem=QuadraticGame(l1, -up, l2, -down),
        initial=split(z0),
        t_span=(0.0, t),
        exact=lambda time: split(expm(time * matrix) @ z0),
        exact_step=_metzler_steps(matrix, split),
        constants={"growth rate": float(-0.5 * (l1 + l2) + np.sqrt(0.25 * (l1 - l2) ** 2 + up * down))},
    )


def _metzler_steps(matrix: np.ndarray, split: Callable[[np.ndarray], Pair]) -> dict[str, ExactStep]:
    """Return (I - tau left) z+ = (I + tau (M - left)) z, with `left` the part of M that a scheme sees at the new states."""
    eye, own, low = np.eye(2), np.diag(np.diag(matrix)), np.tril(matrix, -1)

    def scheme(left: np.ndarray) -> ExactStep:
        def step(states: Pair, tau: float) -> Pair:
            z = np.array([float(state.values[0]) for state in states])
            return split(np.linalg.solve(eye - tau * left, (eye + tau * (matrix - left)) @ z))

        return step

    return {
        "simultaneous": scheme(own),
        "alternating": scheme(own + low),
        "implicit": scheme(matrix),
        "explicit simultaneous": scheme(0.0 * own),
        "explicit alternating": scheme(low),
    }


def unbounded_coupling(
    modes: int = 12, decay: float = 1.51, symmetric: bool = False, t: float = 1.0, ratio: float | None = None
) -> Problem:
    """G23: J = sum_k k x_k y_k with data k^-decay: the coupling has no Lipschitz constant as the number of modes grows (D5).

    With decay 1.51, just in the domain, implicit steps converge with order 1/2 only. ``symmetric=True`` is the gradient flow
    x_k' = -k x_k from the same data, whose minimizing movements have order 1. With a ratio k takes the values 1, ratio, ratio^2,
    ... only, each with the data of all numbers around it, sqrt(k log ratio) times as large: few modes then reach far.
    """
    k = np.arange(1.0, check.integer("modes", modes, least=1) + 1.0)
    k = k if ratio is None else check.scalar("ratio", ratio, above=1.0) ** (k - 1.0)
    data = k ** -check.scalar("decay", decay) * (1.0 if ratio is None else np.sqrt(k * np.log(ratio)))
    if check.flag("symmetric", symmetric):
        return _symmetric_rates(k, data, t)

    def turned(states: Pair, multiplier: np.ndarray) -> Pair:
        z = (states[0].values + 1j * states[1].values) * multiplier
        return Vector(z.real), Vector(z.imag)

    start = (Vector(data), Vector(data))
    return Problem(
        label="G23",
        title=f"bilinear game with frequencies 1 to {k[-1]:g}",
        source="theory.md, 5.2 D5 and 9.4 G23",
        problem=Bilinear(np.diag(k)),
        initial=start,
        t_span=(0.0, t),
        exact=lambda time: turned(start, np.exp(1j * k * time)),
        exact_step={
            "simultaneous": lambda states, tau: turned(states, 1.0 + 1j * k * tau),
            "implicit": lambda states, tau: turned(states, 1.0 / (1.0 - 1j * k * tau)),
        },
        invariants={"radius": lambda states: float(np.linalg.norm(states[0].values + 1j * states[1].values))},
        constants={"order of implicit steps": 0.5},
    )


def _symmetric_rates(k: np.ndarray, data: np.ndarray, t: float) -> Problem:
    return Problem(
        label="G23",
        title=f"gradient flow with rates 1 to {k[-1]:g}",
        source="theory.md, 5.2 D5 and 9.4 G23",
        problem=Quadratic(np.diag(k)),
        initial=Vector(data),
        t_span=(0.0, t),
        exact=lambda time: Vector(data * np.exp(-k * time)),
        exact_step={"jko": lambda state, tau: Vector(state.values / (1.0 + k * tau))},
        constants={"order of minimizing movements": 1.0},
    )


def explicit_coupling(own: float = 0.5, coupling: float = 2.0, t: float = 1.0) -> Problem:
    """G24: J = (l/2) x^2 + c x y - (l/2) y^2 with c > l > 0: largest stable steps of schemes with an explicit coupling (D7).

    Simultaneous minimizing movements have |multiplier|^2 = (1 + c^2 tau^2)/(1 + l tau)^2 and are stable for
    tau (c^2 - l^2) < 2l, explicit steps for tau < 2l/(l^2 + c^2), alternating ones for c tau < 2 + l tau; implicit always.
    """
    own = check.scalar("own", own, above=0.0)
    c = check.scalar("coupling", coupling, above=own)
    return replace(
        linear_quadratic(own, c, own, t=t),
        label="G24",
        title=f"explicit coupling, l = {own:g}, c = {c:g}",
        source="theory.md, 5.2 D7 and 9.4 G24",
        constants={
            "largest stable simultaneous tau": 2.0 * own / (c**2 - own**2),
            "largest stable explicit simultaneous tau": 2.0 * own / (c**2 + own**2),
            "largest stable alternating tau": 2.0 / (c - own),
            "exact modulus of alternating up to tau": float(2.0 * (own + np.hypot(own, c)) / c**2),
        },
    )
