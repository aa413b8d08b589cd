"""One step of a flow: couplings, inner steps, speeds, metrics, and the symmetries that every step has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow.metrics import natural

SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)
COUPLINGS = ("simultaneous", "alternating", "implicit")


# three players ------------------------------------------------------------------------------------------------------

OWN = np.array([0.5, 1.0, 2.0])
CROSS = np.array([[0.0, 1.3, -0.4], [-0.7, 0.0, 0.9], [0.2, -1.1, 0.0]])
START = np.array([1.0, -0.5, 0.8])


def three_players():
    """E_i = a_i x_i^2/2 + x_i sum_j c_ij x_j."""

    def player(i):
        others = [j for j in range(3) if j != i]

        def energy(own, seen):
            push = sum(CROSS[i, j] * z.values for j, z in zip(others, seen, strict=True))
            return float(0.5 * OWN[i] * own @ own + own @ push), OWN[i] * own + push

        return energy

    return g.Game([player(0), player(1), player(2)])


def expected_step(x, tau, coupling, implicit_own):
    """Solve the step as a linear system: which neighbours are seen new, and whether the own part is."""
    seen_new = {
        "simultaneous": np.zeros((3, 3)),
        "alternating": np.tril(CROSS),
        "implicit": CROSS,
    }[coupling]
    left = np.eye(3) + tau * seen_new + tau * implicit_own * np.diag(OWN)
    right = np.eye(3) - tau * (CROSS - seen_new) - tau * (1 - implicit_own) * np.diag(OWN)
    return np.linalg.solve(left, right @ x)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("scheme", [mf.JKO, mf.Explicit])
def test_couplings_of_three_players(coupling, scheme):
    start = tuple(mf.Vector(x) for x in START)
    sol = mf.solve(three_players(), start, 0.5, 0.1, scheme=scheme(coupling))
    x = START
    for states in sol.states[1:]:
        x = expected_step(x, 0.1, coupling, scheme is mf.JKO)
        assert_allclose([z.values[0] for z in states], x, atol=2e-9)
    assert sol.energies.shape == sol.speeds.shape == sol.slopes.shape == (6, 3)


def own_step(x, seen, tau, implicit_own, k):
    """Return player k's step of size tau from x[k] against the others in `seen`, an explicit one with the own part there too."""
    pull = CROSS[k] @ seen + (1 - implicit_own) * OWN[k] * seen[k]
    return (x[k] - tau * pull) / (1.0 + tau * implicit_own * OWN[k])


def seeing(coupling, x, past, tau, ratio, implicit_own):
    """Return a step of a coupling that shows players other states than old and new ones."""
    if coupling == "symmetric":
        x = x.copy()
        for k, share in ((0, 0.5), (1, 0.5), (2, 1.0), (1, 0.5), (0, 0.5)):
            x[k] = own_step(x, x, share * tau, implicit_own, k)
        return x
    seen = x + ratio * (x - past)
    if coupling == "extragradient":
        seen = np.array([own_step(x, x, tau, implicit_own, k) for k in range(3)])
    return np.array([own_step(x, seen, tau, implicit_own, k) for k in range(3)])


@pytest.mark.parametrize("coupling", ["symmetric", "extragradient", "optimistic"])
@pytest.mark.parametrize("scheme", [mf.JKO, mf.Explicit])
def test_predicting_couplings_of_three_players(coupling, scheme):
    """The last step is half as long: energies are extrapolated by the ratio of the steps."""
    start = tuple(mf.Vector(x) for x in START)
    sol = mf.solve(three_players(), start, 0.55, 0.1, scheme=scheme(coupling))
    x, past, before = START, START, 0.0
    for states, tau in zip(sol.states[1:], np.diff(sol.t), strict=True):
        ratio = tau / before if before else 0.0
        x, past, before = seeing(coupling, x, past, tau, ratio, scheme is mf.JKO), x, tau
        assert_allclose([z.values[0] for z in states], x, atol=4e-9)
    with pytest.raises(TypeError, match="see states that are not rows of the solution"):
        sol.residuals()


