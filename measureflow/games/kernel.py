"""Two laws that meet through a kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Box, Energy, Entropy, Potential
from measureflow.games.base import AbstractGame, States
from measureflow.games.linear import best_cell
from measureflow.metrics import Wasserstein
from measureflow.states import Histogram, Particles, Quantiles, State, atoms

LAWS = (Particles, Quantiles, Histogram)


@final
class KernelGame(AbstractGame):
    """J(mu, nu) = iint k(x, y) dmu(x) dnu(y): player 0 descends, player 1 ascends (theory, section 7.3).

    Parameters
    ----------
    k : callable
        (n, d1), (m, d2) -> (n, m).
    grad_x, grad_y : callable
        Gradients of k in its arguments: (n, d1), (m, d2) -> (n, m, d1) and (n, m, d2).
    clip : (float or None, float or None)
        c keeps that player's atoms in the box [-c, c]^d: steps are projected on it.
    translation_invariant : bool
        Whether k depends on x - y only: then the game declares that flows in W2 conserve Ent(mu)/eta_0 + Ent(nu)/eta_1
        (theory, section 3.7), for laws that carry entropy.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    CallbackError
        At evaluation, if a function returns the wrong shape or values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Particles
    >>> ones = lambda v, n: np.broadcast_to(v, (n, *v.shape))
    >>> game = KernelGame(lambda x, y: x @ y.T, lambda x, y: ones(y, len(x)), lambda x, y: ones(x, len(y)).swapaxes(0, 1))
    >>> laws = Particles([[1.0]]), Particles([[3.0], [5.0]])
    >>> game.energy(0, laws).gradient(laws[0])
    array([[4.]])
    """

    def __init__(
        self,
        k: Callable[..., Any],
        grad_x: Callable[..., Any],
        grad_y: Callable[..., Any],
        clip: tuple[float | None, float | None] = (None, None),
        translation_invariant: bool = False,
    ) -> None:
        self.k = check.function("k", k)
        self.grad_x = check.function("grad_x", grad_x)
        self.grad_y = check.function("grad_y", grad_y)
        self.translation_invariant = check.flag("translation_invariant", translation_invariant)
        bounds = check.entries("clip", clip, 2, "positive numbers or None")
        self.clip = tuple(None if c is None else check.scalar(f"clip[{i}]", c, above=0.0) for i, c in enumerate(bounds))

    @property
    def zero_sum(self) -> bool:
        return True

    def check(self, states: States) -> None:
        for player, state in enumerate(states):
            check.instance(f"initial[{player}]", state, LAWS, "Particles, Quantiles or a Histogram")
            bound = self.clip[player]
            if bound is not None and isinstance(state, Histogram):
                raise TypeError(f"initial[{player}] must be Particles or Quantiles to be clipped, got {state!r}")
            if bound is not None and np.abs(state.coordinates).max() > bound:
                raise ValueError(f"initial[{player}] must lie in the box of clip[{player}] = {bound:g}, got {state!r}")

    def best_response(self, player: int, states: States) -> State | None:
        """Return the best cell for a `Histogram`; None for atoms, which would need a global search."""
        own = states[player]
        return best_cell(self.energy(player, states).gradient(own), own) if isinstance(own, Histogram) else None

    def invariants(self, metrics: Sequence[Any], speeds: Sequence[float]) -> dict[str, Callable[[States], float]]:
        """Return the sum of entropies of a translation-invariant kernel, NaN for laws of atoms (theory, section 3.7)."""
        if not self.translation_invariant or self.clip != (None, None) or not all(isinstance(m, Wasserstein) for m in metrics):
            return {}
        return {"entropy sum": lambda states: sum(_entropy(law) / eta for law, eta in zip(states, speeds, strict=True))}

    def _frozen(self, player: int, others: States) -> Energy:
        opponent = check.instance(f"states[{1 - player}]", others[0], LAWS, "Particles, Quantiles or a Histogram")
        points, weights = atoms(opponent)
        energy: Energy = self._against(player, points, weights)
        bound = self.clip[player]
        return energy if bound is None else energy + Box(-bound, bound)

    def _against(self, player: int, points: np.ndarray, weights: np.ndarray) -> Potential:
        """Return the potential of one player: +- the kernel integrated against the opponent's atoms."""

        def value(own: np.ndarray) -> np.ndarray:
            if player == 0:
                return self._checked("k", self.k(own, points), own, points) @ weights
            return -(weights @ self._checked("k", self.k(points, own), points, own))

        def gradient(own: np.ndarray) -> np.ndarray:
            if player == 0:
                slopes = self._checked("grad_x", self.grad_x(own, points), own, points, own.shape[1])
                return np.einsum("nmd,m->nd", slopes, weights)
            slopes = self._checked("grad_y", self.grad_y(points, own), points, own, own.shape[1])
            return -np.einsum("nmd,n->md", slopes, weights)

        return Potential(value, gradient)

    def _checked(self, name: str, values: Any, x: np.ndarray, y: np.ndarray, *width: int) -> np.ndarray:
        return check.returned(name, values, (len(x), len(y), *width))


def _entropy(law: State) -> float:
    return float("nan") if isinstance(law, Particles) else Entropy().value(law)
