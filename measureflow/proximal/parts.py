"""An energy sorted into the parts for which closed forms exist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.energies import KL, Box, Energy, Entropy, Quadratic
from measureflow.energies.base import Bounds
from measureflow.states import Gaussian


@final
@dataclass(frozen=True, eq=False)
class Parts:
    """temperature * Entropy + (x.A x/2 + b.x potential) + rest, with coordinates in `bounds`.

    `rest` holds (factor, energy) pairs; A is None if there is no quadratic part.
    """

    temperature: float
    matrix: np.ndarray | None
    linear: np.ndarray
    rest: tuple[tuple[float, Energy], ...]
    bounds: Bounds | None


def split(energy: Energy, dim: int) -> Parts:
    """Sort the terms of an energy on a state whose points have dimension `dim`; KL to a Gaussian is expanded."""
    temperature, matrix, linear = 0.0, None, np.zeros(dim)
    rest: list[tuple[float, Energy]] = []
    for factor, term in energy.terms():
        quadratic: Quadratic | None = None
        if isinstance(term, Quadratic):
            quadratic = term
        elif isinstance(term, Entropy):
            temperature += factor * term.temperature
        elif isinstance(term, KL) and isinstance(term.target, Gaussian):
            temperature += factor
            quadratic = term.potential
        elif not isinstance(term, Box):
            rest.append((factor, term))
        if quadratic is not None:
            a, b, _ = quadratic.normal_form(dim)
            matrix = factor * a if matrix is None else matrix + factor * a
            linear = linear + factor * b
    return Parts(temperature, matrix, linear, tuple(rest), energy.bounds)