@pytest.mark.parametrize("name", ["extragradient", "optimistic", "symmetric"])
@pytest.mark.parametrize("prefix", ["", "explicit "])
def test_predicting_couplings_are_of_first_order_on_a_nonlinear_game(prefix, name):
    problem = mf.problems.get("G3", t=2.0)
    taus = [0.05, 0.025, 0.0125, 0.00625]
    errors = [problem.error(problem.solve(tau, prefix + name)) for tau in taus]
    assert_allclose(np.polyfit(np.log(taus), np.log(errors), 1)[0], 1.0, atol=0.15)


def test_the_symmetric_coupling_is_of_second_order_where_players_steps_are_exact():
    """On a bilinear game each player's step is its exact flow, and the splitting is symmetric."""
    problem = mf.problems.get("G1", t=2.0)
    taus = [0.2, 0.1, 0.05, 0.025]
    errors = [problem.error(problem.solve(tau, "symmetric")) for tau in taus]
    assert_allclose(np.polyfit(np.log(taus), np.log(errors), 1)[0], 2.0, atol=0.05)


@pytest.mark.parametrize("scheme", [mf.JKO, mf.Explicit])
@pytest.mark.parametrize("coupling", ["alternating", "symmetric", "adjoint"])
def test_turns_are_another_numbering_of_the_players(coupling, scheme):
    """Players 1, 2, 0 in turn are players 0, 1, 2 of the game with its players renumbered."""
    if coupling == "adjoint" and scheme is mf.Explicit:
        return
    turns = (1, 2, 0)
    game, start = three_players(), tuple(mf.Vector(x) for x in START)

    def renamed(k):
        others = [turns.index(j) for j in range(3) if j != turns[k]]

        def energy(own, seen):
            states = dict(zip([j for j in range(3) if j != k], seen, strict=True))
            return game.energies[turns[k]](own, tuple(states[j] for j in others))

        return energy

    one = mf.solve(game, start, 0.5, 0.1, scheme=scheme(coupling, turns=turns))
    two = mf.solve(g.Game([renamed(k) for k in range(3)]), tuple(start[j] for j in turns), 0.5, 0.1, scheme=scheme(coupling))
    for a, b in zip(one.states, two.states, strict=True):
        assert_allclose([a[j].values[0] for j in turns], [z.values[0] for z in b], atol=1e-9)
    if coupling == "alternating" and scheme is mf.JKO:
        assert_allclose(one.residuals().degiorgi, two.residuals().degiorgi[:, [2, 0, 1]], atol=1e-9)


@pytest.mark.parametrize("scheme", [mf.JKO, mf.Explicit])
def test_extrapolated_energies_serve_laws(scheme):
    """Two laws whose means rotate: the simultaneous coupling grows, optimistic and extragradient ones are damped."""
    problem = mf.problems.get("G1", t=6.0, laws=True)
    radius = problem.invariants["radius"]
    sols = {c: problem.solve(0.1, scheme(c)) for c in ("simultaneous", "optimistic", "extragradient")}
    growth = {c: np.log(radius(sol.states[-1]) / radius(sol.states[0])) / 6.0 for c, sol in sols.items()}
    assert_allclose(growth["simultaneous"], 0.05, atol=1e-3)
    assert_allclose([growth["optimistic"], growth["extragradient"]], -0.05, atol=2e-3)


def test_players_of_different_kinds():
    """A law, a Gaussian and a vector drawn to each other's means keep a common mean, whatever the coupling."""

    def towards(own, others):
        goal = sum(mean_of(z) for z in others) / len(others)
        return value_and_gradient(own, goal)

    start = (
        mf.Particles(np.arange(8.0).reshape(4, 2), [0.1, 0.2, 0.3, 0.4]),
        mf.Gaussian([5.0, -3.0], [[1.0, 0.2], [0.2, 0.5]]),
        mf.Vector([0.0, 1.0]),
    )
    for coupling in COUPLINGS:
        sol = mf.solve(g.Game([towards] * 3), start, 0.4, 0.1, scheme=mf.JKO(coupling))
        for old, new in zip(sol.states[:-1], sol.states[1:], strict=True):
            for k in range(3):
                seen = sol.scheme.seen_by(k, old, new)
                goal = sum(mean_of(z) for j, z in enumerate(seen) if j != k) / 2.0
                assert_allclose(mean_of(new[k]), (mean_of(old[k]) + 0.1 * goal) / 1.1, atol=1e-9)


