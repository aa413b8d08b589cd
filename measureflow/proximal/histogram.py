"""Steps of histograms on the line: Newton's method in the distribution function, with the exact W2 of even cells.

With levels F_j at the faces, p_i = F_{i+1} - F_i, the function  phi(F) = tau E(p) + W2^2(p, p0)/2  is convex for convex E.
Its transport part has the derivative -int hat_j (x - T) dx in F_j, T the monotone map to p0, and the tridiagonal Hessian
int T'(level) hat_j hat_k dx. Internal energies add springs u''(rho)/h; other energies add their first variation only, and L-BFGS
pairs make up for what is missing if they are not linear.

Positivity: where the energy's derivative is -infinite at density 0 (entropy, fast diffusion) masses are updated in their
logarithms; otherwise, or where that ends in a hole, by a primal-dual interior iteration with multipliers z_i of p_i >= 0,
p_i z_i -> 0. Where rounding ends either search, gradients of several iterates together certify one of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.energies import KL, Box, Energy, Entropy, JensenShannon, Potential, PowerEntropy, Quadratic, Sum
from measureflow.energies.entropy import InternalEnergy
from measureflow.energies.ratios import FDivergence
from measureflow.errors import CallbackError, ConvergenceError, UnsupportedError
from measureflow.kernels.cells import solve_cells, transport_moments
from measureflow.metrics import Metric
from measureflow.metrics.wasserstein import is_w2
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.proximal.lbfgs import MEMORY, Pairs, inner, preconditioned, remember
from measureflow.states import Histogram, State

LEAST = 1e-120
SMALL = 1e-8
HOLE = 1e-10
NOTHING = 1e-14
"""Mass of a cell of the base law that is taken for 0: phi does not see it, and steps leave that much undetermined."""
HALVINGS = 40
BOUNDARY = 0.995
MIXED = 1e-3
SHRINK = 0.1
EDGE = 1e-12
STAGNANT = 30
PATIENCE = 60
"""Iterations between looks for a certificate from as many iterates, and before the first look."""
KAPPA = 1e3
STALLED = 1e-8
"""Residual, relative to the size of the state, that is accepted (and reported) where rounding ends the search."""

_Anchors = tuple[tuple[int, float], ...]
"""Faces (both ends, one in every hole of the base law), each with the law's level there minus the base's."""


@final
@dataclass(eq=False)
class _Point:
    """phi at masses p; per cell its first variation g (up to a constant) by differences `force` at the n - 1 inner faces."""

    p: np.ndarray
    anchors: _Anchors
    phi: float
    force: np.ndarray
    moments: np.ndarray
    spring: np.ndarray

    @property
    def distance(self) -> float:
        return float(np.sqrt(np.sum(self.moments[0])))


def even_cells(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the step of a histogram on a 1-D grid with walls under W2.

    Raises
    ------
    ConvergenceError
        If the residual stays above the tolerance, and above 1e-8 of the state's size where rounding ends the search.
    """
    if not isinstance(x, Histogram) or not is_w2(metric) or x.dim != 1 or x.grid.periodic[0]:
        return None
    if len(x.masses) == 1:
        return Step(x, 0.0)
    if energy.bounds is not None:
        raise UnsupportedError("a Box holds coordinates of points; bound a Histogram by its grid")
    problem = _Problem(energy, x, tau)
    try:
        return problem.solve(tolerance)
    except ConvergenceError:
        if not problem.positive or not problem.holes:
            raise
    problem.positive = False
    return problem.solve(tolerance)


