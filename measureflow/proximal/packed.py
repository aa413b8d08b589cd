"""Steps of quantiles below a density cap: gaps of at least g = 1/(n cap).

Without the gaps of a saturated law, y_i = u_i - i g, the laws below the cap are the cone of nondecreasing vectors, and a step is

    min over nondecreasing y of  tau E(y + i g) + |y - (x - i g)|^2 / (2n),

a problem of `measureflow.proximal.cone`. For E = V linear or quadratic its solution is the projection of the unconstrained step,
an isotonic regression, found in one iteration.
"""

from __future__ import annotations

from measureflow.energies import KL, Box, Congestion, Energy, Sum
from measureflow.energies.entropy import InternalEnergy
from measureflow.energies.ratios import FDivergence
from measureflow.errors import UnsupportedError
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
        If the energy contains an internal energy or a divergence: its stiff chain of gaps is not for the solver of the cone.
    ValueError
        If the box of the energy is too small for a law below the cap.
    """
    n = len(x.values)
    dense = [term for c, term in energy.terms() if c != 0.0 and isinstance(term, (InternalEnergy, KL, FDivergence))]
    if dense:
        raise UnsupportedError(
            f"steps of Quantiles below a density cap take no energy with a density, got {dense[0]!r}: take a Histogram"
        )
    shift = Congestion(cap).gaps(n)
    terms = tuple((c, term) for c, term in energy.terms() if not isinstance(term, Box))
    if energy.bounds is not None:
        lo, hi = energy.bounds
        if not hi - lo > shift[-1]:
            raise ValueError(f"density_cap must leave room in the box [{lo:g}, {hi:g}] for {n} quantiles, got {cap:g}")
        terms = (*terms, (1.0, Box(lo, hi - float(shift[-1]))))
    return least_on_cone(Sum(terms), Ordered(x, shift), tau, tolerance)
