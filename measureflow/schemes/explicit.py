"""Explicit Euler steps along geodesics."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow.energies import Energy
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.base import Scheme
from measureflow.states import State


@final
class Explicit(Scheme):
    """Explicit Euler: x+ = exp_x(-tau grad E(x)), projected on constraints; first order, stable for small tau only.

    With coupling "simultaneous" and "alternating" these are the GDA-SIM and GDA-ALT of theory section 4.2.

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic"}
        See `Scheme`.
    inner_steps : sequence of int, optional
        Steps of size tau that each player takes in one step of the scheme; None: one each.

    Examples
    --------
    >>> import measureflow as mf
    >>> mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.5, scheme=mf.Explicit()).states[-1]
    Vector([0.25])
    """

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        chart, bounds = metric.chart(x), energy.bounds
        z = chart.origin - tau * chart.pull(chart.origin, energy.gradient(x))
        z = chart.project(z if bounds is None else np.clip(z, *bounds))
        return Step(chart.state(z), chart.norm(z - chart.origin), method="explicit")
