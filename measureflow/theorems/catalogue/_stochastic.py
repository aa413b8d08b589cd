"""What the theorems about noise, critics and averages share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from measureflow.energies import Energy
from measureflow.problems import Problem
from measureflow.theorems.check import Check
from measureflow.theorems.curves import Curve

Found = Iterator[Check | Curve]
NORMAL = 2.576
"""Half-width of the 99 % interval of N(0, 1)."""
ALL = 10**9
"""As `save_at`: keep only the ends."""


def exact(p: Problem, time: float) -> Any:
    """Return the exact flow of a problem that has one."""
    assert p.exact is not None
    return p.exact(time)


def energy_of(p: Problem) -> Energy:
    """Return the energy of a problem of one player."""
    assert isinstance(p.problem, Energy)
    return p.problem


def as_complex(states: Any) -> np.ndarray:
    """Return x + i y of a pair of vectors."""
    return np.asarray(states[0].values + 1j * states[1].values)


def product(x: Any, others: Any) -> tuple[float, np.ndarray]:
    """Return x.y and its gradient in x, the bilinear game of player 0 for long vectors."""
    return float(x.values @ others[0].values), others[0].values


def product_back(y: Any, others: Any) -> tuple[float, np.ndarray]:
    """Return -x.y and its gradient in y, that of player 1."""
    return -float(y.values @ others[0].values), -others[0].values
