"""Two-step methods of second order: variational BDF2 and the geodesic extrapolation that stands for it (theory, 4.4 and 4.5)."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from dataclasses import replace
from typing import Any, final

import numpy as np

from measureflow.energies import Energy, SquaredWasserstein
from measureflow.errors import ConvergenceError, NotFiniteError
from measureflow.metrics import Metric, Wasserstein
from measureflow.proximal import Step
from measureflow.schemes.base import Players
from measureflow.schemes.couplings import COUPLINGS, Result
from measureflow.schemes.info import States
from measureflow.schemes.minimizing import Minimizing, flows_on_cells, on_cells
from measureflow.schemes.vim import VIM
from measureflow.states import Gaussian, Law, Quantiles, State

RESTART = 2.4
"""A step that is longer than the one before by this factor starts anew: beyond 1 + sqrt(2) the method is not stable."""

START = (0.25, 0.25, 0.5)
"""Shares of the steps that a first step on cells is made of: one of first order among them does not show."""


class TwoStep(Minimizing):
    """A scheme of second order that remembers the last states and the last tau; its first steps are others."""

    couplings = ("simultaneous", "alternating", "implicit", "optimistic")

    def __init__(self, coupling: str = "simultaneous", *, tolerance: float = 1e-10, max_iterations: int = 500) -> None:
        super().__init__(coupling, tolerance=tolerance, max_iterations=max_iterations)
        self._start = VIM(coupling, tolerance=tolerance, max_iterations=max_iterations)

    @property
    def order(self) -> int:
        return 2 if self.coupling in ("implicit", "optimistic") else 1

    def order_for(self, players: int) -> int:
        return 2 if players == 1 else self.order

    def init(self, players: Players, states: States) -> Any:
        return states, 0.0

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        if flows_on_cells(metric, x):
            return self.minimize(energy, metric, x, tau)
        return self._start.advance(energy, metric, x, tau)

    @abstractmethod
    def from_two(self, energy: Energy, metric: Metric, past: State, x: State, reach: float, tau: float) -> Step:
        """Return the step from two states to u in argmin E(u) + (r d(x, u)^2 - (r - 1) d(past, u)^2) / (2 tau), r = reach."""

    def step(self, players: Players, states: States, memory: Any, tau: float) -> Result:
        past, before = memory
        if tau > RESTART * before and any(map(flows_on_cells, players.metrics, states)):
            return self._start_on_cells(players, states, tau)
        if tau > RESTART * before:
            new, _, infos = self._start.step(players, states, memory, tau)
            return new, (states, tau), infos
        ratio = tau / before
        share, reach = (1.0 + ratio) / (1.0 + 2.0 * ratio), (1.0 + ratio) ** 2 / (1.0 + 2.0 * ratio)

        def from_two(player: int, energy: Energy, metric: Metric, x: State, size: float) -> Step:
            if flows_on_cells(metric, x):
                return self._on_cells(energy, metric, past[player], x, reach, share, size)
            step = self.from_two(energy, metric, past[player], x, reach, share * size)
            return replace(step, distance=metric.labelled_distance(x, step.state))

        move = self.move(players, tau, from_two)
        new, _, infos = COUPLINGS[self.coupling].step(move, players.metrics, states, memory, tau)
        return new, (states, tau), infos

    def _on_cells(self, energy: Energy, metric: Metric, past: State, x: State, reach: float, share: float, tau: float) -> Step:
        """Return the finite-volume step of a histogram from extrapolated masses."""
        base, limited = on_cells(x.coordinates + (reach - 1.0) * (x.coordinates - past.coordinates), x)
        step = self.minimize(energy, metric, base, share * tau)
        return replace(step, distance=step.distance / share, method=step.method + limited)

    def _start_on_cells(self, players: Players, states: States, tau: float) -> Result:
        """Take a step made of growing ones, of which the first is a minimizing movement."""
        memory: Any = (states, 0.0)
        size = START[0] * tau
        new, _, infos = self.coupled(self.coupling, players, states, memory, size)
        memory = (states, size)
        for share in START[1:]:
            old = new
            new, memory, more = self.step(players, old, memory, share * tau)
            infos = tuple(b.after(a) for a, b in zip(infos, more, strict=True))
        return new, (states, tau), infos


@final
class BDF2(TwoStep):
    """Variational BDF2: u in argmin E(u) + d(x_n, u)^2 / tau - d(x_{n-1}, u)^2 / (4 tau); second order, damps stiff parts.

    The method of Matthes and Plazotta. In flat spaces it is J_{2 tau/3} from (4 x_n - x_{n-1})/3, with J_tau(x) the minimizing
    movement; so it is for quantiles and Gaussians on the line as long as that point is a law. Where it is not, and for Gaussians
    of more dimensions, the functional itself is minimised, as J_{tau/2} of E - W2(., x_{n-1})^2 / (4 tau) ("..., two distances"
    in ``sol.info["method"]``). With other constraints, and kinks on the way, the point is projected first ("..., projected").
    Steps of different sizes have the weights of variable-step BDF2. The first step, and one more than 2.4 times as long as the
    one before, is a `VIM` step.

    A `Histogram` takes linearised steps (implicit finite volumes, see ``JKO(inner="linearised")``, with the same energies), from
    the masses x_{n-1} + (x_n - x_{n-1}) 4/3; the first one is made of three shorter ones, the first of these a step of `JKO`.
    Where these masses were negative, they are blended with multiples of x_n on the smallest blocks of cells that allow it, which
    keeps mass and sign: then the method of the step says "limited".

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "implicit", "optimistic"}
        See `Scheme`. Games are solved to second order by "implicit" (BDF2-NASH) and "optimistic" (energies are extrapolated to
        the end of the step, 2 E(.; now) - E(.; before)), to first order by the others.
    tolerance : float
        Residual at which an inner solver stops, a distance relative to max(1, size of the state).
    max_iterations : int
        Iterations after which an inner solver raises ConvergenceError.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.1, scheme="bdf2")
    >>> abs(float(sol.states[-1][0]) - 0.36787944) < 2e-3
    True
    """

    def from_two(self, energy: Energy, metric: Metric, past: State, x: State, reach: float, tau: float) -> Step:
        curved = isinstance(x, Gaussian) and isinstance(metric, Wasserstein)
        if curved and isinstance(x, Gaussian) and x.dim > 1:
            return self._two_distances(energy, metric, past, x, reach, tau)
        try:
            base, projected = _extrapolated(metric, past, x, reach)
        except ConvergenceError:
            if not curved:
                raise
            return self._two_distances(energy, metric, past, x, reach, tau)
        if projected and isinstance(x, Quantiles) and isinstance(metric, Wasserstein) and energy.bounds is None:
            with suppress(ConvergenceError):  # a kink on the way, as of distances to a target
                return self._two_distances(energy, metric, past, x, reach, tau)
        step = self.minimize(energy, metric, base, tau)
        return _from_projection(step) if projected else step

    def _two_distances(self, energy: Energy, metric: Metric, past: State, x: State, reach: float, tau: float) -> Step:
        assert isinstance(past, Law)
        far = (reach - 1.0) / tau * SquaredWasserstein(past)
        step = self.minimize(energy - far, metric, x, tau / reach)
        return replace(step, method=f"{step.method}, two distances")


@final
class ExtrapolatedBDF2(TwoStep):
    """BDF2 by geodesic extrapolation: J_{2 tau/3} from the geodesic x_{n-1} -> x_n at 4/3 of its length; second order.

    The method of Gallouet, Natale and Todeschi; J_tau(x) = argmin_u E(u) + d(x, u)^2 / (2 tau). In flat spaces it is `BDF2`. For
    quantiles the extrapolated point is projected on the cone of nondecreasing ones, which is the metric extrapolation of laws on
    the line ("..., projected" in ``sol.info["method"]``); as long as it lies in the cone both methods agree. For Gaussians, where
    the geodesic ends before, the step is tried again at half its size. Everything else, a `Histogram` too, is as in `BDF2`.

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "implicit", "optimistic"}
        See `Scheme`. Games are solved to second order by "implicit" (BDF2-NASH) and "optimistic" (energies are extrapolated to
        the end of the step, 2 E(.; now) - E(.; before)), to first order by the others.
    tolerance : float
        Residual at which an inner solver stops, a distance relative to max(1, size of the state).
    max_iterations : int
        Iterations after which an inner solver raises ConvergenceError.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.1, scheme=mf.ExtrapolatedBDF2())
    >>> abs(float(sol.states[-1][0]) - 0.36787944) < 2e-3
    True
    """

    def from_two(self, energy: Energy, metric: Metric, past: State, x: State, reach: float, tau: float) -> Step:
        base, projected = _extrapolated(metric, past, x, reach)
        step = self.minimize(energy, metric, base, tau)
        return _from_projection(step) if projected else step


def _from_projection(step: Step) -> Step:
    return replace(step, method=f"{step.method}, projected")


def _extrapolated(metric: Metric, past: State, x: State, reach: float) -> tuple[State, bool]:
    """Return the point at `reach` on the geodesic from `past` to x, projected on constraints, and whether that took anything.

    Raises
    ------
    ConvergenceError
        If the geodesic does not reach so far.
    """
    if x is past:
        return x, False
    chart = metric.chart(past)
    z = chart.origin + reach * (chart.log(x) - chart.origin)
    allowed = chart.project(z)
    try:
        return chart.state(allowed), not np.array_equal(allowed, z)
    except NotFiniteError:
        raise
    except ValueError as error:
        raise ConvergenceError(f"the geodesic of the last step has no extrapolation ({error}); try a smaller tau") from error
