"""Solutions as labelled arrays: names, dimensions and coordinates, the same bits through netCDF, and whole files or none."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow.errors import UnsupportedError
from measureflow.labelled import TABLES, to_xarray, write_netcdf

xarray = pytest.importorskip("xarray")
pytest.importorskip("netCDF4")

# runs ----------------------------------------------------------------------------------------------------------------------

LINE = mf.Grid([(0.0, 1.0)], (9,))
PLANE = mf.Grid([(0.0, 1.0), (-1.0, 2.0)], (3, 4), (True, False))
SPACE = mf.Grid([(-1.0, 1.0)] * 3, (2, 3, 4))
INFO_TABLES = ("distance", "residual", "iterations")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def shares(*shape):
    parts = np.random.default_rng(3).random(shape) + 0.1
    return parts / parts.sum()


def descent(state, **options):
    """The gradient flow of the mean of |x|^2 / 2, in four steps."""
    return mf.solve(e.Quadratic(), state, 1.0, 0.3, **options)


def smoothing(grid):
    energy = e.Function(lambda u: 0.5 * np.sum(u**2) * grid.cell_volume, lambda u: np.asarray(u))
    return mf.solve(energy, mf.Field(normal(*grid.shape), grid), 1.0, 0.3, metric=mf.Sobolev(-1.5))


def game(*states, **options):
    """Players that each go down their own |x|^2 / 2 and do not see each other."""
    pulls = [lambda own, others: (0.5 * float(np.mean(own.coordinates**2)), np.array(own.coordinates))] * len(states)
    metric = tuple(mf.Euclidean() if isinstance(x, (mf.Vector, mf.Field)) else mf.Wasserstein() for x in states)
    return mf.solve(g.Game(pulls), states, 1.0, 0.3, scheme="explicit", metric=metric, **options)


def gan(**options):
    target = mf.Particles(normal(40, 2))
    problem = g.GAN(target, critic=g.NeuronCritic("tanh"), penalty=g.Ridge(0.5))
    start = mf.Particles(normal(6, 2, seed=1)), mf.Particles(normal(9, 4, seed=2))
    return mf.solve(problem, start, 1.0, 0.1, scheme=mf.Explicit("alternating"), speeds=(1.0, 5.0), **options)


def stopped(**options):
    def half(t, x):
        return x.values[0] - 0.5

    half.terminal = True
    return mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.1, events=[half, lambda t, x: t - 0.2], speeds=2.0, **options)


RUNS = {
    "particles": lambda: descent(mf.Particles(normal(7, 2))),
    "weighted particles": lambda: descent(mf.Particles(normal(7, 1), shares(7))),
    "one atom": lambda: descent(mf.Particles([[1.0, 2.0, 3.0]])),
    "quantiles": lambda: descent(mf.Quantiles(np.linspace(0.0, 1.0, 7) ** 3)),
    "gaussian": lambda: mf.solve(e.Entropy() + e.Quadratic(), mf.Gaussian([1.0, 2.0], [[2.0, 0.3], [0.3, 0.5]]), 1.0, 0.3),
    "vector": lambda: descent(mf.Vector([1.0, -0.0, 1e-300])),
    "histogram": lambda: mf.solve(0.0 * e.Quadratic(), mf.Histogram(shares(9), LINE), 1.0, 0.3),
    "field 1-D": lambda: smoothing(LINE),
    "field 2-D": lambda: smoothing(PLANE),
    "field 3-D": lambda: smoothing(SPACE),
    "gan": lambda: gan(batch=8, seed=0, save_at=3),
    "equal players": lambda: game(mf.Vector([1.0, 2.0]), mf.Vector([3.0, 4.0])),
    "equal kinds": lambda: game(mf.Particles(normal(3, 2)), mf.Particles(normal(5, 1), shares(5))),
    "fields": lambda: game(mf.Field(normal(3, 4), PLANE), mf.Field(normal(9), LINE)),
    "three players": lambda: game(mf.Vector(1.0), mf.Particles(normal(3, 2)), mf.Field(normal(9), LINE)),
    "one player": lambda: game(mf.Vector([1.0, 2.0])),
    "stopped": stopped,
    "one row": lambda: descent(mf.Vector(1.0), save_at=[0.55]),
}


def parts(state):
    """The arrays that a state's constructor takes, written out once more for the tests."""
    names = {
        mf.Particles: ("points", "weights"),
        mf.Quantiles: ("values",),
        mf.Gaussian: ("mean", "cov"),
        mf.Vector: ("values",),
        mf.Histogram: ("masses",),
        mf.Field: ("values",),
    }
    return {name: getattr(state, name) for name in names[type(state)]}


