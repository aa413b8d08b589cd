"""Energies of laws as energies of the networks that generate them."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.games.generators import MLPGenerator
from measureflow.states import Particles, State


@final
class Generated(Energy):
    """theta -> E(G_theta # latent): an energy of laws, seen by a network that generates the law.

    Its Euclidean flow is training by full-batch gradient descent; `schemes.Projected` follows the flow of the law instead.

    Parameters
    ----------
    energy : Energy
        Defined on `Particles`: a potential, `EnergyDistance`, `SquaredWasserstein`, `FastCritic` ...
    generator : MLPGenerator

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; at evaluation, if the state is not a `Vector` of the network's parameters.

    Examples
    --------
    >>> import measureflow as mf
    >>> shift = mf.games.MLPGenerator(mf.Particles([[0.0], [1.0]]), 1, widths=())
    >>> Generated(mf.energies.Quadratic(), shift).value(mf.Vector([1.0, 2.0]))
    3.25
    """

    def __init__(self, energy: Energy, generator: MLPGenerator) -> None:
        self.energy = check.instance("energy", energy, Energy, "an Energy")
        self.generator = check.instance("generator", generator, MLPGenerator, "an MLPGenerator")
        self._law: tuple[State, Particles] | None = None

    def on_law(self) -> Energy:
        """Return the energy of the law."""
        return self.energy

    def law(self, state: State) -> Particles:
        """Return the generated law; the last one is kept."""
        if self._law is None or self._law[0] is not state:
            self.generator.check("state", state, self.generator.dim)
            self._law = state, Particles(*self.generator.points(state))
        return self._law[1]

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        value, slopes = self.energy.value_and_gradient(self.law(state))
        return value, self.generator.gradient(state, np.zeros(len(slopes)), slopes)

    def minibatch(self, size: int, rng: np.random.Generator) -> Energy | None:
        drawn = self.energy.minibatch(size, rng)
        return None if drawn is None else Generated(drawn, self.generator)

    def __repr__(self) -> str:
        return f"Generated({self.energy!r}, {self.generator!r})"
