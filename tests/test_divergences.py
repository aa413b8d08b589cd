"""Energies of infinitely fast critics: chi-squared, Jensen-Shannon, non-saturating, MMD itself; their flows and problems."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad, solve_ivp
from scipy.stats import norm
from strategies import gaussians, quantiles

import measureflow as mf
from measureflow import energies as e
from measureflow.energies.divergences import sigmoid, softplus, softplus_ratio
from measureflow.energies.ratios import FDivergence
from measureflow.problems import fast_critic
from measureflow.recipes import decode, encode

DIVERGENCES = [e.ChiSquared, e.JensenShannon, e.NonSaturating]
each = pytest.mark.parametrize("kind", DIVERGENCES, ids=lambda kind: kind.__name__)
LAW, TARGET = mf.Gaussian(0.3, 0.8), mf.Gaussian(1.0, 2.0)
PLANE_LAW = mf.Gaussian([0.5, -1.0], [[1.2, 0.3], [0.3, 0.7]])
PLANE_TARGET = mf.Gaussian([0.0, 0.2], [[1.5, -0.2], [-0.2, 1.0]])
LINE = mf.Grid([(-4.0, 4.0)], (20,))
CELLS = mf.Histogram(np.arange(1.0, 21.0) / 210.0, LINE)


def by_quadrature(kind: Any, law: mf.Gaussian, target: mf.Gaussian) -> float:
    """The divergence of Gaussians on the line as an integral, with the definitions of theory, 7.2."""
    p, q = (norm(one.mean[0], np.sqrt(one.cov[0, 0])) for one in (law, target))
    integrands = {
        e.ChiSquared: lambda x: 0.5 * np.exp(2.0 * p.logpdf(x) - q.logpdf(x)),
        e.JensenShannon: lambda x: -0.5 * (
            p.pdf(x) * np.logaddexp(0.0, q.logpdf(x) - p.logpdf(x)) + q.pdf(x) * np.logaddexp(0.0, p.logpdf(x) - q.logpdf(x))
        ),
        e.NonSaturating: lambda x: (p.pdf(x) + q.pdf(x)) * np.logaddexp(0.0, p.logpdf(x) - q.logpdf(x)),
    }  # fmt: skip
    constant = {e.ChiSquared: -0.5, e.JensenShannon: np.log(2.0), e.NonSaturating: -2.0 * np.log(2.0)}
    return float(constant[kind] + quad(integrands[kind], -25.0, 25.0, epsabs=1e-13, limit=500, points=[0.0, 1.0])[0])


# values -----------------------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("law", [LAW, mf.Gaussian(1.0, 1.0), mf.Gaussian(-1.5, 3.0)], ids=repr)
def test_gaussians_on_the_line_are_integrals(kind: Any, law: mf.Gaussian) -> None:
    assert_allclose(kind(TARGET).value(law), by_quadrature(kind, law, TARGET), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shift", [0.01, 0.1])
def test_jensen_shannon_of_close_gaussians(shift: float) -> None:
    """Theory, 7.2: JS(N(th, s^2), N(0, s^2)) = th^2/(8 s^2) + O(th^4), printed as 0.07396 th^2 for s = 1.3."""
    value = e.JensenShannon(mf.Gaussian(0.0, 1.69)).value(mf.Gaussian(shift, 1.69))
    assert_allclose(value / shift**2, 0.07396, rtol=0.0, atol=5e-6 + 0.01 * shift**2)
    assert_allclose(value, shift**2 / (8.0 * 1.69), rtol=0.1 * shift**2 + 1e-9)


@each
@pytest.mark.parametrize("dim", [2, 3, 4])
def test_gaussians_that_differ_along_one_direction(kind: Any, dim: int) -> None:
    """With a common factor in the other directions the divergence is that on the line, whatever the rotation."""
    rotation = np.linalg.qr(np.random.default_rng(dim).normal(size=(dim, dim)))[0]

    def lifted(law: mf.Gaussian) -> mf.Gaussian:
        spectrum = np.append(law.cov[0], np.arange(1.0, dim))
        return mf.Gaussian(rotation[:, 0] * law.mean[0], (rotation * spectrum) @ rotation.T)

    value, exact = kind(lifted(TARGET)).value(lifted(LAW)), kind(TARGET).value(LAW)
    assert_allclose(value, exact, rtol=0.0, atol=1e-12 if kind is e.ChiSquared else {2: 1e-7, 3: 1e-5, 4: 2e-4}[dim])


@each
def test_values_agree_on_gaussians_histograms_and_quantiles(kind: Any) -> None:
    energy = kind(TARGET)
    exact = energy.value(LAW)
    for n in (64, 128):
        assert_allclose(energy.value(LAW.to_histogram(mf.Grid([(-10.0, 11.0)], (n,)))), exact, rtol=0.0, atol=1e-9)
    errors = [exact - energy.value(LAW.to_quantiles(n)) for n in (100, 400, 1600)]
    assert 0.0 < errors[2] < 0.4 * errors[1] < 0.16 * errors[0] < 0.01


@each
def test_plane_values_agree(kind: Any) -> None:
    grid = mf.Grid([(-7.0, 7.0), (-7.0, 7.0)], (70, 70))
    histogram = PLANE_LAW.to_histogram(grid)
    assert_allclose(kind(PLANE_TARGET).value(histogram), kind(PLANE_TARGET).value(PLANE_LAW), rtol=0.0, atol=1e-7)
    assert_allclose(kind(PLANE_TARGET.to_histogram(grid)).value(histogram), kind(PLANE_TARGET).value(histogram), rtol=1e-7)


@each
@pytest.mark.parametrize("n", [1, 2, 50])
def test_the_target_is_the_minimum(kind: Any, n: int) -> None:
    """On quantiles exactly: the masses of the cells between them are then those of the target."""
    states = [TARGET, TARGET.to_quantiles(n), TARGET.to_histogram(mf.Grid([(-9.0, 11.0)], (80,)))]
    if n == 1:
        states[1] = mf.Quantiles([TARGET.mean[0]])
    for state in states:
        assert_allclose(kind(TARGET).value(state), 0.0, atol=1e-12)
        gradient = kind(TARGET).gradient(state)
        assert_allclose(gradient, gradient.flat[0] if isinstance(state, mf.Histogram) else 0.0, atol=1e-10)


@given(quantiles(6), gaussians(1))
def test_quantiles_stay_within_the_bounds_of_the_divergence(law: mf.Quantiles, target: mf.Gaussian) -> None:
    assert -1e-12 <= e.JensenShannon(target).value(law) <= np.log(2.0) + 1e-12
    assert e.ChiSquared(target).value(law) >= -1e-12
    assert e.NonSaturating(target).value(law) >= -1e-12


def test_histograms_are_sums_over_cells() -> None:
    grid = mf.Grid([(0.0, 4.0)], (4,))
    p, q = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.2, 0.2, 0.2, 0.4])
    law, target, middle = mf.Histogram(p, grid), mf.Histogram(q, grid), mf.Histogram(0.5 * (p + q), grid)
    chi = 0.5 * np.sum((p / q - 1.0) ** 2 * q)
    js = 0.5 * (e.KL(middle).value(law) + e.KL(middle).value(target))
    assert_allclose(e.ChiSquared(target).value(law), chi, rtol=1e-13)
    assert_allclose(e.JensenShannon(target).value(law), js, rtol=1e-13)
    assert_allclose(e.JensenShannon(law).value(target), js, rtol=1e-13)
    assert_allclose(e.NonSaturating(target).value(law), 2.0 * e.KL(target).value(middle), rtol=1e-13)
    assert_allclose(e.ChiSquared(target).gradient(law) + 0.5, p / q, rtol=1e-13)
    assert e.ChiSquared(law).value(target) == e.NonSaturating(law).value(target) == np.inf
    assert_allclose(e.JensenShannon(mf.Histogram([0.0, 0.0, 0.0, 1.0], grid)).value(law), np.log(2.0), rtol=1e-15)


@given(st.floats(-2000.0, 2000.0))
def test_functions_of_the_log_ratio_are_finite_or_signed_infinity(l: float) -> None:  # noqa: E741
    x = np.array([l])
    assert softplus(x)[0] >= max(l, 0.0) and 0.0 <= softplus_ratio(x)[0] <= 1.0 and 0.0 <= sigmoid(x)[0] <= 1.0
    with np.errstate(over="ignore"):
        for kind in DIVERGENCES:
            assert not any(np.isnan(part[0]) for part in kind(TARGET).of_ratio(x))


@each
@given(st.floats(-8.0, 8.0))
def test_functions_of_the_log_ratio_fit_together(kind: Any, l: float) -> None:  # noqa: E741
    """f' = variation - f up to a constant of the variation, pressure = exp(l) f', stiffness = d(variation)/dl."""
    h, energy = 1e-5, kind(TARGET)
    low, here, high = (energy.of_ratio(np.array([l + k * h])) for k in (-1.0, 0.0, 1.0))
    slope = (high.value - low.value) / (2.0 * h)
    assert_allclose(here.pressure, np.exp(l) * slope, rtol=1e-6, atol=1e-7)
    assert_allclose(here.stiffness, (high.variation - low.variation) / (2.0 * h), rtol=1e-6, atol=1e-9)
    assert_allclose(here.variation, here.value + slope, rtol=1e-6, atol=1e-8)
    assert np.all(here.stiffness > 0.0)


# the three logistic velocities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [LAW, PLANE_LAW, CELLS], ids=repr)
def test_both_logistic_generators_add_up_to_fokker_planck(law: Any) -> None:
    """Theory, 7.2: sigmoid(h) grad h + sigmoid(-h) grad h = grad h with h = log(nu/mu), minus the gradient of KL.

    The saturating one descends 2 JS, the non-saturating one KL - 2 JS = 2 KL((mu + nu)/2 | nu).
    """
    target = {1: TARGET, 2: PLANE_TARGET}[law.dim]
    both = 2.0 * e.JensenShannon(target) + e.NonSaturating(target)
    assert_allclose(both.value(law), e.KL(target).value(law), rtol=0.0, atol=1e-9)
    gap = both.gradient(law) - e.KL(target).gradient(law)
    assert_allclose(gap, gap.flat[0] if isinstance(law, mf.Histogram) else 0.0, atol=1e-8)


def test_velocities_on_a_grid_are_monotone_rescalings() -> None:
    target = TARGET.to_histogram(mf.Grid([(-4.0, 6.0)], (2000,)))
    law = LAW.to_histogram(target.grid)
    h = np.log(target.masses / law.masses)
    weight = 1.0 / (1.0 + np.exp(-0.5 * (h[1:] + h[:-1])))
    for energy, share in ((2.0 * e.JensenShannon(target), weight), (e.NonSaturating(target), 1.0 - weight)):
        velocity = -np.diff(energy.gradient(law))
        assert_allclose(velocity, share * np.diff(h), rtol=1e-4)


def test_saturating_loss_of_the_best_critic() -> None:
    """V = max_D E_nu log D + E_mu log(1 - D) = 2 JS - 2 log 2, at D = nu/(mu + nu)."""
    p, q = CELLS.masses, TARGET.to_histogram(LINE).masses
    best = q / (p + q)
    value = np.sum(q * np.log(best)) + np.sum(p * np.log(1.0 - best))
    assert_allclose(2.0 * e.JensenShannon(mf.Histogram(q, LINE)).value(CELLS) - 2.0 * np.log(2.0), value, rtol=1e-13)


def test_best_critic_of_l2_with_a_ridge() -> None:
    """max_D int D d(mu - nu) - (1/2) int D^2 dnu is the chi-squared energy, at D = dmu/dnu - 1."""
    p, q = CELLS.masses, TARGET.to_histogram(LINE).masses
    best = p / q - 1.0
    value = np.sum(best * (p - q)) - 0.5 * np.sum(best**2 * q)
    assert_allclose(e.ChiSquared(mf.Histogram(q, LINE)).value(CELLS), value, rtol=1e-12)


# gradients --------------------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("state", [LAW, PLANE_LAW, LAW.to_quantiles(12), LAW.to_histogram(LINE)], ids=repr)
def test_gradients_have_a_taylor_remainder_of_second_order(kind: Any, state: Any) -> None:
    energy = kind({1: TARGET, 2: PLANE_TARGET}[state.dim])
    for seed in range(3):
        assert mf.check_gradient(energy, state, seed) > 1.9


@each
def test_gradients_with_a_histogram_as_target(kind: Any) -> None:
    for seed in range(3):
        assert mf.check_gradient(kind(TARGET.to_histogram(LINE)), CELLS, seed) > 1.9


@each
def test_hessian_on_quantiles_is_the_derivative_of_the_gradient(kind: Any) -> None:
    energy, x, n, h = kind(TARGET), LAW.to_quantiles(9).values, 9, 1e-5
    ground, spring = energy.cells(x).chain()
    steps = np.diff(np.eye(n), axis=0)
    hessian = np.diag(ground) + steps.T @ np.diag(spring) @ steps
    moved = [[energy.gradient(mf.Quantiles(x + sign * h * unit)) for sign in (1.0, -1.0)] for unit in np.eye(n)]
    expected = np.array([(ahead - behind) / (2.0 * h) for ahead, behind in moved])
    assert_allclose(hessian, expected, rtol=0.0, atol=1e-6 * np.abs(expected).max())


@each
def test_stiffness_on_cells_is_the_second_derivative(kind: Any) -> None:
    energy, h = kind(TARGET), 1e-6
    move = h * CELLS.masses * np.where(np.arange(20) % 2, 1.0, -1.0)
    move -= CELLS.masses * move.sum()
    ahead, behind = (energy.gradient(CELLS.replace(CELLS.masses + sign * move)) for sign in (1.0, -1.0))
    assert_allclose(ahead - behind, 2.0 * energy.stiffness(CELLS) * move / CELLS.masses, rtol=1e-6, atol=1e-12)


# what is refused --------------------------------------------------------------------------------------------------


@each
def test_states_without_a_density_are_refused(kind: Any) -> None:
    for state in (mf.Particles([[0.0], [1.0]]), mf.Vector([1.0]), mf.Field(np.zeros(20), LINE)):
        with pytest.raises(mf.UnsupportedError, match=rf"{kind.__name__} .*Quantiles, Gaussian and Histogram.*to_quantiles"):
            kind(TARGET).value(state)
    for state in (LAW, LAW.to_quantiles(5)):
        with pytest.raises(mf.UnsupportedError, match="as its target is one"):
            kind(CELLS).value(state)


@each
def test_bad_targets_and_dimensions_are_named(kind: Any) -> None:
    for target in (mf.Particles([[0.0]]), LAW.to_quantiles(4), 1.0):
        with pytest.raises(TypeError, match="target must be a Gaussian or a Histogram"):
            kind(target)
    with pytest.raises(ValueError, match="invertible covariance"):
        kind(mf.Gaussian([0.0, 0.0], np.diag([1.0, 0.0])))
    with pytest.raises(ValueError, match="target has dimension 2, the state has dimension 1"):
        kind(PLANE_TARGET).value(LAW)
    with pytest.raises(ValueError, match="on the grid of the state"):
        kind(CELLS).value(LAW.to_histogram(mf.Grid([(-4.0, 4.0)], (21,))))
    with pytest.raises(mf.UnsupportedError, match="invertible covariance"):
        kind(TARGET).value(mf.Gaussian(0.0, 0.0))


def test_wide_gaussians_have_no_chi_squared_divergence() -> None:
    assert np.isfinite(e.ChiSquared(TARGET).value(mf.Gaussian(0.0, 3.9)))
    with pytest.raises(ValueError, match="finite only if 2 target.cov - cov is positive definite"):
        e.ChiSquared(TARGET).value(mf.Gaussian(0.0, 4.1))


@pytest.mark.parametrize("kind", [e.JensenShannon, e.NonSaturating])
def test_quadrature_ends_at_dimension_four(kind: Any) -> None:
    with pytest.raises(mf.UnsupportedError, match="up to dimension 4"):
        kind(mf.Gaussian(np.zeros(5), 1.0)).value(mf.Gaussian(np.ones(5), 1.0))


def test_tied_quantiles() -> None:
    tied = mf.Quantiles([0.0, 0.0, 1.0])
    assert e.ChiSquared(TARGET).value(tied) == e.NonSaturating(TARGET).value(tied) == np.inf
    assert 0.0 < e.JensenShannon(TARGET).value(tied) < np.log(2.0)


@each
def test_recipes_make_the_same_energy(kind: Any) -> None:
    for energy in (kind(TARGET), kind(CELLS)):
        arrays: dict[str, np.ndarray] = {}
        again = decode(encode(energy, arrays), arrays)
        assert isinstance(again, FDivergence) and again.value(CELLS) == energy.value(CELLS)


# flows ------------------------------------------------------------------------------------------------------------

START = mf.Gaussian(0.8, 0.5)
NORMAL = mf.Gaussian(0.0, 1.0)
RATES = {e.ChiSquared: 1.0, e.JensenShannon: 0.25, e.NonSaturating: 0.5}
"""The second derivative of the divergence's function at ratio 1, times the smallest eigenvalue 1 of the normal law."""


