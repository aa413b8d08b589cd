"""Every exception that measureflow raises on purpose.

A bad argument is a plain ``ValueError`` or ``TypeError`` (see `measureflow._validate`); the classes here are for what goes
wrong after the arguments were found good.
"""

from __future__ import annotations

from typing import Any


class MeasureflowError(Exception):
    """Base of all errors of the package.

    Attributes
    ----------
    solution : Solution or None
        What `measureflow.solve` had computed when the error arose; None outside `solve`.
    """

    solution: Any = None


class ConvergenceError(MeasureflowError, RuntimeError):
    """An inner solver did not reach its tolerance, or a step left the space of finite states.

    Attributes
    ----------
    residual : float
        Residual that was reached, in the units of the metric (NaN if none is known).
    tolerance : float
        Residual that was asked for.
    """

    def __init__(self, message: str, residual: float = float("nan"), tolerance: float = float("nan")) -> None:
        super().__init__(message)
        self.residual = residual
        self.tolerance = tolerance


class UnsupportedError(MeasureflowError, TypeError):
    """An energy, metric or scheme is not defined on this kind of state; the message says on which it is."""


class CallbackError(MeasureflowError, ValueError):
    """A function given by the user returned the wrong shape, the wrong type or values that are not finite."""
