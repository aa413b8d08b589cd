"""Checkpoints: a position, and the rows behind the last segment, in one file."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow import npz
from measureflow.files import from_text, replacing, to_text
from measureflow.recipes import decode, encode, has_python, require_plain
from measureflow.recorder import Tally
from measureflow.rows import PARTS, TABLES, FileRows, Layout, Row, Rows, to_arrays
from measureflow.rundir import Arrays, RunFolder
from measureflow.status import events_from_arrays, events_to_arrays
from measureflow.stepping import Control, Position


def write_checkpoint(home: RunFolder, run: int, segments: int, pending: list[Row], position: Position) -> None:
    """Replace the checkpoint; raises TypeError if the scheme's memory holds what files do not keep."""
    arrays: Arrays = {}
    control, tally = list(position.control.__dict__.values()), list(position.tally.__dict__.values())
    zeros = events_to_arrays(position.zeros)
    parts = (position.t, position.states, position.memory, control, tally, position.watched, zeros, position.stopped)
    recipe = encode(parts, arrays)
    if has_python(recipe):
        raise TypeError(f"store cannot keep the memory of the scheme, {check.show(position.memory)}")
    about = {"segments": segments, "pending": len(pending), "run": run, "position": recipe}
    rows = {f"rows.{name}": values for name, values in to_arrays(pending).items()} if pending else {}
    with replacing(home.checkpoint) as file:
        npz.write(file, {"about": np.frombuffer(to_text(about), dtype=np.uint8), **arrays, **rows})


@final
class Checkpoint:
    """A checkpoint file, checked.

    Raises
    ------
    ValueError, TypeError, KeyError
        If it is not one of this run.
    """

    def __init__(self, home: RunFolder, run: int, layout: Layout) -> None:
        self.archive = npz.Archive(home.checkpoint, whole=True)
        about = from_text(read_bytes(self.archive, "about"), str(home.checkpoint))
        if about["run"] != run:
            raise ValueError(f"{home.checkpoint} belongs to another run")
        self.layout = layout
        self.segments = check.integer("segments", about["segments"], least=0)
        count = check.integer("pending", about["pending"], least=0)
        self.rows = FileRows(self.archive, layout, "rows.") if count else None
        if self.rows is not None and len(self.rows) != count:
            raise ValueError(f"{home.checkpoint} must hold {count} rows, got {len(self.rows)}")
        self.position = self._position(about["position"])

    def pending(self) -> list[Row]:
        """Return the rows behind the last segment."""
        return [] if self.rows is None else in_memory(self.rows)

    def _position(self, recipe: Any) -> Position:
        names = {"about"} | (set() if self.rows is None else self.rows.names())
        used = require_plain(recipe, ("Grid", *PARTS))
        if not used <= self.archive.members.keys() <= used | names:
            raise ValueError(f"{self.archive.path} must hold the arrays of its position and rows, and no others")
        parts = decode(recipe, {name: self.archive.read(name) for name in used})
        t, states, memory, control, tally, watched, zeros, stopped = parts
        if Layout.of(states) != self.layout:
            raise ValueError(f"{self.archive.path} must hold states as the run does")
        return Position(
            check.scalar("t", t),
            states,
            memory,
            _control(control),
            _tally(tally, len(states)),
            tuple(check.scalar("watched", value) for value in check.instance("watched", watched, tuple, "numbers")),
            events_from_arrays(*zeros),
            check.flag("stopped", stopped),
        )


def _control(values: Any) -> Control:
    given = dict(zip(Control.__dataclass_fields__, values, strict=True))
    numbers: Any = {name: check.scalar(name, given.pop(name), least=0.0) for name in ("tau", "top")}
    counts: Any = {name: check.integer(name, value, least=0) for name, value in given.items()}
    return Control(**counts, **numbers)


def _tally(values: Any, players: int) -> Tally:
    given = dict(zip(Tally.__dataclass_fields__, values, strict=True))
    for name in ("steps", "rows", "wanted"):
        check.integer(name, given[name], least=0)
    if given["rows"]:
        check.scalar("last", given["last"])
    elif given["last"] != -np.inf:
        raise ValueError(f"last must be -inf without rows, got {check.show(given['last'])}")
    for name in ("speeds", "distance", "residual", "iterations"):
        kind = np.dtype(np.int64 if name == "iterations" else np.float64)
        if not isinstance(given[name], np.ndarray) or given[name].dtype != kind or given[name].shape != (players,):
            raise ValueError(f"{name} must be {players} numbers of type {kind}, got {check.show(given[name])}")
    texts = check.entries("methods", given["methods"], players, "one text a player")
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise ValueError(f"methods must be texts that print, got {check.show(texts)}")
    return Tally(**given)


def read_bytes(archive: npz.Archive, name: str) -> bytes:
    """Return an array of bytes."""
    values = archive.read(name)
    if values.dtype != np.uint8 or values.ndim != 1:
        raise ValueError(f"{archive.path} must hold bytes as {name}, got {check.show(values)}")
    return values.tobytes()


def in_memory(rows: Rows) -> list[Row]:
    """Return rows with all that belongs to them."""
    tables = {name: rows.table(name) for name in TABLES}
    times, methods = rows.times(), rows.methods()
    return [
        Row(float(times[k]), rows.states(k), {name: tables[name][k] for name in TABLES}, tuple(map(str, methods[k])))
        for k in range(len(rows))
    ]
