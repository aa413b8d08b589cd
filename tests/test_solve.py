"""The time loop and what it returns: times, rows, events, mini-batches, failures, files, and the same bits every time."""

from __future__ import annotations

import os
import warnings

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g

DECAY = e.Quadratic()


def decay(t_span=1.0, tau=0.1, **options):
    """x' = -x from 1."""
    return mf.solve(DECAY, mf.Vector(1.0), t_span, tau, **options)


def rotation(t_span=1.0, tau=0.1, **options):
    return mf.solve(g.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), t_span, tau, **options)


def same(a, b):
    """Assert that two states, or tuples of states, have the same bits."""
    if isinstance(a, tuple):
        for x, y in zip(a, b, strict=True):
            same(x, y)
        return
    assert type(a) is type(b)
    assert_array_equal(a.coordinates, b.coordinates)
    if isinstance(a, mf.Particles):
        assert_array_equal(a.weights, b.weights)
    assert getattr(a, "grid", None) == getattr(b, "grid", None)


def same_solution(a, b):
    assert_array_equal(a.t, b.t)
    for x, y in zip(a.states, b.states, strict=True):
        same(x, y)
    for name in ("energies", "speeds"):
        assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("distance", "residual", "iterations"):
        assert_array_equal(a.info[name], b.info[name])
    assert a.info["events"] == b.info["events"]


# times --------------------------------------------------------------------------------------------------------------


def test_last_step_is_shorter_when_tau_does_not_divide():
    sol = decay(1.0, 0.3)
    assert_allclose(sol.t, [0.0, 0.3, 0.6, 0.9, 1.0], rtol=1e-15)
    assert_allclose(sol.states[-1].values, 1.3**-3.0 / 1.1, rtol=1e-14)
    assert sol.info["steps"] == 4


@pytest.mark.parametrize(("t", "tau", "steps"), [(0.3, 0.1, 3), (1.0, 1.0 / 3.0, 3), (7 * 0.1, 0.1, 7), (0.6, 0.2, 3)])
def test_rounding_makes_no_extra_step(t, tau, steps):
    sol = decay(t, tau)
    assert sol.info["steps"] == steps
    assert sol.t[-1] == t
    assert_allclose(sol.states[-1].values, (1.0 + tau) ** -steps, rtol=1e-14)


def test_a_step_longer_than_the_span_is_cut():
    sol = decay(0.25, 10.0)
    assert_array_equal(sol.t, [0.0, 0.25])
    assert_allclose(sol.states[-1].values, 0.8, rtol=1e-15)


def test_time_starts_where_asked():
    seen = []
    sol = decay((2.0, 3.0), 0.25, events=lambda t, x: seen.append(t) or 1.0)
    assert_allclose(sol.t, [2.0, 2.25, 2.5, 2.75, 3.0])
    assert min(seen) == 2.0 and max(seen) == 3.0
    same(sol.states[-1], decay(1.0, 0.25).states[-1])


@given(st.floats(0.05, 2.0), st.floats(0.02, 3.0))
@settings(max_examples=20)
def test_times_end_exactly_and_steps_are_tau(t, tau):
    sol = decay(t, tau)
    gaps = np.diff(sol.t)
    assert sol.t[-1] == t
    assert_allclose(gaps[:-1], tau, rtol=1e-12)
    assert 0.0 < gaps[-1] <= tau * (1.0 + 1e-8)
    assert_allclose(sol.states[-1].values, np.prod(1.0 / (1.0 + gaps)), rtol=1e-12)


# rows ----------------------------------------------------------------------------------------------------------------


def test_every_kth_step_and_the_ends():
    full = decay(1.0, 0.1)
    for stride, rows in ((1, range(11)), (3, (0, 3, 6, 9, 10)), (5, (0, 5, 10)), (99, (0, 10))):
        thin = decay(1.0, 0.1, save_at=stride)
        assert_array_equal(thin.t, full.t[list(rows)])
        for k, row in enumerate(rows):
            same(thin.states[k], full.states[row])
        assert_allclose(thin.info["distance"].sum(), full.info["distance"].sum(), rtol=1e-14)
        assert thin.info["steps"] == 10


