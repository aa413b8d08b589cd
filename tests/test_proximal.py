"""Inner solvers: closed forms against theory, iterations against closed forms, certificates against perturbations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import brentq
from scipy.special import beta as beta_function
from scipy.special import betaincinv, ndtri
from strategies import gaussians, particles, quantiles

import measureflow as mf
from measureflow.kernels.cells import solve_cells, transport_moments
from measureflow.kernels.tridiagonal import solve_chain
from measureflow.proximal import SOLVERS, Step, Tolerance, solve_proximal
from measureflow.proximal.cone import on_cone
from measureflow.proximal.descent import descend
from measureflow.proximal.histogram import even_cells
from measureflow.proximal.quantiles import interior
from measureflow.proximal.separable import by_points

e = mf.energies
W2 = mf.Wasserstein()
FLAT = mf.Euclidean()
TOLERANCE = Tolerance()
WELLS = e.Potential(lambda x: (x[:, 0] ** 2 - 1.0) ** 2 / 4.0, lambda x: x**3 - x)
MODULUS = e.Interaction(lambda z: np.abs(z[..., 0]), np.sign)
LINE = mf.Grid([(-6.0, 6.0)], (240,))


def step(energy: Any, x: mf.State, tau: float, metric: mf.metrics.Metric = W2) -> Step:
    return solve_proximal(energy, metric, x, tau, TOLERANCE)


def levels(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5) / n


def normal(n: int, mean: float = 0.0, std: float = 1.0) -> mf.Quantiles:
    return mf.Quantiles(mean + std * ndtri(levels(n)))


def objective(energy: Any, x: mf.State, u: mf.State, tau: float) -> float:
    return tau * energy.value(u) + 0.5 * W2.distance(x, u) ** 2


# closed forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [mf.Particles([[1.0], [-3.0]], [0.3, 0.7]), mf.Quantiles([-3.0, 1.0]), mf.Vector([1.0, -3.0])])
def test_e1_quadratic(x: mf.State) -> None:
    metric = FLAT if isinstance(x, mf.Vector) else W2
    done = step(2.0 * e.Quadratic(0.75), x, 0.4, metric)
    assert_allclose(np.asarray(done.state), np.asarray(x) / 1.6, rtol=1e-15)
    assert done.residual == 0.0 and done.iterations == 0
    assert_allclose(done.distance, metric.distance(x, done.state), rtol=1e-14)


@pytest.mark.parametrize("grad", [np.sign, None])
@pytest.mark.parametrize("prox", [None, lambda x, tau: np.sign(x) * np.maximum(np.abs(x) - tau, 0.0)])
def test_e2_modulus(grad: Any, prox: Any) -> None:
    modulus = e.Potential(lambda x: np.abs(x[:, 0]), grad, prox=prox)
    points = np.array([-2.0, -0.1, 0.0, 0.2, 0.3, 1.5])
    expected = np.sign(points) * np.maximum(np.abs(points) - 0.3, 0.0)
    slack = 1e-14 if grad is not None or prox is not None else 1e-5  # differences of V round the kink off
    for x in (mf.Particles(points[:, None]), mf.Quantiles(points), mf.Particles(points[:, None], np.arange(1, 7) / 21.0)):
        assert_allclose(np.asarray(step(modulus, x, 0.3).state).ravel(), expected, atol=slack)
    assert_allclose(np.asarray(step(modulus, mf.Vector([1.5]), 0.3, FLAT).state), [1.2], atol=slack)


def test_e3_quartic() -> None:
    quartic = e.Potential(lambda x: x[:, 0] ** 4 / 4.0, lambda x: x**3)
    x = np.linspace(-2.0, 2.0, 9)
    exact = np.array([brentq(lambda u, a=a: u + 0.7 * u**3 - a, -3.0, 3.0, xtol=1e-15) for a in x])
    for law in (mf.Particles(x[:, None]), mf.Quantiles(x)):
        assert_allclose(np.asarray(step(quartic, law, 0.7).state).ravel(), exact, atol=1e-14)
    assert_allclose(np.asarray(descend(quartic, W2, mf.Particles(x[:, None]), 0.7, TOLERANCE).state).ravel(), exact, atol=1e-9)


def test_s1_ornstein_uhlenbeck() -> None:
    done = step(e.KL(mf.Gaussian(0.0, 1.0)), mf.Gaussian(1.5, 4.0), 0.1)
    assert_allclose([done.state.mean[0], np.sqrt(done.state.cov[0, 0])], [1.5 / 1.1, 1.866877614], atol=1e-9)
    law = mf.Gaussian(1.5, 4.0)
    for _ in range(10):
        law = step(e.KL(mf.Gaussian(0.0, 1.0)), law, 0.1).state
    assert_allclose(np.sqrt(law.cov[0, 0]), 1.21002669, atol=1e-8)


A = np.array([[2.0, 0.7], [0.7, 0.5]])
S0 = np.array([[0.3, -0.2], [-0.2, 1.5]])


def test_s2_does_not_need_commuting_matrices() -> None:
    x = mf.Gaussian([1.0, 2.0], S0)
    kl = e.KL(mf.Gaussian([0.0, 0.0], np.linalg.inv(A)))
    done = step(kl, x, 0.4)
    assert_allclose(done.state.cov, [[0.4999507781, -0.4120303821], [-0.4120303821, 1.797165515]], atol=1e-9)
    assert_allclose(done.state.mean, np.linalg.solve(np.eye(2) + 0.4 * A, [1.0, 2.0]), rtol=1e-14)
    assert_allclose(done.distance, W2.distance(x, done.state), rtol=1e-12)
    assert_allclose(done.distance, 0.4 * W2.slope(done.state, kl.gradient(done.state)), rtol=1e-12)


@given(gaussians(), st.floats(0.01, 3.0), st.floats(0.0, 2.0))
def test_gaussian_closed_form_agrees_with_descent(x: mf.Gaussian, tau: float, temperature: float) -> None:
    energy = e.Quadratic(A, linear=[0.3, -1.0])
    if temperature > 1e-3:
        energy = energy + temperature * e.Entropy()
    exact, found = step(energy, x, tau), descend(energy, W2, x, tau, TOLERANCE)
    assert exact.residual == 0.0 and found.iterations > 0
    assert_allclose(found.state.coordinates, exact.state.coordinates, atol=1e-8)


def test_s3_heat() -> None:
    done = step(e.Entropy(0.5), mf.Gaussian([0.0], [[2.0]]), 0.3)
    assert_allclose(np.sqrt(done.state.cov[0, 0]), (np.sqrt(2.0) + np.sqrt(2.0 + 4 * 0.15)) / 2.0, rtol=1e-14)
    assert_allclose(step(e.Entropy(), mf.Gaussian([0.0, 1.0], 0.0), 0.3).state.cov, 0.3 * np.eye(2), rtol=1e-14)


def test_s6_quadratic_interaction() -> None:
    rng = np.random.default_rng(0)
    springs = e.Interaction(lambda z: np.sum(z**2, axis=-1) / 2.0, lambda z: z)
    for x in (mf.Particles(rng.normal(size=(7, 2))), mf.Quantiles(np.sort(rng.normal(size=40)))):
        z = np.asarray(x)
        assert_allclose(np.asarray(step(springs, x, 0.5).state), z.mean(0) + (z - z.mean(0)) / 1.5, atol=1e-10)


def test_s7_repulsion_parts_a_dirac_and_s8_attraction_collapses_for_ever() -> None:
    n, s = 101, levels(101)
    dirac = mf.Quantiles(np.zeros(n))
    assert_allclose(np.asarray(step(-1.0 * MODULUS, dirac, 0.3).state), 0.3 * (2 * s - 1), atol=1e-12)
    assert_allclose(np.asarray(step(e.Quadratic() - MODULUS, dirac, 0.3).state), 0.3 * (2 * s - 1) / 1.3, atol=1e-12)
    law: Any = mf.Quantiles(2 * s - 1)
    for scale in (0.7, 0.4, 0.1, 0.0, 0.0):
        law = step(MODULUS, law, 0.3).state
        assert_allclose(np.asarray(law), scale * (2 * s - 1), atol=1e-12)
    assert np.ptp(np.asarray(law)) == 0.0
    pair = step(MODULUS, mf.Particles([[1.0], [-1.0]]), 1.5).state
    assert_allclose(pair.points, [[0.25], [-0.25]], atol=1e-14)
    for _ in range(2):
        pair = step(MODULUS, pair, 1.5).state
        assert_allclose(pair.points, 0.0, atol=1e-14)


def test_s9_energy_distance_to_a_dirac_is_exact_at_the_nodes() -> None:
    n, energy = 1000, e.EnergyDistance(mf.Quantiles([0.0]))
    for tau in (0.3, 0.9):
        law: Any = mf.Quantiles(np.ones(n))
        for _ in range(round(0.9 / tau)):
            law = step(energy, law, tau).state
        assert_allclose(np.asarray(law), np.maximum(1.0 - 2.0 * (1.0 - levels(n)) * 0.9, 0.0), atol=1e-14)


def test_s10_energy_distance_to_a_uniform_law() -> None:
    energy = e.EnergyDistance(mf.Histogram(np.ones(7) / 7.0, mf.Grid([(0.0, 1.0)], 7)))
    s = levels(50)
    assert_allclose(np.asarray(step(energy, mf.Quantiles(np.full(50, 0.3)), 0.3).state), (0.3 + 0.6 * s) / 1.6, rtol=1e-14)


def test_s12_w1_arrives_in_finite_time() -> None:
    goal = normal(30, 1.0, 2.0)
    x = mf.Quantiles(np.linspace(-1.0, 1.0, 30))
    expected = np.clip(goal.values, x.values - 0.8, x.values + 0.8)
    law: Any = x
    for _ in range(4):
        law = step(e.Wasserstein1(mf.Gaussian(1.0, 4.0)), law, 0.2).state
    assert_allclose(np.asarray(law), expected, atol=1e-14)
    assert_allclose(np.asarray(step(e.Wasserstein1(goal), x, 0.8).state), expected, atol=1e-14)


def test_s13_moves_along_the_geodesic() -> None:
    x, goal = mf.Gaussian([1.0, 2.0], S0), mf.Gaussian([0.0, -1.0], A)
    done = step(0.8 * e.SquaredWasserstein(goal), x, 0.5)
    assert_allclose(W2.distance(x, done.state), 0.4 / 1.4 * W2.distance(x, goal), rtol=1e-12)
    assert_allclose(W2.distance(done.state, goal), 1.0 / 1.4 * W2.distance(x, goal), rtol=1e-12)
    found = descend(0.8 * e.SquaredWasserstein(goal), W2, x, 0.5, TOLERANCE)
    assert_allclose(found.state.coordinates, done.state.coordinates, atol=1e-9)
    dirac = step(0.8 * e.SquaredWasserstein(goal), mf.Gaussian([1.0, 2.0], 0.0), 0.5)
    assert_allclose(dirac.state.cov, A * (0.4 / 1.4) ** 2, rtol=1e-13)


TARGETS = {
    "same": normal(12, 1.0, 2.0),
    "finer": normal(31, 1.0, 2.0),
    "weighted": mf.Particles([[0.0], [2.0], [-1.0]], [0.2, 0.5, 0.3]),
    "cells": mf.Histogram([0.2, 0.0, 0.5, 0.3], mf.Grid([(-1.0, 2.0)], 4)),
}


@pytest.mark.parametrize("kind", [e.SquaredWasserstein, e.Wasserstein1, e.EnergyDistance])
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
@pytest.mark.parametrize("extra", [None, e.Quadratic(0.7, centre=[0.3], linear=[0.2])])
def test_line_closed_forms_minimise(kind: Any, target: mf.Law, extra: Any) -> None:
    rng = np.random.default_rng(5)
    energy = 0.8 * kind(target) if extra is None else 0.8 * kind(target) + extra
    for x in (mf.Quantiles(np.sort(rng.normal(size=12))), mf.Particles(rng.normal(size=(12, 1)))):
        done = step(energy, x, 0.3)
        assert done.method == "closed form"
        value = objective(energy, x, done.state, 0.3)
        for k in range(30):
            moved = np.asarray(done.state) + rng.normal(size=x.coordinates.shape) * 10.0 ** -(k % 6 + 1)
            other = x.replace(np.sort(moved) if isinstance(x, mf.Quantiles) else moved)
            assert objective(energy, x, other, 0.3) >= value - 1e-13


# iterations --------------------------------------------------------------------------------------------------------------


@given(quantiles(st.integers(2, 8)), st.floats(0.01, 2.0))
def test_interior_newton_is_stationary_and_strict(x: mf.Quantiles, tau: float) -> None:
    for energy in (e.Entropy(), e.PowerEntropy(2.0), e.PowerEntropy(0.5), e.KL(mf.Gaussian(0.5, 2.0)), e.Entropy(0.1) + WELLS):
        done = interior(energy, W2, x, tau, TOLERANCE)
        assert done is not None and np.all(np.diff(done.state.values) > 0.0)
        force = done.state.values - x.values + tau * energy.gradient(done.state)
        assert np.sqrt(np.mean(force**2)) <= 1e-8
        assert_allclose(done.distance, W2.distance(x, done.state), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("m", [2.0, 3.0])
def test_s4_jko_keeps_the_barenblatt_family(m: float) -> None:
    beta, tau = 1.0 / (m + 1.0), 0.1
    # u = (C - k x^2)^(1/(m-1)) at t = 1; unit mass fixes the half-width
    k = beta * (m - 1.0) / (2.0 * m)
    area = float(beta_function(0.5, m / (m - 1.0)))
    half = (k ** (-1.0 / (m - 1.0)) / area) ** ((m - 1.0) / (m + 1.0))
    grown = brentq(lambda r: r - 1.0 - tau * beta * r**-m, 1.0, 2.0, xtol=1e-15)
    for n in (2, 3, 50, 200, 800):
        shape = half * (2.0 * betaincinv(m / (m - 1.0), m / (m - 1.0), levels(n)) - 1.0)
        done = interior(e.PowerEntropy(m), W2, mf.Quantiles(shape), tau, TOLERANCE)
        assert done is not None
        assert_allclose(done.state.values, grown * shape, rtol=0.0, atol=1e-9)


def test_t7_heat_from_a_dirac() -> None:
    for n in (1, 2, 50, 1000):
        done = step(e.Entropy(), mf.Quantiles(np.full(n, 3.0)), 0.1)
        assert_allclose(done.state.values, 3.0 + np.sqrt(0.1) * ndtri(levels(n)), rtol=1e-8, atol=1e-9)


def test_walls() -> None:
    """Mass spreads evenly between walls, but for the gaps at the ends, which are weighted as free ends."""
    wide = step(e.Entropy(10.0) + e.Box(-1.0, 1.0), mf.Quantiles(np.zeros(100)), 100.0).state.values
    assert wide[0] == -1.0 and wide[-1] == 1.0
    assert_allclose(np.diff(wide)[1:-1], 2.0 / 99.0, rtol=1e-2)
    assert_allclose(np.diff(wide)[[0, -1]], 2.0 / 99.0, rtol=6e-2)


@given(quantiles(st.integers(2, 8)), st.floats(0.05, 0.9))
def test_cone_steps_are_ordered_and_stationary(x: mf.Quantiles, tau: float) -> None:
    bump = e.Interaction(lambda z: -np.exp(-(z[..., 0] ** 2) / 2.0), lambda z: z * np.exp(-(z**2) / 2.0))
    for energy in (WELLS, bump, WELLS + 0.5 * MODULUS, -0.5 * bump + WELLS + e.Box(-1.0, 1.0)):
        done = on_cone(energy, W2, x, tau, TOLERANCE)
        assert done is not None and done.residual <= 1e-10 * max(1.0, np.sqrt(np.mean(x.values**2)))
        assert np.all(np.diff(done.state.values) >= 0.0)
        assert objective(energy, x, done.state, tau) <= objective(energy, x, mf.Quantiles(np.clip(x, -1, 1)), tau) + 1e-12


def test_solvers_agree_on_separable_energies() -> None:
    x = normal(40, 0.3, 1.2)
    exact = by_points(WELLS, W2, x, 0.5, TOLERANCE)
    for found in (on_cone(WELLS, W2, x, 0.5, TOLERANCE), descend(WELLS, W2, x.to_particles(), 0.5, TOLERANCE)):
        assert exact is not None and found is not None
        assert_allclose(np.asarray(found.state).ravel(), exact.state.values, atol=1e-9)


@given(particles(dim=1, n=5, equal=True), st.floats(0.05, 0.8))
def test_equal_atoms_step_like_points_of_euclidean_space(x: mf.Particles, tau: float) -> None:
    """Pitfall 1: no positions are better, with the transport cost of an exact plan instead of fixed labels."""
    smooth = e.Interaction(lambda z: np.sqrt(1.0 + z[..., 0] ** 2), lambda z: z / np.sqrt(1.0 + z**2))
    rng = np.random.default_rng(1)
    for energy in (WELLS, smooth, e.SquaredWasserstein(mf.Particles([[0.5], [-1.0]]))):
        done = step(energy, x, tau)
        value = objective(energy, x, done.state, tau)
        for k in range(12):
            other = x.replace(done.state.points + rng.normal(size=(5, 1)) * 10.0 ** (-k / 2))
            assert objective(energy, x, other, tau) >= value - 1e-12


@pytest.mark.parametrize("grid", [mf.Grid([(-6.0, 6.0)], n) for n in (40, 160)], ids=str)
def test_histogram_steps_keep_mass_and_distance(grid: mf.Grid) -> None:
    block = mf.Histogram.from_density(lambda x: 1.0 * (np.abs(x[..., 0]) < 1.0), grid)
    bumps = mf.Histogram.from_density(lambda x: np.maximum(1.0 - (np.abs(x[..., 0]) - 3.0) ** 2, 0.0), grid)
    for x in (block, bumps):
        for energy in (e.Entropy(), e.PowerEntropy(2), e.PowerEntropy(0.5), e.Quadratic(), e.PowerEntropy(3) + WELLS):
            done = even_cells(energy, W2, x, 0.05, TOLERANCE)
            assert done is not None
            assert abs(done.state.masses.sum() - 1.0) <= 1e-12 and done.state.masses.min() >= 0.0
            assert_allclose(done.distance, W2.distance(x, done.state), atol=1e-7)


def test_histogram_step_beats_exchanges_of_mass() -> None:
    rng = np.random.default_rng(2)
    grid = mf.Grid([(-2.0, 3.0)], 12)
    x = mf.Histogram.from_density(lambda z: np.maximum(np.sin(2.0 * z[..., 0]), 0.0), grid)
    cloud = e.Interaction(lambda z: -np.exp(-(z[..., 0] ** 2)))
    for energy in (e.Entropy(), e.PowerEntropy(2), WELLS, e.PowerEntropy(2) + cloud, e.Entropy() + cloud):
        done = step(energy, x, 0.2)
        value = objective(energy, x, done.state, 0.2)
        for k in range(60):
            i, j = rng.choice(12, 2, replace=False)
            masses = done.state.masses.copy()
            moved = min(masses[i], 10.0 ** -(k % 5 + 1))
            masses[i] -= moved
            masses[j] += moved
            assert objective(energy, x, x.replace(np.maximum(masses, 0.0)), 0.2) >= value - 1e-12


def test_histogram_quantiles_and_gaussian_agree() -> None:
    kl, x = e.KL(mf.Gaussian(0.0, 1.0)), mf.Gaussian(0.5, 0.64)
    exact = step(kl, x, 0.1).state
    errors = []
    for n in (60, 240):
        cells = step(kl, x.to_histogram(mf.Grid([(-6.0, 6.0)], n)), 0.1).state.to_gaussian()
        errors.append(abs(np.sqrt(cells.cov[0, 0]) - np.sqrt(exact.cov[0, 0])))
    assert errors[1] < 2e-5 and errors[0] / errors[1] > 8.0
    line = step(kl, x.to_quantiles(2000), 0.1).state
    assert_allclose([line.mean()[0], line.values[500]], [exact.mean[0], exact.to_quantiles(2000).values[500]], atol=1e-9)


def test_histogram_flow_across_a_hole() -> None:
    law: Any = mf.Histogram.from_density(lambda x: 1.0 * (np.abs(np.abs(x[..., 0]) - 3.0) < 1.0), LINE)
    for energy in (e.Entropy(), e.PowerEntropy(2) + e.Quadratic()):
        u = law
        for _ in range(5):
            u = step(energy, u, 0.05).state
        assert_allclose(u.masses, u.masses[::-1], atol=1e-12)


def bumps(n: int) -> mf.Histogram:
    pair = (1.5, 1.0, 0.02), (-1.5, 0.5, 0.03)
    return mf.Histogram.from_density(
        lambda x: sum(c * np.exp(-((x[..., 0] - m) ** 2) / s) for m, c, s in pair), mf.Grid([(-4.0, 4.0)], n)
    )


@pytest.mark.parametrize(
    ("energy", "x", "tau", "steps"),
    [
        (e.PowerEntropy(2) + e.Quadratic(), mf.Gaussian(-1.0, 0.3).to_histogram(mf.Grid([(-4.0, 4.0)], 80)), 0.05, 20),
        (e.KL(mf.Gaussian(0.5, 1.5)), mf.Gaussian(-1.0, 0.3).to_histogram(mf.Grid([(-6.0, 7.0)], 60)), 0.4 / 256, 12),
        (e.PowerEntropy(2), bumps(80), 0.05, 3),
        (e.PowerEntropy(2) + WELLS, bumps(60), 0.02, 5),
        (e.Entropy(0.2) + WELLS, bumps(80), 0.05, 2),
    ],
    ids=["porous", "tails", "two bumps", "wells", "hole"],
)
def test_histogram_flows_with_tiny_masses(energy: Any, x: Any, tau: float, steps: int) -> None:
    for _ in range(steps):
        done = step(energy, x, tau)
        assert done.residual <= 2e-8 and objective(energy, x, done.state, tau) <= tau * energy.value(x) + 1e-12
        x = done.state
        assert abs(x.masses.sum() - 1.0) <= 1e-12 and x.masses.min() >= 0.0


# what holds for every solver ---------------------------------------------------------------------------------------------

STATES = {
    "Particles": mf.Particles([[0.0, 1.0], [2.0, -1.0]], [0.3, 0.7]),
    "Quantiles": mf.Quantiles([0.0, 0.0, 1.0]),
    "Gaussian": mf.Gaussian([0.0, 1.0], S0),
    "Histogram": mf.Histogram([0.0, 0.5, 0.5], mf.Grid([(0.0, 1.0)], 3)),
    "Vector": mf.Vector([1.0, 2.0]),
    "Field": mf.Field([1.0, 2.0], mf.Grid([(0.0, 1.0)], 2)),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_no_energy_is_the_identity(state: mf.State) -> None:
    metric = W2 if isinstance(state, mf.Law) else FLAT
    done = step(0.0 * e.Entropy(), state, 0.3, metric)
    assert done.state is state and done.distance == 0.0
    nothing = e.Function(lambda x: 0.0, lambda x: np.zeros(x.coordinates.shape))
    for solver in SOLVERS:
        found = solver(nothing, metric, state, 0.3, TOLERANCE) if not isinstance(state, mf.Histogram) else None
        if found is not None:
            assert_allclose(found.state.coordinates, state.coordinates, atol=1e-15)


def test_histogram_without_energy_stays() -> None:
    x = mf.Histogram.from_density(lambda z: np.exp(-(z[..., 0] ** 2)), mf.Grid([(-2.0, 2.0)], 20))
    nothing = e.Function(lambda x: 0.0, lambda x: np.zeros(x.coordinates.shape))
    assert_allclose(step(nothing, x, 0.3).state.masses, x.masses, atol=1e-9)


CONVEX = {
    "quadratic": (e.Quadratic(0.8), 0.8),
    "quartic": (e.Potential(lambda x: x[:, 0] ** 4 / 4.0, lambda x: x**3), 0.0),
    "entropy": (e.Entropy(), 0.0),
    "kl": (e.KL(mf.Gaussian(0.0, 0.5)), 2.0),
    "porous": (e.PowerEntropy(2.0), 0.0),
    "attraction": (MODULUS, 0.0),
    "energy distance": (e.EnergyDistance(mf.Quantiles([0.0, 1.0])), 0.0),
}


@pytest.mark.parametrize(("energy", "convexity"), CONVEX.values(), ids=CONVEX.keys())
@given(x=quantiles(st.integers(3, 8)).filter(lambda x: np.diff(x.values).min() > 0.0), tau=st.floats(0.01, 2.0))
def test_t1_one_step_inequalities(energy: Any, convexity: float, x: mf.Quantiles, tau: float) -> None:
    done = step(energy, x, tau)
    before, after, d = energy.value(x), energy.value(done.state), done.distance
    size = 1e-9 * (1.0 + abs(before) + abs(after) + d**2 / tau)
    assert after + (1.0 / tau + convexity / 2.0) * d**2 <= before + size
    assert d / tau <= W2.slope(x, energy.gradient(x)) / (1.0 + convexity * tau) + size


@given(gaussians(), st.floats(0.01, 2.0))
def test_t1_gaussian(x: mf.Gaussian, tau: float) -> None:
    kl = e.KL(mf.Gaussian([1.0, 0.0], np.linalg.inv(A)))
    rate = float(np.linalg.eigvalsh(A)[0])
    done = step(kl, x, tau)
    before, after = kl.value(x), kl.value(done.state)
    assert after + (1.0 / tau + rate / 2.0) * done.distance**2 <= before * (1.0 + 1e-10) + 1e-12
    assert after <= before / (1.0 + rate * tau) ** 2 * (1.0 + 1e-10) + 1e-12
    assert_allclose(done.distance / tau, W2.slope(done.state, kl.gradient(done.state)), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    ("energy", "x"),
    [
        (e.Entropy(), normal(30)),
        (e.PowerEntropy(2.0), mf.Quantiles(np.zeros(30))),
        (WELLS + MODULUS, normal(30)),
        (e.Entropy() + WELLS, mf.Gaussian(0.0, 1.0)),
        (e.Entropy(), mf.Gaussian(0.0, 1.0).to_histogram(LINE)),
        (e.PowerEntropy(2.0), mf.Gaussian(0.0, 1.0).to_histogram(LINE)),
        (e.Interaction(lambda z: np.sum(z**2, axis=-1) ** 2), mf.Particles([[0.0, 1.0], [2.0, -1.0]])),
    ],
)
def test_a_step_that_did_not_converge_is_not_returned(energy: Any, x: mf.State) -> None:
    with pytest.raises(mf.ConvergenceError, match="did not reach its tolerance") as caught:
        solve_proximal(energy, W2, x, 0.3, Tolerance(max_iterations=1))
    assert caught.value.residual > caught.value.tolerance > 0.0


def test_concave_energies_are_refused_where_no_minimiser_exists() -> None:
    for x in (mf.Gaussian([0.0, 1.0], S0), mf.Particles([[0.0, 1.0]]), mf.Quantiles([0.0, 1.0])):
        with pytest.raises(ValueError, match="tau must be below 1"):
            step(e.Quadratic(-1.0), x, 1.0)
    with pytest.raises(ValueError, match="tau must be below 1"):
        step(e.Entropy() + e.Quadratic(-1.0), mf.Quantiles([0.0, 1.0]), 1.5)


def test_errors_of_callbacks_reach_the_user() -> None:
    broken = e.Potential(lambda x: x[:, 0], lambda x: np.full(x.shape, np.nan))
    pair = e.Interaction(lambda z: z[..., 0] ** 2, lambda z: z[..., 0])
    grid_law = mf.Histogram(np.ones(4) / 4.0, mf.Grid([(0.0, 1.0)], 4))
    wrong = e.Potential(lambda x: np.full(len(x), np.nan))
    for energy, x in ((broken, normal(5)), (e.Entropy() + broken, normal(5)), (pair, normal(5)), (wrong, grid_law)):
        with pytest.raises(mf.CallbackError):
            step(energy, x, 0.1)


# kernels -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9, 100])
def test_chain_kernel_solves_stiff_systems(n: int) -> None:
    rng = np.random.default_rng(n)
    ground, spring, load = rng.random(n) + 0.1, 10.0 ** rng.uniform(-3, 6, n - 1), rng.normal(size=n)
    matrix, out = np.diag(ground), np.empty(n)
    for k, c in enumerate(spring):
        matrix[k : k + 2, k : k + 2] += c * np.array([[1.0, -1.0], [-1.0, 1.0]])
    solve_chain(ground, spring, load, out)
    assert_allclose(out, np.linalg.solve(matrix, load), rtol=1e-7)
    assert_allclose(ground @ out, load.sum(), rtol=1e-12)  # springs hold no load


@pytest.mark.parametrize("holes", [False, True])
def test_cells_kernels_give_cost_gradient_and_hessian(holes: bool) -> None:
    rng = np.random.default_rng(3)
    n, h = 20, 0.15
    edges, base, p = h * np.arange(n + 1), rng.random(n), rng.random(n) + 0.1
    base[4:7] = base[15] = 0.0 if holes else 0.3
    base, p = base / base.sum(), p / p.sum()

    def moments(q: np.ndarray) -> np.ndarray:
        out, ends = np.empty((7, n)), [np.concatenate([[0.0], np.cumsum(m)]) for m in (q, base)]
        transport_moments(q, ends[0], edges, base, ends[1], 0, n, out)
        return out

    def slope(m: np.ndarray) -> np.ndarray:
        return -h * (m[2, :-1] + m[1, 1:])

    grid, at = mf.Grid([(0.0, n * h)], n), moments(p)
    assert_allclose(np.sqrt(at[0].sum()), W2.distance(mf.Histogram(p, grid), mf.Histogram(base, grid)), rtol=1e-12)
    change = rng.normal(size=n - 1) * 1e-6
    shift = np.diff(change, prepend=0.0, append=0.0)
    ahead, behind = moments(p + shift), moments(p - shift)
    assert_allclose(0.25 * (ahead[0] - behind[0]).sum(), slope(at) @ change, rtol=1e-6)
    solved = np.empty(n - 1)
    solve_cells(np.vstack([h * at[3:6], h * h * at[6:]]), np.zeros(n), 0.5 * (slope(ahead) - slope(behind)), solved)
    assert_allclose(solved, change, rtol=1e-4, atol=1e-10)