class Through:
    """A single flow through given states, whatever flows there are for them, by the attributes that a solution has."""

    single = True

    def __init__(self, states):
        self.t = np.linspace(0.0, 1.0, len(states))
        self.energies = self.speeds = self.slopes = np.zeros(len(states))
        tables = {name: np.zeros(len(states)) for name in INFO_TABLES}
        self.info = {**tables, "events": [], "status": "done", "steps": len(states) - 1, "cpu_seconds": 0.0, "scheme": "JKO()"}
        self.states = states

    def __len__(self):
        return len(self.states)

    def row(self, k):
        return (self.states[k],)


def assert_same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype and a.shape == b.shape
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def assert_holds(ds, sol):
    """Assert that a Dataset has the bits of a solution."""
    assert_same_bits(ds["time"], sol.t)
    for name in ("energies", "speeds"):
        assert_same_bits(ds[name], getattr(sol, name))
    for name in INFO_TABLES:
        assert_same_bits(ds[name], sol.info[name])
    for k in range(len(sol)):
        for player, state in enumerate(sol.row(k)):
            for name, values in parts(state).items():
                found = ds[name if sol.single else f"player{player}_{name}"]
                assert_same_bits(found.isel(time=k) if "time" in found.dims else found, values)


# bits ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_labelled_copies_and_files_have_the_same_bits(name, tmp_path):
    sol = RUNS[name]()
    ds = to_xarray(sol)
    path = write_netcdf(sol, tmp_path / "run")
    assert path == tmp_path / "run.nc" and os.listdir(tmp_path) == ["run.nc"]
    loaded = xarray.load_dataset(path, engine="netcdf4")
    assert_holds(ds, sol)
    assert_holds(loaded, sol)
    assert loaded.equals(ds)
    assert set(loaded.coords) == set(ds.coords) and set(loaded.data_vars) == set(ds.data_vars)
    assert loaded.attrs.keys() == ds.attrs.keys()
    for key, value in ds.attrs.items():
        assert_array_equal(np.atleast_1d(loaded.attrs[key]), np.atleast_1d(value))
    for variable in ds.variables:
        assert loaded[variable].attrs == ds[variable].attrs and loaded[variable].dims == ds[variable].dims


def test_files_of_loaded_solutions_have_the_same_bits(tmp_path):
    sol = gan()
    loaded = mf.load(sol.save(tmp_path / "run"))
    assert_holds(to_xarray(loaded), sol)
    assert to_xarray(loaded)["player0_points"].identical(to_xarray(sol)["player0_points"])


def test_infinite_and_missing_numbers_survive(tmp_path):
    sol = descent(mf.Vector(1.0))
    sol.info["residual"] = np.array([0.0, np.inf, np.nan, -np.inf, -0.0])
    assert_same_bits(xarray.load_dataset(write_netcdf(sol, tmp_path / "a.nc"))["residual"], sol.info["residual"])


def test_the_copy_is_a_copy():
    sol = descent(mf.Particles(normal(3, 2)))
    before = [sol.energies.copy(), sol.states[0].points.copy(), sol.states[0].weights.copy()]
    ds = to_xarray(sol)
    for name in ("energies", "slopes", "distance", "points", "weights"):
        ds[name].values[...] = -7
    for kept, now in zip(before, (sol.energies, sol.states[0].points, sol.states[0].weights), strict=True):
        assert_same_bits(kept, now)
    assert sol.slopes.min() >= 0.0 and sol.info["distance"].min() >= 0.0


# names ---------------------------------------------------------------------------------------------------------------------

