"""How large steps are: fixed steps, halved where one fails, and steps chosen by an error control."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.errors import ConvergenceError, MeasureflowError, NotFiniteError, UnsupportedError
from measureflow.metrics import Metric
from measureflow.recorder import Tally
from measureflow.rows import Row
from measureflow.schemes import Players, States, StepInfo
from measureflow.schemes.minimizing import flows_on_cells
from measureflow.states import Histogram, State
from measureflow.status import Status

FAILURES = (MeasureflowError, ValueError, ArithmeticError)
"""What a step may raise by itself, as opposed to an error in the user's code, which passes unchanged."""

HALVINGS = 20
"""A step that fails is tried again at half its size, and given up after this many halvings."""

SAFETY, SHRINK, GROW = 0.9, 0.2, 5.0
FIRST = 1e-3
BLIND, PATIENCE = 1e-3, 100
"""A tolerance below this share of the rounding of the states cannot be met: given up when rounding has decided so often."""

ROUNDING = 4.0 * np.finfo(float).eps
VANISHED = "the error control asks for steps that vanish beside the time: a singularity of the flow, or rtol or atol is too small"
ROUNDED = "the error control asks for errors below the rounding of the states: rtol or atol is too small"
SHORTEST = 64.0 * np.finfo(float).eps


@final
@dataclass(frozen=True)
class Control:
    """What the choice of the next step depends on, beside the position: plain numbers.

    `interval`, `level` and `part` say for fixed steps that part `part` of interval number `interval`, cut into 2^level parts, is
    next; `tau` is the step that the error control tries next, and `top` the first one that failed since steps were as large;
    `lost` counts steps that rounding decided, `draws` mini-batches.
    """

    draws: int = 0
    rejected: int = 0
    interval: int = 0
    level: int = 0
    part: int = 0
    tau: float = 0.0
    top: float = 0.0
    lost: int = 0


@final
@dataclass(frozen=True, eq=False)
class Position:
    """Where a flow stands: all that the rest of it depends on, and so all that a checkpoint holds."""

    t: float
    states: States
    memory: Any
    control: Control
    tally: Tally
    watched: tuple[float, ...] = ()
    zeros: tuple[tuple[int, float], ...] = ()
    stopped: bool = False

    def steered(self, control: Control) -> Position:
        """Return the same position with another control."""
        return Position(self.t, self.states, self.memory, control, self.tally, self.watched, self.zeros, self.stopped)


@final
@dataclass(frozen=True, eq=False)
class Move:
    """One step that was taken, and the rows it gives."""

    old: Position
    new: Position
    infos: tuple[StepInfo, ...]
    rows: tuple[Row, ...]


Attempt = Callable[[Position, float, float], Move]
"""(position, time at the end of the step, tau) -> the step, or an exception of `FAILURES`."""


