"""Exact flows: every flow of which `problems` knows a formula (theory, 9, 13 (2))."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from measureflow import energies as e
from measureflow import problems
from measureflow.solve import solve
from measureflow.theorems.base import Control, Theorem
from measureflow.theorems.catalogue._battery import SCHEMES
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]

# exact flows ------------------------------------------------------------------------------------------------------------------

ORDERS: Mapping[str, float] = {
    **dict.fromkeys(("jko", "explicit", "forward-backward", "mirror", "implicit mirror"), 1.0),
    **dict.fromkeys(("simultaneous", "alternating", "implicit", "explicit simultaneous", "explicit alternating"), 1.0),
    **dict.fromkeys(("extragradient", "optimistic"), 1.0),
    **dict.fromkeys(
        ("vim", "extrapolated-vim", "bdf2", "extrapolated-bdf2", "three-stage", "richardson", "rk2", "splitting"), 2.0
    ),
    **dict.fromkeys(("adjoint", "vim symmetric", "vim implicit", "vim optimistic", "bdf2 implicit", "bdf2 optimistic"), 2.0),
    "rk4": 4.0,
}
"""Orders of the schemes, theory 4.2, 4.4, 4.5."""
WITHIN = {1.0: 0.05, 2.0: 0.1, 4.0: 0.2}
SINGLE = (
    "jko",
    "vim",
    "bdf2",
    "three-stage",
    "richardson",
    "extrapolated-vim",
    "extrapolated-bdf2",
    "forward-backward",
    "explicit",
    "rk2",
    "rk4",
)
IMPLICIT = SINGLE[:7]
GAMES = (
    *("alternating", "simultaneous", "implicit", "explicit simultaneous", "explicit alternating", "extragradient", "optimistic"),
    *("adjoint", "vim symmetric", "vim implicit", "vim optimistic", "bdf2 implicit", "bdf2 optimistic", "rk2", "rk4"),
)
SMALL: Mapping[str, Mapping[str, Any]] = {
    **{label: {"n": 24} for label in ("S4", "S5", "S10", "S13", "S12", "G21", "3.7", "C1", "C2")},
    "S7": {"n": 21},
    "S8": {"n": 21},
    "S9": {"n": 60},
    "T7": {"n": 12},
    "F2": {"n": 60},
    "M2": {"n": 24},
    "D9": {"n": 24},
    "G3": {"t": 2.0},
    "G7": {"t": 0.25},
    "G23": {"modes": 4},
    "G8": {"t": 0.9},
    "G12": {"t": 1.0},
    "G15": {"t": 0.7},
    "G17": {"t": 1.0},
    "N1": {"sigma": 0.0},
    "N2": {"sigma": 0.0},
    "N5": {"deviation": 0.0},
}
"""Parameters of problems for short flows."""
Plan = tuple[tuple[str, ...], int]
FLOWS: Mapping[str, Plan] = {
    **{label: (SINGLE, 20) for label in ("E1", "E4", "S1", "S2", "S6", "S10", "S13", "S17")},
    "E2": (("jko", "bdf2", "three-stage", "richardson"), 20),
    "E3": (("jko", "vim", "bdf2", "three-stage", "rk2"), 40),
    "E5": (("jko",), 40),
    "S3": (SINGLE, 20),
    "S4": (IMPLICIT, 20),
    "S5": (IMPLICIT, 20),
    "S7": (("jko", "vim", "bdf2"), 10),
    "S8": (("jko", "vim", "bdf2", "three-stage"), 20),
    "S9": (("jko", "richardson"), 10),
    "S12": (("jko", "bdf2", "three-stage"), 10),
    "S14": (("jko", "vim", "three-stage", "explicit", "rk2", "rk4"), 20),
    "T7": (("vim",), 10),
    "F1": (("jko", "mirror", "vim", "explicit", "rk2", "rk4", "implicit mirror"), 20),
    "F2": (("mirror", "implicit mirror"), 40),
    "F4": (("mirror", "jko", "vim", "bdf2", "explicit", "rk2", "rk4"), 20),
    "G1": (GAMES, 20),
    "G2": (GAMES, 40),
    "G3": (GAMES, 20),
    "G7": (GAMES, 20),
    "G8": (("alternating", "explicit alternating", "adjoint", "vim symmetric", "vim implicit"), 20),
    "G9": (("alternating", "implicit", "explicit simultaneous", "adjoint", "vim implicit", "rk4"), 40),
    "G10": (("explicit simultaneous", "adjoint", "rk2", "rk4"), 40),
    "G11": (GAMES, 20),
    "G12": (("explicit alternating", "alternating", "vim symmetric", "rk4"), 20),
    "G15": (GAMES, 20),
    "G17": (("alternating", "explicit simultaneous", "adjoint", "vim implicit", "rk4"), 20),
    "G18": (("rk4", "alternating", "adjoint", "vim implicit"), 120),
    "G21": (("alternating", "explicit simultaneous", "vim implicit", "rk4"), 20),
    "G22": (GAMES, 20),
    "G23": (("rk4", "implicit", "vim implicit", "bdf2 implicit"), 60),
    "G24": (GAMES, 40),
    "M2": (("explicit alternating", "alternating", "adjoint"), 20),
    "D9": (("rk4", "alternating"), 60),
    "N1": (("jko", "explicit"), 20),
    "N2": (("explicit simultaneous",), 20),
    "N3": (("jko", "rk4"), 20),
    "N4": (("jko", "explicit", "rk4"), 20),
    "N5": (("explicit simultaneous",), 20),
    "7.2 chi2": (("explicit", "jko", "vim", "rk4"), 20),
    "7.2 JS": (("explicit", "jko", "vim", "rk4"), 20),
    "7.2 NS": (("explicit", "jko", "vim", "rk4"), 20),
    "7.2 MMD": (("jko", "explicit", "rk4"), 20),
    "8 WFR": (("explicit", "jko", "splitting", "rk4"), 40),
    "3.7": (("simultaneous", "alternating", "vim implicit", "rk4"), 20),
    "C1": (("jko",), 20),
    "C2": (("jko",), 20),
    "AGG-G": (SINGLE, 20),
}
"""Schemes that follow the exact flow of a problem with their orders, and the number of steps of the longest tau."""
ELSEWHERE = ("S3 waves", "F3", "PME-B", "AGG-B", "AGG-N")
"""Problems on grids, of second order in the width of the cells: see `grids`."""
EXACT = 1e-9
"""Bound of the error of schemes that are exact at their times, whatever tau is."""


def _follow(label: str, scheme: str, steps: int) -> Found:
    p = problems.get(label, **SMALL.get(label, {}))
    taus = (p.t_span[1] - p.t_span[0]) / (steps * np.array([1.0, 2.0, 4.0]))
    sols = [p.solve(tau, scheme if scheme in problems.SCHEMES else SCHEMES[scheme], save_at=10**6) for tau in taus]
    errors = np.array([p.error(sol) for sol in sols])
    where = f"{label}, {scheme}"
    if errors[0] < EXACT:
        yield at_most("error of exact schemes", errors, EXACT, where=where)
        return
    expected = ORDERS[scheme]
    found = order(taus, errors)
    yield equal("order", found.value, expected, tolerance=WITHIN[expected], error=found.error, where=where)
    yield at_most("error at the shortest tau / length", errors[-1] / p.distance(p.initial, sols[-1].states[-1]), 0.1, where=where)
    if label in DRAWN:
        yield Curve(FOLLOWED[label], scheme, taus, errors)
        if scheme in ("jko", "vim", "rk4", "alternating", "vim implicit"):
            yield Curve(FOLLOWED[label], rf"$\tau^{expected:g}$", taus, errors[0] * (taus / taus[0]) ** expected, "predicted")


DRAWN = ("S1", "G2")
FOLLOWED = {label: Panel(f"{label}: distance from the exact flow", r"$\tau$", "error at the end", "log") for label in DRAWN}


def _velocity(label: str, share: float) -> Found:
    """Compare an explicit step of size h from the exact flow with it: if its velocity is -grad E, they differ by O(h^2)."""
    p = problems.get(label, **SMALL.get(label, {}))
    assert p.exact is not None
    t = p.t_span[0] + share * (p.t_span[1] - p.t_span[0])
    hs, here = 1e-3 / 2.0 ** np.arange(3), p.exact(t)
    options: dict[str, Any] = {"scheme": "explicit", "speeds": p.speeds, "metric": p.metrics}
    gaps = []
    for h in hs:
        sol = solve(p.problem, here, (t, t + h), h, **options)
        gaps.append(p.distance(sol.states[-1], p.exact(t + h)))
    if max(gaps) < 1e-10:
        yield at_most("difference of an explicit step", gaps, 1e-10, where=label)
    else:
        found = order(hs, gaps)
        yield at_least(
            "order of the difference of an explicit step", found.value, 2.0, tolerance=0.1, error=found.error, where=label
        )


def _unchanged(label: str, share: float) -> Found:
    """Look whether the exact flow begins at the initial state, and conserves its invariants."""
    p = problems.get(label, **SMALL.get(label, {}))
    assert p.exact is not None
    yield equal(
        "distance of the exact flow from the initial state",
        p.distance(p.exact(p.t_span[0]), p.initial),
        0.0,
        tolerance=1e-11,
        where=label,
    )
    for name, invariant in p.invariants.items():
        values = [invariant(p.exact(t)) for t in np.linspace(*p.t_span, 5)]
        yield equal("invariant of the exact flow", values, values[0], tolerance=1e-10, where=f"{label}, {name}")


def _left_out() -> Found:
    made = {label: problems.get(label) for label in problems.names()}
    missing = [label for label, p in made.items() if p.exact is not None and label not in (*FLOWS, *ELSEWHERE)]
    yield equal("problems with exact flows left out", len(missing), 0.0, tolerance=0.5, where=", ".join(missing))


def _flows(part: str, **arguments: Any) -> Found:
    parts: dict[str, Callable[..., Found]] = {"order": _follow, "velocity": _velocity, "start": _unchanged, "complete": _left_out}
    yield from parts[part](**arguments)


def _misled(label: str, scheme: str, change: str) -> Found:
    """Solve with another energy, or claim a higher order."""
    p = problems.get(label)
    taus = (p.t_span[1] - p.t_span[0]) / np.array([20.0, 40.0, 80.0])
    factor = 1.001 if change == "energy" else 1.0
    assert isinstance(p.problem, e.Energy)
    made = [solve(factor * p.problem, p.initial, p.t_span, tau, scheme=problems.SCHEMES[scheme], save_at=10**6) for tau in taus]
    errors = [p.error(sol) for sol in made]
    found, expected = order(taus, errors), ORDERS[scheme] + (0.1 if change == "order" else 0.0)
    yield equal("order", found.value, expected, tolerance=0.05, error=found.error, where=f"{label}, {scheme}, {change}")
    if label in FOLLOWED:
        yield Curve(FOLLOWED[label], f"{scheme}, another {change}", taus, errors, "control")


SLOW = ("G9", "G10", "G18", "G23", "D9", "7.2 JS", "7.2 NS", "7.2 MMD", "AGG-G")
"""Problems whose flows are left to the full level; their velocities are not."""
SINGULAR = ("E2", "S7", "S8", "S9", "S12", "T7", "C1", "C2", "F2", "F3", "8 WFR", "E5")
"""Problems whose velocity jumps, is infinite at first, or lives on a grid."""
EXACT_FLOWS = Theorem(
    name="exact-flows",
    label="13.2",
    title="schemes follow the exact flows, with their orders",
    statement="For every problem with an exact flow the error at a fixed time falls with the order of the scheme: 1 for "
    "minimizing movements and explicit steps, 2 for midpoint, two-step, three-stage schemes, 4 for RK4; exact schemes "
    "are so to rounding. The exact flow has the velocity -grad E, begins at the initial state, and conserves its invariants.",
    formula=r"d\left(x_n, x(t_n)\right) = C \tau^p + o(\tau^p), \quad p = 1, 2, 4",
    hypotheses=("the flow is smooth", "the energy and the speed of the steps are those of the flow"),
    source="theory, sections 4.2, 4.4, 4.5, 9, 13 (2)",
    problems=tuple(FLOWS),
    test=_flows,
    quick=[
        {"part": "complete"},
        *(
            {"part": "order", "label": label, "scheme": schemes[0], "steps": steps}
            for label, (schemes, steps) in FLOWS.items()
            if label not in SLOW
        ),
        *({"part": "velocity", "label": label, "share": 0.37} for label in FLOWS if label not in SINGULAR),
        *({"part": "start", "label": label, "share": 0.0} for label in FLOWS),
    ],
    full=[
        {"part": "complete"},
        *(
            {"part": "order", "label": label, "scheme": scheme, "steps": steps}
            for label, (schemes, steps) in FLOWS.items()
            for scheme in schemes
        ),
        *(
            {"part": "velocity", "label": label, "share": share}
            for share in (0.13, 0.37, 0.82)
            for label in FLOWS
            if label not in SINGULAR
        ),
        *({"part": "start", "label": label, "share": 0.0} for label in FLOWS),
    ],
    control=Control(
        "the energy is 1 per mille larger, or an order .1 higher is claimed",
        _misled,
        [
            {"label": "S1", "scheme": "vim", "change": "energy"},
            {"label": "S13", "scheme": "rk4", "change": "energy"},
            {"label": "S1", "scheme": "jko", "change": "order"},
            {"label": "S1", "scheme": "bdf2", "change": "order"},
        ],
    ),
)

ENTRIES = (EXACT_FLOWS,)
