"""The room `measureflow.transport`: exact plans and their certificates, laws on the line, Gaussians."""

from __future__ import annotations

import ast
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist

from measureflow.errors import ConvergenceError
from measureflow.transport import (
    Plan,
    Polyline,
    atoms_polyline,
    barycentric_map,
    bures_distance_squared,
    bures_map,
    cdf,
    cells_polyline,
    costs,
    discrete,
    gaussian_distance,
    monotone_plan,
    optimal_plan,
    quantile,
    sinkhorn_distance,
    sliced_distance,
    sqrtm_psd,
    wasserstein_line,
    wasserstein_sorted,
)

SETTINGS = settings(max_examples=30, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)
POWERS = st.sampled_from([1, 2])


def equal(n):
    return np.full(n, 1.0 / n)


def random_weights(rng, n):
    w = rng.random(n) + 0.01
    return w / w.sum()


def random_law(rng, n, d=2):
    return rng.normal(size=(n, d)), random_weights(rng, n)


def random_polyline(rng, n=6):
    """Return a law with atoms, cells and gaps: positions are whole, levels sixths, so that both repeat."""
    y = np.sort(rng.integers(-4, 5, size=n + 1)).astype(float)
    steps = rng.multinomial(6, np.full(n, 1.0 / n))
    return Polyline(y, np.concatenate([[0.0], np.cumsum(steps) / 6.0]))


def spd(rng, d, spread=4.0):
    q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    s = (q * np.exp(rng.uniform(-np.log(spread), np.log(spread), d))) @ q.T
    return 0.5 * (s + s.T)


def distance(one, two, p=2):
    return optimal_plan(*one, *two, p).cost ** (1.0 / p)


# exact plans --------------------------------------------------------------------------------------------------------


@SETTINGS
@given(SEEDS, st.integers(1, 6), st.integers(1, 3), POWERS)
def test_plan_agrees_with_all_permutations(seed, n, d, p):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-3, 4, size=(2, n, d)).astype(float)
    c = cdist(x, y) ** p
    best = min(np.mean([c[i, s] for i, s in enumerate(perm)]) for perm in itertools.permutations(range(n)))
    plan = optimal_plan(x, equal(n), y, equal(n), p)
    assert_allclose(plan.cost, best, rtol=1e-13, atol=1e-14)
    assert_array_equal(np.sort(plan.i), np.arange(n))
    assert_array_equal(np.sort(plan.j), np.arange(n))
    assert_array_equal(plan.mass, equal(n))


@SETTINGS
@given(SEEDS, st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), POWERS)
def test_plan_is_feasible_and_certified(seed, n, m, d, p):
    rng = np.random.default_rng(seed)
    (x, a), (y, b) = random_law(rng, n, d), random_law(rng, m, d)
    plan = optimal_plan(x, a, y, b, p)
    assert np.all(plan.mass > 0.0)
    assert len(plan.mass) <= n + m - 1
    assert_allclose(np.bincount(plan.i, plan.mass, n), a, rtol=0, atol=1e-14)
    assert_allclose(np.bincount(plan.j, plan.mass, m), b, rtol=0, atol=1e-14)
    c = cdist(x, y) ** p
    assert_allclose(plan.cost, np.sum(plan.mass * c[plan.i, plan.j]), rtol=1e-12)
    assert_allclose(plan.cost, ot.emd2(a, b, c), rtol=1e-11)
    if d > 1:
        assert np.all(plan.f[:, None] + plan.g <= c + 1e-13 * c.max())
        assert_allclose(a @ plan.f + b @ plan.g, plan.cost, rtol=0, atol=1e-12 * c.max())
        assert 0.0 <= plan.gap <= 1e-12 * c.max()


@SETTINGS
@given(SEEDS, POWERS)
def test_distance_is_a_metric(seed, p):
    rng = np.random.default_rng(seed)
    u, v, w = (random_law(rng, int(rng.integers(1, 9))) for _ in range(3))
    uv = distance(u, v, p)
    assert uv > 0.0
    assert distance(u, u, p) == 0.0
    assert_allclose(distance(v, u, p), uv, rtol=1e-12)
    assert uv <= distance(u, w, p) + distance(w, v, p) + 1e-12


@SETTINGS
@given(SEEDS, POWERS, st.integers(-200, 200))
def test_translation_rotation_scaling_and_labels(seed, p, k):
    rng = np.random.default_rng(seed)
    (x, a), (y, b) = random_law(rng, 7), random_law(rng, 9)
    base = distance((x, a), (y, b), p)
    shift = rng.normal(size=2)
    assert_allclose(distance((x + shift, a), (y + shift, b), p), base, rtol=1e-12)
    q = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    assert_allclose(distance((x @ q, a), (y @ q, b), p), base, rtol=1e-12)
    assert_allclose(distance((x * 2.0**k, a), (y * 2.0**k, b), p), base * 2.0**k, rtol=1e-14)
    s, t = rng.permutation(7), rng.permutation(9)
    assert_allclose(distance((x[s], a[s]), (y[t], b[t]), p), base, rtol=1e-12)