@each
@pytest.mark.parametrize("state", [START, START.to_quantiles(60), START.to_histogram(mf.Grid([(-5.0, 5.0)], (60,)))], ids=repr)
def test_minimizing_movements_decrease_the_energy_and_reach_the_target(kind: Any, state: Any) -> None:
    end = 8.0 / RATES[kind]
    sol = mf.solve(kind(NORMAL), state, end, end / 16.0)
    assert np.all(np.diff(np.ravel(sol.energies)) < 1e-12)
    goal = {"Gaussian": NORMAL, "Quantiles": NORMAL.to_quantiles(60)}.get(type(state).__name__)
    assert mf.distance(sol.states[-1], NORMAL.to_histogram(state.grid) if goal is None else goal) < 0.01


@each
def test_minimizing_movements_leave_a_dirac_mass(kind: Any) -> None:
    dirac = mf.Quantiles(np.full(30, 2.0))
    sol = mf.solve(kind(NORMAL), dirac, 3.0, 1.0)
    assert np.all(np.diff(np.ravel(sol.energies)) < 0.0)
    assert np.all(np.diff(sol.states[-1].values) > 0.0)


@each
def test_minimizing_movements_on_quantiles_have_order_one(kind: Any) -> None:
    """Against the flow x' = -grad E of the same quantiles, by an implicit integrator."""
    energy, start = kind(NORMAL), START.to_quantiles(20)
    flow = solve_ivp(
        lambda _, x: -energy.gradient(mf.Quantiles(x)), (0.0, 0.5), start.values, method="Radau", rtol=1e-8, atol=1e-10
    )
    exact = mf.Quantiles(flow.y[:, -1])
    errors = [mf.distance(mf.solve(energy, start, 0.5, 0.5 / n).states[-1], exact) for n in (8, 16, 32)]
    order = -np.polyfit(np.log([8, 16, 32]), np.log(errors), 1)[0]
    assert 0.9 < order < 1.05