def test_thinned_rows_lose_no_iteration_or_residual():
    energy, start = e.MMD(mf.Particles([[0.0], [1.0]]), "gaussian"), mf.Particles([[3.0], [0.2], [-1.0]])
    full, thin = (mf.solve(energy, start, 1.0, 0.1, save_at=k) for k in (1, 4))
    assert thin.info["iterations"].sum() == full.info["iterations"].sum() > 0
    assert thin.info["residual"].max() == full.info["residual"].max()


def test_rows_at_given_times_lie_on_the_geodesics():
    times = [0.0, 0.05, 0.1, 0.333, 0.99, 1.0]
    full, chosen = rotation(), rotation(save_at=times)
    assert_array_equal(chosen.t, times)
    for t, states in zip(times, chosen.states, strict=True):
        for a, b in zip(states, full(t), strict=True):
            assert_allclose(a.values, b.values, rtol=1e-14, atol=1e-15)


def test_rows_at_times_without_the_ends():
    sol = decay(1.0, 0.1, save_at=[0.31, 0.32, 0.39])
    assert_array_equal(sol.t, [0.31, 0.32, 0.39])
    assert sol.energies.shape == sol.speeds.shape == (3,)
    assert np.all(np.diff([x.values[0] for x in sol.states]) < 0.0)


def test_shapes_of_tables():
    single, game = decay(), rotation()
    assert single.energies.shape == single.speeds.shape == single.slopes.shape == (11,)
    assert game.energies.shape == game.speeds.shape == game.slopes.shape == (11, 2)
    assert single.info["distance"].shape == (11,) and game.info["iterations"].shape == (11, 2)
    assert len(single) == len(single.states) == 11
    assert_allclose(single.energies, [0.5 * x.values[0] ** 2 for x in single.states])
    assert "Solution of Vector: done after 10 steps" in repr(single)
    assert "Solution of Vector and Vector" in repr(game)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"save_at": 0}, "save_at must be an integer >= 1, got 0"),
        ({"save_at": [0.5, 0.2]}, "save_at must be increasing"),
        ({"save_at": [0.5, 1.2]}, "save_at must lie in t_span"),
        ({"save_at": []}, "save_at must not be empty"),
        ({"save_at": "all"}, "save_at"),
        ({"tau": 0.0}, "tau must be a finite number > 0"),
        ({"tau": np.nan}, "tau must be"),
        ({"tau": 1e-12}, "tau must be at least"),
        ({"t_span": -1.0}, "t_span"),
        ({"t_span": (1.0, 1.0)}, "t_span"),
        ({"t_span": (0.0, np.inf)}, "t_span"),
        ({"t_span": (0.0, 1.0, 2.0)}, "t_span"),
        ({"metric": "W2"}, "metric"),
        ({"speeds": (1.0, 2.0)}, "speeds must have"),
        ({"speeds": -1.0}, "speeds"),
        ({"progress": 1}, "progress must be True or False"),
        ({"events": 3}, "events must be"),
        ({"batch": 2, "seed": 0}, "batch must be None for a problem without a target of atoms"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        decay(**options)


# interpolation ---------------------------------------------------------------------------------------------------------


def test_interpolations_between_steps():
    sol = decay(1.0, 0.5)
    first, second = (x.values for x in sol.states[:2])
    assert_allclose(sol(0.2).values, first + 0.4 * (second - first), rtol=1e-14)
    assert_allclose(sol(0.2, "constant").values, second, rtol=1e-15)
    assert_allclose(sol(0.2, "degiorgi").values, 1.0 / 1.2, rtol=1e-15)
    assert_allclose(sol(0.7, interpolation="degiorgi").values, 1.0 / 1.5 / 1.2, rtol=1e-14)
    for t, x in zip(sol.t, sol.states, strict=True):
        for interpolation in ("geodesic", "constant", "degiorgi"):
            same(sol(t, interpolation), x)


def test_degiorgi_interpolation_of_games_with_speeds():
    sol = rotation(1.0, 0.5, speeds=(1.0, 2.0), scheme=mf.JKO("alternating"))
    x, y = (z.values[0] for z in sol(0.7, "degiorgi"))
    (x0, y0), (x1, _) = ([z.values[0] for z in sol.states[k]] for k in (1, 2))
    assert_allclose([x, y], [x0 - 0.2 * y0, y0 + 0.4 * x1], rtol=1e-13)


def test_geodesic_interpolation_has_constant_speed():
    start = mf.Gaussian([0.0, 1.0], [[2.0, 0.3], [0.3, 0.5]])
    sol = mf.solve(e.SquaredWasserstein(mf.Gaussian([1.0, 1.0], 0.4)), start, 1.0, 0.5)
    whole = mf.distance(sol(0.0), sol(0.5))
    assert_allclose(mf.distance(sol(0.1), sol(0.3)), 0.4 * whole, rtol=1e-9)
    line = mf.solve(e.EnergyDistance(mf.Particles([[0.0]])), mf.Quantiles([1.0, 1.0, 2.0]), 1.0, 0.5)
    assert_allclose(mf.distance(line(0.0), line(0.2)), 0.4 * mf.distance(line(0.0), line(0.5)), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decay()(1.5), "t must be a finite number >= 0 and <= 1, got 1.5"),
        (lambda: decay()(-0.1), "t must be"),
        (lambda: decay()(np.nan), "t must be"),
        (lambda: decay()(0.5, "cubic"), "interpolation must be one of"),
        (lambda: decay(save_at=2)(0.55, "degiorgi"), "save_at=None"),
        (lambda: decay(save_at=2).residuals(), "save_at=None"),
        (lambda: decay(scheme=mf.JKO(inner_steps=(2,))).residuals(), "one inner step"),
        (lambda: decay().residuals(convexity=(1.0, 2.0)), "convexity must have"),
        (lambda: decay().residuals(test_states=[]), "test_states"),
    ],
)
def test_bad_questions_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_degiorgi_needs_a_minimizing_movement():
    with pytest.raises((TypeError, ValueError), match="degiorgi"):
        decay(scheme="explicit")(0.55, "degiorgi")


