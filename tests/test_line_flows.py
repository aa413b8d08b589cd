"""Flows on the line with exact solutions: free ends, diffusion from a point, repulsion, collapse, moments, empirical laws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import betaincinv, ndtri, stdtrit

import measureflow as mf
from measureflow import energies as e
from measureflow import problems
from measureflow.energies.free_ends import gap_weights, profile
from measureflow.problems.free_boundary import grown
from measureflow.problems.repulsion import kept_as_atoms

W2 = mf.Wasserstein()


def levels(n):
    return (np.arange(n) + 0.5) / n


def order(sizes, errors):
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


# free ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 10, 501])
@pytest.mark.parametrize("m", [0.4, 0.5, 0.9, 1.0, 1.5, 2.0, 3.0, 20.0])
def test_gradient_at_a_self_similar_profile_is_proportional_to_it(m, n):
    """-lambda z exactly, for every number of levels; and the profile is the law that it says."""
    z, log_rate = profile(m, n)
    rate = np.exp(log_rate)
    energy = e.Entropy() if m == 1.0 else e.PowerEntropy(m)
    assert_allclose(energy.gradient(mf.Quantiles(z)), -rate * z, rtol=0.0, atol=1e-9 * rate * np.abs(z).max())
    if m > 1.0:
        expected = 2.0 * betaincinv(m / (m - 1.0), m / (m - 1.0), levels(n)) - 1.0
    else:
        expected = ndtri(levels(n)) if m == 1.0 else stdtrit((1.0 + m) / (1.0 - m), levels(n))
    assert_allclose(z, expected, rtol=0.0, atol=1e-12 * np.abs(z).max())


@pytest.mark.parametrize("m", [0.5, 1.0, 2.0, 3.0])
def test_weights_of_gaps_differ_from_1_at_the_ends_only(m):
    """In the middle by O(1/n) or less, at the ends by a few percent; they are symmetric."""
    middle = []
    for n in (100, 1000, 10000):
        w = gap_weights(m, n)
        assert w.shape == (n - 1,) and not w.flags.writeable
        assert_allclose(w, w[::-1], rtol=1e-7)
        assert np.abs(w - 1.0).max() < 0.15
        middle.append(abs(w[n // 2] - 1.0))
    rate = {0.5: -0.6, 1.0: -1.0, 2.0: -1.4, 3.0: -1.5}[m]
    assert order([100, 1000, 10000], middle) < rate
    assert gap_weights(m, 1).shape == (0,)


@pytest.mark.parametrize("m", [1e-6, 0.3, 0.34, 0.99, 1.0 - 1e-9, 1.0 + 1e-9, 1.01, 10.0, 1e5])
def test_weights_for_any_exponent(m):
    for n in (2, 3, 20, 1000):
        w = gap_weights(m, n)
        assert np.all((w > 0.5) & (w < 1.2))
        assert m > 1.0 / 3.0 or np.all(w == 1.0)


@pytest.mark.parametrize(("label", "parameters"), [("S4", {}), ("S4", {"m": 3.0}), ("S5", {}), ("S5", {"m": 0.8}), ("T7", {})])
@pytest.mark.parametrize("n", [2, 7, 1000])
def test_minimizing_movements_keep_the_family_at_every_resolution(label, parameters, n):
    p = problems.get(label, n=n, **parameters)
    tau, state = 0.1, p.initial
    sol = p.solve(tau, t=p.t_span[0] + 10 * tau)
    for _ in range(10):
        state = p.exact_step["jko"](state, tau)
    assert p.distance(sol.states[-1], state) < 1e-9


def test_20000_cells_of_a_porous_medium():
    """Twenty steps to 1e-8 of the exact iterate, the width r with r+ = r + tau beta r+^(-m)."""
    p = problems.get("S4", n=20000)
    law = p.initial
    for _ in range(20):
        law = p.exact_step["jko"](law, 0.05)
    assert p.distance(p.solve(0.05, save_at=20).states[-1], law) < 1e-9


def test_stationary_barenblatt():
    """The minimiser of int rho^2 + x^2/2 is a Barenblatt profile, at every resolution: lambda r^(-3) r z... = r z."""
    for n in (3, 200):
        z, log_rate = profile(2.0, n)
        law = mf.Quantiles(np.exp(log_rate / 3.0) * z)
        energy = e.PowerEntropy(2.0) + e.Quadratic()
        assert np.abs(energy.gradient(law)).max() < 1e-12
        assert_allclose(mf.proximal(energy, W2, law, 10.0).values, law.values, atol=1e-10)


@pytest.mark.parametrize(
    ("energy", "quantile", "least"),
    [
        (e.PowerEntropy(2.0), lambda s: 2.0 * s - 1.0, 1.3),
        (e.PowerEntropy(3.0), lambda s: s**2 + 0.3 * s, 1.4),
        (e.PowerEntropy(2.0) + e.Potential(lambda x: x[:, 0] ** 4 / 4.0, lambda x: x**3), lambda s: s**2 + 0.3 * s, 1.3),
        (e.Entropy(), lambda s: s**2 + 0.3 * s, 0.9),
        (e.Entropy(), lambda s: np.where(s < 0.5, np.log(2.0 * s), -np.log(2.0 - 2.0 * s)), 0.65),
    ],
    ids=["square", "skew m3", "skew m2 in a well", "skew heat", "laplace heat"],
)
def test_convergence_in_the_number_of_levels_for_other_laws(energy, quantile, least):
    """Against 27 times as many levels, whose middle ones are the same levels: order 3/2 with fronts, below 1 with tails."""

    def end(n):
        return mf.solve(energy, mf.Quantiles(quantile(levels(n))), 0.2, 0.05, save_at=4).states[-1].values

    fine, errors, sizes = end(30 * 81), [], [30, 90, 270]
    for n in sizes:
        step = 30 * 81 // n
        errors.append(np.sqrt(np.mean((end(n) - fine[(step - 1) // 2 :: step]) ** 2)))
    assert -order(sizes, errors) > least, errors


def test_exact_flows_of_barenblatt_are_solutions():
    """Moments and energies of theory, S4 and S5, by quadrature: they do not depend on the quantiles' weights."""
    p = problems.get("S4", n=200001)
    law = p.exact(2.0)
    assert_allclose(np.mean(law.values**2), 9.0 ** (2.0 / 3.0) / 5.0 * 2.0 ** (2.0 / 3.0), rtol=1e-6)
    assert_allclose(p.problem.value(law), 0.6 * 9.0 ** (-1.0 / 3.0) * 2.0 ** (-1.0 / 3.0), rtol=1e-6)
    heavy = problems.get("S5")
    assert_allclose(heavy.constants["M2(2)"], 14.73267421, rtol=1e-9)
    assert_allclose(heavy.constants["sigma"], 1.396025983, rtol=1e-9)
    tail = problems.get("S5", n=200001).exact(2.0).values
    assert_allclose(np.mean(tail**2), 14.73267421, rtol=0.02)  # the second moment converges like n^(-1/3)
    for m in (0.5, 2.0):
        q = grown(1.3, 0.2, m)
        assert_allclose(q**m * (q - 1.3), 0.2, rtol=1e-14)


