"""The targets by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from measureflow import _validate as check
from measureflow.modes.digits import stacked_digits
from measureflow.modes.targets import Mixture, Target, grid, high_dimensional, mixture, ring, spiral, uneven


def _mixed_widths() -> Mixture:
    return mixture(ring().centres, np.geomspace(0.005, 0.05, 8), name="mixed widths")


TARGETS: dict[str, Callable[[], Target]] = {
    "ring": ring,
    "grid": grid,
    "uneven-ring": lambda: uneven(ring()),
    "uneven-grid": lambda: uneven(grid()),
    "mixed-widths": _mixed_widths,
    "spiral": spiral,
    "hundred": lambda: grid(10),
    "high-dimensional": high_dimensional,
    "stacked-digits": stacked_digits,
}
"""Published targets and variations: ring, grid; weights 10 : 1; widths 10 : 1; 20 modes on a spiral; 100 modes; ..."""


def target(name: str) -> Target:
    """Return a target by its name in `TARGETS`.

    Raises
    ------
    TypeError, ValueError
        If there is none.

    Examples
    --------
    >>> target("hundred")
    Mixture('grid', modes=100, d=2)
    """
    return TARGETS[check.choice("name", name, tuple(TARGETS))]()