@SETTINGS
@given(SEEDS, st.integers(2, 30), st.integers(2, 4))
def test_gradients_of_convex_functions_are_optimal(seed, n, d):
    """Brenier: x -> grad(convex)(x) is optimal for p = 2; here grad of |x|^4/4 + x.Ax/2."""
    rng = np.random.default_rng(seed)
    x, a = random_law(rng, n, d)
    y = x @ spd(rng, d) + x * np.sum(x**2, axis=1)[:, None]
    order = rng.permutation(n)
    plan = optimal_plan(x, a, y[order], a[order])
    assert_allclose(plan.cost, np.sum(a * np.sum((x - y) ** 2, axis=1)), rtol=1e-11)
    equal_plan = optimal_plan(x, equal(n), y[order], equal(n))
    assert_array_equal(barycentric_map(equal_plan, y[order], n), y)


def test_known_answers():
    rng = np.random.default_rng(0)
    x, a = random_law(rng, 50)
    assert_allclose(distance((x, a), (x + [3.0, 4.0], a)), 5.0, rtol=1e-13)
    assert_allclose(distance((x, a), (x + [3.0, 4.0], a), 1), 5.0, rtol=1e-13)
    assert_allclose(distance((x, a), (3.0 * x, a)) ** 2, 4.0 * np.sum(a * np.sum(x**2, axis=1)), rtol=1e-12)
    one = np.zeros((1, 2)), np.ones(1)
    assert_allclose(distance(one, (x, a), 1), np.sum(a * np.hypot(*x.T)), rtol=1e-14)
    # theory.md section 12, pitfall 1: weights (.3, .7) at 0 and 1, swapped, cost .4
    line = np.array([[0.0], [1.0]])
    assert_allclose(optimal_plan(line, np.array([0.3, 0.7]), line, np.array([0.7, 0.3])).cost, 0.4, rtol=1e-15)
    plane = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert_allclose(optimal_plan(plane, np.array([0.3, 0.7]), plane, np.array([0.7, 0.3])).cost, 0.4, rtol=1e-14)


def test_equal_laws_stay_in_place():
    rng = np.random.default_rng(1)
    x, a = random_law(rng, 20)
    x[3] = x[4]
    a[5], a[6] = 0.0, a[5] + a[6]
    plan = optimal_plan(x, a, x.copy(), a.copy())
    kept = np.delete(np.arange(20), 5)
    assert plan.cost == 0.0 and plan.gap == 0.0
    assert_array_equal(plan.i, kept)
    assert_array_equal(plan.j, kept)
    order = rng.permutation(20)
    assert optimal_plan(x, a, x[order], a[order]).cost <= 1e-15
    assert optimal_plan(x, equal(20), x[order], equal(20)).cost == 0.0


def test_equal_weights_of_different_number_split_in_whole_parts():
    rng = np.random.default_rng(2)
    plan = optimal_plan(rng.normal(size=(6, 2)), equal(6), rng.normal(size=(9, 2)), equal(9))
    assert_allclose(plan.mass * 18, np.round(plan.mass * 18), rtol=0, atol=1e-15)
    assert_allclose(np.bincount(plan.i, plan.mass), equal(6), rtol=1e-15)


def test_atoms_without_mass_change_nothing():
    rng = np.random.default_rng(3)
    (x, a), (y, b) = random_law(rng, 8), random_law(rng, 9)
    x2, a2 = np.insert(x, 2, 50.0, axis=0), np.insert(a, 2, 0.0)
    y2, b2 = np.insert(y, [0, 9], -50.0, axis=0), np.insert(b, [0, 9], 0.0)
    plan, full = optimal_plan(x, a, y, b), optimal_plan(x2, a2, y2, b2)
    assert_allclose(full.cost, plan.cost, rtol=1e-13)
    assert 2 not in full.i and not {0, 10} & set(full.j.tolist())
    assert full.f.shape == (9,) and full.g.shape == (11,)
    assert np.all(full.f[:, None] + full.g <= cdist(x2, y2, "sqeuclidean") + 1e-10)
    with pytest.raises(ValueError, match="index 2"):
        barycentric_map(full, y2, 9)


def test_small_costs_are_solved_as_well_as_large_ones():
    """POT by itself returns a plan that costs almost three times too much at costs of about 1e-30."""
    rng = np.random.default_rng(4)
    (x, a), (y, b) = random_law(rng, 100), random_law(rng, 100)
    base = optimal_plan(x, a, y, b).cost
    for scale in (1e-150, 1e-15, 1e15, 1e150):
        assert_allclose(optimal_plan(scale * x, a, scale * y, b).cost / scale / scale, base, rtol=1e-12)