def mean_of(state):
    if isinstance(state, mf.Vector):
        return state.values
    return state.mean if isinstance(state, mf.Gaussian) else state.mean()


def value_and_gradient(own, goal):
    """E = E |x - goal|^2 / 2."""
    quadratic = e.Quadratic(1.0, centre=goal)
    return quadratic.value(own), quadratic.gradient(own)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_seen_by(coupling):
    old, new = ("a", "b", "c"), ("A", "B", "C")
    expected = {
        "simultaneous": [("a", "b", "c")] * 3,
        "alternating": [("a", "b", "c"), ("A", "b", "c"), ("A", "B", "c")],
        "implicit": [("a", "B", "C"), ("A", "b", "C"), ("A", "B", "c")],
    }
    scheme = mf.JKO(coupling)
    seen = [scheme.seen_by(k, old, new) for k in range(3)]
    for k, (got, want) in enumerate(zip(seen, expected[coupling], strict=True)):
        assert got[:k] + got[k + 1 :] == want[:k] + want[k + 1 :]


def torus_game(clip=(None, None)):
    return g.KernelGame(
        lambda x, y: np.cos(x[:, None, 0] - y[None, :, 0]),
        lambda x, y: -np.sin(x[:, None, :] - y[None, :, :]),
        lambda x, y: np.sin(x[:, None, :] - y[None, :, :]),
        clip,
    )


def test_implicit_coupling_returns_best_replies():
    rng = np.random.default_rng(5)
    laws = (mf.Particles(rng.normal(size=(6, 1))), mf.Particles(rng.normal(size=(4, 1)), [0.1, 0.2, 0.3, 0.4]))
    game, tau = torus_game(), 0.3
    new = mf.solve(game, laws, tau, tau, scheme=mf.JKO("implicit")).states[-1]
    for k in range(2):
        reply = mf.proximal(game.energy(k, new), mf.Wasserstein(), laws[k], tau)
        assert_allclose(reply.points, new[k].points, atol=5e-10)


def test_one_player_sees_no_coupling():
    for coupling in (*COUPLINGS, "symmetric", "extragradient", "optimistic"):
        end = mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.1, scheme=mf.JKO(coupling)).states[-1]
        assert_array_equal(end.values, mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.1).states[-1].values)


# inner steps and speeds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [mf.JKO, mf.Explicit])
def test_inner_steps_repeat_the_player_against_frozen_opponents(scheme):
    game = g.LinearQuadratic(0.5, 1.5, 0.2)
    sol = mf.solve(game, (mf.Vector(1.0), mf.Vector(0.3)), 0.1, 0.1, scheme=scheme("alternating", inner_steps=(2, 3)))
    x, y, tau = 1.0, 0.3, 0.1
    for _ in range(2):
        x = (x - tau * 1.5 * 0.3) / (1 + tau * 0.5) if scheme is mf.JKO else x - tau * (0.5 * x + 1.5 * 0.3)
    for _ in range(3):
        y = (y + tau * 1.5 * x) / (1 + tau * 0.2) if scheme is mf.JKO else y - tau * (0.2 * y - 1.5 * x)
    assert_allclose([z.values[0] for z in sol.states[-1]], [x, y], rtol=1e-14)


def test_inner_steps_of_a_single_flow():
    sol = mf.solve(e.Quadratic(), mf.Vector(1.0), 0.5, 0.1, scheme=mf.JKO(inner_steps=[3]))
    assert_allclose(sol.states[-1].values, 1.1**-15.0, rtol=1e-14)
    assert_allclose(sol.info["distance"][1:], -np.diff([s.values[0] for s in sol.states]), rtol=1e-12)


def test_inner_steps_with_an_implicit_coupling():
    """Two inner steps against the opponent's new state, itself a reply to the new one."""
    sol = mf.solve(g.Bilinear(2.0), (mf.Vector(1.0), mf.Vector(0.5)), 0.1, 0.1, scheme=mf.JKO("implicit", inner_steps=(1, 2)))
    x, y = (z.values[0] for z in sol.states[-1])
    assert_allclose([x, y], [1.0 - 0.2 * y, 0.5 + 0.4 * x], atol=1e-12)


