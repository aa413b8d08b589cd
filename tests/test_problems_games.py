"""Mode collapse and coupled flows: exact flows and steps, thresholds from both sides, orders, printed numbers of theory.md."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import measureflow as mf
from measureflow import games as g
from measureflow import problems
from measureflow.problems import distance_between
from measureflow.problems.modes import (
    hopping_field,
    packed_jensen_shannon,
    packed_total_variation,
    ring_field,
    wrapped_cauchy,
)

CLOUD = mf.Particles(np.random.default_rng(4).normal(size=(6, 2)))
OTHER = mf.Particles(np.random.default_rng(5).normal(size=(6, 2)) + 2.0)
QUANTILES = mf.Quantiles(np.linspace(-1.0, 1.0, 9) ** 3)

VARIANTS = [
    ("G17", {"eta": 2.0, "beta": 1.0}),
    ("M2", {"beta": 0.0}),
    ("M2", {"eta": 2.0, "beta": 0.9, "modes": 3, "start": (0.2j, -0.5)}),
    ("D9", {"eps": 0.3, "beta": 0.5}),
    ("D9", {"eps": 0.0, "beta": 0.5}),
    ("G18", {"c": -3.0, "start": (0.2, -1.0)}),
    ("G21", {"cooperative": False}),
    ("G21", {"kind": "gaussian"}),
    ("G21", {"kind": "gaussian", "cooperative": False}),
    ("G22", {"own": (-0.5, 2.0), "coupling": (0.0, 3.0)}),
    ("G23", {"symmetric": True}),
    ("G24", {"own": 0.3, "coupling": 4.0}),
]


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant[0] + "".join(f"-{v}" for v in variant[1].values()))
def variant(request):
    label, parameters = request.param
    return problems.get(label, **parameters)


def rates(steps, errors):
    """Return the orders between neighbouring step sizes."""
    return np.diff(np.log(errors)) / np.diff(np.log(steps))


def jacobian(field, z, h=1e-6):
    return np.array([(np.array(field(z + h * e)) - np.array(field(z - h * e))) / (2.0 * h) for e in np.eye(len(z))]).T


# all of them ------------------------------------------------------------------------------------------------------


def test_exact_flows_begin_at_the_initial_state_with_the_velocity_of_the_game(variant):
    assert distance_between(variant.exact(0.0), variant.initial) < 1e-12
    t, gaps = 0.4 * variant.t_span[1], []
    here = variant.exact(t)
    for h in (2e-3, 1e-3):
        sol = mf.solve(variant.problem, here, (t, t + h), h, scheme="explicit", speeds=variant.speeds)
        gaps.append(distance_between(sol.states[-1], variant.exact(t + h)))
    assert gaps[1] < 1e-11 or abs(rates([2e-3, 1e-3], gaps)[0] - 2.0) < 0.1


def test_computed_steps_are_the_exact_ones(variant):
    for scheme, step in variant.exact_step.items():
        sol = variant.solve(0.05, scheme, t=0.15)
        for old, new, residual in zip(sol.states[:-1], sol.states[1:], sol.info["residual"][1:], strict=True):
            assert distance_between(new, step(old, 0.05)) <= 1e-10 + 2.0 * float(np.max(residual)), scheme


def test_exact_flows_conserve_their_invariants(variant):
    for name, invariant in variant.invariants.items():
        values = [invariant(variant.exact(t)) for t in np.linspace(*variant.t_span, 5)]
        assert np.ptp(values) < 1e-12, name


FIRST_ORDER = [("G17", "alternating"), ("M2", "simultaneous"), ("G22", "alternating"), ("D9", "jko")]


@pytest.mark.parametrize(("label", "scheme"), FIRST_ORDER)
def test_schemes_converge_with_order_one(label, scheme):
    p = problems.get(label, **({"eps": 0.0} if label == "D9" else {}), t=1.0)
    taus = 1.0 / np.array([30, 60, 120])
    errors = [p.error(p.solve(tau, scheme, save_at=10**6)) for tau in taus]
    assert np.all(np.abs(rates(taus, errors) - 1.0) < 0.06), errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: problems.get("G17", eta=0.0), "eta must be"),
        (lambda: problems.get("G17", start=(1.0, 0.0)), "start must have 3 entries"),
        (lambda: problems.get("M2", start=(1.0, 0.0)), r"the modulus of start\[0\] must be a finite number < 1"),
        (lambda: problems.get("M2", n=2), "n must be an integer >= 3"),
        (lambda: problems.get("D9", eps=-0.1), "eps must be"),
        (lambda: problems.get("D9", beta=0.0), "beta must be a finite number > 0"),
        (lambda: problems.get("G18", c=np.nan), "c must be"),
        (lambda: problems.get("G21", kind="field"), "kind must be one of"),
        (lambda: problems.get("G21", cooperative=1), "cooperative must be True or False"),
        (lambda: problems.get("G22", coupling=(1.0, -1.0)), r"coupling\[1\] must be a finite number >= 0"),
        (lambda: problems.get("G23", modes=0), "modes must be an integer >= 1"),
        (lambda: problems.get("G24", own=2.0, coupling=1.0), "coupling must be a finite number > 2"),
        (lambda: packed_total_variation(4, 5, 1), "j must be an integer >= 1 and <= 4"),
        (lambda: packed_jensen_shannon(4, 2, 0), "m must be an integer >= 1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


# G17: two modes ---------------------------------------------------------------------------------------------------


def fixed_point(beta, sign=1.0):
    theta = sign * np.sqrt(0.5)
    return np.array([theta, theta / beta, (theta**2 - 1.0) / beta])


@pytest.mark.parametrize("beta", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_hopping_has_a_hopf_bifurcation_at_beta_squared_eta_one(beta, sign):
    threshold = problems.get("G17", beta=beta).constants["largest eta without stable points"]
    z = fixed_point(beta, sign)
    assert_allclose(hopping_field(threshold, beta)(z), 0.0, atol=1e-14)
    growth = [np.linalg.eigvals(jacobian(hopping_field(s * threshold, beta), z)).real.max() for s in (0.98, 1.0, 1.02)]
    assert growth[0] > 1e-4 > abs(growth[1]) * 1e3 and growth[2] < -1e-4


@pytest.mark.parametrize(("factor", "stays"), [(0.6, False), (1.7, True)])
def test_hopping_is_stable_on_one_side_of_the_threshold(factor, stays):
    beta = 1.0
    z = fixed_point(beta)
    p = problems.get("G17", eta=factor / beta**2, beta=beta, start=tuple(z + [0.05, 0.0, 0.0]))
    sol = p.solve(0.04, "explicit alternating", t=25.0, save_at=[5.0, 25.0])
    rest = mf.Particles([[z[0]]]), mf.Vector(z[1:])
    early, late = (distance_between(states, rest) for states in sol.states)
    assert late < 0.5 * early if stays else late > 2.0 * early


def test_hopping_has_the_printed_averages():
    """Over [200, 400] without a ridge: .005, .9999, 68 changes of sign, from theta = .9, w = (.1, 0)."""
    p = problems.get("G17")
    z0 = [p.initial[0].points[0, 0], *p.initial[1].values]
    field = hopping_field(1.0, 0.0)
    flow = solve_ivp(lambda _, z: field(z), (0.0, 400.0), z0, method="DOP853", rtol=1e-9, atol=1e-10, dense_output=True)
    theta, w1, w2 = flow.sol(np.linspace(200.0, 400.0, 20001))
    # D10 with beta = 0: the averages of both features are increments of the critic
    averages = (w1[-1] - w1[0]) / 200.0, 1.0 + (w2[-1] - w2[0]) / 200.0
    assert_allclose(averages, [np.mean(theta), np.mean(theta**2)], atol=1e-4)
    assert abs(averages[0] - 0.005) < 5.1e-4 and abs(averages[1] - 0.9999) < 5.1e-5
    assert np.count_nonzero(np.sign(theta[1:]) != np.sign(theta[:-1])) == 68
    assert abs(averages[0] - p.constants["average of theta"]) < 0.01 > abs(averages[1] - p.constants["average of theta^2"])


@pytest.mark.parametrize(("label", "eta", "beta"), [("G17", 1.0, 0.0), ("G17", 2.0, 0.3), ("M2", 1.5, 0.4)])
@pytest.mark.parametrize("scheme", ["explicit simultaneous", "explicit alternating", "simultaneous", "alternating"])
def test_averaging_identity_is_exact_for_every_generator(label, eta, beta, scheme):
    """D10: features average to those of the target + (w_T - w_0)/(eta T) + beta mean(w), by a telescoping sum."""
    p = problems.get(label, eta=eta, beta=beta)
    tau, steps = 0.05, 60
    sol = p.solve(tau, scheme, t=tau * steps)
    weights = np.array([states[1].values for states in sol.states])
    features = np.array([p.problem.critic.features(states[0].points).mean(axis=0) for states in sol.states])
    features -= p.problem.critic.features(p.problem.target.points).mean(axis=0)
    seen = features[1:] if "alternating" in scheme else features[:-1]
    ridge = weights[:-1] if "explicit" in scheme else weights[1:]
    right = (weights[-1] - weights[0]) / (eta * tau * steps) + beta * ridge.mean(axis=0)
    assert_allclose(seen.mean(axis=0), right, atol=1e-13)


# M2: a law on the ring --------------------------------------------------------------------------------------------


def resultant(states):
    return complex(np.exp(1j * states[0].points[:, 0]).mean())


def critic(states):
    return complex(*states[1].values)


def test_wrapped_cauchy_laws_have_powers_as_moments():
    x = wrapped_cauchy(0.5 - 0.3j, 0.7, 2.0 * np.pi * np.arange(200) / 200)
    for k in (1, 2, 3):
        assert_allclose(np.exp(1j * k * x).mean(), (0.5 - 0.3j) ** k, atol=1e-14)


def test_the_law_stays_a_wrapped_cauchy_law_and_spreads_as_told():
    """d/dt log(1 - |Z|^2) = Re(conj(Z) P), on the atoms of the exact flow."""
    p = problems.get("M2", n=100)
    h = 1e-3
    for t in (0.5, 1.7, 2.9):
        before, here, after = (p.exact(time) for time in (t - h, t, t + h))
        z = resultant(here)
        assert_allclose(np.exp(2j * here[0].points[:, 0]).mean(), z**2, atol=1e-13)
        slope = np.diff([np.log(1.0 - abs(resultant(states)) ** 2) for states in (before, after)])[0] / (2.0 * h)
        assert_allclose(slope, (z.conjugate() * critic(here)).real, rtol=1e-5)


@pytest.mark.parametrize(("eta", "beta", "rate"), [(1.0, 0.6, 0.6), (2.0, 0.5, 1.0), (1.0, 1.4, 1.0 / 1.4), (6.0, 0.5, 2.0)])
def test_collapsed_laws_spread_at_the_rate_of_their_state(eta, beta, rate):
    """Along the rotating wave at eta beta, frozen at 1/beta: widths of exact laws near a point grow like exp(rate t)."""
    p = problems.get("G15", eta=eta, beta=beta)
    wave = critic(p.initial)
    collapsed = problems.get("M2", eta=eta, beta=beta, start=(1.0 - 1e-7, wave))
    assert_allclose([collapsed.constants["spreading rate"], abs(wave)], [rate, collapsed.constants["critic"]], rtol=1e-12)
    assert_allclose(collapsed.constants["speed"], p.constants["speed"], rtol=1e-12)
    widths = [np.diff(np.quantile(collapsed.exact(t)[0].points[:, 0], [0.25, 0.75]))[0] for t in (0.0, 3.0)]
    assert_allclose(np.log(widths[1] / widths[0]) / 3.0, rate, rtol=1e-4)


def test_a_computed_cluster_spreads_at_the_rate_of_the_wave():
    p = problems.get("G15", eta=2.0, beta=0.5)
    cluster = mf.Particles(1e-6 * np.linspace(-1.0, 1.0, 5)[:, None])
    start = cluster, p.initial[1]
    sol = mf.solve(p.problem, start, 2.0, 0.005, scheme=mf.Explicit("alternating"), speeds=p.speeds, save_at=400)
    grown = np.log(np.std(sol.states[-1][0].points) / np.std(cluster.points)) / 2.0
    assert_allclose(grown, problems.get("M2", eta=2.0, beta=0.5).constants["spreading rate"], rtol=0.01)


def test_without_a_ridge_the_cluster_stays_as_tight_as_it_is():
    p = problems.get("M2", beta=0.0, start=(1.0 - 1e-7, 1j))
    assert p.constants["spreading rate"] == 0.0
    widths = [np.diff(np.quantile(p.exact(t)[0].points[:, 0], [0.25, 0.75]))[0] for t in (0.0, 2.0, 5.0)]
    assert_allclose(widths, widths[0], rtol=1e-4)


@pytest.mark.parametrize(("eta", "beta"), [(1.0, 0.6), (3.0, 2.0), (2.0, 0.0)])
def test_eigenvalues_at_the_uniform_law(eta, beta):
    """-eta beta/2 +- sqrt(eta^2 beta^2/4 - eta/2), each twice, and 0 for turning the uniform law."""
    found = np.sort_complex(np.linalg.eigvals(jacobian(ring_field(eta, beta), np.zeros(5))))
    root = np.sqrt(complex(0.25 * eta**2 * beta**2 - 0.5 * eta))
    expected = [-0.5 * eta * beta + s * root for s in (1.0, 1.0, -1.0, -1.0)] + [0.0]
    assert_allclose(found, np.sort_complex(expected), atol=1e-7)
    constants = problems.get("M2", eta=eta, beta=beta).constants
    slowest = max(expected[:4], key=lambda value: value.real)
    assert_allclose(constants["decay at the uniform law"], -slowest.real, atol=1e-14)
    assert_allclose(constants["frequency at the uniform law"], abs(slowest.imag), atol=1e-14)


def test_a_law_cures_the_collapse_that_an_atom_keeps():
    """From the same wave, an atom runs around for ever; a law with the same ridge becomes uniform."""
    p = problems.get("M2", beta=0.6, start=(0.9, 1.0), t=60.0)
    assert abs(resultant(p.exact(60.0))) < 1e-3
    assert abs(resultant(problems.get("G15", beta=0.6).exact(60.0))) == 1.0


# D9: a fast critic ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [1.0, 0.6])
def test_a_fast_critic_is_followed_with_order_one_in_eps(beta):
    limit = problems.get("D9", eps=0.0, beta=beta)
    sizes = np.array([0.05, 0.025, 0.0125, 0.00625])
    times = np.linspace(0.2, 2.0, 7)
    errors = []
    for eps in sizes:
        p = problems.get("D9", eps=eps, beta=beta)
        errors.append(max(distance_between(p.exact(t)[0], limit.exact(t)) for t in times))
    assert np.all(np.abs(rates(sizes, errors) - problems.get("D9").constants["order in eps"]) < 0.02), errors


def test_the_limit_of_a_fast_critic_is_half_the_squared_discrepancy_over_beta():
    limit = problems.get("D9", eps=0.0, beta=0.5)
    law = limit.initial
    z = resultant((law,))
    assert_allclose(limit.problem.value(law), abs(z) ** 2 / (2.0 * 0.5), rtol=1e-13)
    p = problems.get("D9", eps=0.1, beta=0.5)
    assert_allclose(p.problem.energy(0, p.initial).value(law), limit.problem.value(law), rtol=1e-13)


def test_a_solver_follows_the_limit_up_to_eps_and_tau():
    p, limit = problems.get("D9", eps=0.01), problems.get("D9", eps=0.0)
    sol = p.solve(0.005, "alternating", t=1.0, save_at=200)
    assert distance_between(sol.states[-1][0], limit.exact(1.0)) < 0.02


# G18: a limit cycle -----------------------------------------------------------------------------------------------


def square_radius(states):
    return float(sum(state.values[0] ** 2 for state in states))


def test_the_double_well_cycle_has_the_printed_extremes():
    """c = 40: r^2 in 1.32778 .. 1.33890 after a long time, about 4/3, and one turn takes 2 pi/c."""
    state = problems.get("G18", c=40.0).exact(10.0)
    p = problems.get("G18", c=40.0, start=tuple(float(s.values[0]) for s in state))
    turn = 2.0 * np.pi / p.constants["limit of the frequency"]
    radii = [square_radius(p.exact(t)) for t in np.linspace(0.0, turn, 80)]
    assert_allclose([min(radii), max(radii)], [1.32778, 1.33890], rtol=0.0, atol=2e-5)
    assert abs(np.mean(radii[:-1]) - p.constants["limit of r^2"]) < 1e-4
    assert distance_between(p.exact(turn), p.exact(0.0)) < 5e-4


def test_the_cycle_tends_to_its_limit_for_large_couplings():
    widths = []
    for c in (10.0, 20.0, 40.0):
        state = problems.get("G18", c=c).exact(6.0)
        p = problems.get("G18", c=c, start=tuple(float(s.values[0]) for s in state))
        widths.append(np.ptp([square_radius(p.exact(t)) for t in np.linspace(0.0, 2.0 * np.pi / c, 40)]))
    assert np.all(np.abs(rates([10.0, 20.0, 40.0], widths) + 1.0) < 0.05)


@pytest.mark.parametrize("start", [(0.3, 0.0), (2.0, 1.0)])
def test_a_solver_is_drawn_to_the_cycle(start):
    p = problems.get("G18", c=10.0, start=start)
    sol = p.solve(0.005, "explicit alternating", t=4.0)
    radii = [square_radius(states) for states in sol.states[-126:]]
    assert abs(np.mean(radii) - p.constants["limit of r^2"]) < 0.03


# G21: two laws that feel their distance ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["quantiles", "gaussian"])
def test_laws_that_meet_lose_their_distance_by_the_exact_factor(kind):
    p = problems.get("G21", kind=kind)
    for scheme, factor in p.factors.items():
        sol = p.solve(0.1, scheme, t=0.8)
        gaps = [mf.distance(*states) for states in sol.states]
        assert_allclose(gaps, gaps[0] * factor(0.1) ** np.arange(9), rtol=1e-12)
    taus = 1.0 / np.array([10, 20, 40])
    errors = [p.error(p.solve(tau, "simultaneous")) for tau in taus]
    assert np.all(np.abs(rates(taus, errors) - 2.0) < 0.02)  # (1 - tau)/(1 + tau) is exp(-2 tau) to second order


@pytest.mark.parametrize("kind", ["quantiles", "gaussian"])
@pytest.mark.parametrize("scheme", ["implicit", "explicit simultaneous"])
def test_a_pursuit_keeps_its_distance_and_these_schemes_are_exact(kind, scheme):
    p = problems.get("G21", cooperative=False, kind=kind)
    sol = p.solve(0.1, scheme)
    assert p.error(sol) < 1e-10
    gaps = [mf.distance(*states) for states in sol.states]
    assert_allclose(gaps, gaps[0], rtol=1e-11)


def test_atoms_in_the_plane_meet_along_their_geodesic():
    game = g.Pursuit(cooperative=True)
    sol = mf.solve(game, (CLOUD, OTHER), 0.5, 0.1, scheme="explicit")
    gaps = [mf.distance(*states) for states in sol.states]
    assert_allclose(gaps, gaps[0] * 0.8 ** np.arange(6), rtol=1e-10)
    middle = mf.Wasserstein().geodesic(CLOUD, OTHER, 0.5)
    assert mf.distance(mf.Wasserstein().geodesic(*sol.states[-1], 0.5), middle) < 1e-10


def test_nobody_flees_by_a_minimizing_movement_of_size_one():
    laws = QUANTILES, mf.Quantiles(1.0 + 2.0 * QUANTILES.values)
    fled = mf.proximal(g.Pursuit().energy(1, laws), mf.Wasserstein(), laws[1], 0.5)
    assert_allclose(fled.values, (laws[1].values - 0.5 * laws[0].values) / 0.5, atol=1e-9)
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises((ValueError, mf.ConvergenceError)):
        mf.proximal(g.Pursuit().energy(1, laws), mf.Wasserstein(), laws[1], 5.0)


def test_pursuit_is_zero_sum_unless_cooperative():
    states = QUANTILES, mf.Quantiles(1.0 + 2.0 * QUANTILES.values)
    for cooperative, sign in ((False, -1.0), (True, 1.0)):
        game = g.Pursuit(cooperative)
        assert game.zero_sum is not cooperative
        first, second = (game.energy(k, states).value(states[k]) for k in range(2))
        assert_allclose(second, sign * first, rtol=1e-14)
        assert_allclose(first, 0.5 * mf.distance(*states) ** 2, rtol=1e-12)
        assert game.best_response(0, states) is states[1]
        assert game.best_response(1, states) is (states[0] if cooperative else None)


@pytest.mark.parametrize("cooperative", [True, False])
def test_pursuit_declares_a_centre_that_stays(cooperative):
    game, speeds = g.Pursuit(cooperative), (1.0, 3.0)
    (centre,) = game.invariants((mf.Wasserstein(),) * 2, speeds).values()
    for states in ((CLOUD, OTHER), (QUANTILES, mf.Quantiles(1.0 + 2.0 * QUANTILES.values))):
        sol = mf.solve(game, states, 0.2, 0.05, scheme="explicit", speeds=speeds)
        values = [centre(row) for row in sol.states]
        assert_allclose(values, values[0], rtol=1e-12)
    assert game.invariants((mf.Wasserstein(1), mf.Wasserstein(1)), speeds) == {}


@pytest.mark.parametrize(
    ("states", "kind", "message"),
    [
        ((QUANTILES, mf.Vector(1.0)), TypeError, r"initial\[1\] must be Particles, Quantiles or a Gaussian"),
        ((QUANTILES, mf.Gaussian(0.0, 1.0)), TypeError, r"initial\[1\] must be a law of the kind of initial\[0\], Quantiles"),
        ((QUANTILES, mf.Quantiles([0.0, 1.0])), ValueError, r"initial\[1\] must have the dimension"),
        ((CLOUD, mf.Particles([[0.0], [1.0]])), ValueError, r"initial\[1\] must have the dimension"),
    ],
)
def test_pursuit_refuses_laws_that_do_not_fit(states, kind, message):
    with pytest.raises(kind, match=message):
        mf.solve(g.Pursuit(), states, 1.0, 0.1)


# G22: the bound of D1 is sharp ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["simultaneous", "alternating", "implicit"])
def test_cooperative_orbits_part_as_fast_as_the_bound_allows(scheme):
    """(a, b)(t) = exp(tM) (a, b)(0) for the distances of two orbits; computed ones up to O(tau)."""
    p = problems.get("G22", start=(1.3, 0.9), t=2.0)
    other = problems.get("G22", start=(0.3, 0.5), t=2.0)
    matrix = np.array([[-1.0, 0.7], [1.2, -0.5]])
    for t in (0.5, 2.0):
        apart = [mf.distance(x, y) for x, y in zip(p.exact(t), other.exact(t), strict=True)]
        assert_allclose(apart, expm(t * matrix) @ [1.0, 0.4], rtol=1e-12)
    taus = 2.0 / np.array([20, 40])
    gaps = []
    for tau in taus:
        ends = [q.solve(tau, scheme).states[-1] for q in (p, other)]
        apart = [mf.distance(x, y) for x, y in zip(*ends, strict=True)]
        gaps.append(np.linalg.norm(apart - expm(2.0 * matrix) @ [1.0, 0.4]))
    assert np.all(np.abs(rates(taus, gaps) - 1.0) < 0.1)


def test_the_growth_rate_is_the_largest_eigenvalue_of_the_bound():
    p = problems.get("G22")
    assert_allclose(p.constants["growth rate"], np.linalg.eigvals([[-1.0, 0.7], [1.2, -0.5]]).real.max(), rtol=1e-13)
    sizes = [np.linalg.norm([s.values[0] for s in p.exact(t)]) for t in (20.0, 21.0)]
    assert_allclose(np.log(sizes[1] / sizes[0]), p.constants["growth rate"], atol=1e-12)


def test_quadratic_games_contain_the_zero_sum_ones():
    rng = np.random.default_rng(0)
    P, Q, C = np.diag([1.0, 2.0]), np.diag([0.5, 1.0, 3.0]), rng.normal(size=(2, 3))
    states = mf.Vector(rng.normal(size=2)), mf.Vector(rng.normal(size=3))
    game, other = g.QuadraticGame(P, C, Q, -C.T), g.LinearQuadratic(P, C, Q)
    for k in range(2):
        gradients = [each.energy(k, states).gradient(states[k]) for each in (game, other)]
        assert_allclose(*gradients, rtol=1e-14)
    bilinear, flat = g.QuadraticGame(0.0, C, 0.0, -C.T), (mf.Euclidean(),) * 2
    assert bilinear.zero_sum and not game.zero_sum
    assert bilinear.invariants(flat, (1.0, 2.0)).keys() == g.Bilinear(C).invariants(flat, (1.0, 2.0)).keys()
    assert game.invariants(flat, (1.0, 1.0)) == {}


def test_best_responses_of_quadratic_games_have_no_slope():
    game = g.QuadraticGame([[2.0, 0.5], [0.5, 1.0]], [[1.0], [-2.0]], 0.0, [[0.3, 0.4]])
    states = mf.Vector([1.0, 2.0]), mf.Vector(3.0)
    best = game.best_response(0, states)
    assert_allclose(game.energy(0, states).gradient(best), 0.0, atol=1e-14)
    assert game.best_response(1, states) is None  # linear in its own variable


def centre(state):
    return state.mean() if isinstance(state, mf.Particles) else state.mean


@pytest.mark.parametrize("laws", [(CLOUD, mf.Gaussian([1.0, 0.0], np.eye(2))), (mf.Vector([1.0, 2.0]), OTHER)])
def test_quadratic_games_act_on_laws_through_their_means(laws):
    game = g.QuadraticGame(0.5, np.eye(2), 1.0, [[0.0, 1.0], [2.0, 0.0]])
    for k in range(2):
        assert mf.check_gradient(game.energy(k, laws), laws[k]) > 1.9
    assert_allclose(game.best_response(0, laws).coordinates.reshape(-1, 2)[0], -2.0 * np.ravel(centre(laws[1])))


# G23: an unbounded coupling ---------------------------------------------------------------------------------------


def end_of(p, scheme, steps):
    state = p.initial
    for _ in range(steps):
        state = p.exact_step[scheme](state, 1.0 / steps)
    return state


def test_unbounded_couplings_cost_half_an_order():
    """D5: implicit steps 0.50, the symmetric flow with the same rates and data 0.96 to 1.00."""
    counts = np.array([10, 20, 40, 80, 160])
    for symmetric, scheme, lowest, highest in ((False, "implicit", 0.495, 0.51), (True, "jko", 0.96, 1.0)):
        p = problems.get("G23", modes=400, symmetric=symmetric)
        errors = [distance_between(end_of(p, scheme, n), p.exact(1.0)) for n in counts]
        found = rates(1.0 / counts, errors)
        assert lowest < found.min() and found.max() < highest, found


def test_a_solver_shows_the_lost_half_order():
    p = problems.get("G23", modes=24)
    counts = np.array([2, 4])
    errors = [p.error(p.solve(1.0 / n, "implicit", save_at=10**6)) for n in counts]
    exact = [distance_between(end_of(p, "implicit", n), p.exact(1.0)) for n in counts]
    assert_allclose(errors, exact, rtol=1e-8)
    assert np.all(rates(1.0 / counts, errors) < 0.65)


def test_smooth_data_have_order_one_in_spite_of_the_coupling():
    counts = np.array([40, 80, 160, 320])
    p = problems.get("G23", modes=400, decay=3.01)
    errors = [distance_between(end_of(p, "implicit", n), p.exact(1.0)) for n in counts]
    assert np.all(np.abs(rates(1.0 / counts, errors) - 1.0) < 0.05)


# G24: largest stable steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "coupling"), [(0.5, 2.0), (0.3, 4.0), (1.0, 1.2)])
@pytest.mark.parametrize("scheme", ["simultaneous", "explicit simultaneous", "alternating"])
def test_explicit_couplings_are_stable_up_to_their_threshold(own, coupling, scheme):
    p = problems.get("G24", own=own, coupling=coupling)
    largest = p.constants[f"largest stable {scheme} tau"]
    for share, grows in ((0.98, False), (1.02, True)):
        tau = share * largest
        sol = p.solve(tau, scheme, t=200 * tau, save_at=50)
        sizes = [np.hypot(*(s.values[0] for s in states)) for states in sol.states]
        assert (sizes[-1] > sizes[-2]) is np.True_ if grows else (sizes[-1] < sizes[-2]) is np.True_
        assert (abs(p.factors[scheme](tau)) > 1.0) == grows or scheme == "alternating"


def test_alternating_steps_have_the_modulus_of_their_own_part():
    """1/(1 + l tau) while c^2 tau^2 <= 4 (1 + l tau)."""
    p = problems.get("G24")
    last = p.constants["exact modulus of alternating up to tau"]
    assert_allclose(4.0 * last**2, 4.0 * (1.0 + 0.5 * last), rtol=1e-14)
    for tau in (0.3, 0.9 * last, last * (1.0 - 1e-9)):
        assert_allclose(abs(p.factors["alternating"](tau)), 1.0 / (1.0 + 0.5 * tau), rtol=1e-4)
    assert abs(p.factors["alternating"](1.1 * last)) != pytest.approx(1.0 / (1.0 + 0.55 * last), rel=1e-3)


@pytest.mark.parametrize("tau", [0.1, 1.0, 20.0])
def test_implicit_couplings_are_stable_for_all_steps(tau):
    p = problems.get("G24")
    sol = p.solve(tau, "implicit", t=5 * tau)
    sizes = [np.hypot(*(s.values[0] for s in states)) for states in sol.states]
    assert_allclose(np.array(sizes[1:]) / sizes[:-1], 1.0 / np.hypot(1.0 + 0.5 * tau, 2.0 * tau), rtol=1e-8)


# G25: packing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "j", "m"), [(4, 2, 3), (3, 1, 2), (5, 4, 2), (3, 3, 2), (2, 1, 6), (4, 3, 1)])
def test_packing_formulas_count_what_enumeration_counts(k, j, m):
    packs = list(product(range(k), repeat=m))
    p = np.full(len(packs), float(k) ** -m)
    q = np.array([float(j) ** -m if max(pack) < j else 0.0 for pack in packs])
    middle = 0.5 * (p + q)
    seen = q > 0.0
    shannon = 0.5 * np.sum(p * np.log(p / middle)) + 0.5 * np.sum(q[seen] * np.log(q[seen] / middle[seen]))
    assert_allclose(packed_total_variation(k, j, m), 0.5 * np.abs(p - q).sum(), atol=1e-15)
    assert_allclose(packed_jensen_shannon(k, j, m), shannon, atol=1e-15)


def test_packing_has_the_printed_numbers_and_tends_to_its_bounds():
    assert packed_total_variation(4, 2, 3) == 0.875
    assert abs(packed_jensen_shannon(4, 2, 3) - 0.4969291266) < 5.1e-11
    assert_allclose([packed_total_variation(4, 3, 300), packed_jensen_shannon(4, 3, 300)], [1.0, np.log(2.0)], rtol=1e-12)


@pytest.mark.parametrize("tau", [0.3, 1.5, 2.5])
def test_the_alternating_multiplier_is_the_leading_one(tau):
    own, c = 0.5, 2.0
    p = problems.get("G24", own=own, coupling=c)
    columns = []
    for x, y in ((1.0, 0.0), (0.0, 1.0)):
        start = (mf.Vector(x), mf.Vector(y))
        step = mf.solve(p.problem, start, tau, tau, scheme=mf.JKO("alternating")).states[-1]
        columns.append([float(z[0]) for z in step])
    leading = max(np.abs(np.linalg.eigvals(np.array(columns).T)))
    assert_allclose(abs(p.factors["alternating"](tau)), leading, rtol=1e-12)
