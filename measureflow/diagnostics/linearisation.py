"""The Jacobian of a flow's velocity field, or of one step of its scheme, and its eigenvalues (theory, sections 6 and 7.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.errors import NotFiniteError, UnsupportedError
from measureflow.metrics import Chart
from measureflow.metrics.base import Flat
from measureflow.schemes import Players, Scheme
from measureflow.states import State

if TYPE_CHECKING:
    from measureflow.solution import Solution

LIMIT = 400
"""Largest number of coordinates."""

TRIES = 6
MARGINAL = 1e-9
KINK = 0.1

Map = Callable[[np.ndarray], np.ndarray]


@final
@dataclass(frozen=True, eq=False)
class Linearisation:
    """A flow near a point: z' = F(z), or one step z -> G(z) of its scheme; a two-step scheme maps (z, the z before).

    Attributes
    ----------
    states : tuple of State
        The point.
    matrix : ndarray, shape (n, n)
        The Jacobian in an orthonormal basis of the tangent directions, player by player.
    residual : float
        Metric speed sqrt(sum |F_i|^2/eta_i) at the point, or the length of the step from it over tau: zero at an equilibrium.
    roughness : float
        Largest difference of the entries that central differences of second order with the steps h and 2h give, relative to
        max(1, largest entry): of order h^2 where everything is smooth, of order 1 at a kink, where the numbers mean nothing.
    tau : float or None
        The step; None for the flow.
    """

    states: tuple[State, ...]
    matrix: np.ndarray
    residual: float
    roughness: float
    tau: float | None

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues of the flow, or multipliers of the step, least damped first: complex, shape (n,)."""
        values = np.linalg.eigvals(self.matrix).astype(complex)
        size = values.real if self.tau is None else np.abs(values)
        return values[np.lexsort((-values.imag, -np.round(size, 9)))]

    @property
    def rates(self) -> np.ndarray:
        """Eigenvalues per unit of time: those of the flow, or log(multipliers)/tau."""
        if self.tau is None:
            return self.eigenvalues
        with np.errstate(divide="ignore"):
            return np.log(self.eigenvalues) / self.tau

    @property
    def damping(self) -> float:
        """Exponential rate at which the least damped perturbation decays (negative: grows), -max Re of `rates`."""
        return -float(self.rates.real.max())

    @property
    def frequency(self) -> float:
        """Angular frequency |Im| of the least damped of `rates`, the largest if several are least damped."""
        rates = self.rates
        slack = MARGINAL * max(1.0, float(np.abs(rates[0])))
        return float(np.abs(rates.imag[rates.real >= -self.damping - slack]).max())

    @property
    def stable(self) -> bool:
        """Whether every perturbation decays; False also for rotations and neutral directions (damping below 1e-9)."""
        return self.damping > MARGINAL

    def __repr__(self) -> str:
        kind = "the flow" if self.tau is None else f"a step of {self.tau:g}"
        rough = ", NOT SMOOTH here" if self.roughness > KINK else ""
        return (
            f"Linearisation of {kind}, {len(self.matrix)} coordinates: damping {self.damping:.6g}, "
            f"frequency {self.frequency:.6g}, residual {self.residual:.3g}{rough}"
        )


@final
class Neighbourhood:
    """States near a point, by all players' chart coordinates in one vector."""

    def __init__(self, players: Players, states: tuple[State, ...]) -> None:
        self.players = players
        self.charts = [metric.chart(x) for metric, x in zip(players.metrics, states, strict=True)]
        self.cuts = np.cumsum([chart.origin.size for chart in self.charts])[:-1]
        self.origin = np.concatenate([chart.origin.ravel() for chart in self.charts])
        if len(self.origin) > LIMIT:
            raise UnsupportedError(f"linearisation() is for at most {LIMIT} coordinates, got {len(self.origin)}")

    def parts(self, z: np.ndarray) -> list[np.ndarray]:
        """Return each player's coordinates in the shape of its chart."""
        return [part.reshape(c.origin.shape) for part, c in zip(np.split(z, self.cuts), self.charts, strict=True)]

    def states(self, z: np.ndarray) -> tuple[State, ...]:
        """Return the states at coordinates."""
        return tuple(chart.state(part) for chart, part in zip(self.charts, self.parts(z), strict=True))

    def velocity(self, z: np.ndarray) -> np.ndarray:
        """Return -eta_i grad_i E_i of all players, in the coordinates."""
        parts, states = self.parts(z), self.states(z)
        seen = zip(self.players.metrics, states, strict=True)
        slopes = [metric.differential(self.players.game.energy(k, states), x) for k, (metric, x) in enumerate(seen)]
        pulled = zip(self.players.speeds, self.charts, parts, slopes, strict=True)
        return np.concatenate([np.ravel(-eta * chart.pull(part, slope)) for eta, chart, part, slope in pulled])

    def coordinates(self, states: tuple[State, ...]) -> np.ndarray:
        """Return the coordinates of states."""
        return np.concatenate([chart.log(x).ravel() for chart, x in zip(self.charts, states, strict=True)])

    def length(self, displacement: np.ndarray) -> float:
        """Return the product length, with the metrics d^2/eta, of a displacement from the point."""
        pieces = zip(self.charts, self.parts(displacement), self.players.speeds, strict=True)
        return float(np.sqrt(sum(chart.norm(part) ** 2 / eta for chart, part, eta in pieces)))

    def basis(self, difference: float) -> np.ndarray:
        """Return orthonormal tangent directions as columns; constraints such as symmetry or mass leave fewer than coordinates."""
        blocks = [_tangent(chart, difference) for chart in self.charts]
        result = np.zeros((len(self.origin), sum(block.shape[1] for block in blocks)))
        row = column = 0
        for block in blocks:
            result[row : row + len(block), column : column + block.shape[1]] = block
            row, column = row + block.shape[0], column + block.shape[1]
        return result


