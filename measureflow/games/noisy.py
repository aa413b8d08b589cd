"""Games whose mini-batches have gradient noise of known law."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Quadratic
from measureflow.games.base import AbstractGame, States
from measureflow.games.regularised import Regularised
from measureflow.states import Law, State, Vector


@final
class Noisy(AbstractGame):
    """A game with noisy gradients: a mini-batch of size B adds N(0, sigma_k^2 / B) to the gradient of player k.

    Without `batch`, `solve` plays the game itself, the mean of all mini-batches; with `batch` and `seed` every step has fresh
    noise: z+ = z - tau (F(z) + xi), E|xi|^2 = |sigma|^2 / B for explicit steps (theory, sections 9.5 and 10).

    Parameters
    ----------
    game : game
    deviations : sequence
        One entry a player: sigma_k for a batch of one, a nonnegative number for one coordinate, or an array (d,) of them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or initial states do not fit it.

    Notes
    -----
    Players are a `Vector`, or laws: then all atoms feel the same random force. Coordinates and players are independent.

    Examples
    --------
    >>> import measureflow as mf
    >>> game = Noisy(mf.games.Bilinear(1.0), (0.5, 0.0))
    >>> start = mf.Vector(1.0), mf.Vector(0.0)
    >>> sol = mf.solve(game, start, 1.0, 0.25, batch=16, seed=0)
    >>> exact = mf.solve(game, start, 1.0, 0.25)
    >>> 0.0 < mf.distance(sol.states[-1][0], exact.states[-1][0]) < 0.5
    True
    """

    def __init__(self, game: AbstractGame, deviations: Sequence[Any]) -> None:
        self.game = check.instance("game", game, AbstractGame, "a game")
        self.players = game.players
        entries = check.entries("deviations", deviations, self.players, "a nonnegative number or an array (d,) for each player")
        self.deviations = tuple(_deviation(f"deviations[{k}]", entry) for k, entry in enumerate(entries))

    @property
    def zero_sum(self) -> bool:
        return self.game.zero_sum

    def best_response(self, player: int, states: States) -> State | None:
        return self.game.best_response(player, states)

    def invariants(self, metrics: Sequence[Any], speeds: Sequence[float]) -> dict[str, Callable[[States], float]]:
        return self.game.invariants(metrics, speeds)

    def check(self, states: States) -> None:
        self.game.check(states)
        for k, (state, deviation) in enumerate(zip(states, self.deviations, strict=True)):
            name, allowed = f"initial[{k}]", "a Vector or a law to have a random force"
            size = len(state) if isinstance(state, Vector) else check.instance(name, state, Law, allowed).dim
            if size != len(deviation):
                raise ValueError(f"initial[{k}] must have the dimension {len(deviation)} of deviations[{k}], got {state!r}")

    def minibatch(self, size: int, rng: np.random.Generator) -> AbstractGame:
        forces = [rng.normal(size=len(deviation)) * deviation / np.sqrt(size) for deviation in self.deviations]
        linear = [Quadratic(0.0, linear=force) if force.any() else None for force in forces]
        return Regularised(self.game.minibatch(size, rng) or self.game, linear)

    def _frozen(self, player: int, others: States) -> Energy:
        return self.game._frozen(player, others)

    def __repr__(self) -> str:
        return f"Noisy({self.game!r})"


def _deviation(name: str, value: Any) -> np.ndarray:
    """Return standard deviations as a vector (d,) after checking their signs."""
    deviation = np.atleast_1d(check.array(name, value, ndim=(0, 1)))
    if deviation.min() < 0.0:
        raise ValueError(f"{name} must be nonnegative, got {check.show(value)}")
    deviation.flags.writeable = False
    return deviation
