"""Implicit finite volumes for d_t rho = div(rho grad dE/drho): one step (rho - mu)/tau = div(M grad(phi(rho) + V)).

Without potential the flux between neighbours x and y, times their distance, is P(x) - P(y). Else it is fitted to the equilibrium
between the two (powers from 1 on):

    F = c (B(-z) x - B(z) y),   B(z) = z/(e^z - 1),   z = (phi(x) + V(x) - phi(y) - V(y))/c - log(x/y),   c = min(P'(x), P'(y)).

For the entropy this is the flux of Scharfetter and Gummel, and where nothing diffuses (c = 0) the density upstream times the fall
of phi + V. F = 0 where phi + V is the same in both. F is convex in z, so that its derivative in c has the sign of y - x: as c
rises with the smaller density only, F rises with x and falls with y for all fields, also at vacuum. For a single power above 1
the flux is the midway one, P(x*) - P(y*) with phi(x*) = phi(x) + (V(x) - V(y))/2 and phi(y*) = phi(y) - (V(x) - V(y))/2, which
is more exact at fronts, but at most F times 1 + min(1, 2 P'/|V(x) - V(y)|), P' upstream: it rises and falls in the same way. So

* a solution that is nowhere negative exists, and is the only one; steps are contractions in L1: nothing leaves an empty cell;
* mass is kept, and the energy falls by at least tau sum F grad(phi + V) (phi is increasing);
* steady states phi + V = const are kept, and smooth positive solutions have errors of order h^2.

Powers below 1 diffuse fast at vacuum: there the flux is M (phi(x) + V(x) - phi(y) - V(y)) with the mean of the densities
M = (P(x) - P(y))/(phi(x) - phi(y)), at most twice the density upstream.

Newton's method runs in the changes w = P'(rho) drho of pressures, for which the part without potential is symmetric: multigrid
and conjugate gradients solve it. Otherwise a V-cycle and a sweep in the order of falling phi + V precondition BiCGStab. Where P
has slope 0 at vacuum, fronts advance by a cell an iteration only: so the first guess is the solution on a grid of half the cells
an axis, found in the same way.

A cap on the density adds a pressure p >= 0 of full cells to the potential, with p (cap - rho) = 0 (crowd motion): the flux is
still increasing in the unknown of a cell, its density below the cap and its p there, so that the solution is unique. Newton's
method is that of active sets: cells that reach the cap are full, until their p would be negative. It may cycle where mass goes
far in a step, as through a door: then the step is reached through shorter ones from the same start (`_lengthened`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.kernels import fluxes
from measureflow.kernels.springs import dot
from measureflow.proximal.medium import Medium, averaged, refined, repeated

KEPT = 0.01
"""Share of its density (or pressure) that a cell keeps in an iteration at least."""
HALVINGS = 12
RISE = 3.0
"""Factor by which an iteration may miss more than the last one while cells become full and cease to be so."""
PATIENCE = 100
"""Iterations of one search below a cap."""
STALL = 30
"""Iterations below a cap without progress after which a search is given up."""
SHORTER = 8.0
"""Factor between a step that is not found and the shorter one that is tried."""
ROUGH = 1e-4
"""Share of the mass that may be missing in shorter steps."""
EXACT = 1e-9
"""Share of the mass below which rounding may end a search."""
FORCING = 0.05
LINEAR_LIMIT = 200


@final
@dataclass(frozen=True, eq=False)
class Solved:
    """A step: densities, the L1 norm of what is missing in their equation, Newton iterations, and the pressure of a crowd."""

    rho: np.ndarray
    missing: float
    iterations: int
    push: np.ndarray


def implicit_step(medium: Medium, mu: np.ndarray, tau: float, goal: float, limit: int, near: np.ndarray | None = None) -> Solved:
    """Solve rho - tau div(M grad(phi(rho) + V)) = mu >= 0 until the L1 norm of the difference (mean over cells) is below `goal`.

    The search starts at `near` if that is given. What comes back may miss the goal: `missing` says so. The scheme is a
    contraction in L1, so that `missing` bounds the error.
    """
    guess, push = np.minimum(mu if near is None else near, medium.cap), _no_push(medium)
    if medium.cap < np.inf or (near is None and not np.all(medium.power == 1.0) and medium.coef.size):
        below = medium.coarser()
        if below is not None:
            count = averaged(medium.free.astype(float))
            coarse = implicit_step(below, averaged(mu), tau, max(goal, 1e-3 * float(np.mean(mu))), min(limit, 12))
            guess = refined(coarse.rho / np.where(count > 0.0, count, 1.0), mu.shape, medium.periodic) * medium.free
            if medium.cap < np.inf:
                push = refined(coarse.push, mu.shape, medium.periodic) * medium.free
                if medium.coef.size:
                    push *= repeated(coarse.push, mu.shape) > 0.0
    if medium.cap == np.inf:
        return _Newton(medium, mu, tau).run(guess, push, goal, limit)
    solved = _Newton(medium, mu, tau).run(np.minimum(guess, medium.cap), push, goal, min(limit, PATIENCE))
    if solved.missing <= max(goal, EXACT * float(np.mean(mu))):
        return solved
    return _lengthened(medium, mu, tau, goal, limit, solved)


def _no_push(medium: Medium) -> np.ndarray:
    """Return the pressure of no crowd: a number if there cannot be one."""
    return np.zeros(medium.free.shape if medium.cap < np.inf else ())


def _lengthened(medium: Medium, mu: np.ndarray, tau: float, goal: float, limit: int, found: Solved) -> Solved:
    """Solve a step through shorter ones from the same start, each search from the solution of the last; `found` is a failure.

    Solutions depend continuously on the length, and tend to mu as it falls, so that a search that is near enough succeeds. What
    is missing in the solution is that of the whole step. Failures bring lengths nearer to each other, quick searches part them.
    """
    size, used, factor = float(np.mean(mu)), found.iterations, SHORTER
    near, reached = Solved(np.minimum(mu, medium.cap), np.inf, 0, np.zeros(mu.shape)), 0.0
    while used < limit and 1.001 < factor < np.inf:
        length = min(tau, reached * factor) if reached > 0.0 else tau / factor
        wanted = goal if length == tau else max(goal, ROUGH * size)
        search = _Newton(medium, mu, length)
        trial = search.run(near.rho.copy(), near.push, wanted, min(PATIENCE, limit - used))
        used += max(trial.iterations, 1)
        done = trial.missing <= max(wanted, EXACT * size)
        if length == tau and (done or trial.missing < found.missing):
            found = trial
        if length == tau and done:
            break
        if done:
            near, reached, factor = trial, length, factor if 2 * trial.iterations > PATIENCE else factor**1.5
        else:
            factor = factor**0.5 if reached > 0.0 else factor * SHORTER
    return Solved(found.rho, found.missing, used, found.push)


@final
class _Point:
    """Densities with 1/P', what is missing in every cell, and derivatives of the fluxes by the potential.

    Where cells are full, `push` is added to the potential, and 1/P' counts as 0.
    """

    def __init__(self, problem: _Newton, rho: np.ndarray, push: np.ndarray, full: np.ndarray | None = None) -> None:
        medium = problem.medium
        self.rho, self.push, self.full = rho, push, full
        pressure, self.a = medium.pressure(rho, problem.tau)
        if full is not None:
            self.a[full] = 0.0
        self.f = np.subtract(rho, problem.mu)
        self.f /= problem.tau
        self.leave, self.enter = np.empty((0, 0)), np.empty((0, 0))
        if medium.still:
            self.f += problem.operator.divergence(pressure)
        else:
            del pressure
            self._flow(medium)
        self.missing = problem.tau * float(np.mean(np.abs(self.f)))

    def _flow(self, medium: Medium) -> None:
        """Add the fluxes to what is missing, and find their derivatives in w."""
        rho, a, f = self.rho.reshape(-1), self.a.reshape(-1), self.f.reshape(-1)
        flat = (medium.potential + self.push if self.full is not None else medium.potential).reshape(-1)
        self.leave, self.enter = (np.empty((len(medium.axes()), rho.size)) for _ in range(2))
        for d, (shape, faces) in enumerate(zip(medium.axes(), medium.faces, strict=True)):
            k, terms = faces.reshape(-1), (medium.coef, medium.power, shape)
            fluxes.flow(rho, flat, k, a, *terms, f, self.leave[d], self.enter[d])
            if self.full is not None:
                bends = np.empty(rho.size)
                fluxes.responses(rho, flat, k, *terms, bends)
                bends /= medium.cap
                self.leave[d] = np.where(self.full.reshape(-1), bends, self.leave[d])
                self.enter[d] = np.where(np.roll(self.full, -1, d).reshape(-1), bends, self.enter[d])


@final
class _Newton:
    """Newton's method for one step."""

    def __init__(self, medium: Medium, mu: np.ndarray, tau: float) -> None:
        self.medium, self.mu, self.tau = medium, mu, tau
        self.operator = medium.elliptic()
        self.concave = bool(np.any(medium.power < 1.0))
        self.order = np.empty(0, dtype=np.int32)
        self.down: tuple[np.ndarray, ...] = ()
        self.shapes = np.array(medium.axes())

    def _prepare(self, guess: np.ndarray, push: np.ndarray) -> None:
        """Fix the order of sweeps by the first guess."""
        medium, rho = self.medium, guess.reshape(-1)
        level = (medium.potential + push).reshape(-1)
        for c, m in zip(medium.coef, medium.power, strict=True):
            safe = np.maximum(rho, 1e-100)
            level += c * np.log(safe) if m == 1.0 else c * m / (m - 1.0) * safe ** (m - 1.0)
        np.negative(level, level)
        self.order = np.argsort(level, kind="stable").astype(np.int32)

    def run(self, guess: np.ndarray, push: np.ndarray, goal: float, limit: int) -> Solved:
        if not self.medium.still:
            self._prepare(guess, push)
        full = push > 0.0 if self.medium.cap < np.inf else None
        if full is not None:
            guess[full] = self.medium.cap
        point, size = _Point(self, guess, push, full), float(np.mean(self.mu))
        least, still = point.missing, 0
        for iteration in range(limit):
            if point.missing <= goal:
                return Solved(point.rho, point.missing, iteration, point.push)
            if not (np.isfinite(point.missing) and np.isfinite(np.sum(point.leave) + np.sum(point.enter))):
                break
            rough = point.missing / size if full is None else FORCING
            accuracy = min(FORCING, max(rough, 0.1 * goal / point.missing))
            trial = self._search(point, self._direction(point, accuracy))
            if trial.missing >= 0.9 * point.missing and point.missing <= EXACT * size:
                best = min(point, trial, key=lambda z: z.missing)
                return Solved(best.rho, best.missing, iteration + 1, best.push)
            least, still = (trial.missing, 0) if trial.missing < 0.9 * least else (least, still + 1)
            if trial is point:
                break
            point = trial
            if full is not None and still >= STALL:
                return Solved(point.rho, point.missing, iteration + 1, point.push)
        return Solved(point.rho, point.missing, limit, point.push)

    def _direction(self, point: _Point, accuracy: float) -> np.ndarray:
        """Return the changes w of pressures that Newton's method asks for; the derivatives of the fluxes are used up."""
        if self.medium.still:
            self.operator.ground(point.a / self.tau)
            return self.operator.solve(-point.f, accuracy, LINEAR_LIMIT)[0]
        ground = point.a / self.tau
        for leave, k in zip(point.leave, self.medium.faces, strict=True):
            ground += np.maximum(leave.reshape(k.shape) - k, 0.0)
        self.operator.ground(ground)
        del ground
        self._order(point)
        w = self._bicgstab(point, accuracy)
        self.down, point.leave, point.enter = (), np.empty((0, 0)), np.empty((0, 0))
        return w

    def _order(self, point: _Point) -> None:
        """Prepare a sweep; the multigrid cycle sees to full cells, and nothing flows in empty ones."""
        order = self.order
        if point.full is not None:
            moving = ~point.full & ((point.rho > 0.0) | (self.mu > 0.0))
            order = order[moving.reshape(-1)[order]]
        inverse = np.empty(order.size)
        fluxes.invert(order, point.a.reshape(-1), 1.0 / self.tau, point.leave, point.enter, self.shapes, inverse)
        self.down = order, inverse, point.leave, point.enter, self.shapes

    def _linear(self, point: _Point, w: np.ndarray, out: np.ndarray) -> None:
        """Write the change of f for changes w of the pressures."""
        np.multiply(point.a, w, out)
        out /= self.tau
        for d, shape in enumerate(self.medium.axes()):
            fluxes.add_fluxes(w.reshape(-1), point.leave[d], point.enter[d], shape, out.reshape(-1))

    def _preconditioned(self, point: _Point, r: np.ndarray, w: np.ndarray) -> None:
        """Write about the w whose change of f is r: a V-cycle, then a sweep down the slopes."""
        if point.full is None:
            self.operator.cycle(r, w)
        else:  # what flows into full cells comes first
            w[:] = 0.0
            fluxes.sweep(*self.down, r.reshape(-1), w.reshape(-1))
            rest = np.empty_like(r)
            self._linear(point, w, rest)
            np.subtract(r, rest, rest)
            w += self.operator.cycle(rest)
        fluxes.sweep(*self.down, r.reshape(-1), w.reshape(-1))

    def _bicgstab(self, point: _Point, accuracy: float) -> np.ndarray:
        """Solve for w, preconditioned on the right by a V-cycle."""
        shadow, r = point.f, -point.f
        w, p, v, z, t = np.zeros_like(r), r.copy(), np.zeros_like(r), np.empty_like(r), np.empty_like(r)
        rho, size = dot(shadow, r), float(np.sqrt(dot(r, r)))
        for _ in range(LINEAR_LIMIT):
            self._preconditioned(point, p, z)
            self._linear(point, z, v)
            along = dot(shadow, v)
            if along == 0.0:
                break
            step = rho / along
            fluxes.add(w, step, z)
            fluxes.add(r, -step, v)
            if np.sqrt(dot(r, r)) <= accuracy * size:
                break
            self._preconditioned(point, r, z)
            self._linear(point, z, t)
            omega = dot(t, r) / dot(t, t)
            fluxes.add(w, omega, z)
            fluxes.add(r, -omega, t)
            before, rho = rho, dot(shadow, r)
            if np.sqrt(dot(r, r)) <= accuracy * size or rho == 0.0 or omega == 0.0:
                break
            fluxes.add(p, -omega, v)
            p *= (rho / before) * (step / omega)
            p += r
        return w

    def _trial(self, point: _Point, w: np.ndarray, by_pressure: bool) -> _Point:
        """Return the point after a change w of the pressures; cells that reach the cap are full, until nothing pushes them."""
        rho, cap = self._moved(point, w, by_pressure), self.medium.cap
        if point.full is None:
            return _Point(self, rho, point.push)
        push = np.where(point.full, np.maximum(point.push + w / cap, 0.0), 0.0)
        full = np.where(point.full, push > 0.0, rho >= cap)
        return _Point(self, np.where(point.full, cap, np.minimum(rho, cap)), push, full)

    def _moved(self, point: _Point, w: np.ndarray, by_pressure: bool) -> np.ndarray:
        """Return the densities after a change w of the pressures, at least a share of what they were.

        With `by_pressure` it is the pressure that changes by w, in cells where the flux outweighs the mass, or in all of them
        where P is concave; otherwise the density changes by w/P'.
        """
        rho = np.maximum(point.rho + point.a * w, KEPT * point.rho)
        if not by_pressure:
            return rho
        medium = self.medium
        stiff = np.full(w.shape, self.concave) | (point.a < self.tau * sum(h**-2.0 for h in medium.spacing))
        pressure = medium.pressure(point.rho, self.tau)[0]
        goal, other = np.maximum(pressure + w, KEPT * pressure), point.rho.copy()
        fluxes.densities(goal.reshape(-1), medium.coef, medium.power, other.reshape(-1))
        return np.where(stiff & medium.free, other, rho)

    def _search(self, point: _Point, w: np.ndarray) -> _Point:
        """Return the first point along w that misses less; if there is none, the one that misses least."""
        best, length = point, 1.0
        ways = (True,) if self.concave else (False, True) if self.medium.coef.size else (False,)
        for _ in range(HALVINGS):
            for by_pressure in ways:
                trial = self._trial(point, length * w, by_pressure)
                bound = 1.0 - 0.1 * length if point.full is None else RISE
                if trial.missing <= bound * point.missing:
                    return trial
                if best is point or trial.missing < best.missing:
                    best = trial if np.isfinite(trial.missing) else best
            length *= 0.5
        return best