@each
def test_explicit_steps_go_the_same_way(kind: Any) -> None:
    energy, start = kind(NORMAL), START.to_quantiles(20)
    explicit = mf.solve(energy, start, 0.1, 1e-3, scheme="explicit").states[-1]
    implicit = mf.solve(energy, start, 0.1, 1e-3).states[-1]
    assert mf.distance(explicit, implicit) < 0.02 * mf.distance(explicit, start)


@each
def test_mean_decays_at_the_linear_rate_near_the_target(kind: Any) -> None:
    sol = mf.solve(kind(NORMAL), mf.Gaussian(1e-3, 1.0), 1.0, 0.01, scheme="explicit")
    assert_allclose(-np.log(sol.states[-1].mean[0] / 1e-3), RATES[kind], rtol=0.02)


@each
def test_sums_with_other_energies_have_steps(kind: Any) -> None:
    energy = 0.7 * kind(NORMAL) + 0.2 * e.Quadratic(2.0) + 0.1 * e.Entropy()
    for state in (START.to_quantiles(20), START.to_histogram(mf.Grid([(-5.0, 5.0)], (30,)))):
        sol = mf.solve(energy, state, 0.4, 0.1)
        assert np.all(np.diff(np.ravel(sol.energies)) < 0.0)


# problems ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["7.2 chi2", "7.2 JS", "7.2 NS", "7.2 MMD"])
@pytest.mark.parametrize("scheme", ["jko", "explicit"])
def test_problems_have_order_one(label: str, scheme: str) -> None:
    problem = mf.problems.get(label)
    counts = [8, 16, 32]
    errors = [problem.error(problem.solve(problem.t_span[1] / n, scheme)) for n in counts]
    assert 0.93 < -np.polyfit(np.log(counts), np.log(errors), 1)[0] < 1.07


