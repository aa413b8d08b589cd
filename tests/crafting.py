"""Flows of every kind, their files, and ways to change files so that checksums still hold."""

from __future__ import annotations

import contextlib
import copy
import shutil
import signal
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import measureflow as mf
from measureflow import archive, files, npz, recipes, rows, rundir, store, stored
from measureflow import energies as e
from measureflow import games as g

Members = list[tuple[bytes, bytes]]
Change = Callable[[np.ndarray], np.ndarray]
GRID = mf.Grid([(0.0, 1.0), (-1.0, 2.0)], (3, 4), (True, False))
LINE = mf.Grid([(0.0, 1.0)], (6,))
MASSES = np.array([1.0, 2.0, 3.0, 0.0, 5.0, 5.0]) / 16.0
DECAY = e.Quadratic()
RNG = np.random.default_rng(5)
CLOUD, WEIGHTS = RNG.normal(size=(5, 2)), np.array([0.1, 0.2, 0.3, 0.15, 0.25])

# flows and their files ------------------------------------------------------------------------------------------------

FLOWS: dict[str, Callable[..., mf.Solution]] = {
    "particles": lambda **to: mf.solve(DECAY, mf.Particles(CLOUD), 1.0, 0.125, **to),
    "weighted": lambda **to: mf.solve(DECAY, mf.Particles(CLOUD, WEIGHTS), 1.0, 0.125, save_at=2, **to),
    "quantiles": lambda **to: mf.solve(DECAY, mf.Quantiles(np.linspace(0.0, 1.0, 4) ** 3), 1.0, "auto", rtol=0.2, **to),
    "gaussian": lambda **to: mf.solve(e.Entropy() + DECAY, mf.Gaussian([1.0, 2.0], [[2.0, 0.3], [0.3, 0.5]]), 1.0, 0.125, **to),
    "vector": lambda **to: mf.solve(DECAY, mf.Vector([1.0, -2.0]), 1.0, 0.125, events=lambda t, x: x[0] - 0.8, **to),
    "field": lambda **to: mf.solve(square_of_fields(), mf.Field(RNG_FIELD, GRID), 1.0, 0.125, metric=mf.Sobolev(-1.5), **to),
    "histogram": lambda **to: mf.solve(0.0 * DECAY, mf.Histogram(MASSES, LINE), 1.0, 0.125, **to),
    "game": lambda **to: mf.solve(g.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.125, speeds=(1.0, 2.0), **to),
    "gan": lambda **to: mf.solve(small_gan(), (mf.Particles(CLOUD), NEURONS), 0.5, 0.0625, batch=3, seed=1, **EXPLICIT, **to),
}
RNG_FIELD = RNG.normal(size=(3, 4))
NEURONS = mf.Particles(RNG.normal(size=(3, 4)))
EXPLICIT: dict[str, Any] = {"scheme": mf.Explicit("alternating")}


def square_of_fields() -> e.Function:
    return e.Function(lambda u: 0.5 * np.sum(u**2) * GRID.cell_volume, lambda u: np.asarray(u))


def small_gan() -> g.GAN:
    return g.GAN(mf.Particles(CLOUD + 1.0, WEIGHTS), critic=g.NeuronCritic("tanh"), penalty=g.Ridge(1.0))


def bits(value: Any) -> Any:
    """Return something that is equal for two values of the same type and bits only."""
    if isinstance(value, (tuple, list)):
        return [type(value).__name__, *(bits(entry) for entry in value)]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, mf.State):
        parts = [getattr(value, part) for part in rows.PARTS[type(value).__name__]]
        return [type(value).__name__, getattr(value, "grid", None), *(bits(part) for part in parts)]
    return value


def content(sol: mf.Solution, times: bool = True) -> dict[str, Any]:
    """Return all that a solution holds, as bits; the processor time differs from run to run."""
    info = {name: bits(value) for name, value in sol.info.items() if name != "cpu_seconds"}
    tables = {name: bits(getattr(sol, name)) for name in ("t", "energies", "speeds", "slopes")}
    return {**info, **tables, "states": [bits(sol.states[k]) for k in range(len(sol))], "single": sol.single}


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    archive = npz.Archive(path)
    return {name: archive.read(name) for name in archive.members}


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    with open(path, "wb") as file:
        npz.write(file, arrays)


