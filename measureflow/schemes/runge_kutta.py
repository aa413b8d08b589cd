"""Explicit Runge-Kutta steps of all players at once (theory, section 6)."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np

from measureflow.energies import Energy
from measureflow.errors import UnsupportedError, of_player
from measureflow.games import Game
from measureflow.metrics import Metric
from measureflow.metrics.base import Flat
from measureflow.proximal import Step
from measureflow.proximal.weights import regrown
from measureflow.schemes.base import Players, Scheme
from measureflow.schemes.couplings import Result
from measureflow.schemes.info import States, StepInfo
from measureflow.states import Gaussian, Histogram, Particles, State


class RungeKutta(Scheme):
    """Explicit Runge-Kutta method each of whose stages uses the slopes of the one before.

    Stages are points in the states' own coordinates, in which the flow is an ordinary differential equation:
    -eta grad E in flat spaces, m' = -dE/dm and S' = -2 (S E_S + E_S S) for Gaussians, p' = -p (phi - mean phi) for masses of
    cells, and (log w)' = -(phi - mean phi) for weights of atoms.
    """

    nodes: ClassVar[tuple[float, ...]]
    weights: ClassVar[tuple[float, ...]]

    def __init__(self) -> None:
        super().__init__()

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        (state,), _, (info,) = self.step(Players(Game([energy]), (metric,), (1.0,)), (x,), (), tau)
        return Step(state, info.distance, method="explicit")

    def step(self, players: Players, states: States, memory: Any, tau: float) -> Result:
        slopes = [_slopes(players, states)]
        for node in self.nodes:
            slopes.append(_slopes(players, _moved(players, states, [node * tau * slope for slope in slopes[-1]])))
        sums = [sum(w * k for w, k in zip(self.weights, ks, strict=True)) for ks in zip(*slopes, strict=True)]
        new = _moved(players, states, [tau * total for total in sums])
        infos = tuple(
            StepInfo(metric.labelled_distance(x, z), 0.0, 0) for metric, x, z in zip(players.metrics, states, new, strict=True)
        )
        return new, memory, infos

    def seen_by(self, player: int, old: States, new: States) -> States:
        if len(old) > 1:
            raise UnsupportedError(f"players of {self!r} see stages, which are not rows of the solution")
        return old

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@final
class RK2(RungeKutta):
    """Heun's method: explicit, all players at once, second order; bilinear games grow like exp(omega^4 tau^3 t / 8).

    Examples
    --------
    >>> import measureflow as mf
    >>> mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.5, scheme=mf.RK2()).states[-1]
    Vector([0.390625])
    """

    nodes, weights = (1.0,), (0.5, 0.5)

    @property
    def order(self) -> int:
        return 2


@final
class RK4(RungeKutta):
    """The classical Runge-Kutta method: explicit, all players at once, fourth order; stable on bilinear games up to 2 sqrt(2).

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.1, scheme="rk4")
    >>> abs(float(sol.states[-1][0]) - 0.36787944) < 1e-6
    True
    """

    nodes, weights = (0.5, 0.5, 1.0), (1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0)

    @property
    def order(self) -> int:
        return 4


def _slopes(players: Players, states: States) -> list[np.ndarray]:
    """Return every player's velocity in its own coordinates."""
    velocities = []
    for player, (metric, eta, x) in enumerate(zip(players.metrics, players.speeds, states, strict=True)):
        with of_player(player):
            chart = metric.chart(x)
            v = -eta * chart.pull(chart.origin, metric.differential(players.game.energy(player, states), x))
            velocities.append(_own(x, v))
    return velocities


def _own(x: State, v: np.ndarray) -> np.ndarray:
    """Return the rate of change of a state's coordinates from a tangent vector of its chart."""
    if isinstance(x, Gaussian):
        return np.vstack([v[0], v[1:] @ x.cov + x.cov @ v[1:]])
    return x.masses * v if isinstance(x, Histogram) else v


def _moved(players: Players, states: States, offsets: list[np.ndarray]) -> States:
    """Return the states moved in their own coordinates, projected on constraints."""
    new: list[State] = []
    for player, (metric, x, offset) in enumerate(zip(players.metrics, states, offsets, strict=True)):
        with of_player(player):
            if isinstance(x, Particles) and offset.shape != x.points.shape:
                new.append(regrown(x, offset))
                continue
            chart, z = metric.chart(x), x.coordinates + offset
            if isinstance(chart, Flat):
                z = chart.project(players.game.energy(player, states).project(z))
            new.append(x.replace(z))
    return tuple(new)
