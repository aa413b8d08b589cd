"""A test for users' gradients: the remainder of the first-order Taylor expansion must be of second order."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.metrics import natural
from measureflow.metrics.base import Chart, Flat
from measureflow.states import Histogram, State

STEPS = 2.0 ** -np.arange(4, 21)
ROUNDING = 512.0
AFFINE = 3


@final
class TaylorCheck(float):
    """The slope of log |remainder| against log h, 2 for a right gradient, as a float with its data.

    Attributes
    ----------
    slope : float
        The float itself.
    steps, remainders : ndarray
        h and |E(x + h v) - E(x) - h <grad E, v>|.
    """

    steps: np.ndarray
    remainders: np.ndarray

    @property
    def slope(self) -> float:
        """The observed order."""
        return float(self)


def check_gradient(energy: Energy, state: State, seed: int = 0) -> TaylorCheck:
    """Check an energy's gradient at a state by the order of its Taylor remainder in a random direction.

    Parameters
    ----------
    energy : Energy
    state : State
        With `Quantiles` strictly increasing, and `Histogram` positive, there is room to move.
    seed : int
        Chooses the direction.

    Returns
    -------
    TaylorCheck
        A float near 2 if value and gradient fit together, near 1 if they do not. Where the remainder of the smallest steps is
        rounding (an energy that is affine along the direction, or piecewise affine) the gradient is right and 2.0 is returned.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the energy is not defined on this state.

    Examples
    --------
    >>> import numpy as np
    >>> import measureflow as mf
    >>> wrong = mf.energies.Function(lambda x: np.sum(x**4), lambda x: x**3)
    >>> round(check_gradient(wrong, mf.Vector([1.0, 2.0])), 1)
    1.0
    """
    check.instance("energy", energy, Energy, "an Energy")
    check.instance("state", state, State, "a state")
    rng = np.random.default_rng(check.seed("seed", seed))
    chart = _chart(state)
    value, gradient = energy.value_and_gradient(state)
    direction = _direction(state, chart, rng)
    slope = chart.inner(chart.pull(chart.origin, gradient), direction)
    values = np.array([energy.value(chart.state(chart.origin + h * direction)) for h in STEPS])
    if not np.isfinite(value) or not np.all(np.isfinite(values)) or not np.isfinite(slope):
        raise ValueError(f"energy must be finite at state and near it, got {value:g} at {state!r}")
    remainders = np.abs(values - value - STEPS * slope)
    return _fit(remainders, max(np.abs(values).max(), abs(value), 1e-300))


def _chart(state: State) -> Chart:
    """Return the natural chart; masses of a histogram are paired with the first variation by a plain sum."""
    return Flat(state, 1.0) if isinstance(state, Histogram) else natural(state).chart(state)


def _direction(state: State, chart: Chart, rng: np.random.Generator) -> np.ndarray:
    """Return a random direction along which small steps stay states, of size about that of the state."""
    from measureflow.states import Gaussian, Quantiles

    noise = rng.normal(size=chart.origin.shape)
    if isinstance(state, Histogram):
        move = state.masses * np.tanh(noise)
        return np.asarray(move - state.masses * move.sum())
    if isinstance(state, Quantiles):
        gaps = np.diff(state.values, prepend=state.values[0] - 1.0)
        return np.cumsum(gaps * np.tanh(noise))
    if isinstance(state, Gaussian):
        noise[1:] = 0.5 * (noise[1:] + noise[1:].T) / (2.0 * state.dim)
    return noise


def _fit(remainders: np.ndarray, scale: float) -> TaylorCheck:
    """Fit the order where remainders are above rounding and, of those, at the small steps."""
    visible = remainders > ROUNDING * np.finfo(float).eps * scale
    seen = np.flatnonzero(visible)
    order = 2.0
    if visible[-AFFINE:].any() and len(seen) >= 3:
        used = seen[max(0, len(seen) - 6) :]
        order = float(np.polyfit(np.log(STEPS[used]), np.log(remainders[used]), 1)[0])
    result = TaylorCheck(order)
    result.steps, result.remainders = STEPS, remainders
    return result
