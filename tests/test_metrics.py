"""Metrics: distances against POT and closed forms, the axioms, geodesics, charts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import ot
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from strategies import fields, gaussians, histograms, particles, quantiles, vectors

import measureflow as mf
from measureflow import games as g

W2, W1 = mf.Wasserstein(), mf.Wasserstein(1)
LINE = mf.Grid([(-1.0, 3.0)], (8,))
WALLS = mf.Grid([(0.0, 1.0), (0.0, 2.0)], (4, 6))
RINGS = mf.Grid([(0.0, 1.0), (0.0, 2.0)], (4, 6), periodic=(True, False))
POWERS = st.sampled_from([1, 2])
SHARES = st.floats(0.0, 1.0)


def cloud(n: int, d: int, seed: int, equal: bool = True) -> mf.Particles:
    rng = np.random.default_rng(seed)
    w = rng.random(n) + 0.1
    return mf.Particles(rng.normal(size=(n, d)), None if equal else w / w.sum())


# --- Gaussians ------------------------------------------------------------------------------------


def test_distance_of_gaussians_on_the_line_is_euclidean_in_mean_and_deviation() -> None:
    assert W2.distance(mf.Gaussian(0.0, 1.0), mf.Gaussian(3.0, 25.0)) == 5.0
    assert W2.distance(mf.Gaussian(0.0, 0.0), mf.Gaussian(3.0, 16.0)) == 5.0


@given(gaussians(), gaussians())
def test_distance_of_gaussians_is_the_bures_formula(a: mf.Gaussian, b: mf.Gaussian) -> None:
    root = np.real(sqrtm(a.cov))
    cross = np.real(sqrtm(root @ b.cov @ root))
    squared = np.sum((a.mean - b.mean) ** 2) + np.trace(a.cov + b.cov - 2.0 * cross)
    assert_allclose(W2.distance(a, b) ** 2, squared, rtol=1e-6, atol=1e-6)


def test_distance_of_commuting_gaussians_is_that_of_their_deviations() -> None:
    a, b = mf.Gaussian([0.0, 1.0], np.diag([4.0, 9.0])), mf.Gaussian([0.0, 0.0], np.diag([1.0, 0.0]))
    assert_allclose(W2.distance(a, b), np.sqrt(1.0 + 1.0 + 9.0), rtol=1e-14)


@given(gaussians(dim=1), gaussians(dim=1))
def test_distance_of_gaussians_agrees_with_their_quantiles(a: mf.Gaussian, b: mf.Gaussian) -> None:
    assert_allclose(W2.distance(a.to_quantiles(2000), b.to_quantiles(2000)), W2.distance(a, b), rtol=0.01, atol=1e-3)


# --- laws of atoms against POT --------------------------------------------------------------------


@given(particles(dim=1), particles(dim=1), POWERS)
def test_distance_on_the_line_is_that_of_pot(a: mf.Particles, b: mf.Particles, p: int) -> None:
    expected = ot.wasserstein_1d(a.points[:, 0], b.points[:, 0], a.weights, b.weights, p=p)
    assert_allclose(mf.Wasserstein(p).distance(a, b) ** p, expected, rtol=1e-12, atol=1e-12)
    linear = ot.emd2_1d(a.points[:, 0], b.points[:, 0], a.weights, b.weights, metric="euclidean" if p == 1 else "sqeuclidean")
    assert_allclose(mf.Wasserstein(p).distance(a, b) ** p, linear, rtol=1e-9, atol=1e-12)


@given(particles(dim=2), particles(dim=2), POWERS)
def test_distance_in_the_plane_is_that_of_pot(a: mf.Particles, b: mf.Particles, p: int) -> None:
    cost = cdist(a.points, b.points) ** p
    assert_allclose(mf.Wasserstein(p).distance(a, b) ** p, ot.emd2(a.weights, b.weights, cost), rtol=1e-9, atol=1e-12)


@given(quantiles(), quantiles(), POWERS)
def test_distance_of_quantiles_is_that_of_equal_atoms(a: mf.Quantiles, b: mf.Quantiles, p: int) -> None:
    metric = mf.Wasserstein(p)
    assert_allclose(metric.distance(a, b), metric.distance(a.to_particles(), b.to_particles()), rtol=1e-12, atol=1e-13)
    if len(a) == len(b):
        assert_allclose(metric.distance(a, b), np.mean(np.abs(a.values - b.values) ** p) ** (1 / p), rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("n", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_distance_of_large_clouds_in_the_plane_is_that_of_pot(n: int, p: int) -> None:
    a, b = cloud(n, 2, 0), cloud(n, 2, 1)
    cost = cdist(a.points, b.points) ** p
    expected = ot.emd2(a.weights, b.weights, cost, numItermax=10**7)
    assert_allclose(mf.Wasserstein(p).distance(a, b) ** p, expected, rtol=1e-9)


@pytest.mark.parametrize("p", [1, 2])
def test_distance_of_large_clouds_on_the_line_is_that_of_pot(p: int) -> None:
    a, b = cloud(5000, 1, 0, equal=False), cloud(4000, 1, 1)
    expected = ot.wasserstein_1d(a.points[:, 0], b.points[:, 0], a.weights, b.weights, p=p)
    assert_allclose(mf.Wasserstein(p).distance(a, b) ** p, expected, rtol=0.0, atol=1e-12)


def test_distance_to_an_atom_is_a_moment() -> None:
    a, atom = cloud(50, 3, 0, equal=False), mf.Particles([[1.0, -1.0, 2.0]])
    lengths = np.linalg.norm(a.points - atom.points, axis=1)
    assert_allclose(W2.distance(a, atom) ** 2, a.weights @ lengths**2, rtol=1e-13)
    assert_allclose(W1.distance(a, atom), a.weights @ lengths, rtol=1e-13)


@pytest.mark.parametrize("shift", [1e-9, 1.0, 1e6])
def test_distance_of_a_translation_is_its_length(shift: float) -> None:
    a = cloud(40, 2, 3)
    assert_allclose(W2.distance(a, mf.Particles(a.points + [3.0 * shift, 4.0 * shift])), 5.0 * shift, rtol=1e-6)


# --- histograms -----------------------------------------------------------------------------------


@given(histograms(mf.Grid([(-1.0, 2.5)], (7,))), POWERS)
def test_translation_by_a_cell_is_exact(law: mf.Histogram, p: int) -> None:
    left, right = (mf.Histogram(np.insert(law.masses, place, 0.0), LINE) for place in (7, 0))
    assert_allclose(mf.Wasserstein(p).distance(left, right), LINE.spacing[0], rtol=1e-12)


def test_translation_by_a_cell_in_the_plane_is_exact() -> None:
    masses = np.random.default_rng(0).random(WALLS.shape)
    masses[:, -1] = 0.0
    law = mf.Histogram(masses / masses.sum(), WALLS)
    for p in (1, 2):
        moved = law.replace(np.roll(law.masses, 1, axis=1))
        assert_allclose(mf.Wasserstein(p).distance(law, moved), WALLS.spacing[1], rtol=1e-9)


@given(histograms(LINE), histograms(LINE))
def test_w1_of_histograms_is_the_area_between_their_distribution_functions(a: mf.Histogram, b: mf.Histogram) -> None:
    x = np.linspace(-1.0, 3.0, 4001)
    cdfs = [np.interp(x, LINE.edges[0], np.concatenate([[0.0], np.cumsum(law.masses)])) for law in (a, b)]
    assert_allclose(W1.distance(a, b), np.trapezoid(np.abs(cdfs[0] - cdfs[1]), x), rtol=1e-3, atol=1e-6)


def test_histograms_of_gaussians_are_close_of_second_order() -> None:
    a, b = mf.Gaussian(-0.5, 0.6), mf.Gaussian(1.0, 1.3)
    errors = []
    for n in (50, 100, 200):
        grid = mf.Grid([(-9.0, 9.0)], (n,))
        errors.append(abs(W2.distance(a.to_histogram(grid), b.to_histogram(grid)) - W2.distance(a, b)))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[-1] < 1e-3
    assert np.all(np.abs(orders - 2.0) < 0.3)


def test_histogram_of_two_densities_has_the_exact_distance() -> None:
    """Uniform on [-1, 1] against uniform on [0, 3]: the quantile functions are affine."""
    a = mf.Histogram.from_density(lambda x: (x[..., 0] < 1.0) * 1.0, LINE)
    b = mf.Histogram.from_density(lambda x: (x[..., 0] > 0.0) * 1.0, LINE)
    s = np.polynomial.Polynomial([0.0 - (-1.0), 3.0 - 2.0])  # Q_b - Q_a = 1 + s
    assert_allclose(W2.distance(a, b) ** 2, (s**2).integ()(1.0), rtol=1e-13)
    assert_allclose(W1.distance(a, b), s.integ()(1.0), rtol=1e-13)


def test_laws_of_different_kinds_on_the_line_are_compared() -> None:
    histogram = mf.Histogram.from_density(lambda x: x[..., 0] + 1.5, LINE)
    fine = histogram.to_quantiles(4000)
    assert W2.distance(histogram, fine) < 2e-3
    assert W2.distance(fine, fine.to_particles()) < 1e-13
    assert_allclose(W2.distance(histogram, mf.Particles([[0.0]])), W2.distance(fine, mf.Quantiles([0.0])), rtol=1e-3)


def test_a_histogram_in_the_plane_stands_for_its_atoms() -> None:
    law = mf.Gaussian([0.5, 1.0], 0.1).to_histogram(WALLS)
    other = cloud(20, 2, 0)
    assert_allclose(W2.distance(law, other), W2.distance(law.to_particles(), other), rtol=1e-12)


# --- approximate methods --------------------------------------------------------------------------


def test_sinkhorn_lies_above_the_exact_distance_and_tends_to_it() -> None:
    a, b = cloud(30, 2, 0), mf.Particles(cloud(25, 2, 1).points + 1.0)
    exact = W2.distance(a, b)
    values = [mf.Wasserstein(method="sinkhorn", epsilon=epsilon).distance(a, b) for epsilon in (0.5, 0.1, 0.02)]
    assert exact <= values[2] <= values[1] <= values[0]
    assert values[2] < 1.01 * exact


def test_sliced_distance_on_the_line_is_the_distance() -> None:
    a, b = cloud(30, 1, 0), cloud(30, 1, 1, equal=False)
    for p in (1, 2):
        assert_allclose(mf.Wasserstein(p, "sliced").distance(a, b), mf.Wasserstein(p).distance(a, b), rtol=1e-12)


def test_sliced_distance_of_a_translation_is_its_length_over_root_d() -> None:
    a = cloud(30, 3, 0)
    metric = mf.Wasserstein(method="sliced", projections=20_000)
    assert_allclose(metric.distance(a, mf.Particles(a.points + [0.0, 3.0, 4.0])), 5.0 / np.sqrt(3.0), rtol=0.02)


def test_sliced_distance_is_repeatable_and_below_the_exact_one() -> None:
    a, b = cloud(30, 2, 0), cloud(30, 2, 1)
    metric = mf.Wasserstein(method="sliced", seed=3)
    assert metric.distance(a, b) == metric.distance(a, b) == mf.Wasserstein(method="sliced", seed=3).distance(a, b)
    assert metric.distance(a, b) != mf.Wasserstein(method="sliced", seed=4).distance(a, b)
    assert metric.distance(a, b) <= W2.distance(a, b)


# --- functions and vectors ------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [LINE, WALLS, RINGS], ids=["line", "walls", "rings"])
def test_euclidean_distance_of_fields_is_that_of_l2(grid: mf.Grid) -> None:
    rng = np.random.default_rng(0)
    a, b = (mf.Field(rng.normal(size=grid.shape), grid) for _ in range(2))
    expected = np.sqrt(np.sum((a.values - b.values) ** 2) * grid.cell_volume)
    assert_allclose(mf.Euclidean().distance(a, b), expected, rtol=1e-14)
    assert_allclose(mf.Sobolev(0).distance(a, b), expected, rtol=1e-14)


@pytest.mark.parametrize("order", [-1.0, 0.5, 1.0, 2.0])
def test_sobolev_norm_of_a_cosine_on_walls(order: float) -> None:
    grid = mf.Grid([(0.0, np.pi), (0.0, 2.0 * np.pi)], (16, 32))
    x, y = np.moveaxis(grid.centres, -1, 0)
    wave = mf.Field(np.cos(2.0 * x) * np.cos(1.5 * y), grid)
    expected = np.sqrt((1.0 + 4.0 + 2.25) ** order * (np.pi / 2.0) * np.pi)
    assert_allclose(mf.Sobolev(order).distance(wave, mf.Field(np.zeros(grid.shape), grid)), expected, rtol=1e-12)


@pytest.mark.parametrize("order", [-1.0, 0.5, 1.0, 2.0])
def test_sobolev_norm_of_a_sine_on_a_ring(order: float) -> None:
    grid = mf.Grid([(0.0, 2.0 * np.pi), (0.0, np.pi)], (16, 8), periodic=(True, False))
    x, y = np.moveaxis(grid.centres, -1, 0)
    wave = mf.Field(np.sin(3.0 * x) * np.cos(y), grid)
    expected = np.sqrt((1.0 + 9.0 + 1.0) ** order * np.pi * np.pi / 2.0)
    assert_allclose(mf.Sobolev(order).distance(wave, mf.Field(np.zeros(grid.shape), grid)), expected, rtol=1e-12)


def test_h1_norm_is_that_of_the_field_and_its_gradient() -> None:
    """|u|^2 + |u'|^2 integrated by a fine rule, for a smooth function with flat ends."""
    grid = mf.Grid([(0.0, 1.0)], (400,))
    x = grid.axes[0]
    u = mf.Field(x**2 * (1.0 - x) ** 2, grid)
    slope = 2.0 * x * (1.0 - x) * (1.0 - 2.0 * x)
    expected = np.sqrt(np.mean(u.values**2 + slope**2))
    assert_allclose(mf.Sobolev(1).distance(u, mf.Field(np.zeros(400), grid)), expected, rtol=1e-4)