def test_small_moves_far_from_the_origin_keep_their_digits():
    rng = np.random.default_rng(5)
    x = rng.integers(0, 2**20, size=(80, 2)).astype(float) + 2.0**30
    moves = rng.integers(-8, 9, size=(80, 2)) * 2.0**-12
    plan = optimal_plan(x, equal(80), x + moves, equal(80))
    assert_allclose(plan.cost, np.mean(np.sum(moves**2, axis=1)), rtol=1e-14)
    assert_array_equal(plan.i, plan.j)


def test_large_problem():
    rng = np.random.default_rng(6)
    n = 2000
    x = rng.normal(size=(n, 2))
    y = x @ np.array([[2.0, 0.5], [0.5, 1.0]]) + 1.0
    plan = optimal_plan(x, equal(n), y, equal(n))
    assert_array_equal(plan.i, plan.j)
    assert_allclose(plan.cost, np.mean(np.sum((x - y) ** 2, axis=1)), rtol=1e-13)
    assert plan.gap <= 1e-10 * plan.cost


# certificates -------------------------------------------------------------------------------------------------------


@pytest.fixture
def solved():
    rng = np.random.default_rng(7)
    (x, a), (y, b) = random_law(rng, 30), random_law(rng, 40)
    plan = optimal_plan(x, a, y, b)
    return cdist(x, y, "sqeuclidean"), a, b, plan


def test_certificate_accepts_the_optimal_plan(solved):
    c, a, b, plan = solved
    certificate = discrete.certify(c, a, b, plan.i, plan.j, plan.mass, plan.g)
    discrete.require_optimal(certificate, c.max())
    assert certificate.gap <= 1e-13 * c.max()


def test_certificate_refuses_a_worse_plan(solved):
    """Mass moved around a cycle keeps the marginals and raises the cost: the gap is exactly that rise."""
    c, a, b, plan = solved
    moved = 1e-4 * min(plan.mass[0], plan.mass[-1])
    i = np.concatenate([plan.i, [plan.i[0], plan.i[-1]]])
    j = np.concatenate([plan.j, [plan.j[-1], plan.j[0]]])
    mass = np.concatenate([plan.mass, [moved, moved]])
    mass[[0, len(plan.mass) - 1]] -= moved
    certificate = discrete.certify(c, a, b, i, j, mass, plan.g)
    rise = moved * (c[i[-2], j[-2]] + c[i[-1], j[-1]] - c[i[0], j[0]] - c[plan.i[-1], plan.j[-1]])
    assert rise > 0.0
    assert_allclose(certificate.gap, rise, rtol=1e-6)
    with pytest.raises(ConvergenceError, match="duality gap") as info:
        discrete.require_optimal(certificate, c.max())
    assert info.value.residual == certificate.gap > info.value.tolerance


def test_certificate_refuses_missed_weights(solved):
    c, a, b, plan = solved
    mass = plan.mass.copy()
    mass[0] += 2e-12
    certificate = discrete.certify(c, a, b, plan.i, plan.j, mass, plan.g)
    with pytest.raises(ConvergenceError, match="missed the weights"):
        discrete.require_optimal(certificate, c.max())


def test_certificate_refuses_nan(solved):
    c, a, b, plan = solved
    certificate = discrete.certify(c, a, b, plan.i, plan.j, plan.mass, np.full(40, np.nan))
    with pytest.raises(ConvergenceError):
        discrete.require_optimal(certificate, c.max())


@SETTINGS
@given(SEEDS)
def test_certificate_bounds_the_excess_whatever_the_potential(seed):
    rng = np.random.default_rng(seed)
    (x, a), (y, b) = random_law(rng, 5), random_law(rng, 6)
    c = cdist(x, y, "sqeuclidean")
    i, j = np.divmod(np.arange(30), 6)
    certificate = discrete.certify(c, a, b, i, j, np.outer(a, b).ravel(), rng.normal(size=6))
    assert np.all(certificate.f[:, None] + certificate.g <= c + 1e-12)
    assert certificate.primal - certificate.gap <= optimal_plan(x, a, y, b).cost + 1e-12


def test_an_unfinished_simplex_is_an_error():
    rng = np.random.default_rng(8)
    (x, a), (y, b) = random_law(rng, 60), random_law(rng, 60)
    with pytest.raises(ConvergenceError):
        optimal_plan(x, a, y, b, max_pivots=3)


def test_a_wrong_answer_of_the_solver_is_an_error(monkeypatch):
    rng = np.random.default_rng(9)
    (x, a), (y, b) = random_law(rng, 10), random_law(rng, 10)
    wrong = np.outer(a, b), {"v": np.zeros(10)}
    monkeypatch.setattr(ot, "emd", lambda *args, **kwargs: wrong)
    with pytest.raises(ConvergenceError, match="duality gap"):
        optimal_plan(x, a, y, b)


# bad input ----------------------------------------------------------------------------------------------------------

