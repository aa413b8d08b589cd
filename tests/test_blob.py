"""Entropies of atoms through a mollified density: sums against dense ones, gradients, limits, flows."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import measureflow as mf
from measureflow import energies as e
from measureflow.kernels import cell_lists

MOLLIFIERS = ("gaussian", "compact")
each_mollifier = pytest.mark.parametrize("mollifier", MOLLIFIERS)


def cloud(n: int, d: int, seed: int = 0) -> mf.Particles:
    rng = np.random.default_rng(seed)
    weights = rng.random(n) + 0.1
    return mf.Particles(rng.normal(size=(n, d)), weights / weights.sum())


def bump(squared: np.ndarray, mollifier: str, h: float, d: int) -> np.ndarray:
    """The mollifier at squared distances, written out."""
    if mollifier == "gaussian":
        return np.exp(-squared / (2.0 * h**2)) / (2.0 * np.pi * h**2) ** (d / 2)
    reach = h * math.sqrt(d + 8.0)
    height = math.gamma(d / 2 + 4) / (6.0 * math.pi ** (d / 2) * reach**d)
    return height * np.clip(1.0 - squared / reach**2, 0.0, None) ** 3


def dense(law: mf.Particles, mollifier: str, h: float) -> np.ndarray:
    squared = np.sum((law.points[:, None] - law.points) ** 2, axis=-1)
    return bump(squared, mollifier, h, law.dim) @ law.weights


@each_mollifier
@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_value_is_the_dense_sum(mollifier: str, d: int) -> None:
    law = cloud(150, d)
    law = law.replace(law.points + np.where(np.arange(150) == 7, 1e6, 0.0)[:, None])  # an outlier
    density = dense(law, mollifier, 0.4)
    assert_allclose(e.BlobEntropy(0.4, 0.7, mollifier=mollifier).value(law), 0.7 * law.weights @ np.log(density), atol=1e-5)
    expected = law.weights @ density**1.5 / 1.5
    assert_allclose(e.BlobPowerEntropy(2.5, 0.4, mollifier=mollifier).value(law), expected, rtol=1e-5)


@each_mollifier
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_gradients_have_a_taylor_remainder_of_second_order(mollifier: str, d: int) -> None:
    for energy in (
        e.BlobEntropy(0.5, 0.7, mollifier=mollifier),
        e.BlobPowerEntropy(2.0, 0.5, mollifier=mollifier),
        e.BlobPowerEntropy(0.6, 0.5, mollifier=mollifier),
    ):
        assert mf.check_gradient(energy, cloud(40, d)) > 1.9


@each_mollifier
@pytest.mark.parametrize("d", [1, 2, 3])
def test_mollifiers_have_mass_one_and_the_variance_of_the_bandwidth(mollifier: str, d: int) -> None:
    """k at distance r is the value of the power entropy for m = 2 of two atoms, less their own."""
    r = np.linspace(0.0, 7.0, 1401)
    pair = [e.BlobPowerEntropy(2.0, 1.0, mollifier=mollifier).value(mf.Particles([[0.0] * d, [x] + [0.0] * (d - 1)])) for x in r]
    k = 2.0 * np.array(pair) - e.BlobPowerEntropy(2.0, 1.0, mollifier=mollifier).value(mf.Particles([[0.0] * d]))
    assert k.min() > -1e-12
    sphere = 2.0 * math.pi ** (d / 2) / math.gamma(d / 2)
    assert_allclose(np.trapezoid(sphere * r ** (d - 1) * k, r), 1.0, atol=2e-5)
    assert_allclose(np.trapezoid(sphere * r ** (d + 1) * k, r), d, rtol=2e-5)


def test_power_two_is_an_interaction() -> None:
    law = cloud(30, 2)
    pairs = e.Interaction(
        lambda z: 2.0 * bump(np.sum(z**2, axis=-1), "compact", 0.7, 2),
        lambda z: -12.0 * z * (np.clip(1.0 - np.sum(z**2, axis=-1) / 4.9, 0.0, None) ** 2 * 4.0 / np.pi / 4.9**2)[..., None],
    )
    blob = e.BlobPowerEntropy(2.0, 0.7, mollifier="compact")
    assert_allclose(blob.value(law), pairs.value(law), rtol=1e-13)
    assert_allclose(blob.gradient(law), pairs.gradient(law), rtol=1e-12, atol=1e-14)


@each_mollifier
def test_permutations_and_rigid_motions(mollifier: str) -> None:
    law, energy = cloud(60, 2), e.BlobEntropy(0.4, mollifier=mollifier)
    value, gradient = energy.value_and_gradient(law)
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])
    moved_value, moved = energy.value_and_gradient(law.replace(law.points @ turned.T + [3.0, -1.0]))
    assert_allclose(moved_value, value, rtol=1e-12)
    assert_allclose(moved, gradient @ turned.T, rtol=1e-9, atol=1e-12)
    order = np.random.default_rng(1).permutation(60)
    other = energy.gradient(mf.Particles(law.points[order], law.weights[order]))
    assert_allclose(other, gradient[order], rtol=1e-12, atol=1e-14)
    assert_allclose(law.weights @ gradient, 0.0, atol=1e-13)  # forces between atoms cancel


def test_atoms_out_of_reach_and_atoms_together() -> None:
    law = mf.Particles([[0.0, 0.0], [50.0, 0.0], [50.0, 0.0]])
    for mollifier in MOLLIFIERS:
        assert_array_equal(e.BlobEntropy(0.5, mollifier=mollifier).gradient(law), 0.0)


def test_bits_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_lists, "PARALLEL_PAIRS", 0)
    before, law = numba.get_num_threads(), cloud(500, 2)
    results = []
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        results.append(e.BlobEntropy(0.3).gradient(law.replace(law.points.copy())))
    numba.set_num_threads(before)
    assert_array_equal(*results)


@each_mollifier
def test_values_tend_to_the_entropies_of_a_gaussian(mollifier: str) -> None:
    """At quantiles, with bandwidths n^(-1/2): both errors vanish; for the Gaussian the limit of n is known at every h."""
    law, errors = mf.Gaussian(0.3, 0.8), []
    for n in (100, 400, 1600):
        atoms = law.to_quantiles(n).to_particles()
        h = 2.0 * n**-0.5
        errors.append(
            [
                abs(e.BlobEntropy(h, mollifier=mollifier).value(atoms) - e.Entropy().value(law)),
                abs(e.BlobPowerEntropy(2.0, h, mollifier=mollifier).value(atoms) - e.PowerEntropy(2.0).value(law)),
            ]
        )
    entropy, power = (np.array(errors[:-1]) / np.array(errors[1:])).T
    assert entropy.min() > 1.8  # order h = n^(-1/2): atoms far out in the tails do not see each other
    assert power.min() > 3.5  # order h^2
    if mollifier == "gaussian":
        s, h = 0.8, 0.5
        exact = -0.5 * np.log(2.0 * np.pi * (s + h**2)) - 0.5 * s / (s + h**2)
        assert_allclose(e.BlobEntropy(h).value(law.to_quantiles(2000)), exact, atol=2e-3)


def test_quantiles_are_equal_atoms() -> None:
    law = mf.Gaussian(0.3, 0.8).to_quantiles(50)
    energy = e.BlobEntropy(0.3)
    assert_allclose(energy.gradient(law), energy.gradient(law.to_particles())[:, 0], rtol=1e-14)
    for state in (mf.Gaussian(0.0, 1.0), mf.Vector([1.0])):
        with pytest.raises(mf.UnsupportedError, match="Particles and Quantiles"):
            energy.value(state)
    with pytest.raises(ValueError, match="20 dimensions"):
        energy.value(mf.Particles(np.zeros((2, 21))))


def test_porous_medium_of_particles_follows_barenblatt() -> None:
    """S4: the second moment of u_t = (u^2)_xx is (R^2/5) t^(2/3), atoms are spread by t^(1/3)."""
    levels, radius = (np.arange(300) + 0.5) / 300, 9.0 ** (1 / 3)
    start = 2.0 * radius * np.sin(np.arcsin(2.0 * levels - 1.0) / 3.0)
    energy = e.BlobPowerEntropy(2.0, 0.06, mollifier="compact")
    last = mf.solve(energy, mf.Particles(start[:, None]), (1.0, 2.0), 0.02, scheme="rk2").states[-1]
    assert_allclose(last.covariance()[0, 0], radius**2 / 5.0 * 2.0 ** (2 / 3), rtol=4e-3)
    assert_allclose(last.points.max(), start[-1] * 2.0 ** (1 / 3), rtol=2e-2)


def test_heat_flow_of_particles_in_the_plane() -> None:
    """d_t rho = Lap rho with the blob entropy: the variance of an axis grows by about 2 t (S3)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2))
    x = (x - x.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T, bias=True))).T
    sol = mf.solve(e.BlobEntropy(0.35), mf.Particles(x), 0.5, 0.05)
    assert np.all(np.diff(sol.energies) < 0.0)
    assert_allclose(np.diag(sol.states[-1].covariance()), 2.0, rtol=0.08)


