"""Optimal transport between laws given as plain arrays: exact plans with certificates, the line, Gaussians."""

from __future__ import annotations

from measureflow.transport.approximate import sinkhorn_distance, sliced_distance
from measureflow.transport.bures import bures_distance_squared, bures_map, gaussian_distance, sqrtm_psd
from measureflow.transport.discrete import optimal_plan
from measureflow.transport.kept import kept_plan
from measureflow.transport.line import (
    Polyline,
    atoms_polyline,
    cdf,
    cells_polyline,
    monotone_plan,
    quantile,
    wasserstein_line,
    wasserstein_sorted,
)
from measureflow.transport.plan import Plan, barycentric_map

__all__ = [
    "Plan",
    "Polyline",
    "atoms_polyline",
    "barycentric_map",
    "bures_distance_squared",
    "bures_map",
    "cdf",
    "cells_polyline",
    "gaussian_distance",
    "kept_plan",
    "monotone_plan",
    "optimal_plan",
    "quantile",
    "sinkhorn_distance",
    "sliced_distance",
    "sqrtm_psd",
    "wasserstein_line",
    "wasserstein_sorted",
]