def _tangent(chart: Chart, difference: float) -> np.ndarray:
    """Return an orthonormal basis of the range of the derivative of z -> log(state(z)) at the origin."""
    size = chart.origin.size
    if isinstance(chart, Flat):
        return np.eye(size)

    def through(z: np.ndarray) -> np.ndarray:
        return chart.log(chart.state(z.reshape(chart.origin.shape))).ravel()

    columns, sizes, _ = np.linalg.svd(_jacobian(through, chart.origin.ravel(), np.eye(size), difference)[0])
    return np.asarray(columns[:, sizes > 0.5])


def _jacobian(f: Map, origin: np.ndarray, directions: np.ndarray, difference: float) -> tuple[np.ndarray, float]:
    """Return the derivatives of f at the origin along the columns of `directions`, of fourth order, and their roughness.

    Steps that leave the space are cut by a factor 8, five times at most.
    """
    step = difference * max(1.0, float(np.abs(origin).max()))
    pairs = [_derivative(f, origin, direction, step) for direction in directions.T]
    near, far = (np.stack(columns, axis=1) for columns in zip(*pairs, strict=True))
    roughness = np.abs(near - far).max() / max(1.0, float(np.abs(near).max()))
    return (4.0 * near - far) / 3.0, float(roughness)


def _derivative(f: Map, origin: np.ndarray, direction: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the central differences with the steps h and 2h."""
    for attempt in range(TRIES):
        h = step / 8.0**attempt * direction
        try:
            near, far = (f(origin + k * h) - f(origin - k * h) for k in (1.0, 2.0))
            scale = 2.0 * step / 8.0**attempt
            return near / scale, far / (2.0 * scale)
        except (ValueError, np.linalg.LinAlgError) as failed:
            if isinstance(failed, check.CallbackError) and not isinstance(failed, NotFiniteError):
                raise
            error = failed
    raise ValueError(f"linearisation() needs a point inside the space, with states on all sides of it: {error}") from error


def linearise(sol: Solution, at: Any, step: bool, tau: Any, difference: Any) -> Linearisation:
    """Return the linearisation of a solution's flow, or of one step of its scheme."""
    difference = check.scalar("difference", difference, above=0.0, most=0.1)
    states = _point(sol, at)
    near = Neighbourhood(sol.players, states)
    basis = near.basis(difference)
    if check.flag("step", step):
        size = _step_size(sol, tau)
        return _of_a_step(sol, near, states, basis, size, difference)
    if tau is not None:
        raise ValueError(f"tau must be None for the flow, it is the step of step=True; got {check.show(tau)}")
    matrix, roughness = _jacobian(near.velocity, near.origin, basis, difference)
    return Linearisation(states, basis.T @ matrix, near.length(near.velocity(near.origin)), roughness, None)


def _point(sol: Solution, at: Any) -> tuple[State, ...]:
    """Return the states at which to linearise, checked: default the last row."""
    if not len(sol):
        raise ValueError("linearisation() needs a solution with a row, got none")
    last = sol.row(-1)
    if at is None:
        return last
    row = (at,) if sol.single else check.entries("at", at, len(sol.players), "one state a player")
    for state, like in zip(row, last, strict=True):
        check.instance("at", state, type(like), f"a {type(like).__name__} like the solution's")
    sol.players.game.check(row)
    return tuple(row)


def _step_size(sol: Solution, tau: Any) -> float:
    if tau is not None:
        return check.scalar("tau", tau, above=0.0)
    if len(sol) != sol.outcome.steps + 1 or len(sol) < 2:
        raise ValueError("tau must be given, a number > 0, where not all steps were saved, got None")
    return float(sol.t[1] - sol.t[0])


def _of_a_step(
    sol: Solution, near: Neighbourhood, states: tuple[State, ...], basis: np.ndarray, tau: float, difference: float
) -> Linearisation:
    """Return the linearisation of a step: of z -> z+, or of (z, past) -> (z+, z) for schemes that remember the states before."""
    scheme: Scheme | None = sol.scheme
    assert scheme is not None
    memory = scheme.init(sol.players, states)
    twice = _remembers_states(memory)
    if memory != () and not twice:
        raise UnsupportedError(f"linearisation(step=True) needs a scheme without memory or with one of states, got {scheme!r}")

    def step(z: np.ndarray) -> np.ndarray:
        parts = [near.states(part) for part in np.split(z, 1 + twice)]
        new, kept, _ = scheme.step(sol.players, parts[0], (parts[1], tau) if twice else memory, tau)
        return np.concatenate([near.coordinates(x) for x in ((new, kept[0]) if twice else (new,))])

    origin, basis = np.tile(near.origin, 1 + twice), np.kron(np.eye(1 + twice), basis)
    moved = np.split(step(origin), 1 + twice)[0] - near.origin
    matrix, roughness = _jacobian(step, origin, basis, difference)
    return Linearisation(states, basis.T @ matrix, near.length(moved) / tau, roughness, tau)


def _remembers_states(memory: Any) -> bool:
    """Whether a scheme's memory is the states before the last step, and that step."""
    pair = isinstance(memory, tuple) and len(memory) == 2
    return pair and isinstance(memory[0], tuple) and all(isinstance(x, State) for x in memory[0])