def test_a_step_of_the_scheme_is_a_minimum_and_games_take_blobs() -> None:
    law = mf.Particles(np.random.default_rng(0).normal(size=(40, 2)))
    energy = e.BlobEntropy(0.4, 0.5) + e.Quadratic()
    after = mf.proximal(energy, mf.Wasserstein(), law, 0.1)
    assert_allclose(after.points + 0.1 * energy.gradient(after), law.points, atol=1e-6)
    duel = mf.games.KernelGame(
        lambda x, y: x @ y.T, lambda x, y: np.broadcast_to(y, (len(x), *y.shape)), lambda x, y: x[:, None] + 0.0 * y
    )
    both = mf.games.Regularised(duel, [energy, energy])
    sol = mf.solve(both, (law, law), 0.2, 0.1, scheme="explicit")
    assert sol.states[-1][0].points.shape == (40, 2)


def test_memory_is_linear() -> None:
    law = cloud(20_000, 2)
    e.BlobEntropy(0.02).value(cloud(100, 2))
    tracemalloc.start()
    e.BlobEntropy(0.02).value(law)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 20_000 * 8


def test_interactions_and_kernels_of_the_user_form_no_square_array() -> None:
    law, pull = cloud(3000, 2), e.Interaction(lambda z: np.sum(z**2, axis=-1), lambda z: 2.0 * z)

    def kernel(x: Any, y: Any) -> Any:
        return x @ y.T

    mmd = e.MMD(law, e.UserKernel(kernel, lambda x, y: np.broadcast_to(y, (len(x), *y.shape))))
    for energy in (pull, mmd):
        tracemalloc.start()
        energy.value(cloud(3000, 2, seed=1))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 0.75 * 3000 * 3000 * 8
