"""The Fisher-Rao metric, its steps, mirror descent, and games of mixed strategies (theory, 3.6, 9.3, 9.4 G13, G14)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import linprog, minimize
from strategies import histograms

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow import problems
from measureflow.problems.fisher_rao import natural_parameters, von_mises
from measureflow.proximal import Tolerance
from measureflow.proximal.fisher_rao import entropic_proximal

FR = mf.FisherRao()
CELLS = mf.Grid([(0.0, 6.0)], (6,))
THREE = mf.Grid([(0.0, 3.0)], (3,))
PAYOFF = np.array([[0.0, -1.0, 2.0], [1.0, 0.0, -1.0], [-1.5, 1.0, 0.0]])
PENNIES = g.MatrixGame([[1.0, -1.0], [-1.0, 1.0]])


def law(weights, grid=CELLS):
    weights = np.asarray(weights, dtype=float)
    return mf.Histogram(weights / weights.sum(), grid)


def random_law(seed):
    return law(np.random.default_rng(seed).random(6) + 0.05)


def order(taus, errors):
    return float(np.polyfit(np.log(taus), np.log(errors), 1)[0])


def quadratic_form(seed):
    m = np.random.default_rng(seed).normal(size=(6, 6))
    m = m @ m.T
    return e.Function(lambda p: 0.5 * p.masses @ m @ p.masses, lambda p: m @ p.masses)


# the metric ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(histograms(CELLS), histograms(CELLS), histograms(CELLS), st.floats(0.0, 1.0))
def test_distance_is_the_angle_of_square_roots(a, b, c, s):
    angle = np.arccos(min(np.sum(np.sqrt(a.masses * b.masses)), 1.0))
    assert_allclose(FR.distance(a, b), 2.0 * angle, atol=1e-7)
    assert FR.distance(a, b) == FR.distance(b, a)
    assert FR.distance(a, c) <= FR.distance(a, b) + FR.distance(b, c) + 1e-12
    between = FR.geodesic(a, b, s)
    assert_allclose([FR.distance(a, between), FR.distance(between, b)], FR.distance(a, b) * np.array([s, 1.0 - s]), atol=1e-12)
    assert abs(between.masses.sum() - 1.0) < 1e-12 and between.masses.min() >= 0.0


def test_distances_known_and_small():
    left, right = law([1, 0, 0, 0, 0, 0]), law([0, 1, 1, 0, 0, 0])
    assert_allclose(FR.distance(left, right), np.pi, rtol=1e-15)
    even = law(np.ones(6))
    near = even.replace(even.masses + 1e-9 * np.array([1.0, -1.0, 0.0, 0.0, 0.0, 0.0]))
    assert_allclose(FR.distance(even, near), np.sqrt(12.0) * 1e-9, rtol=1e-6)  # |dp|^2 / p
    assert mf.distance(even, near, FR) == FR.distance(even, near)


def test_particles_are_compared_at_the_same_points():
    points = [[0.0], [1.0]]
    a, b = mf.Particles(points, [0.9, 0.1]), mf.Particles(points, [0.4, 0.6])
    assert_allclose(FR.distance(a, b), 2.0 * np.arccos(0.6 + np.sqrt(0.06)), rtol=1e-12)
    with pytest.raises(mf.UnsupportedError, match="the same points"):
        FR.distance(a, mf.Particles([[0.0], [2.0]]))
    with pytest.raises(
        mf.UnsupportedError, match="flows in the Fisher-Rao metric are for Histogram and Particles, got Quantiles"
    ):
        FR.chart(mf.Quantiles([0.0, 1.0]))
    assert_allclose([FR.distance(a, FR.geodesic(a, b, 0.3)) / FR.distance(a, b)], 0.3, rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        (mf.Gaussian(0.0, 1.0), mf.Gaussian(0.0, 1.0), mf.UnsupportedError),
        (mf.Vector([1.0]), mf.Vector([2.0]), mf.UnsupportedError),
        (law(np.ones(6)), mf.Particles([[0.0]]), mf.UnsupportedError),
        (law(np.ones(6)), law(np.ones(3), THREE), ValueError),
        (law(np.ones(6)), law(np.ones(6), mf.Grid([(0.0, 1.0)], (6,))), ValueError),
    ],
)
def test_laws_that_cannot_be_compared(a, b, error):
    with pytest.raises(error):
        FR.distance(a, b)


# charts -------------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(histograms(CELLS), histograms(CELLS), st.integers(0, 10**6))
def test_exponential_and_logarithm_are_inverse(a, b, seed):
    b = law(np.where(a.masses > 0.0, b.masses, 0.0) + 0.01 * a.masses)
    chart = FR.chart(a)
    z = chart.log(b)
    assert_allclose(chart.norm(z), FR.distance(a, b), atol=1e-12)
    assert_allclose(chart.state(z).masses, b.masses, atol=1e-13)
    move = chart.project(0.3 * np.random.default_rng(seed).uniform(-1.0, 1.0, 6))
    assert_allclose(chart.log(chart.state(move)), move, atol=1e-10)


@pytest.mark.parametrize("size", [0.0, 1e-6, 5e-3, 0.05, 0.6])
def test_pull_is_the_gradient_in_the_chart(size):
    rng = np.random.default_rng(1)
    base, energy = law([0.1, 0.3, 0.0, 0.2, 0.3, 0.1]), quadratic_form(2) + 0.5 * e.Entropy()
    chart = FR.chart(base)
    z = chart.project(size * rng.normal(size=6))
    gradient, h = chart.pull(z, energy.gradient(chart.state(z))), 1e-5
    for _ in range(5):
        w = chart.project(rng.normal(size=6))
        slope = (energy.value(chart.state(z + h * w)) - energy.value(chart.state(z - h * w))) / (2.0 * h)
        assert_allclose(chart.inner(gradient, w), slope, rtol=1e-7, atol=1e-9)


def test_slope_is_the_deviation_of_the_first_variation():
    base, phi = random_law(0), np.arange(6.0) ** 2
    expected = np.sqrt(base.masses @ (phi - base.masses @ phi) ** 2)
    assert_allclose(FR.slope(base, phi), expected, rtol=1e-14)


def test_small_masses_keep_their_relative_accuracy():
    base = law([1.0, 1e-40, 1e-200, 1e-300, 0.5, 0.0])
    phi = np.array([1.0, 0.3, -0.4, 0.2, -2.0, 7.0])
    tau, chart = 0.3, FR.chart(base)
    z = -tau * chart.pull(chart.origin, phi)
    r = chart.norm(z)
    factor = np.cos(r / 2.0) + np.sin(r / 2.0) / r * z
    moved = chart.state(z).masses
    assert_allclose(moved[:5], (base.masses * factor**2)[:5], rtol=1e-12)
    assert moved[5] == 0.0


def test_steps_that_are_too_long_have_no_state():
    chart = FR.chart(law([0.5, 0.5, 0.0, 0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="must leave all masses nonnegative"):
        chart.state(np.array([2.5, -2.5, 0.0, 0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="longer than pi"):
        chart.state(np.array([3.5, -3.5, 0.0, 0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="longer than pi"):
        chart.state(np.full(6, np.inf))
    with pytest.raises(ValueError, match="no mass where the base"):
        chart.log(law(np.ones(6)))


def test_a_law_on_one_cell_stays():
    vertex = law([0, 0, 1, 0, 0, 0])
    sol = mf.solve(e.CellPotential(np.arange(6.0)), vertex, 1.0, 0.25, scheme="explicit", metric=FR)
    assert np.array_equal(sol.states[-1].masses, vertex.masses) and sol.slopes[-1] == 0.0


# flows and steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["explicit", "jko", "mirror"])
@pytest.mark.parametrize("seed", range(3))
def test_flows_keep_mass_sign_and_empty_cells(scheme, seed):
    p = law(np.where(np.arange(6) == seed, 0.0, random_law(seed).masses))
    energy = quadratic_form(seed) + e.Entropy(0.3)
    sol = mf.solve(energy, p, 2.0, 0.1, scheme=scheme, metric=FR)
    masses = np.array([x.masses for x in sol.states])
    assert np.abs(masses.sum(axis=1) - 1.0).max() < 1e-12
    assert np.all(masses[:, seed] == 0.0) and masses.min() >= 0.0 and np.delete(masses, seed, 1).min() > 0.0
    assert np.all(np.diff(sol.energies) < 1e-12)
    assert np.all(np.isfinite(sol.slopes))
    moved = [FR.distance(a, b) for a, b in zip(sol.states[:-1], sol.states[1:], strict=True)]
    assert_allclose(sol.speeds[1:], np.array(moved) / 0.1, rtol=1e-6)


def test_explicit_steps_out_of_the_simplex_are_halved():
    p0, costs = law([0.5, 0.3, 0.2], THREE), [0.0, 1.0, 8.0]
    sol = mf.solve(e.CellPotential(costs), p0, 1.0, 1.0, scheme="explicit", metric=FR)
    assert sol.status == "done" and sol.info["rejected"] > 0
    assert sol.states[-1].masses.min() > 0.0


def brute_force(energy, x, tau, distance):
    """Minimise energy + distance / tau over log masses."""

    def phi(t):
        u = law(np.exp(t - t.max()))
        return energy.value(u) + distance(u) / tau

    found = minimize(phi, np.log(x.masses), method="BFGS", options={"gtol": 1e-10})
    return law(np.exp(found.x - found.x.max()))


def half_square(x):
    return lambda u: 0.5 * FR.distance(u, x) ** 2


def divergence(x):
    return lambda u: float(np.sum(u.masses * np.log(u.masses / x.masses)))


ENERGIES = {
    "linear": e.CellPotential([0.4, -1.0, 2.0, 0.0, 3.0, 1.0]),
    "potential": e.Potential(lambda x: np.sin(x[:, 0])),
    "KL": e.KL(random_law(7)),
    "entropy": 0.5 * e.Entropy(2.0) + e.Quadratic(0.1),
    "quadratic": quadratic_form(3),
    "mixed": quadratic_form(3) + 0.5 * e.KL(random_law(7)),
}


@pytest.mark.parametrize("tau", [0.01, 0.5, 2.0])
@pytest.mark.parametrize("kind", ENERGIES)
def test_steps_are_minimisers(kind, tau):
    x, energy = random_law(5), ENERGIES[kind]
    u = mf.proximal(energy, FR, x, tau)
    assert_allclose(u.masses, brute_force(energy, x, tau, half_square(x)).masses, atol=3e-7)
    step = entropic_proximal(energy, x, tau, Tolerance())
    assert step.residual <= 1e-10
    assert_allclose(step.state.masses, brute_force(energy, x, tau, divergence(x)).masses, atol=3e-7)
    assert step.distance == FR.distance(x, step.state)
    assert (step.residual == 0.0) == (kind not in ("quadratic", "mixed"))


@settings(max_examples=20, deadline=None)
@given(histograms(CELLS), st.integers(0, 10**6), st.floats(-6.0, 6.0))
def test_linear_steps_are_stationary_for_every_tau(x, seed, power):
    energy, tau = e.CellPotential(np.random.default_rng(seed).normal(size=6)), 10.0**power
    u = mf.proximal(energy, FR, x, tau)
    chart = FR.chart(x)
    gradient = chart.log(u) + tau * chart.pull(chart.log(u), energy.gradient(u))
    assert chart.norm(gradient) < 1e-9 * max(1.0, tau)
    assert energy.value(u) + FR.distance(x, u) ** 2 / (2.0 * tau) <= energy.value(x) + 1e-12


@pytest.mark.parametrize("scheme", [mf.JKO(), mf.Explicit(), mf.Mirror(), mf.Mirror(implicit=True)], ids=repr)
def test_no_energy_is_the_identity(scheme):
    for x in (random_law(3), law([1.0, 0.0, 1e-30, 0.5, 0.0, 0.2])):
        for energy in (0.0 * e.Entropy(), e.CellPotential(np.zeros(6)), e.Function(lambda p: 0.0, lambda p: np.zeros(6))):
            sol = mf.solve(energy, x, 1.0, 0.5, scheme=scheme, metric=FR)
            assert_allclose(sol.states[-1].masses, x.masses, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("kind", ENERGIES)
def test_mirror_and_distance_steps_agree_to_second_order_only(kind):
    """Pitfall 18: KL(u | p) is d^2/2 up to the third order, so that steps differ by O(tau^2)."""
    x, energy, taus = random_law(5), ENERGIES[kind], np.array([0.02, 0.014, 0.01, 0.007])
    apart = [FR.distance(mf.proximal(energy, FR, x, tau), entropic_proximal(energy, x, tau, Tolerance()).state) for tau in taus]
    assert abs(order(taus, apart) - 2.0) < 0.1


@pytest.mark.parametrize("label", ["F1", "F4"])
@pytest.mark.parametrize("scheme", ["jko", "explicit", "mirror", "implicit mirror"])
def test_flows_of_one_player_are_of_first_order(label, scheme):
    p = problems.get(label)
    taus = p.t_span[1] / np.array([16, 24, 36, 54])
    errors = [p.error(p.solve(tau, scheme, save_at=10**6)) for tau in taus]
    if label == "F1" and "mirror" in scheme:
        assert max(errors) < 1e-13
    else:
        assert abs(order(taus, errors) - 1.0) < 0.05


@pytest.mark.parametrize("scheme", ["mirror", "implicit mirror"])
def test_relative_entropy_flow_is_of_first_order(scheme):
    p = problems.get("F2", variance=0.5)
    taus = p.t_span[1] / np.array([32, 48, 72, 108])
    assert abs(order(taus, [p.error(p.solve(tau, scheme, save_at=10**6)) for tau in taus]) - 1.0) < 0.05


def test_dense_output_and_step_doubling_follow_great_circles():
    p = problems.get("F4")
    sol = p.solve("auto", rtol=1e-2)
    assert p.error(sol) < 2e-2
    assert FR.distance(sol(0.5), p.exact(0.5)) < 2e-2


# mirror descent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "initial", "metric", "got"),
    [
        (e.Quadratic(), mf.Vector(1.0), None, "Vector"),
        (e.Quadratic(), random_law(0), None, "Wasserstein"),
        (e.Quadratic(), mf.Quantiles([0.0, 1.0]), None, "Quantiles"),
        (g.ModeWeights(random_law(0)), (random_law(1), mf.Vector(np.zeros(6))), (FR, None), "Vector with Euclidean"),
    ],
)
def test_mirror_needs_histograms_and_fisher_rao(problem, initial, metric, got):
    with pytest.raises(mf.UnsupportedError, match=f"Mirror is for players that are a Histogram .* {got}"):
        mf.solve(problem, initial, 1.0, 0.5, scheme="mirror", metric=metric)


def test_boxes_cannot_hold_histograms():
    for scheme in (mf.Mirror(), mf.Mirror(implicit=True), mf.JKO()):
        with pytest.raises(mf.UnsupportedError, match="bound a Histogram by its grid"):
            mf.solve(e.Box(-1.0, 2.0) + e.Entropy(), random_law(0), 1.0, 0.5, scheme=scheme, metric=FR)


def test_unsolved_mirror_steps_are_not_returned():
    with pytest.raises(mf.ConvergenceError, match="did not reach its tolerance"):
        entropic_proximal(1e4 * quadratic_form(0), random_law(0), 10.0, Tolerance(1e-14, 1))
    with pytest.raises(ValueError, match="tau must be smaller for this concave energy"):
        entropic_proximal(-1.0 * e.Entropy(), random_law(0), 2.0, Tolerance())


def test_schemes_show_their_options():
    assert repr(mf.Mirror("alternating", (1, 2))) == "Mirror(coupling='alternating', inner_steps=(1, 2))"
    assert repr(mf.Mirror(implicit=True)) == "Mirror(coupling='simultaneous', implicit=True)"
    assert repr(FR) == "FisherRao()"


# matrix games -------------------------------------------------------------------------------------------------------


def mixed(*pairs):
    return tuple(law(w, THREE) for w in pairs)


def test_matrix_game_is_its_bilinear_form():
    game, (p, q) = g.MatrixGame(PAYOFF), mixed([0.2, 0.3, 0.5], [0.6, 0.1, 0.3])
    assert_allclose(game.energy(0, (p, q)).value(p), p.masses @ PAYOFF @ q.masses, rtol=1e-14)
    assert_allclose(game.energy(1, (p, q)).value(q), -p.masses @ PAYOFF @ q.masses, rtol=1e-14)
    assert game.zero_sum
    for player, own in enumerate((p, q)):
        energy = game.energy(player, (p, q))
        assert mf.check_gradient(energy, own) == 2.0
        best = game.best_response(player, (p, q))
        assert best.masses.max() == 1.0 and energy.value(best) == energy.gradient(own).min()


def test_equaliser_is_the_mixed_nash_point():
    p, q = g.MatrixGame(PAYOFF).equaliser()
    assert_allclose(p @ PAYOFF, (p @ PAYOFF @ q) * np.ones(3), atol=1e-14)
    assert_allclose(PAYOFF @ q, (p @ PAYOFF @ q) * np.ones(3), atol=1e-14)
    assert g.MatrixGame([[1.0, 2.0], [3.0, 5.0]]).equaliser() is None
    assert g.MatrixGame(np.zeros((2, 3))).equaliser() is not None
    dominated = g.MatrixGame([[1.0, 2.0], [3.0, 5.0]])
    assert dominated.invariants((FR, FR), (1.0, 1.0)) == {}
    assert PENNIES.invariants((mf.Wasserstein(), FR), (1.0, 1.0)) == {}


def test_matrix_games_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"initial\[1\] must be a Histogram of 3 cells"):
        mf.solve(g.MatrixGame(PAYOFF), (law(np.ones(3), THREE), law(np.ones(6))), 1.0, 0.5, metric=FR)
    with pytest.raises(TypeError, match=r"initial\[0\] must be a Histogram"):
        mf.solve(g.MatrixGame(PAYOFF), (mf.Vector(np.ones(3)), law(np.ones(3), THREE)), 1.0, 0.5, metric=FR)


def test_simultaneous_mirror_steps_raise_the_divergence_by_log_z():
    """G14: KL(p* | p) + KL(q* | q) grows by exactly log Z_p + log Z_q >= 0."""
    game, tau, start = g.MatrixGame(PAYOFF), 0.3, mixed([0.2, 0.3, 0.5], [0.6, 0.1, 0.3])
    sol = mf.solve(game, start, 6.0, tau, scheme="mirror", metric=FR)
    total = game.invariants((FR, FR), (1.0, 1.0))["KL to the mixed Nash point"]
    for (p, q), after in zip(sol.states[:-1], sol.states[1:], strict=True):
        value = p.masses @ PAYOFF @ q.masses
        z_p = np.sum(p.masses * np.exp(-tau * (PAYOFF @ q.masses - value)))
        z_q = np.sum(q.masses * np.exp(tau * (p.masses @ PAYOFF - value)))
        assert_allclose(total(after) - total((p, q)), np.log(z_p) + np.log(z_q), atol=1e-13)
        assert z_p >= 1.0 and z_q >= 1.0


@pytest.mark.parametrize(("scheme", "power"), [("mirror simultaneous", 1.0), ("jko", 1.0), ("rk4", 4.0)])
def test_divergence_drifts_with_the_order_of_the_scheme(scheme, power):
    p = problems.get("G14", t=3.0)
    (total,) = p.invariants.values()
    taus = 3.0 / np.array([12, 18, 27, 40])
    drift = [abs(total(p.solve(tau, scheme, save_at=10**6).states[-1]) - total(p.initial)) for tau in taus]
    assert abs(order(taus, drift) - power) < 0.12 * power


def test_alternating_mirror_steps_circle_the_nash_point():
    p = problems.get("G14", t=40.0)
    (total,) = p.invariants.values()
    found = {name: [total(x) for x in p.solve(0.2, f"mirror {name}").states] for name in ("alternating", "simultaneous")}
    assert np.ptp(found["alternating"]) < 0.02 and found["simultaneous"][-1] > 3.0 * found["simultaneous"][0]


def test_divergences_are_weighted_by_speeds():
    game, start, speeds = g.MatrixGame(PAYOFF), mixed([0.2, 0.3, 0.5], [0.6, 0.1, 0.3]), (0.5, 2.0)
    sol = mf.solve(game, start, 3.0, 0.05, scheme="rk4", metric=FR, speeds=speeds)
    (total,) = game.invariants((FR, FR), speeds).values()
    assert np.ptp([total(states) for states in sol.states]) < 1e-6


def test_optimistic_mirror_steps_find_the_value_of_a_game():
    """The value and the pure strategies that are used agree with those of the linear programme."""
    a = np.random.default_rng(7).normal(size=(4, 5))
    ones = np.ones((5, 1))
    lp = linprog(
        [0.0] * 4 + [1.0],
        A_ub=np.hstack([a.T, -ones]),
        b_ub=np.zeros(5),
        A_eq=[[1.0] * 4 + [0.0]],
        b_eq=[1.0],
        bounds=[(0.0, None)] * 4 + [(None, None)],
    )
    start = tuple(law(np.ones(n), mf.Grid([(0.0, 1.0)], (n,))) for n in (4, 5))
    p, q = mf.solve(g.MatrixGame(a), start, 250.0, 0.5, scheme=mf.Mirror("optimistic"), metric=FR, save_at=500).states[-1]
    assert_allclose(p.masses @ a @ q.masses, lp.fun, atol=1e-3)
    assert_allclose([(p.masses @ a).max(), (a @ q.masses).min()], lp.fun, atol=6e-3)
    assert np.array_equal(p.masses > 1e-3, lp.x[:4] > 1e-3)


def spectrum(problem, step=False, scheme="explicit"):
    """Return the eigenvalues of the flow, or the multipliers of a step, at the initial states, which are an equilibrium."""
    found = problem.solve(0.1, scheme, t=0.1).linearisation(step=step)
    assert found.residual < 1e-10
    return np.sort_complex(np.round(found.eigenvalues, 9))


def test_rock_paper_scissors_turns_with_its_frequency():
    """G14: eigenvalues +- i/sqrt(3) at the centre; simultaneous mirror steps multiply by 1 +- i tau/sqrt(3)."""
    p = problems.get("G14", first=np.full(3, 1.0 / 3.0), second=np.full(3, 1.0 / 3.0))
    waves = 1j * p.constants["frequency"] * np.array([-1.0, -1.0, 1.0, 1.0])
    assert_allclose(spectrum(p), waves, atol=1e-8)
    assert_allclose(spectrum(p, True, "mirror simultaneous"), 1.0 + 0.1 * waves, atol=1e-8)
    angle = 2.0 * np.arcsin(0.05 * p.constants["frequency"])
    assert_allclose(np.abs(np.angle(spectrum(p, True, "mirror alternating"))), angle, atol=1e-7)


def gap_of_averages(sol):
    p, q = (np.mean([states[k].masses for states in sol.states[:-1]], axis=0) for k in (0, 1))
    return float((p @ PAYOFF).max() - (PAYOFF @ q).min())


def test_averages_approach_the_nash_point_faster_by_alternating():
    """5.3 (Lascu et al.): the gap of averages is O(N^(-1/2)) for simultaneous steps of that size, less for alternating ones."""
    start = mixed([0.5, 0.3, 0.2], [0.2, 0.2, 0.6])
    spread = sum(np.log(1.0 / law.masses.min()) for law in start)
    for n in (64, 256):
        tau = 2.0 / np.sqrt(n)
        flows = [
            mf.solve(g.MatrixGame(PAYOFF), start, n * tau, tau, scheme=mf.Mirror(coupling), metric=FR)
            for coupling in ("simultaneous", "alternating")
        ]
        gaps = [gap_of_averages(sol) for sol in flows]
        assert 0.0 < gaps[0] <= spread / (n * tau) + tau * np.ptp(PAYOFF) ** 2 / 4.0  # Hoeffding's regret bound
        assert 0.0 < gaps[1] < 0.8 * gaps[0]


# the circle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 0.4])
@pytest.mark.parametrize("scheme", ["mirror simultaneous", "mirror alternating", "implicit mirror"])
def test_mirror_steps_are_euler_steps_in_natural_parameters(scheme, temperature):
    p = problems.get("G14", kind="torus", temperature=temperature)
    sol = p.solve(0.2, scheme, t=2.0)
    for before, after in zip(sol.states[:-1], sol.states[1:], strict=True):
        assert p.distance(after, p.exact_step[scheme](before, 0.2)) < 1e-12
        assert (
            np.abs(np.log(after[0].masses) - np.log(von_mises(natural_parameters(after[0]), after[0].grid).masses)).max() < 1e-11
        )


@pytest.mark.parametrize("scheme", ["mirror simultaneous", "mirror alternating", "implicit mirror", "jko", "explicit"])
def test_circle_game_is_of_first_order(scheme):
    p = problems.get("G14", kind="torus", temperature=0.3, n=32, t=1.0)
    taus = 1.0 / np.array([12, 18, 27, 40])
    assert abs(order(taus, [p.error(p.solve(tau, scheme, save_at=10**6)) for tau in taus]) - 1.0) < 0.05


def test_circle_game_conserves_its_bessel_sum():
    p = problems.get("G14", kind="torus", n=64)
    (total,) = p.invariants.values()
    taus = 3.0 / np.array([12, 18, 27, 40])
    drift = [abs(total(p.solve(tau, "rk4", save_at=10**6).states[-1]) - total(p.initial)) for tau in taus]
    assert abs(order(taus, drift) - 4.0) < 0.4 and drift[-1] < 1e-6


def test_entropy_damps_the_circle_game():
    """G14, T > 0: eigenvalues -T +- i/2 at the uniform laws, and KL to them decays at least like e^(-Tt)."""
    centre = problems.get("G14", kind="torus", temperature=0.3, first=(0.0, 0.0), second=(0.0, 0.0), n=16)
    found = spectrum(centre)
    assert_allclose(found.real, -0.3, atol=1e-8)
    assert_allclose(np.sort(found.imag), [-0.5] * 2 + [0.0] * 26 + [0.5] * 2, atol=1e-8)
    p = problems.get("G14", kind="torus", temperature=0.3, first=(1e-4, 0.0), second=(0.0, 0.0), n=32, t=8.0)
    times = np.linspace(0.0, 8.0, 9)
    k = np.array([np.concatenate([natural_parameters(x) for x in p.exact(t)]) for t in times])
    decay = np.exp(-0.3 * times)
    assert_allclose(k[:, 0], 1e-4 * decay * np.cos(times / 2.0), atol=1e-10)
    assert_allclose(k[:, 2], 1e-4 * decay * np.sin(times / 2.0), atol=1e-10)
    far = problems.get("G14", kind="torus", temperature=0.3, first=(3.0, 0.0), n=64)
    even = law(np.ones(64), far.initial[0].grid)
    sums = [sum(e.KL(x).value(even) for x in far.exact(t)) for t in (0.0, 1.0, 2.0, 3.0)]
    assert np.all(np.array(sums[1:]) <= np.exp(-0.3) * np.array(sums[:-1]))


# mode weights -------------------------------------------------------------------------------------------------------


def test_mode_weights_energies():
    q = law([1.0, 2.0, 3.0, 1.0, 1.0, 1.0])
    game, p, critic = g.ModeWeights(q, 0.7), random_law(1), mf.Vector(np.random.default_rng(0).normal(size=6))
    value = critic.values @ (p.masses - q.masses) - 0.35 * critic.values @ critic.values
    assert_allclose(game.energy(0, (p, critic)).value(p), value, rtol=1e-13)
    assert_allclose(game.energy(1, (p, critic)).value(critic), -value, rtol=1e-13)
    assert mf.check_gradient(game.energy(1, (p, critic)), critic) == pytest.approx(2.0, abs=0.05)
    best = game.best_response(1, (p, critic))
    assert_allclose(game.energy(1, (p, critic)).gradient(best), 0.0, atol=1e-15)
    assert game.best_response(0, (p, critic)).masses[np.argmin(critic.values)] == 1.0
    assert g.ModeWeights(q).best_response(1, (p, critic)) is None
    assert game.invariants((FR, mf.Euclidean()), (1.0, 1.0)) == {}


def test_mode_weights_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"initial\[1\] must be a Vector of 6 numbers"):
        mf.solve(g.ModeWeights(random_law(0)), (random_law(1), mf.Vector([1.0])), 1.0, 0.5, metric=(FR, None))
    with pytest.raises(ValueError, match="target must be a Histogram on a 1-D grid"):
        g.ModeWeights(mf.Histogram(np.full((2, 2), 0.25), mf.Grid([(0.0, 1.0)] * 2, (2, 2))))


@pytest.mark.parametrize("eta", [1.0, 3.0])
def test_mode_weights_conserve_their_energy(eta):
    p = problems.get("G13", eta=eta)
    (total,) = p.invariants.values()
    for scheme, power, steps in (("explicit simultaneous", 1.0, (50, 75, 112, 168)), ("rk4", 4.0, (18, 24, 32, 43))):
        taus = 5.0 / np.array(steps)
        drift = [abs(total(p.solve(tau, scheme, save_at=10**6).states[-1]) - total(p.initial)) for tau in taus]
        assert power - 0.1 < order(taus, drift) < (1.15 if power == 1.0 else 5.2)
    long = [total(x) for x in p.solve(0.1, "explicit alternating", t=20.0).states]
    assert np.ptp(long) < 0.02


@pytest.mark.parametrize(("eta", "beta"), [(1.0, 0.0), (4.0, 0.0), (2.0, 0.5), (4.0, 2.0)])
def test_mode_weights_eigenvalues(eta, beta):
    """M3: -eta beta/2 +- sqrt(eta^2 beta^2/4 - eta/k) for k - 1 differences; the critic's mean decays like e^(-eta beta t)."""
    k = 4
    p = problems.get("G13", eta=eta, beta=beta, start=np.full(k, 0.25))
    root = np.sqrt(complex((eta * beta) ** 2 / 4.0 - eta / k))
    first, second = -eta * beta / 2.0 + root, -eta * beta / 2.0 - root
    assert_allclose([p.constants["frequency"], p.constants["slowest decay"]], [root.imag, -max(first.real, second.real)])
    assert_allclose(spectrum(p), np.sort_complex([first] * 3 + [second] * 3 + [-eta * beta]), atol=1e-8)