DIMS = {
    "particles": {"points": ("time", "atom", "axis"), "weights": ("atom",)},
    "one atom": {"points": ("time", "atom", "axis"), "weights": ("atom",)},
    "quantiles": {"values": ("time", "level")},
    "gaussian": {"mean": ("time", "axis"), "cov": ("time", "axis", "axis_")},
    "vector": {"values": ("time", "component")},
    "histogram": {"masses": ("time", "x0")},
    "field 1-D": {"values": ("time", "x0")},
    "field 2-D": {"values": ("time", "x0", "x1")},
    "field 3-D": {"values": ("time", "x0", "x1", "x2")},
    "one player": {"player0_values": ("time", "player0_component")},
    "equal kinds": {
        "player0_points": ("time", "player0_atom", "player0_axis"),
        "player0_weights": ("player0_atom",),
        "player1_points": ("time", "player1_atom", "player1_axis"),
        "player1_weights": ("player1_atom",),
    },
    "fields": {
        "player0_values": ("time", "player0_x0", "player0_x1"),
        "player1_values": ("time", "player1_x0"),
    },
}


@pytest.mark.parametrize("name", DIMS)
def test_variables_and_dimensions(name):
    sol = RUNS[name]()
    ds = to_xarray(sol)
    tables = dict.fromkeys(TABLES, ("time",) if sol.single else ("time", "player"))
    if name == "histogram":  # some energies of histograms have no slope
        tables = {table: dims for table, dims in tables.items() if table in ds}
    assert {variable: ds[variable].dims for variable in ds.data_vars} == {**tables, **DIMS[name]}
    assert ds.sizes["time"] == len(sol)


@pytest.mark.parametrize("name", RUNS)
def test_every_variable_says_what_it_is(name):
    ds = to_xarray(RUNS[name]())
    for variable in ds.variables:
        assert ds[variable].attrs["units"] == "1"
        assert len(ds[variable].attrs["long_name"]) > 3


def test_coordinates():
    assert_same_bits(to_xarray(RUNS["quantiles"]())["level"], (np.arange(7) + 0.5) / 7)
    plane = to_xarray(RUNS["field 2-D"]())
    assert set(plane.coords) == {"time", "x0", "x1"}
    for axis, centres in zip(("x0", "x1"), PLANE.axes, strict=True):
        assert_same_bits(plane[axis], centres)
    both = to_xarray(RUNS["fields"]())
    assert set(both.coords) == {"time", "player", "player0_x0", "player0_x1", "player1_x0"}
    assert_same_bits(both["player1_x0"], LINE.axes[0])
    assert both["player"].values.tolist() == [0, 1]
    assert set(to_xarray(RUNS["particles"]()).coords) == {"time"}


def test_a_grid_can_be_rebuilt_from_a_file(tmp_path):
    ds = xarray.load_dataset(write_netcdf(RUNS["field 2-D"](), tmp_path / "a.nc"))
    axes = [ds["x0"], ds["x1"]]
    bounds = [(axis.attrs["lower"], axis.attrs["upper"]) for axis in axes]
    assert mf.Grid(bounds, [axis.size for axis in axes], [bool(axis.attrs["periodic"]) for axis in axes]) == PLANE


def test_values_are_found_by_their_labels():
    sol = RUNS["field 2-D"]()
    ds = to_xarray(sol)
    assert ds["values"].sel(time=0.6, x0=0.5, x1=0.2, method="nearest") == sol.states[2].values[1, 1]
    other = RUNS["equal players"]()
    assert_array_equal(to_xarray(other)["energies"].sel(time=sol.t[1], player=1), other.energies[1, 1])


def test_players_of_equal_shapes_do_not_clash():
    sol = RUNS["equal players"]()
    ds = to_xarray(sol)
    assert ds["player0_values"].dims == ("time", "player0_component")
    assert ds["player1_values"].dims == ("time", "player1_component")
    assert_array_equal(ds["player1_values"].isel(time=0), [3.0, 4.0])
    assert "values" not in ds and "component" not in ds.dims


def test_weights_have_a_time_only_if_they_change(tmp_path):
    points, weights = normal(4, 2), shares(4)
    laws = [mf.Particles(points), mf.Particles(points), mf.Particles(points, weights), mf.Particles(points)]
    sol = Through(laws)
    ds = to_xarray(sol)
    assert ds["weights"].dims == ("time", "atom")
    assert_holds(xarray.load_dataset(write_netcdf(sol, tmp_path / "a.nc")), sol)
    equal = [mf.Particles(points * k, np.full(4, 0.25)) for k in range(4)]
    assert to_xarray(Through(equal))["weights"].dims == ("atom",)


# attributes ----------------------------------------------------------------------------------------------------------------