def test_natural_metrics() -> None:
    x = mf.Vector([0.0, 0.0])
    assert mf.distance(x, mf.Vector([3.0, 4.0])) == 5.0
    a, b = cloud(5, 2, 0), cloud(5, 2, 1)
    assert mf.distance(a, b) == W2.distance(a, b)
    assert mf.distance(a, b, W1) == W1.distance(a, b)
    u, v = (mf.Field(np.full(8, height), LINE) for height in (0.0, 1.0))
    assert_allclose(mf.distance(u, v), 2.0, rtol=1e-15)
    assert_allclose(mf.distance(u, v, mf.Sobolev(2)), 2.0, rtol=1e-15)


# --- axioms and geodesics, on every space ---------------------------------------------------------

SPACES: dict[str, tuple[mf.Metric, Callable[[], st.SearchStrategy[Any]]]] = {
    "Vector": (mf.Euclidean(), vectors),
    "Field": (mf.Euclidean(), lambda: fields(LINE)),
    "H1 on walls": (mf.Sobolev(1), lambda: fields(WALLS)),
    "H-1 on rings": (mf.Sobolev(-1), lambda: fields(RINGS)),
    "Quantiles": (W2, lambda: quantiles(5)),
    "Gaussian": (W2, gaussians),
    "Particles on the line": (W2, lambda: particles(dim=1)),
    "Particles": (W2, particles),
}
LAWS_ONLY = {
    "W1 on the line": (W1, lambda: particles(dim=1)),
    "W1": (W1, particles),
    "Quantiles of any n": (W2, quantiles),
    "Histogram": (W2, lambda: histograms(LINE)),
    "sliced": (mf.Wasserstein(method="sliced", projections=20), particles),
}


