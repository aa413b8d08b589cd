"""Run directories: a flow on disk that a kill at any moment leaves readable, and that goes on from its checkpoint bit for bit.

::

    RUN/run.json                what is solved: recipes of all arguments, versions, schema; written last of the beginning
    RUN/inputs.npz              the arrays of run.json
    RUN/segments/00000000.npz   rows: times, states, energies, certificates; at most 64 rows or 64 MiB
    RUN/checkpoint.npz          replaced whole: the position, and the rows after the last segment
    RUN/done.json               how the flow ended
    RUN/lock                    held by the process that writes

A file is written under another name, brought to the disk and renamed, segments before the checkpoint that counts them. So every
file is whole, and a segment that the checkpoint does not count is dropped.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow import npz
from measureflow.files import Lock, from_text, read_text, remove_temporaries, replacing, to_text, write_text
from measureflow.recipes import decode, differences, encode, has_python
from measureflow.recorder import Tally
from measureflow.rows import TABLES, FileRows, Layout, MemoryRows, Row, Rows, States, size, to_arrays
from measureflow.sink import Sink, outcome
from measureflow.status import Outcome, Status
from measureflow.stepping import Control, Position

SCHEMA = 1
FORMAT = "measureflow run"
MOST_ROWS, MOST_BYTES = 64, 64 * 2**20
SHARE, SHORTEST = 0.02, 1.0
"""Between segments a checkpoint is written so rarely that it takes this share of the time, at most once in so many seconds."""

VERIFIED = 256 * 2**20
"""Runs up to this size in bytes are checked whole when they are opened."""

COMPARED = (
    "single",
    "layout",
    "t_span",
    "tau",
    "rtol",
    "atol",
    "scheme",
    "metrics",
    "speeds",
    "batch",
    "seed",
    "save_at",
    "events",
)
Arrays = dict[str, np.ndarray]


@final
class RunFolder:
    """The names in a run directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run.json"
        self.inputs = path / "inputs.npz"
        self.segments = path / "segments"
        self.checkpoint = path / "checkpoint.npz"
        self.done = path / "done.json"
        self.lock = path / "lock"

    def segment(self, k: int) -> Path:
        """Return the path of segment k."""
        return self.segments / f"{k:08d}.npz"

    def require_run_or_room(self) -> None:
        """Raise ValueError if there is neither a run nor room for one: something else than a run killed before run.json."""
        known = {self.inputs.name, self.checkpoint.name, self.segments.name, self.lock.name}
        others = [entry.name for entry in self.path.iterdir() if entry.name not in known and entry.suffix != ".tmp"]
        if not self.run.exists() and (others or any(self.segments.glob("*.npz"))):
            found = ", ".join(sorted(others)[:3]) or "segments without run.json"
            raise ValueError(f"store must be a new or empty folder or a run, got {self.path} with other files in it: {found}")

    def size(self) -> int:
        """Return the number of bytes of all files."""
        return sum(entry.stat().st_size for entry in self.path.rglob("*") if entry.is_file())


