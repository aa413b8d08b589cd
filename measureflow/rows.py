"""The rows of a flow - times, states, and tables of what the steps did - in memory or in a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.errors import UnsupportedError
from measureflow.npz import Archive
from measureflow.schemes import States
from measureflow.states import Field, Gaussian, Grid, Histogram, Particles, Quantiles, Vector

TABLES = ("energies", "speeds", "slopes", "distance", "residual", "iterations")
PARTS: dict[str, tuple[str, ...]] = {
    "Particles": ("points", "weights"),
    "Quantiles": ("values",),
    "Histogram": ("masses",),
    "Gaussian": ("mean", "cov"),
    "Vector": ("values",),
    "Field": ("values",),
}
"""The arrays of each kind of state, by the names of its attributes."""

KINDS: dict[str, type] = {kind.__name__: kind for kind in (Particles, Quantiles, Histogram, Gaussian, Vector, Field)}


@final
@dataclass(frozen=True, eq=False)
class Row:
    """What is kept of one time; each table has one number a player, `methods` one text a player (or none at all)."""

    t: float
    states: States
    tables: dict[str, np.ndarray]
    methods: tuple[str, ...] = ()


class Rows(ABC):
    """Rows in order of time."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def times(self) -> np.ndarray:
        """Return the times, shape (rows,)."""

    @abstractmethod
    def table(self, name: str) -> np.ndarray:
        """Return a table of `TABLES`, shape (rows, players)."""

    @abstractmethod
    def methods(self) -> np.ndarray:
        """Return the methods of the steps as texts, shape (rows, players)."""

    @abstractmethod
    def states(self, k: int) -> States:
        """Return the states of row k, 0 <= k < rows."""


@final
@dataclass(frozen=True, eq=False)
class MemoryRows(Rows):
    """Rows in memory."""

    players: int
    rows: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def times(self) -> np.ndarray:
        return np.array([row.t for row in self.rows], dtype=np.float64)

    def table(self, name: str) -> np.ndarray:
        kind = np.int64 if name == "iterations" else np.float64
        return np.array([row.tables[name] for row in self.rows], dtype=kind).reshape(len(self.rows), self.players)

    def methods(self) -> np.ndarray:
        texts = [row.methods or ("",) * self.players for row in self.rows]
        return np.array(texts, dtype=np.str_).reshape(len(self.rows), self.players)

    def states(self, k: int) -> States:
        return self.rows[k].states


@final
@dataclass(frozen=True)
class Layout:
    """What the states of a flow are: for each player the kind and, where there is one, the grid."""

    kinds: tuple[str, ...]
    grids: tuple[Grid | None, ...]

    @staticmethod
    def of(states: States) -> Layout:
        """Return the layout of given states; raises UnsupportedError for kinds that files do not keep."""
        for state in states:
            if type(state) is not KINDS.get(type(state).__name__):
                raise UnsupportedError(f"files keep states of the kinds {', '.join(PARTS)}, got {type(state).__name__}")
        return Layout(tuple(type(x).__name__ for x in states), tuple(getattr(x, "grid", None) for x in states))

    def data(self) -> list[Any]:
        """Return the layout as plain data."""
        return [{"kind": kind, "grid": _grid_data(grid)} for kind, grid in zip(self.kinds, self.grids, strict=True)]

    @staticmethod
    def from_data(data: Any) -> Layout:
        """Return the layout from plain data, checked."""
        players = check.entries("players", data, None, "a kind and a grid each")
        kinds = tuple(check.choice("kind", player["kind"], tuple(PARTS)) for player in players)
        grids = tuple(None if player["grid"] is None else Grid(**player["grid"]) for player in players)
        if any((grid is None) == (kind in ("Histogram", "Field")) for kind, grid in zip(kinds, grids, strict=True)):
            raise ValueError(f"grid must be there for Histogram and Field, and for no other kind, got {data}")
        return Layout(kinds, grids)


def _grid_data(grid: Grid | None) -> dict[str, Any] | None:
    """Return a grid as it is after a way through JSON."""
    if grid is None:
        return None
    return {"bounds": [list(pair) for pair in grid.bounds], "shape": list(grid.shape), "periodic": list(grid.periodic)}


def to_arrays(rows: Sequence[Row]) -> dict[str, Any]:
    """Return rows, one or more, as named arrays; equal weights of atoms are left out."""
    arrays: dict[str, Any] = {"t": np.array([row.t for row in rows], dtype=np.float64)}
    for name in TABLES:
        arrays[name] = np.array([row.tables[name] for row in rows], dtype=np.int64 if name == "iterations" else np.float64)
    texts = [[text.encode() for text in row.methods or ("",) * len(row.states)] for row in rows]
    width = max(len(text) for line in texts for text in line)
    if width:
        joined = b"".join(text.ljust(width, b"\0") for line in texts for text in line)
        arrays["methods"] = np.frombuffer(joined, dtype=np.uint8).reshape(len(rows), len(texts[0]), width)
    for player, state in enumerate(rows[0].states):
        for part in PARTS[type(state).__name__]:
            column = [getattr(row.states[player], part) for row in rows]
            if part != "weights" or not all(np.all(weights == 1.0 / len(weights)) for weights in column):
                arrays[f"player{player}.{part}"] = column
    return arrays


