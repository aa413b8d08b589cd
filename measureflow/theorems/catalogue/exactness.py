"""Closed steps and printed numbers: what `problems` and the note know of single steps and flows (theory, 9, 13 (1))."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from measureflow import energies as e
from measureflow import problems
from measureflow.problems import Problem
from measureflow.schemes import JKO
from measureflow.solve import solve
from measureflow.states import Particles, Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.check import Check, at_least, equal
from measureflow.theorems.curves import Curve, Panel

Found = Iterator[Check | Curve]

# closed steps -----------------------------------------------------------------------------------------------------------------

ON_GRIDS = ("PME-B", "AGG-B", "AGG-N", "S3 waves")
"""Problems on grids: there steps are exact up to the width of the cells."""
NOISY = ("N1", "N2", "N5")
OTHERS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "E1": ({"a": 3.0}, {"a": -0.5}),
    "S1": ({"alpha": 0.3, "mean": -2.0, "deviation": 0.3}, {"n": 30}),
    "S2": (
        {"A": [[1.3, 0.3, 0.3], [0.3, 2.3, 0.3], [0.3, 0.3, 5.3]], "cov": [[2.0, 0.1, 0.0], [0.1, 0.3, 0.1], [0.0, 0.1, 1.0]]},
    ),
    "S3": ({"deviation": 0.6, "temperature": 0.5}, {"deviation": 0.7, "dim": 3}),
    "S7": ({"confined": True, "n": 20},),
    "S13": ({"kind": "gaussian"}, {"kind": "particles", "n": 10}),
    "C1": ({"ratio": 1.5, "n": 40},),
    "G1": ({"omega": -2.0, "speeds": (1.0, 4.0)}, {"laws": True, "speeds": (0.5, 1.0)}),
    "G2": ({"P": [[1.0, 0.2], [0.2, 0.5]], "C": [[1.0], [-2.0]], "Q": 0.7, "start": ([1.0, -1.0], 0.5)},),
    "G17": ({"eta": 2.0, "beta": 1.0},),
    "G21": ({"cooperative": False}, {"kind": "gaussian"}),
    "G22": ({"own": (-0.5, 2.0), "coupling": (0.0, 3.0)},),
    "G24": ({"own": 0.3, "coupling": 4.0},),
    "N1": ({"sigma": 0.0},),
    "N2": ({"sigma": 0.0},),
    "N5": ({"deviation": 0.0},),
}
"""Other parameters than the usual ones."""


STEPPING = (
    *("E1", "E2", "E3", "E4", "E5", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S12", "S13", "S14", "S17"),
    *("T7", "F1", "F2", "F4", "G1", "G2", "G10", "G11", "G17", "G21", "G22", "G23", "G24", "N1", "N2", "N4", "N5", "3.7"),
    *("C1", "C2", "AGG-G"),
)
"""Labels of problems with exact steps."""


def _stepping() -> list[tuple[str, int]]:
    """Return labels with exact steps, and numbers of their parameters: -1 for the usual ones, not for noisy problems."""
    return [(label, k) for label in STEPPING for k in range(0 if label in NOISY else -1, len(OTHERS.get(label, ())))]


def _left_out() -> Found:
    made = {label: problems.get(label) for label in problems.names() if label not in ON_GRIDS}
    missing = [label for label, p in made.items() if p.exact_step and label not in STEPPING]
    yield equal("problems with exact steps left out", len(missing), 0.0, tolerance=0.5, where=", ".join(missing))


def _problem(label: str, variant: int) -> Problem:
    return problems.get(label, **(OTHERS[label][variant] if variant >= 0 else {}))


def _steps(label: str, variant: int, taus: list[float]) -> Found:
    """Three steps of tau and a shorter one: each must be the exact step from the state before."""
    p = _problem(label, variant)
    for scheme, step in p.exact_step.items():
        for tau in taus:
            sol = p.solve(tau, scheme, t=p.t_span[0] + 2.6 * tau)
            sizes = np.diff(sol.t)
            gaps = [p.distance(sol.states[k + 1], step(sol.states[k], sizes[k])) for k in range(len(sizes))]
            noise = 2.0 * float(np.max(sol.info["residual"])) + 1e-12
            where = f"{label}, {scheme}, tau = {tau:g}, parameters {variant + 1}"
            yield equal("step - exact step", gaps, 0.0, tolerance=1e-8, error=noise, where=where)


GENERIC: Mapping[str, Mapping[str, Any]] = {
    "E1": {},
    "E3": {},
    "S1": {},
    "S2": {},
    "S3": {},
    "S6": {},
    "S10": {"n": 12},
    "S13": {"kind": "gaussian"},
    "S17": {},
    "AGG-G": {},
}
"""Problems with a smooth energy whose closed step the general descent can find, too."""


def _plain(energy: e.Energy, gain: float = 1.0) -> e.Energy:
    """Return an energy of which only value and gradient are known, so that no closed form applies."""

    def real(state: Any, function: Any) -> Any:
        return function(Vector(state) if isinstance(state, np.ndarray) else state)

    return e.Function(lambda x: gain * real(x, energy.value), lambda x: gain * real(x, energy.gradient))


def _descent(label: str, taus: list[float], gain: float = 1.0) -> Found:
    p = problems.get(label, **GENERIC[label])
    assert isinstance(p.problem, e.Energy)
    for tau in taus:
        closed = solve(p.problem, p.initial, 2 * tau, tau)
        general = solve(_plain(p.problem, gain), p.initial, 2 * tau, tau, scheme=JKO(tolerance=1e-12))
        gap = p.distance(closed.states[-1], general.states[-1])
        where = f"{label}, tau = {tau:g}"
        yield equal("closed step - step by descent", gap, 0.0, tolerance=1e-8, error=1e-9, where=where)


def _closed(part: str, **arguments: Any) -> Found:
    parts: dict[str, Callable[..., Found]] = {"steps": _steps, "descent": _descent, "complete": _left_out}
    yield from parts[part](**arguments)


CLOSED = Panel("a step with tau/2 in its formula", r"$\tau$", "distance from the computed step", "log")


def _halved(label: str, scheme: str) -> Found:
    """Take the exact step of tau/2 in the place of that of tau."""
    p = problems.get(label)
    taus, gaps, right = [0.4, 0.2, 0.1, 0.05], [], []
    for tau in taus:
        sol = p.solve(tau, scheme, t=p.t_span[0] + tau)
        gaps.append(p.distance(sol.states[1], p.exact_step[scheme](sol.states[0], 0.5 * tau)))
        right.append(max(p.distance(sol.states[1], p.exact_step[scheme](sol.states[0], tau)), 1e-17))
    yield equal("step - exact step", gaps, 0.0, tolerance=1e-8, error=1e-9)
    yield Curve(CLOSED, f"{label}, tau", taus, right)
    yield Curve(CLOSED, f"{label}, tau/2", taus, gaps, "control")


def _without_n(n: int, tau: float) -> Found:
    """Atoms that move by -dE/dx_i, in the metric sum |dx_i|^2 of R^(nd), in the place of -n dE/dx_i."""
    rng = np.random.default_rng(n)
    x = Particles(rng.normal(size=(n, 2)))
    step = solve(e.Quadratic(), x, tau, tau).states[-1]
    as_vector = e.Function(lambda z: 0.5 * float(z @ z) / n, lambda z: np.asarray(z) / n)
    wrong = solve(as_vector, Vector(x.points.ravel()), tau, tau).states[-1]
    gap = float(np.max(np.abs(step.points.ravel() - wrong.values)))
    yield equal("closed step - step by descent", gap, 0.0, tolerance=1e-8, error=1e-9)


def _violated(part: str, **arguments: Any) -> Found:
    parts: dict[str, Callable[..., Found]] = {"halved": _halved, "atoms": _without_n, "energy": _descent}
    yield from parts[part](**arguments)


CLOSED_STEPS = Theorem(
    name="closed-steps",
    label="13.1",
    title="steps with a formula are computed by it",
    statement="Wherever a step has a closed form, the scheme returns it, for every size of steps, and for every speed; and it is "
    "the step that a general descent finds, which knows value and gradient of the energy only.",
    formula=r"x_{n+1} = \mathrm{argmin}_u\, E(u) + \frac{d(x_n, u)^2}{2 \tau}",
    hypotheses=("the step is tau", "n equal atoms have the metric (1/n) sum |dx_i|^2"),
    source="theory, sections 9, 12.1, 13 (1)",
    problems=STEPPING,
    test=_closed,
    quick=[
        {"part": "complete"},
        *({"part": "steps", "label": label, "variant": k, "taus": [0.07]} for label, k in _stepping()),
        *every(part=["descent"], label=list(GENERIC), taus=[[0.15]]),
    ],
    full=[
        {"part": "complete"},
        *({"part": "steps", "label": label, "variant": k, "taus": [0.003, 0.03, 0.11, 0.2]} for label, k in _stepping()),
        *every(part=["descent"], label=list(GENERIC), taus=[[0.01, 0.15, 0.8]]),
    ],
    control=Control(
        "the step is tau/2, the factor n is dropped, or the energy is 1 per mille larger",
        _violated,
        [
            *(
                {"part": "halved", "label": label, "scheme": s}
                for label, s in (("E1", "jko"), ("S1", "jko"), ("S13", "vim"), ("G1", "implicit"))
            ),
            *({"part": "atoms", "n": n, "tau": 0.2} for n in (2, 5)),
            *({"part": "energy", "label": label, "taus": [0.15], "gain": 1.001} for label in ("S1", "S2", "E3")),
        ],
    ),
)

# printed numbers --------------------------------------------------------------------------------------------------------------

PRINTED = (
    *(("E3", {}), ("E4", {}), ("S1", {}), ("S2", {}), ("S4", {}), ("S5", {}), ("S9", {}), ("S14", {}), ("F2", {}), ("G2", {})),
    *(("G3", {"r2": r2}) for r2 in (0.5, 1.0, 2.0)),
    *(("G4", {}), ("G5", {}), ("G5", {"strength": 1.0}), ("G7", {}), ("G8", {})),
    *(("G8", {"strength": strength, "size": size}) for strength, size in ((0.3, 0.5), (1.5, 1.0))),
    *(("G12", {}), ("G15", {}), ("N1", {}), ("N2", {})),
    *(("G15", {"eta": eta, "beta": beta}) for eta, beta in ((2.0, 0.5), (1.0, 1.4), (6.0, 0.5))),
    *(("N3", {"n": n}) for n in (2, 4, 16)),
)
SLOW: Sequence[tuple[str, dict[str, Any]]] = (("G4", {}), ("G5", {}))
"""Radii after 500 steps, left to the full level; those of G3 are not."""
DIGITS = Panel("printed numbers", "number", "distance / half a unit of the last digit")


def _printed(label: str, parameters: dict[str, Any], wrong: dict[str, Any] | None = None) -> Found:
    """Numbers of a problem, of its exact flow or of one computed as told; with `wrong` parameters for the control."""
    p = problems.get(label, **parameters)
    q = p if wrong is None else problems.get(label, **wrong)
    yield at_least("printed numbers", len(p.reference), 0.5, where=label)
    for k, (name, printed) in enumerate(p.reference.items()):
        if printed.scheme is None:
            seen = printed.measure(q.exact(printed.t) if q.exact is not None else None)
        else:
            seen = printed.measure(q.solve(printed.tau or 1.0, printed.scheme, t=printed.t).states[-1])
        tolerance = printed.tolerance
        yield equal("number", seen, printed.value, tolerance=tolerance, error=1e-9 * tolerance, where=f"{label}, {name}")
        off = abs(float(seen) - printed.value) / tolerance
        if wrong is None:
            yield Curve(DIGITS, "", [k], [off])
        else:
            yield Curve(DIGITS, f"{label}, another parameter", [k], [min(off, 5.0)], "control")


PRINTED_NUMBERS = Theorem(
    name="printed-numbers",
    label="9",
    title="the numbers of the note are those of the package",
    statement="Every number printed in section 9 is that of the exact flow, or of the scheme named with it, to its last digit.",
    formula=r"\left|x_{\mathrm{computed}} - x_{\mathrm{printed}}\right| \leq \frac{1}{2} 10^{-k}",
    hypotheses=("the parameters are those printed",),
    source="theory, sections 9, 11",
    problems=tuple(dict.fromkeys([label for label, _ in PRINTED])),
    test=_printed,
    quick=[{"label": label, "parameters": parameters} for label, parameters in PRINTED if (label, parameters) not in SLOW],
    full=[{"label": label, "parameters": parameters} for label, parameters in PRINTED],
    control=Control(
        "a parameter differs by a per mille",
        _printed,
        [
            {"label": label, "parameters": {}, "wrong": wrong}
            for label, wrong in (
                ("S1", {"alpha": 1.001}),
                ("S2", {"cov": [[0.3003, -0.2], [-0.2, 1.5]]}),
                ("G2", {"C": 2.002}),
            )
        ],
    ),
)

ENTRIES = (CLOSED_STEPS, PRINTED_NUMBERS)
