"""Noisy gradients: the dual flow in the limit of small steps or of large batches (theory, section 10)."""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow import problems
from measureflow.games import Game, Noisy
from measureflow.problems.ode import integrated
from measureflow.solve import solve
from measureflow.states import Vector
from measureflow.theorems.base import Control, Theorem
from measureflow.theorems.catalogue._stochastic import ALL, NORMAL, Found, exact, product, product_back
from measureflow.theorems.check import at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import mean, order

# section 10 --------------------------------------------------------------------------------------------------------

OWN = 0.3
START = (0.7, -0.4)


def _waves(x: Any, others: Any) -> tuple[float, np.ndarray]:
    y = others[0].values
    value = np.sin(x.values) * np.sin(y) + 0.5 * OWN * (x.values**2 - y**2)
    return float(value.sum()), np.cos(x.values) * np.sin(y) + OWN * x.values


def _waves_back(y: Any, others: Any) -> tuple[float, np.ndarray]:
    x = others[0].values
    value = 0.5 * OWN * (y.values**2 - x**2) - np.sin(x) * np.sin(y.values)
    return float(value.sum()), OWN * y.values - np.sin(x) * np.cos(y.values)


def _fields(kind: str, speeds: tuple[float, float]) -> tuple[Any, Any]:
    """Return the field of (x, y) and its Jacobian."""
    pace = np.array(speeds)

    def field(z: np.ndarray) -> np.ndarray:
        x, y = z
        if kind == "rotation":
            return pace * np.array([-y, x])
        return pace * np.array([-np.cos(x) * np.sin(y) - OWN * x, np.sin(x) * np.cos(y) - OWN * y])

    def jacobian(z: np.ndarray) -> np.ndarray:
        x, y = z
        if kind == "rotation":
            return pace[:, None] * np.array([[0.0, -1.0], [1.0, 0.0]])
        c, s = np.cos(x) * np.cos(y), np.sin(x) * np.sin(y)
        return pace[:, None] * np.array([[s - OWN, -c], [c, -s - OWN]])

    return field, jacobian


class _Noise:
    """A game of independent copies side by side, with its flow and the covariance of its fluctuations."""

    def __init__(self, kind: str, sigma: float, speeds: tuple[float, float], copies: int) -> None:
        entries = [product, product_back] if kind == "rotation" else [_waves, _waves_back]
        self.game = Noisy(Game(entries), (np.full(copies, sigma), np.full(copies, sigma)))
        self.start = tuple(Vector(np.full(copies, entry)) for entry in START)
        self.sigma, self.speeds = sigma, speeds
        field, jacobian = _fields(kind, speeds)

        def with_covariance(z: np.ndarray) -> np.ndarray:
            a, c = jacobian(z[:2]), z[2:].reshape(2, 2)
            return np.concatenate([field(z[:2]), (a @ c + c @ a.T + np.diag(np.square(speeds)) * sigma**2).ravel()])

        self.flow = integrated(with_covariance, [*START, 0.0, 0.0, 0.0, 0.0])
        self.acceleration = lambda z: float(np.linalg.norm(jacobian(z) @ field(z)))
        self.lipschitz = max(speeds) * (1.0 if kind == "rotation" else 1.0 + OWN)

    def gaps(self, tau: float, scheme: str, rows: int | None, **drawn: Any) -> np.ndarray:
        """Return z_n - z(t_n) at the saved times of [0, 1], (rows, 2, copies)."""
        steps = round(1.0 / tau)
        keep = 1 if rows is None else steps // rows
        sol = solve(self.game, self.start, 1.0, tau, scheme=problems.SCHEMES[scheme], speeds=self.speeds, save_at=keep, **drawn)
        there = np.array([self.flow(float(t))[:2] for t in sol.t])
        return np.array([[x.values for x in states] for states in sol.states]) - there[:, :, None]

    def worst(self, tau: float, scheme: str, rows: int | None, **drawn: Any) -> tuple[float, float]:
        """Return the root of E max |z_n - z(t_n)|^2 and the half-width of its interval."""
        square = mean(np.max(np.sum(self.gaps(tau, scheme, rows, **drawn) ** 2, axis=1), axis=0))
        root = float(np.sqrt(square.value))
        return root, 0.5 * square.error / root

    def bound(self, tau: float, batch: int) -> float:
        """Return e^(LT) (T M tau/2 + 2 sigma sqrt(T tau/B)) with T = 1."""
        noise = self.sigma * float(np.linalg.norm(self.speeds))
        bend = max(self.acceleration(self.flow(t)[:2]) for t in np.linspace(0.0, 1.0, 21))
        return float(np.exp(self.lipschitz) * (0.5 * bend * tau + 2.0 * noise * np.sqrt(tau / batch)))