def test_a_lost_mode_stays_lost():
    p = problems.get("G13", start=(0.5, 0.3, 0.2, 0.0))
    for scheme in ("explicit alternating", "jko", "rk4"):
        assert all(states[0].masses[3] == 0.0 for states in p.solve(0.2, scheme).states)


# problems -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: problems.get("F1", costs=[[1.0]]), "costs must be a 1-D array"),
        (lambda: problems.get("F2", variance=0.0), "variance must be a finite number > 0"),
        (lambda: problems.get("F4", start=[0.5, 0.6]), "masses must sum to 1"),
        (lambda: problems.get("G13", beta=-1.0), "beta must be a finite number >= 0"),
        (lambda: problems.get("G14", kind="poker"), "kind must be one of"),
        (lambda: problems.get("G14", kind="torus", temperature=-1.0), "temperature must be"),
        (lambda: problems.get("G14", kind="torus", first=[1.0]), "first must have shape"),
    ],
)
def test_bad_parameters_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize(
    ("label", "parameters"), [("F1", {}), ("F2", {"n": 40}), ("F4", {}), ("G13", {}), ("G14", {"kind": "torus"})]
)
def test_stored_runs_resume_without_the_problem(tmp_path, label, parameters):
    p = problems.get(label, **parameters)
    sol = p.solve(0.5, t=1.0, store=tmp_path)
    again = mf.resume(tmp_path)
    assert np.array_equal(again.energies, sol.energies)
