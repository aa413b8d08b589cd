"""Richardson's extrapolation of minimizing movements (theory, 4.4)."""

from __future__ import annotations

from typing import final

from measureflow.energies import Energy
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.minimizing import flows_on_cells, require_no_cap
from measureflow.schemes.three_stage import OwnSecondOrder, combined
from measureflow.states import State


@final
class Richardson(OwnSecondOrder):
    """The geodesic from a JKO step of size tau to two of size tau/2, at twice its length; second order, damps stiff parts.

    In flat spaces x+ = 2 J_{tau/2}(J_{tau/2}(x)) - J_tau(x). This is the second reading of the extrapolated variational midpoint
    rule of theory, 4.4 (the first, the geodesic to J_{tau/2}(x) at twice its length, is `VIM` on all spaces); its error is twice
    that of `VIM`, but stiff parts are damped instead of oscillating. An end that is no law, as it is not nondecreasing or out of
    a box, is projected (``sol.info["method"]`` says so); where there is nothing to project on, the step is tried again at half
    its size. A `Histogram` takes linearised steps (implicit finite volumes, see ``JKO(inner="linearised")``, with the same
    energies) and the same combination of masses; where these were negative, they are blended with multiples of those after two
    steps of tau/2 on the smallest blocks of cells that allow it ("limited").

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "symmetric"}
        See `Scheme`. Games are solved to second order by "symmetric", to first order by the others.
    inner_steps : sequence of int, optional
        Steps of size tau that each player takes in one step of the scheme; None: one each.
    turns : sequence of int, optional
        The order in which players move, see `Scheme`.
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
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.1, scheme=mf.Richardson())
    >>> abs(float(sol.states[-1][0]) - 0.36787944) < 2e-3
    True
    """

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        cells = flows_on_cells(metric, x)
        if cells:
            require_no_cap(energy, self)
        whole = self.minimize(energy, metric, x, tau)
        first = self.minimize(energy, metric, x, 0.5 * tau)
        second = self.minimize(energy, metric, first.state, 0.5 * tau)
        state, guard = combined(metric, whole.state, [second.state, whole.state], [2.0, -1.0], energy)
        steps = (whole, first, second)
        return Step(
            state,
            first.distance + second.distance if cells else metric.labelled_distance(x, state),
            max(whole.residual, 2.0 * (first.residual + second.residual)),
            sum(step.iterations for step in steps),
            second.method + guard,
        )
