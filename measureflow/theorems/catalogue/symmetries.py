"""Schemes follow one flow, and units of time, energy and space are free (theory, 1, 4, 12.20)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from measureflow import energies as e
from measureflow import games as g
from measureflow import problems
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Vector
from measureflow.theorems.base import Control, Theorem, Trial, every
from measureflow.theorems.catalogue._battery import (
    CELLS,
    FLAT,
    METRICS,
    SCHEMES,
    apart,
    state,
)
from measureflow.theorems.catalogue._frames import MAKERS, SMOOTH, Frame, identity
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]


def _dim(kind: str) -> int:
    return 1 if kind in ("quantiles", "cells") else 2


def _schemes(kind: str, metric: str) -> tuple[str, ...]:
    if kind in ("cells", "plane cells") and metric == "W2":
        return (
            (*CELLS, "forward-backward", "linearised") if kind == "cells" else ("linearised", "bdf2", "vim", "forward-backward")
        )
    more = ("mirror", "implicit mirror") if "cells" in kind else ("langevin",)
    return (*FLAT, "forward-backward", *more, *(("splitting", "splitting, unsymmetric") if metric == "WFR" else ()))


# one flow ---------------------------------------------------------------------------------------------------------------------

AGREE = Panel("three steps against explicit ones", r"$\tau$", "largest difference", "log")


def _one_flow(kind: str, metric: str, energy: str, seed: int, base: float) -> Found:
    x, functional = state(kind, seed), MAKERS[energy](identity(_dim(kind)), seed)
    taus = base / np.array([1.0, 2.0, 4.0])
    options: dict[str, Any] = {"metric": METRICS[metric], "speeds": 1.7}
    plain = [solve(functional, x, 3 * tau, tau, scheme="explicit", **options).states[-1] for tau in taus]
    lengths = [apart(z, x) for z in plain]
    for scheme in _schemes(kind, metric):
        if scheme == "explicit":
            continue
        ends = [solve(functional, x, 3 * tau, tau, scheme=SCHEMES[scheme], **options).states[-1] for tau in taus]
        gaps = np.array([apart(a, b) for a, b in zip(ends, plain, strict=True)])
        where = f"{energy}, {kind}, {metric}, {scheme}, seed = {seed}"
        yield at_least("length of the steps", lengths[0], 1e-5, where=where)
        yield at_most("difference / length at the longest tau", gaps[0] / lengths[0], 0.3, where=where)
        if gaps[-1] > 1e-8:
            found = order(taus, gaps)
            yield at_least("order of the difference", found.value, 2.0, tolerance=0.15, error=found.error, where=where)
        else:
            yield at_most("difference", gaps, 5e-7, where=where)
        if kind == "gaussian" and energy == "KL" and seed == 0:
            yield Curve(AGREE, scheme, taus, gaps + 1e-16)


SHORT = {"quantiles": 4e-4, "vector": 0.008, "particles": 0.008, "weighted": 0.008, "gaussian": 0.01}


def _base(kind: str, energy: str) -> float:
    """Return the longest step: a hyperbolic cosine over a wide Gaussian is stiff."""
    return 1e-3 if (kind, energy) == ("gaussian", "Potential") else SHORT.get(kind, 0.02)


def _agreeing(seeds: Any, few: bool) -> list[Trial]:
    cases = [case for case in SMOOTH if case not in (("cells", "W2"), ("plane cells", "W2"))]
    return [
        {"kind": kind, "metric": metric, "energy": energy, "seed": seed, "base": _base(kind, energy)}
        for seed in seeds
        for kind, metric in cases
        for energy in (SMOOTH[kind, metric][:1] if few else SMOOTH[kind, metric])
    ]


def _other_speed(kind: str, metric: str, energy: str, seed: int, base: float) -> Found:
    """Explicit steps at another speed: another flow, to which the difference is of first order."""
    x, functional = state(kind, seed), MAKERS[energy](identity(_dim(kind)), seed)
    taus = base / np.array([1.0, 2.0, 4.0])
    gaps = []
    for tau in taus:
        ends = [
            solve(functional, x, 3 * tau, tau, scheme=name, speeds=eta).states[-1]
            for name, eta in (("jko", 1.7), ("explicit", 1.0))
        ]
        gaps.append(apart(*ends))
    found = order(taus, gaps)
    yield at_least("order of the difference", found.value, 2.0, tolerance=0.15, error=found.error)
    yield Curve(AGREE, "explicit, another speed", taus, gaps, "control")


ONE_FLOW = Theorem(
    name="one-flow",
    label="4",
    title="all schemes follow one flow",
    statement="Steps of all schemes differ from explicit ones by O(tau^2) over a fixed number of steps: on every kind of state, "
    "in every metric, for every smooth energy, at every speed they have one velocity, minus the gradient.",
    formula=r"d\left(x_3^{\mathrm{scheme}}, x_3^{\mathrm{explicit}}\right) = O(\tau^2)",
    hypotheses=("E is smooth", "the flow is that of E in one metric, at one speed"),
    source="theory, sections 1 (table of flows), 4.1, 4.4",
    problems=(),
    test=_one_flow,
    quick=_agreeing([0], True),
    full=_agreeing([0, 1], False),
    control=Control(
        "one of the schemes has another speed",
        _other_speed,
        [{"kind": "gaussian", "metric": "W2", "energy": "KL", "seed": 0, "base": 0.02}],
    ),
)

# units ------------------------------------------------------------------------------------------------------------------------

STEPS: dict[str, float] = {"quantiles": 0.03, "cells": 0.05, "plane cells": 0.05}
EXPLICIT = ("explicit", "rk2", "rk4", "langevin", "splitting", "splitting, unsymmetric")


def _last(functional: e.Energy, x: Any, t: float, tau: float, scheme: str, metric: str, speed: float = 1.0) -> Solution:
    return solve(functional, x, t, tau, scheme=SCHEMES[scheme], metric=METRICS[metric], speeds=speed)


def _short(kind: str, scheme: str) -> float:
    """Return a step that explicit schemes survive, too."""
    return 1e-3 if kind == "quantiles" and scheme in EXPLICIT else STEPS.get(kind, 0.08)


def _time(kind: str, metric: str, energy: str, seed: int, c: float) -> Found:
    x, functional = state(kind, seed), MAKERS[energy](identity(_dim(kind)), seed)
    for scheme in _schemes(kind, metric):
        tau = _short(kind, scheme)
        where = f"{energy}, {kind}, {metric}, {scheme}, seed = {seed}"
        # the last step is a third as long
        plain = _last(functional, x, 7.0 / 3.0 * tau, tau, scheme, metric)
        strong = _last(c * functional, x, 7.0 / 3.0 * tau / c, tau / c, scheme, metric)
        fast = _last(functional, x, 7.0 / 3.0 * tau / c, tau / c, scheme, metric, c)
        noise = 10.0 * float(np.max(plain.info["residual"] + strong.info["residual"])) + 1e-12
        for name, other in (("energy c E, time t / c", strong), ("speed c, time t / c", fast)):
            yield equal(name, apart(other.states[-1], plain.states[-1]), 0.0, tolerance=2e-8, error=min(noise, 1e-8), where=where)
        yield equal(
            "length of steps, c E", strong.info["distance"], plain.info["distance"], tolerance=2e-8, error=1e-10, where=where
        )
        yield equal("metric speed, speed c", fast.speeds[1:], c * plain.speeds[1:], tolerance=2e-5, error=1e-8, where=where)
        if scheme not in ("bdf2", "extrapolated-bdf2", "langevin"):
            rest = _last(functional, plain.states[-2], tau / 3.0, tau / 3.0, scheme, metric)
            yield equal("a shorter last step", apart(rest.states[-1], plain.states[-1]), 0.0, tolerance=2e-8, where=where)


def _frame(kind: str, energy: str, seed: int, scale: float) -> Found:
    """Flows in a moved, turned and magnified frame are the images of the flow; noise and cells know no frames."""
    rng = np.random.default_rng([seed, 11])
    dim, metric = _dim(kind), "Euclid" if kind == "vector" else "W2"
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0] if dim > 1 else np.eye(1)
    frame, x = Frame(turn, rng.normal(size=dim), scale), state(kind, seed)
    here, there = MAKERS[energy](identity(dim), seed), MAKERS[energy](frame, seed)
    for scheme in (*FLAT, "forward-backward"):
        tau = _short(kind, scheme)
        a = _last(here, x, 2.5 * tau, tau, scheme, metric)
        b = _last(there, frame.law(x), 2.5 * tau, tau, scheme, metric)
        where = f"{energy}, {kind}, {scheme}, seed = {seed}, scale = {scale:g}"
        yield equal(
            "image of the flow", apart(b.states[-1], frame.law(a.states[-1])), 0.0, tolerance=1e-6, error=3e-8, where=where
        )
        yield equal(
            "length of the image", b.info["distance"], scale * a.info["distance"], tolerance=1e-6, error=3e-8, where=where
        )
        yield equal(
            "energy of the image", np.diff(b.energies), scale**2 * np.diff(a.energies), tolerance=1e-6, error=3e-8, where=where
        )


def _two_players(strength: tuple[float, float]) -> g.Game:
    """Atoms drawn to a point that turns around their mean; each player's energy times its strength."""

    def atoms(own: Any, others: Any) -> tuple[float, np.ndarray]:
        z = own.points - np.asarray(others[0].values)
        return strength[0] * float(own.weights @ np.sum(np.log(np.cosh(z)), axis=1)), strength[0] * np.tanh(z)

    def point(own: Any, others: Any) -> tuple[float, np.ndarray]:
        x, mean = np.asarray(own.values), others[0].mean()
        return strength[1] * float(0.1 * x @ x + x @ mean), strength[1] * (0.2 * x + mean)

    return g.Game([atoms, point])


