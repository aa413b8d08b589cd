"""Entropic mirror descent on histograms and on the weights of atoms."""

from __future__ import annotations

from typing import Any, final

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.metrics import FisherRao, Metric, WassersteinFisherRao
from measureflow.proximal import Step, Tolerance
from measureflow.proximal.fisher_rao import entropic_explicit, entropic_proximal
from measureflow.proximal.weights import entropic_atoms, entropic_weights
from measureflow.schemes.base import Players, Scheme
from measureflow.schemes.info import States
from measureflow.states import Histogram, Particles, State


@final
class Mirror(Scheme):
    """Mirror descent with the entropy (exponentiated gradient, multiplicative weights): p+ proportional to p exp(-tau phi).

    It is a step of the Fisher-Rao flow with KL in place of d^2/2; first order, and exact for every tau where the energy is linear
    in the masses (theory, F1). With ``implicit=True`` it is the proximal step p+ = argmin_u E(u) + KL(u | p)/tau, closed for sums
    of potentials, entropies and KL divergences (theory, F2).

    The weights of `Particles` take the same step, w+ proportional to w exp(-tau phi), with points that stay; in the metric
    `WassersteinFisherRao(a, b)` points move too, to x - a tau grad phi, projected on constraints, and weights by exp(-b tau phi).

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic"}
        See `Scheme`. On matrix games simultaneous steps move away from mixed Nash points, alternating ones circle them
        (theory, G14).
    inner_steps : sequence of int, optional
        Steps of size tau that each player takes in one step of the scheme; None: one each.
    turns : sequence of int, optional
        The order in which players move, see `Scheme`.
    implicit : bool
        Whether the first variation is taken at p+ instead of p.
    tolerance : float
        Residual, a Fisher-Rao length, at which the inner solver of implicit steps stops.
    max_iterations : int
        Iterations after which it raises ConvergenceError.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; in `solve`, if a player is not a `Histogram` with the metric `FisherRao`, or
        `Particles` with this one or `WassersteinFisherRao` and explicit steps.

    Notes
    -----
    Distances are Fisher-Rao distances. The step of this scheme and a minimizing movement in the Fisher-Rao distance agree to
    O(tau^2) only.

    Examples
    --------
    >>> import measureflow as mf
    >>> grid = mf.Grid([(0.0, 2.0)], (2,))
    >>> even = mf.Histogram([0.5, 0.5], grid)
    >>> sol = mf.solve(mf.energies.CellPotential([0.0, 1.0]), even, 1.0, 0.5, scheme=mf.Mirror(), metric=mf.FisherRao())
    >>> sol.states[-1].masses.round(6)
    array([0.731059, 0.268941])
    """

    def __init__(
        self,
        coupling: str = "simultaneous",
        inner_steps: Any = None,
        *,
        turns: Any = None,
        implicit: bool = False,
        tolerance: float = 1e-10,
        max_iterations: int = 100,
    ) -> None:
        super().__init__(coupling, inner_steps, turns=turns)
        self.implicit = check.flag("implicit", implicit)
        self.tolerance = Tolerance(
            check.scalar("tolerance", tolerance, above=0.0), check.integer("max_iterations", max_iterations, least=1)
        )

    def check(self, players: Players, states: States) -> None:
        for metric, x in zip(players.metrics, states, strict=True):
            atoms = isinstance(x, Particles) and isinstance(metric, (FisherRao, WassersteinFisherRao)) and not self.implicit
            if not atoms and not (isinstance(x, Histogram) and isinstance(metric, FisherRao)):
                raise UnsupportedError(
                    "Mirror is for players that are a Histogram with metric=FisherRao(), or Particles with this metric or "
                    f"WassersteinFisherRao() and implicit=False, got {type(x).__name__} with {metric!r}"
                )

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        if isinstance(x, Particles):
            return _on_atoms(energy, metric, x, tau)
        assert isinstance(x, Histogram)
        if self.implicit:
            return entropic_proximal(energy, x, tau, self.tolerance)
        return entropic_explicit(energy, x, tau)

    def __repr__(self) -> str:
        text = super().__repr__()
        return f"{text[:-1]}, implicit=True)" if self.implicit else text


def _on_atoms(energy: Energy, metric: Metric, x: Particles, tau: float) -> Step:
    if isinstance(metric, WassersteinFisherRao):
        return entropic_atoms(energy, metric, x, tau)
    return entropic_weights(energy, x, tau)
