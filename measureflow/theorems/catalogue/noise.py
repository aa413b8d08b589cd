"""Exact moments of noisy linear flows: descent and rotation (theory, section 9.5, N1 and N2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.games import Game, Noisy
from measureflow.problems.stochastic import descent_variance, rotation_second_moment
from measureflow.states import Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._stochastic import ALL, NORMAL, Found, as_complex, product, product_back
from measureflow.theorems.check import equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import mean

# N1 ----------------------------------------------------------------------------------------------------------------


def _descent(
    scheme: str,
    tau: float,
    batch: int,
    strength: float,
    steps: int,
    copies: int,
    seed: int,
    eta: float = 1.0,
    figure: bool = False,
) -> Found:
    p = problems.get("N1", strength=strength, tau=eta * tau, batch=batch, copies=copies)
    keep = max(1, steps // 20)
    sol = p.solve(tau, scheme, t=steps * tau, batch=batch, seed=seed, speeds=(eta,), save_at=keep)
    counts = np.rint(sol.t / tau).astype(int)[1:]
    x = np.array([states[0].values for states in sol.states[1:]])
    implicit = scheme == "jko"
    predicted = np.array([descent_variance(eta * tau, strength, 2.0, batch, int(n), implicit) for n in counts])
    centre = p.factors[scheme](eta * tau).real ** counts
    error = NORMAL * np.sqrt(2.0 / (copies - 1))
    where = f"{scheme}, tau = {tau:g}, eta = {eta:g}, B = {batch}"
    yield equal(
        "variance over its formula",
        x[[0, -1]].var(axis=1, ddof=1) / predicted[[0, -1]],
        1.0,
        tolerance=3.0 * error,
        error=error,
        where=where,
    )
    size = np.sqrt(predicted / copies)
    off = (x.mean(axis=1) - centre)[[0, -1]] / size[[0, -1]]
    yield equal("mean, in standard errors", off, 0.0, tolerance=3.0 * NORMAL, error=NORMAL, where=where)
    name = "stationary variance" + (", jko" if implicit else "")
    if steps * eta * tau * strength > 10.0:
        yield equal(
            "variance at the end over the stationary one", predicted[-1] / p.constants[name], 1.0, tolerance=1e-6, where=where
        )
    yield from (
        equal(f"printed {key}", entry.value, entry.measure(None), tolerance=entry.tolerance) for key, entry in p.reference.items()
    )
    if figure:
        panel = Panel("noise against friction", "time $t$", r"variance of $x_n$")
        yield Curve(panel, f"{scheme}, B = {batch}", sol.t[1:], x.var(axis=1, ddof=1), error=predicted * error)
        yield Curve(panel, f"{scheme}, B = {batch}, predicted", sol.t[1:], predicted, "predicted")


def _descent_control(claim: str) -> Found:
    tau, strength, batch = 0.6, 1.5, 4
    copies = 300 if claim == "implicit" else 20_000
    p = problems.get("N1", strength=strength, tau=tau, batch=batch, copies=copies)
    scheme = "jko" if claim == "implicit" else "explicit"
    x = p.solve(tau, scheme, t=40 * tau, batch=batch, seed=3, save_at=ALL).states[-1][0].values
    limit = 4.0 * tau / (2.0 * batch * strength)
    claimed = limit if claim == "small steps" else p.constants["stationary variance"]
    error = NORMAL * np.sqrt(2.0 / (copies - 1))
    yield equal(f"variance over the formula, {claim}", x.var(ddof=1) / claimed, 1.0, tolerance=0.03, error=error)


# N2 ----------------------------------------------------------------------------------------------------------------


def _rotation_game(vectors: str, copies: int) -> Any:
    """Return N2 with a matrix, or with the same game as functions of long vectors."""
    p = problems.get("N2", copies=1 if vectors == "functions" else copies)
    if vectors == "matrix":
        return p
    wide = np.full(copies, 2.0)
    start = (Vector(np.ones(copies)), Vector(np.zeros(copies)))
    return replace(p, problem=Noisy(Game([product, product_back]), (wide, wide)), initial=start)


def _rotating(
    vectors: str,
    scheme: str,
    tau: float,
    batch: int,
    steps: int,
    copies: int,
    seed: int,
    speeds: Any = (1.0, 1.0),
    figure: bool = False,
) -> Found:
    p = _rotation_game(vectors, copies)
    width = np.sqrt(np.array(speeds))
    omega = float(np.prod(width))
    sol = p.solve(tau, scheme, t=steps * tau, batch=batch, seed=seed, speeds=tuple(speeds), save_at=max(1, steps // 10))
    squares = [mean((s[0].values / width[0]) ** 2 + (s[1].values / width[1]) ** 2) for s in sol.states[1:]]
    counts = np.rint(sol.t / tau).astype(int)[1:]
    sigma = (2.0 * float(width[0]), 2.0 * float(width[1]))
    moments = np.array([rotation_second_moment(int(n), tau, sigma, batch, 1.0 / float(width[0]), omega) for n in counts])
    ratio = np.array([found.value for found in squares]) / moments
    error = np.array([found.error for found in squares]) / moments
    where = [f"{vectors}, {scheme}, tau = {tau:g}, B = {batch}, step {n}" for n in counts]
    yield equal("E|z_n|^2 over its formula", ratio, 1.0, tolerance=3.0 * error, error=error, where=where)
    yield from (
        equal(f"printed {key}", entry.value, entry.measure(None), tolerance=entry.tolerance) for key, entry in p.reference.items()
    )
    if figure:
        panel = Panel("a rotation whose radius walks at random", "time $t$", r"$E|z_n|^2$")
        yield Curve(panel, f"B = {batch}", sol.t[1:], ratio * moments, error=error * moments)
        yield Curve(panel, f"B = {batch}, predicted", sol.t[1:], moments, "predicted")
        yield Curve(panel, f"B = {batch}, small steps", sol.t, 1.0 + 8.0 * tau * sol.t / batch, "control")


def _rotating_control(scheme: str, vectors: str) -> Found:
    tau, batch, steps, copies = 0.2, 4, 50, 4000 if vectors == "functions" else 200
    p = _rotation_game(vectors, copies)
    z = as_complex(p.solve(tau, scheme, t=steps * tau, batch=batch, seed=5, save_at=ALL).states[-1])
    found = mean(np.abs(z) ** 2)
    limit = 1.0 + 8.0 * tau * tau * steps / batch
    claimed = limit if scheme == "explicit simultaneous" else p.constants["E|z_n|^2"]
    yield equal(
        "E|z_n|^2 over what is claimed", found.value / claimed, 1.0, tolerance=0.1, error=found.error / claimed, where=scheme
    )


_PLAIN, _UNEVEN = [1.0, 1.0], [0.5, 2.0]

DESCENT = Theorem(
    name="noisy-descent",
    label="N1",
    title="noise against friction has a stationary variance",
    statement=(
        "Stochastic descent of (lambda/2) x^2 with gradient noise of variance sigma^2/B has, at every step, the variance of a "
        "geometric sum; in the limit of many steps that of the formula. Implicit steps have 2 + lambda tau in place of "
        "2 - lambda tau."
    ),
    formula=r"\lim_n \mathrm{Var}\, x_n = \frac{\tau \sigma^2}{B \lambda (2 - \lambda \tau)}",
    hypotheses=("lambda tau < 2 for explicit steps", "noise of mean 0, independent from step to step"),
    source="theory, section 9.5, N1",
    problems=("N1",),
    test=_descent,
    quick=[
        {"scheme": "explicit", "tau": 0.1, "batch": 4, "strength": 1.5, "steps": 80, "copies": 20_000, "seed": 0, "figure": True},
        {"scheme": "explicit", "tau": 0.1, "batch": 1, "strength": 0.7, "steps": 100, "copies": 10_000, "seed": 1, "eta": 2.0},
        {"scheme": "jko", "tau": 0.4, "batch": 4, "strength": 1.5, "steps": 20, "copies": 300, "seed": 2, "eta": 0.5},
    ],
    full=[
        {"scheme": "explicit", "tau": 0.1, "batch": 4, "strength": 1.5, "steps": 80, "copies": 40_000, "seed": 0, "figure": True},
        *every(
            scheme=["explicit"],
            tau=[0.02, 0.3],
            batch=[1, 16],
            strength=[0.7],
            steps=[200],
            copies=[40_000],
            seed=[1],
            eta=[1.0, 3.0],
        ),
        *every(scheme=["jko"], tau=[0.1, 0.6], batch=[4], strength=[1.5], steps=[80], copies=[400], seed=[2, 3], eta=[1.0, 0.5]),
    ],
    control=Control(
        "steps are not explicit; the formula is that of small steps, tau sigma^2/(2 B lambda)",
        _descent_control,
        [{"claim": "implicit"}, {"claim": "small steps"}],
    ),
)

ROTATION = Theorem(
    name="noisy-rotation",
    label="N2",
    title="noise makes the radius of a rotation walk at random",
    statement=(
        "Simultaneous steps of the bilinear game with noise of variance sigma^2/B in each gradient have exactly the second "
        "moment of the formula: the spiral of the scheme, (1 + tau^2)^n, and a random walk of the amplitude, 2 tau t sigma^2/B "
        "for small steps. Speeds weigh the players by their inverse."
    ),
    formula=r"E |z_n|^2 = (1 + \tau^2)^n |z_0|^2 + \frac{2 \sigma^2}{B} \left( (1 + \tau^2)^n - 1 \right)",
    hypotheses=("J = x y, simultaneous steps", "noise of mean 0, independent of the past, of variance sigma^2/B for each player"),
    source="theory, section 9.5, N2, and section 10",
    problems=("N2",),
    test=_rotating,
    quick=[
        {"vectors": "matrix", "scheme": "simultaneous", "tau": 0.2, "batch": 4, "steps": 50, "copies": 100, "seed": 0},
        {
            "vectors": "functions",
            "scheme": "explicit simultaneous",
            "tau": 0.2,
            "batch": 4,
            "steps": 50,
            "copies": 4000,
            "seed": 1,
            "figure": True,
        },
        {
            "vectors": "functions",
            "scheme": "explicit simultaneous",
            "tau": 0.05,
            "batch": 1,
            "steps": 200,
            "copies": 4000,
            "seed": 2,
            "speeds": _UNEVEN,
        },
    ],
    full=[
        *every(
            vectors=["matrix"],
            scheme=["simultaneous", "explicit simultaneous"],
            tau=[0.2],
            batch=[1, 4],
            steps=[50],
            copies=[200],
            seed=[0],
        ),
        {
            "vectors": "functions",
            "scheme": "explicit simultaneous",
            "tau": 0.05,
            "batch": 4,
            "steps": 200,
            "copies": 20_000,
            "seed": 1,
            "figure": True,
        },
        {
            "vectors": "functions",
            "scheme": "explicit simultaneous",
            "tau": 0.05,
            "batch": 16,
            "steps": 200,
            "copies": 20_000,
            "seed": 2,
            "figure": True,
        },
        *every(
            vectors=["functions"],
            scheme=["explicit simultaneous"],
            tau=[0.02, 0.2],
            batch=[1, 16],
            steps=[50, 200],
            copies=[20_000],
            seed=[3],
            speeds=[_PLAIN, _UNEVEN, [3.0, 1.0]],
        ),
    ],
    control=Control(
        "the coupling is implicit, so that the radius shrinks; the formula is that of small steps, 1 + 2 tau t sigma^2/B",
        _rotating_control,
        [{"vectors": "matrix", "scheme": "implicit"}, {"vectors": "functions", "scheme": "explicit simultaneous"}],
    ),
)

ENTRIES = (DESCENT, ROTATION)
