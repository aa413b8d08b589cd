"""Flows of potentials: every law flows by pushing its points (theory, section 9.1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Potential, Quadratic
from measureflow.problems.base import Printed, Problem, midpoint
from measureflow.recipes import named
from measureflow.states import Particles, Quantiles, State, Vector

Map = Callable[[np.ndarray], np.ndarray]


def pushed(state: State, function: Map) -> State:
    """Return the state with every coordinate moved by a function of one variable."""
    return state.replace(function(state.coordinates))


def _start(initial: State | None, default: float) -> State:
    if initial is None:
        return Vector(default)
    return check.instance("initial", initial, (Vector, Particles, Quantiles), "a Vector, Particles or Quantiles")


def _coordinate(state: State) -> float:
    return float(state.coordinates.ravel()[0])


def quadratic(a: float = 1.0, initial: State | None = None) -> Problem:
    """E1: V = (a/2) |x|^2 with x_t = exp(-a t) x_0; a minimizing movement divides by 1 + a tau."""
    a = check.scalar("a", a)
    x0 = _start(initial, 1.0)
    return Problem(
        label="E1",
        title=f"quadratic potential, a = {a:g}",
        source="theory.md, 9.1 E1",
        problem=Quadratic(a),
        initial=x0,
        t_span=(0.0, 1.0),
        exact=lambda t: pushed(x0, lambda x: np.exp(-a * t) * x),
        exact_step={
            "jko": lambda state, tau: pushed(state, lambda x: x / (1.0 + a * tau)),
            "explicit": lambda state, tau: pushed(state, lambda x: (1.0 - a * tau) * x),
            "vim": lambda state, tau: pushed(state, lambda x: (1.0 - 0.5 * a * tau) / (1.0 + 0.5 * a * tau) * x),
        },
        factors={
            "jko": lambda tau: 1.0 / (1.0 + a * tau),
            "explicit": lambda tau: 1.0 - a * tau,
            "vim": lambda tau: (1.0 - 0.5 * a * tau) / (1.0 + 0.5 * a * tau),
        },
    )


@named("absolute value")
def _absolute(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(x).sum(axis=1))


@named("sign")
def _sign(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.sign(x))


@named("soft threshold")
def _threshold(x: np.ndarray, tau: float) -> np.ndarray:
    return np.asarray(np.sign(x) * np.maximum(np.abs(x) - tau, 0.0))


@named("quartic")
def _quartic(x: np.ndarray) -> np.ndarray:
    return np.asarray((x**4).sum(axis=1) / 4.0)


@named("cube")
def _cube(x: np.ndarray) -> np.ndarray:
    return np.asarray(x**3)


@named("double well")
def _well(x: np.ndarray) -> np.ndarray:
    return np.asarray(((x**2 - 1.0) ** 2).sum(axis=1) / 4.0)


@named("slope of the double well")
def _well_slope(x: np.ndarray) -> np.ndarray:
    return np.asarray(x**3 - x)


def absolute_value(initial: State | None = None) -> Problem:
    """E2: V = |x| on the line with x_t = sign(x_0) (|x_0| - t)_+; the JKO step, a soft threshold, is exact."""
    x0 = _start(initial, 0.7)
    return Problem(
        label="E2",
        title="absolute value, arrives in finite time",
        source="theory.md, 9.1 E2",
        problem=Potential(_absolute, _sign, prox=_threshold, convexity=0.0),
        initial=x0,
        t_span=(0.0, 1.0),
        exact=lambda t: pushed(x0, lambda x: _threshold(x, t)),
        exact_step={"jko": lambda state, tau: pushed(state, lambda x: _threshold(x, tau))},
    )


def quartic(initial: State | None = None) -> Problem:
    """E3: V = x^4/4 on the line with x_t = x_0 / sqrt(1 + 2 x_0^2 t); convex, but not strongly."""
    x0 = _start(initial, 2.0)
    reference = {"x(1.2)": Printed("0.6142951168", _coordinate, 1.2)} if initial is None else {}
    return Problem(
        label="E3",
        title="quartic potential, decays like t^(-1/2)",
        source="theory.md, 9.1 E3",
        problem=Potential(_quartic, _cube, convexity=0.0),
        initial=x0,
        t_span=(0.0, 1.2),
        exact=lambda t: pushed(x0, lambda x: x / np.sqrt(1.0 + 2.0 * x**2 * t)),
        exact_step={
            "jko": lambda state, tau: pushed(state, lambda x: cubic_root(tau, 1.0, x)),
            "vim": midpoint(lambda state, tau: pushed(state, lambda x: cubic_root(tau, 1.0, x))),
            "explicit": lambda state, tau: pushed(state, lambda x: x - tau * x**3),
        },
        reference=reference,
    )


def double_well(initial: State | None = None) -> Problem:
    """E4: V = (x^2 - 1)^2/4 on the line with x_t = x_0 e^t / sqrt(1 + x_0^2 (e^(2t) - 1)); lambda = -1: tau < 1."""
    x0 = _start(initial, 0.3)
    reference = {"x(1.2)": Printed("0.7222034735", _coordinate, 1.2)} if initial is None else {}
    return Problem(
        label="E4",
        title="double well",
        source="theory.md, 9.1 E4",
        problem=Potential(_well, _well_slope, convexity=-1.0),
        initial=x0,
        t_span=(0.0, 1.2),
        exact=lambda t: pushed(x0, lambda x: x * np.exp(t) / np.sqrt(1.0 + x**2 * np.expm1(2.0 * t))),
        exact_step={
            "jko": lambda state, tau: pushed(state, lambda x: cubic_root(tau, 1.0 - tau, x)),
            "vim": midpoint(lambda state, tau: pushed(state, lambda x: cubic_root(tau, 1.0 - tau, x))),
            "explicit": lambda state, tau: pushed(state, lambda x: x - tau * (x**3 - x)),
        },
        reference=reference,
    )


def stiff_diagonal(roughness: float = 1.51, modes: int = 100, t: float = 1.0) -> Problem:
    """E5: V = sum k^2 x_k^2/2 from x_k = k^(-roughness): the start is as rough as the order of JKO is low (T3).

    The error of minimizing movements, uniformly in time, has the order min(1, roughness/2 - 1/4) in tau, as long as tau modes^2
    is large: 1/4, 1/2 and 1 from roughness 1, 3/2 and 5/2 on; below 3/2 even the energy of the start is infinite.
    """
    a = check.scalar("roughness", roughness)
    k = np.arange(1.0, check.integer("modes", modes, least=1) + 1.0)
    x0 = Vector(k**-a)
    return Problem(
        label="E5",
        title=f"stiff diagonal with rough data, roughness {a:g}",
        source="theory.md, 9.1 E5 and 5.1 T3",
        problem=Quadratic(np.diag(k**2)),
        initial=x0,
        t_span=(0.0, t),
        exact=lambda time: pushed(x0, lambda x: np.exp(-(k**2) * time) * x),
        exact_step={
            "jko": lambda state, tau: pushed(state, lambda x: x / (1.0 + tau * k**2)),
            "vim": midpoint(lambda state, tau: pushed(state, lambda x: x / (1.0 + tau * k**2))),
            "explicit": lambda state, tau: pushed(state, lambda x: (1.0 - tau * k**2) * x),
        },
        constants={"order": float(np.clip(0.5 * a - 0.25, 0.0, 1.0))},
    )


def cubic_root(a: float, b: float, right: np.ndarray) -> np.ndarray:
    """Return the real solution u of a u^3 + b u = right for a, b > 0.

    Cardano in hyperbolic form, u = 2 r sinh(arsinh(right / (2 a r^3)) / 3) with r = sqrt(b / (3 a)): no cancellation.
    """
    r = np.sqrt(b / (3.0 * a))
    return np.asarray(2.0 * r * np.sinh(np.arcsinh(right / (2.0 * a * r**3)) / 3.0))
