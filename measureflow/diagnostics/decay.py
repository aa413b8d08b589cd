"""How fast a positive quantity decays: exponentially, algebraically, or to zero in finite time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

FLOOR = 1e-10
SHIFTS = 60
FEWEST = 8


@final
@dataclass(frozen=True)
class Decay:
    """A fit of s(t) on its tail: "exponential" c exp(-rate t), "algebraic" c (t + shift)^-rate, or "finite" (0 from `end` on).

    `low` and `high` hold the rates of parts of the tail; `misfit` is the root mean square error of log s.
    """

    kind: str
    rate: float
    low: float
    high: float
    misfit: float
    shift: float = 0.0
    end: float = np.inf

    def remaining(self, t: float, speed: float) -> float:
        """Return the way that is left at time t of a curve with this speed, if it goes on so."""
        if self.kind == "finite":
            return 0.0
        if self.kind == "exponential":
            return speed / self.rate if self.rate > 0.0 else np.inf
        return speed * (t + self.shift) / (self.rate - 1.0) if self.rate > 1.0 else np.inf


def fitted(t: np.ndarray, s: np.ndarray) -> Decay | None:
    """Return the decay of s (r,) > 0 at times t (r,), on the last half of where it is above rounding; None if there is none."""
    top = float(np.max(s, initial=0.0))
    if len(t) < FEWEST or not 0.0 < top < np.inf:
        return None
    gone = np.flatnonzero(s <= 1e-12 * top)
    if len(gone) and gone[0] > 1 and np.all(s[gone[0] :] <= 1e-12 * top) and s[gone[0] - 2] > 1e-3 * top:
        return Decay("finite", np.inf, np.inf, np.inf, 0.0, end=float(t[gone[0]]))
    low = np.flatnonzero(s <= FLOOR * top)
    last = int(low[0]) if len(low) else len(s)
    tail = slice(last // 2, last)
    if last - last // 2 < FEWEST:
        return None
    return _better(t[tail], np.log(s[tail]))


def _better(t: np.ndarray, logs: np.ndarray) -> Decay | None:
    exponential, misfit = _line(t, logs)
    span = float(t[-1] - t[0])
    shifts = np.append(0.0, np.geomspace(1e-3, 30.0, SHIFTS) * span)
    shifts = shifts - np.where(t[0] > 0.0, 0.0, t[0] - 1e-3 * span)
    powers = [(*_line(np.log(t + shift), logs), shift) for shift in shifts]
    power, power_misfit, shift = min(powers, key=lambda entry: entry[1])
    if -exponential * span < 1e-3:
        return None
    halves = (slice(0, len(t) * 2 // 3), slice(len(t) // 3, len(t)))
    if misfit <= 1.2 * power_misfit or misfit < 1e-4 * abs(exponential) * span or shift > 10.0 * span:
        rates = [-_line(t[part], logs[part])[0] for part in halves]
        return Decay("exponential", -exponential, min(-exponential, *rates), max(-exponential, *rates), misfit)
    rates = [-_line(np.log(t[part] + shift), logs[part])[0] for part in halves]
    return Decay("algebraic", -power, min(-power, *rates), max(-power, *rates), power_misfit, float(shift))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the slope of the least-squares line, and the root mean square error."""
    a, b = x - x.mean(), y - y.mean()
    slope = float(a @ b / (a @ a))
    return slope, float(np.sqrt(np.mean((b - slope * a) ** 2)))
