"""Density caps: how an energy holds them, and densities that obey them."""

from __future__ import annotations

import numpy as np

from measureflow.energies import Congestion, Energy, Sum
from measureflow.errors import UnsupportedError

ROUNDS = 50


def without_cap(energy: Energy) -> tuple[float, Energy]:
    """Return the least density cap of an energy, infinite if it has none, and the other terms.

    Raises
    ------
    UnsupportedError
        If a cap has a negative factor.
    """
    caps = [(c, term.density_cap) for c, term in energy.terms() if isinstance(term, Congestion)]
    if any(c < 0.0 for c, _ in caps):
        raise UnsupportedError(f"a Congestion must have a positive factor, got {min(c for c, _ in caps):g}")
    rest = Sum(tuple((c, term) for c, term in energy.terms() if not isinstance(term, Congestion)))
    return min((cap for c, cap in caps if c > 0.0), default=np.inf), rest


def with_mass(rho: np.ndarray, cap: float, free: np.ndarray, total: float) -> np.ndarray:
    """Return densities 0 <= rho <= cap with sum `total`: scaled where they are below the cap, filled up where that ends.

    Meant for sums that differ by rounding or by what a solver leaves.
    """
    for _ in range(ROUNDS):
        missing = total - float(np.sum(rho))
        if abs(missing) <= 1e-15 * total:
            break
        loose = (rho > 0.0) & (rho < cap) if missing > 0.0 else rho > 0.0
        held = float(np.sum(rho[loose]))
        if not (missing > 0.0 and held <= missing):
            rho = np.where(loose, np.minimum(rho * (1.0 + missing / held), cap), rho)
        else:
            room = np.where(free, cap - rho, 0.0)
            rho = rho + room * min(1.0, missing / float(np.sum(room)))
    return rho
