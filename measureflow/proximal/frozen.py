"""Steps of histograms under nonlocal energies: potentials frozen at a law until they are those of the step.

For E = F + N with N nonlocal the step solves the Euler-Lagrange equation of F + int V drho at V = dN(rho), N's first variation at
the step rho itself. It is a fixed point of V -> dN(rho(V)), rho(V) the step of F + int V drho that a local solver takes. Where
grad dN(rho) is L-Lipschitz in rho this map contracts by tau L (the Hessian of W bounds L; for Newtonian W the largest density
does). Anderson's method accelerates it, in the norm of grad V in L2(rho), and restarts with half the step where it goes astray.

The residual is that of the local step plus tau |grad(dN(rho) - V)| in L2(rho), by how much the Euler-Lagrange equation of the
whole energy is missed as a distance. Where N is concave a fixed point could be no minimiser: a step that does not lower
E + d^2/(2 tau) is refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from measureflow.energies import MMD, CellPotential, Energy, EnergyDistance, Interaction, QuadraticInteraction, Sum
from measureflow.errors import ConvergenceError
from measureflow.metrics import Metric
from measureflow.metrics.wasserstein import is_w2
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.states import Grid, Histogram, State

NONLOCAL = (Interaction, QuadraticInteraction, MMD, EnergyDistance)
DEPTH = 5
"""Earlier potentials that Anderson's method combines."""
ROUNDS = 60
STALLED = 1e-7
"""Residual that is accepted, and reported, after as many rounds."""
PATIENCE, FAILURES = 120, 2
"""Iterations of a local solver after its first success, and how often it may fail then."""
GROWTH = 2.0
"""Growth of the change, relative to the least so far, after which the method starts anew from there."""
MOVED, LOOSE = 1e8, 0.01
"""As in `proximal.laguerre_newton`: a change of MOVED times the tolerance, at most LOOSE, of the distance moved will do."""

FINER = 0.3
"""Tolerance of local steps, in terms of that of the whole."""

Local = Callable[[Energy, Tolerance, np.ndarray | None], Step]
"""(local energy, tolerance, masses near the solution) -> step."""


@final
@dataclass(frozen=True, eq=False)
class Split:
    """An energy as the sum of a local and a nonlocal one."""

    local: tuple[tuple[float, Energy], ...]
    nonlocal_: Sum

    @property
    def whole(self) -> Energy:
        """The energy."""
        return Sum((*self.local, *self.nonlocal_.terms()))

    def frozen(self, potential: np.ndarray) -> Energy:
        """Return the local part with a potential in place of the rest."""
        return Sum((*self.local, (1.0, CellPotential(potential))))


def separate(energy: Energy) -> Split | None:
    """Return the parts of an energy; None if nothing is nonlocal."""
    terms = [(c, term) for c, term in energy.terms() if c != 0.0]
    apart = tuple(pair for pair in terms if isinstance(pair[1], NONLOCAL))
    local = tuple(pair for pair in terms if not isinstance(pair[1], NONLOCAL))
    return Split(local, Sum(apart)) if apart else None


def nonlocal_step(
    energy: Energy,
    metric: Metric,
    x: State,
    tau: float,
    tolerance: Tolerance,
    solve: Callable[[Energy, Metric, State, float, Tolerance], Step],
    again: bool = False,
) -> Step | None:
    """Return the exact step of a histogram under W2 whose local parts `solve` solves; None if nothing is nonlocal.

    On the line with walls `proximal.histogram` knows all pairs: there it is None too, unless that solver failed (`again`) or
    would (constraints other than boxes).

    Raises
    ------
    ConvergenceError
        If the residual stays above the tolerance, or the step does not lower E + d^2/(2 tau).
    """
    if not isinstance(x, Histogram) or not is_w2(metric):
        return None
    parts, on_line = separate(energy), x.dim == 1 and not x.grid.periodic[0]
    if parts is None or (on_line and energy.boxed and not again):
        return None
    spread = float(np.sqrt(np.sum(x.masses[..., None] * x.grid.centres**2)))
    share = min(LOOSE, MOVED * tolerance.residual)

    def local(frozen: Energy, accuracy: Tolerance, near: np.ndarray | None) -> Step:
        return solve(frozen, metric, x, tau, replace(accuracy, residual=FINER * accuracy.residual))

    def goal(found: Step) -> float:
        return tolerance.residual * max(1.0, spread) if on_line else max(tolerance.residual, share * found.distance)

    step = settle(parts, x, tau, tolerance, local, goal)
    require_descent(energy, x, tau, step)
    return step