@final
class _Problem:
    """The function phi of the masses."""

    def __init__(self, energy: Energy, base: Histogram, tau: float) -> None:
        self.base, self.tau = base, tau
        self.edges, self.h, self.n = base.grid.edges[0], base.grid.cell_volume, len(base.masses)
        seen = np.where(base.masses < NOTHING, 0.0, base.masses)
        self.masses = seen * (float(np.sum(base.masses)) / float(np.sum(seen)))
        self.holes = _holes(self.masses)
        self.total = np.concatenate([[0.0], np.cumsum(self.masses)])
        terms = [(c, term) for c, term in energy.terms() if c != 0.0 and not isinstance(term, Box)]
        self.energy = Sum(tuple(terms))
        self.internal = tuple((c, term) for c, term in terms if isinstance(term, InternalEnergy))
        self.internal += tuple((c, Entropy()) for c, term in terms if isinstance(term, KL))
        self.divergences = tuple((c, term) for c, term in terms if isinstance(term, FDivergence))
        self.positive = any(c > 0.0 and _repels(term) for c, term in terms)
        self.local = all(isinstance(term, (InternalEnergy, KL, FDivergence, Potential, Quadratic)) for _, term in terms)
        self.convex = self.local and all(c > 0.0 or isinstance(term, (Potential, Quadratic)) for c, term in terms)

    def at(self, p: np.ndarray, anchors: _Anchors) -> _Point | None:
        """Return phi at masses p > 0 with given levels at the anchors; None where it is not defined or not finite."""
        try:
            return self.evaluate(p, anchors)
        except (CallbackError, FloatingPointError):
            return None

    def evaluate(self, p: np.ndarray, anchors: _Anchors) -> _Point | None:
        """Return phi at masses p > 0 with given levels at the anchors; None where it is not finite."""
        value, variation = self.energy.value_and_gradient(self.base.replace(p))
        moments = self._transport(p, anchors)
        force = -self.h * (moments[2, :-1] + moments[1, 1:]) - self.tau * np.diff(variation)
        density, spring = p / self.h, np.zeros(self.n)
        for c, term in self.internal:
            spring += (self.tau * c / self.h) * term.gap_curvature(density) / density
        for c, divergence in self.divergences:
            spring += (self.tau * c / self.h) * divergence.stiffness(self.base.replace(p)) / density
        phi = self.tau * value + 0.5 * float(np.sum(moments[0]))
        if not np.isfinite(phi + inner(force, force)):
            return None
        return _Point(p, anchors, phi, force, moments, np.maximum(spring, 0.0))

    def _transport(self, p: np.ndarray, anchors: _Anchors) -> np.ndarray:
        """Return the moments of the transport; every cell counts levels from the nearest anchor."""
        moments = np.empty((7, self.n))
        levels = self.total[[face for face, _ in anchors]]
        cuts = [0, *np.searchsorted(np.cumsum(p) - 0.5 * p, 0.5 * (levels[1:] + levels[:-1])).tolist(), self.n]
        for (face, shift), first, stop in zip(anchors, cuts[:-1], cuts[1:], strict=True):
            if first < stop:
                base = self.masses, _levels(self.masses, face, 0.0)
                transport_moments(p, _levels(p, face, shift), self.edges, *base, first, stop, moments)
        return moments

    def residual(self, point: _Point, z: np.ndarray, complementarity: bool = True) -> float:
        """Return the length of the gradient of phi's first variation, multipliers included, and of p z = 0.

        A face is weighted by the mass that sees it and, so that parts of the law that hardly touch are in balance, by a share of
        the mass on its lighter side.
        """
        force = (point.force + np.diff(z)) / self.h
        gap = float(np.sum(point.p * (z / self.h) ** 2)) if complementarity else 0.0
        return float(np.sqrt(np.sum(self._seen(point.p) * force**2) + gap))

    def _seen(self, p: np.ndarray) -> np.ndarray:
        """Return the weights (n - 1,) of the inner faces."""
        lighter = np.minimum(np.cumsum(p), np.cumsum(p[::-1])[::-1] - p)[:-1]
        return np.asarray(np.maximum(2.0 * p[:-1] * p[1:] / (p[:-1] + p[1:]), lighter / self.n))

    def direction(self, point: _Point, barrier: np.ndarray, target: float, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """Return Newton's change of the masses (n,) and of the levels at all faces (n + 1,), from z = barrier to p z = target."""
        spring = point.spring + barrier / point.p
        load = point.force + target * np.diff(1.0 / point.p) if target else point.force
        matrices = self.h * point.moments[3:]
        matrices[3] *= self.h

        def solve(right: np.ndarray) -> np.ndarray:
            out = np.empty(self.n - 1)
            solve_cells(matrices, spring, right, out)
            return out

        change = -preconditioned(solve, pairs, load)
        dp = np.diff(change, prepend=0.0, append=0.0)
        levels = np.concatenate([[0.0], change, [0.0]])
        return dp if pairs else _refined(point.p, dp, change, spring, load, matrices), levels

    def solve(self, tolerance: Tolerance) -> Step:
        spread = float(np.sqrt(np.sum(self.base.masses * self.base.grid.axes[0] ** 2)))
        scale, iteration, residual = max(1.0, spread), 0, np.inf
        goal = tolerance.residual * scale
        pairs: Pairs = deque(maxlen=MEMORY)
        point: _Point | None = self.start()
        if point is None:
            raise UnsupportedError("the energy must be finite where every cell has mass: a KL target may have no empty cells")
        z = np.zeros(self.n) if self.positive else self._first_multipliers(point)
        known: deque[tuple[_Point, np.ndarray]] = deque(maxlen=STAGNANT)
        while point is not None:
            residual = self.residual(point, z)
            if residual <= goal or iteration == tolerance.max_iterations:
                break
            known.append((point, z))
            trial, z = self._advance(point, z, pairs)
            iteration += 1
            if trial is None or (iteration >= PATIENCE and iteration % STAGNANT == 0):
                best, bound = self._certified(known)
                if bound <= STALLED * scale:
                    point, residual, goal = best, bound, bound
                    break
            point = trial
        if point is not None and residual <= goal:
            method = "Newton" if self.positive else "interior point"
            return Step(self.base.replace(point.p), point.distance, residual, iteration, method)
        hint = "try another tau" + (", a histogram without empty stretches between masses, or Quantiles" if self.holes else "")
        raise not_converged(residual, goal, iteration, hint)

    def _certified(self, known: deque[tuple[_Point, np.ndarray]]) -> tuple[_Point, float]:
        """Return the best of some iterates and a residual of it: that of a convex combination of their gradients.

        Where phi bends within less mass than rounding resolves (thin islands in holes) gradients jump between iterates that phi
        cannot tell apart. For convex phi a combination of gradients is one up to the errors of linearisation at the best
        iterate, as in bundle methods; errors, like complementarity, are squared distances.
        """
        best, z = min(known, key=lambda item: self.residual(*item))
        bound = self.residual(best, z)
        if not self.convex:
            return best, bound
        weight, rows, errors = np.sqrt(self._seen(best.p)) / self.h, [], []
        for point, other in known:
            rows.append(weight * (point.force + np.diff(other)))
            linear = point.phi - inner(point.force, np.cumsum(best.p - point.p)[:-1])
            errors.append(max(best.phi - linear, 0.0) + inner(best.p, other))
        slopes, gaps = np.array(rows), np.array(errors)
        shares = _combination(slopes, np.sqrt(2.0 * gaps))
        slope = np.sum(shares[:, None] * slopes, axis=0)
        return best, min(bound, float(np.sqrt(inner(slope, slope) + 2.0 * inner(shares, gaps))))

    def start(self) -> _Point | None:
        """Return the base mixed with some uniform mass."""
        p = (1.0 - MIXED) * self.base.masses + MIXED / self.n
        inner_faces = [(lo + hi) // 2 for lo, hi in self.holes]
        shifts = [(face, MIXED * (face / self.n - float(self.total[face]))) for face in inner_faces]
        return self.evaluate(p, ((0, 0.0), *shifts, (self.n, 0.0)))

    def _first_multipliers(self, point: _Point) -> np.ndarray:
        variation = np.concatenate([[0.0], np.cumsum(-point.force)])
        excess = variation - inner(point.p, variation)
        return max(inner(point.p, np.abs(excess)), 1e-12) / self.n / point.p

    def _advance(self, point: _Point, z: np.ndarray, pairs: Pairs) -> tuple[_Point | None, np.ndarray]:
        """Return the next point and multipliers."""
        target = 0.0
        if not self.positive:
            balanced = self.residual(point, z, complementarity=False) <= self.residual(point, z) / 2.0
            target = (SHRINK if balanced else 1.0) * inner(point.p, z) / self.n
        dp, levels = self.direction(point, z, target, pairs)
        trial = self._search(point, z, dp, levels, target)
        if trial is None and pairs:
            pairs.clear()
            dp, levels = self.direction(point, z, target, pairs)
            trial = self._search(point, z, dp, levels, target)
        if trial is None:
            return None, z
        if not self.local and self.positive:
            moved = trial.p - point.p
            remember(pairs, np.cumsum(moved)[:-1], trial.force - point.force - np.diff(z / point.p * moved))
        return trial, z if self.positive else _safeguarded(_multipliers(z, point.p, dp, target), trial.p, target)

    def _search(self, start: _Point, z: np.ndarray, dp: np.ndarray, levels: np.ndarray, target: float) -> _Point | None:
        """Backtrack until phi (with its barrier) falls enough, or (rounding) until the residual falls."""
        shrinking = float(np.max(-dp / start.p, initial=0.0))
        length = 1.0 if self.positive or shrinking <= BOUNDARY else BOUNDARY / shrinking
        value, size = self._merit(start, target), self.residual(start, z)
        rounding = 1e-13 * max(1.0, abs(value))
        for _ in range(HALVINGS):
            p, anchors = self._moved(start, length * dp, length * levels)
            trial = self.at(p, anchors) if p.min() > 0.0 else None
            if trial is not None:
                change = self._merit(trial, target) - value
                if change <= 1e-4 * self._expected(start, p, target) <= 0.0:
                    return trial
                if abs(change) <= rounding and (target or self.residual(trial, z) < 0.999 * size):
                    return trial
            length *= 0.5
        return None

    def _moved(self, start: _Point, dp: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, _Anchors]:
        """Return masses, with the sums between anchors that their levels ask for, and the anchors.

        In a hole what Newton's step moves is the place at which the law has the level of the hole: it stays well defined however
        little mass is there. The new anchor is the face next to it.
        """
        p = start.p
        moved = np.maximum(p * np.exp(np.clip(dp / p, -250.0, 250.0)), LEAST) if self.positive else p + dp
        anchors = [start.anchors[0]]
        for (lo, hi), (face, shift) in zip(self.holes, start.anchors[1:-1], strict=True):
            old = _levels(p, face, shift)
            i = min(max(int(np.searchsorted(old, 0.0, side="right")) - 1, 0), self.n - 1)
            t = -old[i] / p[i]
            place = i + t - float(np.clip(((1.0 - t) * levels[i] + t * levels[i + 1]) / p[i], -1.0, 1.0))
            i = min(max(int(place), 0), self.n - 1)
            place = i + min(max(place - i, EDGE), 1.0 - EDGE)
            face = min(max(round(place), lo), hi)
            anchors.append((face, -float(_levels(moved, face, 0.0)[i] + (place - i) * moved[i])))
        anchors.append(start.anchors[-1])
        faces = [face for face, _ in anchors]
        asked = np.add.reduceat(self.masses, faces[:-1]) + np.diff([shift for _, shift in anchors])
        return moved * np.repeat(asked / np.add.reduceat(moved, faces[:-1]), np.diff(faces)), tuple(anchors)

    def _expected(self, start: _Point, p: np.ndarray, target: float) -> float:
        load = start.force + target * np.diff(1.0 / start.p) if target else start.force
        return inner(load, np.cumsum(p - start.p)[:-1])

    def _merit(self, point: _Point, target: float) -> float:
        return point.phi - target * float(np.sum(np.log(point.p))) if target else point.phi


def _repels(term: Energy) -> bool:
    """Return whether the derivative of an energy is -infinite at density 0."""
    return isinstance(term, (Entropy, KL, JensenShannon)) or (isinstance(term, PowerEntropy) and term.m < 1.0)


def _multipliers(z: np.ndarray, p: np.ndarray, dp: np.ndarray, target: float) -> np.ndarray:
    """Return the multipliers after a step to the boundary rule of their own."""
    dz = target / p - z - z * dp / p
    shrinking = float(np.max(-dz / z, initial=0.0))
    return z + min(1.0, BOUNDARY / shrinking if shrinking > 0.0 else 1.0) * dz


def _combination(rows: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return shares (k,), nonnegative with sum 1, that make |shares @ rows|^2 + sum (shares errors)^2 about least."""
    from scipy.optimize import nnls

    size = 1e-3 + float(np.max(np.abs(rows)))
    system = np.vstack([rows.T, np.diag(errors), np.full(len(errors), size)])
    shares = nnls(system, np.concatenate([np.zeros(len(system) - 1), [size]]))[0]
    return np.asarray(shares / shares.sum())


def _safeguarded(z: np.ndarray, p: np.ndarray, target: float) -> np.ndarray:
    """Return the multipliers clipped to where p z is comparable to the target (then Newton's method converges globally)."""
    return np.clip(z, target / (KAPPA * p), KAPPA * target / p)


def _levels(p: np.ndarray, face: int, level: float) -> np.ndarray:
    """Return the levels (n + 1,) of masses (n,), summed up both ways from `level` at a face."""
    result = np.empty(len(p) + 1)
    result[face] = level
    result[face + 1 :] = level + np.cumsum(p[face:])
    result[:face] = level - np.cumsum(p[:face][::-1])[::-1]
    return result


def _below(p: np.ndarray, share: float) -> np.ndarray:
    """Return which cells hold less than a share of the mass on the lighter of their two sides."""
    lighter = np.minimum(np.cumsum(p) - p, np.cumsum(p[::-1])[::-1] - p)
    return np.asarray(p < share * lighter)


def _holes(p: np.ndarray) -> list[tuple[int, int]]:
    """Return the inner faces (first, last) of every hole of the base law, where its quantile function jumps."""
    empty = np.concatenate([[False], _below(p, HOLE), [False]])
    starts, stops = np.flatnonzero(empty[1:] & ~empty[:-1]), np.flatnonzero(empty[:-1] & ~empty[1:])
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _refined(
    p: np.ndarray, dp: np.ndarray, change: np.ndarray, spring: np.ndarray, load: np.ndarray, matrices: np.ndarray
) -> np.ndarray:
    """Recompute the changes of small masses, where differences of levels cancel, from the stress spring * dp."""
    pull = (matrices[2, :-1] + matrices[0, 1:]) * change
    pull[:-1] += matrices[1, 1:-1] * change[1:]
    pull[1:] += matrices[1, 1:-1] * change[:-1]
    stress = np.concatenate([[0.0], np.cumsum(load + pull)])
    anchor = int(np.argmax(p))
    stress += spring[anchor] * dp[anchor] - stress[anchor]
    small = (p < SMALL) & (spring > 0.0)
    return np.where(small, stress / np.where(spring > 0.0, spring, 1.0), dp)
