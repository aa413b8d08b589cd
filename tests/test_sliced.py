"""Sliced distances against exact ones on the line and their averages; the Sinkhorn divergence against its limits."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from strategies import particles

import measureflow as mf
from measureflow import energies as e
from measureflow.energies.sliced import directions
from measureflow.kernels import sliced as kernels

SLICED: tuple[Any, ...] = (e.SlicedWasserstein, e.SlicedEnergyDistance)
each_sliced = pytest.mark.parametrize("kind", SLICED)


def cloud(n: int, d: int, seed: int, equal: bool = False) -> mf.Particles:
    rng = np.random.default_rng(seed)
    weights = rng.random(n) + 0.1
    return mf.Particles(rng.normal(size=(n, d)), None if equal else weights / weights.sum())


# --- sorting --------------------------------------------------------------------------------------

SEQUENCES: dict[str, Any] = {
    "normal": lambda rng: rng.normal(size=5000),
    "one": lambda rng: np.array([3.0]),
    "few": lambda rng: rng.normal(size=100),
    "ties": lambda rng: rng.integers(0, 7, 3000).astype(float),
    "constant": lambda rng: np.zeros(2000),
    "heavy tails": lambda rng: rng.standard_cauchy(size=4000) ** 3,
    "all scales": lambda rng: rng.choice([-1.0, 1.0], 2000) * 10.0 ** rng.uniform(-300, 300, 2000),
    "largest": lambda rng: np.array([1.7e308, -1.7e308] * 200),
    "smallest": lambda rng: 5e-324 * rng.integers(0, 9, 1000),
    "far cluster": lambda rng: np.append(rng.normal(size=3000), 1e12),
    "sorted": lambda rng: np.arange(1000.0),
    "reversed": lambda rng: -np.arange(1000.0),
    "signed zeros": lambda rng: np.array([0.0, -0.0] * 300),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_argsort_is_stable(name: str) -> None:
    z = SEQUENCES[name](np.random.default_rng(0))
    n = len(z)
    packed, order, found = np.empty(n + 1, np.int64), np.empty(n + 1, np.int32), np.empty(n + 1)
    kernels.argsort(z, packed, order, found)
    assert_array_equal(order[:n], np.argsort(z, kind="stable"))
    assert_array_equal(found[:n], np.sort(z))


# --- on the line ----------------------------------------------------------------------------------


@given(particles(dim=1), particles(dim=1))
def test_on_the_line_they_are_exact(law: mf.Particles, target: mf.Particles) -> None:
    for kind, exact in ((e.SlicedWasserstein, e.SquaredWasserstein), (e.SlicedEnergyDistance, e.EnergyDistance)):
        sliced, whole = kind(target, 3), exact(target)
        scale = 1.0 + np.abs(law.points).max() + np.abs(target.points).max()
        assert_allclose(sliced.value(law), whole.value(law), rtol=1e-9, atol=1e-11 * scale**2)
        if kind is e.SlicedEnergyDistance:
            assert_allclose(sliced.gradient(law), whole.gradient(law), atol=1e-12)


def test_transport_on_the_line_by_hand() -> None:
    law, target = mf.Particles([[0.0], [4.0]], [0.25, 0.75]), mf.Particles([[1.0], [2.0], [6.0]], [0.5, 0.25, 0.25])
    energy = e.SlicedWasserstein(target)
    assert energy.value(law) == pytest.approx(0.5 * (0.25 * 1 + 0.25 * 9 + 0.25 * 4 + 0.25 * 4))
    assert_allclose(energy.gradient(law)[:, 0], [-1.0, 4.0 - (1.0 + 2.0 + 6.0) / 3.0], rtol=1e-15)


def test_ties_on_the_line() -> None:
    law, target = mf.Particles([[0.0], [0.0], [1.0]]), mf.Particles([[0.0], [1.0], [1.0], [3.0]])
    assert_allclose(e.SlicedEnergyDistance(target).gradient(law), e.EnergyDistance(target).gradient(law), atol=1e-15)
    assert_allclose(e.SlicedEnergyDistance(target).value(law), e.EnergyDistance(target).value(law), rtol=1e-15)


# --- in any dimension -----------------------------------------------------------------------------


@each_sliced
@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_zero_at_the_target(kind: Any, d: int) -> None:
    target = cloud(40, d, 0)
    value, gradient = kind(target, 20).value_and_gradient(mf.Particles(target.points[::-1], target.weights[::-1]))
    assert value == pytest.approx(0.0, abs=1e-14)
    assert_allclose(gradient, 0.0, atol=1e-13)


@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_gradient_is_the_derivative(d: int) -> None:
    law, target = cloud(6, d, 0), cloud(5, d, 1)
    assert mf.check_gradient(e.SlicedWasserstein(target, 11), law) > 1.9
    energy, move = e.SlicedEnergyDistance(target, 11), np.random.default_rng(2).normal(size=law.points.shape)
    ahead, behind = (energy.value(law.replace(law.points + sign * 1e-7 * move)) for sign in (1.0, -1.0))
    assert_allclose(np.sum(law.weights[:, None] * energy.gradient(law) * move), (ahead - behind) / 2e-7, rtol=1e-6)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_average_over_many_directions(d: int) -> None:
    law, target = cloud(20, d, 0), cloud(30, d, 1)
    share = math.gamma(d / 2) / (math.sqrt(math.pi) * math.gamma((d + 1) / 2))
    few, many = (
        abs(e.SlicedEnergyDistance(target, k).value(law) / share - e.EnergyDistance(target).value(law)) for k in (d, 3000)
    )
    assert many < 0.3 * few
    assert_allclose(e.SlicedEnergyDistance(target, 3000).gradient(law) / share, e.EnergyDistance(target).gradient(law), atol=0.02)
    shift = np.arange(1.0, d + 1)
    moved = target.replace(target.points + shift)
    assert_allclose(e.SlicedWasserstein(target, 3 * d).value(moved), 0.5 * shift @ shift / d, rtol=1e-12)
    assert_allclose(e.SlicedWasserstein(target, 3 * d).gradient(moved), np.tile(shift / d, (30, 1)), rtol=1e-10)


@each_sliced
def test_permutations_translations_and_dilations(kind: Any) -> None:
    law, target = cloud(25, 3, 0), cloud(30, 3, 1)
    value, gradient = kind(target, 8).value_and_gradient(law)
    order = np.random.default_rng(2).permutation(25)
    assert_allclose(kind(target, 8).gradient(mf.Particles(law.points[order], law.weights[order])), gradient[order], atol=1e-13)
    together = kind(target.replace(2.0 * target.points + 5.0), 8).value(law.replace(2.0 * law.points + 5.0))
    assert_allclose(together, value * (4.0 if kind is e.SlicedWasserstein else 2.0), rtol=1e-11)


def test_directions() -> None:
    for d, count in ((1, 5), (2, 7), (3, 8), (6, 4)):
        units = directions(d, count, 3)
        assert units.shape == (1 if d == 1 else count, d)
        assert_allclose(np.linalg.norm(units, axis=1), 1.0, rtol=1e-14)
        assert_array_equal(units, directions(d, count, 3))
    assert np.abs(directions(4, 4, 0) @ directions(4, 4, 0).T - np.eye(4)).max() < 1e-14
    assert not np.array_equal(directions(3, 4, 0), directions(3, 4, 1))


def test_adapted_directions_follow_the_target() -> None:
    rng = np.random.default_rng(0)
    flat = mf.Particles(rng.normal(size=(60, 12)) * np.repeat([1.0, 1e-9], [2, 10]))
    for kind in SLICED:
        units = kind(flat, 6, 1, 1.0 / 3.0).directions
        assert_allclose(units @ units.T, np.eye(6), atol=1e-12)  # two lines in the plane of the target, four orthogonal to it
        assert_allclose(np.linalg.norm(units[:, :2], axis=1), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0], atol=1e-7)
    line = mf.Particles([[-1e300, 0.0, 0.0], [1e300, 0.0, 0.0]])
    assert_allclose(np.abs(e.SlicedWasserstein(line, 1, 3, 1.0).directions).max(), 1.0)  # no overflow; equal draws stay random
    weighted = mf.Particles([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]], [0.5, 0.5 - 1e-12, 1e-12])
    first = e.SlicedEnergyDistance(weighted, 2, 1, 1.0).directions[0]
    assert_allclose(np.abs(first), [0.6, 0.8])
    part = e.SlicedWasserstein(flat, 6, 1, 0.5).minibatch(30, rng)
    assert part is not None and part.adapted == 0.5
    assert repr(e.SlicedWasserstein(flat, 6, 1, 0.5)).endswith(", 6, 1, 0.5)")


def test_bits_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "PARALLEL_NUMBERS", 0)
    before, results = numba.get_num_threads(), []
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        results.append([kind(cloud(300, 3, 1), 37).value_and_gradient(cloud(200, 3, 0)) for kind in SLICED])
    numba.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert one[0] == two[0]
        assert_array_equal(one[1], two[1])


@each_sliced
def test_batches_draw_atoms_and_directions(kind: Any) -> None:
    energy, law = kind(cloud(50, 3, 0, equal=True), 5), cloud(4, 3, 1)
    first, second = (energy.minibatch(10, np.random.default_rng(seed)) for seed in (0, 1))
    assert len(first.target) == 10 and first.projections == 5
    assert not np.array_equal(first.directions, second.directions)
    rng = np.random.default_rng(0)
    mean = np.mean([energy.minibatch(50, rng).gradient(law) for _ in range(100)], axis=0)
    assert_allclose(mean, kind(energy.target, 3000).gradient(law), atol=0.08)
    grid = mf.Histogram([0.5, 0.5, 0.0], mf.Grid([(0.0, 3.0)], (3,)))
    assert kind(grid).minibatch(2, rng) is None
    assert kind(grid).value(mf.Particles([[0.5], [1.5]])) == pytest.approx(0.0, abs=1e-15)
    with pytest.raises(mf.UnsupportedError, match="Particles"):
        energy.value(mf.Quantiles([0.0]))


def test_flows_reach_the_target() -> None:
    law, target = cloud(40, 2, 0, equal=True), cloud(60, 2, 1, equal=True)
    transport = mf.solve(e.SlicedWasserstein(target, 20), law, 20.0, 0.5)
    assert np.all(np.diff(transport.energies) <= 1e-12)
    assert transport.energies[-1] < 0.1 * transport.energies[0]
    energy = mf.solve(e.SlicedEnergyDistance(target, 20), law, 4.0, 0.05, scheme="explicit")
    assert energy.energies[-1] < 0.4 * energy.energies[0]
    batched = mf.solve(e.SlicedWasserstein(target, 4), law, 20.0, 0.5, scheme="explicit", batch=30, seed=1)
    assert e.SlicedWasserstein(target, 50).value(batched.states[-1]) < 0.3 * transport.energies[0]


# --- Sinkhorn divergence --------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 20.0])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_sinkhorn_gradients_have_a_taylor_remainder_of_second_order(epsilon: float, d: int) -> None:
    assert mf.check_gradient(e.SinkhornDivergence(cloud(9, d, 1), epsilon), cloud(7, d, 0)) > 1.9


def test_sinkhorn_is_debiased_and_moves_translates_by_their_shift() -> None:
    target = cloud(30, 2, 0)
    energy = e.SinkhornDivergence(target, 0.3)
    value, gradient = energy.value_and_gradient(mf.Particles(target.points[::-1], target.weights[::-1]))
    assert value == pytest.approx(0.0, abs=1e-9)
    assert_allclose(gradient, 0.0, atol=1e-7)
    moved = target.replace(target.points + [3.0, -4.0])
    assert energy.value(moved) == pytest.approx(12.5, rel=1e-9)
    assert_allclose(energy.gradient(moved), np.tile([3.0, -4.0], (30, 1)), atol=1e-6)


def test_sinkhorn_lies_between_transport_and_means() -> None:
    law, target = cloud(12, 2, 0), cloud(15, 2, 1)
    exact = e.SquaredWasserstein(target).value(law)
    gaps = [abs(e.SinkhornDivergence(target, epsilon).value(law) - exact) for epsilon in (0.2, 0.02)]
    assert gaps[1] < 0.2 * gaps[0] and gaps[1] < 0.05 * exact
    means = 0.5 * float(np.sum((law.mean() - target.mean()) ** 2))
    assert e.SinkhornDivergence(target, 1e4).value(law) == pytest.approx(means, rel=2e-3)
    assert e.SinkhornDivergence(mf.Particles([[3.0, 4.0]]), 0.7).value(mf.Particles([[0.0, 0.0]])) == pytest.approx(12.5)


def test_sinkhorn_of_gaussians_in_closed_form() -> None:
    """Janati et al. 2020: for N(m, s^2) and epsilon, with cost |x - y|^2/2 the part of the variances is half their Bures form."""
    s, t, epsilon = 1.0, 0.6, 0.5

    def bures(a: float, b: float) -> float:
        root = math.sqrt(4.0 * a**2 * b**2 + epsilon**2)
        return 0.5 * (a**2 + b**2 - root + epsilon * math.log((root + epsilon) / (2.0 * epsilon)) + epsilon)

    exact = bures(s, t) - 0.5 * bures(s, s) - 0.5 * bures(t, t) + 0.5 * 0.4**2
    law, target = mf.Gaussian(0.4, s**2).to_quantiles(400), mf.Gaussian(0.0, t**2).to_quantiles(300)
    assert e.SinkhornDivergence(target, epsilon).value(law) == pytest.approx(exact, rel=2e-2)


def test_sinkhorn_that_does_not_converge_says_so() -> None:
    law, target = cloud(30, 2, 0), cloud(30, 2, 1)
    with pytest.raises(mf.ConvergenceError, match="larger epsilon") as failure:
        e.SinkhornDivergence(target, 1e-3, tolerance=1e-15, max_iterations=1).value(law)
    assert failure.value.tolerance == 1e-15
    with pytest.raises(mf.UnsupportedError, match="Particles and Quantiles"):
        e.SinkhornDivergence(target, 1.0).value(mf.Gaussian([0.0, 0.0], 1.0))


def test_sinkhorn_flow_goes_down() -> None:
    energies = mf.solve(e.SinkhornDivergence(cloud(20, 2, 0), 0.3), cloud(15, 2, 1, equal=True), 1.0, 0.25).energies
    assert np.all(np.diff(energies) < 0.0)


@given(st.floats(0.05, 5.0), particles(dim=2))
def test_sinkhorn_of_one_target_atom_is_the_mean_square(epsilon: float, law: mf.Particles) -> None:
    """The plan is the product law: OT = mean |x - y|^2 / 2, and the own term is all that debiasing takes off."""
    target = mf.Particles([[0.3, -0.2]])
    try:
        value = e.SinkhornDivergence(target, epsilon).value(law)
    except mf.ConvergenceError:
        return
    assert value <= 0.5 * law.weights @ np.sum((law.points - target.points) ** 2, axis=1) + 1e-6 * (1.0 + abs(value))
    assert value >= -1e-6 * (1.0 + abs(value))