# events ----------------------------------------------------------------------------------------------------------------


def event(function, terminal=False, direction=0.0):
    def wrapped(t, state):
        return function(t, state)

    wrapped.terminal, wrapped.direction = terminal, direction
    return wrapped


def half(t, x):
    return x.values[0] - 0.5


def test_events_are_located_on_the_geodesic():
    sol = decay(1.0, 0.1, events=half)
    ((index, t),) = sol.info["events"]
    assert index == 0
    assert abs(sol(t).values[0] - 0.5) < 1e-12
    k = int(np.searchsorted([-x.values[0] for x in sol.states], -0.5))
    a, b = sol.states[k - 1].values[0], sol.states[k].values[0]
    assert_allclose(t, sol.t[k - 1] + 0.1 * (a - 0.5) / (a - b), rtol=1e-12)
    assert sol.info["status"] == "done" and len(sol) == 11


def test_terminal_events_end_the_flow():
    full = decay(1.0, 0.1, events=half)
    sol = decay(1.0, 0.1, events=event(half, terminal=True))
    assert sol.info["status"] == "event"
    assert sol.info["events"] == full.info["events"]
    assert sol.t[-1] == sol.info["events"][0][1]
    assert abs(sol.states[-1].values[0] - 0.5) < 1e-12
    assert_array_equal(sol.t[:-1], full.t[: len(sol) - 1])
    assert sol.info["steps"] == len(sol) - 1
    with pytest.raises(ValueError, match="event"):
        sol.residuals()


