"""Results on disk: every byte counts, what is read is checked, nothing is executed, and nothing is changed on the way."""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import io
import json
import os
import pickle
import resource
import shutil
import signal
import struct
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_array_equal
from strategies import COORDINATES, fields, gaussians, histograms, particles, quantiles, vectors

import measureflow as mf
from measureflow import archive, checkpoint, files, npz, recipes, rows, rundir, store, stored
from measureflow import energies as e
from measureflow import games as g
from measureflow.status import Outcome, events_from_arrays, events_to_arrays, one_line

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
    """Raise TooLong, which nothing catches on the way, unless the block ends in time."""

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
    with within(5.0), pytest.raises(ValueError, match=match):
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
            with within(5.0):
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


@pytest.mark.parametrize("name", FLOWS)
def test_runs_and_files_hold_the_bits_of_the_same_flow_in_memory(name: str, library: Path) -> None:
    here = content(FLOWS[name]())
    assert touched(library / "saved" / f"{name}.npz") == here
    assert touched(library / "runs" / name) == here
    assert len(list((library / "runs" / name / "segments").iterdir())) > 1


def test_a_run_that_was_ended_shows_the_rows_so_far(library: Path) -> None:
    run = library / "runs" / "open"
    sol = mf.load(run)
    assert not (run / "done.json").exists()
    assert len(list((run / "segments").iterdir())) == 1
    assert_array_equal(sol.t, [0.0, 0.125, 0.25, 0.375, 0.5])
    assert sol.status == "interrupted"
    assert "not finished" in sol.message


def test_a_run_goes_on_with_segments_as_long_as_those_it_began_with(copied: Callable[[str], Path]) -> None:
    run = copied("open")
    assert files.read_text(run / "run.json")["rows_per_segment"] == 3 != store.MOST_ROWS
    sol = mf.resume(run, events=stop_at(2.0))
    assert content(sol) == content(mf.solve(DECAY, mf.Vector([1.0, -2.0]), 1.0, 0.125, events=stop_at(2.0)))
    assert touched(run) == content(sol)


# archives: round trip -------------------------------------------------------------------------------------------------

KEPT: dict[str, Any] = {
    "0-d": np.array(1.5),
    "0-d integer": np.array(-7),
    "empty": np.zeros(0),
    "empty in the middle": np.zeros((3, 0, 2)),
    "matrix": np.arange(6.0).reshape(2, 3),
    "Fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every other": np.arange(12.0)[::2],
    "backwards": np.arange(12)[::-1],
    "big endian": np.array([1.0, -2.5e300], dtype=">f8"),
    "big endian integers": np.array([[1, -(2**62)]], dtype=">i8"),
    "single precision": np.array([1.0, 1e-40], dtype=np.float32),
    "bytes": np.arange(256, dtype=np.uint8),
    "not finite": np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324]),
    "rows": [np.arange(4.0).reshape(2, 2), np.ones((2, 2)), -np.arange(4.0).reshape(2, 2)],
    "rows in Fortran order": [np.asfortranarray(np.arange(6.0).reshape(2, 3))] * 2,
    "rows of numbers": [np.array(1.0), np.array(2.0)],
    "empty rows": [np.zeros((0, 2))] * 3,
    "rows big endian": [np.array([1.0, 2.0], dtype=">f8")] * 2,
    "read-only": np.frombuffer(b"12345678" * 3, dtype=np.float64),
    "many dimensions": np.arange(4.0).reshape((1,) * 10 + (2, 2)),
}


def saved(path: Path, arrays: dict[str, Any]) -> npz.Archive:
    write_arrays(path, arrays)
    return npz.Archive(path)


@pytest.mark.parametrize("name", KEPT)
def test_an_array_comes_back_bit_for_bit_and_numpy_and_zipfile_read_it(name: str, tmp_path: Path) -> None:
    value = KEPT[name]
    expected = np.array(value) if isinstance(value, list) else value
    found = saved(tmp_path / "a.npz", {"first": np.zeros(3), "x.y_1": value, "last": np.ones(2)})
    values = found.read("x.y_1")
    assert values.dtype == expected.dtype.newbyteorder("<")
    assert values.shape == expected.shape == found.shape("x.y_1")
    assert values.tobytes() == expected.astype(expected.dtype.newbyteorder("<")).tobytes()
    assert values.flags.c_contiguous
    assert not values.flags.writeable
    found.verify()
    assert "x.y_1" in found
    assert "x.y_1.npy" not in found
    with np.load(tmp_path / "a.npz", allow_pickle=False) as plain:
        assert plain.files == ["first", "x.y_1", "last"]
        assert plain["x.y_1"].tobytes() == values.tobytes()
        assert plain["x.y_1"].dtype == values.dtype
        assert plain["x.y_1"].shape == values.shape
    with zipfile.ZipFile(tmp_path / "a.npz") as plain_zip:
        assert plain_zip.testzip() is None
        assert [info.compress_type for info in plain_zip.infolist()] == [zipfile.ZIP_STORED] * 3


def test_an_archive_may_be_empty(tmp_path: Path) -> None:
    found = saved(tmp_path / "a.npz", {})
    assert not found.members
    with zipfile.ZipFile(tmp_path / "a.npz") as plain:
        assert plain.namelist() == []


@pytest.mark.parametrize(
    "value",
    [
        np.array([{}], dtype=object),
        np.array(["text"]),
        np.array([True]),
        np.array([1.0j]),
        np.zeros(2, dtype="i4,f8"),
        np.zeros(2, dtype=np.int32),
        np.zeros(2, dtype=np.float16),
        np.zeros(2, dtype="M8[s]"),
        [np.zeros(2), np.zeros(3)],
        [np.zeros(2), np.zeros(2, dtype=np.int64)],
    ],
)
def test_arrays_of_other_types_and_ragged_rows_are_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match="must be of one shape and of a type in"):
        npz.write(io.BytesIO(), {"x": value})


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a\\b", "a b", "a\0", "é", "a:b", "a" * 81])
def test_arrays_of_other_names_are_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="name of an array must be"):
        npz.write(io.BytesIO(), {name: np.zeros(1)})


def test_a_file_of_more_arrays_than_are_read_is_not_written(tmp_path: Path) -> None:
    number = np.zeros(())
    assert len(saved(tmp_path / "most.npz", {f"a{k}": number for k in range(npz.MOST_MEMBERS)}).members) == npz.MOST_MEMBERS
    with pytest.raises(ValueError):
        npz.write(io.BytesIO(), {f"a{k}": number for k in range(npz.MOST_MEMBERS + 1)})


# archives: damage -----------------------------------------------------------------------------------------------------


def open_and_check(path: Path) -> None:
    npz.Archive(path).verify()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.npz"
    write_arrays(path, {"a": np.array([1.0, 2.0]), "bc": np.array(7, dtype=np.uint8)})
    open_and_check(path)
    return path


def test_every_flipped_bit_is_found(small: Path) -> None:
    good = small.read_bytes()
    with open(small, "r+b", buffering=0) as file:
        for k in range(len(good)):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([good[k] ^ (1 << bit)]), k)
                with pytest.raises(ValueError, match="damaged"):
                    open_and_check(small)
            os.pwrite(file.fileno(), good[k : k + 1], k)
    open_and_check(small)


def test_every_cut_is_found(small: Path) -> None:
    good = small.read_bytes()
    for size in range(len(good)):
        for part in (good[:size], good[len(good) - size :])[: 1 + (size % 8 == 0)]:
            small.write_bytes(part)
            with pytest.raises(ValueError, match="damaged"):
                open_and_check(small)


def test_every_byte_at_the_end_and_at_the_start_is_found(small: Path) -> None:
    good = small.read_bytes()
    for byte in range(256):
        for bad in (good + bytes([byte]), bytes([byte]) + good, good + bytes([byte] * 98))[: 1 + 2 * (byte % 16 == 0)]:
            small.write_bytes(bad)
            with pytest.raises(ValueError, match="damaged"):
                open_and_check(small)


