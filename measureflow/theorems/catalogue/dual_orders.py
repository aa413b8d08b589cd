"""Which dual schemes have which order (theory, D5, 4.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._dual import order_check, scheme_of, smooth_game
from measureflow.theorems.check import Check, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

# D5 ----------------------------------------------------------------------------------------------------------------

UNBOUNDED = Panel("error at $T = 1$, data $k^{-1.51}$", r"$\tau$", "error", "log")


def _d5(symmetric: bool, taus: Sequence[float], **parameters: Any) -> Iterator[Check | Curve]:
    """Measure the order of implicit steps where the coupling is unbounded, or of the symmetric flow with the same rates."""
    problem = problems.get("G23", symmetric=symmetric, **parameters)
    errors = [problem.error(problem.solve(tau, "jko" if symmetric else "implicit")) for tau in taus]
    found, goal = order(taus, errors), 1.0 if symmetric else 0.5
    allowed = 0.05 if symmetric else 0.03
    name = "order of the symmetric flow" if symmetric else "order of implicit steps, unbounded coupling"
    yield equal(name, found.value, goal, tolerance=allowed, error=found.error, where=problem.title)
    if "ratio" in parameters:
        yield Curve(UNBOUNDED, "symmetric flow" if symmetric else "skew coupling, implicit", taus, errors)
        line = errors[-1] * (np.asarray(taus) / taus[-1]) ** goal
        yield Curve(UNBOUNDED, rf"$\tau^{{{goal:g}}}$", taus, line, "predicted")


def _few_modes(modes: int, taus: Sequence[float]) -> Iterator[Check | Curve]:
    """Claim the half order where the coupling is bounded."""
    problem = problems.get("G23", modes=modes)
    errors = [problem.error(problem.solve(tau, "implicit")) for tau in taus]
    found = order(taus, errors)
    yield equal("order of implicit steps, unbounded coupling", found.value, 0.5, tolerance=0.03, error=found.error)
    yield Curve(UNBOUNDED, f"{modes} modes", taus, errors, "control")


UNBOUNDED_COUPLING = Theorem(
    name="unbounded-coupling",
    label="D5",
    title="an unbounded coupling costs half an order",
    statement=(
        "Without a Lipschitz constant of the coupling, implicit dual steps from data with a finite slope converge with order 1/2 "
        "only, where the gradient flow with the same rates and data keeps order 1: the bounds of T3 have no analogue."
    ),
    formula=r"J = \sum_k k \, x_k y_k, \; x_k = y_k = k^{-1.51}: \quad D(z(1), z_{1/\tau}) \sim \tau^{1/2}",
    hypotheses=("mixed differences have no Lipschitz constant", "data just in the domain: the first slope is finite"),
    source="theory, section 5.2, D5; Crandall and Liggett",
    problems=("G23",),
    test=_d5,
    quick=[
        {"symmetric": False, "modes": 12, "ratio": 1.6, "taus": [1 / 16, 1 / 32, 1 / 64]},
        {"symmetric": True, "modes": 12, "ratio": 1.6, "taus": [1 / 64, 1 / 128, 1 / 256]},
    ],
    full=[
        {"symmetric": False, "modes": 12, "ratio": 1.6, "taus": [1 / 16, 1 / 32, 1 / 64, 1 / 128]},
        {"symmetric": True, "modes": 12, "ratio": 1.6, "taus": [1 / 64, 1 / 128, 1 / 256, 1 / 512]},
        {"symmetric": False, "modes": 45, "taus": [1 / 8, 1 / 16, 1 / 32]},
        {"symmetric": True, "modes": 200, "taus": [1 / 64, 1 / 128, 1 / 256]},
    ],
    control=Control(
        violates="the coupling is unbounded: it has the Lipschitz constant 3",
        test=_few_modes,
        trials=[{"modes": 3, "taus": [1 / 32, 1 / 64, 1 / 128]}],
    ),
)

# 4.5 ---------------------------------------------------------------------------------------------------------------

NONLINEAR = Panel("double wells that rotate (G18)", r"$\tau$", "error", "log")
SECOND = (
    "vim implicit",
    "vim symmetric",
    "vim optimistic",
    "bdf2 implicit",
    "bdf2 optimistic",
    "adjoint",
    "extrapolated vim implicit",
    "extrapolated bdf2 optimistic",
    "rk2",
)
FIRST = (
    "simultaneous",
    "alternating",
    "implicit",
    "symmetric",
    "extragradient",
    "optimistic",
    "explicit simultaneous",
    "explicit alternating",
    "explicit extragradient",
    "explicit optimistic",
    "vim simultaneous",
    "bdf2 alternating",
)
ROTATING = tuple(name for name in FIRST if name.split()[-1] != "symmetric" and not name.startswith(("vim", "bdf2")))
"""Those of order 1 on bilinear games too: without own parts Strang's splitting is of second order."""
SHOWN = ("vim implicit", "bdf2 implicit", "vim optimistic", "vim symmetric", "simultaneous", "implicit", "extragradient")


