"""Why a flow ended: one word, one sentence, and the numbers that go with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, final

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

    DONE = "done"
    """The last time was reached."""
    EVENT = "event"
    """A terminal event stopped the flow."""
    STALLED = "stalled"
    """The error control asked for steps that vanish beside the time, or for errors below rounding."""
    NOT_FINITE = "not_finite"
    """Steps led to NaN or infinity, however short."""
    NOT_CONVERGED = "not_converged"
    """An inner solver did not reach its tolerance, however short the step."""
    INTERRUPTED = "interrupted"
    """Ctrl-C, or a kill: the flow can go on."""

    @property
    def success(self) -> bool:
        """Whether the flow ended as planned, at its last time or at an event."""
        return self in (Status.DONE, Status.EVENT)


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
        """Return the outcome as plain data."""
        return {**self.__dict__, "status": str(self.status), "events": [list(event) for event in self.events]}

    @staticmethod
    def from_data(data: Any) -> Outcome:
        """Return the outcome from plain data, checked; raises TypeError, ValueError or KeyError."""
        if set(data) != set(Outcome.__dataclass_fields__):
            raise ValueError(f"an outcome must have the entries {', '.join(Outcome.__dataclass_fields__)}, got {sorted(data)}")
        pairs = [check.entries("events", list(pair), 2, "an index and a time") for pair in data["events"]]
        return Outcome(
            Status(check.choice("status", data["status"], tuple(Status))),
            check.instance("message", data["message"], str, "a text"),
            check.scalar("t", data["t"]),
            check.integer("steps", data["steps"], least=0),
            check.integer("rejected", data["rejected"], least=0),
            tuple((check.integer("events", k, least=0), check.scalar("events", t)) for k, t in pairs),
            check.scalar("cpu_seconds", data["cpu_seconds"], least=0.0),
            check.instance("scheme", data["scheme"], str, "a text"),
        )