@pytest.mark.parametrize("save_at", [3, [0.05, 0.4, 0.9]])
def test_terminal_events_with_thinned_rows(save_at):
    sol = decay(1.0, 0.1, events=event(half, terminal=True), save_at=save_at)
    assert sol.t[-1] == sol.info["events"][0][1]
    assert abs(sol.states[-1].values[0] - 0.5) < 1e-12
    assert_allclose(sol.t[:-1], [0.0, 0.3, 0.6] if save_at == 3 else [0.05, 0.4])


def test_directions_select_crossings():
    """x of a rotation crosses zero falling at pi/2, rising at 3 pi/2."""

    def x_zero(t, states):
        return states[0].values[0]

    found = {}
    for direction in (-1.0, 0.0, 1.0):
        sol = rotation(7.0, 0.01, events=event(x_zero, direction=direction), scheme=mf.JKO("alternating"))
        found[direction] = [t for _, t in sol.info["events"]]
    assert_allclose(found[0.0], [0.5 * np.pi, 1.5 * np.pi], atol=1e-2)
    assert found[-1.0] == found[0.0][:1] and found[1.0] == found[0.0][1:]


def test_terminal_events_stop_at_their_direction_only():
    def x_zero(t, states):
        return states[0].values[0]

    sol = rotation(7.0, 0.01, events=event(x_zero, True, 1.0), scheme=mf.JKO("alternating"))
    assert_allclose(sol.t[-1], 1.5 * np.pi, atol=1e-2)


def test_several_events_in_order_of_time():
    def level(c):
        return event(lambda t, x: x.values[0] - c, terminal=c == 0.6)

    events = [level(c) for c in (0.61, 0.8, 0.6, 0.602, 0.3)]
    sol = decay(2.0, 0.2, events=events)
    assert [k for k, _ in sol.info["events"]] == [1, 0, 3, 2]
    times = [t for _, t in sol.info["events"]]
    assert times == sorted(times) and times[-1] == sol.t[-1]


def test_two_crossings_within_a_step_are_both_reported():
    sol = decay(1.0, 0.1, events=lambda t, x: (t - 0.42) * (t - 0.48))
    assert_allclose([t for _, t in sol.info["events"]], [0.42, 0.48], rtol=1e-10)


@pytest.mark.parametrize(("direction", "expected"), [(-1.0, 0.42), (1.0, 0.48)])
def test_direction_within_a_step(direction, expected):
    sol = decay(1.0, 0.1, events=event(lambda t, x: (t - 0.42) * (t - 0.48), direction=direction))
    assert_allclose([t for _, t in sol.info["events"]], [expected], rtol=1e-10)


def test_two_crossings_of_a_state_within_a_step():
    """The second atom passes through a window in one long step: in and out."""
    start = mf.Particles([[0.0], [10.0]])
    sol = mf.solve(
        e.Wasserstein1(mf.Particles([[0.0], [0.0]])), start, 8.0, 4.0, events=lambda t, law: abs(law.points[1, 0] - 4.0) - 0.9
    )
    assert_allclose([t for _, t in sol.info["events"]], [5.1, 6.9], rtol=1e-10)


def test_a_zero_at_a_time_of_the_grid_is_reported_once():
    sol = decay(1.0, 0.25, events=lambda t, x: t - 0.5)
    assert sol.info["events"] == [(0, 0.5)]
    sol = decay(1.0, 0.25, events=lambda t, x: t)
    assert sol.info["events"] == []
    sol = decay(1.0, 0.25, events=lambda t, x: t - 1.0)
    assert sol.info["events"] == [(0, 1.0)]


def test_events_of_games_see_tuples():
    seen = []
    rotation(0.2, 0.1, events=lambda t, states: seen.append(states) or 1.0)
    assert all(isinstance(states, tuple) and len(states) == 2 for states in seen)