def size(states: States) -> int:
    """Return the number of bytes that the states of one row take in a file."""
    return sum(getattr(x, part).nbytes for x in states for part in PARTS[type(x).__name__])


@final
class FileRows(Rows):
    """Rows in a file that `to_arrays` described; arrays are read, and checked, when they are asked for.

    Raises
    ------
    ValueError
        If the file's arrays are not those of rows of this layout.
    """

    def __init__(self, archive: Archive, layout: Layout, prefix: str = "") -> None:
        self.archive = archive
        self.layout = layout
        self.prefix = prefix
        self.count = archive.shape(f"{prefix}t")[0] if archive.shape(f"{prefix}t") else 0
        for name in TABLES:
            self._require(name, (self.count, len(layout.kinds)))

    def names(self) -> set[str]:
        """Return the names of the arrays that these rows may take."""
        parts = {f"player{p}.{part}" for p, kind in enumerate(self.layout.kinds) for part in PARTS[kind]}
        return {self.prefix + name for name in {"t", "methods", *TABLES} | parts}

    def __len__(self) -> int:
        return self.count

    def times(self) -> np.ndarray:
        t = check.array("t", self._read("t"), shape=(self.count,))
        if np.any(np.diff(t) <= 0.0):
            raise ValueError(f"{self.archive.path} must hold increasing times")
        return t

    def table(self, name: str) -> np.ndarray:
        return self._read(name, "<i8" if name == "iterations" else "<f8")

    def methods(self) -> np.ndarray:
        players = len(self.layout.kinds)
        if f"{self.prefix}methods" not in self.archive:
            return np.full((self.count, players), "")
        codes = self._read("methods", "|u1")
        if codes.ndim != 3 or codes.shape[:2] != (self.count, players):
            raise ValueError(f"{self.archive.path} must hold methods of {self.count} rows, got shape {codes.shape}")
        texts = [[bytes(code).rstrip(b"\0").decode() for code in line] for line in codes]
        if not all(text.isprintable() for line in texts for text in line):
            raise ValueError(f"{self.archive.path} must hold methods as texts that print")
        return np.array(texts, dtype=np.str_).reshape(self.count, players)

    def states(self, k: int) -> States:
        return tuple(
            KINDS[kind](**{part: values[k] for part, values in parts.items()}, **({} if grid is None else {"grid": grid}))
            for kind, grid, parts in zip(self.layout.kinds, self.layout.grids, self._parts, strict=True)
        )

    def verify(self, states: bool) -> None:
        """Check every array and, if wanted, every state."""
        self.times()
        for name in TABLES:
            self.table(name)
        self.methods()
        for k in range(self.count if states else min(self.count, 1)):
            self.states(k)

    @cached_property
    def _parts(self) -> list[dict[str, np.ndarray]]:
        """The arrays of every player's states, by their names."""
        players = []
        for player, kind in enumerate(self.layout.kinds):
            names = [part for part in PARTS[kind] if part != "weights" or f"{self.prefix}player{player}.weights" in self.archive]
            players.append({part: self._read(f"player{player}.{part}") for part in names})
            for part, values in players[-1].items():
                if values.shape[:1] != (self.count,) or (part == "cov" and values.ndim != 3):
                    raise ValueError(f"{self.archive.path} must hold {self.count} rows of {part}, got shape {values.shape}")
        return players

    def _read(self, name: str, kind: str = "<f8") -> np.ndarray:
        values = self.archive.read(self.prefix + name)
        if values.dtype.str != kind:
            raise ValueError(f"{self.archive.path} must hold {name} of type {kind}, got {values.dtype.str}")
        return values

    def _require(self, name: str, shape: tuple[int, ...]) -> None:
        found = self.archive.shape(self.prefix + name)
        if found != shape:
            raise ValueError(f"{self.archive.path} must hold {name} of shape {shape}, got {found}")


@final
class StateList(Sequence[Any]):
    """The states of all rows, read from their file when they are asked for; indexed and sliced like a list."""

    def __init__(self, rows: Rows, single: bool) -> None:
        self.rows = rows
        self.single = single

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        k = check.integer("index", index)
        if not -len(self) <= k < len(self):
            raise IndexError(f"index must be in [{-len(self)}, {len(self) - 1}], got {k}")
        states = self.rows.states(k % len(self))
        return states[0] if self.single else states

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} rows of states, read when asked for>"
