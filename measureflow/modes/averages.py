"""Averages over time of what is covered: a generator that hops between modes covers them on average, and never at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.modes.definitions import NUMBERS, Coverage


@final
@dataclass(frozen=True, eq=False)
class Average:
    """Averages over time of what `Coverage` measures.

    Attributes
    ----------
    modes, high_quality, reverse_kl, fair_modes, visited, entropy, reverse_kl_high_quality : float
        Averages of the numbers at every time.
    law : Coverage
        Coverage of the average law. A generator that hops between modes covers them all on average, while at every time it has
        collapsed (theory, D10 and section 12, 24): then ``law.modes`` is large and ``modes`` small.
    w2 : float or None
        Average of W2 to the target; None if it was not measured at every time.

    Examples
    --------
    >>> from measureflow.modes import coverage
    >>> still = average([coverage([[1.0]], [[-1.0], [1.0]], 0.1)] * 2)
    >>> still.modes, still.law.modes, round(still.reverse_kl, 4)
    (1.0, 1, 0.6931)
    """

    modes: float
    high_quality: float
    reverse_kl: float
    fair_modes: float
    visited: float
    entropy: float
    reverse_kl_high_quality: float
    law: Coverage
    w2: float | None = None


def average(coverages: Iterable[Coverage], t: ArrayLike | None = None) -> Average:
    """Return averages over time of coverages of one target.

    Parameters
    ----------
    coverages : iterable of Coverage
    t : array_like, shape (number of coverages,), optional
        Their times, increasing, for averages by the trapezoidal rule; None: all count alike.

    Raises
    ------
    TypeError, ValueError
        If there are none, they are not of one target, or the times do not fit.

    Examples
    --------
    >>> from measureflow.modes import coverage
    >>> hopping = [coverage([[x]], [[-1.0], [1.0]], 0.1) for x in (-1.0, 1.0, -1.0, 1.0)]
    >>> mean = average(hopping)
    >>> mean.modes, mean.law.modes
    (1.0, 2)
    """
    rows = [check.instance("coverages", row, Coverage, "a sequence of Coverage") for row in coverages]
    if not rows:
        raise ValueError("coverages must have one or more entries, got none")
    if any(not np.array_equal(row.weights, rows[0].weights) for row in rows):
        raise ValueError("coverages must be of one target, got different weights of the modes")
    shares = _time_shares(t, len(rows))
    law = Coverage(
        mass=shares @ [row.mass for row in rows],
        histogram=shares @ [row.histogram for row in rows],
        weights=rows[0].weights,
        n=int(max(np.ceil(row.n / share - 1e-6) for row, share in zip(rows, shares, strict=True))),
        perfect=rows[0].perfect,
    )
    means = {name: float(shares @ [getattr(row, name) for row in rows]) for name in NUMBERS}
    gaps = [row.w2 for row in rows if row.w2 is not None]
    return Average(**means, law=law, w2=float(shares @ gaps) if len(gaps) == len(rows) else None)


def _time_shares(t: ArrayLike | None, count: int) -> np.ndarray:
    if t is None:
        return np.full(count, 1.0 / count)
    times = check.array("t", t, shape=(count,))
    gaps = np.diff(times)
    if count < 2 or gaps.min() <= 0.0:
        raise ValueError("t must be increasing, of two times or more")
    return 0.5 * (np.append(gaps, 0.0) + np.append(0.0, gaps)) / (times[-1] - times[0])
