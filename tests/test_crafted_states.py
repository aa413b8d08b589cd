"""Files whose bytes are right but whose states and tables are not are refused."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crafting import (
    Change,
    accepted,
    change_array,
    edit_arrays,
    open_and_check,
    put,
    read_arrays,
    refused,
    text_of,
    write_arrays,
)

from measureflow import files

# what is in the files: states and tables ------------------------------------------------------------------------------


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