def test_attributes_say_how_the_flow_was_made():
    sol = RUNS["stopped"]()
    attrs = to_xarray(sol).attrs
    assert attrs["title"] == "flow of Vector"
    for name in ("status", "steps", "cpu_seconds", "scheme"):
        assert attrs[name] == sol.info[name] and type(attrs[name]) in (str, int, float)
    assert attrs["status"] == "event"
    assert list(zip(attrs["event_indices"], attrs["event_times"], strict=True)) == sol.info["events"]
    assert {type(t) for t in attrs["event_times"]} == {float} and {type(k) for k in attrs["event_indices"]} == {int}
    assert not {"events", *INFO_TABLES} & attrs.keys()


def test_attributes_without_events():
    assert not {"event_times", "event_indices", "events"} & to_xarray(descent(mf.Vector(1.0))).attrs.keys()


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("particles", "flow of Particles"),
        ("gan", "dual flow of Particles and Particles"),
        ("one player", "flow of Vector"),
        ("three players", "flow of Vector and Particles and Field"),
    ],
)
def test_titles(name, title):
    assert to_xarray(RUNS[name]()).attrs["title"] == title


def test_other_entries_of_info_are_kept_if_they_are_plain(tmp_path):
    sol = descent(mf.Vector(1.0))
    sol.info.update(
        message="stopped: größer\nthan wanted", note="", rejected=np.int64(3), exact=True, factor=np.float32(0.5), seed=2**100
    )
    sol.info.update(nothing=None, table={"a": 1}, object=object())
    attrs = xarray.load_dataset(write_netcdf(sol, tmp_path / "a.nc")).attrs
    assert attrs["message"] == "stopped: größer\nthan wanted" and attrs["note"] == ""
    assert (attrs["rejected"], attrs["exact"], attrs["factor"], attrs["seed"]) == (3, 1, 0.5, str(2**100))
    assert not {"nothing", "table", "object"} & attrs.keys()


def test_many_events(tmp_path):
    sol = descent(mf.Vector(1.0))
    sol.info["events"] = [(k % 3, 1e-5 * k) for k in range(20000)]
    attrs = xarray.load_dataset(write_netcdf(sol, tmp_path / "a.nc")).attrs
    assert_array_equal(attrs["event_times"], [t for _, t in sol.info["events"]])
    assert_array_equal(attrs["event_indices"], [k for k, _ in sol.info["events"]])


# what is left out, and rows that are read when asked for -----------------------------------------------------------------------


class Counted:
    """A solution that counts how its rows are read."""

    def __init__(self, sol):
        self.sol, self.reads = sol, []

    def __getattr__(self, name):
        return getattr(self.sol, name)

    def __len__(self):
        return len(self.sol)

    def row(self, k):
        self.reads.append(k)
        return self.sol.row(k)


@pytest.mark.parametrize("name", ["weighted particles", "gaussian", "gan"])
def test_rows_are_read_once_in_order(name):
    sol = RUNS[name]()
    counted = Counted(sol)
    assert_holds(to_xarray(counted), sol)
    assert counted.reads == list(range(len(sol)))


def test_slopes_are_there():
    sol = RUNS["gan"]()
    assert_same_bits(to_xarray(sol)["slopes"], sol.slopes)


# failures --------------------------------------------------------------------------------------------------------------------


def empty():
    """A flow that failed before the first time that was to be kept."""

    def steep(x):
        return 0.5 * np.sum(x**2) if x[0] > 0.95 else np.nan

    with pytest.raises(mf.CallbackError) as caught:
        mf.solve(e.Function(steep, np.asarray), mf.Vector(1.0), 1.0, 0.1, scheme="explicit", save_at=[0.9])
    return caught.value.solution


def test_solutions_without_rows_are_refused(tmp_path):
    sol = empty()
    assert len(sol) == 0
    for make in (lambda: to_xarray(sol), lambda: write_netcdf(sol, tmp_path / "a.nc")):
        with pytest.raises(ValueError, match="the solution must have at least one saved row to be labelled, got none"):
            make()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "states",
    [
        [mf.Particles(normal(4, 2)), mf.Particles(normal(1, 2))],
        [mf.Vector([1.0, 2.0]), mf.Vector(1.0)],
        [mf.Quantiles([1.0, 2.0]), mf.Vector([1.0, 2.0])],
        [mf.Field(np.ones(9), LINE), mf.Field(np.ones(9), mf.Grid([(0.0, 2.0)], (9,)))],
    ],
)
def test_states_that_change_shape_are_refused(states):
    with pytest.raises(ValueError, match=r"the solution must keep its states' shape to be labelled, got .*, then .* in row 1"):
        to_xarray(Through(states))