def test_events_do_not_change_the_flow():
    plain, watched = decay(), decay(events=[half, lambda t, x: np.sin(20 * t)])
    for a, b in zip(plain.states, watched.states, strict=True):
        same(a, b)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([half, 3], r"events\[1\] must be a function"),
        ("half", "events must be"),
        (event(half, terminal="yes"), r"events\[0\].terminal must be True or False"),
        (event(half, direction=np.nan), r"events\[0\].direction must be"),
        (lambda t, x: x, "events must return"),
        (lambda t, x: np.nan, "events must return finite values"),
        (lambda t, x: [1.0, 2.0], "events must return"),
    ],
)
def test_bad_events_are_named(events, message):
    if message == "events must return" and events(0.0, 1.0) == 1.0:
        events = lambda t, x: "soon"  # noqa: E731
    with pytest.raises((TypeError, ValueError), match=message):
        decay(events=events)


def test_events_that_fail_later_leave_the_flow_so_far():
    with pytest.raises(mf.CallbackError, match="events must return finite values") as caught:
        decay(1.0, 0.1, events=lambda t, x: np.nan if t > 0.55 else 1.0)
    assert_allclose(caught.value.solution.t[-1], 0.5)


# progress --------------------------------------------------------------------------------------------------------------


def test_progress_writes_to_standard_error_only(capsys):
    decay(progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "10/10" in shown.err and "step" in shown.err
    decay()
    assert capsys.readouterr() == ("", "")


# mini-batches ------------------------------------------------------------------------------------------------------------

TARGET = mf.Particles(np.random.default_rng(0).normal(size=(40, 2)) + [2.0, 0.0])
CLOUD = mf.Particles(np.random.default_rng(1).normal(size=(6, 2)))


def flow_to_target(**options):
    return mf.solve(e.MMD(TARGET, "gaussian"), CLOUD, 1.0, 0.1, scheme="explicit", **options)


def gan():
    critic = g.NeuronCritic("tanh")
    neurons = mf.Particles(np.random.default_rng(2).normal(size=(9, 4)))
    return g.GAN(TARGET, critic=critic, penalty=g.Ridge(0.5)), (CLOUD, neurons)


def train(**options):
    game, start = gan()
    return mf.solve(game, start, 1.0, 0.1, scheme=mf.Explicit("alternating"), speeds=(1.0, 5.0), **options)


@pytest.mark.parametrize("run", [flow_to_target, train])
def test_seeds_make_the_batches(run):
    first, again, other = run(batch=8, seed=3), run(batch=8, seed=3), run(batch=8, seed=4)
    same_solution(first, again)
    a, b = (first.states[-1], other.states[-1]) if run is flow_to_target else (first.states[-1][0], other.states[-1][0])
    assert np.abs(a.points - b.points).max() > 1e-3


def test_batches_do_not_depend_on_what_is_saved():
    same(flow_to_target(batch=8, seed=3).states[-1], flow_to_target(batch=8, seed=3, save_at=7).states[-1])


def test_batches_change_from_step_to_step():
    """A generator far away from a target of two atoms, one drawn in each step: both are seen."""
    target = mf.Particles([[0.0, 1.0], [0.0, -1.0]])
    sol = mf.solve(e.EnergyDistance(target), mf.Particles([[0.0, 0.0]]), 2.0, 0.01, scheme="explicit", batch=1, seed=0)
    moves = np.diff([law.points[0, 1] for law in sol.states])
    assert 50 < np.sum(moves > 0.0) < 150
    assert_allclose(np.abs(moves), 0.01, rtol=1e-9)


def test_a_batch_of_the_whole_target_is_the_target():
    whole, batch = flow_to_target(), flow_to_target(batch=40, seed=0)
    assert_allclose(batch.states[-1].points, whole.states[-1].points, atol=1e-13)


def test_batches_are_unbiased():
    """The mean step over seeds is the step against the whole target: gradients are linear in it."""

    def move(**options):
        end = mf.solve(e.MMD(TARGET, "gaussian"), CLOUD, 0.1, 0.1, scheme="explicit", **options).states[-1]
        return (end.points - CLOUD.points).ravel()

    draws = np.array([move(batch=4, seed=k) for k in range(400)])
    error = draws.mean(axis=0) - move()
    spread = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert np.all(spread > 0.0)
    assert np.abs(error / spread).max() < 4.0


def test_batches_of_a_weighted_target_follow_its_weights():
    target = mf.Particles([[1.0], [-1.0]], [0.9, 0.1])
    sol = mf.solve(e.EnergyDistance(target), mf.Particles([[0.0]]), 1.0, 0.001, scheme="explicit", batch=1, seed=1)
    up = np.mean(np.diff([law.points[0, 0] for law in sol.states[:800]]) > 0.0)
    assert 0.85 < up < 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 8}, "seed must be given with batch"),
        ({"batch": 0, "seed": 0}, "batch must be an integer >= 1"),
        ({"batch": 41, "seed": 0}, "batch must be at most the 40 atoms"),
        ({"batch": 4.0, "seed": 0}, "batch must be an integer"),
        ({"batch": 4, "seed": -1}, "seed must be an integer >= 0"),
        ({"batch": 4, "seed": "a"}, "seed must be"),
    ],
)
def test_bad_batches_are_named(options, message):
    for run in (flow_to_target, train):
        with pytest.raises((TypeError, ValueError), match=message):
            run(**options)


