"""Energies: values against sums written out, densities and closed forms; gradients; arithmetic; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.spatial.distance import cdist
from scipy.special import ndtri
from strategies import gaussians, particles, quantiles

import measureflow as mf
from measureflow import energies as e
from measureflow.energies import interaction, kernels
from measureflow.energies.free_ends import gap_weights

LINE = mf.Grid([(-8.0, 8.0)], (64,))
PLANE = mf.Grid([(-3.0, 3.0), (-2.0, 2.0)], (12, 8))


def cloud(n: int, d: int, seed: int, equal: bool = True) -> mf.Particles:
    rng = np.random.default_rng(seed)
    w = rng.random(n) + 0.2
    return mf.Particles(rng.normal(size=(n, d)), None if equal else w / w.sum())


LAW = cloud(7, 2, 0, equal=False)
TARGET = cloud(5, 2, 1, equal=False)
LINE_LAW = cloud(7, 1, 2, equal=False)
LINE_TARGET = cloud(5, 1, 3, equal=False)
QUANTILES = mf.Gaussian(0.3, 0.8).to_quantiles(12)
HISTOGRAM = mf.Gaussian(0.3, 0.8).to_histogram(LINE)
HISTOGRAM_2D = mf.Gaussian([0.3, -0.1], 0.8).to_histogram(PLANE)
NORMAL = mf.Gaussian([0.5, -1.0], [[1.2, 0.3], [0.3, 0.7]])


def wave(x: np.ndarray) -> np.ndarray:
    return np.cos(x[..., 0]) + 0.1 * np.sum(x**2, axis=-1)


def wave_slope(x: np.ndarray) -> np.ndarray:
    slope = 0.2 * x
    slope[..., 0] -= np.sin(x[..., 0])
    return slope


def spring(z: np.ndarray) -> np.ndarray:
    return np.sqrt(1.0 + np.sum(z**2, axis=-1))


def spring_slope(z: np.ndarray) -> np.ndarray:
    return z / spring(z)[..., None]


def atoms(law: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(law, mf.Histogram):
        return law.grid.points, law.masses.ravel()
    if isinstance(law, mf.Quantiles):
        return law.values[:, None], np.full(len(law), 1.0 / len(law))
    return law.points, law.weights


ATOMIC: list[Any] = [LAW, LINE_LAW, QUANTILES, HISTOGRAM, HISTOGRAM_2D]
each_atomic = pytest.mark.parametrize("law", ATOMIC, ids=["plane", "line", "quantiles", "histogram", "histogram 2-D"])


# --- potentials -----------------------------------------------------------------------------------


@each_atomic
def test_potential_is_a_sum_over_atoms(law: Any) -> None:
    points, weights = atoms(law)
    energy = e.Potential(wave, wave_slope)
    assert_allclose(energy.value(law), weights @ wave(points), rtol=1e-13)
    expected = wave(points) if isinstance(law, mf.Histogram) else wave_slope(points)
    assert_allclose(energy.gradient(law), expected.reshape(law.coordinates.shape), rtol=1e-13)


def test_potential_without_gradient_takes_central_differences() -> None:
    far = mf.Particles([[100.0, -3.0], [0.0, 0.0]])
    assert_allclose(e.Potential(wave).gradient(far), wave_slope(far.points), rtol=1e-7, atol=1e-7)


def test_potential_of_a_vector_is_its_value_there() -> None:
    x = mf.Vector([0.3, -2.0])
    assert e.Potential(wave).value(x) == wave(x.values)
    assert_allclose(e.Potential(wave, wave_slope).gradient(x), wave_slope(x.values), rtol=1e-15)


def test_potential_of_a_gaussian_in_closed_form() -> None:
    """E cos X = exp(-s/2) cos m and E X^4 = m^4 + 6 m^2 s + 3 s^2 for N(m, s), with their derivatives."""
    m, s = 0.7, 1.3
    law = mf.Gaussian(m, s)
    cosine = e.Potential(lambda x: np.cos(x[:, 0]), lambda x: -np.sin(x))
    assert_allclose(cosine.value(law), np.exp(-s / 2) * np.cos(m), rtol=1e-13)
    assert_allclose(cosine.gradient(law)[:, 0], [-np.exp(-s / 2) * np.sin(m), -0.5 * np.exp(-s / 2) * np.cos(m)], rtol=1e-12)
    quartic = e.Potential(lambda x: x[:, 0] ** 4, lambda x: 4.0 * x**3)
    assert_allclose(quartic.value(law), m**4 + 6.0 * m**2 * s + 3.0 * s**2, rtol=1e-13)
    assert_allclose(quartic.gradient(law)[:, 0], [4.0 * m**3 + 12.0 * m * s, 6.0 * m**2 + 6.0 * s], rtol=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_potential_of_a_gaussian_is_exact_for_polynomials(dim: int) -> None:
    rng = np.random.default_rng(dim)
    root = rng.normal(size=(dim, dim))
    law = mf.Gaussian(rng.normal(size=dim), root @ root.T + 0.1 * np.eye(dim))
    bowl = e.Potential(lambda x: 0.5 * np.sum(x**2, axis=1), lambda x: x)
    assert_allclose(bowl.value(law), e.Quadratic().value(law), rtol=1e-12)
    assert_allclose(bowl.gradient(law), e.Quadratic().gradient(law), rtol=1e-11, atol=1e-11)


@given(gaussians(), st.integers(0, 10**6))
def test_quadratic_on_every_state_is_its_formula(law: mf.Gaussian, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(2, 2))
    matrix = matrix + matrix.T
    centre, linear = rng.normal(size=2), rng.normal(size=2)
    energy = e.Quadratic(matrix, centre, linear)

    def potential(x: np.ndarray) -> np.ndarray:
        return 0.5 * np.einsum("nd,de,ne->n", x - centre, matrix, x - centre) + x @ linear

    cross = law.cov + np.outer(law.mean - centre, law.mean - centre)
    assert_allclose(energy.value(law), 0.5 * np.sum(matrix * cross) + linear @ law.mean, rtol=1e-9, atol=1e-9)
    assert_allclose(energy.gradient(law)[0], matrix @ (law.mean - centre) + linear, rtol=1e-9, atol=1e-9)
    assert_allclose(energy.gradient(law)[1:], 0.5 * matrix, rtol=1e-12)
    assert_allclose(energy.value(LAW), LAW.weights @ potential(LAW.points), rtol=1e-12, atol=1e-12)
    assert_allclose(energy.values(LAW.points), potential(LAW.points), rtol=1e-12, atol=1e-12)
    assert_allclose(energy.gradient(HISTOGRAM_2D).ravel(), potential(PLANE.points), rtol=1e-12, atol=1e-12)
    assert_allclose(energy.gradient(mf.Vector(centre)), linear, rtol=1e-12)
    assert energy.convexity == np.linalg.eigvalsh(matrix)[0]


def test_a_number_is_a_multiple_of_the_identity_in_any_dimension() -> None:
    for state in (LAW, LINE_LAW, QUANTILES, NORMAL, mf.Vector([1.0, 2.0, 3.0])):
        dim = getattr(state, "dim", 3)
        assert_allclose(e.Quadratic(3.0).value(state), e.Quadratic(3.0 * np.eye(dim)).value(state), rtol=1e-14)
    with pytest.raises(ValueError, match="dimension 2, the state has dimension 1"):
        e.Quadratic(np.eye(2)).value(LINE_LAW)


def test_box_is_an_indicator() -> None:
    box = e.Box(-1.0, 2.0)
    assert box.value(mf.Vector([-1.0, 2.0])) == 0.0
    assert box.value(mf.Vector([-1.0, 2.1])) == np.inf
    assert_array_equal(box.gradient(mf.Vector([-1.0, 5.0])), [0.0, 0.0])
    assert (e.Box(-1.0, 2.0) + e.Quadratic() + e.Box(0.0, 5.0)).bounds == (0.0, 2.0)
    assert e.Quadratic().bounds is None


# --- interactions ---------------------------------------------------------------------------------


@each_atomic
@pytest.mark.parametrize("singular", [False, True])
def test_interaction_is_half_a_double_sum(law: Any, singular: bool) -> None:
    if singular and isinstance(law, mf.Histogram):
        return  # averages over cells: see test_interaction_grids.py
    points, weights = atoms(law)
    differences = points[:, None] - points[None]
    off = 1.0 - np.eye(len(points)) if singular else np.ones((len(points),) * 2)
    energy = e.Interaction(spring, spring_slope, singular=singular)
    potential = (spring(differences) * off) @ weights
    assert_allclose(energy.value(law), 0.5 * weights @ potential, rtol=1e-12)
    slope = np.einsum("ijd,ij,j->id", spring_slope(differences), off, weights)
    expected = potential if isinstance(law, mf.Histogram) else slope
    assert_allclose(energy.gradient(law), expected.reshape(law.coordinates.shape), rtol=1e-10, atol=1e-12)


def test_interaction_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    law = cloud(40, 2, 5, equal=False)
    whole = e.Interaction(spring, spring_slope, singular=True).value_and_gradient(law)
    monkeypatch.setattr(interaction, "BLOCK_ENTRIES", 300)
    parts = e.Interaction(spring, spring_slope, singular=True).value_and_gradient(law)
    assert_allclose(parts[0], whole[0], rtol=1e-13)
    assert_allclose(parts[1], whole[1], rtol=1e-12, atol=1e-14)


def test_interaction_without_gradient_takes_central_differences() -> None:
    assert_allclose(e.Interaction(spring).gradient(LAW), e.Interaction(spring, spring_slope).gradient(LAW), rtol=1e-7, atol=1e-8)


def test_singular_interaction_leaves_the_diagonal_out() -> None:
    law = mf.Particles([[0.0], [1.0], [3.0]])
    log = e.Interaction(lambda z: -np.log(np.abs(z[..., 0])), lambda z: -1.0 / z, singular=True)
    assert_allclose(log.value(law), -(np.log(1.0) + np.log(3.0) + np.log(2.0)) / 9.0, rtol=1e-14)
    assert_allclose(log.gradient(law)[:, 0], [(1 + 1 / 3) / 3, (-1 + 1 / 2) / 3, (-1 / 3 - 1 / 2) / 3], rtol=1e-14)


@given(gaussians())
def test_interaction_of_a_gaussian_is_the_average_over_its_differences(law: mf.Gaussian) -> None:
    """W(z) = |z|^2 / 2 gives E = tr(cov) / 2, whatever the mean."""
    energy = e.Interaction(lambda z: 0.5 * np.sum(z**2, axis=-1), lambda z: z)
    assert_allclose(energy.value(law), 0.5 * np.trace(law.cov), rtol=1e-10)
    assert_allclose(energy.gradient(law), np.vstack([np.zeros(2), 0.5 * np.eye(2)]), rtol=0.0, atol=1e-9)


# --- internal energies ----------------------------------------------------------------------------


@given(quantiles(6).filter(lambda law: np.diff(law.values).min() > 0.0), st.sampled_from([0.5, 2.0, 3.0]))
def test_internal_energies_of_quantiles_are_sums_over_gaps(law: mf.Quantiles, m: float) -> None:
    n, gaps = 6, np.diff(law.values)
    density = 1.0 / (n * gaps)
    assert_allclose(e.Entropy(0.7).value(law), 0.7 * np.sum(gap_weights(1.0, n) * np.log(density)) / n, rtol=1e-12, atol=1e-12)
    weights = gap_weights(m, n)
    assert_allclose(e.PowerEntropy(m).value(law), np.sum(weights * density**m * gaps) / (m - 1.0), rtol=1e-12)
    pressure = np.concatenate([[0.0], weights * density**m, [0.0]])
    assert_allclose(e.PowerEntropy(m).gradient(law), n * np.diff(pressure), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("law", [HISTOGRAM, HISTOGRAM_2D], ids=["line", "plane"])
def test_internal_energies_of_histograms_are_midpoint_sums(law: mf.Histogram) -> None:
    rho, volume = law.density, law.grid.cell_volume
    held = rho[rho > 0.0]
    assert_allclose(e.Entropy(2.0).value(law), 2.0 * np.sum(held * np.log(held)) * volume, rtol=1e-12)
    assert_allclose(e.PowerEntropy(3.0).value(law), np.sum(rho**3) * volume / 2.0, rtol=1e-12)
    assert_allclose(e.Entropy().gradient(law), np.log(rho) + 1.0, rtol=1e-12)
    assert_allclose(e.PowerEntropy(3.0).gradient(law), 1.5 * rho**2, rtol=1e-12, atol=1e-300)


def test_empty_cells_have_no_entropy() -> None:
    law = mf.Histogram([0.5, 0.5, 0.0, 0.0], mf.Grid([(0.0, 4.0)], (4,)))
    assert_allclose(e.Entropy().value(law), -np.log(2.0), rtol=1e-15)
    assert_allclose(e.PowerEntropy(2.0).value(law), 0.5, rtol=1e-15)
    assert np.all(np.isfinite(e.Entropy().gradient(law)))


@pytest.mark.parametrize("m", [0.75, 2.0, 3.0])
def test_internal_energies_of_a_gaussian_are_integrals_of_its_density(m: float) -> None:
    law = mf.Gaussian(0.3, 0.8)

    def rho(x: float) -> float:
        return float(law.density(np.array([x])))

    entropy = quad(lambda x: rho(x) * np.log(rho(x)), -9.0, 9.0)[0]
    assert_allclose(e.Entropy(1.5).value(law), 1.5 * entropy, rtol=1e-8)
    power = quad(lambda x: rho(x) ** m / (m - 1.0), -12.0, 12.0)[0]
    assert_allclose(e.PowerEntropy(m).value(law), power, rtol=1e-7)


def test_internal_energies_of_a_gaussian_in_the_plane() -> None:
    determinant = np.linalg.det(NORMAL.cov)
    assert_allclose(e.Entropy().value(NORMAL), -0.5 * np.log((2.0 * np.pi * np.e) ** 2 * determinant), rtol=1e-14)
    assert_allclose(e.PowerEntropy(2.0).value(NORMAL), 1.0 / (4.0 * np.pi * np.sqrt(determinant)), rtol=1e-14)
    assert_allclose(e.Entropy(3.0).gradient(NORMAL)[1:], -1.5 * np.linalg.inv(NORMAL.cov), rtol=1e-13)


@given(gaussians(), gaussians())
def test_kl_of_gaussians_in_closed_form(law: mf.Gaussian, target: mf.Gaussian) -> None:
    inverse, shift = np.linalg.inv(target.cov), law.mean - target.mean
    logs = np.log(np.linalg.det(target.cov) / np.linalg.det(law.cov))
    expected = 0.5 * (np.trace(inverse @ law.cov) + shift @ inverse @ shift - 2.0 + logs)
    assert_allclose(e.KL(target).value(law), expected, rtol=1e-8, atol=1e-8)
    assert e.KL(target).value(target) == pytest.approx(0.0, abs=1e-12)


def test_kl_of_histograms_is_a_sum_and_infinite_off_the_support() -> None:
    grid = mf.Grid([(0.0, 4.0)], (4,))
    law, target = mf.Histogram([0.5, 0.5, 0.0, 0.0], grid), mf.Histogram([0.25, 0.25, 0.5, 0.0], grid)
    assert_allclose(e.KL(target).value(law), np.log(2.0), rtol=1e-15)
    assert e.KL(law).value(target) == np.inf
    assert e.KL(target).value(target) == pytest.approx(0.0, abs=1e-15)


def test_kl_to_a_gaussian_on_its_grid_vanishes_at_the_gaussian() -> None:
    assert e.KL(mf.Gaussian(0.3, 0.8)).value(HISTOGRAM) == pytest.approx(0.0, abs=1e-12)
    assert_allclose(e.KL(mf.Gaussian(0.3, 0.8)).gradient(HISTOGRAM), 1.0, rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("energy", [e.Entropy(), e.PowerEntropy(2.0), e.KL(NORMAL)], ids=repr)
def test_atoms_have_no_density(energy: e.Energy) -> None:
    for state in (LAW, mf.Vector([1.0, 2.0]), mf.Field(np.zeros(64), LINE)):
        with pytest.raises(
            mf.UnsupportedError, match=r"Quantiles, Gaussian and Histogram.*to_quantiles\(\).*to_gaussian\(\)"
        ) as caught:
            energy.value(state)
        assert type(state).__name__ in str(caught.value)


def test_quantiles_with_ties_and_singular_gaussians() -> None:
    tied = mf.Quantiles([0.0, 0.0, 1.0])
    assert e.Entropy().value(tied) == np.inf
    assert e.PowerEntropy(2.0).value(tied) == np.inf
    with pytest.raises(mf.UnsupportedError, match="invertible covariance"):
        e.Entropy().value(mf.Gaussian([0.0, 0.0], np.diag([1.0, 0.0])))


# --- discrepancies --------------------------------------------------------------------------------

KERNELS: dict[str, tuple[Any, Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    # the kernel, k as a function of the distance, and its derivative divided by the distance
    "gaussian": (e.GaussianKernel(0.7), lambda r: np.exp(-(r**2) / 0.98), lambda r: -np.exp(-(r**2) / 0.98) / 0.49),
    "laplace": (
        e.LaplaceKernel(0.7),
        lambda r: np.exp(-r / 0.7),
        lambda r: -np.exp(-r / 0.7) / (0.7 * np.maximum(r, 1e-300)),
    ),
    "energy": (e.EnergyKernel(), lambda r: -r, lambda r: -1.0 / np.maximum(r, 1e-300)),
}
each_kernel = pytest.mark.parametrize("name", KERNELS)


def dense_mmd(name: str, law: Any, target: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """Half the squared MMD, the witness and its gradient, by dense matrices."""
    (x, a), (y, b) = atoms(law), atoms(target)
    _, k, slope = KERNELS[name]
    xx, xy, yy = cdist(x, x), cdist(x, y), cdist(y, y)
    value = 0.5 * (a @ k(xx) @ a - 2.0 * a @ k(xy) @ b + b @ k(yy) @ b)
    own = np.einsum("ijd,ij,j->id", x[:, None] - x, slope(xx) * (xx > 0.0), a)
    other = np.einsum("ijd,ij,j->id", x[:, None] - y, slope(xy) * (xy > 0.0), b)
    return float(value), k(xx) @ a - k(xy) @ b, own - other


@each_kernel
@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_mmd_is_the_dense_formula(name: str, dim: int) -> None:
    law, target = cloud(20, dim, 0, equal=False), cloud(30, dim, 1)
    value, _, slope = dense_mmd(name, law, target)
    energy = e.MMD(target, KERNELS[name][0])
    assert_allclose(energy.value(law), value, rtol=1e-10)
    assert_allclose(energy.gradient(law), slope, rtol=1e-9, atol=1e-12)


@each_kernel
def test_mmd_between_kinds_of_laws(name: str) -> None:
    for law in (LINE_LAW, QUANTILES, HISTOGRAM):
        for target in (LINE_TARGET, QUANTILES, HISTOGRAM):
            value, witness, slope = dense_mmd(name, law, target)
            energy = e.MMD(target, KERNELS[name][0])
            assert_allclose(energy.value(law), value, rtol=1e-9, atol=1e-14)
            expected = witness if isinstance(law, mf.Histogram) else slope.reshape(law.coordinates.shape)
            assert_allclose(energy.gradient(law), expected, rtol=1e-8, atol=1e-11)


def test_kernels_by_name_and_by_function() -> None:
    value = e.MMD(TARGET, e.GaussianKernel(0.7)).value(LAW)
    assert e.MMD(TARGET, "gaussian", 0.7).value(LAW) == value

    def k(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.exp(-(cdist(x, y) ** 2) / 0.98)

    def grad_x(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return -k(x, y)[..., None] * (x[:, None] - y) / 0.49

    slope = e.MMD(TARGET, e.GaussianKernel(0.7)).gradient(LAW)
    for kernel, tolerance in ((k, 1e-8), (e.UserKernel(k), 1e-8), (e.UserKernel(k, grad_x), 1e-13)):
        energy = e.MMD(TARGET, kernel)
        assert_allclose(energy.value(LAW), value, rtol=1e-11)
        assert_allclose(energy.gradient(LAW), slope, rtol=0.0, atol=10.0 * tolerance)
    assert e.MMD(TARGET, "energy").value(LAW) == e.MMD(TARGET, e.EnergyKernel()).value(LAW)


def test_user_kernels_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    energy = e.MMD(TARGET, lambda x, y: np.exp(-(cdist(x, y) ** 2)))
    whole = energy.value_and_gradient(LAW)
    monkeypatch.setattr(kernels, "BLOCK_ENTRIES", 20)
    parts = e.MMD(TARGET, lambda x, y: np.exp(-(cdist(x, y) ** 2))).value_and_gradient(LAW)
    assert_allclose(parts[0], whole[0], rtol=1e-13)
    assert_allclose(parts[1], whole[1], rtol=0.0, atol=1e-9)


@given(particles(), particles())
def test_mmd_is_nonnegative_symmetric_and_zero_at_the_target(a: mf.Particles, b: mf.Particles) -> None:
    for kernel in ("gaussian", "laplace", "energy"):
        there, back = e.MMD(b, kernel).value(a), e.MMD(a, kernel).value(b)
        assert there >= -1e-12
        assert_allclose(there, back, rtol=1e-9, atol=1e-12)
        assert abs(e.MMD(a, kernel).value(a)) <= 1e-12


@given(particles(dim=1), particles(dim=1))
def test_energy_distance_on_the_line_is_the_double_sum(a: mf.Particles, b: mf.Particles) -> None:
    energy = e.EnergyDistance(b)
    assert_allclose(energy.value(a), dense_mmd("energy", a, b)[0], rtol=1e-10, atol=1e-12)
    assert_allclose(energy.gradient(a), dense_mmd("energy", a, b)[2], rtol=1e-10, atol=1e-12)


@given(particles(dim=1), particles(dim=1))
def test_energy_distance_is_the_integral_of_squared_distribution_functions(a: mf.Particles, b: mf.Particles) -> None:
    x = np.unique(np.concatenate([a.points, b.points]))
    steps = [np.array([law.weights[law.points[:, 0] <= left].sum() for left in x[:-1]]) for law in (a, b)]
    assert_allclose(e.EnergyDistance(b).value(a), np.sum((steps[0] - steps[1]) ** 2 * np.diff(x)), rtol=1e-10, atol=1e-12)


def test_energy_distance_to_a_histogram_spreads_its_mass() -> None:
    """To the uniform law on [0, 1], int (F - G)^2 for an atom at x inside is x^2 - x + 1/3."""
    uniform = mf.Histogram(np.full(5, 0.2), mf.Grid([(0.0, 1.0)], (5,)))
    energy = e.EnergyDistance(uniform)
    for x in (0.0, 0.3, 0.77, 1.0):
        assert_allclose(energy.value(mf.Particles([[x]])), x * x - x + 1.0 / 3.0, rtol=1e-13)
        assert_allclose(energy.gradient(mf.Quantiles([x])), [2.0 * x - 1.0], rtol=0.0, atol=1e-14)
    assert_allclose(energy.value(mf.Quantiles([-2.0])), 2.0 + 1.0 / 3.0, rtol=1e-13)


def test_energy_distance_in_the_plane_is_half_the_squared_mmd() -> None:
    value, _, slope = dense_mmd("energy", LAW, TARGET)
    assert_allclose(e.EnergyDistance(TARGET).value(LAW), value, rtol=1e-12)
    assert_allclose(e.EnergyDistance(TARGET).gradient(LAW), slope, rtol=1e-11, atol=1e-13)


# --- transport distances --------------------------------------------------------------------------


@given(particles(), particles())
def test_squared_wasserstein_is_half_the_squared_distance(a: mf.Particles, b: mf.Particles) -> None:
    assert_allclose(e.SquaredWasserstein(b).value(a), 0.5 * mf.distance(a, b) ** 2, rtol=1e-12, atol=1e-14)
    assert_allclose(e.Wasserstein1(b).value(a), mf.Wasserstein(1).distance(a, b), rtol=1e-12, atol=1e-14)


@given(gaussians(), gaussians())
def test_squared_wasserstein_of_gaussians(a: mf.Gaussian, b: mf.Gaussian) -> None:
    assert_allclose(e.SquaredWasserstein(b).value(a), 0.5 * mf.distance(a, b) ** 2, rtol=1e-12, atol=1e-14)
    assert_allclose(e.SquaredWasserstein(a).gradient(a), 0.0, rtol=0.0, atol=1e-9)


@given(quantiles(), st.one_of(quantiles(), particles(dim=1)))
def test_squared_wasserstein_of_quantiles_to_other_laws(law: mf.Quantiles, target: Any) -> None:
    assert_allclose(e.SquaredWasserstein(target).value(law), 0.5 * mf.distance(law, target) ** 2, rtol=1e-9, atol=1e-12)


def test_squared_wasserstein_of_quantiles_to_laws_with_a_density() -> None:
    to_histogram = e.SquaredWasserstein(HISTOGRAM).value(QUANTILES)
    assert_allclose(to_histogram, 0.5 * mf.distance(QUANTILES, HISTOGRAM) ** 2, rtol=1e-12)
    normal = mf.Gaussian(0.3, 0.8)
    ends = [-np.inf, *(0.3 + np.sqrt(0.8) * ndtri(np.arange(1, 12) / 12.0)), np.inf]
    pieces = zip(QUANTILES.values, ends[:-1], ends[1:], strict=True)
    squared = sum(quad(lambda x, y=y: (x - y) ** 2 * normal.density([x]), lo, hi)[0] for y, lo, hi in pieces)
    assert_allclose(e.SquaredWasserstein(normal).value(QUANTILES), 0.5 * squared, rtol=1e-8)


def test_gradient_of_transport_distances() -> None:
    law, target = mf.Particles([[0.0, 0.0], [4.0, 0.0]]), mf.Particles([[0.0, 3.0], [4.0, 0.0]])
    assert_allclose(e.SquaredWasserstein(target).gradient(law), [[0.0, -3.0], [0.0, 0.0]], atol=1e-14)
    assert_allclose(e.Wasserstein1(target).gradient(law), [[0.0, -1.0], [0.0, 0.0]], atol=1e-14)


# --- the user's own -------------------------------------------------------------------------------


def test_function_takes_any_state() -> None:
    energy = e.Function(lambda x: np.sum(x**2), lambda x: 2.0 * x)
    for state in (mf.Vector([1.0, 2.0]), LAW, QUANTILES, HISTOGRAM, mf.Field(np.ones(64), LINE)):
        assert_allclose(energy.value(state), np.sum(np.asarray(state) ** 2), rtol=1e-15)
        assert_allclose(energy.gradient(state), 2.0 * np.asarray(state), rtol=1e-15)


def test_function_of_a_gaussian_may_return_a_pair() -> None:
    energy = e.Function(lambda law: law.mean @ law.mean + np.trace(law.cov), lambda law: (2.0 * law.mean, np.eye(2)))
    assert_allclose(energy.gradient(NORMAL), np.vstack([2.0 * NORMAL.mean, np.eye(2)]), rtol=1e-15)


def test_values_are_kept_for_the_last_state_only_and_arrays_are_read_only() -> None:
    calls = []

    def f(x: Any) -> float:
        calls.append(x)
        return 0.0

    kept = np.zeros(2)
    energy = e.Function(f, lambda x: kept)
    first, second = mf.Vector([1.0, 2.0]), mf.Vector([1.0, 2.0])
    for state in (first, first, second, first):
        energy.value(state)
        energy.gradient(state)
    assert calls == [first, second, first]
    assert not energy.gradient(first).flags.writeable
    assert kept.flags.writeable, "the user's own array must stay as it was"


# --- arithmetic -----------------------------------------------------------------------------------


@given(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), particles())
def test_energies_are_a_vector_space(a: float, b: float, law: mf.Particles) -> None:
    x, y, z = e.Quadratic(2.0), e.Interaction(spring, spring_slope), e.Potential(wave, wave_slope)
    combined = a * x + y * b - z / 2.0 if hasattr(z, "__truediv__") else a * x + y * b - 0.5 * z
    for method in ("value", "gradient"):
        parts = [getattr(term, method)(law) for term in (x, y, z)]
        assert_allclose(getattr(combined, method)(law), a * parts[0] + b * parts[1] - 0.5 * parts[2], rtol=1e-11, atol=1e-11)
        assert_allclose(getattr(-combined, method)(law), -getattr(combined, method)(law), rtol=1e-12)
        assert_allclose(getattr(2.0 * combined, method)(law), 2.0 * getattr(combined, method)(law), rtol=1e-12)


def test_sums_are_flat() -> None:
    x, y = e.Quadratic(), e.Entropy()
    combined = 2.0 * (x + 3.0 * y) - y
    assert [(c, term) for c, term in combined.terms()] == [(2.0, x), (6.0, y), (-1.0, y)]
    assert repr(combined) == "2 * Quadratic(1) + 6 * Entropy(1) + -1 * Entropy(1)"


@pytest.mark.parametrize("factor", [2, 2.0, np.float64(2.0), np.int64(2), np.float32(2.0), np.array(2.0)], ids=repr)
def test_numbers_of_all_kinds_are_factors(factor: Any) -> None:
    for energy in (factor * e.Quadratic(), e.Quadratic() * factor):
        assert isinstance(energy, e.Energy)
        assert energy.value(mf.Vector([3.0])) == 9.0


def test_minibatches_replace_the_target() -> None:
    rng = np.random.default_rng(0)
    target = cloud(50, 2, 7)
    energy = 2.0 * e.MMD(target, "gaussian") + e.Quadratic()
    drawn = energy.minibatch(10, rng)
    assert drawn is not None
    factors, terms = zip(*drawn.terms(), strict=True)
    assert factors == (2.0, 1.0)
    points = terms[0].target.points  # type: ignore[attr-defined]
    assert len(np.unique(points, axis=0)) == len(points) == 10
    assert {tuple(x) for x in points} <= {tuple(x) for x in target.points}
    assert terms[1] is energy.terms()[1][1]
    assert e.Quadratic().minibatch(3, rng) is None
    assert e.MMD(HISTOGRAM, "gaussian").minibatch(3, rng) is None


def test_gradients_of_minibatches_average_to_the_gradient() -> None:
    rng = np.random.default_rng(0)
    for energy in (e.MMD(TARGET, "gaussian"), e.EnergyDistance(TARGET)):
        drawn = [energy.minibatch(4, rng) for _ in range(2000)]
        mean = np.mean([batch.gradient(LAW) for batch in drawn if batch is not None], axis=0)
        assert_allclose(mean, energy.gradient(LAW), rtol=0.0, atol=0.03)


# --- convexity ------------------------------------------------------------------------------------


def test_constants_of_convexity() -> None:
    narrow = mf.Gaussian([0.0, 0.0], np.diag([0.5, 2.0]))
    constants: list[tuple[e.Energy, float | None]] = [
        (e.Quadratic(-1.5), -1.5),
        (e.Quadratic(np.diag([3.0, 1.0])), 1.0),
        (e.Entropy(), 0.0),
        (e.PowerEntropy(2.0), 0.0),
        (e.PowerEntropy(0.5), None),
        (e.KL(narrow), 0.5),
        (e.KL(HISTOGRAM), None),
        (e.SquaredWasserstein(TARGET), None),
        (e.SquaredWasserstein(mf.Gaussian(0.0, 1.0)), 1.0),
        (e.Box(0.0, 1.0), 0.0),
        (e.Potential(wave), None),
        (e.Potential(wave, convexity=-0.8), -0.8),
        (e.Interaction(spring, convexity=0.0), 0.0),
        (e.Function(lambda x: 0.0, lambda x: x, convexity=2.0), 2.0),
        (e.MMD(TARGET, "gaussian"), None),
        (3.0 * e.Quadratic(2.0) + e.Entropy(), 6.0),
        (e.Quadratic(2.0) + e.MMD(TARGET, "gaussian"), None),
        (-1.0 * e.Quadratic(2.0), None),
    ]
    for energy, constant in constants:
        assert energy.convexity == constant, repr(energy)


CONVEX: dict[str, tuple[e.Energy, Callable[[], st.SearchStrategy[Any]]]] = {
    "Quadratic, particles": (e.Quadratic([[2.0, 1.0], [1.0, -0.5]]), particles),
    "Quadratic, Gaussian": (e.Quadratic([[2.0, 1.0], [1.0, -0.5]]), gaussians),
    "Entropy, quantiles": (e.Entropy(), lambda: quantiles(5)),
    "Entropy, Gaussian": (e.Entropy(), gaussians),
    "PowerEntropy, quantiles": (e.PowerEntropy(2.0), lambda: quantiles(5)),
    "PowerEntropy, Gaussian": (e.PowerEntropy(3.0), gaussians),
    "KL, Gaussian": (e.KL(NORMAL), gaussians),
    "SquaredWasserstein, quantiles": (e.SquaredWasserstein(LINE_TARGET), lambda: quantiles(5)),
    "Interaction, quantiles": (e.Interaction(spring, spring_slope, convexity=0.0), lambda: quantiles(5)),
}


@pytest.mark.parametrize("case", CONVEX)
@given(data=st.data(), s=st.floats(0.05, 0.95))
def test_energies_are_as_convex_as_they_say(case: str, data: st.DataObject, s: float) -> None:
    energy, states = CONVEX[case]
    a, b = data.draw(states()), data.draw(states())
    ends, middle = (energy.value(a), energy.value(b)), energy.value(mf.Wasserstein().geodesic(a, b, s))
    assert energy.convexity is not None
    bound = (1.0 - s) * ends[0] + s * ends[1] - 0.5 * energy.convexity * s * (1.0 - s) * mf.distance(a, b) ** 2
    assert middle <= bound + 1e-7 * (1.0 + max(abs(end) for end in ends if np.isfinite(end)) if np.isfinite(bound) else 0.0)


# --- gradients ------------------------------------------------------------------------------------

ON_ATOMS: list[e.Energy] = [
    e.Potential(wave, wave_slope),
    e.Potential(wave),
    e.Quadratic(1.7),
    e.Interaction(spring, spring_slope),
    e.Interaction(spring, spring_slope, singular=True),
]
TO_PLANE: list[e.Energy] = [
    e.MMD(TARGET, "gaussian"),
    e.EnergyDistance(TARGET),
    e.SquaredWasserstein(TARGET),
    e.Wasserstein1(TARGET),
]
TO_LINE: list[e.Energy] = [
    e.MMD(LINE_TARGET, "laplace"),
    e.MMD(HISTOGRAM, "gaussian"),
    e.EnergyDistance(LINE_TARGET),
    e.EnergyDistance(HISTOGRAM),
]
DENSE: list[e.Energy] = [e.Entropy(0.7), e.PowerEntropy(2.0), e.PowerEntropy(0.75), e.KL(mf.Gaussian(1.0, 2.0))]
GRADIENTS: list[tuple[e.Energy, Any]] = [
    *[(energy, LAW) for energy in [*ON_ATOMS, *TO_PLANE]],
    *[(energy, LINE_LAW) for energy in [*ON_ATOMS, *TO_LINE, e.SquaredWasserstein(LINE_TARGET)]],
    *[
        (energy, QUANTILES)
        for energy in [*ON_ATOMS, *TO_LINE, *DENSE, e.SquaredWasserstein(HISTOGRAM), e.Wasserstein1(LINE_TARGET)]
    ],
    *[(energy, mf.Gaussian(0.3, 0.8).to_histogram(mf.Grid([(-4.0, 4.0)], (20,)))) for energy in [*ON_ATOMS, *DENSE, *TO_LINE]],
    *[(energy, NORMAL) for energy in [*ON_ATOMS[:4], e.Entropy(), e.PowerEntropy(2.0), e.KL(mf.Gaussian([0.0, 0.0], 1.0))]],
    (e.SquaredWasserstein(mf.Gaussian([0.0, 1.0], [[2.0, 0.1], [0.1, 0.3]])), NORMAL),
    (e.SquaredWasserstein(mf.Gaussian(0.0, 1.0)), QUANTILES),
    (e.Quadratic(2.0) + 0.5 * e.Entropy(), QUANTILES),
    (e.Potential(wave, wave_slope) - e.Quadratic(), mf.Vector([1.0, 2.0])),
]


@pytest.mark.parametrize(("energy", "state"), GRADIENTS, ids=[f"{energy!r} on {state!r}"[:90] for energy, state in GRADIENTS])
def test_gradients_have_a_taylor_remainder_of_second_order(energy: e.Energy, state: mf.State) -> None:
    for seed in range(3):
        assert mf.check_gradient(energy, state, seed) > 1.75


@pytest.mark.parametrize("energy", [*ON_ATOMS, *TO_PLANE[:3]], ids=repr)
def test_gradient_at_an_atom_is_the_derivative_divided_by_its_weight(energy: e.Energy) -> None:
    """Design, section 4: the velocity of an atom is -grad (dE/dmu)(x_i) = -(1/w_i) dE/dx_i."""
    gradient = energy.gradient(LAW)
    for i in (0, 3):
        for axis in range(2):
            shift = np.zeros_like(LAW.points)
            shift[i, axis] = 1e-5
            ahead, behind = (energy.value(LAW.replace(LAW.points + sign * shift)) for sign in (1.0, -1.0))
            assert_allclose(gradient[i, axis], (ahead - behind) / 2e-5 / LAW.weights[i], rtol=1e-5, atol=1e-6)


# --- one law, several representations -------------------------------------------------------------

SAME: dict[str, e.Energy] = {
    "Quadratic": e.Quadratic(2.0, centre=[1.0], linear=[0.3]),
    "Potential": e.Potential(wave, wave_slope),
    "Interaction": e.Interaction(spring, spring_slope),
    "Entropy": e.Entropy(0.7),
    "PowerEntropy": e.PowerEntropy(2.0),
    "KL": e.KL(mf.Gaussian(1.0, 2.0)),
}


@pytest.mark.parametrize("name", SAME)
def test_values_agree_across_representations(name: str) -> None:
    law, energy = mf.Gaussian(0.3, 0.8), SAME[name]
    exact = energy.value(law)
    tolerance = 1e-5 if name == "Interaction" else 1e-9  # the Gauss-Hermite rule for a function with a nearby pole
    for n in (64, 128):  # midpoint sums of smooth, decaying functions converge faster than any power of the width
        assert_allclose(energy.value(law.to_histogram(mf.Grid([(-9.0, 9.0)], (n,)))), exact, rtol=0.0, atol=tolerance)
    errors = [abs(energy.value(law.to_quantiles(n)) - exact) for n in (400, 1600)]
    assert errors[1] < 0.4 * errors[0]  # order 1, but for a factor log n
    assert errors[1] < 0.01


@pytest.mark.parametrize("name", SAME)
def test_histograms_of_a_law_with_a_kink_converge_with_second_order(name: str) -> None:
    """A density that is continuous with kinks: the tent on [-1, 1]; cells share the kinks with the grid's faces."""
    energy, values = SAME[name], []
    for n in (100, 200, 400, 800):
        grid = mf.Grid([(-1.0, 1.0)], (n,))
        values.append(energy.value(mf.Histogram.from_density(lambda x: 1.0 - np.abs(x[..., 0]), grid)))
    gaps = np.abs(np.diff(values))
    assert np.all(np.log2(gaps[:-1] / gaps[1:]) > 1.7)