X, W = np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([0.5, 0.5])
BAD_LAWS = [
    ((np.array([[0.0, np.nan], [1.0, 2.0]]), W, X, W), ValueError, "x must be finite"),
    ((X, W, np.array([[0.0, np.inf]]), np.ones(1)), ValueError, "y must be finite"),
    ((X, np.array([0.5, np.nan]), X, W), ValueError, "a must be finite"),
    ((X, np.array([1.5, -0.5]), X, W), ValueError, "a must be nonnegative"),
    ((X, W, X, np.array([0.5, 0.6])), ValueError, "b must have sum 1, got 1.1"),
    ((X, np.ones(3) / 3, X, W), ValueError, "a must have shape"),
    ((X, W, X[:, :1], W), ValueError, "y must have shape"),
    ((X[:, 0], W, X, W), ValueError, "x must be a 2-D array"),
    ((X[:0], W[:0], X, W), ValueError, "x must not be empty"),
    ((X + 1j, W, X, W), TypeError, "x must be an array of real numbers"),
    ((X, W, X, None), TypeError, "b must be an array of real numbers"),
]


@pytest.mark.parametrize("function", [optimal_plan, sinkhorn_distance, sliced_distance])
@pytest.mark.parametrize(("arguments", "error", "message"), BAD_LAWS)
def test_bad_laws_are_named(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(*arguments)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: optimal_plan(X, W, X, W, 3), ValueError, "p must be one of 1, 2, got 3"),
        (lambda: optimal_plan(X, W, X, W, max_pivots=0), ValueError, "max_pivots"),
        (lambda: optimal_plan(1e200 * X, W, -1e200 * X, W), ValueError, "x and y must be so close"),
        (lambda: optimal_plan(1e200 * X[:, 1:], W, -1e200 * X[:, 1:], W), ValueError, "x and y must be so close"),
        (lambda: sinkhorn_distance(X, W, X, W, epsilon=0.0), ValueError, "epsilon"),
        (lambda: sinkhorn_distance(X, W, X, W, max_iterations=0), ValueError, "max_iterations"),
        (lambda: sliced_distance(X, W, X, W, projections=0), ValueError, "projections"),
        (lambda: sliced_distance(X, W, X, W, seed=-1), ValueError, "seed"),
        (lambda: atoms_polyline(np.array([0.0, np.nan]), W), ValueError, "points must be finite"),
        (lambda: atoms_polyline(np.zeros(2), -W), ValueError, "weights must be nonnegative"),
        (lambda: cells_polyline(np.array([0.0, 1.0, 0.5]), W), ValueError, "y must be nondecreasing"),
        (lambda: cells_polyline(np.array([0.0, 1.0]), W), ValueError, "masses must have shape"),
        (lambda: Polyline(np.zeros(2), np.array([0.0, 0.9])), ValueError, "G must go from 0 to 1"),
        (lambda: Polyline(np.zeros(3), np.array([0.0, 1.0, 0.9])), ValueError, "G must be nondecreasing"),
        (lambda: quantile(atoms_polyline(np.zeros(2), W), 1.5), ValueError, r"s must lie in \[0, 1\]"),
        (lambda: cdf(atoms_polyline(np.zeros(2), W), np.nan), ValueError, "x must be finite"),
        (lambda: wasserstein_line(atoms_polyline(W, W), atoms_polyline(W, W), 0), ValueError, "p must be one of"),
        (lambda: wasserstein_sorted(np.arange(3.0), np.arange(2.0)), ValueError, "y must have shape"),
        (lambda: wasserstein_sorted(np.array([1.0, 0.0]), np.arange(2.0)), ValueError, "x must be nondecreasing"),
        (lambda: monotone_plan(np.zeros(2), W, np.zeros(2), 2.0 * W), ValueError, "b must have sum 1"),
        (lambda: barycentric_map(optimal_plan(X, W, X + 1, W), X[:1], 2), ValueError, "plan must fit"),
        (lambda: bures_map(np.eye(2), np.eye(3)), ValueError, "S1 must have the shape of S0"),
        (lambda: bures_map(np.diag([1.0, 0.0]), np.eye(2)), ValueError, "S0 must be positive definite"),
        (lambda: bures_map(np.ones((2, 2)), np.eye(2)), ValueError, "S0 must be positive definite"),
        (lambda: bures_distance_squared(np.tri(2), np.eye(2)), ValueError, "S0 must be symmetric"),
        (lambda: bures_distance_squared(np.eye(2), -np.eye(2)), ValueError, "S1 must be positive semidefinite"),
        (lambda: sqrtm_psd(np.ones((2, 3))), ValueError, "S must be a square matrix"),
        (lambda: gaussian_distance(np.zeros(2), np.eye(3), np.zeros(2), np.eye(3)), ValueError, "S0 must have shape"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_cost_matrices_beyond_the_limit_are_refused_with_their_size():
    n, m = 20_000, 10_000
    with pytest.raises(ValueError, match=f"n = {n} and m = {m} atoms, which need {8 * n * m} bytes"):
        optimal_plan(np.zeros((n, 2)), equal(n), np.ones((m, 2)), equal(m))
    assert 8 * 5000 * 5000 < costs.MAX_COST_BYTES
    line = optimal_plan(np.zeros((n, 1)), equal(n), np.ones((m, 1)), equal(m))
    assert_allclose(line.cost, 1.0, rtol=1e-13)


def test_callers_arrays_are_left_alone():
    rng = np.random.default_rng(10)
    (x, a), (y, b) = random_law(rng, 9), random_law(rng, 9)
    arrays = (np.asfortranarray(x), a, y[::-1], b)
    before = [v.copy() for v in arrays]
    for v in arrays:
        v.flags.writeable = False
    optimal_plan(*arrays)
    sliced_distance(*arrays)
    for v, w in zip(arrays, before, strict=True):
        assert_array_equal(v, w)


def test_the_room_imports_pot_and_scipy_only_where_they_are_used():
    for path in Path(costs.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"ot", "scipy"}, path


# barycentric map ----------------------------------------------------------------------------------------------------


def test_barycentric_map_takes_means():
    plan = Plan(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0.125, 0.375, 0.5]), 0.0, 0.0)
    assert_allclose(barycentric_map(plan, np.array([[0.0, 4.0], [8.0, 0.0]]), 2), [[6.0, 1.0], [8.0, 0.0]])
    assert replace(plan, cost=1.0).cost == 1.0