@pytest.mark.parametrize("space", [*SPACES, *LAWS_ONLY])
@given(data=st.data())
def test_axioms(space: str, data: st.DataObject) -> None:
    metric, states = (SPACES | LAWS_ONLY)[space]
    a, b, c = (data.draw(states()) for _ in range(3))
    ab, ba, bc, ac = metric.distance(a, b), metric.distance(b, a), metric.distance(b, c), metric.distance(a, c)
    assert ab >= 0.0
    assert metric.distance(a, a) == 0.0
    assert metric.distance(a, a.replace(a.coordinates.copy())) <= 1e-7
    assert_allclose(ab, ba, rtol=1e-9, atol=1e-9)
    assert ac <= ab + bc + 1e-9


@pytest.mark.parametrize("space", SPACES)
@given(data=st.data(), s=SHARES)
def test_geodesics_have_constant_speed(space: str, data: st.DataObject, s: float) -> None:
    metric, states = SPACES[space]
    a, b = data.draw(states()), data.draw(states())
    length, middle = metric.distance(a, b), metric.geodesic(a, b, s)
    assert_allclose(metric.distance(a, middle), s * length, rtol=1e-6, atol=2e-7)
    assert_allclose(metric.distance(middle, b), (1.0 - s) * length, rtol=1e-6, atol=2e-7)


