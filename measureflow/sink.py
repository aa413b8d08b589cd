"""Where the rows of a flow go while it is computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

from measureflow.rows import MemoryRows, Row, Rows
from measureflow.status import Outcome, Status, one_line
from measureflow.stepping import Position


def outcome(
    position: Position, status: Status, message: str, seconds: float, scheme: str, rejected: int | None = None
) -> Outcome:
    """Return how a flow ended at a position; `rejected` counts steps that were given up after it too."""
    given_up = position.control.rejected if rejected is None else rejected
    message, scheme = one_line(message), one_line(scheme)
    return Outcome(status, message, position.t, position.tally.steps, given_up, position.zeros, seconds, scheme)


class Sink(ABC):
    """Where rows go."""

    @abstractmethod
    def begin(self, position: Position, rows: list[Row]) -> None:
        """Take the first position and its rows."""

    @abstractmethod
    def add(self, rows: list[Row]) -> bool:
        """Take rows; return whether a checkpoint should follow."""

    @abstractmethod
    def due(self) -> bool:
        """Return whether it is time for a checkpoint."""

    @abstractmethod
    def checkpoint(self, position: Position) -> None:
        """Keep a position, so that the flow can go on from it."""

    @abstractmethod
    def finish(self, position: Position, ending: Outcome) -> None:
        """Keep the end."""

    @abstractmethod
    def rows(self, extra: Sequence[Row] = ()) -> Rows:
        """Return all rows, and `extra` ones that are not kept."""


@final
class Memory(Sink):
    """Rows in memory, gone with the process."""

    def __init__(self, players: int) -> None:
        self._rows = MemoryRows(players)

    def begin(self, position: Position, rows: list[Row]) -> None:
        self.add(rows)

    def add(self, rows: list[Row]) -> bool:
        self._rows.rows.extend(rows)
        return False

    def due(self) -> bool:
        return False

    def checkpoint(self, position: Position) -> None:
        return

    def finish(self, position: Position, ending: Outcome) -> None:
        return

    def rows(self, extra: Sequence[Row] = ()) -> MemoryRows:
        return MemoryRows(self._rows.players, [*self._rows.rows, *extra])
