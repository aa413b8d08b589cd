"""The time loop: positions follow each other, rows go to memory or to a run directory, and whatever happens is told."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, final

from measureflow.errors import CallbackError, ConvergenceError, FlowInterrupt, MeasureflowError
from measureflow.events import zeros
from measureflow.interrupts import Interrupts
from measureflow.job import Job
from measureflow.progress import Bar
from measureflow.recorder import Recorder
from measureflow.rows import Row, Rows
from measureflow.schemes import Players
from measureflow.sink import Sink, outcome
from measureflow.solution import Solution
from measureflow.status import Outcome, Status
from measureflow.stepping import Move, Position, Stopped


@final
class Loop:
    """Takes a job from a position to its end."""

    def __init__(self, job: Job, sink: Sink, bar: Bar) -> None:
        self.job = job
        self.sink = sink
        self.bar = bar
        self.recorder = Recorder(job.players, job.keep)
        self.started = time.process_time()
        self.interrupts = Interrupts()
        self.here: Position
        self.until = job.steps.t0

    def run(self, position: Position | None, throw: bool) -> Solution:
        """Step to the end; failures are raised with the flow so far, or returned with it if not `throw`."""
        failure: MeasureflowError | FlowInterrupt | None
        self.here = self._begin() if position is None else position
        try:
            with self.interrupts:
                while not self.here.stopped and self.here.t < self.job.steps.t1 and not self.interrupts.pending:
                    self._advance()
                    self.bar.show(self.job.steps.progress(self.here))
                solution, failure = self._ended()
        except Stopped as stop:
            solution, failure = self._stopped(self.here, stop)
        except BaseException as error:
            self._leave(self.here, error)
            raise
        if failure is None or not throw:
            return solution
        failure.solution, failure.status, failure.time = solution, solution.status, solution.outcome.t
        raise failure from failure.__cause__

    def _begin(self) -> Position:
        job = self.job
        rows, tally = self.recorder.start(job.steps.t0, job.initial)
        watched = tuple(event(job.steps.t0, job.shown(job.initial)) for event in job.events)
        memory = job.scheme.init(job.players, job.initial)
        position = Position(job.steps.t0, job.initial, memory, job.steps.begin(), tally, watched)
        self.sink.begin(position, rows)
        return position

    def _advance(self) -> None:
        """Take the next step and keep its rows; the position moves on first, so that no failure keeps them twice."""
        self.interrupts.inside = True
        try:
            rows, position = self._watched(self.here, self.job.steps.advance(self.here, self._attempt))
        finally:
            self.interrupts.inside = False
        self.here = position
        if self.sink.add(rows) or self.sink.due():
            self.sink.checkpoint(position)

    def _attempt(self, position: Position, t1: float, tau: float) -> Move:
        """Take one step; raises what the scheme, or the rows that fall into the step, raise."""
        job, players = self.job, self.job.players
        self.until = t1
        if job.batches is not None:
            players = Players(job.batches(position.control.draws), players.metrics, players.speeds)
        new, memory, infos = job.scheme.step(players, position.states, position.memory, tau)
        rows, tally = self.recorder.step(position.tally, position.t, t1, position.states, new, infos)
        here = Position(t1, new, memory, position.control, tally, position.watched, position.zeros)
        return Move(position, here, infos, tuple(rows))

    def _watched(self, position: Position, moves: list[Move]) -> tuple[list[Row], Position]:
        """Return the rows of the moves and the position behind them, cut at the first terminal event."""
        rows: list[Row] = []
        if not self.job.events:
            return [row for move in moves for row in move.rows], moves[-1].new
        watched, found = position.watched, position.zeros
        for move in moves:
            watched, times, stop = self._zeros(move, watched)
            found += times
            if stop is not None:
                old, new = move.old, move.new
                cut, tally, states = self.recorder.stop(old.tally, old.t, new.t, old.states, new.states, move.infos, stop)
                return rows + cut, replace(new, t=stop, states=states, tally=tally, watched=watched, zeros=found, stopped=True)
            rows += move.rows
        return rows, replace(moves[-1].new, watched=watched, zeros=found)

    def _zeros(
        self, move: Move, values: tuple[float, ...]
    ) -> tuple[tuple[float, ...], tuple[tuple[int, float], ...], float | None]:
        """Return the events' values after a move, their zeros in it, and the time of the first terminal one."""
        old, new = move.old, move.new

        def path(t: float) -> Any:
            return self.job.shown(self.recorder.between(old.t, new.t, old.states, new.states, t))

        found, after = [], []
        for k, (event, value) in enumerate(zip(self.job.events, values, strict=True)):
            times, value = zeros(event, path, old.t, new.t, value)
            found += [(t, k) for t in times]
            after.append(value)
        stop = min((t for t, k in found if self.job.events[k].terminal), default=None)
        kept = tuple((k, t) for t, k in sorted(found) if stop is None or t <= stop)
        return tuple(after), kept, stop

    def _ended(self) -> tuple[Solution, FlowInterrupt | None]:
        """Return the flow at its last time, at an event, or after Ctrl-C; Ctrl-C during the last writing is not lost either."""
        here = self.here
        status = Status.event if here.stopped else Status.done if here.t >= self.job.steps.t1 else Status.interrupted
        text = f"The flow reached the last time t = {here.t:.6g}."
        if status is Status.event:
            text = f"Event {here.zeros[-1][0]} stopped the flow at t = {here.t:.6g}."
        elif status is Status.interrupted:
            text = f"Ctrl-C ended the flow at t = {here.t:.6g}."
        else:
            rows, tally = self.recorder.end(here.tally, here.t, here.states)
            self.here = replace(here, tally=tally)
            self.sink.add(rows)
        ending = self._finish(self.here, status, text)
        solution = self._unfinished(here, ending) if status is Status.interrupted else self._solution(self.sink.rows(), ending)
        return solution, FlowInterrupt(text) if self.interrupts.pending else None

    def _stopped(self, position: Position, stop: Stopped) -> tuple[Solution, MeasureflowError]:
        """Return the flow up to a step that could not be taken, and the exception that says why."""
        error = stop.error
        player = getattr(error, "player", None)
        who = f", player {player}" if player is not None and not self.job.single else ""
        text = f"in the step {_interval(position.t, stop.until)}{who}: {stop.why}"
        failure = _failure(error, text)
        failure.player, failure.__cause__ = player, error
        ending = self._finish(position, stop.status, f"Stopped {text}", stop.rejected)
        return self._unfinished(position, ending), failure

    def _leave(self, position: Position, error: Any) -> None:
        """Keep what was computed when the user's code, or the disk, fails: on disk and in the exception."""
        with suppress(Exception):  # what is raised below tells more than a second failure
            self.sink.checkpoint(position)
        where = f"in the step {_interval(position.t, self.until)}"
        if isinstance(error, MeasureflowError):
            error.args = (f"{where}: {error}", *error.args[1:])
        ending = outcome(
            position, Status.interrupted, f"{type(error).__name__} {where}: {error}", self._seconds(), repr(self.job.scheme)
        )
        with suppress(AttributeError):  # an exception of the user's may refuse attributes
            error.solution, error.status, error.time = self._unfinished(position, ending), ending.status, position.t
            error.add_note(f"The flow up to t = {position.t:.6g} is the attribute `solution` of this exception.")

    def _finish(self, position: Position, status: Status, text: str, rejected: int | None = None) -> Outcome:
        ending = outcome(position, status, text, self._seconds(), repr(self.job.scheme), rejected)
        self.sink.finish(position, ending)
        return ending

    def _unfinished(self, position: Position, ending: Outcome) -> Solution:
        """Return the flow so far; a last row that strides have not kept is added if it can be evaluated."""
        try:
            extra, _ = self.recorder.end(position.tally, position.t, position.states)
        except Exception:
            extra = []
        return self._solution(self.sink.rows(extra), ending)

    def _solution(self, rows: Rows, ending: Outcome) -> Solution:
        return Solution(rows, self.job.players, self.job.scheme, self.job.single, ending)

    def _seconds(self) -> float:
        return time.process_time() - self.started


def _failure(error: Exception | None, text: str) -> MeasureflowError:
    """Return the exception for a step that could not be taken."""
    if isinstance(error, ConvergenceError):
        return ConvergenceError(text, error.residual, error.tolerance)
    return type(error)(text) if isinstance(error, CallbackError) else ConvergenceError(text)


def _interval(t0: float, t1: float) -> str:
    """Return an interval of time in as many digits as tell its ends apart."""
    texts = ((f"{t0:.{digits}g}", f"{t1:.{digits}g}") for digits in range(6, 18))
    first, last = next((pair for pair in texts if pair[0] != pair[1]), (f"{t0:g}", f"{t1:g}"))
    return f"from t = {first} to {last}"