@pytest.mark.parametrize("space", SPACES)
@given(data=st.data())
def test_geodesics_start_and_end_where_they_should(space: str, data: st.DataObject) -> None:
    metric, states = SPACES[space]
    a, b = data.draw(states()), data.draw(states())
    assert metric.distance(metric.geodesic(a, b, 0.0), a) <= 1e-7
    assert metric.distance(metric.geodesic(a, b, 1.0), b) <= 1e-7


def test_geodesic_of_particles_moves_along_the_optimal_plan() -> None:
    a, b = mf.Particles([[0.0], [1.0]]), mf.Particles([[11.0], [10.0]])
    assert_array_equal(np.sort(W2.geodesic(a, b, 0.5).points[:, 0]), [5.0, 6.0])
    split = W2.geodesic(mf.Particles([[0.0, 0.0]]), mf.Particles([[2.0, 0.0], [0.0, 2.0]], [0.25, 0.75]), 0.5)
    assert sorted(zip(split.points.tolist(), split.weights, strict=True)) == [([0.0, 1.0], 0.75), ([1.0, 0.0], 0.25)]


def test_geodesic_of_gaussians_is_mccann_interpolation() -> None:
    a, b = mf.Gaussian([0.0, 0.0], np.diag([1.0, 4.0])), mf.Gaussian([2.0, 4.0], np.diag([9.0, 16.0]))
    middle = W2.geodesic(a, b, 0.5)
    assert_allclose(middle.mean, [1.0, 2.0], rtol=1e-14)
    assert_allclose(middle.cov, np.diag([4.0, 9.0]), rtol=0.0, atol=1e-13)


