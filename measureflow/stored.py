"""Reading run directories: rows when they are asked for, and how the flow ended."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow import npz
from measureflow.checkpoint import Checkpoint
from measureflow.files import read_text
from measureflow.rows import TABLES, FileRows, Layout, MemoryRows, Rows
from measureflow.rundir import Arrays, RunFolder, read_about, run_number
from measureflow.schemes import States
from measureflow.sink import outcome
from measureflow.status import Outcome, Status

VERIFIED, VERIFIED_ROWS = 256 * 2**20, 10_000
"""Runs up to this size in bytes are read whole when they are opened, and the states of runs up to so many rows made."""


@final
class StoredRows(Rows):
    """The rows of a run directory: those in segments are read when they are asked for."""

    def __init__(self, folder: RunFolder, run: int, layout: Layout, capacity: int, segments: int, tail: Rows) -> None:
        self.folder = folder
        self.run = run
        self.layout = layout
        self.capacity = capacity
        self.segments = segments
        self.tail = tail
        self._open: dict[int, FileRows] = {}

    @cached_property
    def _full(self) -> int:
        """Number of rows in segments: all but the last hold as many as a segment can."""
        return (self.segments - 1) * self.capacity + len(self._segment(self.segments - 1)) if self.segments else 0

    def __len__(self) -> int:
        return self._full + len(self.tail)

    def times(self) -> np.ndarray:
        t = self._tables["t"]
        if np.any(np.diff(t) <= 0.0):
            raise ValueError(f"{self.folder.path} must hold increasing times")
        return t

    def table(self, name: str) -> np.ndarray:
        return self._tables[name]

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        """Times and tables of all rows, which are small: read in one go."""
        read = [_tables(self._segment(k)) for k in range(self.segments)]
        if len(self.tail) or not read:
            read.append(_tables(self.tail))
        return {name: np.concatenate([tables[name] for tables in read]) for name in ("t", *TABLES)}

    def methods(self) -> np.ndarray:
        parts = [self._segment(k).methods() for k in range(self.segments)]
        return np.concatenate([*parts, self.tail.methods()])

    def states(self, k: int) -> States:
        if k >= self._full:
            return self.tail.states(k - self._full)
        return self._segment(k // self.capacity).states(k % self.capacity)

    def verify(self) -> None:
        """Read and check everything."""
        states = len(self) <= VERIFIED_ROWS
        for k in range(self.segments):
            self._segment(k).verify(states)
        if isinstance(self.tail, FileRows):
            self.tail.verify(states)
        self.times()

    def _segment(self, k: int) -> FileRows:
        """Return segment k; the two used last stay open, with the arrays that were read from them."""
        if k not in self._open:
            path = self.folder.segment(k)
            archive = npz.Archive(path)
            rows = FileRows(archive, self.layout)
            found = [archive.read(name) for name in ("run", "start")]
            numbers = [int(number) for number in found if number.shape == () and number.dtype == np.int64]
            if numbers != [self.run, k * self.capacity] or not archive.members.keys() <= rows.names() | {"run", "start"}:
                raise ValueError(f"{path} is not segment {k} of this run")
            if not 0 < len(rows) <= self.capacity or (k < self.segments - 1 and len(rows) != self.capacity):
                raise ValueError(f"{path} must hold {self.capacity} rows, got {len(rows)}")
            while len(self._open) > 1:
                self._open.pop(next(iter(self._open)))
            self._open[k] = rows
        return self._open[k]


def _tables(rows: Rows) -> dict[str, np.ndarray]:
    return {"t": rows.times(), **{name: rows.table(name) for name in TABLES}}


def read_run(path: Path) -> tuple[dict[str, Any], Arrays, StoredRows, Outcome]:
    """Open a run directory for reading.

    Raises
    ------
    ValueError
        If it is not one, or is damaged; TypeError, KeyError and others if it is crafted.
    OSError
        If it cannot be read.
    """
    home = RunFolder(path)
    if not home.run.exists():
        raise ValueError(f"path must be a run directory or a .npz file of Solution.save, got the folder {path} without run.json")
    about, arrays = read_about(home)
    run, layout = run_number(about), Layout.from_data(about["layout"])
    saved = Checkpoint(home, run, layout)
    tail: Rows = MemoryRows(len(layout.kinds)) if saved.rows is None else saved.rows
    rows = StoredRows(home, run, layout, check.integer("rows", about["rows_per_segment"], least=1), saved.segments, tail)
    if len(rows) != saved.position.tally.rows:
        raise ValueError(
            f"{home.path} must hold the {saved.position.tally.rows} rows that its checkpoint counts, got {len(rows)}"
        )
    if home.size() <= VERIFIED:
        rows.verify()
    return about, arrays, rows, _outcome(home, run, saved, about)


def _outcome(home: RunFolder, run: int, saved: Checkpoint, about: dict[str, Any]) -> Outcome:
    """Return how the flow ended: as done.json says, or not yet."""
    if home.done.exists():
        return read_done(home, run, saved)
    text = f"The run is not finished: its last checkpoint is at t = {saved.position.t:.6g}; resume it."
    return outcome(saved.position, Status.interrupted, text, 0.0, check.instance("scheme", about["scheme_text"], str, "a text"))


def read_done(home: RunFolder, run: int, saved: Checkpoint) -> Outcome:
    """Return what done.json says, which must go with the checkpoint."""
    done = read_text(home.done)
    if done["run"] != run:
        raise ValueError(f"{home.done} belongs to another run")
    ending = Outcome.from_data(done["outcome"], saved.position.zeros)
    if (ending.t, ending.steps) != (saved.position.t, saved.position.tally.steps):
        raise ValueError(f"{home.done} does not go with {home.checkpoint}")
    return ending
