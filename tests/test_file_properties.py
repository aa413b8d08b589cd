"""What holds for all files, and that none of them is executed."""

from __future__ import annotations

import ast
import functools
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crafting import (
    DECAY,
    GRID,
    LINE,
    bits,
    content,
    differ,
    read_arrays,
    square_of_fields,
    touched,
    write_arrays,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from strategies import COORDINATES, fields, gaussians, histograms, particles, quantiles, vectors

import measureflow as mf
from measureflow import checkpoint, files, npz, recipes, rows, store
from measureflow.status import Outcome, events_from_arrays, events_to_arrays, one_line

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


@settings(max_examples=8)
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


@settings(max_examples=8)
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
    """But for `measureflow run FILE.toml --functions FILE.py`, which runs the Python file that its user names, and no other."""
    found = []
    assert len(sources()) > 60
    for name, tree in sources().items():
        banned = (BANNED | EXECUTING | {"allow_pickle"}) - ({"runpy"} if name == "configuration.py" else set())
        found += [f"{name}:{line}: {word}" for line, word in words(tree) if word in banned]
    assert found == []
    assert (PACKAGE / "configuration.py").read_text().count('runpy.run_path(str(check.path("functions", functions, ".py")))') == 1


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