@pytest.mark.parametrize(
    ("energy", "start"),
    [
        (e.Quadratic(), mf.Vector([1.0, 2.0])),
        (e.KL(mf.Gaussian(0.0, 1.0)), mf.Gaussian(2.0, 0.3)),
        (e.Entropy() + e.Quadratic(), mf.Quantiles(np.linspace(-1.0, 1.0, 20))),
        (e.MMD(mf.Particles([[0.0, 1.0]]), "gaussian"), mf.Particles([[1.0, 1.0], [0.0, 0.5]])),
    ],
)
@pytest.mark.parametrize("scheme", ["jko", "explicit"])
def test_time_rescaling(energy, start, scheme):
    """(tau, E) -> (tau/c, c E) and speeds = c are the same step."""
    c, tau = 3.7, 0.002
    plain = mf.solve(energy, start, 5 * tau, tau, scheme=scheme)
    scaled = mf.solve(c * energy, start, 5 * tau / c, tau / c, scheme=scheme)
    fast = mf.solve(energy, start, 5 * tau / c, tau / c, scheme=scheme, speeds=c)
    for other in (scaled, fast):
        for a, b in zip(plain.states, other.states, strict=True):
            assert_allclose(a.coordinates, b.coordinates, rtol=1e-9, atol=1e-11)
    assert_allclose(fast.speeds, c * plain.speeds, rtol=1e-6)
    assert_allclose(fast.energies, plain.energies, rtol=1e-9, atol=1e-12)


@SETTINGS
@given(SEEDS, st.floats(0.1, 10.0), st.floats(0.01, 0.5))
def test_time_rescaling_of_closed_forms(seed, c, tau):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(2, 2))
    for energy, start in (
        (e.Quadratic(root @ root.T, linear=rng.normal(size=2)), mf.Particles(rng.normal(size=(4, 2)))),
        (e.KL(mf.Gaussian(rng.normal(size=2), root @ root.T + 0.1 * np.eye(2))), mf.Gaussian(rng.normal(size=2), 0.7)),
        (e.EnergyDistance(mf.Quantiles([0.0, 1.0])), mf.Quantiles(np.sort(rng.normal(size=9)))),
    ):
        a = mf.proximal(energy, natural(start), start, tau)
        b = mf.proximal(c * energy, natural(start), start, tau / c)
        assert_allclose(a.coordinates, b.coordinates, rtol=1e-12, atol=1e-12)


def test_speeds_of_players_are_step_ratios():
    slow = mf.solve(g.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 0.1, 0.1, speeds=(1.0, 5.0)).states[-1]
    assert_allclose([z.values[0] for z in slow], [1.0, 0.5], rtol=1e-15)


def test_metric_speed_is_distance_over_tau():
    sol = mf.solve(e.Quadratic(), mf.Vector([3.0, 4.0]), 0.25, 0.1)
    lengths = [mf.distance(a, b) for a, b in zip(sol.states[:-1], sol.states[1:], strict=True)]
    assert_allclose(sol.speeds[1:], np.array(lengths) / [0.1, 0.1, 0.05], rtol=1e-13)
    assert sol.speeds[0] == sol.speeds[1]
    assert_allclose(sol.slopes, [np.linalg.norm(x.values) for x in sol.states], rtol=1e-14)


# metrics ------------------------------------------------------------------------------------------------------------


def field_energy(grid):
    """E = (1/2) int u^2, with its L2 gradient."""
    return e.Function(lambda u: 0.5 * np.sum(u**2) * grid.cell_volume, lambda u: u)


