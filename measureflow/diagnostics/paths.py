"""A computed flow as a curve in flat coordinates, and generated points along it, for its diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow.errors import UnsupportedError
from measureflow.games import GAN, Game, Generated, Generator
from measureflow.states import Law, Particles, State, atoms

if TYPE_CHECKING:
    from measureflow.solution import Solution

ROWS = 1500
COORDINATES = 1200
PARTS = ("game", "energies")


@final
@dataclass(frozen=True, eq=False)
class Path:
    """States in coordinates whose Euclidean length is the metric one (of the plain metric of the coordinates) over sqrt(eta).

    Attributes
    ----------
    rows : ndarray, shape (r,)
        The rows of the solution that were read: all, or evenly spaced ones.
    t : ndarray, shape (r,)
    players : list of ndarray, shape (r, m_i)
        One a player; of very many coordinates every k-th.
    """

    rows: np.ndarray
    t: np.ndarray
    players: list[np.ndarray]

    @property
    def joint(self) -> np.ndarray:
        """All players' coordinates, (r, m)."""
        return np.concatenate(self.players, axis=1)


def path(sol: Solution) -> Path:
    """Return the curve of a solution through at most 1500 of its rows, the last one among them."""
    stride = max(-(-len(sol) // ROWS), 1)
    rows = np.arange(len(sol) - 1, -1, -stride)[::-1]
    speeds = sol.players.speeds
    columns: list[list[np.ndarray]] = [[] for _ in speeds]
    for k in rows:
        for column, state, eta in zip(columns, sol.row(int(k)), speeds, strict=True):
            column.append(_flat(state) / np.sqrt(eta))
    players = [np.array(column) for column in columns]
    return Path(rows, sol.t[rows], players)


def _flat(state: State) -> np.ndarray:
    """Return coordinates in which n equal atoms have the metric (1/n) sum |dx_i|^2."""
    z = np.asarray(state.coordinates, dtype=np.float64)
    if isinstance(state, Particles):
        z = z * np.sqrt(state.weights)[:, None]
    elif isinstance(state, Law) and z.ndim == 1:
        z = z / np.sqrt(z.size)
    stride = max(-(-z.shape[0] * int(np.prod(z.shape[1:])) // COORDINATES), 1)
    return z[::stride].ravel()[:COORDINATES]


def target_of(problem: Any) -> State | None:
    """Return the law that a problem goes to, if it holds one: the `target` of a game or an energy, or of one that they hold."""
    held = getattr(problem, "target", None)
    if isinstance(held, Law):
        return held
    inner = [getattr(problem, "game", None), getattr(problem, "energy", None), *tuple(getattr(problem, "energies", ()) or ())]
    if hasattr(problem, "terms") and callable(problem.terms):
        inner += [term for _, term in problem.terms() if term is not problem]
    found = (target_of(part) for part in inner if part is not None)
    return next((law for law in found if law is not None), None)


def gan_of(problem: Any) -> GAN | None:
    """Return the GAN that a problem is, or is made of."""
    while problem is not None and not isinstance(problem, GAN):
        problem = getattr(problem, "game", None)
    return problem


def generated(problem: Any, state: State) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the points (n, d) and weights (n,) that the first player stands for; None if it is no law of atoms."""
    generator = _generator_of(problem)
    try:
        if generator is not None:
            return generator.points(state)
        return atoms(state) if isinstance(state, Law) else None
    except UnsupportedError:
        return None


def _generator_of(problem: Any) -> Generator | None:
    """Return the network through which the first player generates a law; None: its state is the law."""
    gan = gan_of(problem)
    if gan is not None:
        return gan.generator
    first = problem.energies[0] if isinstance(problem, Game) else problem
    return first.generator if isinstance(first, Generated) else None
