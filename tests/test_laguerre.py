"""Exact minimizing movements of histograms on grids by Newton's method on Laguerre cells."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import problems
from measureflow.kernels.cell_push import line_hulls
from measureflow.proximal import Step, Tolerance, solve_proximal
from measureflow.proximal.dual_transport import on_grid
from measureflow.proximal.grid_conjugates import cell_energy
from measureflow.proximal.laguerre import Laguerre
from measureflow.proximal.laguerre_newton import maximise
from measureflow.proximal.laguerre_system import Curvature
from measureflow.proximal.stages import Stage

e = mf.energies
W2 = mf.Wasserstein()
WELL = e.Quadratic()


def step(energy: Any, x: mf.Histogram, tau: float) -> Step:
    return solve_proximal(energy, W2, x, tau, Tolerance())


def disk(n: int) -> mf.Histogram:
    """A law with a sharp edge and empty cells around it."""
    return mf.Histogram.from_density(lambda z: 1.0 * (np.sum(z**2, -1) < 0.1), mf.Grid([(-1.0, 1.0)] * 2, (n, n)))


def bump(n: int, s: float, centre: float = 0.0, half: float = 1.0) -> mf.Histogram:
    """A Gaussian on a square."""
    grid = mf.Grid([(-half, half)] * 2, (n, n))
    return mf.Histogram.from_density(lambda z: np.exp(-0.5 * np.sum((z - [centre, 0.0]) ** 2, -1) / s**2), grid)


def dual_of(energy: Any, x: mf.Histogram, tau: float) -> Laguerre:
    local = cell_energy(energy, x, tau)
    assert local is not None
    return Laguerre(local, x)


def value(dual: Laguerre, psi: np.ndarray) -> float:
    cells = dual.at(psi)
    assert cells is not None
    held = np.where(dual.held, cells.psi, 0.0)
    return float(-np.sum(dual.masses * held) - dual.local.volume * np.sum(dual.local.conjugate(cells.density)))


@pytest.mark.parametrize("energy", [e.Entropy(), e.PowerEntropy(2.0) + WELL, e.Entropy(0.3) + e.PowerEntropy(0.7)])
def test_laguerre_masses_are_the_derivative_and_newton_steps_take_the_excess(energy: Any) -> None:
    x = mf.Histogram(np.random.default_rng(0).dirichlet(np.ones(60)).reshape(10, 6), mf.Grid([(0.0, 1.0)] * 2, (10, 6)))
    dual, rng = dual_of(energy, x, 0.05), np.random.default_rng(1)
    psi, v = 3e-3 * rng.normal(size=(2, *dual.shape))
    cells = dual.at(psi)
    assert cells is not None
    slope = (value(dual, psi + 1e-6 * v) - value(dual, psi - 1e-6 * v)) / 2e-6
    assert_allclose(np.sum((cells.pushed - dual.masses) * v), slope, rtol=1e-6)
    assert_allclose(cells.pushed.sum(), 1.0, rtol=1e-12)


def test_the_gap_bounds_how_much_the_dual_can_still_rise() -> None:
    dual = dual_of(e.Entropy() + WELL, bump(24, 0.3), 0.02)
    best, residual, _, done = maximise(dual, dual.rest(), 1e-9, 0.0, 60)
    assert done
    assert residual <= 1e-9
    top = value(dual, best.psi)
    rng = np.random.default_rng(2)
    for size in (1e-6, 1e-5, 1e-4):
        near = dual.at(best.psi + size * rng.normal(size=dual.shape))
        assert near is not None
        assert 0.0 <= top - value(dual, near.psi) <= 0.5 * dual.residual(near) ** 2 * (1.0 + 1e-6) + 1e-14


@pytest.mark.parametrize("wrap", [0, 5])
def test_line_hulls_are_the_largest_convex_functions_below(wrap: int) -> None:
    stage = Stage(0, (9, 1, 1), 1.0, bool(wrap))
    phi = np.random.default_rng(3).normal(size=(9, 1, 1)) * 4.0
    low = stage.transform(phi, line_hulls)
    assert np.all(low <= phi + 1e-12)
    assert_allclose(stage.transform(low), stage.transform(phi), atol=1e-12)  # the same least costs
    assert_allclose(stage.transform(low, line_hulls), low, atol=1e-12)


@pytest.mark.parametrize("tau", [3e-2, 1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("law", [disk(32), bump(32, 0.1), bump(32, 0.03)], ids=["disk", "bump", "narrow"])
def test_entropy_from_laws_with_empty_cells_and_thin_tails(law: mf.Histogram, tau: float) -> None:
    f = e.Entropy() + WELL
    done = step(f, law, tau)
    assert done.method == "Laguerre cells"
    assert done.residual <= 0.03 * done.distance  # thin tails may leave three times the goal
    masses = done.state.coordinates
    assert masses.min() >= 0.0
    assert abs(masses.sum() - 1.0) <= 1e-12
    assert f.value(done.state) + done.distance**2 / (2.0 * tau) < f.value(law)


def test_drift_diffusion_of_a_gaussian_is_of_second_order_and_not_spread_by_the_cells() -> None:
    m, s, steps, tau = 1.0, 0.6, 8, 0.02
    errors, forward = [], []
    for _ in range(steps):
        m, s = m / (1.0 + tau), (s + np.sqrt(s * s + 4.0 * tau * (1.0 + tau))) / (2.0 * (1.0 + tau))
    for n in (24, 48):
        x = y = bump(n, 0.6, 1.0, 5.0)
        for _ in range(steps):
            x = step(e.Entropy() + WELL, x, tau).state
            other = on_grid(e.Entropy() + WELL, W2, y, tau, Tolerance())
            assert other is not None
            y = other.state
        exact = bump(n, float(s), m, 5.0).masses
        errors.append(float(np.abs(x.coordinates - exact).sum()))
        forward.append(float(np.abs(y.coordinates - exact).sum()))
    assert errors[1] < 0.35 * errors[0]
    assert errors[1] < 0.2 * forward[1]


@pytest.mark.parametrize(("m", "dim", "sizes"), [(2.0, 2, (24, 48)), (3.0, 2, (24, 48)), (2.0, 3, (12, 24))])
def test_barenblatt_iterates_to_second_order_in_the_cell(m: float, dim: int, sizes: tuple[int, ...]) -> None:
    errors = []
    for n in sizes:
        p = problems.get("PME-B", n=n, dim=dim, m=m)
        tau = (p.t_span[1] - p.t_span[0]) / 4.0
        x = exact = p.initial
        for _ in range(2):
            x, exact = step(p.problem, x, tau).state, p.exact_step["jko"](exact, tau)
        errors.append(np.abs(x.masses - exact.masses).sum())
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize(("m", "size", "most", "error"), [(2.0, 128, 4, 4e-3), (4.0, 64, 12, 2.5e-2)])
def test_free_boundaries_take_few_newton_steps(m: float, size: int, most: int, error: float) -> None:
    p = problems.get("PME-B", n=size, m=m)
    tau = (p.t_span[1] - p.t_span[0]) / 20.0
    x = exact = p.initial
    for _ in range(4):
        done = step(p.problem, x, tau)
        assert done.method == "Laguerre cells"
        assert done.iterations <= most
        x, exact = done.state, p.exact_step["jko"](exact, tau)
    assert np.abs(x.coordinates - exact.masses).sum() <= error
    assert np.all(x.coordinates[:8] == 0.0)  # nothing is sent to the walls


def test_steps_at_free_boundaries_hold_at_most_twenty_arrays() -> None:
    p = problems.get("PME-B", n=128)
    tau = (p.t_span[1] - p.t_span[0]) / 20.0
    x = step(p.problem, p.initial, tau).state
    tracemalloc.start()
    try:
        done = step(p.problem, x, tau)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert done.method == "Laguerre cells"
    assert peak <= 20 * x.coordinates.nbytes


@pytest.mark.parametrize("shape", [(12,), (9, 6), (6, 1, 7), (5, 4, 6)])
@pytest.mark.parametrize("periodic", [False, True])
def test_the_curvature_is_the_second_derivative(shape: tuple[int, ...], periodic: bool) -> None:
    grid, rng = mf.Grid([(0.0, 1.0)] * len(shape), shape, periodic), np.random.default_rng(0)
    dual = dual_of(e.Entropy(), mf.Histogram(rng.dirichlet(np.ones(int(np.prod(shape)))).reshape(shape), grid), 0.05)
    psi, v = 1e-3 * rng.normal(size=(2, *dual.shape))
    cells, ahead, behind = dual.at(psi), dual.at(psi + 1e-6 * v), dual.at(psi - 1e-6 * v)
    assert cells is not None and ahead is not None and behind is not None
    system = Curvature(cells.stages, dual.local.volume * cells.density, dual.held, 0.0)
    system.stiffen(dual.local.volume * dual.local.stiffness(cells.density))
    found = system.apply(v, np.empty(dual.shape))
    shift = (np.mean(ahead.psi - psi) - np.mean(behind.psi - psi)) / 2e-6  # psi comes back shifted to mass 1
    found += system.apply(np.full(dual.shape, shift - np.mean(v)), np.empty(dual.shape))
    assert_allclose((behind.pushed - ahead.pushed) / 2e-6, found, rtol=2e-5, atol=1e-6 * np.abs(found).max())


def test_steady_states_stay() -> None:
    x = bump(32, 1.0, 0.0, 5.0)
    done = step(e.Entropy() + WELL, x, 0.5)
    assert_allclose(done.state.coordinates, x.masses, atol=1e-9)


def test_steps_commute_with_shifts_and_flips() -> None:
    grid = mf.Grid([(0.0, 1.0)] * 2, (16, 24), True)
    x = mf.Histogram.from_density(lambda z: 1.2 + np.sin(2.0 * np.pi * (z[..., 0] + 2.0 * z[..., 1])), grid)
    found = step(e.Entropy(), x, 5e-3).state.coordinates
    shifted = step(e.Entropy(), x.replace(np.roll(x.masses, (4, 8), (0, 1))), 5e-3).state.coordinates
    assert np.abs(np.roll(found, (4, 8), (0, 1)) - shifted).sum() < 1e-3
    flipped = step(e.Entropy(), x.replace(x.masses[::-1, ::-1].copy()), 5e-3).state.coordinates
    assert np.abs(flipped[::-1, ::-1] - found).sum() < 1e-3


def test_drift_that_outruns_the_diffusion_takes_the_other_dual() -> None:
    x = bump(32, 0.15, 0.5)
    assert step(e.Entropy(1e-3) + WELL, x, 0.1).method == "dual Newton"
    assert step(e.Entropy(0.1) + WELL, x, 0.1).method == "Laguerre cells"


def test_solve_repeats_its_bits() -> None:
    first, second = (mf.solve(e.Entropy() + WELL, disk(24), 0.05, 0.01).states[-1].masses for _ in range(2))
    assert np.array_equal(first, second)