def test_discrepancies_agree_across_representations() -> None:
    law, target = mf.Gaussian(0.3, 0.8), mf.Gaussian(-0.5, 1.5)
    fine = mf.Grid([(-9.0, 9.0)], (400,))
    for make in (lambda x: e.MMD(x, "gaussian"), lambda x: e.MMD(x, "laplace"), e.EnergyDistance, e.SquaredWasserstein):
        by_quantiles = make(target.to_quantiles(1000)).value(law.to_quantiles(1000))  # type: ignore[no-untyped-call]
        by_atoms = make(target.to_quantiles(1000).to_particles()).value(law.to_quantiles(1000).to_particles())  # type: ignore[no-untyped-call]
        assert_allclose(by_quantiles, by_atoms, rtol=1e-9)
        mixed = make(target.to_histogram(fine)).value(law.to_quantiles(1000))  # type: ignore[no-untyped-call]
        assert_allclose(mixed, by_quantiles, rtol=0.02, atol=2e-4)


# --- every energy on every state ------------------------------------------------------------------

ALL: dict[str, e.Energy] = {
    repr(energy)[:50]: energy
    for energy in [
        *ON_ATOMS,
        *TO_PLANE,
        *TO_LINE,
        *DENSE,
        e.KL(HISTOGRAM),
        e.KL(NORMAL),
        e.Box(-1.0, 1.0),
        e.Quadratic(np.eye(2)),
        e.SquaredWasserstein(NORMAL),
        e.SquaredWasserstein(HISTOGRAM),
        e.Wasserstein1(QUANTILES),
        e.Quadratic() + e.Entropy(),
    ]
}
STATES: list[Any] = [
    LAW,
    LINE_LAW,
    QUANTILES,
    HISTOGRAM,
    HISTOGRAM_2D,
    NORMAL,
    mf.Gaussian(0.0, 1.0),
    mf.Vector([0.5, 1.0]),
    mf.Vector(1.0),
    mf.Field(np.zeros(64), LINE),
    mf.Gaussian([0.0, 1.0], 0.0),
    mf.Quantiles([0.0]),
    mf.Particles([[0.0]]),
]


