"""The implicit coupling: x+ = J(x; y+), y+ = J(y; x+), the Nash point of the regularised game (theory, section 4.2).

Written as a root problem for the best replies. Unknown are the new coordinates of all players but the first, whose step against
them is a function of them; Newton-Krylov on  reply(z) - z = 0  needs best replies only, so that every closed form and
every inner solver of the package serves here too.
"""

from __future__ import annotations

import numpy as np

from measureflow.errors import ConvergenceError
from measureflow.metrics import Metric
from measureflow.schemes.info import Move, States, StepInfo

RESIDUAL = 1e-10
ROUNDING = 1e-14
ROUNDS = 60


def regularised_nash(move: Move, metrics: tuple[Metric, ...], states: States) -> tuple[States, tuple[StepInfo, ...]]:
    """Return states that are best replies to each other.

    Raises
    ------
    ConvergenceError
        If the distance between the states and their best replies stays above 1e-10 max(1, size of the states).
    """
    if len(states) == 1:
        new, info = move(0, states[0], states)
        return (new,), (info,)
    charts = [metric.chart(x) for metric, x in zip(metrics, states, strict=True)]
    shapes = [chart.origin.shape for chart in charts[1:]]
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def unpack(z: np.ndarray) -> list[np.ndarray]:
        return [part.reshape(shape) for part, shape in zip(np.split(z, cuts), shapes, strict=True)]

    def replies(z: np.ndarray) -> tuple[States, tuple[StepInfo, ...]]:
        others = tuple(chart.state(chart.project(part)) for chart, part in zip(charts[1:], unpack(z), strict=True))
        first, report = move(0, states[0], states[:1] + others)
        seen: States = (first, *others)
        results = [move(player, states[player], seen) for player in range(1, len(states))]
        return (first, *(reply for reply, _ in results)), (report, *(info for _, info in results))

    def coordinates(new: States) -> np.ndarray:
        return np.concatenate([chart.log(x).ravel() for chart, x in zip(charts[1:], new[1:], strict=True)])

    def gap(z: np.ndarray) -> np.ndarray:
        return coordinates(replies(z)[0]) - z

    def size(difference: np.ndarray) -> float:
        return float(np.sqrt(sum(chart.norm(part) ** 2 for chart, part in zip(charts[1:], unpack(difference), strict=True))))

    start = np.concatenate([chart.origin.ravel() for chart in charts[1:]])
    scale = max(1.0, size(start))
    goal = RESIDUAL * scale
    root, rounds = _newton_krylov(gap, size, coordinates(replies(start)[0]), goal, ROUNDING * scale)
    new, infos = replies(root)
    residual = size(coordinates(new) - root)
    if residual > goal:
        raise ConvergenceError(
            f"the implicit coupling did not reach its tolerance: residual {residual:.3g} > {goal:.3g}; try a smaller tau",
            residual,
            goal,
        )
    return new, tuple(StepInfo(i.distance, max(i.residual, residual), i.iterations + rounds) for i in infos)


def _newton_krylov(  # type: ignore[no-untyped-def]
    gap, size, z: np.ndarray, goal: float, rounding: float
) -> tuple[np.ndarray, int]:
    """Solve gap(z) = 0 by Newton with GMRES on differences of the gap; returns the best point and the number of rounds.

    Below `goal` it goes on while rounds still gain a factor of 4, down to `rounding`: closed-form replies are exact.
    """
    from scipy.sparse.linalg import LinearOperator, gmres

    value = gap(z)
    before = np.inf
    for done in range(ROUNDS):
        now = size(value)
        if now <= rounding or (now <= goal and now > 0.25 * before):
            return z, done
        before = now
        scale = 1e-7 * max(1.0, float(np.linalg.norm(z)))

        def derivative(v: np.ndarray, z: np.ndarray = z, value: np.ndarray = value, scale: float = scale) -> np.ndarray:
            length = float(np.linalg.norm(v))
            return v * 0.0 if length == 0.0 else (gap(z + (scale / length) * v) - value) * (length / scale)

        operator = LinearOperator((len(z), len(z)), matvec=derivative, dtype=np.float64)
        direction, _ = gmres(operator, -value, rtol=1e-5, restart=min(30, len(z)), maxiter=2)
        z, value = _damped(gap, size, z, value, direction)
    return z, ROUNDS


def _damped(gap, size, z: np.ndarray, value: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    """Step along `direction`, halved until the gap shrinks; a plain best reply if it never does."""
    length, now = 1.0, size(value)
    for _ in range(12):
        try:
            trial = gap(z + length * direction)
        except ValueError:
            length *= 0.5
            continue
        if size(trial) < (1.0 - 1e-4 * length) * now:
            return z + length * direction, trial
        length *= 0.5
    return z + value, gap(z + value)
