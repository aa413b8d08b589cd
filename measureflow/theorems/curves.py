"""What the figure of a theorem shows, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

ROLES = ("measured", "predicted", "control")


@final
@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Parameters
    ----------
    title, x, y : str
        Title and labels of the axes, in TeX's mathematics between dollars where needed.
    scale : {"linear", "log x", "log y", "log"}
    """

    title: str
    x: str
    y: str
    scale: str = "linear"


@final
@dataclass(frozen=True, eq=False)
class Curve:
    """One curve of a panel.

    Parameters
    ----------
    panel : Panel
        Curves of equal panels are drawn into the same axes.
    label : str
        Entry of the legend; "" for none.
    x, y : array_like, shape (n,)
    role : {"measured", "predicted", "control"}
        Points joined by lines; a dashed line; crosses: what a violated hypothesis does.
    error : array_like, optional
        Half-widths of intervals, shape (n,).

    Examples
    --------
    >>> Curve(Panel("errors", "tau", "W2", "log"), "JKO", [0.1, 0.05], [2e-2, 1e-2]).y
    array([0.02, 0.01])
    """

    panel: Panel
    label: str
    x: Any
    y: Any
    role: str = "measured"
    error: Any = None

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            object.__setattr__(self, name, np.atleast_1d(np.asarray(getattr(self, name), np.float64)))
        if self.role not in ROLES or self.x.shape != self.y.shape:
            raise ValueError(f"a curve must have x and y of one shape and a role of {ROLES}, got {self.x.shape}, {self.y.shape}")
