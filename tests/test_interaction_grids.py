"""Interactions of histograms on grids: fast sums over pairs, nonlocal terms in steps, problems with exact solutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import problems
from measureflow.energies import interaction
from measureflow.energies.convolution import Convolution
from measureflow.problems import aggregation
from measureflow.proximal import Step, Tolerance, frozen, solve_proximal
from measureflow.proximal.frozen import nonlocal_step, require_descent
from measureflow.proximal.linearised import linearised

e = mf.energies
W2 = mf.Wasserstein()
LINEARISED = Tolerance(inner="linearised")


def square(z: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * np.sum(z**2, axis=-1))


def well(z: np.ndarray) -> np.ndarray:
    """A kernel that attracts, concave in the law."""
    return np.asarray(-np.exp(-2.0 * np.sum(z**2, axis=-1)))


def minus_log(z: np.ndarray) -> np.ndarray:
    return np.asarray(-0.5 * np.log(np.sum(z**2, axis=-1)))


def newton(z: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / np.sqrt(np.sum(z**2, axis=-1)))


def blob(shape: tuple[int, ...], periodic: Any = False, width: float = 0.6) -> mf.Histogram:
    """A positive law on a box of side 6."""
    grid = mf.Grid([(-3.0, 3.0)] * len(shape), shape, periodic)
    centre = 0.2 * np.arange(1, len(shape) + 1)
    return mf.Histogram.from_density(lambda x: np.exp(-0.5 * np.sum(((x - centre) / width) ** 2, -1)) + 1e-3, grid)


def island(shape: tuple[int, ...]) -> mf.Histogram:
    grid = mf.Grid([(-3.0, 3.0)] * len(shape), shape)
    return mf.Histogram.from_density(lambda x: np.maximum(1.0 - np.sum((x - 0.3) ** 2, -1), 0.0), grid)


def l1(a: Any, b: Any) -> float:
    return float(np.sum(np.abs(np.asarray(a) - np.asarray(b))))


# sums over pairs --------------------------------------------------------------------------------------------------


@st.composite
def grids(draw: st.DrawFn) -> mf.Grid:
    dim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, {1: 40, 2: 9, 3: 5}[dim])) for _ in range(dim))
    low = [draw(st.floats(-2.0, 1.0)) for _ in range(dim)]
    bounds = [(lo, lo + draw(st.floats(0.5, 3.0))) for lo in low]
    return mf.Grid(bounds, shape, tuple(draw(st.booleans()) for _ in range(dim)))


def pairs(kernel: Any, grid: mf.Grid) -> np.ndarray:
    """The kernel at all differences of cells, the nearest image along glued axes: (n, n)."""
    z = grid.points[:, None] - grid.points[None]
    for k, ((lo, hi), glued) in enumerate(zip(grid.bounds, grid.periodic, strict=True)):
        if glued:
            z[..., k] -= (hi - lo) * np.rint(z[..., k] / (hi - lo))
    return np.asarray(kernel(z))


@given(grids(), st.integers(0, 2**31))
def test_sums_are_those_over_pairs(grid: mf.Grid, seed: int) -> None:
    rng = np.random.default_rng(seed)
    law = mf.Histogram(rng.dirichlet(np.ones(len(grid.points))).reshape(grid.shape), grid)
    scale = rng.normal(size=grid.dim)
    matrix = pairs(lambda z: np.cos(z**2 @ scale) + np.sum(np.abs(z), -1), grid)
    energy = e.Interaction(lambda z: np.cos(z**2 @ scale) + np.sum(np.abs(z), -1))
    value, variation = energy.value_and_gradient(law)
    masses, size = law.masses.ravel(), float(np.abs(matrix).max())
    assert_allclose(variation.ravel(), matrix @ masses, rtol=1e-12, atol=1e-14 * size)
    assert_allclose(value, 0.5 * masses @ matrix @ masses, rtol=1e-12, atol=1e-14 * size)


def test_walls_take_kernels_that_mix_the_axes() -> None:
    law = blob((7, 9))
    matrix = pairs(lambda z: np.exp(z[..., 0] * z[..., 1]), law.grid)
    energy = e.Interaction(lambda z: np.exp(z[..., 0] * z[..., 1]))
    assert_allclose(energy.gradient(law).ravel(), matrix @ law.masses.ravel(), rtol=1e-12, atol=1e-13 * matrix.max())


@pytest.mark.parametrize("shape", [(6, 4), (5, 7)])
def test_halfway_around_a_torus_the_images_are_averaged(shape: tuple[int, ...]) -> None:
    """So that the first variation is the derivative of the value, whatever the parity of the cells."""
    law = blob(shape, True)
    energy = e.Interaction(lambda z: np.sin(z[..., 0]) * np.sin(z[..., 1]) + square(z))
    v = np.random.default_rng(5).normal(size=shape)
    v = 1e-3 * law.masses * (v - np.sum(v * law.masses))
    slope = energy.value(law.replace(law.masses + v)) - energy.value(law.replace(law.masses - v))
    assert_allclose(slope, 2.0 * np.sum(energy.gradient(law) * v), rtol=1e-9)


def test_a_torus_has_no_seam() -> None:
    law = blob((12, 10), True)
    energy = e.Interaction(well)
    moved = law.replace(np.roll(law.masses, (7, 3), (0, 1)))
    assert_allclose(energy.gradient(moved), np.roll(energy.gradient(law), (7, 3), (0, 1)), atol=1e-14)
    assert_allclose(energy.value(moved), energy.value(law), rtol=1e-13)


def test_the_transformed_kernel_is_kept_for_a_few_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def count(*arguments: Any) -> Convolution:
        made.append(arguments[1])
        return Convolution(*arguments)

    monkeypatch.setattr(interaction, "Convolution", count)
    energy, laws = e.Interaction(square), [blob((n,)) for n in range(4, 4 + interaction.GRIDS)]
    first = [energy.value(law) for law in laws]
    assert first == [energy.value(law.replace(law.masses.copy())) for law in laws]
    assert len(made) == len(laws)
    energy.value(blob((30,)))
    energy.value(laws[0].replace(laws[0].masses.copy()))
    assert len(made) == len(laws) + 2


# kernels that are infinite at 0 -----------------------------------------------------------------------------------


def test_the_average_over_the_cell_of_the_singularity() -> None:
    """Over [-h/2, h/2] log|x| has the mean log(h/2) - 1, over the unit cube 1/|x| has 2.38007736...; |x| the mean h/4."""
    one = mf.Histogram([1.0], mf.Grid([(0.0, 0.3)], (1,)))
    assert_allclose(e.Interaction(minus_log, singular=True).gradient(one), 1.0 - np.log(0.15), rtol=1e-11)
    assert_allclose(e.Interaction(lambda z: np.abs(z[..., 0]), singular=True).gradient(one), 0.075, rtol=1e-13)
    cube = mf.Histogram([[[1.0]]], mf.Grid([(0.0, 1.0)] * 3, (1, 1, 1)))
    exact = 3.0 * np.log((1.0 + np.sqrt(3.0)) / (np.sqrt(3.0) - 1.0)) - np.pi / 2.0
    assert_allclose(e.Interaction(newton, singular=True).gradient(cube).item(), exact, rtol=1e-9)


def test_the_logarithm_on_the_line() -> None:
    grid = mf.Grid([(-1.0, 1.0)], (50,))
    law = mf.Histogram(np.full(50, 0.02), grid)
    x = grid.axes[0]
    exact = 1.0 - 0.5 * ((1.0 - x) * np.log(1.0 - x) + (1.0 + x) * np.log(1.0 + x))
    assert_allclose(e.Interaction(minus_log, singular=True).gradient(law), exact, atol=1e-6)


def radial(r: np.ndarray, dim: int) -> np.ndarray:
    """The Newtonian potential of the density proportional to (1 - r^2)_+^2, of mass 1, with W = -log|z| or 1/|z|."""
    inside = np.minimum(r, 1.0)
    c = [1.0 / dim, -2.0 / (dim + 2), 1.0 / (dim + 4)]  # enclosed mass r^d sum c_k r^2k, times a constant
    total = sum(c)
    slopes = sum(a * (1.0 - inside ** (2 * k + 2)) / (2 * k + 2) for k, a in enumerate(c)) / total
    rim = -np.log(np.maximum(r, 1.0)) if dim == 2 else 1.0 / np.maximum(r, 1.0)
    return np.asarray(slopes + rim)


@pytest.mark.parametrize(("dim", "sizes", "bound"), [(2, (32, 64, 128), 2e-4), (3, (8, 16, 32), 1e-2)])
def test_newtonian_potentials_to_second_order_in_the_cell(dim: int, sizes: tuple[int, ...], bound: float) -> None:
    errors = []
    for n in sizes:
        grid = mf.Grid([(-1.5, 1.5)] * dim, (n,) * dim)
        law = mf.Histogram.from_density(lambda x: np.maximum(1.0 - np.sum(x**2, -1), 0.0) ** 2, grid)
        found = aggregation.newtonian(dim).gradient(law)
        errors.append(np.abs(found - radial(np.sqrt(np.sum(grid.centres**2, -1)), dim)).max())
    assert np.all(np.array(errors[1:]) < 0.4 * np.array(errors[:-1]))
    assert errors[-1] < bound


@pytest.mark.parametrize("shape", [(16,), (8, 6), (4, 5, 3)])
def test_kernels_that_grow_too_fast_are_refused(shape: tuple[int, ...]) -> None:
    steep = e.Interaction(lambda z: np.sum(z**2, axis=-1) ** (-0.5 * len(shape) - 0.2), singular=True)
    with pytest.raises(mf.CallbackError, match="W must be integrable at 0"):
        steep.value(blob(shape))


def test_kernels_are_checked_on_grids() -> None:
    with pytest.raises(mf.CallbackError, match="W must be even"):
        e.Interaction(lambda z: z[..., 0]).value(blob((6, 4)))
    with pytest.raises(mf.CallbackError, match="W must be even"):
        e.Interaction(lambda z: np.sin(z[..., 0])).value(blob((6, 4), True))
    with np.errstate(divide="ignore"), pytest.raises(mf.CallbackError, match="singular=True"):
        e.Interaction(minus_log).value(blob((6, 4)))
    with pytest.raises(mf.CallbackError, match="shape"):
        e.Interaction(lambda z: z).value(blob((6, 4)))


# steps ------------------------------------------------------------------------------------------------------------

ENERGIES = {
    "attraction": e.Entropy(0.1) + 3.0 * e.Interaction(well),
    "porous": e.PowerEntropy(2.0) + e.Interaction(square) + e.Quadratic(0.5),
    "logarithm": e.PowerEntropy(2.0) + e.Interaction(minus_log, singular=True) + e.Quadratic(),
    "collapse": e.PowerEntropy(3.0) - 0.5 * e.Interaction(minus_log, singular=True),
    "alone": e.Interaction(lambda z: -np.sqrt(1.0 + np.sum(z**2, -1))),
    "kernel": 0.1 * e.Entropy() + 2.0 * e.MMD(mf.Particles([[0.5] * 2, [-1.0] * 2]), "gaussian"),
}
LAWS = {"positive": blob((16, 14)), "glued": blob((16, 14), (True, False)), "island": island((16, 16))}


@pytest.mark.parametrize("inner", ["exact", "linearised"])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", ENERGIES)
def test_steps_lower_the_energy_and_keep_mass_and_sign(name: str, law: str, inner: str) -> None:
    x, energy, tau = LAWS[law], ENERGIES[name], 0.1
    step = solve_proximal(energy, W2, x, tau, Tolerance(inner=inner))
    masses = step.state.coordinates
    assert masses.min() >= 0.0 and abs(masses.sum() - 1.0) <= 1e-12
    assert energy.value(step.state) + step.distance**2 / (2.0 * tau) < energy.value(x)
    assert step.residual <= (1.5e-2 * step.distance if inner == "exact" else 2e-9)
    assert step.method.endswith("frozen")


@pytest.mark.parametrize("inner", ["exact", "linearised"])
def test_the_potential_of_a_step_is_that_of_its_own_law(inner: str) -> None:
    """The Euler-Lagrange equation of the whole energy: the step under the frozen potential of its own law is itself."""
    tau, x, energy = 0.1, blob((16, 16)), ENERGIES["logarithm"]
    tight = Tolerance(1e-13 if inner == "exact" else 1e-11, inner=inner)
    step = solve_proximal(energy, W2, x, tau, tight)
    parts = frozen.separate(energy)
    assert parts is not None
    own = parts.frozen(parts.nonlocal_.gradient(step.state))
    if inner == "exact":
        again = solve_proximal(own, W2, x, tau, tight)
    else:  # from the step itself, as its mobilities depend on where the search starts
        again = linearised(own, W2, x, tau, tight, near=step.state.coordinates)
    assert l1(again.state, step.state) < (1e-4 if inner == "exact" else 1e-9)
    assert l1(step.state, x) > 1e-2


@pytest.mark.parametrize("law", [blob((60,)), island((60,))], ids=["positive", "island"])
@pytest.mark.parametrize("name", ["attraction", "porous", "logarithm"])
def test_on_the_line_both_ways_to_solve_agree(name: str, law: mf.Histogram) -> None:
    known = solve_proximal(ENERGIES[name], W2, law, 0.1, Tolerance())
    split = nonlocal_step(ENERGIES[name], W2, law, 0.1, Tolerance(), solve_proximal, again=True)
    assert split is not None and "frozen" in split.method
    assert l1(known.state, split.state) < 1e-6
    assert nonlocal_step(ENERGIES[name], W2, law, 0.1, Tolerance(), solve_proximal) is None


def test_where_newton_fails_on_the_line_pairs_are_split_off() -> None:
    energy = e.Entropy(0.1) + 3.0 * e.Interaction(well)
    step = solve_proximal(energy, W2, blob((120,), width=0.5), 0.01, Tolerance(max_iterations=60))
    assert step.residual <= 1e-7
    with pytest.raises(mf.ConvergenceError):
        solve_proximal(energy, W2, blob((120,), width=0.5), 0.01, Tolerance(max_iterations=1))


@pytest.mark.parametrize("inner", ["exact", "linearised"])
def test_the_same_energy_in_other_words(inner: str) -> None:
    x, tau = blob((16, 16)), 0.1
    kernel = e.GaussianKernel(0.8)
    points = np.array([[0.5, 0.5], [-1.0, 0.0]])
    mmd = e.PowerEntropy(2.0) + e.MMD(mf.Particles(points), kernel)
    cross = e.Potential(lambda y: -np.mean(np.exp(-np.sum((y[:, None] - points) ** 2, -1) / (2.0 * 0.64)), axis=1))
    parts = e.PowerEntropy(2.0) + e.Interaction(lambda z: np.exp(-np.sum(z**2, -1) / (2.0 * 0.64))) + cross
    springs = e.PowerEntropy(2.0) + e.Interaction(square), e.PowerEntropy(2.0) + e.QuadraticInteraction()
    for one, other in ((mmd, parts), springs):
        a, b = (solve_proximal(energy, W2, x, tau, Tolerance(inner=inner)) for energy in (one, other))
        assert l1(a.state, b.state) < 1e-9


@pytest.mark.parametrize("inner", ["exact", "linearised"])
def test_steps_commute_with_shifts_of_a_torus(inner: str) -> None:
    x, energy = blob((16, 12), True), ENERGIES["attraction"]
    tolerance = Tolerance(1e-12 if inner == "exact" else 1e-10, inner=inner)
    found = solve_proximal(energy, W2, x, 0.1, tolerance).state.coordinates
    moved = solve_proximal(energy, W2, x.replace(np.roll(x.masses, (5, 3), (0, 1))), 0.1, tolerance).state.coordinates
    assert l1(np.roll(found, (5, 3), (0, 1)), moved) < (1e-3 if inner == "exact" else 1e-8)


def test_three_dimensions_glued_and_not() -> None:
    energy = e.Entropy(0.2) + e.Interaction(newton, singular=True) + e.Quadratic()
    for periodic in (False, (True, False, True)):
        x = blob((8, 7, 6), periodic)
        for tolerance in (Tolerance(), LINEARISED):
            step = solve_proximal(energy, W2, x, 0.1, tolerance)
            assert energy.value(step.state) + step.distance**2 / 0.2 < energy.value(x)


@pytest.mark.parametrize("inner", ["exact", "linearised"])
@pytest.mark.parametrize("shape", [(48,), (20, 20)])
def test_a_cap_and_pairs_go_together(shape: tuple[int, ...], inner: str) -> None:
    x = blob(shape, width=0.8)
    cap = 1.1 * float(x.density.max())
    energy = e.Congestion(cap) + e.Entropy(0.05) + 2.0 * e.Interaction(square)
    sol = mf.solve(energy, x, 0.2, 0.1, scheme=mf.JKO(inner=inner))
    assert max(float(law.density.max()) for law in sol.states) <= cap * (1.0 + 1e-9)
    assert np.all(np.diff(sol.energies) < 0.0)


def test_steps_repeat_their_bits() -> None:
    for tolerance in (Tolerance(), LINEARISED):
        first, second = (solve_proximal(ENERGIES["collapse"], W2, blob((16, 16)), 0.1, tolerance).state for _ in range(2))
        assert np.array_equal(first.coordinates, second.coordinates)


def test_a_step_that_does_not_settle_or_descend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, energy = blob((12, 12)), ENERGIES["attraction"]
    with pytest.raises(mf.ConvergenceError, match="does not lower the energy"):
        require_descent(energy, x, 0.1, Step(x, 1.0))
    require_descent(energy, x, 0.1, Step(x, 0.0))
    monkeypatch.setattr(frozen, "ROUNDS", 1)
    for tolerance in (Tolerance(), LINEARISED):
        with pytest.raises(mf.ConvergenceError, match="pairs of cells pull or push too much"):
            solve_proximal(energy, W2, x, 0.5, tolerance)
    with pytest.raises(TypeError, match="sums of Entropy, KL"):
        solve_proximal(e.Interaction(square) - e.Entropy(), W2, x, 0.1, Tolerance())


def test_anderson_restarts_where_it_goes_astray() -> None:
    grid = blob((8, 8)).grid
    mixing, masses = frozen.Mixing(grid), np.full(grid.shape, 1.0 / 64.0)
    wave = np.cos(grid.centres[..., 0])
    mixing.advance(0.0 * wave, wave, masses)
    back = mixing.advance(wave, 10.0 * wave, masses)
    assert_allclose(back, 0.5 * wave)
    solved = mixing.advance(back, 0.5 * wave, masses)
    assert np.all(np.isfinite(solved))


# exact solutions --------------------------------------------------------------------------------------------------


def test_potentials_alone_are_push_forwards() -> None:
    """A uniform disk under its own potential stays uniform, on many cells too."""
    p = problems.get("AGG-N", n=64)
    radius = aggregation.minimizing_radius(0.4, 0.05, 0.5, 1.0, 2.0)

    def potential(x: np.ndarray) -> np.ndarray:
        r2 = np.sum(x**2, axis=-1)
        own = np.where(r2 < radius**2, 0.5 - 0.5 * r2 / radius**2 - np.log(radius), -0.5 * np.log(np.maximum(r2, 1e-9)))
        return np.asarray(0.5 * own + 0.5 * r2)

    step = solve_proximal(e.Potential(potential), W2, p.initial, 0.05, Tolerance())
    middle = step.state.density[27:37, 27:37]
    assert_allclose(middle, middle.mean(), rtol=5e-3)
    assert l1(step.state, p.exact_step["jko"](p.initial, 0.05)) < 0.03
    assert step.residual == 0.0


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("inner", ["exact", "linearised"])
def test_quadratic_attraction_alone_contracts(inner: str, periodic: bool) -> None:
    """S6: offsets from the mean shrink by 1 + tau, up to the numerical spreading, at most h^2/4 (h d for upwinding)."""
    grid = mf.Grid([(-3.0, 3.0)] * 2, (48, 48), periodic)
    x = mf.Histogram.from_density(lambda z: np.maximum(1.0 - np.sum((z - 0.3) ** 2, -1), 0.0), grid)
    step = solve_proximal(e.Interaction(square), W2, x, 0.5, Tolerance(inner=inner))
    h = 0.125
    assert_allclose(step.state.mean(), x.mean(), atol=1e-3)
    before, after = (np.diag(law.covariance()) + h**2 / 12.0 for law in (x, step.state))
    spread = after - before / 1.5**2
    assert np.all(spread > -1e-3)
    assert np.all(spread < (h**2 / 4.0 if inner == "exact" else h * step.distance + 0.05))


@pytest.mark.parametrize(
    ("label", "parameters"), [("AGG-G", {}), ("AGG-B", {}), ("AGG-N", {}), ("AGG-N", {"push": -0.05, "t": 0.2})]
)
def test_exact_steps_by_grid_to_the_order_of_the_profile(label: str, parameters: dict[str, Any]) -> None:
    """Smooth laws and profiles of Barenblatt: second order in the cell; uniform disks, which jump: first order."""
    errors, sizes = [], (16, 32, 64)
    for n in sizes:
        p = problems.get(label, n=n, **parameters)
        step = solve_proximal(p.problem, W2, p.initial, 0.05, Tolerance())
        errors.append(l1(step.state, p.exact_step["jko"](p.initial, 0.05)))
    assert errors[-1] < (0.5 if label == "AGG-N" else 0.14) * errors[0]
    assert errors[-1] < 0.04


def test_ball_in_space() -> None:
    p = problems.get("AGG-N", n=16, dim=3, push=-0.02, start=0.7, t=0.2)
    step = solve_proximal(p.problem, W2, p.initial, 0.1, Tolerance())
    expected = aggregation.minimizing_radius(aggregation.radius_of(p.initial), 0.1, -0.02, 1.0, 3.0)
    assert abs(aggregation.radius_of(step.state) - expected) < 0.02


@pytest.mark.parametrize("inner", ["exact", "linearised"])
def test_steady_profiles_stay(inner: str) -> None:
    p = problems.get("AGG-B", n=32, start=1.2)
    sol = p.solve(0.1, mf.JKO(inner=inner), t=0.3)
    assert l1(sol.states[-1], p.initial) < 0.02
    assert_allclose(p.exact(0.3).masses, p.initial.masses, atol=1e-12)


def test_the_porous_medium_with_attraction_at_first_order_in_tau() -> None:
    p = problems.get("AGG-B", n=300, dim=1, start=1.6, t=0.3)
    errors = [p.error(p.solve(0.3 / k)) for k in (4, 8, 16)]
    assert_allclose(np.array(errors[:-1]) / errors[1:], 2.0, atol=0.35)


@pytest.mark.parametrize("dim", [1, 2])
def test_linearised_steps_and_bdf2_against_the_exact_flow(dim: int) -> None:
    p = problems.get("AGG-G", n=160 if dim == 1 else 48, deviations=(1.2, 0.8)[:dim], t=0.5)
    errors = {
        name: [l1(p.solve(0.5 / k, scheme).states[-1], p.exact(0.5)) for k in ((4, 8, 16) if dim == 1 else (4, 8))]
        for name, scheme in (("jko", mf.JKO(inner="linearised")), ("bdf2", mf.BDF2()))
    }
    assert errors["jko"][0] > 1.6 * errors["jko"][1]
    assert errors["bdf2"][-1] < (0.25 if dim == 1 else 0.5) * errors["jko"][-1]
    if dim == 1:
        assert errors["bdf2"][0] > 2.5 * errors["bdf2"][1]


def test_bdf2_is_of_second_order_on_a_torus() -> None:
    grid = mf.Grid([(0.0, 1.0)] * 2, (8, 8), True)
    wave = 2.0 * np.pi
    x = mf.Histogram.from_density(lambda z: 1.0 + 0.5 * np.cos(wave * z[..., 0]) * np.cos(wave * z[..., 1]), grid)
    energy = 0.05 * e.Entropy() + e.Interaction(lambda z: -0.3 * np.exp(-8.0 * np.sum(z**2, -1)))
    laws = [mf.solve(energy, x, 0.4, 0.4 / k, scheme="bdf2").states[-1] for k in (5, 10, 20, 40)]
    errors = np.array([l1(law, laws[-1]) for law in laws[:-1]])
    assert np.all(errors[:-1] / errors[1:] > 3.3)


def test_schemes_lower_an_attracting_energy_step_by_step() -> None:
    x = blob((24, 24))
    energy = 0.05 * e.Entropy() + 2.0 * e.Interaction(well)
    for scheme in ("jko", mf.JKO(inner="linearised")):
        sol = mf.solve(energy, x, 0.4, 0.1, scheme=scheme)
        assert np.all(np.diff(sol.energies) < 0.0)


# the problems themselves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forces", [(0.5, 1.0, 2.0), (0.5, 0.0, 3.0), (-0.1, 1.0, 3.0), (2.0, 3.0, 5.0), (-0.2, 0.0, 2.0)])
def test_radii_solve_their_equations(forces: tuple[float, float, float]) -> None:
    push, a, q = forces
    radius, h = aggregation.radius_at(0.8, 0.1, *forces), 1e-5
    slope = (aggregation.radius_at(0.8, 0.1 + h, *forces) - aggregation.radius_at(0.8, 0.1 - h, *forces)) / (2.0 * h)
    assert_allclose(slope, push * radius ** (1.0 - q) - a * radius, rtol=1e-7)
    ahead = aggregation.minimizing_radius(0.8, 0.1, *forces)
    assert_allclose(ahead - 0.8, 0.1 * (push * ahead ** (1.0 - q) - a * ahead), rtol=1e-11)
    if push > 0.0 and a > 0.0:
        assert_allclose(aggregation.radius_at(0.8, 50.0, *forces), (push / a) ** (1.0 / q))


def test_bad_problems_are_named() -> None:
    assert aggregation.radius_at(1.0, 1.0, -1.0, 0.0, 2.0) == 0.0
    for call, message in (
        (lambda: aggregation.minimizing_radius(0.1, 1.0, -1.0, 0.0, 2.0), "does not collapse"),
        (lambda: problems.get("AGG-N", dim=1), "dim must be one of"),
        (lambda: problems.get("AGG-N", push=-1.0), "radius stays positive"),
        (lambda: problems.get("AGG-B", start=3.0), "start and steady must be"),
        (lambda: problems.get("AGG-G", deviations=(1.0, -1.0)), "deviations must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