def folder(value: Any, name: str) -> RunFolder:
    """Return the run directory that an argument names."""
    path = check.path(name, value)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{name} must be a folder, got the file {path}")
    return RunFolder(path)


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
        sums = {name: zlib.crc32(np.ascontiguousarray(values).tobytes()) for name, values in arrays.items()}
        self._new = {**about, "format": FORMAT, "schema": SCHEMA, "arrays": sums, "rows_per_segment": self.capacity}, arrays
        return run_number(self._new[0])

    def begin(self, position: Position, rows: list[Row]) -> None:
        """Write what is solved, last of all run.json: a folder that has it has a checkpoint."""
        self.folder.segments.mkdir(exist_ok=True)
        self.add(rows)
        if self._new is not None:
            about, arrays = self._new
            with replacing(self.folder.inputs) as file:
                npz.write(file, arrays)
            self.checkpoint(position)
            write_text(self.folder.run, about)

    def ending(self) -> Outcome | None:
        """Return how the run ended; None if it has not."""
        if self._new is not None or not self.folder.done.exists():
            return None
        self.segments = Checkpoint(self.folder, self.run, self.layout).segments
        return read_done(self.folder, self.run)

    def resumed(self) -> Position | None:
        """Return the position of the checkpoint, after dropping what is newer; None if the run is new."""
        self.folder.done.unlink(missing_ok=True)
        if self._new is not None:
            return None
        saved = Checkpoint(self.folder, self.run, self.layout)
        self.segments = saved.segments
        for path in self.folder.segments.glob("*.npz"):
            if path.stem.isdigit() and int(path.stem) >= self.segments:
                path.unlink()
        self.pending.rows.extend(saved.pending())
        return saved.position()

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
        arrays: Arrays = {}
        recipe = encode(_fields(position), arrays)
        if has_python(recipe):
            raise TypeError(f"store cannot keep the memory of the scheme, {check.show(position.memory)}")
        about = {"segments": self.segments, "pending": len(self.pending), "run": self.run, "position": recipe}
        rows = {f"rows.{name}": values for name, values in to_arrays(self.pending.rows).items()} if len(self.pending) else {}
        with replacing(self.folder.checkpoint) as file:
            npz.write(file, {"about": np.frombuffer(to_text(about), dtype=np.uint8), **arrays, **rows})
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


def _fields(position: Position) -> list[Any]:
    """Return a position as a list that recipes can hold."""
    control = list(position.control.__dict__.values())
    tally = list(position.tally.__dict__.values())
    return [position.t, position.states, position.memory, control, tally, position.watched, position.zeros, position.stopped]


@final
class Checkpoint:
    """A checkpoint file, checked."""

    def __init__(self, folder: RunFolder, run: int, layout: Layout) -> None:
        self.archive = npz.Archive(folder.checkpoint, whole=True)
        self.about = from_text(self.archive.read("about").tobytes(), str(folder.checkpoint))
        if self.about["run"] != run:
            raise ValueError(f"{folder.checkpoint} belongs to another run")
        self.layout = layout
        self.segments = check.integer("segments", self.about["segments"], least=0)
        self.rows = FileRows(self.archive, layout, "rows.") if self.about["pending"] else None
        if self.rows is not None and len(self.rows) != self.about["pending"]:
            raise ValueError(f"{folder.checkpoint} must hold {self.about['pending']} rows, got {len(self.rows)}")

    def position(self) -> Position:
        """Return where the flow stood."""
        rows = set() if self.rows is None else self.rows.names()
        arrays = {name: self.archive.read(name) for name in self.archive.members if name != "about" and name not in rows}
        t, states, memory, control, tally, watched, zeros, stopped = decode(self.about["position"], arrays)
        if Layout.of(states) != self.layout:
            raise ValueError(f"{self.archive.path} must hold states as the run does")
        return Position(t, states, memory, Control(*control), Tally(*tally), watched, zeros, stopped)

    def pending(self) -> list[Row]:
        """Return the rows after the last segment."""
        return [] if self.rows is None else in_memory(self.rows)


def _tables(rows: Rows) -> dict[str, np.ndarray]:
    return {"t": rows.times(), **{name: rows.table(name) for name in TABLES}}


