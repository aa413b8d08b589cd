"""Steps of quantiles under energies with a density, below a density cap: an interior-point method.

The law with gaps d_k = u_{k+1} - u_k obeys the cap if all slacks s_k = d_k - 1/(n cap) are nonnegative; a box gives one more at
each end. With forces f_k >= 0 in the gaps the step solves

    grad_i + f_{i+1} - f_i = 0,    s_k f_k = 0,    grad the gradient of  tau E(u) + |u - x|^2 / (2n)  in <a, b>/n,

f_0 and f_n the forces of the walls. Newton's method for s_k f_k = mu (Mehrotra 1992) adds springs f_k/s_k to the chain of
`proximal.quantiles`: two tridiagonal systems an iteration, one for mu = 0, whose success sets mu, and one for the step. The
residual is the distance |u - P(u - grad)|, P the projection on laws below the cap in the box; where rounding of stiff gaps keeps
the gradient up it is the length of the step for mu = 0, the distance to the minimiser.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.energies import Congestion
from measureflow.energies.base import Bounds
from measureflow.kernels.tridiagonal import solve_chain
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.proximal.lbfgs import MEMORY, Pairs, inner, preconditioned, remember
from measureflow.proximal.ordered import Ordered, isotonic, norm
from measureflow.proximal.quantiles import Point, Problem, Terms

INSIDE = 0.1
"""Least slack at the start, as a share of the least gap (of the room, in a box)."""
BOUNDARY = 0.99
HALVINGS = 30
FAR, CAREFUL = 0.5, 0.5
"""After a step no longer than FAR products are aimed at no less than CAREFUL times as large."""
TINY = 1e-300


def pressed(terms: Terms, cap: float, bounds: Bounds | None, law: Ordered, tau: float, tolerance: Tolerance) -> Step:
    """Return the step of quantiles under sorted terms, a density cap and a box that has room for the law.

    Raises
    ------
    ConvergenceError
        If the residual stays above the tolerance.
    """
    problem, goal = _Pressed(Problem(law, terms, tau, None), Congestion(cap), bounds), law.goal(tolerance.residual)
    now = problem.start()
    pairs: Pairs = deque(maxlen=MEMORY)
    residual, iteration, method = np.inf, 0, "interior point"
    while now is not None:
        residual = problem.residual(now.point)
        goes = problem.direction(now, pairs, 0.0)
        if terms.local:
            residual = min(residual, norm(goes[0]))
        if residual <= goal:
            return law.step(problem.below(now.point.u), residual, iteration, method)
        if iteration == tolerance.max_iterations:
            break
        mu = problem.target(now, *goes)
        trial = problem.advance(now, *problem.direction(now, pairs, mu), mu)
        if trial is None and pairs:
            pairs.clear()
            trial = problem.advance(now, *problem.direction(now, pairs, mu), mu)
        if trial is not None and not terms.local:
            remember(pairs, trial.point.u - now.point.u, trial.point.gradient - now.point.gradient)
        now, iteration = trial, iteration + 1
    raise not_converged(residual, goal, iteration)


@final
@dataclass(eq=False)
class _Iterate:
    """A point with its slacks and forces (n + 1,): those of the lower wall, the gaps and the upper wall.

    Slacks are carried along, as their changes are known to more digits than differences of quantiles.
    """

    point: Point
    slack: np.ndarray
    force: np.ndarray
    length: float = 1.0
    """Of the step that led here."""


@final
class _Pressed:
    """The inner problem with its constraints; where there is no wall the slack is 1 and the force 0."""

    def __init__(self, problem: Problem, cap: Congestion, bounds: Bounds | None) -> None:
        self.problem, self.cap, self.bounds = problem, cap, bounds
        self.n = problem.n
        self.gap = 1.0 / (self.n * cap.density_cap)
        self.real = np.ones(self.n + 1, dtype=bool)
        self.real[[0, -1]] = bounds is not None

    def start(self) -> _Iterate | None:
        """Return the nearest law with larger gaps, and even products of slacks and forces."""
        n, bounds, least = self.n, self.bounds, float(np.min(np.diff(self.problem.start()), initial=np.inf))
        gap, room = max(min(least, 2.0 * self.gap), (1.0 + INSIDE) * self.gap), None
        if bounds is not None:
            spare = (bounds[1] - bounds[0] - (n - 1) * self.gap) / n
            gap = min(gap, self.gap + INSIDE * spare)
            room = (bounds[0] + INSIDE * spare, bounds[1] - INSIDE * spare - (n - 1) * gap)
        shift = gap * np.arange(n)
        point = self.problem.evaluate(isotonic(self.problem.law.origin - shift, None, room) + shift)
        if point is None:
            return None
        slack = self._slack(point.u)
        tension = np.concatenate([[0.0], np.cumsum(point.gradient)])
        mu = INSIDE * float(np.max(np.abs(tension), initial=TINY)) * float(np.mean(slack[self.real]))
        return _Iterate(point, slack, np.where(self.real, mu / slack, 0.0))

    def _slack(self, u: np.ndarray) -> np.ndarray:
        lo, hi = (u[0] - 1.0, u[-1] + 1.0) if self.bounds is None else self.bounds
        return np.concatenate([[u[0] - lo], np.diff(u) - self.gap, [hi - u[-1]]])

    def _change(self, v: np.ndarray) -> np.ndarray:
        """Return the change of the slacks for a change v of the quantiles."""
        return np.where(self.real, np.concatenate([v[:1], np.diff(v), -v[-1:]]), 0.0)

    def below(self, u: np.ndarray) -> np.ndarray:
        """Return u, of which rounding may have spoilt the gaps, as a law below the cap and in the box."""
        return self.cap.project_within(u, self.bounds) if np.min(self._slack(u)[self.real]) < 0.0 else u

    def residual(self, point: Point) -> float:
        """Return |u - P(u - grad)|."""
        return norm(point.u - self.cap.project_within(point.u - point.gradient, self.bounds))

    def direction(self, now: _Iterate, pairs: Pairs, mu: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the changes of quantiles and forces for products mu of slacks and forces."""
        aim = np.where(self.real, mu / now.slack, 0.0)
        stiff = now.force / now.slack
        ground, spring = self.problem.ground(now.point), now.point.spring + stiff[1:-1]
        ground[0] += stiff[0]
        ground[-1] += stiff[-1]

        def solve(load: np.ndarray) -> np.ndarray:
            out = np.empty(self.n)
            solve_chain(ground, spring, load, out)
            return out

        here: Pairs = deque()
        for change, slope, _ in pairs:
            remember(here, change, slope - np.diff(stiff * self._change(change)))
        move = -preconditioned(solve, here, now.point.gradient + np.diff(aim))
        return move, aim - now.force - stiff * self._change(move)

    def target(self, now: _Iterate, move: np.ndarray, more: np.ndarray) -> float:
        """Return the product to aim at after the direction for 0: small if that gets far (Mehrotra), and the last step did."""
        change = self._change(move)
        lengths = self._longest(now.slack, change), self._longest(now.force, more)
        products = now.slack * now.force
        after = (now.slack + lengths[0] * change) * (now.force + lengths[1] * more)
        mean, left = float(np.mean(products[self.real])), float(np.mean(after[self.real]))
        if not mean > 0.0:
            return 0.0
        return mean * max(min(max(left / mean, 0.0), 1.0) ** 3, 0.0 if now.length > FAR else CAREFUL)

    def _longest(self, values: np.ndarray, change: np.ndarray) -> float:
        """Return the step that uses up at most the share BOUNDARY of positive values."""
        shrinking = float(np.max(np.where(self.real, -change / np.maximum(values, TINY), 0.0)))
        return min(1.0, BOUNDARY / shrinking) if shrinking > 0.0 else 1.0

    def advance(self, now: _Iterate, move: np.ndarray, more: np.ndarray, mu: float) -> _Iterate | None:
        """Backtrack until phi with a barrier of strength mu falls enough, up to rounding."""
        length = self._longest(now.slack, self._change(move))
        force = now.force + self._longest(now.force, more) * more
        start, slope = (
            self._merit(now.point, now.slack, mu),
            now.point.gradient + np.diff(np.where(self.real, mu / now.slack, 0.0)),
        )
        rounding = 1e-13 * max(1.0, abs(start))
        for _ in range(HALVINGS):
            trial, slack = self.problem.at(now.point.u + length * move), now.slack + length * self._change(move)
            if trial is not None:
                fall = min(length * inner(slope, move) / self.n, 0.0)
                if self._merit(trial, slack, mu) <= start + 1e-4 * fall + rounding:
                    return _Iterate(trial, slack, force, length)
            length *= 0.5
        return None

    def _merit(self, point: Point, slack: np.ndarray, mu: float) -> float:
        return point.phi - mu * float(np.sum(np.log(slack[self.real]))) / self.n
