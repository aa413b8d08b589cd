"""Steps of quantile functions under energies with a density: Newton's method in the interior of the cone.

With gaps g_k = u_{k+1} - u_k an internal energy is a sum of v(g_k), so that the Hessian of

    phi(u) = tau E(u) + |u - x|^2 / (2n)

is a chain of springs v''(g_k) on a ground that holds the identity and the potentials: one tridiagonal system a step. The
order stays strict by the fraction-to-the-boundary rule. Divergences that see a Gaussian target through the masses of the gaps
add their own tridiagonal Hessian. Non-local terms (interactions, MMD) have no part in
the Hessian; L-BFGS pairs on top of the chain make up for them. At a solution the order is strict, so that the
residual |u - P(u - grad phi)| is |grad phi|.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.energies import KL, Box, Energy, Entropy, Potential, Quadratic, Sum
from measureflow.energies.base import Bounds
from measureflow.energies.entropy import InternalEnergy
from measureflow.energies.free_ends import gap_weights
from measureflow.energies.ratios import FDivergence
from measureflow.errors import CallbackError
from measureflow.kernels.tridiagonal import assemble, densities, fastest_shrinking, solve_chain
from measureflow.metrics import Metric
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.proximal.closed import require_convex
from measureflow.proximal.lbfgs import MEMORY, Pairs, inner, preconditioned, remember
from measureflow.proximal.ordered import SOFTEST, Ordered, curvature, isotonic, norm, ordered
from measureflow.states import Gaussian, Quantiles, State

BOUNDARY = 0.98
HALVINGS = 40
FIXED = 1e200


@final
@dataclass(eq=False)
class Point:
    """phi, its gradient (of length `size`), the densities and the stiffness of the gaps at quantiles u."""

    u: np.ndarray
    phi: float
    gradient: np.ndarray
    size: float
    density: np.ndarray
    spring: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Terms:
    """An energy sorted into internal energies, divergences, terms on every atom by itself, and non-local ones."""

    internal: tuple[tuple[float, InternalEnergy], ...]
    divergences: tuple[tuple[float, FDivergence], ...]
    stiffness: float
    load: float
    separable: tuple[tuple[float, Energy], ...]
    outer: Energy | None
    local: bool

    @property
    def dense(self) -> bool:
        """Whether there are energies with a density, and no negative multiples of them."""
        found = self.internal + self.divergences
        return bool(found) and all(factor > 0.0 for factor, _ in found)


def interior(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the step of quantiles under an energy that contains Entropy, PowerEntropy or a divergence to a Gaussian.

    Raises
    ------
    ConvergenceError
        If the residual stays above the tolerance.
    ValueError
        If a quadratic is so concave that the step has no minimiser.
    """
    law = ordered(metric, x)
    if law is None or not isinstance(x, Quantiles):
        return None
    terms = sorted_terms(energy)
    if not terms.dense:
        return None
    if terms.outer is None:
        require_convex(terms.stiffness, tau)
    return _newton(Problem(law, terms, tau, energy.bounds), tolerance)


def sorted_terms(energy: Energy) -> Terms:
    """Sort the terms of an energy."""
    internal: list[tuple[float, InternalEnergy]] = []
    outer: list[tuple[float, Energy]] = []
    for factor, term in energy.terms():
        if isinstance(term, KL) and isinstance(term.target, Gaussian):
            assert term.potential is not None
            internal.append((factor, Entropy()))
            outer.append((factor, term.potential))
        elif isinstance(term, InternalEnergy):
            internal.append((factor, term))
        elif not isinstance(term, Box):
            outer.append((factor, term))
    quadratic = [(c, term.normal_form(1)) for c, term in outer if isinstance(term, Quadratic)]
    rest = tuple((c, term) for c, term in outer if not isinstance(term, Quadratic))
    separable = tuple((c, term) for c, term in rest if isinstance(term, Potential))
    divergences = tuple(
        (c, term) for c, term in rest if c != 0.0 and isinstance(term, FDivergence) and isinstance(term.target, Gaussian)
    )
    return Terms(
        tuple((c, term) for c, term in internal if c != 0.0),
        divergences,
        sum(c * float(a[0, 0]) for c, (a, _, _) in quadratic),
        sum(c * float(b[0]) for c, (_, b, _) in quadratic),
        separable,
        Sum(rest) if rest else None,
        len(separable) + len(divergences) == len(rest),
    )