@SETTINGS
@given(SEEDS)
def test_barycentric_map_keeps_the_mean_and_shrinks_the_cost(seed):
    rng = np.random.default_rng(seed)
    (x, a), (y, b) = random_law(rng, 6), random_law(rng, 9)
    plan = optimal_plan(x, a, y, b)
    t = barycentric_map(plan, y, 6)
    assert_allclose(a @ t, b @ y, rtol=0, atol=1e-13)
    assert np.sum(a * np.sum((x - t) ** 2, axis=1)) <= plan.cost * (1 + 1e-13)


# Sinkhorn and sliced ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 2])
def test_sinkhorn_lies_above_the_exact_distance_and_approaches_it(p):
    rng = np.random.default_rng(11)
    one, two = random_law(rng, 25), random_law(rng, 30)
    exact = distance(one, two, p)
    coarse, fine = (sinkhorn_distance(*one, *two, p=p, epsilon=e) for e in (0.5, 0.05))
    assert exact < fine < coarse
    assert fine < 1.1 * exact
    scaled = sinkhorn_distance(1e-3 * one[0], one[1], 1e-3 * two[0], two[1], p=p, epsilon=0.5)
    assert_allclose(scaled, 1e-3 * coarse, rtol=1e-8)


def test_sinkhorn_between_two_points_has_its_closed_form():
    """Atoms 0, 1 against 0, 1: P_01 = q/2 with q = 1/(1 + exp(c/reg)), c = 1, reg = epsilon/2."""
    line = np.array([[0.0], [1.0]])
    value = sinkhorn_distance(line, W, line, W, p=2, epsilon=0.5)
    assert_allclose(value**2, 1.0 / (1.0 + math.exp(4.0)), rtol=1e-5)
    assert sinkhorn_distance(line[:1], np.ones(1), line[:1], np.ones(1)) == 0.0


def test_sinkhorn_that_does_not_converge_is_an_error():
    rng = np.random.default_rng(12)
    one, two = random_law(rng, 25), random_law(rng, 30)
    with pytest.raises(ConvergenceError, match="larger epsilon") as info:
        sinkhorn_distance(*one, *two, epsilon=1e-3, max_iterations=50)
    assert info.value.residual > 1e-6 == info.value.tolerance


def test_sinkhorn_leaves_out_atoms_without_mass():
    rng = np.random.default_rng(13)
    (x, a), two = random_law(rng, 8), random_law(rng, 8)
    more = np.insert(x, 0, 9.0, axis=0), np.insert(a, 0, 0.0)
    assert_allclose(sinkhorn_distance(*more, *two), sinkhorn_distance(x, a, *two), rtol=1e-12)


@pytest.mark.parametrize("p", [1, 2])
def test_sliced_is_the_mean_over_its_directions(p):
    rng = np.random.default_rng(14)
    (x, a), (y, b) = random_law(rng, 12, 3), random_law(rng, 15, 3)
    directions = ot.sliced.get_random_projections(3, 20, 5)
    mean = np.mean([wasserstein_line(atoms_polyline(x @ t, a), atoms_polyline(y @ t, b), p) ** p for t in directions.T])
    value = sliced_distance(x, a, y, b, p, projections=20, seed=5)
    assert_allclose(value, mean ** (1.0 / p), rtol=1e-12)
    assert value == sliced_distance(x, a, y, b, p, projections=20, seed=5)
    assert value != sliced_distance(x, a, y, b, p, projections=20, seed=6)
    assert value <= distance((x, a), (y, b), p)


