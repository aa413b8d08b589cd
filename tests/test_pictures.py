"""Pictures of states and flows: every kind draws, axes are labelled, files are whole, nothing global is touched."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import numpy as np
import pytest

import measureflow as mf

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.filterwarnings("error")

from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402

from measureflow.panels import snapshots  # noqa: E402
from measureflow.states.density import kernel_density, quantile_density  # noqa: E402
from measureflow.states.draw import draw, principal_plane, project  # noqa: E402

E = mf.energies
PNG = b"\x89PNG\r\n\x1a\n"
LINE = mf.Grid([(-3.0, 3.0)], (30,))
PLANE = mf.Grid([(-3.0, 3.0), (-2.0, 2.0)], (12, 8))
SPACE = mf.Grid([(-1.0, 1.0)] * 3, (4, 5, 3))


def bump(x):
    return np.exp(-np.sum(x**2, axis=-1))


def normal(*shape):
    return np.random.default_rng(5).normal(size=shape)


STATES = {
    "particles-1d": mf.Particles(normal(40, 1)),
    "particles-1d-weights": mf.Particles(normal(3, 1), [0.2, 0.3, 0.5]),
    "particles-one-place": mf.Particles(np.ones((4, 1))),
    "particles-2d": mf.Particles(normal(40, 2), np.arange(1.0, 41.0) / 820.0),
    "particles-5d": mf.Particles(normal(40, 5)),
    "particles-many": mf.Particles(normal(12001, 2)),
    "quantiles": mf.Gaussian(0.0, 1.0).to_quantiles(50),
    "quantiles-ties": mf.Quantiles([0.0, 0.0, 0.0, 1.0, 2.0, 2.0]),
    "quantiles-one-place": mf.Quantiles([2.0]),
    "histogram-1d": mf.Histogram.from_density(bump, LINE),
    "histogram-2d": mf.Histogram.from_density(bump, PLANE),
    "histogram-3d": mf.Histogram.from_density(bump, SPACE),
    "gaussian-1d": mf.Gaussian(1.0, 2.0),
    "gaussian-2d": mf.Gaussian([0.0, 1.0], [[2.0, 0.5], [0.5, 1.0]]),
    "gaussian-4d": mf.Gaussian(np.zeros(4), 1.0),
    "gaussian-one-place": mf.Gaussian(1.0, 0.0),
    "gaussian-flat": mf.Gaussian([0.0, 1.0], [[1.0, 0.0], [0.0, 0.0]]),
    "vector-1": mf.Vector(1.0),
    "vector-2": mf.Vector([1.0, 2.0]),
    "vector-9": mf.Vector(normal(9)),
    "vector-100": mf.Vector(normal(100)),
    "field-1d": mf.Field(np.sin(LINE.axes[0]), LINE),
    "field-2d": mf.Field(normal(12, 8), PLANE),
    "field-3d-zero": mf.Field(np.zeros((4, 5, 3)), SPACE),
}


def still(*states):
    """Return a flow that stays where it is, for any states, with two steps."""
    game = mf.games.Game([lambda own, others: (1.0, np.zeros(own.coordinates.shape))] * len(states))
    metric = tuple(mf.Euclidean() if isinstance(x, (mf.Vector, mf.Field)) else mf.Wasserstein() for x in states)
    return mf.solve(game, states, 1.0, 0.5, scheme="explicit", metric=metric)


def by_hand(path):
    """Return a solution through given states of one player, whatever flows there are for them."""
    sol = mf.solve(E.Quadratic(), mf.Vector(1.0), 1.0, 1.0 / (len(path) - 1))
    sol.states = path
    sol.__dict__["slopes"] = sol.energies.copy()
    return sol


def labels(figure):
    return [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]


def rendered(figure):
    figure.draw_without_rendering()
    return figure


@pytest.fixture(scope="module")
def spiral():
    return mf.solve(mf.games.LinearQuadratic(0.2, 1.0, 0.2), (mf.Vector(1.0), mf.Vector(0.0)), 4.0, 0.25)


@pytest.fixture(scope="module")
def cooling():
    return mf.solve(E.Quadratic(), mf.Gaussian(2.0, 1.0), 1.0, 0.1)


@pytest.fixture(autouse=True)
def nothing_global(caplog):
    """No rcParams change, no pyplot figure, nothing logged by matplotlib."""
    before = dict(matplotlib.rcParams)
    with caplog.at_level(logging.WARNING):
        yield
    assert dict(matplotlib.rcParams) == before
    assert not [record for record in caplog.records if record.name.startswith("matplotlib")]
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize("kind", STATES)
def test_every_state_has_a_labelled_picture(kind):
    axes = Figure().subplots()
    draw(STATES[kind], axes, color="black", label="law")
    assert axes.get_xlabel() and axes.get_ylabel()
    assert axes.has_data()


@pytest.mark.parametrize("kind", STATES)
def test_every_state_shows_itself_in_notebooks(kind):
    picture = STATES[kind]._repr_png_()
    assert picture.startswith(PNG)
    assert Image.open(io.BytesIO(picture)).size == (360, 264)


def test_draw_refuses_what_is_not_a_state_and_unknown_styles():
    axes = Figure().subplots()
    with pytest.raises(TypeError, match="state must be a state, got ndarray"):
        draw(np.zeros(3), axes)
    with pytest.raises(TypeError, match="colour"):
        draw(mf.Vector(1.0), axes, colour="red")


def test_png_is_none_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert mf.Vector(1.0)._repr_png_() is None


def test_figures_say_what_to_install_without_matplotlib(monkeypatch, cooling, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for make in (cooling.plot, lambda: cooling.animate(tmp_path / "a.gif")):
        with pytest.raises(ImportError, match=r'^pictures need matplotlib: pip install "measureflow\[plot\]"$'):
            make()
    assert not list(tmp_path.iterdir())


def test_marks_are_where_the_state_is():
    axes = Figure().subplots()
    draw(STATES["particles-2d"], axes)
    (dots,) = axes.collections
    assert np.array_equal(dots.get_offsets(), STATES["particles-2d"].points)
    areas = dots.get_sizes()
    assert areas / areas[0] == pytest.approx(STATES["particles-2d"].weights / STATES["particles-2d"].weights[0])


def test_images_have_the_orientation_of_the_grid():
    masses = np.zeros((12, 8))
    masses[11, 0] = 1.0  # large x_1, small x_2
    axes = Figure().subplots()
    draw(mf.Histogram(masses, PLANE), axes)
    (image,) = axes.images
    assert image.get_extent() == [-3.0, 3.0, -2.0, 2.0] and image.origin == "lower"
    assert np.argwhere(np.asarray(image.get_array()) > 0.0).tolist() == [[0, 11]]


def test_ellipses_have_the_deviations_of_the_law():
    axes = Figure().subplots()
    draw(mf.Gaussian([1.0, 0.0], [[4.0, 0.0], [0.0, 0.25]]), axes, deviations=(2.0,))
    x, y = axes.lines[-1].get_data()
    assert (x.min(), x.max(), y.max()) == pytest.approx((-3.0, 5.0, 1.0), abs=2e-3)


@pytest.mark.parametrize(
    "curve, mass",
    [
        (kernel_density(normal(200), np.full(200, 0.005)), 1.0),
        (quantile_density(mf.Gaussian(0.0, 1.0).to_quantiles(200).values), 0.995),
        (quantile_density(np.sort(normal(500))), 1.0),
        (quantile_density(np.linspace(3.0, 4.0, 5000)), 1.0),
        (quantile_density(np.repeat([0.0, 1.0, 3.0], 20)), 59.0 / 60.0),
    ],
    ids=["kernel", "quantiles", "samples", "uniform", "ties"],
)
def test_densities_hold_their_mass(curve, mass):
    assert np.trapezoid(curve[1], curve[0]) == pytest.approx(mass, abs=0.02)
    assert curve[1].min() >= 0.0


def test_quantile_density_is_the_density():
    x, density = quantile_density(mf.Gaussian(0.0, 1.0).to_quantiles(400).values)
    inside = np.abs(x) < 2.5
    assert density[inside] == pytest.approx(np.exp(-0.5 * x[inside] ** 2) / np.sqrt(2.0 * np.pi), abs=2e-3)


def test_kernel_density_keeps_clusters_apart():
    points = np.concatenate([normal(100) * 0.05 - 1.0, normal(100) * 0.05 + 1.0])
    x, density = kernel_density(points, np.full(200, 0.005))
    assert density[np.abs(x) < 0.5].max() < 1e-6 * density.max()


def test_principal_plane_is_orthonormal_and_leads():
    points = normal(200, 4) * [1.0, 5.0, 0.1, 3.0]
    centre, directions = principal_plane(points, np.full(200, 0.005))
    assert directions.T @ directions == pytest.approx(np.eye(2), abs=1e-12)
    assert np.abs(directions[1, 0]) > 0.99 and np.abs(directions[3, 1]) > 0.99
    assert project(points, (centre, directions)).mean(axis=0) == pytest.approx([0.0, 0.0], abs=1e-12)


@pytest.mark.parametrize(
    "kind",
    [
        "particles-1d",
        "particles-1d-weights",
        "particles-one-place",
        "particles-2d",
        "particles-5d",
        "quantiles",
        "histogram-1d",
        "histogram-2d",
        "histogram-3d",
        "gaussian-2d",
        "vector-100",
        "field-1d",
        "field-3d-zero",
    ],
)
def test_figure_of_every_kind_of_state(kind):
    state = STATES[kind]
    figure = rendered(by_hand([state, state, state]).plot())
    named = labels(figure)
    assert ("t", "energy") in named and ("t", "speed, slope") in named
    assert sum(bool(x) for x, _ in named) >= 3


def test_figure_of_a_single_flow(cooling):
    figure = rendered(cooling.plot())
    assert labels(figure)[0] == ("x", "density")
    rates = next(axes for axes in figure.axes if axes.get_ylabel() == "speed, slope")
    assert rates.get_yscale() == "log"
    assert figure._repr_png_().startswith(PNG)


def test_figure_of_two_numbers_is_a_phase_portrait(spiral):
    figure = rendered(spiral.plot())
    assert labels(figure)[0] == ("player 0", "player 1")
    start, end = figure.axes[0].lines
    assert np.ravel(start.get_data()).tolist() == [1.0, 0.0]
    assert np.ravel(end.get_data()).tolist() == [float(x[0]) for x in spiral.states[-1]]


@pytest.mark.parametrize(
    "kinds",
    [
        ("particles-2d", "vector-9"),
        ("particles-1d", "gaussian-2d", "vector-2"),
        ("field-2d", "particles-5d"),
        ("field-2d", "field-1d"),
        ("field-2d", "field-2d"),
    ],
)
def test_figure_of_games(kinds):
    figure = rendered(still(*(STATES[kind] for kind in kinds)).plot())
    text = " ".join(axes.get_title() for axes in figure.axes) + " ".join(s.get_suptitle() for s in figure.subfigs)
    for player in range(len(kinds)):
        assert f"player {player}: {type(STATES[kinds[player]]).__name__}" in text
    assert "energies" in text


def test_zero_speeds_stay_on_a_linear_scale():
    figure = rendered(still(mf.Vector(1.0), mf.Vector([1.0, 2.0])).plot())
    assert figure.axes[-1].get_yscale() == "linear"


def test_figure_of_one_row_and_of_a_file(tmp_path, cooling):
    one = mf.solve(E.Quadratic(), mf.Gaussian(2.0, 1.0), 1.0, 0.1, save_at=[0.0])
    assert len(one) == 1
    rendered(one.plot())
    loaded = mf.load(cooling.save(tmp_path / "run.npz"))
    assert ("t", "speed, slope") in labels(rendered(loaded.plot()))


def test_figure_without_slopes():
    grid = mf.Grid([(0.0, 1.0)], (8,))
    sol = mf.solve(E.Entropy(), mf.Histogram.from_density(lambda x: 1.0 + x[..., 0], grid), 0.01, 0.001)
    assert np.isnan(sol.slopes).all()  # no chart, so no slopes
    assert ("t", "speed") in labels(rendered(sol.plot()))


def test_no_rows_are_refused(tmp_path):
    def wall(x):
        return np.nan if x[0] < 1.0 else 1.0

    broken = E.Function(wall, lambda x: np.ones(1))
    empty = mf.solve(broken, mf.Vector(1.0), 1.0, 0.5, scheme="explicit", save_at=[1.0], throw=False)
    assert len(empty) == 0
    for make in (empty.plot, lambda: empty.animate(tmp_path / "a.gif")):
        with pytest.raises(ValueError, match="at least one saved row"):
            make()


def test_high_peaks_leave_the_picture():
    laws = [mf.Gaussian(0.0, v) for v in (1e-6, 0.5, 1.0, 2.0)]
    figure = by_hand(laws).plot()
    assert figure.axes[0].get_ylim()[1] < 5.0


def test_snapshots_follow_time_and_distance(cooling):
    rows = snapshots(cooling, 5)
    assert rows[0] == 0 and rows[-1] == len(cooling) - 1 and len(rows) == 5
    steps = np.diff(rows)
    assert steps[0] <= steps[-1]  # the flow slows down, and so do its pictures
    assert snapshots(cooling, 100) == list(range(len(cooling)))


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_animation_has_the_frames_asked_for(frames, spiral, tmp_path):
    path = spiral.animate(tmp_path / "flow.gif", frames)
    with Image.open(path) as gif:
        assert gif.format == "GIF"
        assert gif.n_frames == frames
    assert [entry.name for entry in tmp_path.iterdir()] == ["flow.gif"]


@pytest.mark.parametrize("kinds", [("particles-2d",), ("quantiles",), ("field-2d", "vector-9"), ("gaussian-2d", "field-1d")])
def test_animation_of_other_players(kinds, tmp_path):
    path = still(*(STATES[kind] for kind in kinds)).animate(str(tmp_path / "flow"), 3)
    assert path == tmp_path / "flow.gif"
    with Image.open(path) as gif:
        assert gif.n_frames == 3


def test_animation_keeps_its_scales(cooling):
    from measureflow.animation import _stage

    picture, paint = _stage(cooling, np.linspace(0.0, 1.0, 4))
    seen = set()
    for k in range(4):
        paint(k)
        picture.canvas.draw()
        axes = picture.axes[0]
        seen.add((*axes.get_xlim(), *axes.get_ylim(), *axes.get_position().bounds))
    assert len(seen) == 1
    assert picture.get_suptitle() == "t = 1.0"


@pytest.mark.parametrize(
    "path, frames, error, message",
    [
        (3, 2, TypeError, "path must be a path, got 3"),
        ("a.mp4", 2, ValueError, "path must end in .gif, got 'a.mp4'"),
        ("a.gif", 0, ValueError, "frames must be an integer >= 1, got 0"),
        ("a.gif", 2.0, TypeError, "frames must be an integer >= 1"),
        ("a.gif", True, TypeError, "frames must be an integer >= 1"),
    ],
)
def test_animation_refuses_bad_arguments(path, frames, error, message, cooling):
    with pytest.raises(error, match=message):
        cooling.animate(path, frames)


def test_animation_leaves_nothing_behind_when_it_fails(cooling, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        cooling.animate(tmp_path / "missing" / "a.gif", 2)
    old = tmp_path / "a.gif"
    old.write_bytes(b"old")
    monkeypatch.setattr("measureflow.animation.os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        cooling.animate(old, 2)
    assert old.read_bytes() == b"old" and list(tmp_path.iterdir()) == [old]


def test_import_is_light_and_pictures_need_no_pyplot():
    code = (
        "import sys, measureflow as mf, measureflow.figures; print('matplotlib' in sys.modules);"
        "sol = mf.solve(mf.energies.Quadratic(), mf.Vector([1.0, 2.0]), 1.0, 0.5);"
        "sol.plot(); sol.states[0]._repr_png_(); print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
