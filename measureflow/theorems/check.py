"""One comparison of what was measured with what a theorem predicts, with what is not known about either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, final

import numpy as np


class Ruling(StrEnum):
    """What a check, or all checks of a theorem, say. Members are texts: ``verdict.status == "holds"``."""

    holds = "holds"
    """The claim is met by more than the sum of the errors."""
    violated = "violated"
    """The claim is missed by more than the sum of the errors, or something is not finite."""
    undecided = "undecided"
    """The errors are larger than the margin, or the experiment did not come to its end."""


@final
@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes
    ----------
    name : str
        What is compared, in words.
    measured, predicted : float
    relation : {"at most", "at least", "equal to"}
        What the theorem says of `measured` and `predicted`.
    tolerance : float
        By how much the prediction may be missed all the same: part of the claim, as "the order is 1 within 0.05".
    error : float
        How uncertain the comparison is: the sum of certificates, regression and Monte-Carlo intervals. Not part of the claim.
    where : str
        At which step, seed or parameter.

    Examples
    --------
    >>> Check("order in tau", 1.02, 1.0, "equal to", tolerance=0.05, error=0.01).ruling
    <Ruling.holds: 'holds'>
    >>> Check("order in tau", 0.5, 1.0, "equal to", tolerance=0.05, error=0.01).margin.__round__(2)
    -0.45
    """

    name: str
    measured: float
    predicted: float
    relation: str
    tolerance: float = 0.0
    error: float = 0.0
    where: str = ""

    @property
    def margin(self) -> float:
        """By how much the claim is met; negative if it is missed; -inf if something is not a number."""
        value = float(_margins(self.relation, self.measured, self.predicted, self.tolerance))
        return value if np.isfinite(value) else (np.inf if value > 0.0 else -np.inf)

    @property
    def clearance(self) -> float:
        """The margin, less the error, in units of what the claim allows: checks are ordered by it."""
        unit = max(self.tolerance, self.error, abs(self.predicted), 1e-300) if np.isfinite(self.predicted) else 1.0
        return (self.margin - self.error) / unit

    @property
    def ruling(self) -> Ruling:
        """Whether the margin is larger than the error, on which side."""
        if self.margin > self.error:
            return Ruling.holds
        return Ruling.violated if self.margin < -self.error or np.isnan(self.error) else Ruling.undecided


def at_most(name: str, measured: Any, bound: Any, **known: Any) -> Check:
    """Return the check that everything measured is at most its bound, made where that is met by least.

    Parameters
    ----------
    name : str
    measured, bound : array_like
        Of shapes that go together; a check is made of the worst entry.
    tolerance, error : array_like, optional
        As in `Check`.
    where : str, sequence of str, or callable, optional
        Of the flat index of the worst entry.

    Returns
    -------
    Check

    Examples
    --------
    >>> at_most("speed", [0.5, 0.9, 0.7], 1.0, where=["t = 0", "t = 1", "t = 2"]).where
    't = 1'
    """
    return _worst(name, measured, bound, "at most", **known)


def at_least(name: str, measured: Any, bound: Any, **known: Any) -> Check:
    """Return the check that everything measured is at least its bound; arguments as `at_most`."""
    return _worst(name, measured, bound, "at least", **known)


def equal(name: str, measured: Any, predicted: Any, **known: Any) -> Check:
    """Return the check that everything measured is what was predicted, within `tolerance`; arguments as `at_most`."""
    return _worst(name, measured, predicted, "equal to", **known)


def _worst(
    name: str,
    measured: Any,
    predicted: Any,
    relation: str,
    *,
    tolerance: Any = 0.0,
    error: Any = 0.0,
    where: str | Sequence[str] | Callable[[int], str] = "",
) -> Check:
    parts = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (measured, predicted, tolerance, error)))
    if not parts[0].size:
        raise ValueError(f"the check {name!r} must compare something, got nothing measured")
    flat = [part.ravel() for part in parts]
    clear = _margins(relation, *flat[:3]) - flat[3]
    clear = np.where(np.isnan(clear), -np.inf, clear)
    k = int(np.argmin(clear))
    place = where if isinstance(where, str) else where(k) if callable(where) else where[k]
    value, claimed, allowed, off = (float(part[k]) for part in flat)
    return Check(name, value, claimed, relation, allowed, off, place)


def _margins(relation: str, measured: Any, predicted: Any, tolerance: Any) -> Any:
    with np.errstate(invalid="ignore"):
        off = measured - predicted
        if relation == "equal to":
            return tolerance - np.abs(off)
        return tolerance + (off if relation == "at least" else -off)