class Stopped(Exception):
    """No step could be taken, however short; `error` is what the last one raised, `why` says it in words."""

    def __init__(self, status: Status, until: float, rejected: int, error: Exception | None = None, why: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.until = until
        self.rejected = rejected
        self.error = error
        self.why = why or f"{error} (the step was halved {HALVINGS} times)"


def verdict(error: Exception) -> Status | None:
    """Return what an exception says about a step: a status if a shorter step may help, None if it cannot."""
    if isinstance(error, (NotFiniteError, ArithmeticError)):
        return Status.not_finite
    if isinstance(error, (ConvergenceError, np.linalg.LinAlgError)):
        return Status.not_converged
    if isinstance(error, MeasureflowError):
        return None
    return Status.not_converged if isinstance(error, ValueError) else None  # the step left the space of states


def _require_hope(error: Exception, halvings_left: bool, until: float, rejected: int) -> None:
    """Raise what a failed step means, unless a shorter one may succeed."""
    status = verdict(error)
    if status is None:
        raise error
    if not halvings_left:
        raise Stopped(status, until, rejected + 1, error) from error


class Stepping(ABC):
    """A rule for the sizes of steps from t0 to t1."""

    t0: float
    t1: float

    @abstractmethod
    def begin(self) -> Control:
        """Return the control of the first step."""

    @abstractmethod
    def advance(self, position: Position, attempt: Attempt) -> list[Move]:
        """Take one step, or the steps that are accepted together; raises Stopped if none succeeds."""

    @abstractmethod
    def reaches(self, position: Position) -> bool:
        """Return whether a position can be one between these steps."""

    @abstractmethod
    def meets(self, t: float) -> bool:
        """Return whether it is certain that a time is the end of a step, or the first time."""

    @abstractmethod
    def progress(self, position: Position) -> float:
        """Return how much of `total` is done."""

    total: float
    unit: str


@final
class FixedSteps(Stepping):
    """Steps of size tau, the last one shorter if need be.

    An interval whose step fails is cut into halves, these again, and so on; behind the trouble steps grow back to tau.
    """

    unit = "step"

    def __init__(self, t0: float, t1: float, tau: float) -> None:
        ratio = (t1 - t0) / tau
        if ratio > 1e8:
            raise ValueError(f"tau must be at least 1e-8 of the time span, got {tau!r} for a span of {t1 - t0:g}")
        if tau < 16.0 * np.spacing(max(abs(t0), abs(t1))):
            raise ValueError(f"tau must be above the rounding of the times, got {tau!r} for times up to {t1!r}")
        self.t0, self.t1, self.tau = t0, t1, tau
        self.total = self.steps = max(1, int(np.ceil(ratio * (1.0 - 1e-9))))
        self.last = tau if abs(ratio - self.steps) <= 1e-9 * self.steps else t1 - self._time(self.steps - 1)

    def begin(self) -> Control:
        return Control()

    def reaches(self, position: Position) -> bool:
        control = position.control
        if control.interval > self.steps or control.level > HALVINGS or control.part >= 2**control.level:
            return False
        return position.t == (self.t1 if control.interval == self.steps else self._time_in(control, control.part))

    def meets(self, t: float) -> bool:
        return t == self.t1 or t == self._time(min(self.steps, max(0, round((t - self.t0) / self.tau))))

    def progress(self, position: Position) -> float:
        return position.control.interval

    def advance(self, position: Position, attempt: Attempt) -> list[Move]:
        control = position.control
        while True:
            t1, tau = self._end(control)
            try:
                move = attempt(position, t1, tau)
            except FAILURES as error:
                control = self._halved(control, error, t1)
                continue
            return [Move(move.old, move.new.steered(_next_part(control)), move.infos, move.rows)]

    def _time(self, k: int) -> float:
        return self.t1 if k == self.steps else self.t0 + self.tau * k

    def _time_in(self, control: Control, part: int) -> float:
        """Return the time at which a part of the interval starts."""
        start, end = self._time(control.interval), self._time(control.interval + 1)
        share = part * 0.5**control.level
        return end if share == 1.0 else start + (end - start) * share

    def _end(self, control: Control) -> tuple[float, float]:
        """Return the end and the size of the step."""
        tau = self.last if control.interval == self.steps - 1 else self.tau
        return self._time_in(control, control.part + 1), tau * 0.5**control.level

    def _halved(self, control: Control, error: Exception, until: float) -> Control:
        _require_hope(error, control.level < HALVINGS, until, control.rejected)
        return replace(control, level=control.level + 1, part=2 * control.part, rejected=control.rejected + 1)


def _next_part(control: Control) -> Control:
    """Return the control after a step: the next part, joined with its neighbour where both are left."""
    level, part = control.level, control.part + 1
    while level > 0 and part % 2 == 0:
        level, part = level - 1, part // 2
    whole = level == 0
    return replace(
        control,
        draws=control.draws + 1,
        interval=control.interval + (part if whole else 0),
        level=level,
        part=0 if whole else part,
    )


@final
class AdaptiveSteps(Stepping):
    """Step doubling: two half steps are kept if one whole step ends near them, and the next step follows from the distance.

    The error of the half steps, d(whole, halves)/(2^p - 1) for a scheme of order p, may be at most
    ``atol * tau + rtol * (length of the half steps)``, in the product metric sqrt(sum d_i^2 / speed_i). So the local errors of
    a flow add up to at most ``atol * (t1 - t0) + rtol * (length of the curve)``.
    """

    unit = "t"

    def __init__(self, t0: float, t1: float, rtol: float, atol: float, players: Players, order: int) -> None:
        self.t0, self.t1, self.total = t0, t1, t1 - t0
        self.rtol, self.atol = rtol, atol
        self.players = players
        self.order = order
        self.shortest = SHORTEST * max(abs(t0), abs(t1))

    def begin(self) -> Control:
        return Control(tau=FIRST * self.total)

    def reaches(self, position: Position) -> bool:
        return self.t0 <= position.t <= self.t1 and position.control.tau > 0.0

    def meets(self, t: float) -> bool:
        return t in (self.t0, self.t1)

    def progress(self, position: Position) -> float:
        return position.t - self.t0

    def advance(self, position: Position, attempt: Attempt) -> list[Move]:
        control, blind = position.control, False
        while True:
            rest = self.t1 - position.t
            last = control.tau >= rest * (1.0 - 1e-9)
            tau = rest if last else control.tau
            if tau < self.shortest and not last:
                raise Stopped(Status.stalled, position.t + tau, control.rejected, why=VANISHED)
            if control.lost > PATIENCE:
                raise Stopped(Status.stalled, position.t + tau, control.rejected, why=ROUNDED)
            try:
                first, second, share, hidden = self._pair(position, self.t1 if last else position.t + tau, tau, attempt)
            except FAILURES as error:
                control = self._halved(control, tau, error, position.t + tau)
                continue
            factor = min(GROW, max(SHRINK, SAFETY * max(share, 1e-10) ** (-1.0 / self.order)))
            if share <= 1.0:
                grown = tau * (factor if control.rejected == position.control.rejected else min(factor, 1.0))
                top = control.top if grown < control.top else 0.0
                lost = control.lost + (blind and share == 0.0) if hidden else 0
                control = replace(control, tau=grown, top=top, lost=lost, draws=control.draws + 1)
                return [first, Move(second.old, second.new.steered(control), second.infos, second.rows)]
            control, blind = replace(control, tau=tau * factor, rejected=control.rejected + 1), hidden

    def _pair(self, position: Position, t1: float, tau: float, attempt: Attempt) -> tuple[Move, Move, float, bool]:
        """Return two half steps, their error as a share of what is allowed, and whether rounding hides what is allowed."""
        whole = attempt(position, t1, tau)
        first = attempt(position, position.t + 0.5 * tau, 0.5 * tau)
        second = attempt(first.new, t1, 0.5 * tau)
        sizes = (float(np.max(np.abs(x.coordinates))) for x in second.new.states)
        rounding = ROUNDING * np.sqrt(sum(size**2 / eta for size, eta in zip(sizes, self.players.speeds, strict=True)))
        error = max(self._distance(whole.new.states, second.new.states) - rounding, 0.0) / (2.0**self.order - 1.0)
        allowed = self.atol * tau + self.rtol * sum(self._length(move) for move in (first, second))
        if not np.isfinite(error):
            raise NotFiniteError(f"the error of a step must be finite, got {error}")
        share = 0.0 if error == 0.0 else error / allowed if allowed > 0.0 else float("inf")
        return first, second, share, allowed < BLIND * rounding

    def _halved(self, control: Control, tau: float, error: Exception, until: float) -> Control:
        top = max(control.top, tau)
        _require_hope(error, tau > top * 0.5**HALVINGS, until, control.rejected)
        return replace(control, tau=0.5 * tau, top=top, rejected=control.rejected + 1)

    def _length(self, move: Move) -> float:
        return float(np.sqrt(sum(i.distance**2 / eta for i, eta in zip(move.infos, self.players.speeds, strict=True))))

    def _distance(self, a: States, b: States) -> float:
        """Return the distance of two tuples of states in the product metric, labels kept where the metric has charts."""
        total = 0.0
        for metric, eta, x, y in zip(self.players.metrics, self.players.speeds, a, b, strict=True):
            total += _apart(metric, x, y) ** 2 / eta
        return float(np.sqrt(total))


def _apart(metric: Metric, x: State, y: State) -> float:
    """Return the distance of two ends of a step, labels kept where the metric has charts, to first order on planes of cells."""
    if flows_on_cells(metric, x) and isinstance(x, Histogram) and (x.dim > 1 or x.grid.periodic[0]):
        from measureflow.proximal.cell_distance import near_distance  # numba is loaded at first use

        assert isinstance(y, Histogram)
        return near_distance(x, y)
    try:
        return metric.labelled_distance(x, y)
    except UnsupportedError:
        return metric.distance(x, y)


def stepping(t0: float, t1: float, tau: Any, rtol: Any, atol: Any, players: Players, order: int) -> FixedSteps | AdaptiveSteps:
    """Return the rule that the arguments of `solve` ask for, after checking them."""
    rtol = check.scalar("rtol", rtol, least=0.0)
    atol = check.scalar("atol", atol, least=0.0)
    if isinstance(tau, str):
        if tau != "auto":
            raise ValueError(f"tau must be a positive number or 'auto', got {check.show(tau)}")
        if rtol == atol == 0.0:
            raise ValueError("rtol and atol must not both be 0")
        return AdaptiveSteps(t0, t1, rtol, atol, players, order)
    return FixedSteps(t0, t1, check.scalar("tau", tau, above=0.0))
