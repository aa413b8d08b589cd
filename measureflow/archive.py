"""Solutions as one .npz file: plain arrays and one JSON text, no code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.metrics import Euclidean, Metric, Sobolev, Wasserstein
from measureflow.states import Field, Gaussian, Grid, Histogram, Particles, Quantiles, State, Vector

if TYPE_CHECKING:
    from measureflow.solution import Solution

SCHEMA = 1
TABLES = ("energies", "speeds", "slopes")
INFO_TABLES = ("distance", "residual", "iterations")
MAKERS: dict[str, Any] = {
    "Particles": lambda z, weights, grid: Particles(z, weights),
    "Quantiles": lambda z, weights, grid: Quantiles(z),
    "Gaussian": lambda z, weights, grid: Gaussian(z[0], z[1:]),
    "Vector": lambda z, weights, grid: Vector(z),
    "Histogram": lambda z, weights, grid: Histogram(z, grid),
    "Field": lambda z, weights, grid: Field(z, grid),
}


@final
@dataclass(frozen=True, eq=False)
class Seats:
    """The players of a loaded solution: their metrics and speeds, without the game."""

    metrics: tuple[Metric, ...]
    speeds: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.metrics)


def save(sol: Solution, path: str | Path) -> Path:
    """Write a solution to a .npz file, atomically: a temporary file in the same folder is renamed at the end."""
    target = check.path("path", path, ".npz")
    rows = [sol.row(k) for k in range(len(sol.t))]
    if not rows:
        raise ValueError("a solution must have one row or more to be saved, got none")
    arrays: dict[str, Any] = {"t": sol.t}
    for name in TABLES:
        arrays[name] = getattr(sol, name)
    for name in INFO_TABLES:
        arrays[name] = sol.info[name]
    kinds = []
    for player in range(len(sol.players)):
        column = [row[player] for row in rows]
        arrays[f"player{player}"] = np.stack([x.coordinates for x in column])
        if isinstance(column[0], Particles):
            arrays[f"weights{player}"] = column[0].weights
        kinds.append({"kind": type(column[0]).__name__, "grid": _grid_data(column[0])})
    header = {
        "schema": SCHEMA,
        "single": sol.single,
        "players": kinds,
        "metrics": [_metric_data(m) for m in sol.players.metrics],
        "speeds": list(sol.players.speeds),
        "info": {name: sol.info[name] for name in ("events", "status", "steps", "cpu_seconds", "scheme")},
    }
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def read(path: str | Path) -> dict[str, Any]:
    """Return the arguments of a `Solution` from a file that `save` wrote, and its slopes."""
    source = check.path("path", path)
    try:
        with open(source, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(bytes(arrays["header"]).decode())
        if header["schema"] != SCHEMA:
            raise ValueError(f"schema {header['schema']} is not {SCHEMA}")
        return _rebuild(header, arrays)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"path must be a file that Solution.save wrote, got {source}: {error}") from error


def _rebuild(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    columns = []
    for player, data in enumerate(header["players"]):
        grid = None if data["grid"] is None else Grid(**data["grid"])
        make, weights = MAKERS[data["kind"]], arrays.get(f"weights{player}")
        columns.append([make(z, weights, grid) for z in arrays[f"player{player}"]])
    seats = Seats(tuple(_metric(m) for m in header["metrics"]), tuple(header["speeds"]))
    info = {**{name: arrays[name] for name in INFO_TABLES}, **header["info"]}
    info["events"] = [tuple(event) for event in info["events"]]
    rows = columns[0] if header["single"] else list(zip(*columns, strict=True))
    shape = (len(rows),) if header["single"] else (len(rows), len(columns))
    tables = {"t": _times(arrays["t"], len(rows)), **{name: _table(name, arrays[name], shape) for name in TABLES}}
    for name in INFO_TABLES:
        _table(name, arrays[name], shape)
    return {**tables, "states": rows, "info": info, "players": seats, "scheme": None, "single": header["single"]}


def _times(t: np.ndarray, rows: int) -> np.ndarray:
    times = check.array("t", t, shape=(rows,))
    if np.any(np.diff(times) <= 0.0):
        raise ValueError("t must be increasing")
    return times


def _table(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a table of numbers, which may be infinite or NaN, after checking its shape."""
    if values.dtype.kind not in "fi" or values.shape != shape:
        raise ValueError(f"{name} must be numbers of shape {shape}, got {check.show(values)}")
    return values


def _grid_data(state: State) -> dict[str, Any] | None:
    grid = getattr(state, "grid", None)
    return None if grid is None else {"bounds": grid.bounds, "shape": grid.shape, "periodic": grid.periodic}


def _metric_data(metric: Metric) -> dict[str, Any]:
    options = {"Wasserstein": ("p", "method"), "Sobolev": ("order",), "Euclidean": ()}
    name = type(metric).__name__
    return {"kind": name, **{option: getattr(metric, option) for option in options[name]}}


def _metric(data: dict[str, Any]) -> Metric:
    kinds = {"Wasserstein": Wasserstein, "Sobolev": Sobolev, "Euclidean": Euclidean}
    options = dict(data)
    return kinds[options.pop("kind")](**options)
