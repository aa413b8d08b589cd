"""Steps of quantiles below a density cap: gaps of at least g = 1/(n cap).

Without the gaps of a saturated law, y_i = u_i - i g, the laws below the cap are the cone of nondecreasing vectors, and a step is

    min over nondecreasing y of  tau E(y + i g) + |y - (x - i g)|^2 / (2n),

a problem of `measureflow.proximal.cone`. For E = V linear or quadratic its solution is the projection of the unconstrained step,
an isotonic regression, found in one iteration. Energies with a density make the gaps a stiff chain: they are for
`measureflow.proximal.packed_density`, unless the step without the cap obeys it.
"""

from __future__ import annotations

from measureflow.energies import KL, Box, Congestion, Energy, Sum
from measureflow.energies.entropy import InternalEnergy
from measureflow.energies.ratios import FDivergence
from measureflow.errors import ConvergenceError, UnsupportedError
from measureflow.metrics import Wasserstein
from measureflow.proximal.base import Step, Tolerance
from measureflow.proximal.cone import least_on_cone
from measureflow.proximal.ordered import Ordered
from measureflow.states import Quantiles


def packed(energy: Energy, cap: float, x: Quantiles, tau: float, tolerance: Tolerance) -> Step:
    """Return the step of quantiles under an energy and a density cap.

    Raises
    ------
    ConvergenceError
        If the residual stays above the tolerance.
    UnsupportedError
        If the energy contains a negative multiple of an internal energy or a divergence, or one without a step on quantiles.
    ValueError
        If the box of the energy is too small for a law below the cap.
    """
    n = len(x.values)
    if energy.bounds is not None and not energy.bounds[1] - energy.bounds[0] > (n - 1) / (n * cap):
        lo, hi = energy.bounds
        raise ValueError(f"density_cap must leave room in the box [{lo:g}, {hi:g}] for {n} quantiles, got {cap:g}")
    if any(c != 0.0 and isinstance(term, (InternalEnergy, KL, FDivergence)) for c, term in energy.terms()):
        return _with_density(energy, cap, x, tau, tolerance)
    shift = Congestion(cap).gaps(n)
    terms = tuple((c, term) for c, term in energy.terms() if not isinstance(term, Box))
    if energy.bounds is not None:
        lo, hi = energy.bounds
        terms = (*terms, (1.0, Box(lo, hi - float(shift[-1]))))
    return least_on_cone(Sum(terms), Ordered(x, shift), tau, tolerance)


def _with_density(energy: Energy, cap: float, x: Quantiles, tau: float, tolerance: Tolerance) -> Step:
    """Return the step of an energy with a density: the one without the cap if it obeys that."""
    from measureflow.proximal.packed_density import pressed  # numba is loaded at first use
    from measureflow.proximal.quantiles import interior, sorted_terms

    terms = sorted_terms(energy)
    if not terms.dense:
        raise UnsupportedError(
            f"steps of Quantiles below a density cap take energies with a density times positive factors, got {energy!r}"
        )
    try:
        free = interior(energy, Wasserstein(), x, tau, tolerance)
    except ConvergenceError:
        free = None
    if free is not None and Congestion(cap).value(free.state) == 0.0:
        return free
    return pressed(terms, cap, energy.bounds, Ordered(x), tau, tolerance)