# the line -----------------------------------------------------------------------------------------------------------


@SETTINGS
@given(SEEDS, st.integers(1, 15), st.integers(1, 15), POWERS)
def test_line_distance_of_atoms_agrees_with_plans(seed, n, m, p):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-5, 6, size=n).astype(float), rng.integers(-5, 6, size=m).astype(float)
    a, b = random_weights(rng, n), random_weights(rng, m)
    if seed % 2:
        a, b = equal(n), equal(m)
    value = wasserstein_line(atoms_polyline(x, a), atoms_polyline(y, b), p)
    plan = monotone_plan(x, a, y, b, p)
    assert_allclose(value**p, plan.cost, rtol=1e-12, atol=1e-14)
    assert_allclose(value**p, ot.emd2(a, b, np.abs(x[:, None] - y) ** p), rtol=1e-11, atol=1e-14)
    assert_allclose(np.bincount(plan.i, plan.mass, n), a, rtol=0, atol=1e-15)
    assert_allclose(np.bincount(plan.j, plan.mass, m), b, rtol=0, atol=1e-15)
    assert len(plan.i) <= n + m - 1 and np.all(plan.mass > 0.0)


@SETTINGS
@given(SEEDS, POWERS)
def test_line_distance_agrees_with_fine_atoms(seed, p):
    """The midpoints of n equal pieces in level; jumps fall on the ends of pieces, so that the error is O(1/n^2)."""
    n = 60_000
    rng = np.random.default_rng(seed)
    one, two = random_polyline(rng), random_polyline(rng)
    s = (np.arange(n) + 0.5) / n
    fine = wasserstein_sorted(quantile(one, s), quantile(two, s), p)
    exact = wasserstein_line(one, two, p)
    assert_allclose(exact**p, fine**p, rtol=0, atol=1e-7)
    assert_allclose(wasserstein_line(two, one, p), exact, rtol=1e-14)


@SETTINGS
@given(SEEDS)
def test_line_distance_agrees_with_the_integral_of_distribution_functions(seed):
    """W1 = int |F - G| dx, by the midpoint rule on a grid that holds the breaks; crossings cost O(h^2)."""
    rng = np.random.default_rng(seed)
    one, two = random_polyline(rng), random_polyline(rng)
    x = np.linspace(-4, 4, 8 * 500 + 1)
    mid = 0.5 * (x[1:] + x[:-1])
    integral = np.sum(np.abs(cdf(one, mid) - cdf(two, mid))) * (x[1] - x[0])
    assert_allclose(wasserstein_line(one, two, 1), integral, rtol=0, atol=2e-5)
    assert wasserstein_line(one, two, 1) <= wasserstein_line(one, two, 2) * (1 + 1e-14)


@SETTINGS
@given(SEEDS, POWERS)
def test_line_distance_is_a_metric(seed, p):
    rng = np.random.default_rng(seed)
    u, v, w = (random_polyline(rng) for _ in range(3))
    uv = wasserstein_line(u, v, p)
    assert wasserstein_line(u, u, p) == 0.0
    assert uv <= wasserstein_line(u, w, p) + wasserstein_line(w, v, p) + 1e-13
    shift = float(rng.integers(-9, 9))
    moved = Polyline(u.y + shift, u.G), Polyline(v.y + shift, v.G)
    assert_allclose(wasserstein_line(*moved, p), uv, rtol=1e-13, atol=1e-15)
    assert_allclose(wasserstein_line(u, moved[0], p), abs(shift), rtol=1e-14)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200, 1e307])
def test_line_distance_against_analytic_values(scale):
    uniform = cells_polyline(scale * np.array([0.0, 1.0]), np.ones(1))
    centre = atoms_polyline(scale * np.array([0.5]), np.ones(1))
    assert_allclose(wasserstein_line(uniform, centre, 2), scale / math.sqrt(12.0), rtol=1e-14)
    assert_allclose(wasserstein_line(uniform, centre, 1), scale / 4.0, rtol=1e-14)
    wide = cells_polyline(scale * np.array([-1.0, 2.0]), np.ones(1))
    assert_allclose(wasserstein_line(uniform, wide, 2), scale / math.sqrt(3.0), rtol=1e-14)
    assert_allclose(wasserstein_line(uniform, wide, 1), scale / 2.0, rtol=1e-14)
    ends = atoms_polyline(scale * np.array([1.0, 0.0]), W)
    assert_allclose(wasserstein_line(uniform, ends, 2), scale / math.sqrt(12.0), rtol=1e-14)
    assert_allclose(wasserstein_sorted(scale * np.zeros(2), scale * np.array([3.0, 4.0])), scale * math.sqrt(12.5), rtol=1e-14)


