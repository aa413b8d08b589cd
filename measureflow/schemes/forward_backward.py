"""Forward-backward splitting: explicit in the smooth terms of an energy, minimizing movements for the rest."""

from __future__ import annotations

from typing import Any, final

from measureflow import _validate as check
from measureflow import energies
from measureflow.energies import (
    KL,
    Box,
    CellPotential,
    Energy,
    EnergyDistance,
    Entropy,
    Potential,
    PowerEntropy,
    Quadratic,
    QuadraticInteraction,
    SquaredWasserstein,
    Sum,
    Wasserstein1,
)
from measureflow.errors import ConvergenceError, NotFiniteError
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.minimizing import Minimizing, flows_on_cells, projected
from measureflow.states import State

IMPLICIT = (KL, Box, EnergyDistance, Entropy, PowerEntropy, Quadratic, QuadraticInteraction, SquaredWasserstein, Wasserstein1)
"""Terms with closed steps or fast inner solvers, and those that are not smooth; a `Potential` that brings its prox is another."""

CLASSES = tuple(
    sorted(
        name
        for name, kind in vars(energies).items()
        if isinstance(kind, type) and issubclass(kind, Energy) and kind not in (Energy, Sum)
    )
)


def _energy_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"explicit must hold names of classes of energies, got {check.show(name)}")
    if name not in CLASSES:
        raise ValueError(f"explicit must hold names of classes of energies, as 'MMD', got {check.show(name)}")
    return name


@final
class ForwardBackward(Minimizing):
    """x+ = J_tau of some terms of the energy from exp_x(-tau grad of the others): first order, one easy inner problem a step.

    J_tau(x) = argmin_u E(u) + d(x, u)^2 / (2 tau). Fixed points are stationary points of the whole energy, as for JKO. Where the
    terms taken explicitly have gradients with Lipschitz constant L along geodesics, steps are stable for tau < 2/L; the other
    terms may be as stiff as they like. Where the explicit part leaves the space, quantiles are projected on nondecreasing ones
    (``sol.info["method"]`` says so), and a Gaussian that would lose its covariance is tried again at half the step.

    A `Histogram` takes linearised steps (implicit finite volumes, see ``JKO(inner="linearised")``): the first variations of the
    explicit terms at the old law are a potential of the step, as in semi-implicit schemes for nonlocal energies (Benamou, Carlier
    and Laborde), so that masses stay nonnegative whatever the step. The implicit terms must be those that linearised steps know.

    Parameters
    ----------
    explicit : sequence of str, optional
        Names of the classes of energies whose terms are taken explicitly, as ("MMD", "Interaction"). None: all but entropies,
        `KL`, quadratics, distances to a target, boxes, and potentials with a `prox`.
    coupling : {"simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic"}
        See `Scheme`.
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
    >>> energy = mf.energies.Entropy() + mf.energies.MMD(mf.Particles([[0.0], [1.0]]), "gaussian")
    >>> law = mf.solve(energy, mf.Gaussian(0.0, 1.0).to_quantiles(20), 1.0, 0.1, scheme=mf.ForwardBackward()).states[-1]
    >>> round(float(law.mean()[0]), 2)
    0.08
    """

    def __init__(
        self,
        explicit: Any = None,
        coupling: str = "simultaneous",
        inner_steps: Any = None,
        *,
        turns: Any = None,
        tolerance: float = 1e-10,
        max_iterations: int = 500,
    ) -> None:
        super().__init__(coupling, inner_steps, turns=turns, tolerance=tolerance, max_iterations=max_iterations)
        self.explicit: tuple[str, ...] | None = None
        if explicit is not None:
            names = check.entries("explicit", explicit, None, "names of energies")
            self.explicit = tuple(_energy_name(name) for name in names)

    def split(self, energy: Energy) -> tuple[Energy, Energy]:
        """Return the explicit and the implicit terms of an energy."""
        terms = [(self._is_explicit(term), c, term) for c, term in energy.terms()]
        parts = (tuple((c, term) for forward, c, term in terms if forward is side) for side in (True, False))
        smooth, rest = (Sum(part) for part in parts)
        return smooth, rest

    def _is_explicit(self, term: Energy) -> bool:
        if self.explicit is not None:
            return type(term).__name__ in self.explicit
        own = isinstance(term, IMPLICIT) or not term.boxed or (isinstance(term, Potential) and term.prox is not None)
        return not own

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        smooth, rest = self.split(energy)
        if flows_on_cells(metric, x):
            return self.minimize(Sum((*_potentials(smooth, x), *rest.terms())), metric, x, tau)
        base, guarded = _forward(smooth, metric, x, tau)
        step = self.minimize(rest, metric, base, tau)
        if base is x:
            return step
        distance = metric.labelled_distance(x, step.state)
        return Step(step.state, distance, step.residual, step.iterations, step.method + ", projected" * guarded)

    def __repr__(self) -> str:
        chosen = "" if self.explicit is None else f"explicit={self.explicit}, "
        return super().__repr__().replace("(", f"({chosen}", 1)


def _potentials(smooth: Energy, x: State) -> tuple[tuple[float, Energy], ...]:
    """Return the terms with their first variations on the cells of x as potentials."""
    return tuple((c, CellPotential(term.gradient(x))) for c, term in smooth.terms())


def _forward(smooth: Energy, metric: Metric, x: State, tau: float) -> tuple[State, bool]:
    """Return exp_x(-tau grad E(x)) of the explicit terms, and whether it was projected on constraints.

    Raises
    ------
    ConvergenceError
        If the geodesic ends before.
    """
    if not smooth.terms():
        return x, False
    chart = metric.chart(x)
    z = chart.origin - tau * chart.pull(chart.origin, metric.differential(smooth, x))
    allowed = chart.project(smooth.project(z))
    try:
        return chart.state(allowed), bool(projected(allowed, z))
    except NotFiniteError:
        raise
    except ValueError as error:
        raise ConvergenceError(f"the explicit part of the step leaves the space ({error}); try a smaller tau") from error