COUPLED: tuple[str, ...] = tuple(
    name for name in problems.SCHEMES if "mirror" not in name and name not in ("jko", "explicit", "vim", "bdf2")
)
"""Schemes with their couplings, by their names in `problems.SCHEMES`; the first words alone are the simultaneous ones."""


def _players(seed: int, speeds: list[float]) -> Found:
    start = (state("weighted", seed), Vector([0.3, -0.8]))
    a, b = speeds
    for scheme in COUPLED:
        fast = solve(_two_players((1.0, 1.0)), start, 0.25, 0.1, scheme=problems.SCHEMES[scheme], speeds=(a, b))
        strong = solve(_two_players((a, b)), start, 0.25, 0.1, scheme=problems.SCHEMES[scheme])
        gap = apart(fast.states[-1], strong.states[-1])
        yield equal(
            "speeds of players", gap, 0.0, tolerance=1e-7, error=1e-9, where=f"{scheme}, speeds {a:g}, {b:g}, seed = {seed}"
        )
        moved = [apart(x, y) for x, y in zip(fast.states[-1], start, strict=True)]
        yield at_least("motion of the players", moved, 1e-3, where=scheme)


def _units(part: str, **arguments: Any) -> Found:
    parts: dict[str, Callable[..., Found]] = {"time": _time, "frame": _frame, "players": _players}
    yield from parts[part](**arguments)


