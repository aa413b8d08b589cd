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

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.files import read_text, to_text
from measureflow.npz import Archive

SCHEMA = 1
FORMAT = "measureflow run"
ENTRIES = (
    "arrays atol batch events format initial layout metrics platform problem rows_per_segment rtol save_at "
    "scheme scheme_text schema seed single speeds start t_span tau versions"
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

    def written_segments(self) -> dict[int, Path]:
        """Return the segments that are there, by their numbers."""
        paths = self.segments.glob("[0-9]" * 8 + ".npz")
        return {int(path.stem): path for path in paths}

    def require_run_or_room(self) -> None:
        """Raise ValueError if there is neither a run nor room for one: something else than a run killed before run.json."""
        if self.segments.is_symlink():
            raise ValueError(f"store must hold its segments itself, got the link {self.segments}")
        known = {self.inputs.name, self.checkpoint.name, self.segments.name, self.lock.name}
        others = [entry.name for entry in self.path.iterdir() if entry.name not in known and entry.suffix != ".tmp"]
        if not self.run.exists() and (others or self.written_segments()):
            found = ", ".join(sorted(others)[:3]) or "segments without run.json"
            raise ValueError(f"store must be a new or empty folder or a run, got {self.path} with other files in it: {found}")

    def size(self) -> int:
        """Return the number of bytes of the run's files."""
        files = [self.run, self.inputs, self.checkpoint, self.done, *self.written_segments().values()]
        return sum(path.lstat().st_size for path in files if path.exists())


def folder(value: Any, name: str) -> RunFolder:
    """Return the run directory that an argument names."""
    path = check.path(name, value)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{name} must be a folder, got the file {path}")
    return RunFolder(path.absolute())


def read_about(home: RunFolder) -> tuple[dict[str, Any], Arrays]:
    """Return what a run directory says it solves, and the arrays that belong to it."""
    about = read_text(home.run)
    if about.get("format") != FORMAT or about.get("schema") != SCHEMA:
        raise ValueError(f"{home.run} must be a {FORMAT} of schema {SCHEMA}, got {about.get('format')} {about.get('schema')}")
    if about.keys() != {*ENTRIES.split()} or not isinstance(about["start"], dict):
        raise ValueError(f"{home.run} must have the entries {ENTRIES}, got {check.show(sorted(about))}")
    archive = Archive(home.inputs)
    arrays = {name: archive.read(name) for name in archive.members}
    if checksums(arrays) != about["arrays"]:
        raise ValueError(f"{home.inputs} does not belong to {home.run}")
    return about, arrays


def checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Return the CRC-32 of every array."""
    return {name: zlib.crc32(np.ascontiguousarray(values).tobytes()) for name, values in arrays.items()}


def run_number(about: Mapping[str, Any]) -> int:
    """Return the number by which the files of a run know each other."""
    return zlib.crc32(to_text(dict(about)))