def _second(label: str, name: str, finer: int = 1) -> Iterator[Check | Curve]:
    """Compare the order of a scheme with the one it is said to have."""
    goal = 2.0 if name in SECOND else 1.0
    entry, taus, errors = order_check(smooth_game(label), name, goal, {1.0: 0.05, 2.0: 0.1}[goal], finer)
    yield entry
    yield equal(f"order that {name} states", float(scheme_of(name).order), goal, tolerance=1e-12)
    if label == "G18" and name in SHOWN:
        yield Curve(NONLINEAR, name, taus, errors)
        if name in ("vim implicit", "simultaneous"):
            line = errors[-1] * (np.asarray(taus) / taus[-1]) ** goal
            yield Curve(NONLINEAR, rf"$\tau^{{{goal:g}}}$", taus, line, "predicted")


def _claimed_second(label: str, name: str) -> Iterator[Check | Curve]:
    """Claim order 2 of a scheme of order 1."""
    entry, taus, errors = order_check(smooth_game(label), name, 2.0, 0.1)
    yield entry
    yield Curve(NONLINEAR, f"{name}, claimed second", taus, errors, "control")


SECOND_ORDER = Theorem(
    name="dual-second-order",
    label="4.5",
    title="which dual schemes have order 2",
    statement=(
        "A second-order step of each player does not suffice: the coupling must be of second order too. Midpoint and BDF2 steps "
        "with implicit or extrapolated opponents, Strang's splitting of midpoint steps and alternating steps with their adjoints "
        "have order 2; all simultaneous and alternating ones, and implicit, extragradient and optimistic steps of first-order "
        "players have order 1."
    ),
    formula=r"D(z(T), z_{T/\tau}) = O(\tau^2) \; \mathrm{or} \; O(\tau)",
    hypotheses=("energies and coupling are smooth along the flow",),
    source="theory, section 4.5",
    problems=("G1", "G2", "G11", "G12", "G18"),
    test=_second,
    quick=[
        *every(label=["G18"], name=["vim implicit", "vim optimistic", "simultaneous", "extragradient"]),
        *every(label=["G1"], name=["alternating", "implicit", "optimistic", "explicit extragradient", "bdf2 implicit"]),
        *every(label=["G2"], name=["vim symmetric", "bdf2 optimistic", "extrapolated bdf2 optimistic", "rk2"]),
        *every(label=["G11"], name=["adjoint", "vim simultaneous", "symmetric"]),
    ],
    full=[
        *every(label=["G18"], name=[*SECOND, *FIRST]),
        *every(label=["G1"], name=[*SECOND, *ROTATING], finer=[2]),
        *every(label=["G2", "G12"], name=[name for name in (*SECOND, *FIRST) if not name.startswith("extrapolated")]),
        *every(label=["G11"], name=["vim symmetric", "vim optimistic", "adjoint", "rk2", *FIRST[:2], *FIRST[3:6], *FIRST[6:10]]),
    ],
    control=Control(
        violates="the coupling is of second order: that of these schemes is of first order",
        test=_claimed_second,
        trials=[
            {"label": "G18", "name": "extragradient"},
            *every(label=["G2"], name=["vim simultaneous", "implicit"]),
        ],
    ),
)

ENTRIES = (UNBOUNDED_COUPLING, SECOND_ORDER)
