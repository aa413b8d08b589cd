"""Steps of histograms under potentials alone: every part of a cell goes to the node y where V(y) + |x - y|^2/(2 tau) is least."""

from __future__ import annotations

import numpy as np

from measureflow.energies import Energy
from measureflow.metrics import Metric
from measureflow.metrics.wasserstein import is_w2
from measureflow.proximal.base import Step, Tolerance
from measureflow.proximal.grid_conjugates import cell_energy
from measureflow.proximal.lbfgs import inner
from measureflow.proximal.stages import pushed, stages_of, transformed
from measureflow.states import Histogram, State


def by_cells(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the push-forward of a histogram by the proximal map of a potential, axis by axis, with mass even over each cell.

    It is the minimiser among laws at cell centres, where masses that move by a fraction f of a cell spread by f (1 - f) h^2.
    """
    if not isinstance(x, Histogram) or not is_w2(metric):
        return None
    local = cell_energy(energy, x, tau)
    if local is None or local.internal:
        return None
    shape = (x.grid.shape + (1, 1))[:3]
    phi = np.ascontiguousarray(local.potential.reshape(shape))
    stages, first = stages_of(x.grid), x.masses.reshape(shape)
    u, masses = transformed(stages, phi), pushed(stages, first)
    distance = float(np.sqrt(max(2.0 * (inner(first, u) - inner(phi, masses)), 0.0)))
    return Step(x.replace(masses.reshape(x.grid.shape)), distance, method="push-forward")