# failures ------------------------------------------------------------------------------------------------------------------


def test_a_function_that_returns_nan_later_leaves_the_flow_so_far():
    energy = e.Function(
        lambda x: 0.5 * np.sum(x**2) if x[0] > 0.5 else np.nan, lambda x: np.asarray(x) if x[0] > 0.5 else x * np.nan
    )
    for scheme in ("jko", "explicit"):
        with pytest.raises(mf.CallbackError, match=r"in the step from t = .*must return finite values") as caught:
            mf.solve(energy, mf.Vector(1.0), 2.0, 0.1, scheme=scheme)
        flow, full = caught.value.solution, decay(2.0, 0.1, scheme=scheme)
        whole = int(np.searchsorted(flow.t, 0.55))
        assert_allclose([x.values for x in flow.states[:whole]], [x.values for x in full.states[:whole]], atol=1e-9)
        assert 0.5 < flow.states[-1].values[0] < 0.5 + 1e-6  # halved steps go on as far as there is something to go to
        assert caught.value.status == flow.status == "not_finite" and flow.info["rejected"] > 20
        assert caught.value.time == flow.t[-1]
        assert flow.energies.shape == flow.speeds.shape == flow.t.shape


def test_a_function_that_is_wrong_at_the_start_fails_before_the_first_step():
    with pytest.raises(mf.CallbackError, match="at the initial state: f must return") as caught:
        mf.solve(e.Function(lambda x: np.nan, lambda x: x), mf.Vector(1.0), 1.0, 0.1)
    assert caught.value.solution is None


def test_explicit_blow_up_is_a_convergence_error():
    """x' = x^3 leaves every bound at t = 1/2."""
    energy = e.Function(lambda x: -0.25 * np.sum(x**4), lambda x: -(x**3))
    with (
        np.errstate(all="ignore"),
        pytest.raises((mf.ConvergenceError, mf.CallbackError), match="in the step from t =") as caught,
    ):
        mf.solve(energy, mf.Vector(1.0), 2.0, 0.1, scheme="explicit")
    flow = caught.value.solution
    assert len(flow) > 5
    assert all(np.all(np.isfinite(x.values)) for x in flow.states)
    assert np.all(np.isfinite(flow.energies))


def test_a_linear_blow_up_is_a_convergence_error():
    with np.errstate(all="ignore"), pytest.raises(mf.ConvergenceError, match="finite") as caught:
        mf.solve(e.Quadratic(1e60), mf.Vector(1.0), 1.0, 0.1, scheme="explicit")
    assert len(caught.value.solution) > 1


def test_a_blow_up_is_one_error_and_no_warning():
    """With warnings turned into errors the flow so far must still come back."""
    with np.errstate(all="warn"), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(mf.ConvergenceError) as caught:
            mf.solve(e.Quadratic(1e60), mf.Vector(1.0), 1.0, 0.1, scheme="explicit")
    assert len(caught.value.solution) > 1


