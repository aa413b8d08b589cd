"""Why a flow ended: one word, one sentence, and the numbers that go with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, final

import numpy as np

from measureflow import _validate as check


@final
class Status(StrEnum):
    """Why a flow ended.

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.25)
    >>> sol.status == "done", sol.status.success
    (True, True)
    """

    done = "done"
    """The last time was reached."""
    event = "event"
    """A terminal event stopped the flow."""
    stalled = "stalled"
    """The error control asked for steps that vanish beside the time, or for errors below rounding."""
    not_finite = "not_finite"
    """Steps led to NaN or infinity, however short."""
    not_converged = "not_converged"
    """An inner solver did not reach its tolerance, however short the step."""
    interrupted = "interrupted"
    """Ctrl-C, or a kill: the flow can go on."""

    @property
    def success(self) -> bool:
        """Whether the flow ended as planned, at its last time or at an event."""
        return self in (Status.done, Status.event)


@final
@dataclass(frozen=True)
class Outcome:
    """How a flow ended.

    Attributes
    ----------
    status : Status
    message : str
        The same in one sentence, with the time.
    t : float
        The last time that was reached.
    steps, rejected : int
        Steps that were taken, and steps that were tried and given up.
    events : tuple of (int, float)
        Index and time of every zero of an event.
    cpu_seconds : float
        Processor time of the call that ended the flow.
    scheme : str
        The scheme, as its `repr`.
    """

    status: Status
    message: str
    t: float
    steps: int
    rejected: int
    events: tuple[tuple[int, float], ...]
    cpu_seconds: float
    scheme: str

    def data(self) -> dict[str, Any]:
        """Return the outcome, but for the events, as plain data."""
        return {name: str(value) if name == "status" else value for name, value in self.__dict__.items() if name != "events"}

    @staticmethod
    def from_data(data: Any, events: tuple[tuple[int, float], ...]) -> Outcome:
        """Return the outcome from plain data, checked; raises TypeError, ValueError or KeyError."""
        names = set(Outcome.__dataclass_fields__) - {"events"}
        if set(data) != names:
            raise ValueError(f"an outcome must have the entries {', '.join(sorted(names))}, got {check.show(sorted(data))}")
        return Outcome(
            Status(check.choice("status", data["status"], tuple(Status))),
            _line("message", data["message"]),
            check.scalar("t", data["t"]),
            check.integer("steps", data["steps"], least=0),
            check.integer("rejected", data["rejected"], least=0),
            events,
            check.scalar("cpu_seconds", data["cpu_seconds"], least=0.0),
            _line("scheme", data["scheme"]),
        )


def one_line(text: str) -> str:
    """Return a text without line breaks and other characters that do not print."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _line(name: str, text: Any) -> str:
    if check.instance(name, text, str, "a text") != one_line(text):
        raise ValueError(f"{name} must be one line that prints, got {check.show(text)}")
    return str(text)


def events_to_arrays(events: tuple[tuple[int, float], ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return indices and times of events as arrays."""
    return np.array([k for k, _ in events], dtype=np.int64), np.array([t for _, t in events], dtype=np.float64)


def events_from_arrays(indices: Any, times: Any) -> tuple[tuple[int, float], ...]:
    """Return events from arrays of their indices and times, checked."""
    t = check.array("event times", times, ndim=1, nonempty=False)
    if not isinstance(indices, np.ndarray) or indices.dtype != np.int64 or indices.shape != t.shape or np.any(indices < 0):
        raise ValueError(f"event indices must be integers >= 0, one a time, got {check.show(indices)}")
    return tuple(zip(indices.tolist(), t.tolist(), strict=True))