@pytest.mark.parametrize("name", ALL)
def test_every_energy_on_every_state_answers_or_refuses(name: str) -> None:
    for state in STATES:
        try:
            value, gradient = ALL[name].value_and_gradient(state)
        except (mf.UnsupportedError, ValueError) as error:
            assert "\n" not in str(error)
            assert not isinstance(error, np.linalg.LinAlgError)
        else:
            assert value > -np.inf
            assert gradient.shape == state.coordinates.shape
            assert isinstance(value, float)


def test_energies_can_be_summed_and_divided() -> None:
    law = mf.Gaussian(0.5, 2.0)
    parts = [e.Entropy(), e.Quadratic()]
    total = sum(parts)
    assert_allclose(total.value(law), sum(part.value(law) for part in parts), rtol=1e-15)
    assert_allclose((total / 2).value(law), total.value(law) / 2, rtol=1e-15)
    with pytest.raises(ValueError, match="divisor"):
        total / 0.0
    with pytest.raises(TypeError):
        1.0 + total


def test_quadratic_interaction_is_the_callable_one() -> None:
    law = mf.Particles(np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]]), [0.2, 0.5, 0.3])
    callable_one = 1.7 * e.Interaction(lambda z: np.sum(z**2, axis=-1) / 2, lambda z: z)
    closed = e.QuadraticInteraction(1.7)
    assert_allclose(closed.value(law), callable_one.value(law), rtol=1e-13)
    assert_allclose(closed.gradient(law), callable_one.gradient(law), rtol=1e-12, atol=1e-14)
    grid = mf.Grid([(-1.0, 2.0)], 7)
    cells = mf.Histogram(np.arange(1.0, 8.0) / 28.0, grid)
    assert_allclose(closed.gradient(cells), callable_one.gradient(cells), rtol=1e-12)