def test_the_users_own_exception_passes():
    def broken(x):
        if x[0] < 0.7:
            raise KeyError("lost")
        return 0.5 * np.sum(x**2)

    with pytest.raises(KeyError, match="lost"):
        mf.solve(e.Function(broken, lambda x: np.asarray(x)), mf.Vector(1.0), 1.0, 0.1, scheme="explicit")


def test_failure_of_a_game_keeps_tuples():
    game = g.Game([lambda x, o: (0.5 * x @ x, np.asarray(x)), lambda y, o: (np.nan if o[0][0] < 0.6 else 0.0, 0.0 * y)])
    with pytest.raises(mf.CallbackError) as caught:
        mf.solve(game, (mf.Vector(1.0), mf.Vector(2.0)), 1.0, 0.1, scheme=mf.Explicit("alternating"))
    flow = caught.value.solution
    assert flow.energies.shape == (len(flow), 2) and isinstance(flow.states[0], tuple)
    assert flow(0.15)[1].values[0] == 2.0


# files ---------------------------------------------------------------------------------------------------------------------

GRID = mf.Grid([(0.0, 1.0), (-1.0, 2.0)], (3, 4), (True, False))
WEIGHTS = np.random.default_rng(7).random(49)
RUNS = {
    "particles": lambda: mf.solve(DECAY, mf.Particles(np.random.default_rng(0).normal(size=(49, 2))), 1.0, 0.3),
    "weighted particles": lambda: mf.solve(
        DECAY, mf.Particles(np.random.default_rng(0).normal(size=(49, 1)), WEIGHTS / WEIGHTS.sum()), 1.0, 0.3
    ),
    "quantiles": lambda: mf.solve(DECAY, mf.Quantiles(np.linspace(0.0, 1.0, 7) ** 3), 1.0, 0.3),
    "gaussian": lambda: mf.solve(e.Entropy() + DECAY, mf.Gaussian([1.0, 2.0], [[2.0, 0.3], [0.3, 0.5]]), 1.0, 0.3),
    "vector": decay,
    "field": lambda: mf.solve(
        e.Function(lambda u: 0.5 * np.sum(u**2) * GRID.cell_volume, lambda u: np.asarray(u)),
        mf.Field(np.random.default_rng(1).normal(size=(3, 4)), GRID),
        1.0,
        0.3,
        metric=mf.Sobolev(-1.5),
    ),
    "histogram": lambda: mf.solve(0.0 * DECAY, mf.Histogram(random_masses(), mf.Grid([(0.0, 1.0)], (49,))), 1.0, 0.3),
    "game": lambda: train(batch=8, seed=0, save_at=3),
    "stopped": lambda: decay(events=[event(half, terminal=True), lambda t, x: t - 0.2], speeds=2.0),
}


def random_masses():
    masses = np.random.default_rng(3).random(49)
    return masses / masses.sum()


@pytest.mark.parametrize("name", RUNS)
def test_files_hold_the_same_bits(name, tmp_path):
    sol = RUNS[name]()
    path = sol.save(tmp_path / "run")
    assert path == tmp_path / "run.npz"
    assert os.listdir(tmp_path) == ["run.npz"]
    loaded = mf.load(path)
    same_solution(sol, loaded)
    assert_array_equal(sol.slopes, loaded.slopes) if name != "histogram" else None
    assert {**sol.info, **loaded.info}.keys() == sol.info.keys()
    assert [repr(m) for m in loaded.players.metrics] == [repr(m) for m in sol.players.metrics]
    assert loaded.players.speeds == sol.players.speeds
    assert repr(loaded) == repr(sol)
    middle = 0.5 * (sol.t[1] + sol.t[2]) if len(sol) > 2 else sol.t[0]
    if name != "histogram":
        same(loaded(middle), sol(middle))
    with np.load(path) as plain:
        assert_array_equal(plain["t"], sol.t)


def test_loaded_solutions_say_what_they_cannot_do(tmp_path):
    loaded = mf.load(decay().save(tmp_path / "run.npz"))
    with pytest.raises(TypeError, match="needs the problem, which a file does not hold"):
        loaded.residuals()
    with pytest.raises(TypeError, match="needs the problem"):
        loaded(0.55, "degiorgi")
    same_solution(mf.load(loaded.save(tmp_path / "again.npz")), loaded)