@pytest.mark.parametrize("order", [-1.0, -0.5, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("scheme", ["jko", "explicit"])
@pytest.mark.parametrize("periodic", [False, True])
def test_sobolev_flows_act_on_modes(order, scheme, periodic):
    """u' = -(I - Lap)^(-s) u: mode k decays with the rate (1 + k^2)^(-s)."""
    grid = mf.Grid([(0.0, 2.0 * np.pi if periodic else np.pi)], (32,), periodic)
    x = grid.axes[0]
    amplitudes = {0: 0.5, 1: 1.0, 3: -0.7}
    tau, steps = 0.02, 5

    def waves(sizes):
        return sum(a * np.cos(k * x) for k, a in sizes.items())

    sol = mf.solve(
        field_energy(grid), mf.Field(waves(amplitudes), grid), steps * tau, tau, scheme=scheme, metric=mf.Sobolev(order)
    )
    rates = {k: (1.0 + k**2) ** -order for k in amplitudes}
    factors = {k: 1.0 / (1.0 + tau * r) if scheme == "jko" else 1.0 - tau * r for k, r in rates.items()}
    expected = waves({k: a * factors[k] ** steps for k, a in amplitudes.items()})
    assert_allclose(sol.states[-1].values, expected, atol=1e-9)


def test_sobolev_flow_in_two_dimensions():
    grid = mf.Grid([(0.0, np.pi), (0.0, 2.0 * np.pi)], (12, 16), (False, True))
    x, y = grid.centres[..., 0], grid.centres[..., 1]
    wave = np.cos(2.0 * x) * np.sin(3.0 * y)
    sol = mf.solve(field_energy(grid), mf.Field(wave, grid), 0.04, 0.01, metric=mf.Sobolev(-1))
    assert_allclose(sol.states[-1].values, wave * 1.14**-4.0, atol=1e-9)
    length = (1.0 - 1.0 / 1.14) * np.sqrt(np.pi * np.pi / 2.0 / 14.0)
    assert_allclose(sol.info["distance"][1], length, rtol=1e-8)


def test_heat_flow_of_a_field_in_l2():
    """E = (1/2) int |u'|^2 in L2 is the heat equation; the discrete Dirichlet form has the modes' exact eigenvalues."""
    n = 40
    grid = mf.Grid([(0.0, np.pi)], (n,))
    h = np.pi / n
    stiffness = (2.0 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)) / h**2
    stiffness[0, 0] = stiffness[-1, -1] = 1.0 / h**2
    energy = e.Function(lambda u: 0.5 * h * u @ (stiffness @ np.asarray(u)), lambda u: stiffness @ np.asarray(u))
    sol = mf.solve(energy, mf.Field(np.cos(2.0 * grid.axes[0]), grid), 0.05, 0.01)
    eigenvalue = (2.0 * np.sin(h) / h) ** 2
    assert_allclose(sol.states[-1].values, np.cos(2.0 * grid.axes[0]) * (1.0 + 0.01 * eigenvalue) ** -5.0, atol=1e-9)


def test_metrics_of_players_are_their_own():
    grid = mf.Grid([(0.0, np.pi)], (16,))
    wave = np.cos(2.0 * grid.axes[0])
    game = g.Game([e.Quadratic(), field_energy(grid)])
    start = (mf.Vector(1.0), mf.Field(wave, grid))
    sol = mf.solve(game, start, 0.1, 0.1, metric=(None, mf.Sobolev(1)))
    assert_allclose(sol.states[-1][0].values, 1.0 / 1.1)
    assert_allclose(sol.states[-1][1].values, wave / (1.0 + 0.1 / 5.0), atol=1e-9)


def test_clipping_is_a_projected_step():
    """G7: the clipped WGAN reaches the circle of radius c at t* = arcsin(c/theta0) + sqrt(theta0^2 - c^2)/c."""
    theta0, c = 2.0, 0.5
    game = g.KernelGame(
        lambda x, y: x @ y.T,
        lambda x, y: np.broadcast_to(y, (len(x), *y.shape)),
        lambda x, y: np.broadcast_to(x[:, None], (len(x), *y.shape)),
        (None, c),
    )

    def arrival(t, laws):
        return laws[0].points[0, 0]

    arrival.terminal = True
    start = (mf.Particles([[theta0]]), mf.Particles([[0.0]]))
    for coupling in ("simultaneous", "alternating"):
        times = []
        for tau in (0.02, 0.01):
            sol = mf.solve(game, start, 6.0, tau, scheme=mf.JKO(coupling), events=arrival)
            assert max(laws[1].points[0, 0] for laws in sol.states) == c
            times.append(sol.t[-1])
        assert_allclose(2.0 * times[1] - times[0], 4.125663601, atol=2e-3)


# certificates --------------------------------------------------------------------------------------------------------


def quartic():
    return e.Potential(lambda x: (x**4).sum(axis=1) / 4.0, lambda x: x**3, convexity=0.0)


def test_residuals_reach_the_tolerance():
    start = mf.Particles(np.random.default_rng(0).normal(size=(5, 2)))
    for tolerance in (1e-4, 1e-8, 1e-12):
        sol = mf.solve(quartic(), start, 1.0, 0.25, scheme=mf.JKO(tolerance=tolerance))
        assert sol.info["residual"].max() <= tolerance * 3.0
        for old, new in zip(sol.states[:-1], sol.states[1:], strict=True):
            gap = new.points - old.points + 0.25 * new.points**3
            assert np.sqrt(np.mean(np.sum(gap**2, axis=1))) <= tolerance * 3.0 + 1e-14


def test_a_step_that_did_not_converge_is_an_error():
    with pytest.raises(mf.ConvergenceError, match="did not reach its tolerance") as caught:
        mf.solve(quartic(), mf.Vector([3.0, 1.0]), 1.0, 1.0, scheme=mf.JKO(max_iterations=1, tolerance=1e-15))
    assert caught.value.residual > caught.value.tolerance > 0.0
    assert caught.value.status == "not_converged" and caught.value.solution.info["rejected"] == 21
    assert len(caught.value.solution) == 1


def test_too_large_a_step_of_a_concave_energy_is_halved():
    halved = mf.solve(e.Quadratic(-1.0), mf.Vector(1.0), 1.0, 1.0)
    assert halved.info["rejected"] == 1
    same = mf.solve(e.Quadratic(-1.0), mf.Vector(1.0), 1.0, 0.5)
    np.testing.assert_array_equal(halved.states[-1].values, same.states[-1].values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mf.JKO("jacobi"),
            "coupling must be one of 'simultaneous', 'alternating', 'symmetric', 'implicit', .*, got 'jacobi'",
        ),
        (lambda: mf.Explicit(3.0), "coupling must be one of"),
        (lambda: mf.JKO(inner_steps=2), "inner_steps must .*, got 2"),
        (lambda: mf.JKO(inner_steps=(1, 0)), "inner_steps must be an integer >= 1, got 0"),
        (lambda: mf.JKO(inner_steps=(1.0, 2)), "inner_steps must be an integer"),
        (lambda: mf.JKO(tolerance=0.0), "tolerance must be a finite number > 0"),
        (lambda: mf.JKO(max_iterations=0), "max_iterations must be an integer >= 1"),
        (
            lambda: mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.1, scheme=mf.JKO(inner_steps=(1, 2))),
            "inner_steps must have 1 entries",
        ),
        (lambda: mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.1, scheme="euler"), "scheme must be one of"),
        (lambda: mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.1, scheme=None), "scheme must be"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize("energy", [e.EnergyDistance, e.Wasserstein1])
