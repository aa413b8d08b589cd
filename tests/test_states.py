"""States: data that cannot change, moments, samples, conversions, and what NumPy sees."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from strategies import gaussians, histograms, particles, quantiles, weights

import measureflow as mf

LINE = mf.Grid([(-1.0, 3.0)], (8,))
BOX = mf.Grid([(0.0, 1.0), (-1.0, 1.0), (2.0, 5.0)], (2, 4, 3), periodic=(False, True, False))
WEIGHTED = mf.Particles([[0.0, 1.0], [2.0, -1.0], [4.0, 0.5]], [0.2, 0.3, 0.5])
RAMP = mf.Histogram.from_density(lambda x: x[..., 0] + 1.0, LINE)
NORMAL = mf.Gaussian([1.0, -2.0], [[2.0, 0.6], [0.6, 0.5]])

STATES: dict[str, mf.State] = {
    "Particles": WEIGHTED,
    "Quantiles": mf.Quantiles([-1.0, 0.0, 0.0, 2.5]),
    "Histogram": RAMP,
    "Gaussian": NORMAL,
    "Vector": mf.Vector([1.0, -2.0, 0.5]),
    "Field": mf.Field(np.sin(LINE.axes[0]), LINE),
}
LAWS: dict[str, Any] = {name: state for name, state in STATES.items() if isinstance(state, mf.Law)}
each_state = pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
each_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


def mean(law: Any) -> np.ndarray:
    return np.asarray(law.mean if isinstance(law, mf.Gaussian) else law.mean())


def covariance(law: Any) -> np.ndarray:
    return np.asarray(law.cov if isinstance(law, mf.Gaussian) else law.covariance())


# --- grids ----------------------------------------------------------------------------------------


def test_grid_has_cell_centres() -> None:
    grid = mf.Grid([(0.0, 1.0), (0.0, 4.0)], (2, 4), periodic=(True, False))
    assert_array_equal(grid.axes[0], [0.25, 0.75])
    assert_array_equal(grid.axes[1], [0.5, 1.5, 2.5, 3.5])
    assert_array_equal(grid.edges[1], np.arange(5.0))
    assert_array_equal(grid.spacing, [0.5, 1.0])
    assert grid.cell_volume == 0.5
    assert grid.centres.shape == (2, 4, 2)
    assert_array_equal(grid.centres[1, 2], [0.75, 2.5])
    assert_array_equal(grid.points, grid.centres.reshape(8, 2))
    assert grid.periodic == (True, False)


def test_an_int_and_a_bool_stand_for_every_dimension() -> None:
    assert mf.Grid([(0.0, 1.0)], 5) == mf.Grid([(0.0, 1.0)], (5,), (False,))
    assert mf.Grid([(0.0, 1.0)] * 2, (5, 5), True).periodic == (True, True)


def test_grids_compare_by_value_and_hash() -> None:
    same = mf.Grid(np.array([[0, 1]]), np.array([4]))
    assert same == mf.Grid([(0.0, 1.0)], (4,))
    assert len({same, mf.Grid([(0.0, 1.0)], (4,)), mf.Grid([(0.0, 1.0)], (5,))}) == 2
    assert same != mf.Grid([(0.0, 1.0)], (4,), True)


@pytest.mark.parametrize("name", ["edges", "axes", "centres", "points"])
def test_arrays_of_grids_are_read_only(name: str) -> None:
    arrays = getattr(BOX, name)
    for array in arrays if isinstance(arrays, tuple) else (arrays,):
        assert not array.flags.writeable


# --- immutability ---------------------------------------------------------------------------------


@each_state
def test_attributes_are_frozen_and_arrays_read_only(state: Any) -> None:
    for name in type(state).__dataclass_fields__:
        value = getattr(state, name)
        with pytest.raises((FrozenInstanceError, AttributeError)):
            setattr(state, name, value)
        if isinstance(value, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                value[...] = 0.0
    with pytest.raises((FrozenInstanceError, AttributeError)):
        del state.coordinates


@each_state
def test_the_view_that_numpy_takes_does_not_change_the_state(state: Any) -> None:
    before = state.coordinates.copy()
    seen = np.asarray(state)
    if seen.flags.writeable:
        seen[...] = 7.0
    assert_array_equal(state.coordinates, before)


def test_the_users_array_is_copied() -> None:
    values = np.array([1.0, 2.0])
    vector, law = mf.Vector(values), mf.Particles(values[:, None])
    values[:] = 9.0
    assert_array_equal(vector.values, [1.0, 2.0])
    assert_array_equal(law.points[:, 0], [1.0, 2.0])
    assert values.flags.writeable


@each_state
def test_replace_keeps_the_structure_and_the_original(state: Any) -> None:
    new = state.replace(state.coordinates.copy())
    assert type(new) is type(state)
    assert new is not state
    assert_allclose(new.coordinates, state.coordinates, rtol=1e-15, atol=0.0)
    for name in set(type(state).__dataclass_fields__) & {"weights", "grid"}:
        assert getattr(new, name) is getattr(state, name)


@each_state
def test_states_compare_by_identity_and_hash(state: Any) -> None:
    twin = state.replace(state.coordinates.copy())
    assert state == state
    assert state != twin
    assert len({state, twin, state}) == 2


@each_state
def test_states_copy_and_travel_between_processes(state: Any) -> None:
    for twin in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):  # noqa: S301
        assert type(twin) is type(state)
        assert_array_equal(twin.coordinates, state.coordinates)


@each_state
def test_repr_is_one_short_line_with_the_kind(state: Any) -> None:
    assert repr(state).startswith(type(state).__name__ + "(")
    assert "\n" not in repr(state)
    assert len(repr(state)) < 100


# --- what NumPy sees ------------------------------------------------------------------------------


def test_vectors_compute_like_arrays() -> None:
    values, matrix = np.array([1.0, -2.0, 0.5]), np.arange(9.0).reshape(3, 3)
    x = mf.Vector(values)
    assert np.sum(x**2) == np.sum(values**2)
    assert np.linalg.norm(x) == np.linalg.norm(values)
    pairs = [
        (x @ matrix, values @ matrix),
        (matrix @ x, matrix @ values),
        (x @ x, values @ values),
        (x + 1.0, values + 1.0),
        (1.0 - x, 1.0 - values),
        (values - x, values - values),
        (x * x, values * values),
        (2.0 / x, 2.0 / values),
        (x / 2, values / 2),
        (2.0**x, 2.0**values),
        (-x, -values),
        (np.exp(x), np.exp(values)),
        (x[1:], values[1:]),
        (np.array(x), values),
        (np.asarray(x, dtype=np.float32), values.astype(np.float32)),
        (np.stack([x, x]), np.stack([values, values])),
        (list(x), list(values)),
    ]
    for got, expected in pairs:
        assert_array_equal(got, expected)
    assert len(x) == 3


@each_state
def test_array_of_a_state_is_its_coordinates(state: Any) -> None:
    assert_array_equal(np.asarray(state), state.coordinates)
    assert np.asarray(state).dtype == np.float64
    assert np.array(state, copy=True).flags.writeable
    assert len(state) == len(state.coordinates)


# --- moments --------------------------------------------------------------------------------------


@given(particles(dim=3))
def test_moments_of_particles_are_those_of_numpy(law: mf.Particles) -> None:
    assert_allclose(law.mean(), np.average(law.points, axis=0, weights=law.weights), rtol=0.0, atol=1e-13)
    if len(law) > 1:
        expected = np.cov(law.points.T, aweights=law.weights, bias=True)
        assert_allclose(law.covariance(), expected, rtol=0.0, atol=1e-12)


@given(quantiles())
def test_moments_of_quantiles_are_those_of_equal_atoms(law: mf.Quantiles) -> None:
    assert_allclose(law.mean(), [np.mean(law.values)], rtol=0.0, atol=1e-13)
    assert_allclose(law.covariance(), [[np.var(law.values)]], rtol=0.0, atol=1e-12)


@given(histograms(BOX))
def test_moments_of_histograms_are_midpoint_sums(law: mf.Histogram) -> None:
    points, masses = BOX.points, law.masses.ravel()
    centre = (points * masses[:, None]).sum(axis=0)
    assert_allclose(law.mean(), centre, rtol=0.0, atol=1e-13)
    assert_allclose(law.covariance(), np.einsum("n,ni,nj->ij", masses, points - centre, points - centre), rtol=0.0, atol=1e-12)


@each_law
def test_covariances_are_symmetric_and_positive(law: Any) -> None:
    cov = covariance(law)
    assert_array_equal(cov, cov.T)
    assert np.linalg.eigvalsh(cov)[0] >= -1e-14


@given(st.integers(1, 40).flatmap(weights))
def test_mass_is_one_to_rounding(w: np.ndarray) -> None:
    assert abs(mf.Particles(np.zeros((len(w), 1)), w).weights.sum() - 1.0) <= 1e-15 * len(w)


@given(st.integers(1, 40).flatmap(weights), st.floats(-9e-10, 9e-10))
def test_weights_of_a_law_keep_their_bits_in_another(w: np.ndarray, error: float) -> None:
    law = mf.Particles(np.zeros((len(w), 1)), w * (1.0 + error))
    assert_array_equal(mf.Particles(law.points, law.weights).weights, law.weights)
    equal = mf.Particles(law.points)
    assert_array_equal(mf.Particles(law.points, equal.weights).weights, equal.weights)


# --- densities ------------------------------------------------------------------------------------


def test_from_density_normalises() -> None:
    centres = LINE.axes[0]
    assert_allclose(RAMP.masses, (centres + 1.0) / np.sum(centres + 1.0), rtol=1e-15)
    assert_allclose(RAMP.density * LINE.cell_volume, RAMP.masses, rtol=1e-15)


@pytest.mark.parametrize("factor", [1e-300, 1.0, 1e300])
def test_from_density_needs_the_density_up_to_a_factor_only(factor: float) -> None:
    law = mf.Histogram.from_density(lambda x: factor * (x[..., 0] + 1.0), LINE)
    assert_allclose(law.masses, RAMP.masses, rtol=1e-14)


def test_from_density_takes_two_dimensions() -> None:
    grid = mf.Grid([(0.0, 1.0), (0.0, 2.0)], (3, 5))
    law = mf.Histogram.from_density(lambda x: x[..., 0] * x[..., 1] ** 2, grid)
    expected = np.multiply.outer(grid.axes[0], grid.axes[1] ** 2)
    assert_allclose(law.masses, expected / expected.sum(), rtol=1e-14)


@given(gaussians())
def test_gaussian_density_is_that_of_scipy(law: mf.Gaussian) -> None:
    points = np.array([[[0.0, 0.0], [1.0, -1.0], [0.3, 0.4]]])
    assert law.density(points).shape == (1, 3)
    assert_allclose(law.density(points), stats.multivariate_normal(law.mean, law.cov).pdf(points)[None], rtol=1e-9, atol=1e-300)


def test_gaussian_to_histogram_has_second_order_moments() -> None:
    errors = []
    for n in (16, 32):
        grid = mf.Grid([(-9.0, 9.0)], (n,))
        law = mf.Gaussian(0.3, 1.5).to_histogram(grid)
        errors.append(abs(law.mean()[0] - 0.3) + abs(law.covariance()[0, 0] - 1.5))
    assert errors[1] < 1e-6  # the midpoint rule converges faster than any power on smooth, decaying functions


def test_a_gaussian_with_a_far_grid_or_a_singular_covariance_has_no_histogram() -> None:
    with pytest.raises(ValueError, match="grid must lie where"):
        mf.Gaussian(0.0, 1.0).to_histogram(mf.Grid([(1e3, 2e3)], (4,)))
    with pytest.raises(ValueError, match="cov must be invertible"):
        mf.Gaussian(0.0, 0.0).to_histogram(LINE)


# --- samples --------------------------------------------------------------------------------------


@each_law
def test_samples_have_the_moments_of_the_law(law: Any) -> None:
    n = 40_000
    sample = law.sample(n, seed=7)
    assert sample.shape == (n, law.dim)
    cov = covariance(law)
    # Histogram: even over each cell; Quantiles: between neighbouring values, so that the variance differs by O(1/n)
    spread = np.diag(law.grid.spacing**2 / 12.0) if isinstance(law, mf.Histogram) else 0.0
    if isinstance(law, mf.Quantiles):
        return
    deviation = np.sqrt(np.diag(cov + spread) / n)
    assert np.all(np.abs(sample.mean(axis=0) - mean(law)) < 4.5 * deviation)
    assert_allclose(np.cov(sample.T), np.squeeze(cov + spread), rtol=0.05, atol=0.02)


def test_samples_of_quantiles_follow_the_interpolated_quantile_function() -> None:
    law = mf.Gaussian(0.0, 1.0).to_quantiles(2000)
    sample = law.sample(20_000, seed=3)[:, 0]
    assert stats.kstest(sample, "norm").pvalue > 1e-3
    assert law.values[0] <= sample.min()
    assert sample.max() <= law.values[-1]


def test_samples_of_particles_are_atoms_in_their_proportions() -> None:
    sample = WEIGHTED.sample(20_000, seed=5)
    counts = [(sample == atom).all(axis=1).sum() for atom in WEIGHTED.points]
    assert sum(counts) == 20_000
    assert stats.chisquare(counts, 20_000 * WEIGHTED.weights).pvalue > 1e-3


def test_samples_of_histograms_fill_the_cells_evenly() -> None:
    sample = RAMP.sample(20_000, seed=5)[:, 0]
    counts, _ = np.histogram(sample, LINE.edges[0])
    assert counts.sum() == 20_000
    assert stats.chisquare(counts, 20_000 * RAMP.masses).pvalue > 1e-3
    within = np.mod(sample - LINE.bounds[0][0], LINE.spacing[0]) / LINE.spacing[0]
    assert stats.kstest(within, "uniform").pvalue > 1e-3


def test_samples_of_gaussians_are_normal_also_if_degenerate() -> None:
    sample = NORMAL.sample(5000, seed=2)
    white = np.linalg.solve(np.linalg.cholesky(NORMAL.cov), (sample - NORMAL.mean).T)
    assert stats.kstest(white.ravel(), "norm").pvalue > 1e-3
    assert_allclose(mf.Gaussian([1.0, 2.0], 0.0).sample(3, 0), [[1.0, 2.0]] * 3)


@each_law
def test_the_same_seed_gives_the_same_samples(law: Any) -> None:
    first = law.sample(5, 11)
    assert_array_equal(law.sample(5, 11), first)
    assert_array_equal(law.sample(5, np.random.SeedSequence(11)), first)
    assert_array_equal(law.sample(5, np.random.default_rng(11)), first)
    assert not np.array_equal(law.sample(50, 12), law.sample(50, 11))


@each_law
def test_a_generator_goes_on_and_none_is_random(law: Any) -> None:
    rng = np.random.default_rng(0)
    assert not np.array_equal(law.sample(50, rng), law.sample(50, rng))
    assert not np.array_equal(law.sample(50), law.sample(50))


def test_sampling_leaves_the_global_stream_alone() -> None:
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for law in LAWS.values():
        law.sample(3, 0)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# --- conversions ----------------------------------------------------------------------------------


@given(particles(dim=1, equal=True))
def test_equal_atoms_to_quantiles_and_back_is_exact(law: mf.Particles) -> None:
    sorted_atoms = np.sort(law.points[:, 0])
    assert_array_equal(law.to_quantiles().values, sorted_atoms)
    back = law.to_quantiles().to_particles()
    assert_array_equal(back.points[:, 0], sorted_atoms)
    assert back.equal_weights


@given(particles(dim=1, equal=True, n=st.integers(1, 5)), st.integers(1, 4))
def test_quantiles_at_multiples_repeat_equal_atoms(law: mf.Particles, times: int) -> None:
    values = law.to_quantiles(times * len(law)).values
    assert_array_equal(values, np.repeat(np.sort(law.points[:, 0]), times))


@given(particles(dim=1, equal=False), st.integers(1, 30))
def test_quantiles_of_atoms_invert_the_distribution_function(law: mf.Particles, n: int) -> None:
    values, levels = law.to_quantiles(n).values, (np.arange(n) + 0.5) / n
    x = law.points[:, 0]
    assert set(values) <= set(x)
    for value, level in zip(values, levels, strict=True):
        assert law.weights[x <= value].sum() >= level - 1e-12
        assert law.weights[x < value].sum() <= level + 1e-12


def test_quantiles_of_a_gaussian_are_exact() -> None:
    law = mf.Gaussian(1.0, 4.0).to_quantiles(101)
    assert_allclose(law.values, stats.norm(1.0, 2.0).ppf(law.levels), rtol=1e-12)
    assert_array_equal(mf.Gaussian(1.0, 0.0).to_quantiles(3).values, [1.0, 1.0, 1.0])


@given(histograms(LINE), st.integers(1, 40))
def test_quantiles_of_a_histogram_invert_its_piecewise_linear_cdf(law: mf.Histogram, n: int) -> None:
    values, levels = law.to_quantiles(n).values, (np.arange(n) + 0.5) / n
    cdf = np.concatenate([[0.0], np.cumsum(law.masses)])
    assert_allclose(np.interp(values, LINE.edges[0], cdf), levels, rtol=0.0, atol=1e-12)
    assert len(law.to_quantiles()) == law.masses.size


@given(quantiles(), st.integers(1, 20))
def test_quantiles_at_other_levels_are_values_of_the_step_function(law: mf.Quantiles, n: int) -> None:
    other = law.to_quantiles(n)
    assert set(other.values) <= set(law.values)
    assert_array_equal(law.to_quantiles(len(law)).values, law.values)
    assert_array_equal(law.to_quantiles().values, law.values)


@given(histograms(BOX))
def test_particles_of_a_histogram_keep_its_moments(law: mf.Histogram) -> None:
    atoms = law.to_particles()
    assert len(atoms) == np.count_nonzero(law.masses)
    assert_allclose(atoms.mean(), law.mean(), rtol=0.0, atol=1e-13)
    assert_allclose(atoms.covariance(), law.covariance(), rtol=0.0, atol=1e-12)


@each_law
def test_gaussian_of_a_law_has_its_moments(law: Any) -> None:
    normal = law.to_gaussian()
    assert isinstance(normal, mf.Gaussian)
    assert_allclose(normal.mean, mean(law), rtol=1e-15, atol=1e-15)
    assert_allclose(normal.cov, covariance(law), rtol=1e-14, atol=1e-15)


@given(gaussians(dim=1))
def test_gaussian_through_quantiles_comes_back(law: mf.Gaussian) -> None:
    back = law.to_quantiles(400).to_gaussian()
    assert_allclose(back.mean, law.mean, rtol=0.0, atol=1e-12)
    assert_allclose(back.cov, law.cov, rtol=0.01)


def test_laws_that_do_not_convert_say_so() -> None:
    with pytest.raises(mf.UnsupportedError, match="on the line, got dimension 2"):
        WEIGHTED.to_quantiles(3)
    with pytest.raises(mf.UnsupportedError, match="got Gaussian"):
        NORMAL.to_particles()
    with pytest.raises(ValueError, match="n must be given"):
        mf.Particles([[0.0], [1.0]], [0.4, 0.6]).to_quantiles()