def text_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return files.from_text(arrays["about"].tobytes(), "about")


def as_text(data: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(files.to_text(data), dtype=np.uint8)


def edit_arrays(path: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Change the arrays of a file and write it as the package would."""
    arrays = read_arrays(path)
    change(arrays)
    write_arrays(path, arrays)


def edit_about(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the text of a .npz file and write it as the package would."""

    def changed(arrays: dict[str, np.ndarray]) -> None:
        about = text_of(arrays)
        change(about)
        arrays["about"] = as_text(about)

    edit_arrays(path, changed)


def edit_text(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = files.read_text(path)
    change(data)
    path.write_bytes(files.to_text(data))


def renumber(run: Path, number: Any = None) -> None:
    """Give the files of a run the number that belongs to its run.json."""
    if number is None:
        number = rundir.run_number(files.read_text(run / "run.json"))
    for path in sorted(run.glob("segments/*.npz")):
        edit_arrays(path, lambda arrays: arrays.update(run=np.array(number)))
    if (run / "checkpoint.npz").exists():
        edit_about(run / "checkpoint.npz", lambda about: about.update(run=number))
    if (run / "done.json").exists():
        edit_text(run / "done.json", lambda done: done.update(run=number))


def edit_run(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change run.json as the package would have written it, with everything that hangs on it."""
    edit_text(run / "run.json", change)
    renumber(run)


def edit_inputs(run: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    edit_arrays(run / "inputs.npz", change)
    sums = {name: zlib.crc32(values.tobytes()) for name, values in read_arrays(run / "inputs.npz").items()}
    edit_run(run, lambda about: about.update(arrays=sums))


class TooLong(BaseException):
    """Something did not end."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TooLong, which nothing catches on the way, unless the block ends: a guard against hangs, not a measurement."""

    def ring(*_: Any) -> None:
        raise TooLong(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def frugal(size: int, least: int = 20_000_000) -> Iterator[None]:
    """Fail if the block allocates more than `least` bytes and 20 times `size` at once."""
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= least + 20 * size, f"{peak} bytes for a file of {size}"


def touched(path: Path) -> dict[str, Any]:
    """Load and read everything."""
    sol = mf.load(path)
    assert repr(sol)
    return content(sol)


def refused(path: Path, match: str = "path must be") -> None:
    with within(60.0), pytest.raises(ValueError, match=match):
        touched(path)


def of_a_run(run: Path) -> list[Path]:
    return sorted(path for path in run.rglob("*") if path.is_file() and path.name != "lock")


def accepted(path: Path, values: Sequence[Any], change: Callable[[Any], Any]) -> list[Any]:
    """Return the values that are not refused when `change` puts them, each alone, into a file or a run."""
    good = {entry: entry.read_bytes() for entry in (of_a_run(path) if path.is_dir() else [path])}
    result = []
    for value in values:
        change(value)
        try:
            with within(60.0):
                touched(path)
            result.append(value)
        except (ValueError, OSError):
            pass
        for entry, data in good.items():
            entry.write_bytes(data)
    assert touched(path)
    return result


def whole_size(path: Path) -> int:
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else path.stat().st_size


class Stop(Exception):
    """Ends a flow as a user's error would."""


def stop_at(last: float) -> Callable[[float, Any], float]:
    def event(t: float, x: Any) -> float:
        if t > last:
            raise Stop
        return 1.0

    return event


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every flow as a run of short segments, in the folder "runs", and as a file, in "saved"; "open" is a run that was ended."""
    home = tmp_path_factory.mktemp("library")
    (home / "saved").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "MOST_ROWS", 3)
        for name, flow in FLOWS.items():
            flow(store=home / "runs" / name).save(home / "saved" / f"{name}.npz")
        with pytest.raises(Stop):
            mf.solve(DECAY, mf.Vector([1.0, -2.0]), 1.0, 0.125, store=home / "runs" / "open", events=stop_at(0.51))
    return home


@pytest.fixture
def copied(library: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that gives a fresh copy of a run."""

    def copy_of(name: str) -> Path:
        target = tmp_path / f"{name}{len(list(tmp_path.iterdir()))}"
        shutil.copytree(library / "runs" / name, target)
        return target

    return copy_of


@pytest.fixture
def lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check nothing before it is asked for."""
    monkeypatch.setattr(stored, "VERIFIED", 0)
    monkeypatch.setattr(archive, "VERIFIED", 0)


def open_and_check(path: Path) -> None:
    npz.Archive(path).verify()


def change_array(path: Path, name: str, change: Change) -> None:
    edit_arrays(path, lambda arrays: arrays.update({name: change(arrays[name])}))


def put(index: Any, value: float) -> Change:
    def change(values: np.ndarray) -> np.ndarray:
        result = values.copy()
        result[index] = value
        return result

    return change


def differ(old: Any, new: Any) -> list[str]:
    there: dict[str, np.ndarray] = {}
    here: dict[str, np.ndarray] = {}
    return recipes.differences("problem", recipes.encode(old, there), recipes.encode(new, here), there, here)


def places(data: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the ways to all entries of nested lists and dictionaries."""
    keys = data.keys() if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in list(keys):
        yield (*way, key)
        yield from places(data[key], (*way, key))


def at(data: Any, way: Sequence[Any]) -> Any:
    for key in way:
        data = data[key]
    return data


def replaced(data: Any, way: tuple[Any, ...], value: Any) -> Any:
    result = copy.deepcopy(data)
    at(result, way[:-1])[way[-1]] = value
    return result


def npy(head: str, data: bytes = b"", version: tuple[int, int] = (1, 0), width: int = 64) -> bytes:
    """Return a .npy file with any text as its header, padded as NumPy does."""
    start = 10 if version == (1, 0) else 12
    text = head.encode("latin1" if version < (3, 0) else "utf8")
    text += b" " * (-(start + len(text) + 1) % width) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if start == 10 else "<I", len(text)) + text + data


def zipped(members: Members, local: Any = None, central: Any = None, **other: Any) -> bytes:
    """Return an archive around any entries, with all else as the package writes it but for fields that are named.

    `local` and `central` change the fields of both headers; `other` are compressed bytes ("stored"), bytes between the members
    ("gap"), offsets of the members ("offsets"), a comment ("comment"), names in the local headers ("inner").
    """
    body, directory = b"", b""
    for k, (entry, data) in enumerate(members):
        sizes = {"flags": 0, "method": 0, "size": len(data), "raw": len(data), "crc": zlib.crc32(data), "comment": b"", "disk": 0}
        kept = other["stored"][k] if "stored" in other else data
        sizes["size"] = len(kept)
        here, there = {**sizes, **(local or {})}, {**sizes, **(central or {})}
        offset = other["offsets"][k] if "offsets" in other else len(body)
        name = other["inner"][k] if "inner" in other else entry
        start = (0x04034B50, 45, here["flags"], here["method"], 0, 0x21, here["crc"], 0xFFFFFFFF, 0xFFFFFFFF, len(name), 20)
        body += struct.pack("<I5H3I2H", *start) + name + struct.pack("<2H2Q", 1, 16, here["raw"], here["size"]) + kept
        body += other.get("gap", b"")
        fields = (there["crc"], 0xFFFFFFFF, 0xFFFFFFFF, len(entry), 28, len(there["comment"]), there["disk"], 0, 0, 0xFFFFFFFF)
        directory += struct.pack("<I6H3I5H2I", 0x02014B50, 45, 45, there["flags"], there["method"], 0, 0x21, *fields)
        directory += entry + struct.pack("<2H3Q", 1, 24, there["raw"], there["size"], offset) + there["comment"]
    count = other.get("count", len(members))
    end64 = struct.pack("<IQ2H2I4Q", 0x06064B50, 44, 45, 45, 0, 0, count, count, len(directory), len(body))
    locator = struct.pack("<2IQI", 0x07064B50, 0, len(body) + len(directory), 1)
    comment = other.get("comment", b"")
    end = struct.pack("<I4H2IH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, len(comment))
    return body + directory + end64 + locator + end + comment


def header(descr: str = "'<f8'", shape: str = "(2,)", fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


@pytest.fixture
def bad(library: Path, tmp_path: Path) -> Path:
    """A copy of a saved file."""
    return Path(shutil.copyfile(library / "saved" / "vector.npz", tmp_path / "bad.npz"))
