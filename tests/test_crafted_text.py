"""Files whose bytes are right but whose text is not are refused, in time and memory of their size."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crafting import (
    Stop,
    accepted,
    as_text,
    at,
    edit_about,
    edit_arrays,
    edit_inputs,
    edit_run,
    edit_text,
    frugal,
    places,
    read_arrays,
    refused,
    renumber,
    replaced,
    stop_at,
    text_of,
    touched,
    whole_size,
    within,
    write_arrays,
)

import measureflow as mf
from measureflow import files, recipes, rows

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
            with within(60.0):
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
            with within(60.0):
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
        with within(60.0), contextlib.suppress(TypeError, ValueError, OSError, mf.MeasureflowError, Stop):
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
    with within(60.0), frugal(whole_size(run)), contextlib.suppress(ValueError):
        mf.load(run)
    run = copied("open")
    about = files.read_text(run / "run.json")
    edit_inputs(run, lambda arrays: arrays.update(big=np.zeros((100_000, 1))))
    mmd = {"kind": "MMD", "with": {"target": atoms, "kernel": "gaussian"}}
    edit_run(run, lambda now: now.update(metrics=about["metrics"] + [mmd] * 300))
    with within(60.0), frugal(whole_size(run)), contextlib.suppress(ValueError):
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
    with within(60.0), frugal(whole_size(run)), contextlib.suppress(ValueError):
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
    with within(60.0):
        sol = mf.load(tmp_path / "long.npz")
    assert len(sol) == n
