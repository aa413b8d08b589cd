"""Laws whose mass moves and reacts: the Wasserstein-Fisher-Rao metric, its steps, and weights of atoms (theory, 1, 8, 9.3)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow import problems
from measureflow.energies.base import Energy
from measureflow.transport.cone import matched

WFR, FR, W2 = mf.WassersteinFisherRao(), mf.FisherRao(), mf.Wasserstein()
METRICS = [WFR, mf.WassersteinFisherRao(0.7, 2.0), mf.WassersteinFisherRao(3.0, 0.1)]
LIMITS = [mf.WassersteinFisherRao(1.5, 0.0), mf.WassersteinFisherRao(0.0, 1.5)]
TARGET = mf.Particles([[1.0, 0.5], [-1.0, 0.2], [0.3, -0.8]], [0.5, 0.2, 0.3])
ENERGIES = {
    "potential": e.Potential(lambda x: np.sum(np.cos(x), axis=1), lambda x: -np.sin(x)),
    "quadratic": e.Quadratic(),
    "interaction": e.Interaction(lambda x: np.sum(x**4, axis=-1) / 4, lambda x: x**3),
    "attraction": e.QuadraticInteraction(),
    "mmd": e.MMD(TARGET, "gaussian"),
    "mmd, not squared": e.MMD(TARGET, "gaussian", squared=False),
    "energy distance": e.EnergyDistance(TARGET),
    "sum": 0.5 * e.MMD(TARGET, "gaussian") + e.Quadratic() - 0.1 * e.Interaction(lambda x: np.sum(x**2, axis=-1)),
}


def cloud(n=5, d=2, seed=0):
    rng = np.random.default_rng(seed)
    w = rng.random(n) + 0.1
    return mf.Particles(rng.normal(size=(n, d)), w / w.sum())


def order(taus, errors):
    return float(np.polyfit(np.log(taus), np.log(errors), 1)[0])


# first variations ---------------------------------------------------------------------------------------------------


def change_of_mass(energy, law, h=1e-5):
    """Return the derivative of the energy along random changes of weights, and what the first variation says."""
    move = np.random.default_rng(1).normal(size=len(law)) * law.weights
    move -= law.weights * move.sum()
    ends = [energy.value(mf.Particles(law.points, law.weights + s * h * move)) for s in (1.0, -1.0)]
    return (ends[0] - ends[1]) / (2.0 * h), float(energy.first_variation(law) @ move)


@pytest.mark.parametrize("name", ENERGIES)
def test_first_variation_is_the_derivative_in_the_masses(name):
    numerical, exact = change_of_mass(ENERGIES[name], cloud())
    assert_allclose(exact, numerical, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("target", [mf.Particles([[0.3], [1.0]]), mf.Gaussian(0.0, 1.0).to_histogram(mf.Grid([(-4.0, 4.0)], 16))])
def test_first_variation_of_the_energy_distance_on_the_line(target):
    numerical, exact = change_of_mass(e.EnergyDistance(target), cloud(6, 1))
    assert_allclose(exact, numerical, rtol=1e-7)


@pytest.mark.parametrize("loss", ["wasserstein", "minimax", "non-saturating", "relativistic"])
def test_first_variation_of_a_generator(loss):
    critic = g.MLPCritic((6,))
    game = g.GAN(TARGET, loss, critic=critic)
    states = cloud(), critic.initial(2, 1)
    energy = game.energy(0, states)
    law = states[0]
    slope, h = energy.gradient(law), 1e-5
    phis = [energy.first_variation(law.replace(law.points + s * h * np.eye(2)[0])) for s in (1.0, -1.0)]
    if not loss.startswith("relativistic"):
        assert_allclose((phis[0] - phis[1]) / (2.0 * h), slope[:, 0], rtol=1e-6, atol=1e-9)
    if game.zero_sum:
        numerical, exact = change_of_mass(energy, law)
        assert_allclose(exact, numerical, rtol=1e-6, atol=1e-9)


def test_energies_without_a_first_variation_say_so():
    own = e.Function(lambda x: 0.0, lambda x: np.zeros(x.points.shape))
    for energy in (own, e.SquaredWasserstein(TARGET), own + e.Quadratic()):
        with pytest.raises(mf.UnsupportedError, match="has no first variation at the atoms of Particles"):
            mf.solve(energy, cloud(), 1.0, 0.1, scheme="explicit", metric=WFR)
    with pytest.raises(TypeError, match="law must be a law"):
        e.Quadratic().first_variation(mf.Vector([1.0]))
    even = mf.Histogram([0.5, 0.5], mf.Grid([(0.0, 2.0)], 2))
    assert_allclose(e.Quadratic().first_variation(even), e.Quadratic().gradient(even))


# charts -------------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(METRICS + LIMITS), st.floats(0.0, 0.5))
def test_exponential_and_logarithm_are_inverse_and_lengths_are_norms(seed, metric, size):
    law = cloud(4, 2, seed)
    chart = metric.chart(law)
    z = chart.project(chart.origin + size * np.random.default_rng(seed).uniform(-1.0, 1.0, (4, 3)))
    end = chart.state(z)
    assert abs(end.weights.sum() - 1.0) < 1e-12 and end.weights.min() > 0.0
    assert_allclose(chart.log(end), z, atol=1e-11)
    assert_allclose(metric.labelled_distance(law, end), chart.norm(z - chart.origin), atol=1e-11)
    middle = metric.between(law, end, 0.4)
    parts = [metric.labelled_distance(law, middle), metric.labelled_distance(middle, end)]
    assert_allclose(parts, np.array([0.4, 0.6]) * metric.labelled_distance(law, end), atol=1e-9)


@pytest.mark.parametrize("metric", METRICS + LIMITS)
@pytest.mark.parametrize("size", [0.0, 1e-5, 5e-3, 0.3])
def test_pull_is_the_gradient_in_the_chart(metric, size):
    rng, energy = np.random.default_rng(1), ENERGIES["sum"]
    chart = metric.chart(cloud())
    z = chart.project(chart.origin + size * rng.normal(size=(5, 3)))
    slope, h = chart.pull(z, metric.differential(energy, chart.state(z))), 1e-5
    for _ in range(4):
        move = chart.project(chart.origin + rng.normal(size=z.shape)) - chart.origin
        numerical = (energy.value(chart.state(z + h * move)) - energy.value(chart.state(z - h * move))) / (2.0 * h)
        assert_allclose(chart.inner(slope, move), numerical, atol=1e-8)


@pytest.mark.parametrize("metric", METRICS + LIMITS)
def test_pull_at_the_atoms_is_that_of_all_other_places(metric):
    law = cloud()
    chart, rows = metric.chart(law), metric.differential(ENERGIES["mmd"], law)
    assert_allclose(chart.pull(chart.origin, rows), chart.pull(chart.origin.copy(), rows), rtol=1e-13, atol=1e-15)


def test_too_long_steps_have_no_state():
    chart = WFR.chart(cloud())
    for column, length in ((0, 9.0), (2, 9.0), (1, np.inf)):
        z = chart.origin.copy()
        z[0, column] += length
        with pytest.raises(ValueError, match="must leave all atoms some mass"):
            chart.state(z)
    far = cloud().replace(cloud().points + 4.0)
    with pytest.raises(ValueError, match="must have its atoms nearer to the base's than 3.14159"):
        chart.log(far)
    assert_allclose(WFR.between(cloud(), far, 0.5).points, cloud().points + 2.0)
    for metric, name in zip(LIMITS, ("weights", "points"), strict=True):
        with pytest.raises(ValueError, match=f"must have the base's {name}"):
            metric.labelled_distance(cloud(), cloud(seed=1))


# distances ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("gap", [1e-6, 0.3, 1.0, 50.0])
def test_distance_of_two_atoms(metric, gap):
    one, other = mf.Particles([[0.0, 0.0]]), mf.Particles([[0.6 * gap, 0.8 * gap]])
    expected = min(gap / np.sqrt(metric.transport), np.pi / np.sqrt(metric.reaction))
    assert_allclose(metric.distance(one, other), expected, rtol=1e-9)


def test_distance_from_an_atom_to_a_law():
    law, one = cloud(7, 1), mf.Particles([[0.2]])
    split = np.sqrt(law.weights @ np.cos(np.minimum(0.5 * np.abs(law.points[:, 0] - 0.2), np.pi / 2)) ** 2)
    assert_allclose(WFR.distance(one, law), 2.0 * np.arccos(split), rtol=1e-10)
    turn = 0.5 * np.abs(law.points - one.points.T)
    assert_allclose(matched(np.cos(turn), law.weights, np.ones(1)).most, split, rtol=1e-11)


@pytest.mark.parametrize("metric", METRICS)
def test_distance_is_a_metric_below_its_parts(metric):
    laws = [cloud(n, 2, seed) for n, seed in ((3, 1), (5, 2), (5, 4))]
    for a in laws:
        for b in laws:
            ab = metric.distance(a, b)
            assert ab <= W2.distance(a, b) / np.sqrt(metric.transport) + 1e-9
            assert ab <= np.pi / np.sqrt(metric.reaction) + 1e-12
            assert_allclose(ab, metric.distance(b, a), atol=1e-5)
            assert all(ab <= metric.distance(a, c) + metric.distance(c, b) + 1e-6 for c in laws)
            if a.points.shape == b.points.shape:
                assert ab <= metric.labelled_distance(a, b)
    same = laws[1].with_weights(laws[1].weights[::-1])
    assert metric.distance(laws[1], same) <= FR.distance(laws[1], same) / np.sqrt(metric.reaction)


def test_bounds_of_the_matching_are_bounds():
    rng = np.random.default_rng(5)
    for n, m in ((1, 1), (2, 3), (12, 9), (30, 30)):
        cosines, mu, nu = rng.random((n, m)), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
        found = matched(cosines, mu, nu)
        assert found.least <= found.most + 1e-13 and found.most - found.least < 1e-10
        g0, g1 = rng.random((n, m)), rng.random((n, m))  # any other plans match less
        g0, g1 = g0 * (mu / g0.sum(axis=1))[:, None], g1 * (nu / g1.sum(axis=0))
        assert np.sum(cosines * np.sqrt(g0 * g1)) <= found.most
    assert matched(np.zeros((2, 2)), np.ones(2), np.ones(2)) == (0.0, 0.0)
    with pytest.raises(ValueError, match="at most 160000 pairs"):
        matched(np.zeros((401, 400)), np.ones(401), np.ones(400))


def test_distance_of_histograms_and_of_relabelled_atoms():
    grid = mf.Grid([(-4.0, 4.0)], 40)
    a, b = mf.Gaussian(0.0, 1.0).to_histogram(grid), mf.Gaussian(0.4, 0.8).to_histogram(grid)
    assert_allclose(WFR.distance(a, b), WFR.distance(a.to_particles(), b.to_particles()), rtol=1e-6)
    assert WFR.distance(a, a.replace(a.masses)) == 0.0
    law = cloud()
    turned = mf.Particles(law.points[::-1], law.weights[::-1])
    assert WFR.distance(law, turned) < 1e-5 < WFR.labelled_distance(law, turned)
    with pytest.raises(mf.UnsupportedError, match="atoms in their order are matched best"):
        WFR.geodesic(law, turned, 0.5)
    near = law.replace(law.points + 0.01)
    assert_allclose(WFR.distance(law, WFR.geodesic(law, near, 0.5)), 0.5 * WFR.distance(law, near), rtol=1e-6)


def test_limits_of_the_distance():
    a, b = cloud(), cloud(seed=3)
    assert_allclose(LIMITS[0].distance(a, b), W2.distance(a, b) / np.sqrt(1.5), rtol=1e-12)
    b = a.with_weights(a.weights[::-1])
    assert_allclose(LIMITS[1].distance(a, b), FR.distance(a, b) / np.sqrt(1.5), rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        (mf.Gaussian(0.0, 1.0), mf.Gaussian(0.0, 2.0), "compares Particles and Histogram, got Gaussian"),
        (cloud(d=1), cloud(d=2), "must be laws on the same space"),
    ],
)
def test_laws_that_cannot_be_compared(a, b, error):
    with pytest.raises((TypeError, ValueError), match=error):
        WFR.distance(a, b)


# steps and orders ---------------------------------------------------------------------------------------------------

TAUS = [0.2, 0.1, 0.05, 0.025]
SCHEMES = {
    "explicit": (mf.Explicit(), 1),
    "jko": (mf.JKO(), 1),
    "mirror": (mf.Mirror(), 1),
    "vim": (mf.VIM(), 2),
    "bdf2": (mf.BDF2(), 2),
    "rk2": (mf.RK2(), 2),
    "rk4": (mf.RK4(), 4),
    "strang of order 2": (mf.Splitting("vim", "rk2"), 2),
    "strang of order 4": (mf.Splitting("rk4", "rk4"), 2),
    "strang of order 1": (mf.Splitting("jko", "mirror"), 1),
    "lie": (mf.Splitting("rk4", "rk4", symmetric=False), 1),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_order_of_convergence_against_the_exact_ode(name):
    scheme, expected = SCHEMES[name]
    p = problems.get("8 WFR", t=2.0, shares=(0.3, 0.7), transport=2.0, reaction=1.5)
    taus = [0.4, 0.2, 0.1] if expected == 4 else TAUS
    sols = [p.solve(tau, scheme, save_at=10**6) for tau in taus]
    ends, exact = [sol.states[-1] for sol in sols], p.exact(2.0)
    errors = [np.abs(x.points - exact.points).max() + np.abs(x.weights - exact.weights).max() for x in ends]
    assert order(taus, errors) == pytest.approx(expected, abs=0.25 if name in ("lie", "rk4") else 0.1)
    assert scheme.order_for(1) == expected
    assert all(abs(x.weights.sum() - 1.0) < 1e-12 and x.weights.min() > 0.0 for x in ends)


@pytest.mark.parametrize("name", SCHEMES)
def test_energy_decreases_and_its_balance_closes(name):
    def worst(tau):
        sol = mf.solve(ENERGIES["mmd"], cloud(), 0.6, tau, scheme=SCHEMES[name][0], metric=WFR)
        assert np.all(np.diff(sol.energies) < 0.0)
        assert_allclose(sol.speeds[1:], sol.slopes[:-1], rtol=0.2)
        return np.abs(sol.residuals().energy_identity).max(), np.abs(sol.balance().residual).max()

    coarse, fine = np.array(worst(0.1)), np.array(worst(0.05))
    assert np.all(np.log2(coarse / fine) > [1.7, 1.7 if SCHEMES[name][1] == 1 else 2.6])


@pytest.mark.parametrize("scheme", [mf.JKO(), mf.VIM(), mf.Explicit(), mf.RK4()])
def test_without_reaction_it_is_wasserstein(scheme):
    metric = mf.WassersteinFisherRao(1.0, 0.0)
    a, b = (mf.solve(ENERGIES["sum"], cloud(), 0.5, 0.1, scheme=scheme, metric=m) for m in (metric, W2))
    assert_allclose(a.states[-1].points, b.states[-1].points, atol=1e-9)
    assert_allclose(a.states[-1].weights, cloud().weights, rtol=1e-14)
    assert_allclose(a.slopes, b.slopes, rtol=1e-9)
    assert_allclose(a.info["distance"], b.info["distance"], atol=1e-9)


@pytest.mark.parametrize("scheme", [mf.JKO(), mf.VIM(), mf.Explicit(), mf.RK4(), mf.Mirror()])
def test_without_transport_it_is_fisher_rao(scheme):
    metric = mf.WassersteinFisherRao(0.0, 1.0)
    a, b = (mf.solve(ENERGIES["sum"], cloud(), 0.5, 0.1, scheme=scheme, metric=m) for m in (metric, FR))
    assert_allclose(a.states[-1].weights, b.states[-1].weights, atol=1e-9)
    assert np.array_equal(a.states[-1].points, cloud().points)
    assert_allclose(a.slopes, b.slopes, rtol=1e-9)


# Fisher-Rao flows of weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [FR, mf.WassersteinFisherRao(0.0, 1.0)])
@pytest.mark.parametrize("tau", [0.5, 2.5])
def test_mirror_is_exact_for_linear_energies_of_atoms(metric, tau):
    """F1: w_t is proportional to w_0 exp(-V t), whatever the step."""
    law = cloud(6, 2)
    V = ENERGIES["potential"]
    sol = mf.solve(V, law, 5.0, tau, scheme=mf.Mirror(), metric=metric)
    exact = law.weights * np.exp(-5.0 * V.V(law.points))
    assert_allclose(sol.states[-1].weights, exact / exact.sum(), rtol=1e-12)


class Relative(Energy):
    """KL of the weights of atoms to others."""

    def __init__(self, q):
        self.q = q

    def _evaluate(self, state):
        return float(np.sum(state.weights * np.log(state.weights / self.q))), np.zeros(state.points.shape)

    def _variation(self, law):
        return np.log(law.weights / self.q)


@pytest.mark.parametrize("scheme", [mf.Mirror(), mf.Explicit(), mf.JKO(), mf.RK4()])
def test_relative_entropy_of_weights_mixes_geometrically(scheme):
    """F2: w_t is proportional to w_0^s q^(1 - s), s = exp(-t); mirror steps have s = (1 - tau)^n."""
    law, q = cloud(6, 1), cloud(6, 1, seed=5).weights

    def mixed(share):
        masses = law.weights**share * q ** (1.0 - share)
        return masses / masses.sum()

    end = mf.solve(Relative(q), law, 1.0, 0.05, scheme=scheme, metric=FR).states[-1]
    if isinstance(scheme, mf.Mirror):
        assert_allclose(end.weights, mixed(0.95**20), rtol=1e-12)
    assert_allclose(end.weights, mixed(np.exp(-1.0)), rtol=1e-7 if isinstance(scheme, mf.RK4) else 0.05)


def test_weights_that_underflow_stay_positive():
    steep = e.Potential(lambda x: 400.0 * x[:, 0], lambda x: 400.0 + 0.0 * x)
    end = mf.solve(steep, mf.Particles([[0.0], [1.0], [2.0]]), 4.0, 0.5, scheme=mf.Mirror(), metric=FR).states[-1]
    assert end.weights.min() > 0.0 and end.weights[0] == pytest.approx(1.0, abs=1e-12)


# problems -----------------------------------------------------------------------------------------------------------


def test_gaussian_flow_has_its_known_limits():
    """Without reaction F3 is S1, without transport F2: the printed numbers of theory.md."""
    ou, pure = problems.get("S1").reference, problems.get("F2").reference
    moving = problems.get("F3", mean=1.5, variance=4.0, reaction=0.0).constants
    reacting = problems.get("F3", mean=3.0, variance=0.1, target_variance=2.0, transport=0.0, reaction=1.3, t=1.5).constants
    assert abs(moving["m(t)"] - ou["m(1)"].value) < 1e-9 and abs(moving["V(t)"] - ou["s^2(1)"].value) < 1e-8
    assert abs(reacting["m(t)"] - pure["m(1.5)"].value) < 1e-9 and abs(reacting["V(t)"] - pure["V(1.5)"].value) < 1e-9
    assert problems.get("F3", variance=1.0).constants["V(t)"] == 1.0


def test_gaussian_flow_solves_its_equations():
    a, b, s, h = 0.7, 1.9, 1.4, 1e-4
    given = {"mean": 1.2, "variance": 0.5, "target_variance": s, "transport": a, "reaction": b}
    flow = [problems.get("F3", t=t, **given).constants for t in (0.6 - h, 0.6, 0.6 + h)]
    m, v = ([constants[name] for constants in flow] for name in ("m(t)", "V(t)"))
    assert_allclose((m[2] - m[0]) / (2 * h), -m[1] * (a + b * v[1]) / s, rtol=1e-7)
    assert_allclose((v[2] - v[0]) / (2 * h), (2 * a + b * v[1]) * (1 - v[1] / s), rtol=1e-7)


@pytest.mark.parametrize("scheme", [mf.Splitting(reaction="implicit mirror"), mf.Splitting(reaction="mirror", symmetric=False)])
def test_splitting_of_histograms_follows_the_gaussian_flow(scheme):
    p = problems.get("F3", t=0.5)
    sols = [p.solve(tau, scheme) for tau in (0.1, 0.05)]
    errors = [abs(sol.states[-1].mean()[0] - p.constants["m(t)"]) for sol in sols]
    assert errors[1] < 0.02 and errors[0] / errors[1] > 1.6
    assert p.error(sols[1]) < 0.03
    assert all(np.all(np.diff(sol.energies) < 0.0) for sol in sols)
    assert all(abs(x.masses.sum() - 1.0) < 1e-12 and x.masses.min() >= 0.0 for x in sols[1].states)
    assert_allclose(sols[1].speeds[2:] ** 2, -np.diff(sols[1].energies)[1:] / 0.05, rtol=0.05)


def test_mass_goes_from_mode_to_mode_by_reaction_only():
    ends = [problems.get("8 WFR", reaction=b, t=48.0).solve(0.4, "rk4", save_at=10**6) for b in (0.0, 1.0)]
    assert ends[0].energies[-1] > 0.08
    assert np.array_equal(ends[0].states[-1].weights, [0.5, 0.5])
    assert ends[1].energies[-1] < 1e-9
    assert_allclose(ends[1].states[-1].weights, [0.2, 0.8], atol=1e-4)


# games and what schemes refuse --------------------------------------------------------------------------------------


def kernel_game(**changed):
    def k(x, y):
        return np.cos(x - y.T)

    return g.KernelGame(k, lambda x, y: -np.sin(x - y.T)[..., None], lambda x, y: np.sin(x - y.T)[..., None], **changed)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (mf.Explicit(), 1),
        (mf.Explicit("optimistic"), 1),
        (mf.JKO("alternating"), 1),
        (mf.JKO("implicit"), 1),
        (mf.Mirror("extragradient"), 1),
        (mf.Splitting(coupling="alternating"), 1),
        (mf.Splitting("vim", "rk2", coupling="symmetric"), 2),
        (mf.VIM("implicit"), 2),
    ],
)
def test_games_of_laws_with_weights(scheme, expected):
    start = cloud(4, 1, 1), cloud(3, 1, 2)
    t, taus = 0.4 if scheme.coupling == "implicit" else 1.0, [0.1, 0.05]
    reference = mf.solve(kernel_game(), start, t, 0.02, scheme="rk4", metric=WFR).states[-1]
    ends = [mf.solve(kernel_game(), start, t, tau, scheme=scheme, metric=WFR).states[-1] for tau in taus]
    errors = [sum(WFR.labelled_distance(x, y) for x, y in zip(end, reference, strict=True)) for end in ends]
    assert order(taus, errors) == pytest.approx(expected, abs=0.2)


def test_law_against_critic_by_splitting():
    features = g.FeatureCritic(lambda x: x, lambda x: np.ones((len(x), 1, 1)))
    game = g.GAN(mf.Particles([[2.0]]), critic=features, penalty=g.Ridge(1.0))
    sol = mf.solve(
        game, (cloud(4, 1), mf.Vector([0.0])), 12.0, 0.1, scheme=mf.Splitting(coupling="alternating"), metric=(WFR, None)
    )
    assert sol.states[-1][0].mean()[0] == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("scheme", [mf.Mirror(), mf.Splitting()])
def test_boxes_hold_the_points_of_mirror_and_splitting(scheme):
    pull = e.Potential(lambda x: -x[:, 0], lambda x: -np.ones(x.shape))
    sol = mf.solve(pull + e.Box(-1.0, 1.0), mf.Particles([[0.0], [0.5]]), 2.0, 0.1, scheme=scheme, metric=WFR)
    assert_allclose(sol.states[-1].points, 1.0, atol=1e-12)
    for other in ("explicit", "jko", "rk2"):
        with pytest.raises(mf.UnsupportedError, match="constraints such as Box are for the schemes Mirror and Splitting"):
            mf.solve(pull + e.Box(-1.0, 1.0), mf.Particles([[0.0], [0.5]]), 2.0, 0.1, scheme=other, metric=WFR)


HISTOGRAM = mf.Gaussian(0.0, 1.0).to_histogram(mf.Grid([(-5.0, 5.0)], 20))


@pytest.mark.parametrize(
    ("scheme", "state", "metric", "message"),
    [
        (mf.Splitting(reaction="implicit mirror"), cloud(), WFR, "reaction='implicit mirror' is for a Histogram"),
        (mf.Splitting(), mf.Quantiles([0.0, 1.0]), WFR, "Splitting is for Particles and Histogram in Wasserstein"),
        (mf.Explicit(), HISTOGRAM, WFR, "by the scheme Splitting for a Histogram"),
        (mf.JKO(), mf.Gaussian(0.0, 1.0), WFR, "flows in the Wasserstein-Fisher-Rao metric are for Particles"),
        (mf.Mirror(implicit=True), cloud(), FR, "or Particles with this metric or"),
        (mf.Langevin(0.1), cloud(), WFR, "noise moves points and leaves weights"),
    ],
)
def test_what_schemes_refuse(scheme, state, metric, message):
    with pytest.raises(mf.UnsupportedError, match=message):
        mf.solve(e.Quadratic(), state, 1.0, 0.5, scheme=scheme, metric=metric)


def test_automatic_steps_dense_output_and_files(tmp_path):
    sol = mf.solve(ENERGIES["mmd"], cloud(), 1.0, "auto", scheme=mf.Splitting("vim", "rk2"), metric=WFR, rtol=1e-4)
    exact = mf.solve(ENERGIES["mmd"], cloud(), 1.0, 0.01, scheme="rk4", metric=WFR)
    assert WFR.distance(sol.states[-1], exact.states[-1]) < 1e-4
    assert (
        WFR.distance(exact(0.505), mf.solve(ENERGIES["mmd"], cloud(), 0.505, 0.005, scheme="rk4", metric=WFR).states[-1]) < 1e-5
    )
    again = mf.load(sol.save(tmp_path / "run.npz"))
    assert np.array_equal(again.states[-1].weights, sol.states[-1].weights)
    assert repr(again(0.3).points.tobytes()) == repr(sol(0.3).points.tobytes())
    assert repr(mf.WassersteinFisherRao(2.0, 0.5)) == "WassersteinFisherRao(transport=2, reaction=0.5)"
