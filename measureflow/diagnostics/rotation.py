"""Whether a curve turns around a centre: its period, its amplitude and how that grows (theory, 6 and 7.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

MODES = 6
MANY = 30
SAMPLES = 1200
LINEAR = 1e-6
INTERPOLATED = 1e-3
WHOLE = 0.97
Curve = np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Rotation:
    """A curve that turns around a centre.

    Attributes
    ----------
    period : float
    growth : float
        Rate of the amplitude, d/dt log r: negative if it decays.
    amplitude : float
        Distance from the centre at the last time.
    turns : float
        Number of turns on the whole curve.
    centre : ndarray, shape (m,)
    linear : bool
        Whether the curve was found to solve a linear equation, so that the numbers are exact to about 1e-6.
    """

    period: float
    growth: float
    amplitude: float
    turns: float
    centre: np.ndarray
    linear: bool

    @property
    def frequency(self) -> float:
        """Angular frequency."""
        return float(2.0 * np.pi / self.period)

    @property
    def factor(self) -> float:
        """By what the amplitude is multiplied in a turn."""
        return float(np.exp(np.clip(self.growth * self.period, -700.0, 700.0)))


def rotation(t: np.ndarray, x: np.ndarray) -> Rotation | None:
    """Return how the curve x (r, m) turns; None if it does not turn around once."""
    if len(t) < 12 or not np.ptp(x, axis=0).max(initial=0.0) > 0.0:
        return None
    steps = np.diff(t)
    slack = LINEAR if np.ptp(steps[:-1]) < 1e-6 * steps[0] else INTERPOLATED
    t, x = _even(t, x)
    if x.shape[1] <= MANY:
        return _found(t, x, slack)
    mean, directions, _ = _main(x, MANY)
    found = _found(t, (x - mean) @ directions.T, slack)
    return None if found is None else replace(found, centre=mean + found.centre @ directions)


def _found(t: np.ndarray, x: Curve, slack: float) -> Rotation | None:
    found = _linear(t, x, 0, slack) or _winding(t, x)
    tails = ((len(t) // 2, 1e-3), (2 * len(t) // 3, 1e-2), (5 * len(t) // 6, 1e-2))  # spirals into an equilibrium
    return found or next((r for first, slack in tails if (r := _linear(t, x, first, slack)) is not None), None)


def _even(t: np.ndarray, x: Curve) -> tuple[np.ndarray, Curve]:
    """Return the curve at even times: without the last, shorter step, or interpolated by cubic splines."""
    steps = np.diff(t)
    keep = len(t) - (abs(steps[-1] - steps[0]) > 1e-6 * steps[0])
    if np.all(np.abs(steps[: keep - 1] - steps[0]) < 1e-6 * steps[0]):
        return t[:keep], x[:keep]
    from scipy.interpolate import CubicSpline

    even = np.linspace(t[0], t[-1], min(max(len(t), 200), SAMPLES))
    return even, np.asarray(CubicSpline(t, x)(even))


def _main(x: Curve, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean, the principal directions (count, m) and their sizes; negligible ones are left out."""
    mean = x.mean(axis=0)
    _, sizes, directions = np.linalg.svd(x - mean, full_matrices=False)
    held = sizes[:count] > 1e-9 * sizes[0]
    return mean, directions[:count][held], sizes[:count][held]