def test_every_byte_put_in_or_left_out_is_found(small: Path) -> None:
    good = small.read_bytes()
    for k in range(len(good)):
        small.write_bytes(good[:k] + (b"", b"\0" + good[k : k + 1], good[k : k + 1] * 2)[k % 3] + good[k + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            open_and_check(small)


# archives: made by hand -----------------------------------------------------------------------------------------------

Members = list[tuple[bytes, bytes]]


def npy(head: str, data: bytes = b"", version: tuple[int, int] = (1, 0), width: int = 64) -> bytes:
    """Return a .npy file with any text as its header, padded as NumPy does."""
    start = 10 if version == (1, 0) else 12
    text = head.encode("latin1" if version < (3, 0) else "utf8")
    text += b" " * (-(start + len(text) + 1) % width) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if start == 10 else "<I", len(text)) + text + data


def header(descr: str = "'<f8'", shape: str = "(2,)", fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


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


PAIR = npy(header(), np.array([1.0, 2.0]).tobytes())
TWO: Members = [(b"a.npy", PAIR), (b"b.npy", PAIR)]


def test_archives_made_by_hand_are_those_of_the_package(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"a": np.array([1.0, 2.0]), "b": np.array([1.0, 2.0])})
    assert (tmp_path / "a.npz").read_bytes() == zipped(TWO)


def deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def packed(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a member twice": lambda: zipped([TWO[0], TWO[0]]),
    "a member twice at one place": lambda: zipped([TWO[0], TWO[0]], offsets=[0, 0]),
    "members that overlap": lambda: zipped(TWO, offsets=[0, 0]),
    "members in another order": lambda: zipped(TWO, offsets=[len(PAIR) + 55, 0]),
    "a member before the file": lambda: zipped(TWO, offsets=[2**64 - 1, 0]),
    "other names in the local headers": lambda: zipped(TWO, inner=[b"b.npy", b"a.npy"]),
    "compressed members": lambda: zipped(TWO, *[{"method": 8}] * 2, stored=[deflated(PAIR)] * 2),
    "compressed members by one header only": lambda: zipped(TWO, {"method": 8}, stored=[deflated(PAIR)] * 2),
    "a method that does not exist": lambda: zipped(TWO, *[{"method": 99}] * 2),
    "encryption": lambda: zipped(TWO, *[{"flags": 1}] * 2),
    "encryption by one header only": lambda: zipped(TWO, None, {"flags": 1}),
    "data descriptors": lambda: zipped(
        TWO, *[{"flags": 8}] * 2, gap=struct.pack("<4sI2Q", b"PK\x07\x08", zlib.crc32(PAIR), 144, 144)
    ),
    "names in UTF-8": lambda: zipped(TWO, *[{"flags": 0x800}] * 2),
    "bytes between members": lambda: zipped(TWO, gap=b"\0"),
    "a comment": lambda: zipped(TWO, comment=b"hello"),
    "a comment that is an archive": lambda: zipped(TWO, comment=zipped(TWO)),
    "a comment on a member": lambda: zipped(TWO, None, {"comment": b"hello"}),
    "bytes before": lambda: b"#!/bin/sh\n" + zipped(TWO),
    "bytes after": lambda: zipped(TWO) + b"\n",
    "two archives": lambda: zipped(TWO) + zipped(TWO),
    "another disk": lambda: zipped(TWO, None, {"disk": 1}),
    "a wrong checksum in both headers": lambda: zipped(TWO, *[{"crc": 1}] * 2),
    "a wrong checksum in the directory": lambda: zipped(TWO, None, {"crc": 1}),
    "a size larger than the file": lambda: zipped(TWO, *[{"size": 10**6, "raw": 10**6}] * 2),
    "a size of 2**63": lambda: zipped(TWO, *[{"size": 2**63, "raw": 2**63}] * 2),
    "sizes that add up to the file by overflow": lambda: zipped(TWO, *[{"size": 2**64 - 1, "raw": 2**64 - 1}] * 2),
    "more members than are there": lambda: zipped(TWO, count=3),
    "fewer members than are there": lambda: zipped(TWO, count=1),
    "2**40 members": lambda: zipped(TWO, count=2**40),
    "nothing but an end": lambda: zipped(TWO)[-98:],
    "a name with a slash": lambda: zipped([(b"a/b.npy", PAIR)]),
    "a name above": lambda: zipped([(b"../a.npy", PAIR)]),
    "an absolute name": lambda: zipped([(b"/etc/a.npy", PAIR)]),
    "a name with a backslash": lambda: zipped([(b"..\\a.npy", PAIR)]),
    "a name with a drive": lambda: zipped([(b"C:a.npy", PAIR)]),
    "a name with NUL": lambda: zipped([(b"a\0b.npy", PAIR)]),
    "a name with a line": lambda: zipped([(b"a\n.npy", PAIR)]),
    "a name with a space": lambda: zipped([(b"a .npy", PAIR)]),
    "a name in UTF-8": lambda: zipped([("ä.npy".encode(), PAIR)]),
    "a name in fullwidth letters": lambda: zipped([("\uff41.npy".encode(), PAIR)]),
    "no name": lambda: zipped([(b"", PAIR)]),
    "a name that is a suffix": lambda: zipped([(b".npy", PAIR)]),
    "a name without suffix": lambda: zipped([(b"about", PAIR)]),
    "a long name": lambda: zipped([(b"a" * 81 + b".npy", PAIR)]),
    "a name of 65535 letters": lambda: zipped([(b"a" * 65531 + b".npy", PAIR)]),
    "a folder": lambda: zipped([(b"a/", b"")]),
    "a file made by numpy.savez": lambda: packed(a=np.array([1.0, 2.0]), b=np.array([1.0, 2.0])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_archives_that_the_package_does_not_write_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(HOSTILE[name]())
    with within(5.0), frugal(path.stat().st_size), pytest.raises(ValueError, match="damaged"):
        open_and_check(path)


FLOAT = np.array([1.0, 2.0]).tobytes()
HEADERS: dict[str, bytes] = {
    "complex numbers": npy(header("'<c16'", "(1,)"), FLOAT),
    "booleans": npy(header("'|b1'", "(16,)"), FLOAT),
    "text": npy(header("'<U4'", "(1,)"), FLOAT),
    "strings": npy(header("'|S8'"), FLOAT),
    "dates": npy(header("'<M8[s]'"), FLOAT),
    "bytes without type": npy(header("'|V8'"), FLOAT),
    "half precision": npy(header("'<f2'", "(8,)"), FLOAT),
    "short integers": npy(header("'<i4'", "(4,)"), FLOAT),
    "unsigned integers": npy(header("'<u8'"), FLOAT),
    "big endian": npy(header("'>f8'"), FLOAT),
    "the machine's order": npy(header("'=f8'"), FLOAT),
    "another name of the type": npy(header("'float64'"), FLOAT),
    "a letter as type": npy(header("'d'"), FLOAT),
    "a structure": npy(header("[('x', '<f8')]"), FLOAT),
    "a structure with a title": npy(header("[(('title', 'x'), '<f8')]"), FLOAT),
    "an array of arrays": npy(header("('<f8', (2,))", "(1,)"), FLOAT),
    "a huge item": npy(header("'|V2000000000'", "(1,)"), FLOAT),
    "an unknown type": npy(header("'<q9'"), FLOAT),
    "a type that is a number": npy(header("7"), FLOAT),
    "a type that is a list": npy(header("['<f8']"), FLOAT),
    "objects": npy(header("'|O'"), FLOAT),
    "objects in a structure": npy(header("[('x', '|O')]"), FLOAT),
    "Fortran order": npy(header(shape="(1, 2)", fortran="True"), FLOAT),
    "Fortran order of a line": npy(header(fortran="True"), FLOAT),
    "Fortran order as a number": npy(header(fortran="0"), FLOAT),
    "a negative size": npy(header(shape="(-2,)"), FLOAT),
    "two negative sizes": npy(header(shape="(-1, -2)"), FLOAT),
    "a size that wraps to zero": npy(header(shape="(4294967296, 4294967296)")),
    "sizes that wrap to the right size": npy(header(shape="(4611686018427387905, 4, 2)"), FLOAT),
    "a size of 2**63": npy(header(shape="(9223372036854775808,)"), FLOAT),
    "a size of a hundred digits": npy(header(shape=f"({'9' * 100},)"), FLOAT),
    "a size of nine hundred digits": npy(header(shape=f"({'9' * 900},)"), FLOAT),
    "nothing of a huge size": npy(header(shape="(0, 9223372036854775807, 9223372036854775807)"), b"x"),
    "a size that is True": npy(header(shape="(True,)"), FLOAT[:8]),
    "a size that is a float": npy(header(shape="(2.0,)"), FLOAT),
    "a size that is a text": npy(header(shape="('2',)"), FLOAT),
    "a size that is None": npy(header(shape="None"), FLOAT),
    "a size in another base": npy(header(shape="(0x2,)"), FLOAT),
    "a shape that is a number": npy(header(shape="2"), FLOAT),
    "a shape that is a list": npy(header(shape="[2]"), FLOAT),
    "a long integer": npy(header(shape="(2L,)"), FLOAT),
    "a sum": npy(header(shape="(1 + 1,)"), FLOAT),
    "a hundred dimensions": npy(header(shape=str((1,) * 99 + (2,))), FLOAT),
    "too little data": npy(header(), FLOAT[:-1]),
    "too much data": npy(header(), FLOAT + b"\0"),
    "no data": npy(header()),
    "a call": npy(header("__import__('os').system('true')"), FLOAT),
    "a lambda": npy("(lambda: 0)()", FLOAT),
    "deep brackets": npy("(" * 900, FLOAT),
    "deep signs": npy(header(shape=f"({'-' * 900}2,)"), FLOAT),
    "deep powers": npy(header(shape="(9**9**9**9,)"), FLOAT),
    "another key": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), 'x': 1, }", FLOAT),
    "a key twice": npy("{'descr': '|O', 'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", FLOAT),
    "a missing key": npy("{'descr': '<f8', 'shape': (2,), }", FLOAT),
    "another order of keys": npy("{'shape': (2,), 'fortran_order': False, 'descr': '<f8', }", FLOAT),
    "a comment": npy(header() + "#", FLOAT),
    "another padding": npy(header(), FLOAT, width=16),
    "a header of 960 bytes": npy(header() + " " * 900, FLOAT),
    "a header of 5000 bytes": npy(header() + " " * 5000, FLOAT),
    "a header of 60000 bytes": npy(header() + " " * 60000, FLOAT),
    "a header longer than the member": b"\x93NUMPY\x01\x00\xff\xff" + header().encode(),
    "version 2": npy(header(), FLOAT, (2, 0)),
    "version 3": npy(header(), FLOAT, (3, 0)),
    "version 9": npy(header(), FLOAT, (9, 0)),
    "NUL": npy("\0" * 60, FLOAT),
    "letters above ASCII": npy(header() + "\xe9", FLOAT),
    "no header": b"",
    "half a magic": b"\x93NUM",
    "a pickle": pickle.dumps([1.0, 2.0]),
    "an archive": zipped(TWO),
    "zeros": bytes(128),
}


@pytest.mark.parametrize("name", HEADERS)
def test_members_that_are_not_plain_arrays_are_refused_before_use(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(zipped([(b"a.npy", PAIR), (b"b.npy", HEADERS[name])]))
    with within(5.0), frugal(path.stat().st_size), pytest.raises(ValueError, match=r"damaged|there is no"):
        npz.Archive(path)


class Payload:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def objects(path: Path) -> np.ndarray:
    return np.array([Payload(path), Payload(path)], dtype=object)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    pickled = pickle.dumps(objects(mark), protocol=2)
    hidden = zipped([(b"about.npy", npy(header("'|O'"), pickled))])
    shown = io.BytesIO()
    np.savez(shown, about=objects(mark), t=objects(mark))
    alone = io.BytesIO()
    np.save(alone, objects(mark), allow_pickle=True)
    for data in (hidden, zipped([(b"about.npy", pickled)]), shown.getvalue(), alone.getvalue(), pickled):
        (tmp_path / "bad.npz").write_bytes(data)
        refused(tmp_path / "bad.npz")
        with pytest.raises(ValueError):
            npz.Archive(tmp_path / "bad.npz")
        assert not mark.exists()
    with np.load(io.BytesIO(shown.getvalue()), allow_pickle=True) as opened:
        assert len(opened["t"]) == 2
    assert mark.exists()  # so would any reader that unpickles


def test_compressed_zeros_are_refused_without_unpacking(tmp_path: Path, copied: Callable[[str], Path]) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", about=np.zeros(30_000_000, dtype=np.uint8), t=np.zeros(10_000_000))
    bomb = (tmp_path / "bomb.npz").read_bytes()
    zeros = npy(header("'|u1'", "(30000000,)"), bytes(30_000_000))
    method: dict[str, Any] = {"method": 8}
    (tmp_path / "hidden.npz").write_bytes(zipped([(b"about.npy", zeros)], method, method, stored=[deflated(zeros)]))
    assert len(bomb) < 200_000
    run = copied("vector")
    (run / "segments" / "00000001.npz").write_bytes(bomb)
    for path in (tmp_path / "bomb.npz", tmp_path / "hidden.npz", run):
        with frugal(whole_size(path)):
            refused(path)


def test_a_file_of_the_same_arrays_by_numpy_is_refused(library: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "again.npz", **read_arrays(library / "saved" / "vector.npz"))
    refused(tmp_path / "again.npz")


# text -----------------------------------------------------------------------------------------------------------------

GOOD_TEXT = files.to_text({"a": [1, 2.5, None, "é"], "b": {"c": True}})
TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "a number": b"3",
    "null": b"null",
    "a list": b"[1]",
    "a text": b'"crc32"',
    "an empty dictionary": b"{}",
    "no checksum": b'{"a": 1}',
    "a wrong checksum": b'{\n "a": 1,\n "crc32": 1\n}\n',
    "a checksum that is True": GOOD_TEXT.replace(GOOD_TEXT.split(b'"crc32": ')[1].split(b"\n")[0], b"true"),
    "no line at the end": GOOD_TEXT[:-1],
    "two lines at the end": GOOD_TEXT + b"\n",
    "NUL at the end": GOOD_TEXT + b"\0",
    "a byte-order mark": b"\xef\xbb\xbf" + GOOD_TEXT,
    "two bytes a letter": GOOD_TEXT.decode().encode("utf-16"),
    "four bytes a letter": GOOD_TEXT.decode().encode("utf-32-le"),
    "bytes that are no text": b"\xff\xfe\xfd",
    "letters above ASCII": GOOD_TEXT.replace(b"\\u00e9", "é".encode()),
    "an escaped letter": GOOD_TEXT.replace(b'"a"', b'"\\u0061"'),
    "spaces": GOOD_TEXT.replace(b" ", b"  "),
    "tabs": GOOD_TEXT.replace(b" ", b"\t"),
    "carriage returns": GOOD_TEXT.replace(b"\n", b"\r\n"),
    "one line": json.dumps(json.loads(GOOD_TEXT)).encode(),
    "a key twice": GOOD_TEXT.replace(b'{\n "a"', b'{\n "a": 3,\n "a"', 1),
    "another order": json.dumps(dict(reversed(json.loads(GOOD_TEXT).items())), indent=1).encode() + b"\n",
    "NaN": GOOD_TEXT.replace(b"2.5", b"NaN"),
    "infinity": GOOD_TEXT.replace(b"2.5", b"1e999"),
    "another way to write a number": GOOD_TEXT.replace(b"2.5", b"2.50"),
    "an integer of 5000 digits": GOOD_TEXT.replace(b"2.5", b"9" * 5000),
    "deep lists": b"[" * 100_000,
    "deep lists that end": b"[" * 100_000 + b"]" * 100_000,
    "deep dictionaries": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_the_package_does_not_write_is_refused(name: str, library: Path, copied: Callable[[str], Path]) -> None:
    assert files.from_text(GOOD_TEXT, "here") == {"a": [1, 2.5, None, "é"], "b": {"c": True}}
    with pytest.raises(ValueError, match="here is damaged"):
        files.from_text(TEXTS[name], "here")
    run = copied("vector")
    (run / "done.json").write_bytes(TEXTS[name])
    refused(run)


def test_every_flipped_bit_of_a_text_is_found() -> None:
    for k in range(len(GOOD_TEXT)):
        for bit in range(8):
            with pytest.raises(ValueError, match="here is damaged"):
                files.from_text(GOOD_TEXT[:k] + bytes([GOOD_TEXT[k] ^ (1 << bit)]) + GOOD_TEXT[k + 1 :], "here")


def test_long_texts_are_refused_before_they_are_read(copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    with open(run / "done.json", "r+b") as file:
        file.truncate(files.LARGEST_TEXT + 1)
    with frugal(0):
        refused(run, "at most")


def test_long_texts_of_small_entries_are_read_or_refused_in_seconds(copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    (run / "done.json").write_bytes(b'{\n "crc32": 0,\n "x": [\n' + b"  [],\n" * 2_500_000 + b"  []\n ]\n}\n")
    refused(run)


# runs: bits and files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["game", "open"])
def test_300_of_300_flipped_bits_of_a_run_are_found(name: str, copied: Callable[[str], Path]) -> None:
    run, rng = copied(name), np.random.default_rng(2024)
    parts = of_a_run(run)
    assert {path.name for path in parts} >= {"run.json", "inputs.npz", "checkpoint.npz", "00000000.npz"}
    whole, found = touched(run), 0
    for trial in range(300):
        path = parts[trial % len(parts)]
        good = path.read_bytes()
        k, bit = int(rng.integers(len(good))), int(rng.integers(8))
        path.write_bytes(good[:k] + bytes([good[k] ^ (1 << bit)]) + good[k + 1 :])
        try:
            mf.load(run)
        except ValueError:
            found += 1
        path.write_bytes(good)
    assert found == 300
    assert touched(run) == whole


@pytest.mark.parametrize("name", FLOWS)
def test_100_of_100_flipped_bits_of_a_saved_file_are_found(name: str, library: Path, tmp_path: Path) -> None:
    good, rng = (library / "saved" / f"{name}.npz").read_bytes(), np.random.default_rng(7)
    path, found = tmp_path / "bad.npz", 0
    for _ in range(100):
        k, bit = int(rng.integers(len(good))), int(rng.integers(8))
        path.write_bytes(good[:k] + bytes([good[k] ^ (1 << bit)]) + good[k + 1 :])
        try:
            mf.load(path)
        except ValueError:
            found += 1
    assert found == 100


def swap(a: Path, b: Path) -> None:
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


@pytest.mark.parametrize("k", [1, 2])
def test_segments_that_changed_places_are_found(k: int, copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    swap(run / "segments" / "00000000.npz", run / "segments" / f"{k:08d}.npz")
    refused(run, f"is not segment {k if k == 2 else 0} of this run")


@pytest.mark.parametrize("part", ["run.json", "inputs.npz", "checkpoint.npz", "done.json", "segments/00000001.npz"])
@pytest.mark.parametrize("other", ["game", "particles"])
def test_files_of_another_run_are_found(part: str, other: str, copied: Callable[[str], Path]) -> None:
    run, stranger = copied("vector"), copied(other)
    shutil.copyfile(stranger / part, run / part)
    refused(run)


def test_files_of_the_run_of_another_tau_are_found(copied: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "MOST_ROWS", 3)
        for tau in (0.125, 0.25):
            mf.solve(DECAY, mf.Vector(1.0), 2.0, tau, store=tmp_path / f"{tau}")
    for part in ("run.json", "checkpoint.npz", "done.json", "segments/00000001.npz"):
        run = tmp_path / part.replace("/", "-")
        shutil.copytree(tmp_path / "0.125", run)
        shutil.copyfile(tmp_path / "0.25" / part, run / part)
        refused(run)


def test_a_checkpoint_that_counts_other_rows_than_were_taken_is_found(copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    edit_about(run / "checkpoint.npz", lambda about: about.update(segments=about["segments"] - 1))
    refused(run)


def test_an_older_checkpoint_beside_the_end_is_found(copied: Callable[[str], Path]) -> None:
    run = copied("open")
    older = (run / "checkpoint.npz").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "MOST_ROWS", 3)
        assert mf.resume(run, events=stop_at(2.0)).success
    assert mf.load(run).success
    (run / "checkpoint.npz").write_bytes(older)
    refused(run)


@pytest.mark.parametrize("part", ["run.json", "inputs.npz", "checkpoint.npz", "segments/00000001.npz", "segments"])
def test_missing_files_are_found(part: str, copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    shutil.rmtree(run / part) if part == "segments" else (run / part).unlink()
    with pytest.raises((ValueError, OSError)):
        mf.load(run)


@pytest.mark.parametrize("part", ["run.json", "inputs.npz", "checkpoint.npz", "done.json", "segments/00000001.npz"])
def test_cut_empty_and_longer_files_are_found(part: str, copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    good = (run / part).read_bytes()
    for bad in (b"", good[:1], good[: len(good) // 2], good[:-1], good[1:], good + b"\0", good + b"\n", good + good):
        (run / part).write_bytes(bad)
        refused(run)
    (run / part).unlink()
    (run / part).mkdir()
    with pytest.raises((ValueError, OSError)):
        mf.load(run)


def test_a_run_described_by_hand_is_found(copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('"tau"', '"tau_"'))
    refused(run, "its text does not agree with its checksum")
    (run / "run.json").write_text(text)
    edit_text(run / "run.json", lambda about: about.update(seed=3))
    refused(run, "belongs to another run")
    (run / "run.json").write_text(text)
    assert mf.load(run).success


def test_what_a_killed_process_leaves_beyond_the_checkpoint_is_ignored(copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    whole = touched(run)
    (run / "segments" / "00000003.npz").write_bytes((run / "segments" / "00000002.npz").read_bytes())
    (run / "segments" / "00000009.npz").write_bytes(b"noise")
    (run / "segments" / ".00000003.npz.1.tmp").write_bytes(b"noise")
    (run / ".checkpoint.npz.1.tmp").write_bytes(b"noise")
    assert touched(run) == whole


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_links_and_strange_names_in_a_run_have_no_effect(copied: Callable[[str], Path], tmp_path: Path) -> None:
    run = copied("vector")
    whole = touched(run)
    for name in ("-rf", "..%2f..%2fx", "$(touch x)", "00000001.npz ", "\n", "%s", "{0}", "é"):
        (run / name).write_bytes(b"noise")
        (run / "segments" / name).write_bytes(b"noise")
    os.symlink(run, run / "loop")
    os.symlink("nowhere", run / "segments" / "00000007.npz")
    os.symlink("/", run / "root")
    (run / "inner" / "segments").mkdir(parents=True)
    with within(5.0):
        assert touched(run) == whole


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("part", ["run.json", "inputs.npz", "checkpoint.npz", "done.json", "segments/00000001.npz"])
def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(part: str, copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    (run / part).unlink()
    os.mkfifo(run / part)
    with within(2.0), pytest.raises((ValueError, OSError)):
        mf.load(run)


@pytest.mark.skipif(not (Path("/dev/zero").exists() and Path("/proc/self/statm").exists()), reason="needs devices")
@pytest.mark.parametrize("part", ["run.json", "inputs.npz", "checkpoint.npz", "done.json", "segments/00000001.npz"])
def test_a_link_to_a_device_is_refused_without_reading(part: str, copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    (run / part).unlink()
    os.symlink("/dev/zero", run / part)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, limits[1]))  # so that a reader that goes on and on harms nobody
    try:
        with frugal(0), pytest.raises((ValueError, OSError)):
            mf.load(run)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_resuming_through_links_changes_nothing_outside_the_run(copied: Callable[[str], Path], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(copied("open") / "segments", outside)
    (outside / "00000009.npz").write_bytes(b"mine")
    (outside / ".mine.tmp").write_bytes(b"mine")
    (tmp_path / "precious").write_bytes(b"mine")
    before = {path: path.read_bytes() for path in [*outside.iterdir(), tmp_path / "precious"]}
    with_lock, with_segments = copied("open"), copied("open")
    (with_lock / "lock").unlink()
    os.symlink(tmp_path / "precious", with_lock / "lock")
    shutil.rmtree(with_segments / "segments")
    os.symlink(outside, with_segments / "segments")
    for run in (with_lock, with_segments):
        with contextlib.suppress(ValueError, OSError):
            mf.resume(run, events=stop_at(2.0))
    assert {path: path.read_bytes() for path in [*outside.iterdir(), tmp_path / "precious"]} == before


# what is in the files: states and tables ------------------------------------------------------------------------------

Change = Callable[[np.ndarray], np.ndarray]


def put(index: Any, value: float) -> Change:
    def change(values: np.ndarray) -> np.ndarray:
        result = values.copy()
        result[index] = value
        return result

    return change


def stretched(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, values[-1:]])


WRONG: dict[str, tuple[str, str, Change]] = {
    "NaN in points": ("particles", "player0.points", put((1, 2, 0), np.nan)),
    "infinite points": ("particles", "player0.points", put((-1, -1, -1), np.inf)),
    "points on a line": ("particles", "player0.points", lambda x: x[:, :, 0]),
    "points of no dimension": ("particles", "player0.points", lambda x: x[:, :, :0]),
    "no points": ("particles", "player0.points", lambda x: x[:, :0]),
    "points of one row more": ("particles", "player0.points", stretched),
    "points of one row less": ("particles", "player0.points", lambda x: x[1:]),
    "points without rows": ("particles", "player0.points", lambda x: np.array(x[0, 0, 0])),
    "points in single precision": ("particles", "player0.points", lambda x: x.astype(np.float32)),
    "points that are bytes": ("particles", "player0.points", lambda x: np.zeros(x.shape, dtype=np.uint8)),
    "negative weights": ("weighted", "player0.weights", lambda w: put((1, slice(0, 2)), 0.4)(put((1, 2), -0.2)(w))),
    "a weight of zero": ("weighted", "player0.weights", lambda w: put((1, slice(None)), [0.0, 0.25, 0.25, 0.25, 0.25])(w)),
    "weights of sum 2": ("weighted", "player0.weights", lambda w: 2.0 * w),
    "weights of sum 1 + 1e-8": ("weighted", "player0.weights", lambda w: w * (1.0 + 1e-8)),
    "NaN in weights": ("weighted", "player0.weights", put((0, 0), np.nan)),
    "fewer weights than points": ("weighted", "player0.weights", lambda w: w[:, 1:] / w[:, 1:].sum(axis=1)[:, None]),
    "one weight for all": ("weighted", "player0.weights", lambda w: w[:, 0]),
    "quantiles out of order": ("quantiles", "player0.values", lambda x: x[:, ::-1]),
    "NaN in quantiles": ("quantiles", "player0.values", put((0, 1), np.nan)),
    "quantiles in the plane": ("quantiles", "player0.values", lambda x: x[:, :, None]),
    "negative masses": ("histogram", "player0.masses", put((1, slice(0, 4)), [-1 / 16, 4 / 16, 3 / 16, 0.0])),
    "masses of sum 1/2": ("histogram", "player0.masses", lambda m: 0.5 * m),
    "NaN in masses": ("histogram", "player0.masses", put((0, 0), np.nan)),
    "masses of another grid": ("histogram", "player0.masses", lambda m: np.full((len(m), 4), 0.25)),
    "an asymmetric covariance": ("gaussian", "player0.cov", put((1, 0, 1), 0.2)),
    "a covariance that is not definite": ("gaussian", "player0.cov", put((1, 0, 0), -0.5)),
    "NaN in a covariance": ("gaussian", "player0.cov", put((0, 0, 0), np.nan)),
    "a number as covariance": ("gaussian", "player0.cov", lambda s: s[:, 0, 0]),
    "a covariance of another dimension": ("gaussian", "player0.cov", lambda s: s[:, :1, :1]),
    "a covariance that is not square": ("gaussian", "player0.cov", lambda s: s[:, :1]),
    "an infinite mean": ("gaussian", "player0.mean", put((0, 0), -np.inf)),
    "a mean that is a number": ("gaussian", "player0.mean", lambda m: m[:, 0]),
    "NaN in a vector": ("vector", "player0.values", put((2, 1), np.nan)),
    "a vector that is a matrix": ("vector", "player0.values", lambda x: x[:, None, :]),
    "an empty vector": ("vector", "player0.values", lambda x: x[:, :0]),
    "NaN in a field": ("field", "player0.values", put((0, 2, 3), np.nan)),
    "a field of another shape": ("field", "player0.values", lambda x: x.transpose(0, 2, 1)),
    "a field without a side": ("field", "player0.values", lambda x: x.reshape(len(x), 12)),
    "NaN in the other player": ("game", "player1.values", put((1, 0), np.nan)),
    "decreasing times": ("vector", "t", lambda t: t[::-1]),
    "a time twice": ("vector", "t", lambda t: put(1, t[0])(t)),
    "a time that is NaN": ("vector", "t", put(-1, np.nan)),
    "an infinite time": ("vector", "t", put(-1, np.inf)),
    "times in a matrix": ("vector", "t", lambda t: t[:, None]),
    "one time": ("vector", "t", lambda t: np.array(t[0])),
    "fewer times": ("vector", "t", lambda t: t[:-1]),
    "no times": ("vector", "t", lambda t: t[:0]),
    "times that are integers": ("vector", "t", lambda t: np.arange(len(t))),
    "energies of another player": ("vector", "energies", lambda x: np.repeat(x, 2, axis=1)),
    "energies of one player": ("game", "energies", lambda x: x[:, :1]),
    "energies without players": ("vector", "energies", lambda x: x[:, 0]),
    "energies that are integers": ("vector", "energies", lambda x: np.zeros(x.shape, dtype=np.int64)),
    "energies in single precision": ("vector", "energies", lambda x: x.astype(np.float32)),
    "iterations that are floats": ("vector", "iterations", lambda x: x.astype(np.float64)),
    "iterations that are bytes": ("vector", "iterations", lambda x: x.astype(np.uint8)),
    "fewer residuals": ("vector", "residual", lambda x: x[:-1]),
}


def change_array(path: Path, name: str, change: Change) -> None:
    edit_arrays(path, lambda arrays: arrays.update({name: change(arrays[name])}))


@pytest.mark.parametrize("damage", WRONG)
def test_saved_files_with_wrong_arrays_are_refused(damage: str, library: Path, tmp_path: Path) -> None:
    name, part, change = WRONG[damage]
    path = tmp_path / "bad.npz"
    shutil.copyfile(library / "saved" / f"{name}.npz", path)
    change_array(path, part, change)
    open_and_check(path)
    refused(path)


@pytest.mark.parametrize("damage", WRONG)
def test_segments_with_wrong_arrays_are_refused_when_a_run_is_opened_or_when_they_are_touched(
    damage: str, copied: Callable[[str], Path], request: pytest.FixtureRequest
) -> None:
    name, part, change = WRONG[damage]
    run = copied(name)
    change_array(run / "segments" / "00000000.npz", part, change)
    refused(run)
    request.getfixturevalue("lazily")
    refused(run, ".")


@pytest.mark.parametrize("damage", [damage for damage, (name, _, _) in WRONG.items() if name == "vector"])
def test_checkpoints_with_wrong_rows_are_refused(damage: str, copied: Callable[[str], Path]) -> None:
    _, part, change = WRONG[damage]
    run = copied("open")
    edit_arrays(run / "checkpoint.npz", lambda arrays: arrays.update({f"rows.{part}": stretched(arrays[f"rows.{part}"])}))
    refused(run)
    run = copied("open")
    with contextlib.suppress(IndexError):  # damage of a third row, which a checkpoint of two rows has not
        change_array(run / "checkpoint.npz", f"rows.{part}", change)
        refused(run)


def test_times_that_decrease_from_segment_to_segment_are_refused(copied: Callable[[str], Path]) -> None:
    for part in ("segments/00000001.npz", "segments/00000002.npz"):
        run = copied("vector")
        change_array(run / part, "t", lambda t: t - 0.25)
        refused(run, "increasing times")
    run = copied("open")
    change_array(run / "checkpoint.npz", "rows.t", lambda t: t - 0.25)
    refused(run, "increasing times")


@pytest.mark.parametrize("kind", ["missing", "more", "renamed", "no about", "about of floats", "about in rows"])
@pytest.mark.parametrize("name", ["vector", "game"])
def test_other_arrays_than_expected_are_refused(kind: str, name: str, library: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    arrays: dict[str, Any] = read_arrays(library / "saved" / f"{name}.npz")
    if kind == "missing":
        del arrays["player0.values"]
    elif kind == "more":
        arrays["player7.values"] = arrays["player0.values"]
    elif kind == "renamed":
        arrays["player0.points"] = arrays.pop("player0.values")
    elif kind == "no about":
        del arrays["about"]
    elif kind == "about of floats":
        about = text_of(arrays)
        about["outcome"]["message"] = "." * next(k for k in range(80) if len(padded(about, k)) % 8 == 0)
        arrays["about"] = np.frombuffer(files.to_text(about), dtype=np.float64)
    elif kind == "about in rows":
        arrays["about"] = arrays["about"][:, None]
    write_arrays(path, arrays)
    refused(path)


def padded(about: dict[str, Any], k: int) -> bytes:
    about["outcome"]["message"] = "." * k
    return files.to_text(about)


@pytest.mark.parametrize("part", ["checkpoint.npz", "segments/00000001.npz", "inputs.npz"])
def test_arrays_that_nothing_asks_for_are_refused(part: str, copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    edit_arrays(run / part, lambda arrays: arrays.update(surprise=np.zeros(3)))
    refused(run)


NUMBERS = [
    {"start": np.array(0)},
    {"start": np.array(-3)},
    {"start": np.array([3])},
    {"start": np.array(3.0)},
    {"start": np.array(3.5)},
    {"start": np.array(np.nan)},
    {"start": np.array(np.inf)},
    {"run": np.array(0)},
    {"run": np.array([1, 2])},
    {"run": np.array(np.inf)},
]


@pytest.mark.parametrize("eager", [True, False])
def test_segments_with_wrong_numbers_are_refused(
    eager: bool, copied: Callable[[str], Path], request: pytest.FixtureRequest
) -> None:
    run = copied("vector")
    if not eager:
        request.getfixturevalue("lazily")

    def change(numbers: dict[str, np.ndarray]) -> None:
        edit_arrays(run / "segments" / "00000001.npz", lambda arrays: arrays.update(numbers))

    assert accepted(run, NUMBERS, change) == []


# what is in the files: text -------------------------------------------------------------------------------------------

HOSTILE_RECIPES: dict[str, Any] = {
    "a class of another module": {"kind": "os.system", "with": {}},
    "a function of another module": {"function": "os.system"},
    "a function of the module": {"function": "named"},
    "a built-in function": {"function": "eval"},
    "a class of Python": {"kind": "type", "with": {}},
    "a dotted name": {"kind": "Particles.__init__.__globals__", "with": {}},
    "an unknown class": {"kind": "Metric", "with": {}},
    "a class that is a list": {"kind": ["Euclidean"], "with": {}},
    "a class that is None": {"kind": None, "with": {}},
    "no arguments": {"kind": "Sobolev"},
    "arguments in a list": {"kind": "Sobolev", "with": [1]},
    "an unknown argument": {"kind": "Euclidean", "with": {"x": 1}},
    "self as argument": {"kind": "Euclidean", "with": {"self": 1}},
    "a dunder as argument": {"kind": "Sobolev", "with": {"__class__": 1}},
    "an array outside": {"array": "../../outside"},
    "an array that is not there": {"array": "a99"},
    "an array that is a list": {"array": ["a0"]},
    "a float that is text": {"float": "one"},
    "a float that is a number": {"float": 1},
    "a float that is too large": {"float": "0x1p99999"},
    "a bare float": 1.5,
    "a sum of nothing like energies": {"sum": [[1, 2]]},
    "a sum that is text": {"sum": "ab"},
    "a sum in a factor": {"sum": [[{"sum": []}, {"kind": "Entropy", "with": {"temperature": 1}}]]},
    "a matrix by its factor": {"kind": "Gaussian", "with": {"mean": [0, 0], "cov": 1}},
    "two keys": {"kind": "Euclidean", "function": "sign", "with": {}},
    "no keys": {},
    "only arguments": {"with": {}},
    "another key": {"import": "os"},
    "a state": {"kind": "Vector", "with": {"values": [1]}},
    "a scheme": {"kind": "JKO", "with": {}},
    "a number": 7,
    "a text": "Euclidean",
    "a list": [],
}


def deep(levels: int, shape: str) -> Any:
    """Return a recipe in a recipe in a recipe."""
    recipe: Any = {"float": "0x1p0"}
    for _ in range(levels):
        recipe = {
            "list": [recipe],
            "sum": {"sum": [[1, recipe]]},
            "factor": {"sum": [[recipe, {"kind": "Entropy", "with": {}}]]},
            "with": {"kind": "MMD", "with": {"target": recipe}},
        }[shape]
    return recipe


@pytest.mark.parametrize("name", HOSTILE_RECIPES)
def test_recipes_only_name_what_is_in_the_tables(name: str, library: Path, tmp_path: Path, copied: Callable[[str], Path]) -> None:
    recipe = HOSTILE_RECIPES[name]
    if name not in ("a state", "a scheme", "a number", "a text", "a list"):
        with pytest.raises((TypeError, ValueError, KeyError)):
            recipes.decode(recipe, {"a0": np.zeros(2)})
    path = tmp_path / "bad.npz"
    shutil.copyfile(library / "saved" / "vector.npz", path)
    edit_about(path, lambda about: about.update(metrics=[recipe]))
    refused(path)
    run = copied("vector")
    edit_run(run, lambda about: about.update(metrics=[recipe]))
    refused(run)


@pytest.mark.parametrize("shape", ["list", "sum", "factor", "with"])
@pytest.mark.parametrize("levels", [61, 250, 2000])
def test_deep_recipes_are_refused(shape: str, levels: int, library: Path, tmp_path: Path) -> None:
    recipe = deep(levels, shape)
    with pytest.raises(ValueError):
        recipes.decode(recipe, {})
    if levels < 300:  # deeper ones are no text any more
        path = tmp_path / "bad.npz"
        shutil.copyfile(library / "saved" / "vector.npz", path)
        edit_about(path, lambda about: about.update(metrics=[recipe]))
        refused(path)


ENTRIES: dict[str, Any] = {
    "format": [None, "", "measureflow run", "measureflow solution 2", ["measureflow solution"]],
    "schema": [None, 0, 1, 3, 99, "2", [2]],
    "single": [None, 0, 1, "true", []],
    "layout": [None, 5, "Vector", {}, [], [{}], [None], [[]], [{"kind": "Vector"}], [{"kind": "os.system", "grid": None}]],
    "metrics": [None, 5, "x", {}, [], [5]],
    "speeds": [None, 5, "x", {}, [], [1, 2], [0], [-1], ["x"], [None], [{"float": "nan"}], [{"float": "inf"}], [True], [10**400]],
    "outcome": [None, 5, "x", [], {}],
}
ENDINGS: dict[str, Any] = {
    "status": [None, "", "great", "DONE", 1, ["done"], {}],
    "message": [None, 5, ["x"]],
    "t": [None, "1", [1.0], True, 10**400, {"float": "nan"}],
    "steps": [None, -1, 1.5, True, "8", 2**70],
    "rejected": [None, -1, 1.5, False, [], 2**63],
    "events": [
        None,
        5,
        "ab",
        [[0]],
        [[0, 1.0, 2.0]],
        [[-1, 0.5]],
        [[0.5, 0.5]],
        [[True, 0.5]],
        [["0", 0.5]],
        [[0, "x"]],
        [{}],
        {"0": 1},
    ],
    "cpu_seconds": [None, -1.0, "0", []],
    "scheme": [None, 5, []],
}


@pytest.fixture
def bad(library: Path, tmp_path: Path) -> Path:
    """A copy of a saved file."""
    return Path(shutil.copyfile(library / "saved" / "vector.npz", tmp_path / "bad.npz"))


@pytest.mark.parametrize("key", ENTRIES)
def test_saved_files_with_wrong_entries_are_refused(key: str, bad: Path) -> None:
    def change(value: Any) -> None:
        edit_about(bad, lambda about: about.update({key: value}))

    assert accepted(bad, ENTRIES[key], change) == []


@pytest.mark.parametrize("key", ENTRIES)
def test_saved_files_without_an_entry_are_refused(key: str, bad: Path) -> None:
    edit_about(bad, lambda about: about.pop(key))
    refused(bad)


@pytest.mark.parametrize("key", ENDINGS)
def test_ends_with_wrong_entries_are_refused(key: str, bad: Path, copied: Callable[[str], Path]) -> None:
    run = copied("vector")

    def change(value: Any) -> None:
        edit_about(bad, lambda about: about["outcome"].update({key: value}))

    def change_done(value: Any) -> None:
        edit_text(run / "done.json", lambda done: done["outcome"].update({key: value}))

    assert accepted(bad, ENDINGS[key], change) == []
    assert accepted(run, ENDINGS[key][:3], change_done) == []


@pytest.mark.parametrize("key", [*ENDINGS, "more"])
def test_ends_with_other_entries_are_refused(key: str, bad: Path, copied: Callable[[str], Path]) -> None:
    def change(about: dict[str, Any]) -> None:
        about["outcome"]["more"] = about["outcome"].pop(key, 1)

    edit_about(bad, change)
    refused(bad)
    run = copied("vector")
    edit_text(run / "done.json", change)
    refused(run)


RUN_ENTRIES = {
    **{key: values for key, values in ENTRIES.items() if key not in ("outcome", "format", "schema")},
    "format": [None, "measureflow solution"],
    "schema": [None, 0, 2, 99, "1"],
    "rows_per_segment": [None, 0, -3, 2, 4, "3", 3.0, True, [], 10**30],
    "arrays": [None, {}, [], {"a0": 0}],
}


@pytest.mark.parametrize("key", RUN_ENTRIES)
def test_runs_with_wrong_entries_are_refused(key: str, copied: Callable[[str], Path]) -> None:
    run = copied("vector")

    def change(value: Any) -> None:
        edit_run(run, lambda about: about.update({key: value}))

    assert accepted(run, RUN_ENTRIES[key], change) == []


@pytest.mark.parametrize("key", RUN_ENTRIES)
def test_runs_without_an_entry_are_refused(key: str, copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    edit_run(run, lambda about: about.pop(key))
    refused(run)


CHECKPOINTS = {
    "run": [None, "x", -1, [], 1.5],
    "segments": [None, -1, 1.5, "1", True, [], 0, 2, 10**9, 10**30, "../../x"],
    "pending": [None, -1, 0, 1, 3, "2", [], 10**30],
    "position": [None, 5, "x", {}, [], [[]], [1, 2, 3]],
}


@pytest.mark.parametrize("key", CHECKPOINTS)
def test_checkpoints_with_wrong_entries_are_refused(key: str, copied: Callable[[str], Path]) -> None:
    run = copied("open")

    def change(value: Any) -> None:
        edit_about(run / "checkpoint.npz", lambda about: about.update({key: value}))

    assert accepted(run, CHECKPOINTS[key], change) == []


@pytest.mark.parametrize("key", CHECKPOINTS)
def test_checkpoints_without_an_entry_are_refused(key: str, copied: Callable[[str], Path]) -> None:
    run = copied("open")
    edit_about(run / "checkpoint.npz", lambda about: about.pop(key))
    refused(run)


NAN, ONE = {"float": "nan"}, {"float": "0x1p0"}
PLACES: dict[str, tuple[tuple[int, ...], list[Any]]] = {
    "t": ((0,), [None, "x", [], NAN, {"float": "inf"}, {"array": "a0"}, True]),
    "states": ((1,), [None, 5, [], "x", [5], [{"kind": "Entropy", "with": {"temperature": 1}}]]),
    "control": ((3,), [None, 5, [], [1], [0] * 40]),
    "draws": ((3, 0), [None, -1, "x", NAN]),
    "interval": ((3, 2), [None, -1, "x", 1.5]),
    "level": ((3, 3), [None, -1, "x"]),
    "part": ((3, 4), [None, -1, "x"]),
    "tau": ((3, 5), [None, -1, "x", NAN]),
    "tally": ((4,), [None, 5, [], [1]]),
    "steps": ((4, 0), [None, -1, "x", NAN, []]),
    "rows": ((4, 1), [None, -1, "x"]),
    "last": ((4, 2), [None, "x", NAN]),
    "wanted": ((4, 3), [None, -1, "x"]),
    "speeds": ((4, 4), [None, 5, "x", [ONE]]),
    "distance": ((4, 5), [None, 5, "x"]),
    "residual": ((4, 6), [None, 5, "x"]),
    "iterations": ((4, 7), [None, 5, "x"]),
    "watched": ((5,), [None, 5, "x", ["x"], [None]]),
    "zeros": ((6,), [None, 5, "x", [5], [[0]], [[-1, ONE]], [["x", ONE]], [[0, NAN]]]),
    "stopped": ((7,), [None, 5, "x", []]),
}


@pytest.mark.parametrize("name", PLACES)
def test_checkpoints_with_a_wrong_position_are_refused(name: str, copied: Callable[[str], Path]) -> None:
    (*way, last), values = PLACES[name]
    run = copied("open")

    def change(value: Any) -> None:
        def put_in(about: dict[str, Any]) -> None:
            at(about["position"], way)[last] = value

        edit_about(run / "checkpoint.npz", put_in)

    assert accepted(run, values, change) == []


def test_a_position_has_as_many_entries_as_the_package_writes(copied: Callable[[str], Path]) -> None:
    for change in (lambda about: about["position"].pop(), lambda about: about["position"].append(1)):
        run = copied("open")
        edit_about(run / "checkpoint.npz", change)
        refused(run)


def test_players_metrics_and_speeds_must_be_as_many(library: Path, tmp_path: Path) -> None:
    def change(about: dict[str, Any], factor: int) -> None:
        about.update(metrics=about["metrics"] * factor, speeds=about["speeds"] * factor)

    for name, factor in (("game", 2), ("vector", 2), ("vector", 3)):
        path = Path(shutil.copyfile(library / "saved" / f"{name}.npz", tmp_path / "bad.npz"))
        edit_about(path, lambda about, factor=factor: change(about, factor))
        refused(path)
    path = Path(shutil.copyfile(library / "saved" / "game.npz", tmp_path / "bad.npz"))
    edit_about(path, lambda about: about.update(single=True))
    refused(path)


HUGE_GRID = {"bounds": [[0.0, 1.0]], "shape": [10**12], "periodic": [False]}
GRIDS: list[Any] = [
    None,
    5,
    {},
    {"bounds": [[0.0, 1.0]], "shape": [5], "periodic": [False]},
    {"bounds": [[0.0, 1.0]], "shape": [2, 3], "periodic": [False]},
    {"bounds": [[1.0, 0.0]], "shape": [6], "periodic": [False]},
    {"bounds": [[0.0, None]], "shape": [6], "periodic": [False]},
    {"bounds": [[-1.7e308, 1.7e308]], "shape": [6], "periodic": [False]},
    HUGE_GRID,
    {"bounds": [[0.0, 1.0]], "shape": [10**400], "periodic": [False]},
    {"bounds": [[0.0, 1.0]], "shape": ["6"], "periodic": [False]},
    {"bounds": [[0.0, 1.0]], "shape": [6], "periodic": [0]},
    {"bounds": [[0.0, 1.0]], "shape": [6], "periodic": [False], "more": 1},
    {"bounds": "ab", "shape": [6], "periodic": [False]},
]


@pytest.mark.parametrize("eager", [True, False])
def test_wrong_grids_are_refused(
    eager: bool, library: Path, copied: Callable[[str], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not eager:
        request.getfixturevalue("lazily")
    path = Path(shutil.copyfile(library / "saved" / "histogram.npz", tmp_path / "bad.npz"))
    run = copied("histogram")

    def change(grid: Any) -> None:
        edit_about(path, lambda about: about["layout"][0].update(grid=grid))

    def change_run(grid: Any) -> None:
        edit_run(run, lambda about: about["layout"][0].update(grid=grid))

    assert accepted(path, GRIDS, change) == []
    assert accepted(run, GRIDS, change_run) == []
    change(HUGE_GRID)
    with frugal(whole_size(path)):
        refused(path, ".")


VALUES: list[Any] = [None, True, -1, 0, 10**30, 1.5, "", "x", [], {}, [[None]], {"kind": "os.system"}]


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


@pytest.mark.parametrize("name", ["vector", "field", "gan"])
def test_any_value_at_any_place_of_a_saved_text_gives_a_solution_or_a_ValueError(
    name: str, library: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bad.npz"
    good = read_arrays(library / "saved" / f"{name}.npz")
    about = text_of(good)
    refusals = 0
    for k, way in enumerate(places(about)):
        for value in VALUES[k % 3 :: 3]:
            write_arrays(path, {**good, "about": as_text(replaced(about, way, value))})
            with within(5.0):
                try:
                    touched(path)
                except ValueError:
                    refusals += 1
    assert refusals > 30


def test_any_value_at_any_place_of_a_checkpoint_gives_a_solution_or_a_ValueError(copied: Callable[[str], Path]) -> None:
    run = copied("open")
    good = read_arrays(run / "checkpoint.npz")
    about = text_of(good)
    refusals = 0
    for k, way in enumerate(places(about)):
        for value in VALUES[k % 3 :: 3]:
            write_arrays(run / "checkpoint.npz", {**good, "about": as_text(replaced(about, way, value))})
            with within(5.0):
                try:
                    touched(run)
                except (ValueError, OSError):
                    refusals += 1
    assert refusals > 40


@pytest.mark.parametrize("value", ["missing", None, 1.5, "x", [[None]]], ids=str)
def test_resuming_a_crafted_run_raises_what_resume_says(value: Any, copied: Callable[[str], Path]) -> None:
    run = copied("open")
    about = files.read_text(run / "run.json")
    for key in about:
        broken = {**about, key: value}
        if value == "missing":
            del broken[key]
        (run / "run.json").write_bytes(files.to_text(broken))
        renumber(run)
        with within(5.0), contextlib.suppress(TypeError, ValueError, OSError, mf.MeasureflowError, Stop):
            mf.resume(run, events=stop_at(0.5))


# nothing larger than the files ----------------------------------------------------------------------------------------


def with_memory(run: Path, recipe: Any, arrays: dict[str, np.ndarray]) -> None:
    """Put a recipe, which may use arrays, where the checkpoint keeps the memory of the scheme."""

    def change(kept: dict[str, np.ndarray]) -> None:
        about = text_of(kept)
        about["position"][2] = recipe
        kept.update(arrays, about=as_text(about))

    edit_arrays(run / "checkpoint.npz", change)


def test_one_array_used_many_times_takes_no_memory_many_times(copied: Callable[[str], Path]) -> None:
    run = copied("open")
    atoms = {"kind": "Particles", "with": {"points": {"array": "big"}, "weights": None}}
    with_memory(run, [atoms] * 300, {"big": np.zeros((100_000, 1))})
    with within(5.0), frugal(whole_size(run)), contextlib.suppress(ValueError):
        mf.load(run)
    run = copied("open")
    about = files.read_text(run / "run.json")
    edit_inputs(run, lambda arrays: arrays.update(big=np.zeros((100_000, 1))))
    mmd = {"kind": "MMD", "with": {"target": atoms, "kernel": "gaussian"}}
    edit_run(run, lambda now: now.update(metrics=about["metrics"] + [mmd] * 300))
    with within(5.0), frugal(whole_size(run)), contextlib.suppress(ValueError):
        mf.load(run)


@pytest.mark.parametrize(
    "recipe",
    [
        {"kind": "Bilinear", "with": {"C": {"array": "big"}}},
        {"kind": "LinearQuadratic", "with": {"P": {"array": "one"}, "C": {"array": "big"}, "Q": 1}},
        {"kind": "LinearQuadratic", "with": {"P": {"array": "one"}, "C": {"array": "big"}, "Q": {"array": "one"}}},
        {"kind": "Gaussian", "with": {"mean": {"array": "line"}, "cov": 1}},
        {"kind": "Gaussian", "with": {"mean": {"array": "line"}, "cov": {"array": "number"}}},
        {"kind": "Quadratic", "with": {"matrix": 1, "centre": {"array": "line"}, "linear": None, "constant": 0}},
        {"kind": "KL", "with": {"target": {"kind": "Gaussian", "with": {"mean": {"array": "line"}, "cov": 1}}}},
        {"kind": "Grid", "with": {"bounds": [[0, 1]] * 3, "shape": [10**6] * 3, "periodic": False}},
        {"kind": "Wasserstein", "with": {"method": "sliced", "projections": 10**12}},
    ],
    ids=lambda recipe: recipe["kind"],
)
def test_a_number_or_a_line_stands_for_no_huge_matrix(recipe: Any, copied: Callable[[str], Path]) -> None:
    run = copied("open")
    sizes = {"big": (1, 20_000), "line": (20_000,), "one": (1, 1), "number": ()}
    with_memory(run, recipe, {name: np.ones(shape) for name, shape in sizes.items()})
    with within(5.0), frugal(whole_size(run)), contextlib.suppress(ValueError):
        mf.load(run)


@pytest.mark.parametrize("name", ["vector", "gan", "field"])
def test_opening_takes_no_more_memory_than_the_files(name: str, library: Path) -> None:
    for path in (library / "saved" / f"{name}.npz", library / "runs" / name):
        touched(path)
        with frugal(whole_size(path), 1_000_000):
            touched(path)


def test_files_of_many_rows_open_in_seconds(library: Path, tmp_path: Path) -> None:
    n = 40_000
    tables = {name: np.zeros((n, 1), dtype=np.int64 if name == "iterations" else np.float64) for name in rows.TABLES}
    first = read_arrays(library / "saved" / "vector.npz")
    head = {name: first[name] for name in ("about", "events.index", "events.t")}
    write_arrays(tmp_path / "long.npz", {**head, "t": np.arange(n) * 1.0, **tables, "player0.values": np.zeros((n, 1))})
    with within(5.0):
        sol = mf.load(tmp_path / "long.npz")
    assert len(sol) == n


# laziness -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arrays that were read, as file/array."""
    reads: list[str] = []
    read = npz.Archive.read

    def noted(self: npz.Archive, name: str) -> np.ndarray:
        reads.append(f"{self.path.name}/{name}")
        return read(self, name)

    monkeypatch.setattr(npz.Archive, "read", noted)
    return reads


@pytest.mark.usefixtures("lazily")
@pytest.mark.parametrize("name", FLOWS)
def test_a_large_run_opens_without_reading_its_rows(name: str, library: Path, log: list[str]) -> None:
    sol = mf.load(library / "runs" / name)
    assert {read.partition("/")[2] for read in log if read.startswith("0")} <= {"run", "start"}
    log.clear()
    assert len(sol) > 3
    assert {read.partition("/")[2] for read in log} <= {"run", "start"}
    log.clear()
    assert bits(sol.states[1]) == content(FLOWS[name]())["states"][1]
    assert {read.partition("/")[0] for read in log} == {"00000000.npz"}
    assert {read.partition("/")[2].partition(".")[0] for read in log} <= {"run", "start", "player0", "player1"}


@pytest.mark.usefixtures("lazily")
def test_a_large_run_reads_a_segment_once_for_neighbouring_rows(library: Path, log: list[str]) -> None:
    sol = mf.load(library / "runs" / "vector")
    log.clear()
    for k in range(len(sol)):
        assert len(sol.states[k]) == 2
    states = [read for read in log if read.endswith("player0.values")]
    assert sorted(states) == [f"0000000{k}.npz/player0.values" for k in range(3)]


@pytest.mark.usefixtures("lazily")
def test_a_missing_segment_of_a_large_run_fails_where_it_is_touched(library: Path, copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    whole = mf.load(library / "runs" / "vector")
    (run / "segments" / "00000001.npz").unlink()
    sol = mf.load(run)
    assert len(sol) == len(whole) == 9
    for k in (0, 2, 6, 8, -1):
        assert bits(sol.states[k]) == bits(whole.states[k])
    for touch in (lambda: sol.states[3], lambda: sol.states[-4], lambda: sol.states[2:7], lambda: sol.t, lambda: sol.energies):
        with pytest.raises(OSError):
            touch()
    assert len(mf.load(library / "runs" / "vector").states[::2]) == 5


@pytest.mark.usefixtures("lazily")
def test_a_damaged_segment_of_a_large_run_fails_where_it_is_touched(copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    path = run / "segments" / "00000001.npz"
    good, rng = path.read_bytes(), np.random.default_rng(1)
    for _ in range(60):
        k, bit = int(rng.integers(len(good))), int(rng.integers(8))
        path.write_bytes(good[:k] + bytes([good[k] ^ (1 << bit)]) + good[k + 1 :])
        sol = mf.load(run)
        assert len(sol.states[0]) == 2
        with pytest.raises(ValueError, match="damaged"):
            content(sol)


@pytest.mark.usefixtures("lazily")
def test_a_damaged_state_of_a_large_file_fails_where_it_is_touched(bad: Path) -> None:
    change_array(bad, "player0.values", put((2, 0), np.nan))
    sol = mf.load(bad)
    assert len(sol.t) == len(sol.energies) == 9
    assert len(sol.states[1]) == 2
    with pytest.raises(ValueError, match="must be finite"):
        sol.states[2]


def test_a_damaged_segment_of_a_small_run_is_found_when_it_is_opened(copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    change_array(run / "segments" / "00000001.npz", "player0.values", put((2, 0), np.nan))
    assert whole_size(run) < stored.VERIFIED == 256 * 2**20
    with pytest.raises(ValueError, match="must be finite"):
        mf.load(run)


# recipes --------------------------------------------------------------------------------------------------------------


def square(x: Any) -> float:
    return 0.5 * float(np.sum(np.asarray(x) ** 2))


def itself(x: Any) -> np.ndarray:
    return np.array(x)


def halves(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * np.sum(x**2, axis=-1))


def shrunk(x: np.ndarray, tau: float) -> np.ndarray:
    return np.asarray(x / (1.0 + tau))


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(x @ y.T)


def product_x(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(y[None], (len(x), *y.shape))


def product_y(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x[:, None], (len(x), len(y), x.shape[1]))


def pull(own: mf.Vector, others: Any) -> tuple[float, np.ndarray]:
    return float(own @ others[0]), np.asarray(others[0])


def payoff(x: mf.Vector, y: mf.Vector) -> tuple[float, np.ndarray, np.ndarray]:
    return float(x @ y), np.asarray(y), np.asarray(x)


def flat(x: np.ndarray) -> np.ndarray:
    return np.asarray(x)


def unit(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.eye(x.shape[1]), (len(x), x.shape[1], x.shape[1]))


OWN = {f.__name__: f for f in (square, itself, halves, shrunk, product, product_x, product_y, pull, payoff, flat, unit)}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recipes hold the functions of these tests."""
    for name, function in OWN.items():
        monkeypatch.setitem(recipes.FUNCTIONS, f"test {name}", function)


LAW, OTHER, ON_LINE = mf.Particles(CLOUD, WEIGHTS), mf.Particles(CLOUD[:3] - 0.5), mf.Quantiles([-1.0, 0.25, 0.3, 2.0])
BELL, POINT, OTHER_POINT = mf.Gaussian([0.5, 0.1], [[1.0, 0.2], [0.2, 0.7]]), mf.Vector([1.0, -2.0]), mf.Vector([0.3, 0.1])
BINS, SHEET = mf.Histogram(MASSES, LINE), mf.Field(RNG_FIELD, GRID)
MATRIX = np.array([[2.0, 0.5], [0.5, 1.0]])

EXAMPLES: list[tuple[Any, tuple[Any, ...]]] = [
    (LAW, ()),
    (ON_LINE, ()),
    (BINS, ()),
    (BELL, ()),
    (POINT, ()),
    (SHEET, ()),
    (GRID, ()),
    (mf.Wasserstein(1, "sliced", epsilon=0.1, projections=7, seed=2**32 - 1), ()),
    (mf.Wasserstein(1), (LAW, OTHER)),
    (mf.Wasserstein(), (BELL, mf.Gaussian([0.0, 0.0], MATRIX))),
    (mf.Euclidean(), (POINT, OTHER_POINT)),
    (mf.Sobolev(-0.3), (SHEET, mf.Field(RNG_FIELD**2, GRID))),
    (mf.JKO("alternating", (1, 2), tolerance=1e-7, max_iterations=77), ()),
    (mf.JKO(), ()),
    (mf.Explicit("implicit", (3,)), ()),
    (e.Box(-0.1, 3.0), (POINT,)),
    (e.MMD(LAW, e.GaussianKernel(0.7)), (OTHER,)),
    (e.MMD(BINS, e.UserKernel(product, product_x)), (ON_LINE,)),
    (e.EnergyDistance(ON_LINE), (mf.Quantiles([0.0, 1.0]),)),
    (e.KL(BELL), (mf.Gaussian([0.0, 0.0], MATRIX),)),
    (e.Entropy(0.3), (BELL,)),
    (e.PowerEntropy(2.5), (ON_LINE,)),
    (e.Function(square, itself, convexity=1.0), (SHEET,)),
    (e.Interaction(halves, itself, True, convexity=0.0), (LAW,)),
    (e.QuadraticInteraction(-1.5), (LAW,)),
    (e.EnergyKernel(), ()),
    (e.GaussianKernel(0.1), ()),
    (e.LaplaceKernel(3.0), ()),
    (e.UserKernel(product), ()),
    (e.Potential(halves, itself, prox=shrunk, convexity=1.0), (LAW,)),
    (e.Quadratic(MATRIX, [1.0, 2.0], [0.1, 0.2], -3.0), (LAW,)),
    (e.Quadratic(0.1), (POINT,)),
    (e.SquaredWasserstein(ON_LINE), (mf.Quantiles([0.0, 0.5, 0.7, 3.0]),)),
    (e.Wasserstein1(ON_LINE), (mf.Quantiles([0.0, 0.5, 0.7, 3.0]),)),
    (g.Game([pull, e.Quadratic(2.0)]), (POINT, OTHER_POINT)),
    (g.ZeroSum(payoff), (POINT, OTHER_POINT)),
    (g.FeatureCritic(flat, unit), (POINT,)),
    (g.NeuronCritic("relu", "float32"), (NEURONS,)),
    (g.DiracGAN("nsgan"), (mf.Vector(1.0), mf.Vector(2.0))),
    (g.GAN(LAW, critic=g.NeuronCritic(), penalty=g.Ridge(0.1)), (OTHER, NEURONS)),
    (g.GAN(BINS, critic=g.FeatureCritic(flat, unit)), (ON_LINE, mf.Vector(2.0))),
    (g.Ridge(0.3), ()),
    (g.KernelGame(product, product_x, product_y, (9.0, None)), (LAW, OTHER)),
    (g.Bilinear([[1.0, 2.0], [0.1, 0.2]]), (POINT, OTHER_POINT)),
    (g.Bilinear(0.1), (mf.Vector(1.0), mf.Vector(2.0))),
    (g.LinearQuadratic(MATRIX, 0.1 * MATRIX, np.eye(2)), (POINT, OTHER_POINT)),
    (e.Entropy() + 0.1 * e.KL(BELL) - 3.0 * e.Quadratic(0.1), (BELL,)),
]


def values_of(thing: Any, states: tuple[Any, ...]) -> Any:
    """Return what an object of the package does, as bits."""
    if isinstance(thing, e.Energy):
        return [bits(thing.value(x)) for x in states], [bits(thing.gradient(x)) for x in states], thing.convexity, thing.bounds
    if isinstance(thing, g.Game | g.ZeroSum | g.DiracGAN | g.GAN | g.KernelGame | g.Bilinear | g.LinearQuadratic):
        return [values_of(thing.energy(k, states), (states[k],)) for k in range(len(states))]
    if isinstance(thing, mf.Metric):
        distances = [bits(float(thing.distance(*pair))) for pair in (states, states[::-1]) if pair]
        return [*distances, sorted(thing.__dict__.items())]
    if isinstance(thing, g.FeatureCritic | g.NeuronCritic):
        return [bits(part) for part in thing.values_and_slopes(*states, CLOUD)]
    if isinstance(thing, e.GaussianKernel | e.LaplaceKernel | e.EnergyKernel | e.UserKernel):
        return [bits(part) for part in thing.integrate(CLOUD, CLOUD + 1.0, WEIGHTS)]
    return bits(thing) if isinstance(thing, mf.State) else repr(thing) + repr(sorted(getattr(thing, "__dict__", {}).items()))


@pytest.mark.usefixtures("own")
def test_every_class_of_the_tables_has_an_example() -> None:
    assert {type(thing) for thing, _ in EXAMPLES} >= set(recipes.ARGUMENTS)
    assert recipes.CLASSES.keys() == {kind.__name__ for kind in recipes.ARGUMENTS}


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("k", range(len(EXAMPLES)), ids=lambda k: f"{k} {type(EXAMPLES[k][0]).__name__}")
def test_an_object_made_from_its_recipe_is_the_same_bit_for_bit(k: int, tmp_path: Path) -> None:
    thing, states = EXAMPLES[k]
    first: dict[str, np.ndarray] = {}
    recipe = recipes.encode(thing, first)
    assert not recipes.has_python(recipe)
    write_arrays(tmp_path / "a.npz", first)
    through_disk = files.from_text(files.to_text({"recipe": recipe}), "here")["recipe"]
    again = recipes.decode(through_disk, read_arrays(tmp_path / "a.npz"))
    assert type(again) is type(thing)
    second: dict[str, np.ndarray] = {}
    assert recipes.encode(again, second) == recipe == through_disk
    assert {name: bits(values) for name, values in first.items()} == {name: bits(values) for name, values in second.items()}
    assert values_of(again, states) == values_of(thing, states)
    assert recipes.differences("x", recipe, recipe, first, second) == []


@pytest.mark.parametrize("k", range(len(EXAMPLES)), ids=lambda k: f"{k} {type(EXAMPLES[k][0]).__name__}")
def test_functions_of_the_user_are_noted_by_name_and_not_kept(k: int) -> None:
    made: dict[str, np.ndarray] = {}
    recipe = recipes.encode(EXAMPLES[k][0], made)
    uses = [name for name in OWN if json.dumps({"python": name}) in json.dumps(recipe)]
    assert recipes.has_python(recipe) == bool(uses)
    if uses:
        with pytest.raises(mf.UnsupportedError, match="functions and classes of the user's"):
            recipes.decode(recipe, made)


class OwnMetric(mf.Metric):
    """The user's."""


def test_what_is_not_in_the_tables_is_the_users(library: Path) -> None:
    for value in (lambda x: x, square, OwnMetric, object(), np.array(["x"]), 1.0j, {"a": 1}, b"x", np.zeros(2, dtype=object)):
        assert recipes.has_python(recipes.encode([1, (value,)], {}))
    for value in (None, True, 1, 1.5, "x", [1], (), np.zeros(2), np.int64(3), np.float32(0.5), np.arange(3)):
        assert not recipes.has_python(recipes.encode([1, (value,)], {}))


def differ(old: Any, new: Any) -> list[str]:
    there: dict[str, np.ndarray] = {}
    here: dict[str, np.ndarray] = {}
    return recipes.differences("problem", recipes.encode(old, there), recipes.encode(new, here), there, here)


DIFFERENT: list[tuple[Any, Any, str, str, str]] = [
    (e.Entropy(0.5), e.Entropy(0.25), "problem.temperature", "0.5", "0.25"),
    (e.Entropy(1.0), e.Entropy(np.nextafter(1.0, 2.0)), "problem.temperature", "1.0", "1.0000000000000002"),
    (e.Entropy(), DECAY, "problem", "Entropy", "Quadratic"),
    ((1, "x", 2.5), (1, "y", 2.5), "problem[1]", "'x'", "'y'"),
    ((1, 2), (1, 2, 3), "problem", "[1, 2]", "[1, 2, 3]"),
    (None, 1.5, "problem", "None", "1.5"),
    (2, 2.0, "problem", "2", "2.0"),
    (mf.Vector([1.0, 2.0]), mf.Vector([1.0, 3.0]), "problem.values", "entry 1 is 2.0", "3.0"),
    (mf.Vector([1.0, 0.0]), mf.Vector([1.0, -0.0]), "problem.values", "entry 1 is 0.0", "-0.0"),
    (mf.Vector([1.0, 2.0]), mf.Vector(1.0), "problem.values", "(2,)", "(1,)"),
    (e.MMD(LAW, "gaussian"), e.MMD(LAW, "gaussian", 2.0), "problem.kernel.bandwidth", "1.0", "2.0"),
    (e.MMD(LAW, "gaussian"), e.MMD(LAW, "laplace"), "problem.kernel", "GaussianKernel", "LaplaceKernel"),
    (e.Entropy() + DECAY, e.Entropy() + 2.0 * DECAY, "problem[1][0]", "1.0", "2.0"),
    (e.Function(square, itself), DECAY, "problem", "Function", "Quadratic"),
    (mf.Histogram(MASSES, LINE), mf.Histogram(MASSES, mf.Grid([(0.0, 2.0)], 6)), "problem.grid.bounds[0][1]", "1.0", "2.0"),
]


@pytest.mark.parametrize("k", range(len(DIFFERENT)))
def test_differences_are_named(k: int) -> None:
    old, new, where, there, here = DIFFERENT[k]
    (line,) = differ(old, new)
    assert line.startswith(f"{where} (")
    before, _, after = line.partition(" there, ")
    assert there in before
    assert here in after
    assert differ(old, old) == differ(new, new) == []


def test_every_difference_is_named_and_functions_of_the_user_are_none() -> None:
    assert len(differ((1, e.Entropy(0.5), mf.Vector(1.0)), (2, e.Entropy(0.25), mf.Vector(2.0)))) == 3
    assert differ(square_of_fields(), square_of_fields()) == []


@pytest.mark.parametrize("name", [name for name in FLOWS if name != "field"])
def test_solving_into_the_run_of_another_problem_names_the_difference(name: str, copied: Callable[[str], Path]) -> None:
    run = copied(name)
    before = {path: path.read_bytes() for path in of_a_run(run)}
    with pytest.raises(ValueError, match=r"holds the run of another problem; these differ: .*t_span\[1\] \(.*0\.75 here\)"):
        mf.solve(DECAY, mf.Vector(1.0), 0.75, 0.125, store=run)
    assert {path: path.read_bytes() for path in of_a_run(run)} == before


# properties -----------------------------------------------------------------------------------------------------------

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | st.integers() | FINITE | st.text()
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
LAWS = (
    particles()
    | particles(equal=False)
    | particles(dim=1)
    | quantiles()
    | gaussians()
    | gaussians(dim=1)
    | vectors()
    | fields(GRID)
    | histograms(LINE)
    | histograms(GRID)
)
"""A state of any kind."""


@given(data=st.dictionaries(st.text().filter(lambda key: key != "crc32"), JSON, max_size=6))
def test_text_round_trip(data: dict[str, Any]) -> None:
    text = files.to_text(data)
    again = files.from_text(text, "here")
    assert repr(again) == repr({key: again[key] for key in again})
    assert files.to_text(again) == text
    assert again == data
    assert text.isascii()
    assert "crc32" not in again


@given(data=st.dictionaries(st.text(), JSON, min_size=1, max_size=3), place=st.integers(0), byte=st.integers(1, 255))
def test_a_changed_byte_of_a_text_is_found(data: dict[str, Any], place: int, byte: int) -> None:
    text = bytearray(files.to_text(data))
    text[place % len(text)] ^= byte
    with pytest.raises(ValueError, match="here is damaged"):
        files.from_text(bytes(text), "here")


KINDS = st.sampled_from([np.float64, np.float32, np.int64, np.uint8])
ANY_ARRAY = KINDS.flatmap(lambda kind: arrays(kind, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
NAMES = st.text("abcXYZ019._", min_size=1, max_size=80)


@given(content=st.dictionaries(NAMES, ANY_ARRAY, min_size=1, max_size=6))
def test_arrays_round_trip(content: dict[str, np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        write_arrays(path, content)
        found = read_arrays(path)
        with np.load(path) as plain:
            assert {name: bits(plain[name]) for name in plain.files} == {name: bits(values) for name, values in content.items()}
        again = io.BytesIO()
        npz.write(again, found)
        assert again.getvalue() == path.read_bytes()
    assert list(found) == list(content)
    assert {name: bits(values) for name, values in found.items()} == {name: bits(values) for name, values in content.items()}


def moved(draw: st.DrawFn, state: mf.State) -> mf.State:
    """Return another state of the same structure."""
    if isinstance(state, mf.Histogram):
        return draw(histograms(state.grid))
    if isinstance(state, mf.Gaussian):
        return draw(gaussians(dim=state.dim))
    shift = draw(COORDINATES)
    return state.replace(np.asarray(state.coordinates) + shift)


@st.composite
def some_rows(draw: st.DrawFn) -> list[rows.Row]:
    """Rows of one to three players of any kinds."""
    states = draw(st.lists(LAWS, min_size=1, max_size=3))
    times = sorted(draw(st.sets(FINITE, min_size=1, max_size=4)))
    any_float = st.floats(width=64)
    result = []
    for t in times:
        tables = {name: draw(arrays(np.float64, len(states), elements=any_float)) for name in rows.TABLES if name != "iterations"}
        tables["iterations"] = draw(arrays(np.int64, len(states)))
        result.append(rows.Row(t, tuple(moved(draw, state) for state in states), tables))
    return result


@given(kept=some_rows(), prefix=st.sampled_from(["", "rows."]))
def test_rows_round_trip(kept: list[rows.Row], prefix: str) -> None:
    layout = rows.Layout.of(kept[0].states)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        write_arrays(path, {prefix + name: values for name, values in rows.to_arrays(kept).items()})
        found = rows.FileRows(npz.Archive(path), layout, prefix)
        assert set(found.archive.members) <= found.names()
        assert len(found) == len(kept)
        assert bits(found.times()) == bits(np.array([row.t for row in kept]))
        for name in rows.TABLES:
            assert bits(found.table(name)) == bits(np.array([row.tables[name] for row in kept]))
        for k, row in enumerate(kept):
            assert bits(found.states(k)) == bits(row.states)
        assert [bits(row.states) for row in checkpoint.in_memory(found)] == [bits(row.states) for row in kept]


@given(states=st.lists(LAWS, min_size=1, max_size=4))
def test_layout_round_trip(states: list[mf.State]) -> None:
    layout = rows.Layout.of(tuple(states))
    data = files.from_text(files.to_text({"layout": layout.data()}), "here")["layout"]
    again = rows.Layout.from_data(data)
    assert again == layout
    assert again.data() == layout.data()
    assert again.kinds == tuple(type(x).__name__ for x in states)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    count, number = st.integers(0, 2**63 - 1), FINITE.map(abs)
    events = st.lists(st.tuples(count, FINITE), max_size=3).map(tuple)
    text = st.text().map(one_line)
    parts = (st.sampled_from(list(mf.Status)), text, FINITE, count, count, events, number, text)
    return Outcome(*(draw(part) for part in parts))


@given(outcome=outcomes())
def test_outcome_round_trip(outcome: Outcome) -> None:
    events = events_from_arrays(*events_to_arrays(outcome.events))
    again = Outcome.from_data(files.from_text(files.to_text(outcome.data()), "here"), events)
    assert again == outcome
    assert type(again.status) is mf.Status
    assert bits(again.t) == bits(outcome.t)


FLOATS = st.floats(width=64)
VALUE = (
    st.none()
    | st.booleans()
    | st.integers()
    | FLOATS
    | st.text()
    | arrays(np.float64, (2,), elements=FLOATS)
    | arrays(np.int64, (2,))
)


@given(value=st.recursive(VALUE, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=20))
def test_plain_values_round_trip_through_recipes(value: Any) -> None:
    first: dict[str, np.ndarray] = {}
    recipe = recipes.encode(value, first)
    assert not recipes.has_python(recipe)
    again = recipes.decode(files.from_text(files.to_text({"recipe": recipe}), "here")["recipe"], first)
    assert plain(again) == plain(value)
    second: dict[str, np.ndarray] = {}
    assert recipes.encode(again, second) == recipe
    assert recipes.differences("x", recipe, recipe, first, second) == []


def plain(value: Any) -> Any:
    """Return bits, all NaN alike: recipes do not keep their signs and payloads outside arrays."""
    if isinstance(value, tuple):
        return [plain(entry) for entry in value]
    return "NaN" if isinstance(value, float) and np.isnan(value) else bits(value)


@given(state=LAWS)
def test_states_round_trip_through_recipes(state: mf.State) -> None:
    kept: dict[str, np.ndarray] = {}
    again = recipes.decode(json.loads(json.dumps(recipes.encode(state, kept))), kept)
    assert bits(again) == bits(state)


@given(state=LAWS, other=LAWS)
def test_recipes_of_two_states_differ_when_their_bits_do(state: mf.State, other: mf.State) -> None:
    assert (differ(state, other) == []) == (bits(state) == bits(other))


SLICES = st.slices(7) | st.slices(20)


@given(k=st.integers(-9, 8), part=SLICES, single=st.booleans())
def test_rows_of_states_behave_like_a_list(k: int, part: slice, single: bool) -> None:
    laws = [(mf.Vector(float(j)), mf.Vector(-float(j))) for j in range(7)]
    none = {name: np.zeros(2) for name in rows.TABLES}
    found = rows.StateList(rows.MemoryRows(2, [rows.Row(float(j), x, none) for j, x in enumerate(laws)]), single)
    like = [x[0] if single else x for x in laws]
    assert len(found) == len(like)
    assert list(found) == like
    assert list(reversed(found)) == like[::-1]
    assert found[part] == like[part]
    if -7 <= k < 7:
        assert found[k] is like[k] or found[k] == like[k]
        assert found[np.int64(k)] == like[k]
        assert found.index(like[k]) == k % 7
    else:
        with pytest.raises(IndexError, match=r"index must be in \[-7, 6\]"):
            found[k]
    for wrong in (1.0, "1", None, True):
        with pytest.raises(TypeError):
            found[wrong]
    assert "7 rows" in repr(found)


TAUS = st.sampled_from([0.05, 0.13, 0.3, 1.0, "auto"])
STRIDES = (
    st.none() | st.integers(1, 9) | st.sets(st.integers(0, 20), min_size=1, max_size=5).map(lambda s: [k / 20 for k in sorted(s)])
)


def flow_of(state: mf.State, tau: Any, save_at: Any, **to: Any) -> mf.Solution:
    if isinstance(state, mf.Histogram):
        if state.dim > 1:
            state = mf.Field(state.masses, state.grid)
        else:
            stride = save_at if isinstance(save_at, int) else None  # there is no geodesic between histograms
            return mf.solve(0.0 * DECAY, state, 1.0, 0.25, save_at=stride, **to)
    energy = square_of_fields() if isinstance(state, mf.Field) else DECAY
    return mf.solve(energy, state, 1.0, tau, save_at=save_at, rtol=0.1, **to)


@settings(max_examples=15)
@given(state=LAWS, tau=TAUS, save_at=STRIDES, capacity=st.integers(1, 4))
def test_a_flow_on_disk_has_the_bits_of_the_flow_in_memory(state: mf.State, tau: Any, save_at: Any, capacity: int) -> None:
    here = flow_of(state, tau, save_at)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "MOST_ROWS", capacity)
        run = Path(folder) / "run"
        there = flow_of(state, tau, save_at, store=run)
        assert content(there) == content(here)
        assert touched(run) == content(here)
        if not isinstance(state, mf.Field) and not (isinstance(state, mf.Histogram) and state.dim > 1):
            assert content(mf.resume(run)) == content(here)


@settings(max_examples=15)
@given(state=LAWS, tau=TAUS, save_at=STRIDES)
def test_a_saved_flow_has_the_bits_of_the_flow_in_memory(state: mf.State, tau: Any, save_at: Any) -> None:
    sol = flow_of(state, tau, save_at)
    with tempfile.TemporaryDirectory() as folder:
        loaded = mf.load(sol.save(Path(folder) / "a"))
        assert content(loaded) == content(sol)
        assert loaded.info["cpu_seconds"] == sol.info["cpu_seconds"]
        assert repr(loaded) == repr(sol)
        assert loaded.save(Path(folder) / "b").read_bytes() == (Path(folder) / "a.npz").read_bytes()


# nothing is executed --------------------------------------------------------------------------------------------------

PACKAGE = Path(mf.__file__).parent
BANNED = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "jsonpickle"}
EXECUTING = {"eval", "exec", "__import__", "import_module", "execfile", "runpy", "literal_eval"}


@functools.cache
def sources() -> dict[str, ast.AST]:
    """The syntax trees of the package."""
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Return (line, name) of every name and import in a syntax tree: no comments, no texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, part) for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, part) for part in (node.module or "").split("."))
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield node.value.lineno, "allow_pickle"


def test_the_package_holds_nothing_that_unpickles_or_executes() -> None:
    found = []
    assert len(sources()) > 60
    for name, tree in sources().items():
        found += [f"{name}:{line}: {word}" for line, word in words(tree) if word in BANNED | EXECUTING | {"allow_pickle"}]
    assert found == []


def test_such_names_would_be_found() -> None:
    bad = "import pickle\nfrom yaml import load\neval('1')\nnp.load('x', allow_pickle=True)\nimportlib.import_module('os')\n"
    names = [word for _, word in words(ast.parse(bad)) if word in BANNED | EXECUTING | {"allow_pickle"}]
    assert sorted(names) == ["allow_pickle", "eval", "import_module", "pickle", "yaml"]
    assert not {word for _, word in words(ast.parse("# eval(\n'pickle'\nnp.load(x, allow_pickle=False)\n"))} & BANNED


def test_numpy_files_are_never_read_by_numpy_load() -> None:
    for name, tree in sources().items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("load", "fromfile", "memmap")
            ):
                assert ast.unparse(node.func) not in ("np.load", "numpy.load", "np.fromfile", "np.memmap"), (
                    f"{name}:{node.lineno}"
                )
