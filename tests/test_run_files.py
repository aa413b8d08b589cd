"""Run directories and saved files: the same bits as in memory, every damage found, read when asked for."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from crafting import (
    DECAY,
    FLOWS,
    bits,
    change_array,
    content,
    edit_about,
    edit_text,
    frugal,
    of_a_run,
    put,
    refused,
    stop_at,
    touched,
    whole_size,
    within,
)
from numpy.testing import assert_array_equal

import measureflow as mf
from measureflow import files, npz, store, stored


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
    (run / "done.json").write_bytes(b'{\n "crc32": 0,\n "x": [\n' + b"  [],\n" * 600_000 + b"  []\n ]\n}\n")
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
    with within(60.0):
        assert touched(run) == whole


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("part", ["run.json", "inputs.npz", "checkpoint.npz", "done.json", "segments/00000001.npz"])
def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(part: str, copied: Callable[[str], Path]) -> None:
    run = copied("vector")
    (run / part).unlink()
    os.mkfifo(run / part)
    with within(60.0), pytest.raises((ValueError, OSError)):
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