def test_atoms_in_the_plane_arrive_at_an_atom_of_the_target(energy):
    """Both energies are |x - y| between two Dirac laws: the step is a soft threshold, exact at its times (E2)."""
    sol = mf.solve(energy(mf.Particles([[0.0, 0.0]])), mf.Particles([[0.6, 0.8]]), 1.5, 0.3)
    expected = [max(1.0 - t, 0.0) for t in sol.t]
    assert_allclose([np.linalg.norm(law.points) for law in sol.states], expected, atol=1e-9)


# symmetries ----------------------------------------------------------------------------------------------------------


def rotation(rng, d):
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    return q * np.sign(np.diag(r))


def smooth_well(centre):
    """A potential that depends on |x - centre| only."""
    return e.Potential(
        lambda x: np.sqrt(1.0 + np.sum((x - centre) ** 2, axis=1)),
        lambda x: (x - centre) / np.sqrt(1.0 + np.sum((x - centre) ** 2, axis=1, keepdims=True)),
    )


def attraction():
    return e.Interaction(lambda z: np.log1p(np.sum(z**2, axis=-1)), lambda z: 2 * z / (1 + np.sum(z**2, axis=-1))[..., None])


def particle_energies(centre, target):
    return (
        smooth_well(centre),
        attraction(),
        e.MMD(mf.Particles(target), "gaussian"),
        e.EnergyDistance(mf.Particles(target)),
        e.MMD(mf.Particles(target), "laplace", 0.7) + 0.5 * attraction(),
    )