def settle(parts: Split, start: Histogram, tau: float, tolerance: Tolerance, local: Local, goal: Callable[[Step], float]) -> Step:
    """Return the local step whose potential is that of its own law.

    What is missing in all is at most the goal (a distance), and half of it more if the local solver misses that much; or STALLED
    where rounding ends the search.

    Raises
    ------
    ConvergenceError
        If more stays missing.
    """
    potential, mixing = parts.nonlocal_.gradient(start), Mixing(start.grid)
    near, iterations, best, bound, failures = None, 0, None, 0.0, 0
    brief = replace(tolerance, max_iterations=min(tolerance.max_iterations, PATIENCE))
    for _ in range(ROUNDS):
        try:
            step = local(parts.frozen(potential), brief if mixing.best else tolerance, near)
        except ConvergenceError:
            failures += 1
            if mixing.best is None or failures > FAILURES:
                raise
            potential = mixing.retreat()
            continue
        assert isinstance(step.state, Histogram)
        near, iterations, bound = step.state.masses, iterations + step.iterations, goal(step)
        rest = parts.nonlocal_.gradient(step.state) - potential
        change = tau * mixing.size(rest, near)
        found = replace(step, residual=step.residual + change, method=f"{step.method}, frozen")
        best = found if best is None or found.residual < best.residual else best
        if found.residual <= bound or change <= max(0.5 * bound, step.residual):
            return replace(found, iterations=iterations)
        potential = mixing.advance(potential, rest, near)
    assert best is not None
    if best.residual <= STALLED:
        return replace(best, iterations=iterations)
    raise not_converged(best.residual, bound, iterations, "try a smaller tau: pairs of cells pull or push too much")


def require_descent(energy: Energy, x: Histogram, tau: float, step: Step) -> None:
    """Raise ConvergenceError unless a step lowers E + d^2/(2 tau), up to what its residual allows."""
    before, after = energy.value(x), energy.value(step.state) + step.distance**2 / (2.0 * tau)
    slack = step.residual * (step.distance + step.residual) / tau + 1e-12 * (1.0 + abs(before))
    if not after <= before + slack:
        raise ConvergenceError(
            f"the step does not lower the energy: E + d^2/(2 tau) rises from {before:.9g} to {after:.9g}; try a smaller tau",
            step.residual,
            0.0,
        )


@final
class Mixing:
    """Anderson's method for potentials on a grid, up to constants."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.share, self.least = 1.0, np.inf
        self.best: tuple[np.ndarray, np.ndarray] | None = None
        self.last: tuple[np.ndarray, np.ndarray] | None = None
        self.changes: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=DEPTH)

    def product(self, a: np.ndarray, b: np.ndarray, masses: np.ndarray) -> float:
        """Return int grad a . grad b drho, by differences between cells."""
        total = 0.0
        for k, (h, glued) in enumerate(zip(self.grid.spacing, self.grid.periodic, strict=True)):
            if self.grid.shape[k] == 1:
                continue
            da, db = np.roll(a, -1, k) - a, np.roll(b, -1, k) - b
            weight = 0.5 * (masses + np.roll(masses, -1, k))
            if not glued:
                np.moveaxis(weight, k, 0)[-1] = 0.0
            total += float(np.sum(weight * da * db)) / h**2
        return total

    def size(self, a: np.ndarray, masses: np.ndarray) -> float:
        """Return |grad a| in L2 of the masses."""
        return float(np.sqrt(self.product(a, a, masses)))

    def advance(self, potential: np.ndarray, rest: np.ndarray, masses: np.ndarray) -> np.ndarray:
        """Return the next potential, from one and what is missing there."""
        size = self.size(rest, masses)
        if size < self.least:
            self.least, self.best = size, (potential, rest)
        elif size > GROWTH * self.least:
            return self.retreat()
        if self.last is not None:
            self.changes.append((potential - self.last[0], rest - self.last[1]))
        self.last = potential, rest
        moved, left = potential, rest
        for weight, (dv, df) in zip(self._weights(rest, masses), self.changes, strict=True):
            moved, left = moved - weight * dv, left - weight * df
        return moved + self.share * left

    def retreat(self) -> np.ndarray:
        """Return a potential nearer to the best one so far, and forget all others."""
        assert self.best is not None
        self.changes.clear()
        self.last, self.share = None, 0.5 * self.share
        return self.best[0] + self.share * self.best[1]

    def _weights(self, rest: np.ndarray, masses: np.ndarray) -> np.ndarray:
        """Return the weights of earlier changes for which least is missing."""
        if not self.changes:
            return np.zeros(0)
        kept = [df for _, df in self.changes]
        matrix = np.array([[self.product(a, b, masses) for b in kept] for a in kept])
        right = np.array([self.product(a, rest, masses) for a in kept])
        scale = np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
        solved = np.linalg.lstsq(matrix / np.outer(scale, scale), right / scale, rcond=1e-12)[0]
        return np.asarray(solved / scale)