@final
class Problem:
    """The function phi with its gradient, in the inner product <a, b>/n."""

    def __init__(self, law: Ordered, terms: Terms, tau: float, bounds: Bounds | None) -> None:
        self.law, self.terms, self.tau, self.bounds = law, terms, tau, bounds
        self.n = len(law)
        self.scales = [tau * c * gap_weights(term.exponent, self.n) for c, term in terms.internal]

    def at(self, u: np.ndarray) -> Point | None:
        """Return phi at u; None where it is not defined or not finite."""
        try:
            return self.evaluate(u)
        except (CallbackError, FloatingPointError):
            return None

    def evaluate(self, u: np.ndarray) -> Point | None:
        """Return phi at u; None where the order is not strict or phi is not finite."""
        density = np.empty(self.n - 1)
        if not densities(u, density) > 0.0:
            return None
        value, pressure, curvature = self._internal(density)
        gradient, spring = np.empty(self.n), np.empty(self.n - 1)
        stiffness, load = self.tau * self.terms.stiffness, self.tau * self.terms.load
        value += assemble(u, self.law.origin, stiffness, load, density, pressure, curvature, gradient, spring)
        phi = value / self.n
        if self.terms.outer is not None:
            more, slope = self.law.evaluate(self.terms.outer, u)
            phi, gradient = phi + self.tau * more, gradient + self.tau * slope
        for c, term in self.terms.divergences:
            spring += self.tau * c * term.cells(u).chain()[1]
        size = norm(gradient)
        return Point(u, phi, gradient, size, density, spring) if np.isfinite(phi + size) else None

    def _internal(self, density: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the sums over internal energies, times tau, of value, pressure / density and second derivative times gap^2."""
        if not self.terms.internal:
            return 0.0, np.zeros(self.n - 1), np.zeros(self.n - 1)
        terms = zip(self.scales, self.terms.internal, strict=True)
        parts = [(scale, *term.per_mass(density), term.gap_curvature(density)) for scale, (_, term) in terms]
        value = sum(float(scale @ per_mass) for scale, per_mass, _, _ in parts)
        if len(parts) == 1:
            c, _, pressure, curvature = parts[0]
            return value, c * pressure, c * curvature
        pressures = [c * pressure for c, _, pressure, _ in parts]
        return value, np.sum(pressures, axis=0), np.sum([c * curvature for c, _, _, curvature in parts], axis=0)

    def start(self) -> np.ndarray:
        """Return x, or where its atoms sit closer than a step spreads them, the nearest vector with larger gaps."""
        x = self.law.origin
        smallest = float(np.min(np.diff(x), initial=np.inf))
        inside = self.bounds is None or bool(x[0] >= self.bounds[0] and x[-1] <= self.bounds[1])
        if self.n == 1 or (inside and self._reached(10.0 * self.n * smallest)):
            return isotonic(x, None, self.bounds)
        gap, room = 0.1 * self._reach() / self.n, None
        if self.bounds is not None:
            gap = min(gap, 0.5 * (self.bounds[1] - self.bounds[0]) / self.n)
            room = (self.bounds[0], self.bounds[1] - gap * (self.n - 1))
        shift = gap * np.arange(self.n)
        return np.asarray(isotonic(x - shift, None, room) + shift)

    def _reached(self, width: float) -> bool:
        """Return whether a step spreads an atom at most to this width s: s^2 >= tau (pressure / density at density 1/s)."""
        if not width > 0.0:
            return False
        density = np.array([1.0 / width])
        pressure = sum(c * float(term.per_mass(density)[1][0]) for c, term in self.terms.internal)
        return width**2 >= self.tau * (pressure + sum(c * term.spread(1.0 / width) for c, term in self.terms.divergences))

    def _reach(self) -> float:
        """Return the width to which a step spreads an atom."""
        lo, hi = 1e-12, 1e12
        for _ in range(60):
            middle = float(np.sqrt(lo * hi))
            lo, hi = (lo, middle) if self._reached(middle) else (middle, hi)
        return lo

    def ground(self, point: Point) -> np.ndarray:
        """Return what the local Hessian at a point has beside the springs, kept positive."""
        ground = np.full(self.n, 1.0 + self.tau * self.terms.stiffness)
        if self.terms.separable:
            ground += self.tau * curvature(self.law, self.terms.separable, point.u)
        for c, term in self.terms.divergences:
            ground += self.tau * c * term.cells(point.u).chain()[0]
        return np.maximum(ground, SOFTEST)

    def solver(self, point: Point) -> Callable[[np.ndarray], np.ndarray]:
        """Return the inverse of the local Hessian at a point."""
        ground = self.ground(point)
        ground[self._held(point)] = FIXED

        def solve(load: np.ndarray) -> np.ndarray:
            out = np.empty(self.n)
            solve_chain(ground, point.spring, load, out)
            return out

        return solve

    def _held(self, point: Point) -> list[int]:
        """Return which of the two ends are pressed against a bound."""
        if self.bounds is None:
            return []
        low = bool(point.u[0] <= self.bounds[0] and point.gradient[0] > 0.0)
        high = bool(point.u[-1] >= self.bounds[1] and point.gradient[-1] < 0.0)
        return [0] * low + [self.n - 1] * high

    def residual(self, point: Point) -> float:
        """Return |u - P(u - grad phi)|, P the clipping on the bounds."""
        if self.bounds is None:
            return point.size
        return norm(point.u - np.clip(point.u - point.gradient, *self.bounds))

    def longest(self, point: Point, direction: np.ndarray) -> float:
        """Return the step length that uses up at most the fraction BOUNDARY of any gap (and room to a bound)."""
        shrinking = fastest_shrinking(point.density, direction)
        if self.bounds is not None and self.n > 2:
            low, high = point.u[1] - self.bounds[0], self.bounds[1] - point.u[-2]
            shrinking = max(shrinking, -direction[1] / low, direction[-2] / high)
        return min(1.0, BOUNDARY / shrinking) if shrinking > 0.0 else 1.0

    def search(self, start: Point, direction: np.ndarray) -> Point | None:
        """Backtrack until phi falls enough, or, where phi cannot tell (rounding), until the gradient falls."""
        length, rounding, size = self.longest(start, direction), 1e-13 * max(1.0, abs(start.phi)), start.size
        for _ in range(HALVINGS):
            u = start.u + length * direction
            trial = self.at(u if self.bounds is None else np.clip(u, *self.bounds))
            if trial is not None:
                expected = inner(start.gradient, trial.u - start.u) / self.n
                if trial.phi <= start.phi + 1e-4 * expected and expected < 0.0:
                    return trial
                if abs(trial.phi - start.phi) <= rounding and trial.size < 0.999 * size:
                    return trial
            length *= 0.5
        return None


def _newton(problem: Problem, tolerance: Tolerance) -> Step:
    law, goal = problem.law, problem.law.goal(tolerance.residual)
    point = problem.evaluate(problem.start())
    pairs: Pairs = deque(maxlen=MEMORY)
    residual, iteration, method = np.inf, 0, "Newton"
    while point is not None:
        residual = problem.residual(point)
        if residual <= goal:
            return law.step(point.u, residual, iteration, method)
        if iteration == tolerance.max_iterations:
            break
        solve = problem.solver(point)
        direction = -preconditioned(solve, pairs, point.gradient)
        trial = problem.search(point, direction)
        if problem.terms.local and norm(direction) <= goal and (trial is None or trial.size > 0.1 * residual):
            # rounding of stiff gaps keeps the gradient up; Newton's step is the distance to the minimiser
            return law.step(point.u, norm(direction), iteration, method)
        if trial is None and pairs:
            pairs.clear()
            trial = problem.search(point, -solve(point.gradient))
        if trial is not None and not problem.terms.local:
            remember(pairs, trial.u - point.u, trial.gradient - point.gradient)
        point, iteration = trial, iteration + 1
    raise not_converged(residual, goal, iteration)