@SETTINGS
@given(SEEDS, st.sampled_from(["explicit", "jko"]), st.integers(2, 3))
def test_rigid_motions_commute_with_steps(seed, scheme, d):
    rng = np.random.default_rng(seed)
    q, shift = rotation(rng, d), rng.normal(size=d)
    weights = rng.random(5) + 0.1
    points, target, centre = rng.normal(size=(5, d)), rng.normal(size=(4, d)), rng.normal(size=d)

    def moved(x):
        return x @ q.T + shift

    pairs = zip(particle_energies(centre, target), particle_energies(moved(centre), moved(target)), strict=True)
    for here, there in pairs:
        a = mf.solve(here, mf.Particles(points, weights / weights.sum()), 0.1, 0.05, scheme=scheme).states[-1]
        b = mf.solve(there, mf.Particles(moved(points), weights / weights.sum()), 0.1, 0.05, scheme=scheme).states[-1]
        assert_allclose(moved(a.points), b.points, atol=1e-12 if scheme == "explicit" else 3e-8)


@SETTINGS
@given(SEEDS, st.sampled_from(["explicit", "jko"]))
def test_permutations_commute_with_steps(seed, scheme):
    rng = np.random.default_rng(seed)
    order = rng.permutation(6)
    weights = rng.random(6) + 0.1
    weights /= weights.sum()
    points, target, centre = rng.normal(size=(6, 2)), rng.normal(size=(4, 2)), rng.normal(size=2)
    for energy in particle_energies(centre, target):
        a = mf.solve(energy, mf.Particles(points, weights), 0.1, 0.05, scheme=scheme).states[-1]
        b = mf.solve(energy, mf.Particles(points[order], weights[order]), 0.1, 0.05, scheme=scheme).states[-1]
        assert_allclose(a.points[order], b.points, atol=1e-13 if scheme == "explicit" else 3e-8)


