"""Reference flows of ordinary differential equations, where no closed form is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

Field = Callable[[np.ndarray], Sequence[float] | np.ndarray]


def integrated(field: Field, start: Sequence[float] | np.ndarray, rtol: float = 1e-13) -> Callable[[float], np.ndarray]:
    """Return t -> z(t) with z' = field(z), z(0) = start, by DOP853 with errors near `rtol`; times are kept.

    Examples
    --------
    >>> circle = integrated(lambda z: [-z[1], z[0]], [1.0, 0.0])
    >>> bool(abs(circle(3.0)[1] - np.sin(3.0)) < 1e-12)
    True
    """
    from scipy.integrate import solve_ivp

    origin = np.array(start, dtype=np.float64)

    @cache
    def flow(time: float) -> np.ndarray:
        if time == 0.0:
            return origin
        found = solve_ivp(lambda _, z: field(z), (0.0, time), origin, method="DOP853", rtol=rtol, atol=0.1 * rtol, t_eval=[time])
        if not found.success:
            raise ValueError(f"the flow has no value at t = {time:g}: {found.message}")
        return np.asarray(found.y[:, -1])

    return flow