def test_heat_from_a_point_is_of_order_one_half_uniformly():
    """T7: sup over time of the error is exactly proportional to sqrt(tau), at a fixed time almost of order 1."""
    p, taus = problems.get("T7", n=50), 1.0 / np.array([16, 32, 64, 128])
    sups, ends = [], []
    for tau in taus:
        sol = p.solve(tau)
        errors = [p.error(sol, row) for row in range(len(sol))]
        sups.append(max(errors))
        ends.append(errors[-1])
    assert abs(order(taus, sups) - 0.5) < 1e-6
    assert 0.8 < order(taus, ends) < 1.0


def test_rough_data_lower_the_order():
    """E5: uniformly in time, the orders 1/4, 1/2 and 1 of T3."""
    taus = 1.0 / np.array([64, 128, 256, 512])
    for roughness, observed in ((1.01, 0.255), (1.51, 0.505), (2.51, 0.97)):
        p = problems.get("E5", roughness=roughness, modes=150)
        sups = []
        for tau in taus:
            sol = p.solve(tau, t=12 * tau)
            sups.append(max(p.error(sol, row) for row in range(len(sol))))
        assert_allclose(order(taus, sups), observed, atol=0.04)
        assert_allclose(order(taus, sups), p.constants["order"], atol=0.06)