def in_memory(rows: Rows) -> list[Row]:
    """Return rows with all that belongs to them."""
    tables = {name: rows.table(name) for name in TABLES}
    times = rows.times()
    return [Row(float(times[k]), rows.states(k), {name: tables[name][k] for name in TABLES}) for k in range(len(rows))]


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

    def states(self, k: int) -> States:
        if k >= self._full:
            return self.tail.states(k - self._full)
        return self._segment(k // self.capacity).states(k % self.capacity)

    def verify(self) -> None:
        """Read and check everything."""
        for k in range(self.segments):
            self._segment(k).verify()
        if isinstance(self.tail, FileRows):
            self.tail.verify()
        self.times()

    def _segment(self, k: int) -> FileRows:
        """Return segment k; the two used last stay open, with the arrays that were read from them."""
        if k not in self._open:
            path = self.folder.segment(k)
            archive = npz.Archive(path)
            rows = FileRows(archive, self.layout)
            numbers = [int(archive.read(name)) for name in ("run", "start") if archive.shape(name) == ()]
            if numbers != [self.run, k * self.capacity] or not archive.members.keys() <= rows.names() | {"run", "start"}:
                raise ValueError(f"{path} is not segment {k} of this run")
            if not 0 < len(rows) <= self.capacity or (k < self.segments - 1 and len(rows) != self.capacity):
                raise ValueError(f"{path} must hold {self.capacity} rows, got {len(rows)}")
            while len(self._open) > 1:
                self._open.pop(next(iter(self._open)))
            self._open[k] = rows
        return self._open[k]


def read_about(folder: RunFolder) -> tuple[dict[str, Any], Arrays]:
    """Return what a run directory says it solves, and the arrays that belong to it."""
    about = read_text(folder.run)
    if about.get("format") != FORMAT or about.get("schema") != SCHEMA:
        raise ValueError(f"{folder.run} must be a {FORMAT} of schema {SCHEMA}, got {about.get('format')} {about.get('schema')}")
    archive = npz.Archive(folder.inputs)
    arrays = {name: archive.read(name) for name in archive.members}
    if {name: zlib.crc32(values.tobytes()) for name, values in arrays.items()} != about["arrays"]:
        raise ValueError(f"{folder.inputs} does not belong to {folder.run}")
    return about, arrays


def run_number(about: Mapping[str, Any]) -> int:
    """Return the number by which the files of a run know each other."""
    return zlib.crc32(to_text(dict(about)))


def _differences(old: dict[str, Any], new: dict[str, Any], old_arrays: Arrays, new_arrays: Arrays) -> list[str]:
    """Return in words where two runs differ; functions of the user's are compared by what the game is at the initial states."""
    lines = []
    for name in ("problem", "initial", *COMPARED):
        lines += differences(name, old.get(name), new.get(name), old_arrays, new_arrays)
    if not lines:
        for name, values in decode_start(old["start"]).items():
            here = decode_start(new["start"])[name]
            if values.shape != here.shape or not np.allclose(values, here, rtol=1e-9, atol=1e-300, equal_nan=True):
                lines.append(f"{name} at the initial states ({values.tolist()} there, {here.tolist()} here)")
    return lines


def decode_start(recipe: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the numbers by which a problem is recognised."""
    return {name: np.array(decode(values, {}), dtype=np.float64) for name, values in recipe.items()}


def read_run(path: Path) -> tuple[dict[str, Any], Arrays, StoredRows, Outcome]:
    """Open a run directory for reading.

    Raises
    ------
    ValueError
        If it is not one, or is damaged.
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
    if home.size() <= VERIFIED:
        saved.archive.verify()
        saved.position()
        rows.verify()
    return about, arrays, rows, _outcome(home, run, saved, about)


def _outcome(home: RunFolder, run: int, saved: Checkpoint, about: dict[str, Any]) -> Outcome:
    """Return how the flow ended: as done.json says, or not yet."""
    if home.done.exists():
        return read_done(home, run)
    position = saved.position()
    text = f"The run is not finished: its last checkpoint is at t = {position.t:.6g}; resume it."
    return outcome(position, Status.INTERRUPTED, text, 0.0, check.instance("scheme", about["scheme_text"], str, "a text"))


def read_done(home: RunFolder, run: int) -> Outcome:
    """Return what done.json says."""
    done = read_text(home.done)
    if done["run"] != run:
        raise ValueError(f"{home.done} belongs to another run")
    return Outcome.from_data(done["outcome"])
