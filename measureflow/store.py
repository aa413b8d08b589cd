"""Writing run directories while a flow is computed, and going on with them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow import npz
from measureflow.checkpoint import Checkpoint, write_checkpoint
from measureflow.files import Lock, remove_temporaries, replacing, write_text
from measureflow.recipes import decode, differences
from measureflow.rows import Layout, MemoryRows, Row, size, to_arrays
from measureflow.rundir import FORMAT, SCHEMA, Arrays, checksums, folder, read_about, run_number
from measureflow.schemes import States
from measureflow.sink import Sink
from measureflow.status import Outcome
from measureflow.stepping import Position
from measureflow.stored import StoredRows, read_done

MOST_ROWS, MOST_BYTES = 64, 64 * 2**20
SHARE, SHORTEST = 0.02, 1.0
"""Between segments a checkpoint is written so rarely that it takes this share of the time, at most once in so many seconds."""

NOT_COMPARED = {"start", "scheme_text", "versions", "platform"}


@final
class Store(Sink):
    """A run directory that a flow writes to; holds its lock until `close`.

    Parameters
    ----------
    store : str or Path
        New or empty, or a run of the same problem.
    about : dict
        What is solved, plain data.
    arrays : dict
        The arrays of `about`.
    states : tuple of State
        The initial states.

    Raises
    ------
    RunLockedError
        If another process writes to it.
    ValueError
        If it holds the run of another problem, or something else.
    OSError
        If it cannot be written.
    """

    def __init__(self, store: Any, about: dict[str, Any], arrays: Arrays, states: States) -> None:
        self.folder = folder(store, "store")
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self.folder.require_run_or_room()
        self.guard = Lock(self.folder.lock)
        try:
            self.capacity = int(min(MOST_ROWS, max(1, MOST_BYTES // max(1, size(states)))))  # a run that is there keeps its own
            self.layout = Layout.of(states)
            self.pending = MemoryRows(len(states))
            self.segments = 0
            self._new: tuple[dict[str, Any], Arrays] | None = None
            self.run = self._enter(about, arrays)
            self._next = time.monotonic() + SHORTEST
        except BaseException:
            self.guard.release()
            raise

    def _enter(self, about: dict[str, Any], arrays: Arrays) -> int:
        """Compare with the run that is there, or begin one; return its number."""
        remove_temporaries(self.folder.path)
        if self.folder.segments.is_dir():
            remove_temporaries(self.folder.segments)
        if self.folder.run.exists():
            found, found_arrays = read_about(self.folder)
            differ = _differences(found, about, found_arrays, arrays)
            if differ:
                raise ValueError(f"store {self.folder.path} holds the run of another problem; these differ: {'; '.join(differ)}")
            self.capacity = check.integer("rows_per_segment", found["rows_per_segment"], least=1)
            return run_number(found)
        self.folder.require_run_or_room()
        known = {"format": FORMAT, "schema": SCHEMA, "arrays": checksums(arrays), "rows_per_segment": self.capacity}
        self._new = {**about, **known}, arrays
        return run_number(self._new[0])

    def begin(self, position: Position, rows: list[Row]) -> None:
        """Write what is solved, last of all run.json: a folder that has it has a checkpoint."""
        self.folder.segments.mkdir(exist_ok=True)
        self.add(rows)
        assert self._new is not None
        about, arrays = self._new
        with replacing(self.folder.inputs) as file:
            npz.write(file, arrays)
        self.checkpoint(position)
        write_text(self.folder.run, about)

    def ending(self) -> Outcome | None:
        """Return how the run ended; None if it has not."""
        if self._new is not None or not self.folder.done.exists():
            return None
        saved = Checkpoint(self.folder, self.run, self.layout)
        self.segments = saved.segments
        return read_done(self.folder, self.run, saved)

    def resumed(self) -> Position | None:
        """Return the position of the checkpoint, after dropping what is newer; None if the run is new."""
        self.folder.done.unlink(missing_ok=True)
        if self._new is not None:
            return None
        saved = Checkpoint(self.folder, self.run, self.layout)
        self.segments = saved.segments
        for k, path in self.folder.written_segments().items():
            if k >= self.segments:
                path.unlink()
        self.pending.rows.extend(saved.pending())
        return saved.position

    def add(self, rows: list[Row]) -> bool:
        """Take rows; return whether a segment was written, so that a checkpoint is due."""
        self.pending.rows.extend(rows)
        wrote = False
        while len(self.pending) >= self.capacity:
            self._flush(self.capacity)
            wrote = True
        return wrote

    def due(self) -> bool:
        """Return whether it is time for a checkpoint."""
        return time.monotonic() >= self._next

    def checkpoint(self, position: Position) -> None:
        """Replace the checkpoint."""
        started = time.monotonic()
        write_checkpoint(self.folder, self.run, self.segments, self.pending.rows, position)
        now = time.monotonic()
        self._next = now + max(SHORTEST, (now - started) / SHARE)

    def finish(self, position: Position, ending: Outcome) -> None:
        """Write the last rows, the last checkpoint, and how the flow ended."""
        if ending.status.success and len(self.pending):
            self._flush(len(self.pending))
        self.checkpoint(position)
        write_text(self.folder.done, {"run": self.run, "outcome": ending.data()})

    def rows(self, extra: Sequence[Row] = ()) -> StoredRows:
        """Return all rows, those in segments read when asked for."""
        tail = MemoryRows(self.pending.players, [*self.pending.rows, *extra])
        return StoredRows(self.folder, self.run, self.layout, self.capacity, self.segments, tail)

    def close(self) -> None:
        """Let others in."""
        self.guard.release()

    def _flush(self, count: int) -> None:
        arrays = to_arrays(self.pending.rows[:count])
        numbers = {"run": np.array(self.run), "start": np.array(self.segments * self.capacity)}
        with replacing(self.folder.segment(self.segments)) as file:
            npz.write(file, {**numbers, **arrays})
        del self.pending.rows[:count]
        self.segments += 1


def _differences(old: dict[str, Any], new: dict[str, Any], old_arrays: Arrays, new_arrays: Arrays) -> list[str]:
    """Return in words where two runs differ; functions of the user's are compared by what the game is at the initial states."""
    lines = []
    for name in (name for name in new if name not in NOT_COMPARED):
        lines += differences(name, old.get(name), new.get(name), old_arrays, new_arrays)
    for name in () if lines else old["start"]:
        there, here = (np.array(decode(about["start"][name], {}), dtype=np.float64) for about in (old, new))
        if there.shape != here.shape or not np.allclose(there, here, rtol=1e-9, atol=1e-300, equal_nan=True):
            lines.append(f"{name} at the initial states ({there.tolist()} there, {here.tolist()} here)")
    return lines