@pytest.mark.parametrize("n", [1, 7, 1000, 100_000])
def test_line_distance_of_midpoints_to_the_uniform_law(n):
    """theory.md S19: midpoint quantisation of U[0, 1] has W2^2 = 1/(12 n^2)."""
    uniform = cells_polyline(np.linspace(0.0, 1.0, 11), np.full(10, 0.1))
    value = wasserstein_line(uniform, atoms_polyline((np.arange(n) + 0.5) / n, equal(n)), 2)
    assert_allclose(value, 1.0 / (math.sqrt(12.0) * n), rtol=1e-14 * n)


def test_line_distance_of_random_atoms_to_the_uniform_law():
    """theory.md S19: the mean of W2^2(empirical_N, U[0, 1]) is 1/(6 N)."""
    rng = np.random.default_rng(15)
    uniform = cells_polyline(np.array([0.0, 1.0]), np.ones(1))
    values = [wasserstein_line(uniform, atoms_polyline(rng.random(10), equal(10))) ** 2 for _ in range(2000)]
    assert abs(np.mean(values) - 1.0 / 60.0) <= 4.0 * np.std(values) / math.sqrt(2000)


def test_quantile_and_cdf_on_jumps_and_gaps():
    """Half the mass at 0, none on (0, 2), the rest even on [2, 3]."""
    law = Polyline(np.array([-1.0, 0.0, 0.0, 2.0, 3.0, 5.0]), np.array([0.0, 0.0, 0.5, 0.5, 1.0, 1.0]))
    assert_array_equal(quantile(law, np.array([0.0, 0.1, 0.5, 0.75, 1.0])), [0.0, 0.0, 0.0, 2.5, 3.0])
    assert_array_equal(cdf(law, np.array([-2.0, -1e-9, 0.0, 1.0, 2.0, 2.25, 3.0, 9.0])), [0, 0, 0.5, 0.5, 0.5, 0.625, 1, 1])
    assert quantile(law, 0.75) == 2.5 and cdf(law, 2.5) == 0.75
    assert quantile(law, np.zeros((0, 2))).shape == cdf(law, np.zeros((0, 2))).shape == (0, 2)
    huge = Polyline(np.array([-1.7e308, 1.7e308]), np.array([0.0, 1.0]))
    assert_allclose(quantile(huge, np.array([0.5, 1.0])), [0.0, 1.7e308])
    assert_allclose(cdf(huge, np.array([0.0, 1e-300])), 0.5)


@SETTINGS
@given(SEEDS)
def test_quantile_is_the_generalised_inverse(seed):
    rng = np.random.default_rng(seed)
    law = random_polyline(rng)
    s = rng.random(50)
    q = quantile(law, s)
    assert np.all(cdf(law, q) >= s - 1e-15)
    assert np.all(cdf(law, q - 1e-9) < s + 1e-15)
    assert np.all(np.diff(quantile(law, np.sort(s))) >= 0.0)


def test_line_plans_ignore_the_order_of_equal_atoms_and_have_no_gap():
    plan = optimal_plan(np.array([[3.0], [1.0], [2.0]]), equal(3), np.array([[1.5], [2.5], [3.5]]), equal(3))
    assert_array_equal(plan.i, [1, 2, 0])
    assert_array_equal(plan.j, [0, 1, 2])
    assert_array_equal(plan.mass, equal(3))
    assert plan.gap == 0.0 and plan.f is None and plan.g is None
    assert plan.cost == 0.25


def test_line_plan_with_weightless_atoms():
    plan = monotone_plan(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]), np.array([3.0, 4.0]), np.array([1.0, 0.0]))
    assert_array_equal(plan.i, [1])
    assert_array_equal(plan.j, [0])
    assert plan.cost == 4.0


def test_sorted_distance():
    rng = np.random.default_rng(16)
    x, y = np.sort(rng.normal(size=(2, 30)), axis=1)
    for p in (1, 2):
        exact = wasserstein_line(atoms_polyline(x, equal(30)), atoms_polyline(y, equal(30)), p)
        assert_allclose(wasserstein_sorted(x, y, p), exact, rtol=1e-13)
    assert wasserstein_sorted(x, x) == 0.0
    assert_allclose(wasserstein_sorted(x, x + 1e-170), 0.0, atol=0.0)
    assert_allclose(wasserstein_sorted(np.zeros(3), np.full(3, 1e-200)), 1e-200, rtol=1e-14)


# Gaussians ----------------------------------------------------------------------------------------------------------


@SETTINGS
@given(SEEDS, st.integers(1, 8))
def test_bures_map_recovers_a_known_map(seed, d):
    rng = np.random.default_rng(seed)
    s0, a = spd(rng, d), spd(rng, d)
    s1 = a @ s0 @ a
    s1 = 0.5 * (s1 + s1.T)
    assert_allclose(bures_map(s0, s1), a, rtol=0, atol=1e-12)
    step = a - np.eye(d)
    assert_allclose(bures_distance_squared(s0, s1), np.trace(step @ s0 @ step), rtol=1e-12)
    assert_allclose(bures_map(s1, s0), np.linalg.inv(a), rtol=0, atol=1e-11)


