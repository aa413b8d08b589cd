"""What schemes made of minimizing movements share: an inner problem, and when its solver stops."""

from __future__ import annotations

from typing import Any

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.metrics import Metric, Wasserstein
from measureflow.proximal import Step, Tolerance, solve_proximal
from measureflow.schemes.base import Scheme
from measureflow.states import Histogram, State


class Minimizing(Scheme):
    """A scheme whose steps solve inner problems argmin_u E(u) + d(x, u)^2 / (2 tau)."""

    def __init__(
        self,
        coupling: str = "simultaneous",
        inner_steps: Any = None,
        *,
        turns: Any = None,
        unrolled: int = 0,
        tolerance: float = 1e-10,
        max_iterations: int = 500,
    ) -> None:
        super().__init__(coupling, inner_steps, turns=turns, unrolled=unrolled)
        self.tolerance = Tolerance(
            check.scalar("tolerance", tolerance, above=0.0), check.integer("max_iterations", max_iterations, least=1)
        )

    def minimize(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        """Solve the inner problem."""
        return solve_proximal(energy, metric, x, tau, self.tolerance)


def flows_on_cells(metric: Metric, x: State) -> bool:
    """Return whether linearised minimizing movements are defined: those of a histogram under W2."""
    return isinstance(x, Histogram) and isinstance(metric, Wasserstein) and metric.p == 2 and metric.method == "auto"
