"""Many adversarial games on the line as one game, whose law has them as its marginals: phase diagrams are then single flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.energies.quadrature import hermite_rule
from measureflow.games import GAN, FeatureCritic, Game
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Particles, State, Vector

Rows = list[tuple[np.ndarray, np.ndarray]]


@final
@dataclass(frozen=True, eq=False)
class SideBySide:
    """M Wasserstein GANs on the line with a `FeatureCritic`, each with its own speeds, ridge and instance noise.

    The generator is one law on R^M, whose i-th marginal is the generator of member i; the critic is one vector. Members do not
    see each other, and W2 moves marginals as it moves laws on the line: a step of the one game is a step of every member.
    A speed is a scale of the coordinates: with x = sqrt(s) x~ the flow of x~ at speed 1 is that of x at speed s.

    Attributes
    ----------
    game : GAN
        On the line, with the loss "wasserstein", a `FeatureCritic` and no network; its penalties are not used.
    speeds : ndarray, shape (M, 2)
        Of generator and critic.
    ridge : ndarray, shape (M,)
    noise : ndarray, shape (M,)
        Standard deviations of the instance noise, averaged by a Gauss-Hermite rule as `GAN` does.
    """

    game: GAN
    speeds: np.ndarray
    ridge: np.ndarray
    noise: np.ndarray

    def __len__(self) -> int:
        return len(self.ridge)

    def start(self, points: ArrayLike, critic: ArrayLike) -> tuple[Particles, Vector]:
        """Return initial states from points (n, M) and critics (M, p)."""
        x, c = check.array("points", points, ndim=2), check.array("critic", critic, ndim=2)
        return Particles(x / np.sqrt(self.speeds[:, 0])), Vector((c / np.sqrt(self.speeds[:, 1:])).ravel())

    def rows(self, sol: Solution) -> tuple[np.ndarray, np.ndarray]:
        """Return the generators (rows, n, M) and the critics (rows, M, p) of a solution."""
        pairs = [(np.asarray(x.coordinates), np.asarray(c.coordinates)) for x, c in sol.states]
        points, weights = (np.stack(part) for part in zip(*pairs, strict=True))
        scale = np.sqrt(self.speeds)
        return points * scale[:, 0], weights.reshape(len(pairs), len(self), -1) * scale[:, 1:]

    def solve(
        self, points: ArrayLike, critic: ArrayLike, t: float, tau: float, *, scheme: Any = "rk4", save_at: Any = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Follow all members; return times, generators (rows, n, M) and critics (rows, M, p)."""
        sol = solve(self.joint(), self.start(points, critic), t, tau, scheme=scheme, save_at=save_at)
        return (sol.t, *self.rows(sol))

    def joint(self) -> Game:
        """Return the game of all members."""
        scale = np.sqrt(self.speeds)
        nodes, shares = hermite_rule(1) if np.any(self.noise) else (np.zeros((1, 1)), np.ones(1))
        features, slopes = _of(self.game.critic)
        target = self.game.target
        assert isinstance(target, Particles)
        at, held = target.points, target.weights
        data = np.stack([shares @ features(_blurred(y, nodes * s)) for y in at for s in self.noise])
        goal = np.einsum("k,kmp->mp", held, data.reshape(len(at), len(self), -1))

        def seen(points: np.ndarray, function: Any) -> np.ndarray:
            """Return features or slopes at points (n, M), averaged over the noise, (n, M, p)."""
            x = points[..., None] + self.noise[:, None] * nodes[:, 0]
            return np.asarray(np.einsum("nmqp,q->nmp", function(x.reshape(-1, 1)).reshape(*x.shape, -1), shares))

        def generator(own: Any, others: tuple[State, ...]) -> tuple[float, np.ndarray]:
            x, c = own.points * scale[:, 0], others[0].coordinates.reshape(len(self), -1) * scale[:, 1:]
            value = float(np.einsum("nmp,mp->", seen(x, features), c)) / len(x)
            return value, np.einsum("nmp,mp->nm", seen(x, slopes), c) * scale[:, 0]

        def critic(own: Any, others: tuple[State, ...]) -> tuple[float, np.ndarray]:
            x, c = others[0].points * scale[:, 0], own.values.reshape(len(self), -1) * scale[:, 1:]  # type: ignore[attr-defined]
            gap = goal - seen(x, features).mean(axis=0)
            value = float(np.sum(c * gap) + 0.5 * np.sum(self.ridge[:, None] * c * c))
            return value, ((gap + self.ridge[:, None] * c) * scale[:, 1:]).ravel()

        return Game([generator, critic])


def side_by_side(game: GAN, speeds: ArrayLike, ridge: ArrayLike, noise: ArrayLike = 0.0) -> SideBySide:
    """Return M copies of a GAN on the line as one game.

    Parameters
    ----------
    game : GAN
        Loss "wasserstein", a `FeatureCritic`, particles of any weights as target, in one dimension.
    speeds : array_like, shape (M, 2)
        Of generator and critic of each member.
    ridge, noise : float or array_like, shape (M,)

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import problems
    >>> members = side_by_side(problems.get("G15").problem, [[1.0, 1.0], [1.0, 1.0]], [0.6, 1.4])
    >>> t, x, c = members.solve([[0.2, 0.2]], [[0.5, -0.9]] * 2, 40.0, 0.1, save_at=10)
    >>> np.abs((x[-1, 0] - x[-2, 0]) / (t[-1] - t[-2])).round(3)  # a wave of speed 0.8, and rest
    array([0.8, 0. ])
    """
    check.instance("game", game, GAN, "a GAN")
    pairs = check.array("speeds", speeds, ndim=2)
    if pairs.shape[1] != 2 or np.any(pairs <= 0.0):
        raise ValueError(f"speeds must have positive rows of two, for generator and critic, got {check.show(speeds)}")
    if game.loss != "wasserstein" or game.generator is not None or not isinstance(game.critic, FeatureCritic):
        raise ValueError(f"game must have the loss 'wasserstein', a FeatureCritic and no network, got {game!r}")
    if not isinstance(game.target, Particles) or game.target.dim != 1:
        raise ValueError(f"game must have Particles on the line as its target, got {game.target!r}")
    return SideBySide(game, pairs, _one_each("ridge", ridge, len(pairs)), _one_each("noise", noise, len(pairs)))


def _one_each(name: str, values: Any, count: int) -> np.ndarray:
    found = np.asarray(values, np.float64)
    if found.shape not in ((), (count,)) or not np.all(np.isfinite(found)) or np.any(found < 0.0):
        raise ValueError(f"{name} must be a nonnegative number or {count} of them, one a member, got {check.show(values)}")
    return np.broadcast_to(found, (count,))


def _of(critic: Any) -> tuple[Any, Any]:
    """Return the features (n, 1) -> (n, p) of a critic, and their slopes in the same shape."""
    return critic.features, lambda x: critic.gradient(x)[..., 0]


def _blurred(centre: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return np.reshape(centre, (1, 1)) + np.reshape(offsets, (-1, 1))