def test_flows_that_failed_or_kept_one_row_can_be_kept(tmp_path):
    energy = e.Function(lambda x: 0.5 * np.sum(x**2) if x[0] > 0.5 else np.nan, lambda x: np.asarray(x))
    with pytest.raises(mf.CallbackError) as caught:
        mf.solve(energy, mf.Vector(1.0), 2.0, 0.1, scheme="explicit")
    same_solution(mf.load(caught.value.solution.save(tmp_path / "failed")), caught.value.solution)
    one = decay(save_at=[0.55])
    same_solution(mf.load(one.save(tmp_path / "one")), one)
    assert "1 rows" in repr(one) or "1 row" in repr(one)


def test_saving_again_replaces(tmp_path):
    path = tmp_path / "run.npz"
    decay(1.0, 0.5).save(path)
    decay(1.0, 0.1).save(path)
    assert len(mf.load(path)) == 11


def damaged(kind, good):
    """Return bytes that are not a solution."""
    data = bytearray(good)
    if kind == "empty":
        return b""
    if kind == "text":
        return b"not a solution\n" * 10
    if kind == "noise":
        return np.random.default_rng(0).bytes(5000)
    if kind == "truncated":
        return bytes(data[: len(data) // 2])
    if kind == "flipped":
        data[len(data) // 3] ^= 4
        return bytes(data)
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["empty", "text", "noise", "truncated", "flipped"])
def test_garbage_is_refused(kind, tmp_path):
    good = decay().save(tmp_path / "good.npz")
    bad = tmp_path / "bad.npz"
    bad.write_bytes(damaged(kind, good.read_bytes()))
    with pytest.raises(ValueError, match="path must be a file that Solution.save wrote"):
        mf.load(bad)


def test_paths_are_checked(tmp_path):
    with pytest.raises(FileNotFoundError):
        mf.load(tmp_path / "nothing.npz")
    with pytest.raises(TypeError, match="path must be a path"):
        mf.load(3)
    with pytest.raises(TypeError, match="path must be a path"):
        decay().save(None)
    with pytest.raises(ValueError, match="path must end in .npz"):
        decay().save(tmp_path / "run.txt")
    with pytest.raises(OSError):
        decay().save(tmp_path / "no folder" / "run.npz")


# the same bits -----------------------------------------------------------------------------------------------------------------


def big_mmd():
    rng = np.random.default_rng(0)
    target, start = mf.Particles(rng.normal(size=(3000, 2))), mf.Particles(rng.normal(size=(2500, 2)) + 1.0)
    return mf.solve(e.MMD(target, "gaussian"), start, 0.3, 0.1, scheme="explicit")


def big_gan():
    rng = np.random.default_rng(0)
    target, start = mf.Particles(rng.normal(size=(2000, 2))), mf.Particles(rng.normal(size=(1500, 2)) + 1.0)
    game = g.GAN(target, critic=g.NeuronCritic("tanh"), penalty=g.Ridge(1.0))
    neurons = mf.Particles(rng.normal(size=(300, 4)))
    options = {"scheme": mf.Explicit("alternating"), "speeds": (1.0, 10.0), "batch": 500, "seed": 1}
    return mf.solve(game, (start, neurons), 0.5, 0.1, **options)


@pytest.mark.parametrize("run", [big_mmd, big_gan])
def test_bits_do_not_depend_on_threads_or_on_the_run(run):
    most = min(2, numba.config.NUMBA_NUM_THREADS)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone, again = run(), run()
        numba.set_num_threads(most)
        together = run()
    finally:
        numba.set_num_threads(before)
    same_solution(alone, again)
    same_solution(alone, together)


@pytest.mark.parametrize("name", RUNS)
def test_two_runs_give_the_same_bits(name):
    same_solution(RUNS[name](), RUNS[name]())