def _exponent(x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Return the slope of log y against log x and what the intervals of the y make of it."""
    a = np.log(x) - np.log(x).mean()
    weights = a / (a @ a)
    return float(weights @ np.log(y)), float(np.linalg.norm(weights * errors / y))


def _scaling_in_tau(noise: _Noise, scheme: str, seed: int, figure: bool) -> Found:
    taus = 0.04 / 2.0 ** np.arange(4)
    found = np.array([noise.worst(tau, scheme, 5, batch=1, seed=seed + k) for k, tau in enumerate(taus)])
    value, error = _exponent(taus, *found.T)
    yield equal("order in tau, batch 1", value, 0.5, tolerance=0.03, error=error)
    if figure:
        yield from _curves("x", taus, found, 0.5, "batch 1", (r"step $\tau$", r"RMS of the largest error"))


def _scaling_in_batch(noise: _Noise, scheme: str, seed: int, figure: bool) -> Found:
    batches = 4.0 ** np.arange(4)
    found = np.array([noise.worst(0.005, scheme, 10, batch=int(b), seed=seed + k) for k, b in enumerate(batches)])
    value, error = _exponent(batches, *found.T)
    yield equal("exponent of the batch", value, -0.5, tolerance=0.03, error=error)
    if figure:
        yield from _curves("b", batches, found, -0.5, r"$\tau = 0.005$", ("batch $B$", "RMS of the largest error"))


def _curves(which: str, x: np.ndarray, found: np.ndarray, power: float, label: str, axes: tuple[str, str]) -> Found:
    panel = Panel("errors and the step" if which == "x" else "errors and the batch", *axes, "log")
    yield Curve(panel, label, x, found[:, 0], error=found[:, 1])
    yield Curve(panel, f"{label}, predicted", x, found[0, 0] * (x / x[0]) ** power, "predicted")


def _scaling_without_noise(noise: _Noise, scheme: str, seed: int, figure: bool) -> Found:
    taus = 0.1 / 2.0 ** np.arange(5)
    found = np.array([noise.worst(tau, scheme, 10)[0] for tau in taus])
    value, error = order(taus, found)
    yield equal("order in tau, exact gradients", value, 1.0, tolerance=0.05, error=error)
    if figure:
        yield from _curves(
            "x", taus, np.stack([found, 0.0 * found], axis=1), 1.0, "all", (r"step $\tau$", "RMS of the largest error")
        )


def _scaling_bound(noise: _Noise, scheme: str, seed: int, figure: bool) -> Found:
    for tau in (0.1, 0.02):
        for batch in (1, 100):
            value, error = noise.worst(tau, scheme, None, batch=batch, seed=seed)
            where = f"tau = {tau:g}, B = {batch}"
            yield at_most("RMS of the largest error", value, noise.bound(tau, batch), error=error, where=where)


def _scaling_limit(noise: _Noise, scheme: str, seed: int, figure: bool) -> Found:
    """Check the covariance of sqrt(B/tau) (z_n - z(t_n))."""
    tau, batch = 0.005, 2
    ends = noise.gaps(tau, scheme, 1, batch=batch, seed=seed)[-1] * np.sqrt(batch / tau)
    found, predicted = np.cov(ends), noise.flow(1.0)[2:].reshape(2, 2)
    deviations = np.sqrt(np.diag(predicted))
    error = NORMAL * np.sqrt((np.outer(np.diag(predicted), np.diag(predicted)) + predicted**2) / ends.shape[1])
    scale = np.outer(deviations, deviations)
    yield equal("covariance of the fluctuations", found / scale, predicted / scale, tolerance=0.05, error=error / scale)


PARTS = {
    "tau": _scaling_in_tau,
    "batch": _scaling_in_batch,
    "exact": _scaling_without_noise,
    "bound": _scaling_bound,
    "limit": _scaling_limit,
}


def _scaling(part: str, kind: str, scheme: str, speeds: Any, copies: int, seed: int, figure: bool = False) -> Found:
    noise = _Noise(kind, 1.0, (speeds[0], speeds[1]), 2 if part == "exact" else copies)
    yield from PARTS[part](noise, scheme, seed, figure)


def _scaling_control(claim: str) -> Found:
    if claim == "order one":
        noise, taus = _Noise("rotation", 1.0, (1.0, 1.0), 1000), 0.02 / 2.0 ** np.arange(3)
        found = np.array([noise.worst(tau, "explicit simultaneous", 10, batch=1, seed=k) for k, tau in enumerate(taus)])
        value, error = _exponent(taus, *found.T)
        yield equal("order in tau, batch 1", value, 1.0, tolerance=0.05, error=error)
        panel = Panel("errors and the step", r"step $\tau$", "RMS of the largest error", "log")
        yield Curve(panel, "claimed: order 1", taus, found[0, 0] * taus / taus[0], "control")
        return
    copies, n = 400, 2
    biased, whole = (problems.get("N4", n=size, start=2.0, copies=copies) for size in (n, 64))
    gaps = []
    for tau in (0.05, 0.0125):
        ends = biased.solve(tau, "explicit", t=1.0, batch=5, seed=1, save_at=ALL).states[-1].values
        gaps.append(mean(ends - exact(whole, 1.0).values))
    change = abs(gaps[1].value) / abs(gaps[0].value)
    error = (gaps[0].error + gaps[1].error) / abs(gaps[0].value)
    yield at_most("error left by a step four times as small", change, 0.5, error=error, where=f"batches of {n} atoms")


_PLAIN, _UNEVEN = [1.0, 1.0], [0.5, 2.0]


def _trial(
    part: str, kind: str, coupling: str, speeds: list[float], copies: int, seed: int, figure: bool = False
) -> dict[str, Any]:
    return {
        "part": part,
        "kind": kind,
        "scheme": f"explicit {coupling}",
        "speeds": speeds,
        "copies": copies,
        "seed": seed,
        "figure": figure,
    }


SCALING = Theorem(
    name="stochastic-scaling",
    label="10",
    title="small steps or large batches make noise vanish",
    statement=(
        "Steps with unbiased noisy gradients stay, in root mean square over the noise and uniformly on [0, T], within "
        "e^(LT) (T M tau/2 + 2 sigma sqrt(T tau/B)) of the dual flow: order 1/2 in the step, -1/2 in the batch, order 1 without "
        "noise. Divided by sqrt(tau/B) the deviations become Gaussian, with the covariance of a linear equation."
    ),
    formula=r"E\,\max_{n \leq T/\tau} |z_n - z(t_n)|^2 \leq C(T) \left( \tau^2 + \frac{\tau \sigma^2}{B} \right)",
    hypotheses=(
        "z_{n+1} = z_n + tau (F(z_n) + xi_n), F with the Lipschitz constant L and |F'F| <= M along the flow",
        "xi_n has mean 0 given the past and E|xi_n|^2 <= sigma^2/B",
    ),
    source="theory, section 10",
    problems=("N4",),
    test=_scaling,
    quick=[
        _trial("exact", "waves", "simultaneous", _UNEVEN, 2, 0, True),
        _trial("bound", "rotation", "simultaneous", _PLAIN, 400, 0),
        _trial("limit", "waves", "alternating", _UNEVEN, 20_000, 0),
        _trial("tau", "rotation", "simultaneous", _UNEVEN, 2000, 0, True),
        _trial("batch", "rotation", "alternating", _PLAIN, 1000, 0, True),
    ],
    full=[
        _trial(part, *case, copies, 10, case[0] == "waves" and case[2] is _PLAIN)
        for part, copies in (("exact", 2), ("bound", 4000), ("limit", 40_000), ("tau", 4000), ("batch", 4000))
        for case in (
            ("rotation", "simultaneous", _PLAIN),
            ("rotation", "alternating", _UNEVEN),
            ("waves", "simultaneous", _PLAIN),
            ("waves", "alternating", _UNEVEN),
        )
    ],
    control=Control(
        "the conclusion asks for order 1 in the step at batch 1; the noise has a mean (N4)",
        _scaling_control,
        [{"claim": "order one"}, {"claim": "biased"}],
    ),
)

ENTRIES = (SCALING,)
