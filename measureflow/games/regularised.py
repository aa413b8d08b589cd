"""Games with an energy of its own added for every player."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.games.base import AbstractGame, States
from measureflow.states import Histogram


@final
class Regularised(AbstractGame):
    """A game in which player i has the energy E_i(x_i; the others) + R_i(x_i).

    An entropy T Ent for both players of a zero-sum game J is the game J(mu, nu) + T Ent(mu) - T Ent(nu): both players go down
    their own entropy term (theory, 3.6, G11). Potentials, boxes and quadratics serve as well.

    Parameters
    ----------
    game : game
    energies : sequence of Energy or None
        One entry a player; None adds nothing.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or a box would hold a Histogram.

    Notes
    -----
    `zero_sum` is False: each player pays its own R_i only, so that the energies do not sum to zero, although the flow of a
    regularised zero-sum game is that of the payoff J + R_0 - R_1.

    Examples
    --------
    >>> import measureflow as mf
    >>> game = Regularised(mf.games.Bilinear(1.0), [mf.energies.Quadratic(0.5), None])
    >>> x, y = mf.Vector([2.0]), mf.Vector([3.0])
    >>> game.energy(0, (x, y)).gradient(x), game.energy(1, (x, y)).gradient(y)
    (array([4.]), array([-2.]))
    """

    def __init__(self, game: AbstractGame, energies: Sequence[Energy | None]) -> None:
        self.game = check.instance("game", game, AbstractGame, "a game")
        self.players = game.players
        entries = check.entries("energies", energies, self.players, "an Energy or None a player")
        for k, entry in enumerate(entries):
            check.instance(f"energies[{k}]", entry, (Energy, type(None)), "an Energy or None")
        self.energies: tuple[Energy | None, ...] = entries

    def check(self, states: States) -> None:
        self.game.check(states)
        for k, (own, state) in enumerate(zip(self.energies, states, strict=True)):
            if own is None:
                continue
            if isinstance(state, Histogram) and (own.bounds is not None or not own.boxed):
                raise UnsupportedError(f"energies[{k}] must not be a Box for a Histogram, which is bounded by its grid")

    def minibatch(self, size: int, rng: np.random.Generator) -> AbstractGame | None:
        game = self.game.minibatch(size, rng)
        drawn: list[Any] = [None if own is None else own.minibatch(size, rng) for own in self.energies]
        if game is None and all(entry is None for entry in drawn):
            return None
        return Regularised(game or self.game, [new or old for old, new in zip(self.energies, drawn, strict=True)])

    def _frozen(self, player: int, others: States) -> Energy:
        own = self.energies[player]
        energy = self.game._frozen(player, others)
        return energy if own is None else energy + own

    def __repr__(self) -> str:
        return f"Regularised({self.game!r}, {list(self.energies)!r})"