@SETTINGS
@given(SEEDS)
def test_labels_do_not_matter_on_the_line(seed):
    """Equal atoms on the line: the same flow as of their quantile function (pitfall 1)."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=8)
    for energy in (
        e.EnergyDistance(mf.Quantiles([0.0, 0.5, 2.0])),
        e.Wasserstein1(mf.Quantiles(np.linspace(-1, 1, 8))),
        e.SquaredWasserstein(mf.Quantiles(np.linspace(-1, 1, 8))),
        quartic(),
        e.MMD(mf.Particles([[0.3], [1.0]]), "gaussian"),
    ):
        law = mf.solve(energy, mf.Particles(values[:, None]), 0.2, 0.1).states[-1]
        line = mf.solve(energy, mf.Quantiles(np.sort(values)), 0.2, 0.1).states[-1]
        assert_allclose(np.sort(law.points[:, 0]), line.values, atol=3e-9)
        assert_array_equal(np.argsort(law.points[:, 0], kind="stable"), np.argsort(law.points[:, 0]))


@SETTINGS
@given(SEEDS, st.sampled_from(["explicit", "jko"]))
def test_translation_of_quantiles_and_gaussians(seed, scheme):
    rng = np.random.default_rng(seed)
    shift = float(rng.normal())
    values = np.cumsum(0.05 + rng.random(10))
    tau = 1e-3
    for energy in (lambda c: e.KL(mf.Gaussian(c, 2.0)), lambda c: e.Entropy() + e.Quadratic(1.0, centre=[c])):
        a = mf.solve(energy(0.0), mf.Quantiles(values), 2 * tau, tau, scheme=scheme).states[-1]
        b = mf.solve(energy(shift), mf.Quantiles(values + shift), 2 * tau, tau, scheme=scheme).states[-1]
        assert_allclose(a.values + shift, b.values, atol=1e-8)
        a = mf.solve(energy(0.0), mf.Gaussian(1.0, 0.5), 0.2, 0.1, scheme=scheme).states[-1]
        b = mf.solve(energy(shift), mf.Gaussian(1.0 + shift, 0.5), 0.2, 0.1, scheme=scheme).states[-1]
        assert_allclose(a.mean + shift, b.mean, atol=1e-12)
        assert_allclose(a.cov, b.cov, rtol=1e-12)


@SETTINGS
@given(SEEDS)
def test_gaussians_rotate(seed):
    rng = np.random.default_rng(seed)
    q, root, spread = rotation(rng, 2), rng.normal(size=(2, 2)), rng.normal(size=(2, 2))
    target, start = root @ root.T + 0.2 * np.eye(2), spread @ spread.T + 0.2 * np.eye(2)
    mean = rng.normal(size=2)
    for make in (e.KL, e.SquaredWasserstein):
        a = mf.solve(make(mf.Gaussian(mean, target)), mf.Gaussian([0.0, 0.0], start), 0.4, 0.2).states[-1]
        turned = make(mf.Gaussian(q @ mean, symmetric(q @ target @ q.T)))
        b = mf.solve(turned, mf.Gaussian([0.0, 0.0], symmetric(q @ start @ q.T)), 0.4, 0.2).states[-1]
        assert_allclose(q @ a.mean, b.mean, atol=1e-12)
        assert_allclose(q @ a.cov @ q.T, b.cov, atol=1e-11)


def symmetric(matrix):
    return 0.5 * (matrix + matrix.T)


# mass and energy -----------------------------------------------------------------------------------------------------


@SETTINGS
@given(SEEDS, st.floats(0.01, 2.0))
def test_energy_decreases_and_mass_stays_under_minimizing_movements(seed, tau):
    """P5: E(x+) + d(x, x+)^2/(2 tau) <= E(x); kernels with kinks at atoms of the target before atoms arrive there."""
    rng = np.random.default_rng(seed)
    weights = rng.random(6) + 0.05
    weights /= weights.sum()
    target = rng.normal(size=(5, 2))
    line = mf.Quantiles(np.cumsum(rng.random(12) + 0.01) - 3.0)
    kinked = particle_energies(np.zeros(2), target)[3:] if tau < 0.03 else ()
    cases = [
        (energy, mf.Particles(rng.normal(size=(6, 2)), weights))
        for energy in (*particle_energies(np.zeros(2), target)[:3], *kinked)
    ]
    cases += [
        (e.KL(mf.Gaussian(0.0, 1.0)), line),
        (e.PowerEntropy(2.0) + e.Quadratic(), line),
        (e.EnergyDistance(mf.Quantiles(np.sort(target[:, 0]))), line),
        (e.Wasserstein1(mf.Quantiles(np.sort(target[:, 0]))), line),
        (e.KL(mf.Gaussian([0.0, 1.0], 0.3)), mf.Gaussian(rng.normal(size=2), 1.4)),
        (quartic(), mf.Vector(rng.normal(size=3))),
    ]
    for energy, start in cases:
        sol = mf.solve(energy, start, 3 * tau, tau)
        drop = sol.energies[:-1] - sol.energies[1:]
        assert np.all(sol.info["distance"][1:] ** 2 / (2.0 * tau) <= drop + 1e-9 * (1.0 + np.abs(sol.energies[:-1])))
        end = sol.states[-1]
        if isinstance(end, mf.Particles):
            assert_array_equal(end.weights, start.weights)
        if isinstance(end, mf.Quantiles):
            assert np.all(np.diff(end.values) >= 0.0)


def test_mass_over_many_steps():
    weights = np.random.default_rng(0).random(7)
    law = mf.Particles(np.random.default_rng(1).normal(size=(7, 2)), weights / weights.sum())
    for scheme in ("jko", "explicit"):
        end = mf.solve(attraction(), law, 5.0, 0.05, scheme=scheme, save_at=100).states[-1]
        assert_array_equal(end.weights, law.weights)
        assert abs(end.weights.sum() - 1.0) <= 1e-14 * np.sqrt(7)
        assert_allclose(end.mean(), law.mean(), atol=1e-9)