def test_chi_squared_to_the_uniform_law_is_the_porous_medium_equation() -> None:
    problem = fast_critic.chi_squared_to_uniform(160)
    assert_allclose(problem.problem.value(problem.initial), problem.constants["E(0)"], rtol=1e-3)
    sols = [problem.solve(0.5 / n) for n in (5, 10, 20)]
    errors = [problem.error(sol) for sol in sols]
    assert np.all(np.log2(np.divide(errors[:-1], errors[1:])) > 0.9)
    assert_allclose(sols[-1].energies[-1], problem.constants["E(t)"], rtol=0.02)


def test_bad_parameters_of_the_problems() -> None:
    with pytest.raises(ValueError, match="deviation must be a finite number > 0 and < 1.69706"):
        fast_critic.chi_squared(deviation=2.0)
    with pytest.raises(ValueError, match="t must be a finite number > 0 and <= 0.666667"):
        fast_critic.chi_squared_to_uniform(t=1.0)
    with pytest.raises(TypeError, match="initial must be"):
        fast_critic.unit_ball(LAW)


# MMD itself -------------------------------------------------------------------------------------------------------

GOAL = mf.Particles([[0.8, 0.8], [-0.6, -0.5]], [0.7, 0.3])
CLOUD = mf.Particles(np.random.default_rng(0).normal(size=(6, 2)))


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "energy"])
def test_mmd_is_the_root_of_its_square(kernel: str) -> None:
    half, root = e.MMD(GOAL, kernel), e.MMD(GOAL, kernel, squared=False)
    value = np.sqrt(2.0 * half.value(CLOUD))
    assert_allclose(root.value(CLOUD), value, rtol=1e-14)
    assert_allclose(root.gradient(CLOUD), half.gradient(CLOUD) / value, rtol=1e-13)
    assert mf.check_gradient(root, CLOUD) > 1.9
    assert repr(root) != repr(half) == repr(e.MMD(GOAL, kernel, 1.0, True))