# repulsion and attraction ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_repulsion_is_exact_at_its_times(tau):
    p = problems.get("S7")
    sol = p.solve(tau)
    assert max(p.error(sol, row) for row in range(len(sol))) < 1e-10
    n = len(p.initial)
    assert_allclose(np.diff(sol.energies) / np.diff(sol.t), -(1.0 - 1.0 / n**2) / 3.0, rtol=1e-9)


def test_confined_repulsion_fills_an_interval():
    p = problems.get("S7", confined=True, t=12.0)
    end = p.solve(0.5).states[-1]
    assert_allclose(end.values, 2.0 * levels(len(end)) - 1.0, atol=0.01)
    taus = 1.0 / np.array([8, 16, 32, 64])
    errors = [p.error(p.solve(tau, t=1.0)) for tau in taus]
    assert abs(order(taus, errors) - 1.0) < 0.05


@pytest.mark.parametrize("n", [3, 8])
def test_atoms_that_should_split_miss_the_law(n):
    """S7: n atoms kept as atoms are t/(sqrt(3) n) from the law in W2."""
    x, t = np.sort(np.random.default_rng(n).normal(size=n)), 0.7
    moved = mf.solve(problems.get("S7").problem, mf.Particles(x[:, None]), t, 0.1, scheme="explicit").states[-1]
    atoms, law = kept_as_atoms(x, t)
    assert_allclose(moved.points, atoms.points, atol=1e-12)
    assert_allclose(mf.distance(moved, law), t / (np.sqrt(3.0) * n), rtol=1e-4)


def test_attraction_collapses_and_stays():
    p = problems.get("S8")
    sol = p.solve(0.07)
    assert max(p.error(sol, row) for row in range(len(sol))) < 1e-9
    assert np.ptp(sol.states[-1].values) < 1e-9 and sol.t[-1] > p.constants["collapse"]
    two = problems.get("S8", n=2, a=0.8)
    sol = two.solve(0.1, t=1.0)
    apart = np.array([np.ptp(law.values) for law in sol.states])
    assert_allclose(apart, np.maximum(0.8 - sol.t, 0.0), atol=1e-9)


def test_sticky_atoms():
    """Atoms at -1, 0 and 3: the first two meet in their centre at time 3/2, as one of double weight they meet the third."""
    start = mf.Quantiles([-1.0, 0.0, 3.0])
    sol = mf.solve(problems.get("S8").problem, start, 6.0, 0.25)
    for t, law in zip(sol.t, sol.states, strict=True):
        assert_allclose(law.mean(), 2.0 / 3.0, atol=1e-9)
        if t <= 1.5:
            assert_allclose(law.values, [-1.0 + 2.0 * t / 3.0, 0.0, 3.0 - 2.0 * t / 3.0], atol=1e-9)
    assert np.ptp(sol.states[-1].values) < 1e-8


# moments ---------------------------------------------------------------------------------------------------------


def test_flows_that_see_moments_only_keep_shapes():
    p = problems.get("S14")
    end = p.solve(0.02).states[-1].points
    ratio = end / p.initial.points
    assert_allclose(ratio, ratio[0, 0], rtol=1e-8)
    rigid = problems.get("S17")
    moved = rigid.solve(0.1).states[-1].points - rigid.initial.points
    assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-12)
    line = problems.get("S17", initial=mf.Gaussian(-1.0, 2.0).to_quantiles(9), a=0.5)
    assert abs(line.error(line.solve(0.01))) < 0.01


