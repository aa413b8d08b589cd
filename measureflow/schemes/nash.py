"""The implicit coupling: x+ = J(x; y+), y+ = J(y; x+), the Nash point of the regularised game (theory, section 4.2).

Written as a root problem for the best replies. Unknown are the new coordinates of all players but the first, whose step against
them is a function of them; Newton's method on  reply(z) - z = 0  needs best replies only, so that every closed form and
every inner solver of the package serves here too. Few unknowns get a matrix of differences that Broyden's updates keep, many
get GMRES on differences.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from measureflow.errors import ConvergenceError
from measureflow.metrics import Metric
from measureflow.schemes.info import Move, States, StepInfo

RESIDUAL = 1e-10
ROUNDING = 1e-14
ROUNDS = 60
HALVINGS = 12
FEW, MANY = 12, 1000
"""Unknowns up to which the derivative is a matrix of differences from the start, and where GMRES fails."""
DIFFERENCE = 1e-7


def regularised_nash(move: Move, metrics: tuple[Metric, ...], states: States) -> tuple[States, tuple[StepInfo, ...]]:
    """Return states that are best replies to each other.

    Raises
    ------
    ConvergenceError
        If the distance between the states and their best replies stays above 1e-10 max(1, size of the states).
    """
    if len(states) == 1:
        alone, info = move(0, states[0], states)
        return (alone,), (info,)
    problem = _BestReplies(move, metrics, states)
    root, rounds = _newton(problem)
    new, infos = problem.replies(root)
    residual = problem.size(problem.coordinates(new) - root)
    if residual > problem.goal:
        raise ConvergenceError(
            f"the implicit coupling did not reach its tolerance: residual {residual:.3g} > {problem.goal:.3g}; try a smaller tau",
            residual,
            problem.goal,
        )
    return new, tuple(replace(i, residual=max(i.residual, residual), iterations=i.iterations + rounds) for i in infos)


@final
class _BestReplies:
    """The map z -> reply(z) on the new coordinates of all players but the first."""

    def __init__(self, move: Move, metrics: tuple[Metric, ...], states: States) -> None:
        self.move = move
        self.states = states
        self.charts = [metric.chart(x) for metric, x in zip(metrics[1:], states[1:], strict=True)]
        self.cuts = np.cumsum([chart.origin.size for chart in self.charts])[:-1]
        scale = max(1.0, self.size(np.concatenate([chart.origin.ravel() for chart in self.charts])))
        self.goal, self.rounding = RESIDUAL * scale, ROUNDING * scale

    def unpack(self, z: np.ndarray) -> list[np.ndarray]:
        """Return each player's part of z in the shape of its chart."""
        return [part.reshape(c.origin.shape) for part, c in zip(np.split(z, self.cuts), self.charts, strict=True)]

    def replies(self, z: np.ndarray) -> tuple[States, tuple[StepInfo, ...]]:
        """Return the first player's step against z, and the others' against that and z."""
        others = tuple(chart.state(chart.project(part)) for chart, part in zip(self.charts, self.unpack(z), strict=True))
        first, report = self.move(0, self.states[0], self.states[:1] + others)
        seen: States = (first, *others)
        results = [self.move(player, self.states[player], seen) for player in range(1, len(self.states))]
        return (first, *(reply for reply, _ in results)), (report, *(info for _, info in results))

    def coordinates(self, new: States) -> np.ndarray:
        """Return the coordinates of all players but the first."""
        return np.concatenate([chart.log(x).ravel() for chart, x in zip(self.charts, new[1:], strict=True)])

    def gap(self, z: np.ndarray) -> np.ndarray:
        """Return reply(z) - z."""
        return self.coordinates(self.replies(z)[0]) - z

    def size(self, difference: np.ndarray) -> float:
        """Return the product distance that a difference of coordinates stands for."""
        parts = zip(self.charts, self.unpack(difference), strict=True)
        return float(np.sqrt(sum(chart.norm(part) ** 2 for chart, part in parts)))


def _newton(problem: _BestReplies) -> tuple[np.ndarray, int]:
    """Solve gap(z) = 0 by Newton's method with differences of the gap; returns the last point and the number of rounds.

    Below the goal it goes on while rounds still gain a factor of 4, down to rounding: closed-form replies are exact.
    """
    z = problem.coordinates(problem.replies(np.concatenate([chart.origin.ravel() for chart in problem.charts]))[0])
    value, before, matrix = problem.gap(z), np.inf, None
    dense = len(z) <= FEW
    for rounds in range(ROUNDS):
        now = problem.size(value)
        if now <= problem.rounding or (now <= problem.goal and now > 0.25 * before):
            return z, rounds
        if not dense:
            direction, solved = _krylov_direction(problem, z, value)
            dense = not solved and len(z) <= MANY
        if dense:
            matrix = _differences(problem, z, value) if matrix is None or now > 0.25 * before else matrix
            direction = np.linalg.lstsq(matrix, -value)[0]
        old, old_value, before = z, value, now
        z, value = _damped(problem, z, value, direction)
        if matrix is not None and not np.array_equal(z, old):
            step = z - old
            matrix = matrix + np.outer(value - old_value - matrix @ step, step) / (step @ step)
    return z, ROUNDS


def _differences(problem: _BestReplies, z: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the derivative of the gap, a column a coordinate."""
    scale = DIFFERENCE * max(1.0, float(np.linalg.norm(z)))
    return np.column_stack([(problem.gap(z + scale * unit) - value) / scale for unit in np.eye(len(z))])


def _krylov_direction(problem: _BestReplies, z: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return Newton's direction by GMRES, and whether that reached its tolerance."""
    from scipy.sparse.linalg import LinearOperator, gmres

    scale = DIFFERENCE * max(1.0, float(np.linalg.norm(z)))

    def derivative(v: np.ndarray) -> np.ndarray:
        length = float(np.linalg.norm(v))
        return v * 0.0 if length == 0.0 else (problem.gap(z + (scale / length) * v) - value) * (length / scale)

    operator = LinearOperator((len(z), len(z)), matvec=derivative, dtype=np.float64)
    direction, left = gmres(operator, -value, rtol=1e-5, restart=min(30, len(z)), maxiter=2)
    return np.asarray(direction), left == 0


def _damped(problem: _BestReplies, z: np.ndarray, value: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Step along `direction`, halved until the gap shrinks; a plain best reply if it never does."""
    length, now = 1.0, problem.size(value)
    for _ in range(HALVINGS):
        try:
            trial = problem.gap(z + length * direction)
        except ValueError:
            length *= 0.5
            continue
        if problem.size(trial) < (1.0 - 1e-4 * length) * now:
            return z + length * direction, trial
        length *= 0.5
    return z + value, problem.gap(z + value)
