"""Steps of energies that contain a density cap: which solver takes them."""

from __future__ import annotations

import numpy as np

from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.metrics import Metric
from measureflow.metrics.wasserstein import is_w2
from measureflow.proximal.base import Step, Tolerance
from measureflow.proximal.caps import without_cap
from measureflow.states import Histogram, Quantiles, State


def capped(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the step of quantiles or of a histogram below a density cap under W2; None for energies without a cap.

    Raises
    ------
    ConvergenceError
        If the tolerance is not reached.
    UnsupportedError
        For other states, metrics and constraints.
    """
    cap, rest = without_cap(energy)
    if cap == np.inf:
        return None
    flat = is_w2(metric)
    if not flat or not isinstance(x, (Quantiles, Histogram)):
        raise UnsupportedError(f"a Congestion is for Quantiles and Histogram under Wasserstein(p=2), got {x!r} under {metric!r}")
    if not rest.boxed:
        raise UnsupportedError(
            f"exact steps below a density cap know boxes as further constraints, not {rest!r}: "
            "around obstacles take the scheme JKO(inner='linearised')"
        )
    if isinstance(x, Quantiles):
        from measureflow.proximal.packed import packed

        return packed(rest, cap, x, tau, tolerance)
    from measureflow.proximal.crowd import crowd_step  # numba is loaded at first use

    return crowd_step(rest, cap, x, tau, tolerance)
