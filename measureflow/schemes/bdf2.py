"""The variational two-step method BDF2 (theory, 4.4 and 4.5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

from measureflow.energies import Energy
from measureflow.errors import ConvergenceError, NotFiniteError
from measureflow.metrics import Metric
from measureflow.proximal import Step, Tolerance, solve_proximal
from measureflow.schemes.base import Players
from measureflow.schemes.couplings import COUPLINGS, Result
from measureflow.schemes.info import States
from measureflow.schemes.minimizing import Minimizing, flows_on_cells
from measureflow.schemes.vim import VIM
from measureflow.states import Histogram, State

RESTART = 2.4
"""A step that is longer than the one before by this factor starts anew: beyond 1 + sqrt(2) the method is not stable."""

START = (0.25, 0.25, 0.5)
"""Shares of the steps that a first step on cells is made of: one of first order among them does not show."""


@final
class BDF2(Minimizing):
    """Variational BDF2: u in argmin E(u) + d(x_n, u)^2 / tau - d(x_{n-1}, u)^2 / (4 tau); second order, damps stiff parts.

    In flat spaces it is J_{2 tau/3} from (4 x_n - x_{n-1})/3 (Matthes and Plazotta). Elsewhere it is the extrapolation method of
    Gallouet, Natale and Todeschi: J_{2 tau/3} from the geodesic x_{n-1} -> x_n at 4/3 of its length. For quantiles that point is
    projected on the cone, which is the metric extrapolation of laws on the line; as long as it lies in the cone both methods
    agree. For Gaussians, where the geodesic ends before, the step is tried again at half its size. Steps of different sizes have
    the weights of variable-step BDF2. The first step, and one more than 2.4 times as long as the one before, is a `VIM` step.

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

    def check(self, players: Players, states: States) -> None:
        for metric, x in zip(players.metrics, states, strict=True):
            if not flows_on_cells(metric, x):
                metric.chart(x)
        self.check_game(players, states)

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        if flows_on_cells(metric, x):
            return solve_proximal(energy, metric, x, tau, replace(self.tolerance, inner="linearised"))
        return self._start.advance(energy, metric, x, tau)

    def step(self, players: Players, states: States, memory: Any, tau: float) -> Result:
        past, before = memory
        on_cells = [flows_on_cells(m, x) for m, x in zip(players.metrics, states, strict=True)]
        if tau > RESTART * before and any(on_cells):
            return self._start_on_cells(players, states, tau)
        if tau > RESTART * before:
            new, _, infos = self._start.step(players, states, memory, tau)
            return new, (states, tau), infos
        ratio = tau / before
        share, reach = (1.0 + ratio) / (1.0 + 2.0 * ratio), (1.0 + ratio) ** 2 / (1.0 + 2.0 * ratio)
        pairs = zip(players.metrics, past, states, on_cells, strict=True)
        bases = [x if cells else _extrapolated(m, p, x, reach) for m, p, x, cells in pairs]

        def from_base(player: int, energy: Energy, metric: Metric, x: State, size: float) -> Step:
            if on_cells[player]:
                return _on_cells(energy, metric, past[player], x, (reach, share), size, self.tolerance)
            step = self.minimize(energy, metric, bases[player], share * size)
            distance = metric.labelled_distance(x, step.state)
            return Step(step.state, distance, step.residual, step.iterations, step.method)

        move = self.move(players, tau, from_base)
        new, _, infos = COUPLINGS[self.coupling].step(move, players.metrics, states, memory, tau)
        return new, (states, tau), infos

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


def _on_cells(
    energy: Energy, metric: Metric, past: State, x: State, weights: tuple[float, float], tau: float, tolerance: Tolerance
) -> Step:
    """Return the finite-volume step of a histogram from extrapolated masses."""
    from measureflow.proximal.linearised import extrapolated, linearised  # numba is loaded at first use

    assert isinstance(past, Histogram) and isinstance(x, Histogram)
    reach, share = weights
    masses, limited = extrapolated(past.masses, x.masses, reach)
    step = linearised(energy, metric, x, share * tau, tolerance, masses)
    method = f"{step.method}, limited" if limited else step.method
    return replace(step, distance=step.distance / share, method=method)


def _extrapolated(metric: Metric, past: State, x: State, reach: float) -> State:
    """Return the point at `reach` on the geodesic from `past` to x, projected on constraints.

    Raises
    ------
    ConvergenceError
        If the geodesic does not reach so far.
    """
    if x is past:
        return x
    chart = metric.chart(past)
    z = chart.project(chart.origin + reach * (chart.log(x) - chart.origin))
    try:
        return chart.state(z)
    except NotFiniteError:
        raise
    except ValueError as error:
        raise ConvergenceError(f"the geodesic of the last step has no extrapolation ({error}); try a smaller tau") from error
