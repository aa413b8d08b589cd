"""Explicit Runge-Kutta steps of all players at once (theory, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, final

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
from measureflow.schemes.minimizing import flows_on_cells, on_cells, projected
from measureflow.states import Gaussian, Histogram, Particles, State

if TYPE_CHECKING:
    from measureflow.proximal.semidiscrete import CellRates

    Rates = dict[int, CellRates]


class RungeKutta(Scheme):
    """Explicit Runge-Kutta method each of whose stages uses the slopes of the one before.

    Stages are points in the states' own coordinates, in which the flow is an ordinary differential equation:
    -eta grad E in flat spaces, m' = -dE/dm and S' = -2 (S E_S + E_S S) for Gaussians, p' = -p (phi - mean phi) for masses of
    cells, and (log w)' = -(phi - mean phi) for weights of atoms.

    For the masses of a `Histogram` under W2 it is the one of finite volumes, p' = div(M grad(phi + V)): then all players take as
    many substeps in one step as keep explicit Euler steps of the cells monotone, so that masses stay nonnegative and the flow
    stable (``sol.info["iterations"]`` says how many). Energies that finite volumes do not know act by their first variations.
    """

    nodes: ClassVar[tuple[float, ...]]
    weights: ClassVar[tuple[float, ...]]

    def __init__(self) -> None:
        super().__init__()

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        (state,), _, (info,) = self.step(Players(Game([energy]), (metric,), (1.0,)), (x,), (), tau)
        return Step(state, info.distance, info.residual, info.iterations, info.method)

    def check(self, players: Players, states: States) -> None:
        for metric, x in zip(players.metrics, states, strict=True):
            if not flows_on_cells(metric, x):
                metric.chart(x)
        self.check_game(players, states)

    def step(self, players: Players, states: States, memory: Any, tau: float) -> Result:
        cells = [k for k, x in enumerate(states) if flows_on_cells(players.metrics[k], x)]
        if not cells:
            new, reports = self._once(players, states, {}, tau)
            return new, memory, reports
        from measureflow.proximal.semidiscrete import substep  # numba is loaded at first use

        infos, left = tuple(StepInfo(0.0, 0.0, 0) for _ in states), tau
        while left > 0.0:
            rates = {k: _rates(players, k, states) for k in cells}
            size = substep(left, max(players.speeds[k] * rates[k].fastest for k in cells), tau)
            states, more = self._once(players, states, rates, size)
            infos = tuple(b.after(a) for a, b in zip(infos, more, strict=True))
            left -= size
        return states, memory, infos

    def _once(self, players: Players, states: States, rates: Rates, tau: float) -> tuple[States, tuple[StepInfo, ...]]:
        """Advance all players by tau, without substeps; `rates` are those of the histograms among them."""
        slopes = [_slopes(players, states, rates)]
        for node in self.nodes:
            slopes.append(_slopes(players, _moved(players, states, [node * tau * slope for slope in slopes[-1]])[0], {}))
        sums = [sum(w * k for w, k in zip(self.weights, ks, strict=True)) for ks in zip(*slopes, strict=True)]
        new, guards = _moved(players, states, [tau * total for total in sums])
        infos = []
        for k, (metric, x, z) in enumerate(zip(players.metrics, states, new, strict=True)):
            known = rates.get(k)
            length = metric.labelled_distance(x, z) if known is None else known.length(players.speeds[k] * tau)
            infos.append(StepInfo(length, 0.0, int(known is not None), f"explicit{guards[k]}"))
        return new, tuple(infos)

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


def _rates(players: Players, player: int, states: States) -> CellRates:
    """Return the rates of a histogram."""
    from measureflow.proximal.semidiscrete import CellRates  # numba is loaded at first use

    return CellRates.of(players.game.energy(player, states), states[player])


def _slopes(players: Players, states: States, rates: Rates) -> list[np.ndarray]:
    """Return every player's velocity in its own coordinates; `rates` are those of histograms, as far as known."""
    velocities = []
    for player, (metric, eta, x) in enumerate(zip(players.metrics, players.speeds, states, strict=True)):
        with of_player(player):
            if flows_on_cells(metric, x):
                velocities.append(eta * (rates.get(player) or _rates(players, player, states)).masses)
                continue
            chart = metric.chart(x)
            v = -eta * chart.pull(chart.origin, metric.differential(players.game.energy(player, states), x))
            velocities.append(_own(x, v))
    return velocities


def _own(x: State, v: np.ndarray) -> np.ndarray:
    """Return the rate of change of a state's coordinates from a tangent vector of its chart."""
    if isinstance(x, Gaussian):
        return np.vstack([v[0], v[1:] @ x.cov + x.cov @ v[1:]])
    return x.masses * v if isinstance(x, Histogram) else v


def _moved(players: Players, states: States, offsets: list[np.ndarray]) -> tuple[States, list[str]]:
    """Return the states moved in their own coordinates, projected on constraints, and what that took."""
    new: list[State] = []
    guards = [""] * len(states)
    for player, (metric, x, offset) in enumerate(zip(players.metrics, states, offsets, strict=True)):
        with of_player(player):
            if isinstance(x, Particles) and offset.shape != x.points.shape:
                new.append(regrown(x, offset))
                continue
            if flows_on_cells(metric, x):
                law, guards[player] = on_cells(x.coordinates + offset, x)
                new.append(law)
                continue
            chart, z = metric.chart(x), x.coordinates + offset
            if isinstance(chart, Flat):
                allowed = chart.project(players.game.energy(player, states).project(z))
                guards[player], z = projected(allowed, z), allowed
            new.append(x.replace(z))
    return tuple(new), guards