@pytest.mark.parametrize("label", ["S14", "S17"])
def test_moment_flows_are_of_first_order(label):
    p = problems.get(label)
    taus = p.t_span[1] / np.array([16, 24, 36, 54])
    errors = [p.error(p.solve(tau, save_at=10**6)) for tau in taus]
    assert abs(order(taus, errors) - 1.0) < 0.06


# geometry --------------------------------------------------------------------------------------------------------


def test_geodesics_of_commuting_gaussians_and_of_quantiles_are_straight():
    """S18: means and deviations are linear along the geodesic, and so are quantiles; beyond deviation 0 it ends."""
    a, b = mf.Gaussian([1.0, 0.0], np.diag([4.0, 0.25])), mf.Gaussian([0.0, 2.0], np.diag([1.0, 9.0]))
    for s in (0.0, 0.3, 1.0):
        law = W2.geodesic(a, b, s)
        assert_allclose(law.mean, (1.0 - s) * a.mean + s * b.mean, atol=1e-12)
        assert_allclose(np.sqrt(np.diag(law.cov)), (1.0 - s) * np.array([2.0, 0.5]) + s * np.array([1.0, 3.0]), rtol=1e-12)
    x, y = mf.Gaussian(1.0, 4.0).to_quantiles(9), mf.Gaussian(0.0, 1.0).to_quantiles(9)
    assert_allclose(W2.geodesic(x, y, 0.3).values, 0.7 * x.values + 0.3 * y.values, rtol=1e-14)
    chart = W2.chart(mf.Gaussian(0.0, 4.0))
    towards = chart.log(mf.Gaussian(0.0, 1.0)) - chart.origin
    assert_allclose(chart.state(chart.origin + 1.9 * towards).cov, 0.01, atol=1e-12)
    with pytest.raises(ValueError, match="positive semidefinite"):
        chart.state(chart.origin + 2.1 * towards)


def test_empirical_measures_have_a_floor():
    """S19: E W2^2 of N random atoms to uniform[0, 1] is 1/(6 N), that of the N midpoints 1/(12 N^2)."""
    uniform = mf.Histogram([1.0], mf.Grid([(0.0, 1.0)], (1,)))
    rng = np.random.default_rng(19)
    for n in (1, 10):
        squares = [mf.distance(mf.Particles(rng.random((n, 1))), uniform) ** 2 for _ in range(600)]
        assert_allclose(np.mean(squares), 1.0 / (6.0 * n), atol=4.0 * np.std(squares) / np.sqrt(600.0))
        midpoints = mf.Particles(levels(n)[:, None])
        assert_allclose(mf.distance(midpoints, uniform) ** 2, 1.0 / (12.0 * n**2), rtol=1e-9)


@pytest.mark.parametrize(
    ("label", "parameters", "message"),
    [
        ("S4", {"m": 1.0}, "m must be a finite number > 1"),
        ("S4", {"n": 1}, "n must be an integer >= 2"),
        ("S5", {"m": 1.5}, "m must be a finite number > 0.333333 and < 1"),
        ("T7", {"temperature": 0.0}, "temperature must be"),
        ("S7", {"initial": 3.0}, "initial must be Quantiles"),
        ("S7", {"confined": 1}, "confined must be"),
        ("S8", {"a": -1.0}, "a must be a finite number > 0"),
        ("S14", {"start": 0.0}, "start must be"),
        ("S17", {"initial": mf.Vector(0.0)}, "initial must be Particles or Quantiles"),
        ("E5", {"modes": 0}, "modes must be an integer >= 1"),
    ],
)
def test_bad_parameters_are_named(label, parameters, message):
    with pytest.raises((TypeError, ValueError), match=message):
        problems.get(label, **parameters)


def test_closed_step_of_moments_needs_a_small_tau():
    p = problems.get("S14")
    with pytest.raises(ValueError, match=r"tau must be below 0\.25"):
        p.exact_step["jko"](p.initial, 0.3)
