"""Slopes, means and limits with their intervals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

CONFIDENCE = 0.99


class Estimate(NamedTuple):
    """A number and the half-width of its interval."""

    value: float
    error: float


def slope(x: Any, y: Any, confidence: float = CONFIDENCE) -> Estimate:
    """Return the slope of log y against log x by least squares, with its Student interval.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive; n at least 3.

    Examples
    --------
    >>> slope([1.0, 2.0, 4.0], [3.0, 12.0, 48.0]).value.__round__(9)
    2.0
    """
    from scipy.stats import t

    a, b = np.log(np.asarray(x, np.float64)), np.log(np.asarray(y, np.float64))
    centred = a - a.mean()
    spread = float(centred @ centred)
    value = float(centred @ b) / spread
    rest = b - b.mean() - value * centred
    free = len(a) - 2
    return Estimate(value, float(t.ppf(0.5 + 0.5 * confidence, free) * np.sqrt(rest @ rest / free / spread)))


def order(taus: Any, errors: Any) -> Estimate:
    """Return the order of convergence as tau -> 0: the local order between neighbours, extrapolated, and how far that is off.

    Local orders p_k = log(e_k/e_{k+1}) / log(tau_k/tau_{k+1}) of errors C tau^p (1 + c tau + ...) approach p linearly in tau.
    The value is that of the two smallest taus after one step of Richardson's extrapolation; its error is its distance from
    the last local order.

    Parameters
    ----------
    taus, errors : array_like, shape (n,)
        Positive, taus falling; n at least 3.

    Examples
    --------
    >>> taus = 0.1 / 2.0 ** np.arange(4)
    >>> found = order(taus, taus * (1.0 + taus))
    >>> abs(found.value - 1.0) < found.error < 0.02
    True
    """
    h, e = np.log(np.asarray(taus, np.float64)), np.log(np.asarray(errors, np.float64))
    local = np.diff(e) / np.diff(h)
    ratio = np.exp(h[-2] - h[-1])
    value = local[-1] + (local[-1] - local[-2]) / (ratio - 1.0)
    return Estimate(float(value), float(abs(value - local[-1])))


def mean(samples: Any, confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of independent samples, with its Student interval.

    Examples
    --------
    >>> mean([1.0, 2.0, 3.0]).value
    2.0
    """
    from scipy.stats import t

    values = np.asarray(samples, np.float64)
    n = values.size
    return Estimate(float(values.mean()), float(t.ppf(0.5 + 0.5 * confidence, n - 1) * values.std(ddof=1) / np.sqrt(n)))


def limit(values: Any, order: float, ratio: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the limit as tau -> 0 of three or more rows computed with tau, tau/ratio, tau/ratio^2, ..., and its error.

    Richardson's extrapolation of the last two rows; the error is its distance from that of the two rows before.

    Parameters
    ----------
    values : array_like, shape (n, ...)
        n at least 3.
    order : float
        Order of the error in tau.

    Examples
    --------
    >>> value, error = limit([1.1, 1.05, 1.025], 1)
    >>> float(value.round(9)), float(error.round(9))
    (1.0, 0.0)
    """
    rows = np.asarray(values, np.float64)
    better = rows[1:] + (rows[1:] - rows[:-1]) / (ratio**order - 1.0)
    return better[-1], np.abs(better[-1] - better[-2])