# --- charts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
@given(data=st.data())
def test_charts_measure_small_steps_and_invert(space: str, data: st.DataObject) -> None:
    """log inverts state, and |log| is the distance while labels keep their order."""
    metric, states = SPACES[space]
    a = data.draw(states())
    chart = metric.chart(a)
    assert_allclose(chart.state(chart.origin).coordinates, a.coordinates, rtol=0.0, atol=1e-12)
    if space == "Gaussian":
        step = 1e-2 * np.vstack([np.ones(2), [[1.0, 0.5], [0.5, -1.0]]])
    elif space == "Quantiles":
        step = 1e-3 * np.arange(len(a))
    else:
        step = np.full(chart.origin.shape, 1e-3)
    b = chart.state(chart.origin + step)
    assert_allclose(chart.log(b), chart.origin + step, rtol=0.0, atol=1e-9)
    assert_allclose(metric.distance(a, b), chart.norm(step), rtol=1e-6, atol=1e-9)
    assert_allclose(metric.labelled_distance(a, b), chart.norm(step), rtol=1e-6, atol=1e-9)


def test_metrics_without_a_flow_say_so() -> None:
    law = cloud(3, 2, 0)
    for metric in (W1, mf.Wasserstein(method="sliced"), mf.Wasserstein(method="sinkhorn")):
        with pytest.raises(mf.UnsupportedError, match="flows need the exact metric"):
            metric.chart(law)
        with pytest.raises(mf.UnsupportedError):
            mf.solve(mf.energies.Quadratic(), law, 1.0, 0.5, metric=metric)


# --- what cannot be compared ----------------------------------------------------------------------

EVERYTHING: dict[str, mf.State] = {
    "Particles on the line": cloud(3, 1, 0),
    "Particles": cloud(3, 2, 0, equal=False),
    "Quantiles": mf.Quantiles([0.0, 1.0]),
    "Histogram": mf.Gaussian(0.0, 1.0).to_histogram(LINE),
    "Histogram in the plane": mf.Gaussian([0.0, 0.0], 1.0).to_histogram(WALLS),
    "Histogram on a ring": mf.Gaussian([0.0, 0.0], 1.0).to_histogram(RINGS),
    "Gaussian on the line": mf.Gaussian(0.0, 1.0),
    "Gaussian": mf.Gaussian([0.0, 0.0], 1.0),
    "Vector": mf.Vector([1.0, 2.0]),
    "Field": mf.Field(np.zeros(8), LINE),
    "Field on a ring": mf.Field(np.zeros(RINGS.shape), RINGS),
}
METRICS = {
    "W2": W2,
    "W1": W1,
    "sliced": mf.Wasserstein(method="sliced"),
    "sinkhorn": mf.Wasserstein(method="sinkhorn", epsilon=0.5),
    "Euclidean": mf.Euclidean(),
    "Sobolev": mf.Sobolev(),
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
@pytest.mark.parametrize("a", EVERYTHING.values(), ids=EVERYTHING.keys())
def test_any_two_states_have_a_distance_or_a_proper_error(metric: mf.Metric, a: mf.State) -> None:
    for b in EVERYTHING.values():
        for call in (metric.distance, lambda x, y: metric.distance(x, metric.geodesic(x, y, 0.25))):
            try:
                value = call(a, b)
            except (mf.UnsupportedError, ValueError) as error:
                assert "\n" not in str(error)
            else:
                assert 0.0 <= value < 100.0
    with pytest.raises(TypeError):
        metric.distance(a, g.Bilinear(1.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (W2, "Wasserstein(p=2)"),
        (W1, "Wasserstein(p=1)"),
        (mf.Wasserstein(method="sliced"), "Wasserstein(p=2, method='sliced')"),
        (mf.Euclidean(), "Euclidean()"),
        (mf.Sobolev(0.5), "Sobolev(order=0.5)"),
    ],
)
def test_repr(metric: mf.Metric, text: str) -> None:
    assert repr(metric) == text
