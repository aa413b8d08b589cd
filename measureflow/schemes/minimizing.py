"""What schemes made of minimizing movements share: an inner problem, and when its solver stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Congestion, Energy
from measureflow.errors import UnsupportedError
from measureflow.metrics import Metric
from measureflow.metrics.wasserstein import is_w2
from measureflow.proximal import Step, Tolerance, solve_proximal
from measureflow.schemes.base import Players, Scheme
from measureflow.schemes.info import States
from measureflow.states import Histogram, State


class Minimizing(Scheme):
    """A scheme whose steps solve inner problems argmin_u E(u) + d(x, u)^2 / (2 tau).

    For a `Histogram` under W2 they are linearised ones, that is implicit finite volumes, of which all but `JKO` make their steps.
    """

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
        if flows_on_cells(metric, x):
            return solve_proximal(energy, metric, x, tau, replace(self.tolerance, inner="linearised"))
        return solve_proximal(energy, metric, x, tau, self.tolerance)

    def check(self, players: Players, states: States) -> None:
        charts = self.coupling == "implicit" and len(players) > 1
        for metric, x in zip(players.metrics, states, strict=True):
            if charts or not flows_on_cells(metric, x):
                metric.chart(x)
        self.check_game(players, states)


def flows_on_cells(metric: Metric, x: State) -> bool:
    """Return whether linearised minimizing movements are defined: those of a histogram under W2."""
    return isinstance(x, Histogram) and is_w2(metric)


def projected(allowed: np.ndarray, z: np.ndarray) -> str:
    """Return ", projected" if projecting z on constraints changed it."""
    return "" if allowed is z or np.array_equal(allowed, z) else ", projected"


def require_no_cap(energy: Energy, scheme: Scheme) -> None:
    """Raise UnsupportedError for a cap on densities: extrapolations of masses do not obey it."""
    if any(isinstance(term, Congestion) for _, term in energy.terms()):
        name = type(scheme).__name__
        raise UnsupportedError(f"steps of {name} go beyond a cap on densities: take JKO(inner='linearised') or BDF2")


def on_cells(masses: np.ndarray, safe: State) -> tuple[Histogram, str]:
    """Return the law with these masses, of sum 1, which may be negative in places, and ", limited" if they were.

    Then they are blended with those of the law `safe`, see `proximal.limiting`.
    """
    from measureflow.proximal.limiting import nonnegative

    assert isinstance(safe, Histogram)
    kept, limited = nonnegative(masses, safe.masses)
    return safe.replace(kept), ", limited" * limited
