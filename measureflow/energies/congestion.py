"""A cap on the density: the constraint of crowd motion."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Bounds, Energy, unsupported
from measureflow.states import Histogram, Quantiles, State

SLACK = 1e-9
"""Share of the cap by which rounding may pass it."""


@final
class Congestion(Energy):
    """The indicator of {density <= density_cap}: with a potential its flow is crowd motion (theory, C1 and C2).

    Where the law is not saturated mass moves with -grad V, where it is with -grad (V + p): the pressure p >= 0 vanishes where the
    density is below the cap (Maury, Roudneff-Chupin and Santambrogio 2010). Together with Entropy, PowerEntropy or KL it is
    diffusion with a hard cap. Minimizing movements, exact and linearised, keep the cap to rounding; exact ones know the cap
    together with potentials, on `Histogram` also with Entropy, KL and PowerEntropy, on `Quantiles` also with Entropy,
    PowerEntropy, KL and divergences to a Gaussian, interactions and `Box`.

    Parameters
    ----------
    density_cap : float
        Positive. Mass per length, area or volume.

    Raises
    ------
    TypeError, ValueError
        If density_cap is no positive number; at evaluation, on states other than `Histogram` and `Quantiles`, and on a grid that
        holds no mass 1 below the cap. A law of n `Quantiles` obeys the cap if neighbours are at least 1 / (n density_cap) apart.

    Examples
    --------
    >>> from measureflow import Grid, Histogram
    >>> line = Grid([(0.0, 1.0)], (4,))
    >>> cap = Congestion(2.0)
    >>> cap.value(Histogram([0.5, 0.5, 0.0, 0.0], line)), cap.value(Histogram([0.6, 0.4, 0.0, 0.0], line))
    (0.0, inf)
    """

    boxed = False

    def __init__(self, density_cap: float) -> None:
        self.density_cap = check.scalar("density_cap", density_cap, above=0.0)

    @property
    def convexity(self) -> float:
        return 0.0

    def project(self, z: np.ndarray) -> np.ndarray:
        """Return the quantiles (n,) nearest to z that obey the cap."""
        return self.project_within(z, None)

    def project_within(self, z: np.ndarray, bounds: Bounds | None) -> np.ndarray:
        """Return the quantiles (n,) in an interval that are nearest to z and obey the cap."""
        from scipy.optimize import isotonic_regression

        shift = self.gaps(len(z))
        packed = isotonic_regression(z - shift).x
        if bounds is not None:
            packed = np.clip(packed, bounds[0], bounds[1] - shift[-1])
        return np.asarray(packed + shift)

    def gaps(self, n: int) -> np.ndarray:
        """Return i / (n density_cap) for i = 0 ... n - 1: n saturated quantiles from 0 on."""
        return np.arange(n) / (n * self.density_cap)

    def require_room(self, law: Histogram) -> None:
        """Raise ValueError if the grid of a histogram holds no mass 1 below the cap."""
        volume = law.grid.cell_volume * law.masses.size
        if not self.density_cap * volume > 1.0:
            raise ValueError(
                f"density_cap must be above 1/volume = {1.0 / volume:g} of the state's grid, got {self.density_cap:g}"
            )

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if isinstance(state, Histogram):
            self.require_room(state)
            excess = float(np.max(state.masses)) / (self.density_cap * state.grid.cell_volume)
        elif isinstance(state, Quantiles):
            gap = float(np.min(np.diff(state.values), initial=np.inf)) * len(state.values) * self.density_cap
            excess = 1.0 / gap if gap > 0.0 else np.inf
        else:
            raise unsupported(self, state, "Histogram and Quantiles", "Atoms and Gaussians have no cap on their density")
        return 0.0 if excess <= 1.0 + SLACK else np.inf, np.zeros(state.coordinates.shape)

    def _variation(self, law: State) -> np.ndarray:
        return np.zeros(len(law))

    def __repr__(self) -> str:
        return f"Congestion({self.density_cap:g})"