def test_mmd_on_quantiles_and_cells() -> None:
    for state in (LAW.to_quantiles(10), CELLS):
        assert mf.check_gradient(e.MMD(TARGET.to_quantiles(7), "gaussian", squared=False), state) > 1.9


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "energy"])
def test_mmd_at_the_target_has_no_gradient(kernel: str) -> None:
    energy = e.MMD(mf.Particles([[1.0]]), kernel, squared=False)
    value, gradient = energy.value_and_gradient(mf.Particles([[1.0]]))
    assert value == 0.0 and np.all(gradient == 0.0)
    assert mf.solve(energy, mf.Particles([[1.0]]), 0.2, 0.1).states[-1].points[0, 0] == 1.0


def test_witness_of_the_unit_ball_has_norm_one() -> None:
    """The witness (m_mu - m_nu)/MMD is the best critic: its average differs by MMD between the laws, its norm is 1."""
    points = np.vstack([CLOUD.points, GOAL.points])
    signed = np.concatenate([CLOUD.weights, -GOAL.weights])
    gram = np.exp(-0.5 * np.sum((points[:, None] - points[None]) ** 2, axis=-1))
    mmd = e.MMD(GOAL, "gaussian", squared=False).value(CLOUD)
    critic = signed / mmd
    assert_allclose(critic @ gram @ critic, 1.0, rtol=1e-12)
    assert_allclose(critic @ gram @ signed, mmd, rtol=1e-12)