@SETTINGS
@given(SEEDS, st.integers(1, 8))
def test_bures_distance_is_a_metric(seed, d):
    rng = np.random.default_rng(seed)
    s0, s1, s2 = (spd(rng, d) for _ in range(3))
    d01, d02, d12 = (math.sqrt(bures_distance_squared(*pair)) for pair in ((s0, s1), (s0, s2), (s1, s2)))
    assert d01 <= d02 + d12 + 1e-13
    assert_allclose(bures_distance_squared(s1, s0), d01**2, rtol=1e-12)
    assert bures_distance_squared(s0, s0) <= 1e-26
    root = sqrtm_psd(s0)
    trace = np.trace(s0 + s1 - 2.0 * sqrtm_psd(root @ s1 @ root))
    assert_allclose(d01**2, trace, rtol=0, atol=1e-12)
    assert_allclose(root @ root, s0, rtol=0, atol=1e-13)
    assert_allclose(bures_map(s0, s0), np.eye(d), rtol=0, atol=1e-12)


def test_bures_of_commuting_matrices():
    one, two = np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 4.0, 0.0])
    assert_allclose(bures_distance_squared(one, two), 1.0 + 0.0 + 9.0, rtol=1e-14)
    assert_allclose(bures_map(one, two), np.diag([2.0, 1.0, 0.0]), rtol=0, atol=1e-15)
    assert_allclose(bures_distance_squared(np.zeros((3, 3)), one), 14.0, rtol=1e-14)
    assert bures_distance_squared(np.zeros((3, 3)), np.zeros((3, 3))) == 0.0
    assert_allclose(sqrtm_psd(two), np.diag([2.0, 2.0, 0.0]))


@SETTINGS
@given(SEEDS, st.integers(2, 6))
def test_bures_of_singular_matrices(seed, d):
    rng = np.random.default_rng(seed)
    b = rng.normal(size=(d, d - 1))
    s0, s1 = spd(rng, d), b @ b.T
    a = bures_map(s0, s1)
    assert_allclose(a @ s0 @ a, s1, rtol=0, atol=1e-12)
    assert np.linalg.eigvalsh(a)[0] >= -1e-13
    assert bures_distance_squared(s1, s1) <= 1e-26
    trace = np.trace(s0 + s1 - 2.0 * (s0 @ a))
    assert_allclose(bures_distance_squared(s0, s1), trace, rtol=0, atol=1e-11)
    assert_allclose(bures_distance_squared(s1, s0), trace, rtol=0, atol=1e-11)


def test_bures_distance_of_close_matrices_does_not_cancel():
    """S1 = (1 + e)^2 S0 lies at e^2 tr S0; the trace formula has lost all digits at e = 1e-9."""
    s0 = spd(np.random.default_rng(17), 5)
    e = 2.0**-30
    assert_allclose(bures_distance_squared(s0, (1.0 + e) ** 2 * s0), e**2 * np.trace(s0), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e20, 1e300])
def test_bures_scales(scale):
    rng = np.random.default_rng(18)
    s0, s1 = spd(rng, 3), spd(rng, 3)
    assert_allclose(bures_distance_squared(scale * s0, scale * s1) / scale, bures_distance_squared(s0, s1), rtol=1e-12)
    assert_allclose(bures_map(scale * s0, scale * s1), bures_map(s0, s1), rtol=0, atol=1e-12)


def test_gaussian_distance():
    assert gaussian_distance(np.zeros(1), np.eye(1), np.array([3.0]), np.array([[25.0]])) == 5.0
    rng = np.random.default_rng(19)
    m0, m1, s0, s1 = rng.normal(size=2), rng.normal(size=2), spd(rng, 2), spd(rng, 2)
    expected = math.sqrt(np.sum((m0 - m1) ** 2) + bures_distance_squared(s0, s1))
    assert_allclose(gaussian_distance(m0, s0, m1, s1), expected, rtol=1e-14)


def test_gaussian_distance_bounds_that_of_samples_with_the_same_moments():
    """Gelbrich: W2 between laws is at least that of Gaussians with their moments; equality along linear maps."""
    rng = np.random.default_rng(20)
    x, a = random_law(rng, 40)
    t = spd(rng, 2)
    y = x @ t + 1.0

    def moments(points):
        m = a @ points
        return m, (points - m).T @ ((points - m) * a[:, None])

    assert_allclose(distance((x, a), (y, a)), gaussian_distance(*moments(x), *moments(y)), rtol=1e-12)
    y = y + rng.normal(size=y.shape)
    assert distance((x, a), (y, a)) >= gaussian_distance(*moments(x), *moments(y))
