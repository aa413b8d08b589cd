"""Axes of phase diagrams of training: what is varied, and over which values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

import numpy as np

from measureflow import _validate as check

COUPLINGS = ("simultaneous", "alternating", "extragradient")
"""Schemes of compiled training."""


@final
@dataclass(frozen=True)
class Axis:
    """A parameter of training that a phase diagram may vary.

    Attributes
    ----------
    label : str
        Of the axis of a picture.
    grid : ndarray
        Values by default: numbers, or names.
    usual : float, int, str or None
        The value where it is not varied.
    whole : bool
        Whether values are whole numbers.
    zero : bool
        Whether it may be 0.
    """

    label: str
    grid: np.ndarray
    usual: Any
    whole: bool = False
    zero: bool = False

    @property
    def named(self) -> bool:
        """Whether values are names."""
        return self.grid.dtype.kind == "U"


AXES: Mapping[str, Axis] = MappingProxyType(
    {
        "speed": Axis(r"critic speed $\eta$", np.geomspace(0.1, 30.0, 20), 1.0),
        "ridge": Axis(r"ridge $\beta$", np.geomspace(0.01, 3.0, 20), 0.1),
        "noise": Axis("instance noise / spread of the target", np.linspace(0.0, 0.6, 20), 0.0, zero=True),
        "batch": Axis("batch", 2.0 ** np.arange(0.0, 9.0), None, whole=True),
        "packing": Axis("points packed", np.arange(1.0, 5.0), 1, whole=True),
        "unrolling": Axis("critic steps foreseen", np.arange(0.0, 5.0), 0, whole=True, zero=True),
        "critic_steps": Axis("critic steps a step", np.arange(1.0, 6.0), 1, whole=True),
        "coupling": Axis("scheme", np.array(COUPLINGS), "simultaneous"),
    }
)
"""What diagrams of training vary, by name; the names are those of the settings too."""

APART = ("coupling", "critic_steps", "batch", "packing", "unrolling")
"""Axes of which runs of one compiled ensemble have one value."""


def axis_pair(axes: Any) -> tuple[str, str]:
    """Return the names of two axes after checking them."""
    pair = check.entries("axes", axes, 2, "the names of two axes")
    across, up = (check.choice("axes", name, tuple(AXES)) for name in pair)
    if across == up or AXES[across].named:
        raise ValueError(
            f"axes must be two different names, {', '.join(AXES)}, and 'coupling' the second, got {check.show(axes)}"
        )
    return across, up