def test_mmd_falls_by_the_square_of_the_speed() -> None:
    energy = e.MMD(GOAL, "gaussian", squared=False)
    sol = mf.solve(energy, CLOUD, 0.1, 1e-3, scheme="explicit")
    slopes = [np.sqrt(np.mean(np.sum(energy.gradient(state) ** 2, axis=1))) for state in sol.states[:-1]]
    assert_allclose(np.ravel(sol.speeds)[1:], slopes, rtol=1e-9)
    fall = np.trapezoid(np.square([*slopes, slopes[-1]]), dx=1e-3)
    assert_allclose(sol.energies[0] - sol.energies[-1], fall, rtol=5e-3)


def test_one_atom_before_a_cone_kernel() -> None:
    """k = -|x - y|: MMD = sqrt(2 |x|) to a target at 0, so that x(t)^(3/2) = x0^(3/2) - 3 t / (2 sqrt 2)."""
    energy = e.MMD(mf.Particles([[0.0]]), "energy", squared=False)
    sol = mf.solve(energy, mf.Particles([[1.0]]), 0.5, 1e-3, scheme="explicit")
    assert_allclose(sol.states[-1].points[0, 0], (1.0 - 0.75 / np.sqrt(2.0)) ** (2.0 / 3.0), rtol=2e-3)
    kinks = energy.kinks(mf.Particles([[0.5]]))
    assert kinks is not None and kinks.strengths[0] == pytest.approx(1.0)  # the strength 1 of the half square over MMD = 1
    assert energy.kinks(mf.Particles([[0.0]])) is None


def test_mini_batches_and_recipes_keep_the_root() -> None:
    energy = e.MMD(CLOUD, "gaussian", squared=False)
    drawn = energy.minibatch(3, np.random.default_rng(0))
    assert isinstance(drawn, e.MMD) and not drawn.squared
    arrays: dict[str, np.ndarray] = {}
    again = decode(encode(energy, arrays), arrays)
    assert again.value(GOAL) == energy.value(GOAL)