def _linear(whole: np.ndarray, curve: Curve, first: int, slack: float) -> Rotation | None:
    """Return the rotation of a curve with y+ = A y + b in its principal coordinates, if its tail has such an equation."""
    t, x = whole[first:], curve[first:]
    if len(t) < 12 or not np.ptp(x, axis=0).max() > 0.0:
        return None
    mean, directions, sizes = _main(x, MODES)
    k = len(sizes)
    y = (x - mean) @ directions.T
    lost = float(np.abs(x - mean - y @ directions).max())
    if k < 2 or len(t) < 2 * k + 4 or lost > slack * np.abs(y).max():
        return None
    known = np.hstack([y[:-1], np.full((len(y) - 1, 1), float(np.abs(y).max()))])
    solved = np.linalg.lstsq(known, y[1:], rcond=1e-13)[0]
    step = np.abs(np.diff(y, axis=0)).max()
    if np.abs(known @ solved - y[1:]).max() > slack * step:
        return None
    values, vectors = np.linalg.eig(solved[:-1].T)
    if np.linalg.cond(vectors) > 1e8 or np.any(np.abs(values - 1.0) < 1e-9):
        return None
    centre = np.linalg.solve(np.eye(k) - solved[:-1].T, solved[-1] * known[0, -1])
    shares = np.abs(np.linalg.solve(vectors, (y - centre).T.astype(complex)))  # (k, r)
    turning = np.flatnonzero(values.imag > 1e-9)
    if not len(turning):
        return None
    dt = float(t[1] - t[0])
    lead = turning[np.argmax(shares[turning, 0] + shares[turning, -1])]
    if 2.0 * shares[lead, -1] < 0.3 * shares[:, -1].max():
        return None
    rate = np.log(values[lead]) / dt
    turns = float(rate.imag * (whole[-1] - whole[0]) / (2.0 * np.pi))
    if turns < WHOLE or abs(rate.real) > 3.0 * rate.imag:
        return None
    middle = mean + centre @ directions
    return Rotation(
        period=float(2.0 * np.pi / rate.imag),
        growth=float(rate.real),
        amplitude=float(np.linalg.norm(x[-1] - middle)),
        turns=turns,
        centre=middle,
        linear=True,
    )


def _winding(t: np.ndarray, x: Curve) -> Rotation | None:
    """Return the rotation of a curve whose phase in its principal plane winds around: of the last turns, then of all."""
    part = x[len(x) // 2 :]
    _, directions, sizes = _main(part, 2)
    if len(sizes) < 2 or sizes[1] < 1e-3 * sizes[0]:
        return None
    y = (x @ directions.T) / sizes * sizes[0]
    late = slice(len(y) // 2, len(y))
    for window in (late, slice(0, len(y))):
        found = _turned(t[window], y[window])
        if found is not None:
            begin, phase, middle = found
            return _measured(t, x, t[window], phase, begin, np.abs(_phase(y, middle))[-1])
    return None


def _phase(y: Curve, middle: np.ndarray) -> np.ndarray:
    """Return the angle from the first point, positive in the sense in which the curve turns."""
    angle = np.unwrap(np.arctan2(*(y - middle).T[::-1]))
    turned = angle - angle[0]
    return np.asarray(turned if turned[-1] >= 0.0 else -turned)


def _turned(t: np.ndarray, y: Curve) -> tuple[float, np.ndarray, np.ndarray] | None:
    """Return when the last whole turn began, the phase, and the middle of that turn; None if there is none."""
    middle = 0.5 * (y.min(axis=0) + y.max(axis=0))
    begin, phase = float(t[0]), np.zeros(len(t))
    for _ in range(4):
        phase = _phase(y, middle)
        back = float(np.minimum(np.diff(phase), 0.0).sum())
        if phase[-1] < 2.0 * np.pi * WHOLE or -back > 0.05 * phase[-1] or np.abs(np.diff(phase)).max() > 1.5:
            return None
        begin = float(np.interp(phase[-1] - 2.0 * np.pi, np.maximum.accumulate(phase), t))
        turn = t >= begin - 1e-12
        dt = np.gradient(t[turn])
        middle = (y[turn] * dt[:, None]).sum(axis=0) / dt.sum()
    return begin, phase, middle


def _measured(t: np.ndarray, x: Curve, late: np.ndarray, phase: np.ndarray, begin: float, whole: float) -> Rotation:
    """Return period and growth from the last turn; the amplitude is compared with that of a turn before, if there is one."""
    total = float(phase[-1])
    period = (late[-1] - begin) * max(1.0, 2.0 * np.pi / total)
    turn = t >= begin - 1e-12
    middle = np.trapezoid(x[turn], t[turn], axis=0) / (t[-1] - t[turn][0])
    radius = np.linalg.norm(x - middle, axis=1)
    marks = phase[-1] - 2.0 * np.pi * np.arange(int(total / (2.0 * np.pi) + 1e-6) + 1)
    times = np.interp(np.maximum(marks, 0.0), np.maximum.accumulate(phase), late)
    now, before = (float(np.interp(time, t, radius)) for time in (times[0], times[1] if len(times) > 1 else late[0]))
    return Rotation(
        period=float(period),
        growth=float(np.log(max(now, 1e-300) / max(before, 1e-300)) / period),
        amplitude=now,
        turns=whole / (2.0 * np.pi),
        centre=middle,
        linear=False,
    )
