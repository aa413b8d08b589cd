"""Events: functions of time and state whose zeros are found, and that may stop a flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

from measureflow import _validate as check

SUBPOINTS = 8


@final
@dataclass(frozen=True, eq=False)
class Event:
    """One checked event: ``function(t, state) -> float`` (game: tuple of states), stopping at a zero if `terminal`."""

    function: Callable[[float, Any], float]
    terminal: bool
    direction: float

    def __call__(self, t: float, state: Any) -> float:
        """Return the event function's value, checked."""
        return check.returned_scalar("events", self.function(t, state))

    def crossing(self, before: float, after: float) -> bool:
        """Return whether the function crossed zero in the wanted direction (leaving an exact zero does not count)."""
        if self.direction >= 0.0 and before < 0.0 <= after:
            return True
        return self.direction <= 0.0 and before > 0.0 >= after


def checked_events(events: Any) -> tuple[Event, ...]:
    """Return the events of `solve`: a callable or a sequence of them, with attributes `terminal` and `direction` as in SciPy."""
    if callable(events):
        events = (events,)
    if not isinstance(events, Sequence) or isinstance(events, (str, bytes)):
        raise TypeError(f"events must be a function (t, state) -> float or a sequence of them, got {check.show(events)}")
    result = []
    for k, event in enumerate(events):
        check.function(f"events[{k}]", event)
        terminal = check.flag(f"events[{k}].terminal", getattr(event, "terminal", False))
        direction = check.scalar(f"events[{k}].direction", getattr(event, "direction", 0.0))
        result.append(Event(event, terminal, direction))
    return tuple(result)


def zeros(event: Event, path: Callable[[float], Any], t0: float, t1: float, value0: float) -> tuple[list[float], float]:
    """Return the times in (t0, t1] at which an event crosses zero along a path, in order, and its value at t1.

    The path is sampled at 8 sub-points, so that crossings within a step are not missed, and each crossing is refined by
    Brent's method to 1e-12 of the step.
    """
    found = []
    left, before, after = t0, value0, value0
    for right in [t0 + (t1 - t0) * k / SUBPOINTS for k in range(1, SUBPOINTS)] + [t1]:
        after = event(right, path(right))
        if event.crossing(before, after):
            found.append(_refine(event, path, left, right, before, after))
        left, before = right, after
    return found, after


def _refine(event: Event, path: Callable[[float], Any], left: float, right: float, before: float, after: float) -> float:
    from scipy.optimize import brentq

    if after == 0.0:
        return right
    return float(brentq(lambda t: event(t, path(t)), left, right, xtol=1e-12 * (right - left), rtol=8.9e-16))