def test_unknown_kinds_of_states_are_refused():
    class Circle(mf.State):
        coordinates = np.zeros(1)

        def replace(self, coordinates):
            return self

        def _summary(self):
            return ""

    with pytest.raises(UnsupportedError, match="to_xarray has labels for Particles, .*, got Circle"):
        to_xarray(Through([Circle(), Circle()]))


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        (3, TypeError, "path must be a path, got 3"),
        (None, TypeError, "path must be a path"),
        ("", ValueError, "path must name a file"),
        ("run.npz", ValueError, r"path must end in \.nc, got 'run\.npz'"),
    ],
)
def test_bad_paths_are_named(path, kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message):
        write_netcdf(descent(mf.Vector(1.0)), path)
    assert not os.listdir(tmp_path)


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_netcdf(descent(mf.Vector(1.0)), tmp_path / "no folder" / "run.nc")
    assert not os.listdir(tmp_path)


def test_paths_may_be_relative_and_begin_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    sol = descent(mf.Vector(1.0))
    for path in ("run.nc", os.path.join("~", "run.nc"), "ü run.nc"):
        assert os.fspath(write_netcdf(sol, path)) == path
        assert_holds(xarray.load_dataset(tmp_path / path), sol)


def test_writing_again_replaces(tmp_path):
    write_netcdf(descent(mf.Vector(1.0)), tmp_path / "a.nc")
    sol = RUNS["gan"]()
    write_netcdf(sol, tmp_path / "a.nc")
    assert_holds(xarray.load_dataset(tmp_path / "a.nc"), sol)


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_folder_as_it_was(kind, tmp_path, monkeypatch):
    def full(self, path, **options):
        with open(path, "wb") as file:
            file.write(b"half of it")
        raise kind("no space left")

    sol = descent(mf.Vector(1.0))
    write_netcdf(sol, tmp_path / "old.nc")
    monkeypatch.setattr(xarray.Dataset, "to_netcdf", full)
    for name in ("new.nc", "old.nc"):
        with pytest.raises(kind, match="no space left"):
            write_netcdf(sol, tmp_path / name)
    assert os.listdir(tmp_path) == ["old.nc"]
    assert_holds(xarray.load_dataset(tmp_path / "old.nc"), sol)


def test_a_name_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path):
    (tmp_path / "run.nc").mkdir()
    with pytest.raises(OSError):
        write_netcdf(descent(mf.Vector(1.0)), tmp_path / "run.nc")
    assert os.listdir(tmp_path) == ["run.nc"] and not os.listdir(tmp_path / "run.nc")


def test_missing_packages_are_named(tmp_path, monkeypatch):
    sol = descent(mf.Vector(1.0))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "xarray", None)
        for make in (lambda: to_xarray(sol), lambda: write_netcdf(sol, tmp_path / "a.nc")):
            with pytest.raises(ImportError, match=r'^to_xarray needs xarray: pip install "measureflow\[xarray\]"$'):
                make()
    monkeypatch.setitem(sys.modules, "netCDF4", None)
    assert_holds(to_xarray(sol), sol)
    with pytest.raises(ImportError, match=r'^write_netcdf needs netCDF4: pip install "measureflow\[xarray\]"$'):
        write_netcdf(sol, tmp_path / "a.nc")
    assert not os.listdir(tmp_path)


def test_importing_the_module_imports_no_extra():
    code = "import sys, measureflow.labelled; print([m for m in ('xarray', 'netCDF4', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_memory_is_one_array_and_not_two():
    """A flow of a million numbers needs its labelled copy and the weights of one row."""
    import tracemalloc

    law = mf.Particles(normal(5000, 2))
    sol = Through([law] * 101)
    to_xarray(sol)
    tracemalloc.start()
    ds = to_xarray(sol)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ds["points"].nbytes == 101 * 5000 * 2 * 8
    assert_allclose(peak, ds["points"].nbytes, rtol=0.1)
