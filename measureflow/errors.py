"""Every exception that measureflow raises on purpose.

A bad argument is a plain ``ValueError`` or ``TypeError`` (see `measureflow._validate`); the classes here are for what goes
wrong after the arguments were found good.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class MeasureflowError(Exception):
    """Base of all errors of the package.

    Attributes
    ----------
    solution : Solution or None
        What `measureflow.solve` had computed when the error arose; None outside `solve`.
    status : Status or None
        Why the flow stopped; None outside `solve`.
    time : float or None
        The last time that was reached; None outside `solve`.
    player : int or None
        The player whose step failed; None if it was not one player's.
    """

    solution: Any = None
    status: Any = None
    time: float | None = None
    player: int | None = None


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


class NotFiniteError(MeasureflowError, ValueError):
    """A step led to NaN or infinity."""


class CallbackError(MeasureflowError, ValueError):
    """A function given by the user returned the wrong shape, the wrong type or values that are not finite."""


class NotFiniteCallbackError(CallbackError, NotFiniteError):
    """A function given by the user returned values that are not finite: a smaller step may help."""


class RunLockedError(MeasureflowError, RuntimeError):
    """Another process, or another flow of this one, is writing to the run directory."""


class FlowInterrupt(KeyboardInterrupt):
    """Ctrl-C ended a flow after its current step; uncaught, it ends the program like any other Ctrl-C.

    Examples
    --------
    >>> try:
    ...     raise FlowInterrupt("Ctrl-C ended the flow at t = 0.5.")
    ... except KeyboardInterrupt as stopped:
    ...     stopped.solution is None  # `solve` puts the flow so far here
    True

    Attributes
    ----------
    solution : Solution
        The flow so far.
    status : Status
        ``Status.interrupted``.
    time : float
        The last time that was reached.
    """

    solution: Any = None
    status: Any = None
    time: float | None = None


@contextmanager
def of_player(player: int) -> Iterator[None]:
    """Note in an exception that passes, in its attribute `player`, whose step it was."""
    try:
        yield
    except Exception as error:
        if getattr(error, "player", None) is None:
            error.player = player  # type: ignore[attr-defined]
        raise