IMAGES = Panel("explicit steps of c E over the same times", "$c$", "difference to the flow of E", "log")


def _same_time(c: float) -> Found:
    x, functional = state("gaussian", 0), MAKERS["KL"](identity(2), 0)
    plain, strong = (_last(energy, x, 0.2, 0.1, "jko", "W2") for energy in (functional, c * functional))
    gap = apart(strong.states[-1], plain.states[-1])
    yield equal("energy c E, time t", gap, 0.0, tolerance=2e-8)
    right = _last(c * functional, x, 0.2 / c, 0.1 / c, "jko", "W2")
    yield Curve(IMAGES, "the same times", [c], [gap], "control")
    yield Curve(IMAGES, "times divided by c", [c], [max(apart(right.states[-1], plain.states[-1]), 1e-16)])


FRAMED: dict[str, tuple[str, ...]] = {
    "vector": ("Potential",),
    "particles": ("Potential", "Interaction", "MMD", "EnergyDistance"),
    "weighted": ("Potential", "Interaction", "MMD", "EnergyDistance"),
    "quantiles": ("KL", "Entropy", "PowerEntropy", "Potential", "Interaction", "MMD", "EnergyDistance"),
    "gaussian": ("KL", "Entropy", "PowerEntropy", "SquaredWasserstein"),
}


def _time_trials(seeds: Any, cs: Any, few: bool) -> list[Trial]:
    return [
        {"part": "time", "kind": kind, "metric": metric, "energy": energy, "seed": seed, "c": c}
        for seed in seeds
        for c in cs
        for kind, metric in SMOOTH
        if not (few and kind in ("particles", "plane cells"))
        for energy in (SMOOTH[kind, metric][:1] if few else SMOOTH[kind, metric])
    ]


def _frame_trials(seeds: Any, scales: Any, few: bool) -> list[Trial]:
    return [
        {"part": "frame", "kind": kind, "energy": energy, "seed": seed, "scale": scale}
        for seed in seeds
        for scale in scales
        for kind in FRAMED
        for energy in (FRAMED[kind][:: len(FRAMED[kind]) // 2 + 1] if few else FRAMED[kind])
    ]


UNITS = Theorem(
    name="units",
    label="12.20",
    title="units of time, energy and space are free",
    statement="Steps tau/c of the energy c E, or at the speed c, are the steps tau of E; a player's speed is a factor of its "
    "energy. Moved, turned and magnified laws in a moved, turned and magnified energy, s^2 E, flow to the images of the flow. "
    "A last step of another size is a step like any other.",
    formula=r"J_{	au/c}^{c E} = J_{	au}^{E}, \quad J_{	au}^{s^2 E \circ A^{-1}}(A x) = A\, J_{	au}^{E}(x), \quad "
    r"A y = a + s R y",
    hypotheses=("time is measured in units of 1/c", "the energy moves along with the law"),
    source="theory, sections 1, 12.20",
    problems=(),
    test=_units,
    quick=[
        *_time_trials([0], [2.7], True),
        *_frame_trials([0], [1.6], True),
        *every(part=["players"], seed=[0], speeds=[[0.5, 3.0]]),
    ],
    full=[
        *_time_trials([0], [2.7, 0.3], False),
        *_frame_trials([0, 1], [1.6], False),
        *_frame_trials([2], [0.4], False),
        *every(part=["players"], seed=range(4), speeds=[[0.5, 3.0], [2.0, 0.7]]),
    ],
    control=Control("energies are multiplied by c, but times are not divided by it", _same_time, every(c=[1.01, 1.1, 2.0])),
)

ENTRIES = (ONE_FLOW, UNITS)
