"""Solutions as one file, and what is read of files and run directories: plain arrays and JSON text, no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow import _validate as check
from measureflow import npz
from measureflow.checkpoint import in_memory, read_bytes
from measureflow.files import from_text, replacing, to_text
from measureflow.job import metrics_and_speeds
from measureflow.metrics import Metric
from measureflow.recipes import encode
from measureflow.rows import FileRows, Layout, Rows, to_arrays
from measureflow.status import Outcome, events_from_arrays, events_to_arrays
from measureflow.stored import VERIFIED, VERIFIED_ROWS, read_run

if TYPE_CHECKING:
    from measureflow.solution import Solution

SCHEMA = 2
FORMAT = "measureflow solution"


@final
@dataclass(frozen=True, eq=False)
class Seats:
    """The players of a loaded solution: their metrics and speeds, without the game."""

    metrics: tuple[Metric, ...]
    speeds: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.metrics)


def save(sol: Solution, path: str | Path) -> Path:
    """Write a solution to a .npz file that appears whole or not at all."""
    target = check.path("path", path, ".npz")
    if not len(sol):
        raise ValueError("a solution must have one row or more to be saved, got none")
    arrays: dict[str, np.ndarray] = {}
    about = {
        "format": FORMAT,
        "schema": SCHEMA,
        "single": sol.single,
        "layout": Layout.of(sol.row(0)).data(),
        "metrics": encode(sol.players.metrics, arrays),
        "speeds": encode(sol.players.speeds, arrays),
        "outcome": sol.outcome.data(),
    }
    indices, times = events_to_arrays(sol.outcome.events)
    events = {"events.index": indices, "events.t": times}
    with replacing(target) as file:
        npz.write(file, {"about": np.frombuffer(to_text(about), dtype=np.uint8), **events, **to_arrays(in_memory(sol.rows))})
    return target


def read(path: str | Path) -> dict[str, Any]:
    """Return the arguments of a `Solution` from a file that `save` wrote, or from a run directory."""
    source = check.path("path", path)
    try:
        about, arrays, rows, outcome = read_run(source) if source.is_dir() else _read_file(source)
        single = check.flag("single", about["single"])
        return {"rows": rows, "players": _seats(about, arrays), "scheme": None, "single": single, "outcome": outcome}
    except OSError:
        raise
    except Exception as error:  # whatever a crafted file may provoke
        raise ValueError(f"path must be a file that Solution.save wrote, or a run directory, got {source}: {error}") from error


def _read_file(source: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], Rows, Outcome]:
    archive = npz.Archive(source)
    about = from_text(read_bytes(archive, "about"), str(source))
    if about.get("format") != FORMAT or about.get("schema") != SCHEMA:
        raise ValueError(f"it must be a {FORMAT} of schema {SCHEMA}, got {about.get('format')} {about.get('schema')}")
    rows = FileRows(archive, Layout.from_data(about["layout"]))
    if not len(rows) or not archive.members.keys() <= rows.names() | {"about", "events.index", "events.t"}:
        raise ValueError("its arrays are not those of a solution")
    if archive.size <= VERIFIED:
        rows.verify(len(rows) <= VERIFIED_ROWS)
    events = events_from_arrays(archive.read("events.index"), archive.read("events.t"))
    return about, {}, rows, Outcome.from_data(about["outcome"], events)


def _seats(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Seats:
    metrics, speeds = metrics_and_speeds(about, arrays)
    if len(metrics) != len(about["layout"]) or (about["single"] and len(metrics) != 1):
        raise ValueError(f"metrics must be one a player, got {len(metrics)}")
    for metric in metrics:
        check.instance("metric", metric, (Metric, type(None)), "a Metric")
    return Seats(metrics, speeds)
