"""Sizes of steps - chosen by an error control, halved where a step fails - and why a flow ended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from test_solve import same_solution

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow.problems import distance_between

DECAY = e.Quadratic()


def auto(problem, initial, t, rtol=1e-2, atol=0.0, **options):
    return mf.solve(problem, initial, t, "auto", rtol=rtol, atol=atol, **options)


def rotation(t=2.0, rtol=1e-2, **options):
    return auto(g.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), t, rtol, scheme=mf.JKO("alternating"), **options)


# the error control ---------------------------------------------------------------------------------------------------


def length(sol):
    return float(np.sum(np.sqrt(np.sum(np.atleast_2d(sol.info["distance"].T).T ** 2, axis=-1))))


@pytest.mark.parametrize("rtol", [1e-1, 1e-2, 3e-3])
@pytest.mark.parametrize("label", ["E1", "E3", "S1", "S3", "S6", "S13", "G2"])
def test_errors_of_contracting_flows_stay_within_the_tolerance(label, rtol):
    """Local errors of at most rtol times the length of the curve do not grow where flows contract."""
    problem = mf.problems.get(label)
    sol = problem.solve("auto", "alternating" if problem.is_game else "jko", rtol=rtol, atol=0.0)
    assert problem.error(sol) <= 1.5 * rtol * length(sol)
    assert sol.t[-1] == problem.t_span[1] and sol.status == "done"


def test_errors_follow_the_tolerance():
    exact = (mf.Vector(np.cos(2.0)), mf.Vector(np.sin(2.0)))
    rtols = [5e-2, 2e-2, 7e-3, 2e-3]
    sols = [rotation(rtol=rtol) for rtol in rtols]
    errors = [distance_between(sol.states[-1], exact) for sol in sols]
    assert 0.9 < np.polyfit(np.log(rtols), np.log(errors), 1)[0] < 1.1
    assert 0.9 < -np.polyfit(np.log(rtols), np.log([sol.info["steps"] for sol in sols]), 1)[0] < 1.1


def test_atol_bounds_the_error_per_time():
    """Near equilibrium nothing moves, and atol alone allows long steps."""
    tight, loose = (auto(DECAY, mf.Vector(1.0), 20.0, 4e-3, atol) for atol in (0.0, 4e-3))
    assert loose.info["steps"] < 0.5 * tight.info["steps"]
    assert abs(loose.states[-1].values[0] - np.exp(-20.0)) <= 4e-3 * 20.0 + 4e-3


def test_steps_follow_the_time_scales():
    """Two decay rates, 1 and 1000: steps grow a hundred times when the fast one is gone."""
    sol = auto(e.Quadratic(np.diag([1000.0, 1.0])), mf.Vector([1.0, 1.0]), 5.0)
    taus = np.diff(sol.t)
    assert taus.max() > 100.0 * taus.min()
    assert_allclose(sol.states[-1].values, [0.0, np.exp(-5.0)], atol=2e-3)


def test_rejected_steps_are_counted_and_leave_no_trace():
    """A quiet start and a cliff: the step that runs over it is tried again; only accepted steps are rows."""
    cliff = e.Function(
        lambda x: x[0] + 500.0 * max(0.0, -x[0]) ** 2, lambda x: np.array([1.0 + (1000.0 * x[0] if x[0] < 0.0 else 0.0)])
    )
    sol = auto(cliff, mf.Vector(1.0), 1.5, 1e-2, 1e-2, scheme="explicit")
    assert sol.info["rejected"] > 3
    assert f"({sol.info['rejected']} more rejected)" in repr(sol)
    assert len(sol) == sol.info["steps"] + 1 and np.all(np.diff(sol.t) > 0.0)
    assert_allclose(sol.info["distance"].sum(), sum(mf.distance(a, b) for a, b in zip(sol.states, sol.states[1:], strict=False)))


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 2.0, 8.0]), st.sampled_from(["jko", "explicit"]))
@settings(max_examples=8)
def test_time_rescaling_gives_the_same_states(seed, c, scheme):
    """(E, t) -> (c E, t / c) is the same curve: powers of two make it so to the last bit."""
    start = mf.Particles(np.random.default_rng(seed).normal(size=(4, 2)))
    one = auto(DECAY + e.QuadraticInteraction(0.5), start, 1.0, atol=1e-3, scheme=scheme)
    other = auto(c * DECAY + c * e.QuadraticInteraction(0.5), start, 1.0 / c, atol=1e-3 * c, scheme=scheme)
    assert len(one) == len(other) and one.info["rejected"] == other.info["rejected"]
    for a, b in zip(one.states, other.states, strict=True):
        assert_allclose(a.points, b.points, rtol=1e-12, atol=1e-13)


@given(st.sampled_from([0.25, 4.0, 16.0]), st.floats(-3.0, 3.0), st.floats(0.1, 3.0))
@settings(max_examples=10)
def test_the_speed_of_a_player_is_its_metric(eta, x, y):
    """A player of speed eta lives in the metric d^2 / eta: alone it is the flow in the time eta t, relative errors and all."""
    slow = auto(DECAY, mf.Vector([x, y]), 1.0)
    fast = auto(DECAY, mf.Vector([x, y]), 1.0 / eta, speeds=eta)
    assert_allclose(fast.t * eta, slow.t, rtol=1e-14)
    assert_array_equal(fast.states[-1].values, slow.states[-1].values)


def test_the_product_metric_weighs_players_by_their_speeds():
    """With a fast critic its own error counts less: the steps are those of the slow player alone."""
    game = g.Game([lambda x, o: (0.5 * (x @ x), x - 0), lambda y, o: (0.5 * (y @ y), y - 0)])
    start = (mf.Vector(1.0), mf.Vector(1e-3))
    alone = auto(DECAY, mf.Vector(1.0), 1.0, scheme="explicit")
    both = auto(game, start, 1.0, speeds=(1.0, 1.0), scheme="explicit")
    assert abs(both.info["steps"] - alone.info["steps"]) <= 4
    assert_allclose([x.values[0] for x, _ in both.states][-1], alone.states[-1].values[0], rtol=1e-3)


def test_games_events_rows_and_batches_work_with_chosen_steps(tmp_path):
    found = rotation(7.0, 3e-3, events=lambda t, states: states[0][0])
    assert_allclose([t for _, t in found.info["events"]], [0.5 * np.pi, 1.5 * np.pi], rtol=5e-3)

    def zero(t, states):
        return states[0][0]

    zero.terminal = True
    stopped = rotation(7.0, 3e-3, events=zero)
    assert stopped.status == "event" and stopped.t[-1] == found.info["events"][0][1]
    times = [0.0, 0.1, 1.0, 2.0]
    assert_array_equal(rotation(save_at=times).t, times)
    assert_array_equal(rotation(save_at=5).t[1:-1], rotation().t[5:-1:5])
    target = mf.Particles(np.random.default_rng(0).normal(size=(20, 1)))

    def noisy(seed, **options):
        return auto(e.EnergyDistance(target), mf.Particles([[0.1], [0.4]]), 1.0, 1e-1, 1e-2, batch=3, seed=seed, **options)

    same_solution(noisy(1), noisy(1, store=tmp_path / "run"))
    assert noisy(1).states[-1].points[0, 0] != noisy(2).states[-1].points[0, 0]
    assert noisy(1).info["rejected"] < 20  # both half steps and the whole one see the same batch, so that noise is no error


def test_histograms_choose_steps_without_charts():
    grid = mf.Grid([(-3.0, 3.0)], (30,))
    start = mf.Histogram.from_density(lambda x: np.exp(-8.0 * (x[..., 0] - 1.0) ** 2), grid)
    sol = auto(e.Entropy() + e.Quadratic(), start, 0.5, 5e-2, save_at=4)
    assert sol.status == "done" and abs(sol.states[-1].masses.sum() - 1.0) < 1e-12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": "fast"}, "tau must be a positive number or 'auto', got 'fast'"),
        ({"rtol": -1e-3}, "rtol must be a finite number >= 0"),
        ({"atol": np.nan}, "atol must be a finite number >= 0"),
        ({"rtol": 0.0, "atol": 0.0}, "rtol and atol must not both be 0"),
        ({"throw": 1}, "throw must be True or False"),
        ({"store": 3}, "store must be a path"),
        ({"store": ""}, "store must name a file"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        mf.solve(**{"problem": DECAY, "initial": mf.Vector(1.0), "t_span": 1.0, "tau": "auto"} | options)


# halved steps ----------------------------------------------------------------------------------------------------------


def wall(place=0.5, value=np.nan):
    """|x|^2/2 with no value below a wall."""
    return e.Function(lambda x: 0.5 * np.sum(x**2) if x[0] > place else value, lambda x: np.asarray(x))


def test_a_failing_step_is_cut_and_steps_grow_back():
    """Concave energies allow steps below 1/|lambda|: every interval of length 1 takes two halves."""
    sol = mf.solve(e.Quadratic(-1.0), mf.Vector(1.0), 3.0, 1.0)
    assert_array_equal(sol.t, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    assert_array_equal(sol.states[-1].values, 64.0)
    assert sol.info["steps"] == 6 and sol.info["rejected"] == 3
    cut = mf.solve(e.Quadratic(-1.0), mf.Vector(1.0), 3.5, 4.0)
    assert_array_equal(cut.t, np.arange(5) * 0.875)  # halves of halves, joined again where both are left


def test_steps_grow_back_behind_the_trouble():
    """The fifth and sixth evaluations fail: a step is cut twice, and its parts are joined again."""
    calls = []

    def flaky(x):
        calls.append(1)
        if len(calls) in (5, 6):
            raise FloatingPointError("flaky")
        return 0.5 * np.sum(x**2)

    sol = mf.solve(e.Function(flaky, lambda x: np.asarray(x)), mf.Vector(1.0), 1.0, 0.125, scheme="explicit")
    assert_array_equal(np.diff(sol.t) / 0.125, [1, 1, 1, 0.25, 0.25, 0.5, 1, 1, 1, 1])
    assert sol.info["rejected"] == 2 and sol.info["steps"] == 10


def test_every_kth_step_counts_halved_steps():
    thin, full = (mf.solve(e.Quadratic(-1.0), mf.Vector(1.0), 3.0, 1.0, save_at=k) for k in (4, 1))
    assert_array_equal(thin.t, [0.0, 2.0, 3.0])
    assert_allclose(thin.info["distance"].sum(), full.info["distance"].sum())


@pytest.mark.parametrize("tau", [0.1, "auto"])
@pytest.mark.parametrize("scheme", ["jko", "explicit"])
def test_twenty_halvings_end_a_flow_that_cannot_go_on(scheme, tau):
    sol = mf.solve(wall(), mf.Vector(1.0), 2.0, tau, scheme=scheme, throw=False)
    assert sol.status is mf.Status.not_finite and not sol.success
    assert 0.5 < sol.states[-1].values[0] < 0.5 + 1e-6
    assert sol.info["rejected"] >= 21
    assert "must return finite values" in sol.message and "(the step was halved 20 times)" in sol.message
    assert sol.message in repr(sol)
    with pytest.raises(mf.CallbackError, match=r"in the step from t = 0\.\d+ to 0\.\d+: f must return finite values") as caught:
        mf.solve(wall(), mf.Vector(1.0), 2.0, tau, scheme=scheme)
    assert caught.value.status is mf.Status.not_finite and caught.value.time == sol.t[-1]
    same_solution(caught.value.solution, sol)
    assert isinstance(caught.value.__cause__, mf.CallbackError)


@pytest.mark.parametrize("coupling", ["simultaneous", "alternating", "implicit"])
@pytest.mark.parametrize("player", [0, 1])
def test_the_player_that_cannot_go_on_is_named(player, coupling):
    def calm(x, others):
        return 0.5 * (x @ x), x - 0

    def walled(x, others):
        return (0.5 * (x @ x) if x[0] > 0.5 else np.inf), x - 0

    game = g.Game([walled, calm] if player == 0 else [calm, walled])
    start = (mf.Vector(1.0), mf.Vector(1.0))
    with pytest.raises(mf.MeasureflowError, match=rf"in the step from t = .* to .*, player {player}: ") as caught:
        mf.solve(game, start, 2.0, 0.1, scheme=mf.Explicit(coupling))
    assert caught.value.player == player
    assert caught.value.status == "not_finite"


def test_an_inner_solver_that_fails_ends_as_not_converged():
    quartic = e.Potential(lambda x: np.sum(x**4, axis=1), lambda x: 4.0 * x**3)
    scheme = mf.JKO(max_iterations=1, tolerance=1e-15)
    sol = mf.solve(quartic, mf.Particles([[2.0, 1.0]]), 1.0, 0.5, scheme=scheme, throw=False)
    assert sol.status is mf.Status.not_converged and "did not reach its tolerance" in sol.message
    with pytest.raises(mf.ConvergenceError) as caught:
        mf.solve(quartic, mf.Particles([[2.0, 1.0]]), 1.0, 0.5, scheme=scheme)
    assert caught.value.residual > caught.value.tolerance


def test_an_error_control_that_asks_too_much_stalls():
    sol = auto(DECAY, mf.Vector(1.0), 1.0, 1e-17, throw=False)
    assert sol.status is mf.Status.stalled and "rtol or atol is too small" in sol.message
    with pytest.raises(mf.ConvergenceError, match="below the rounding of the states") as caught:
        auto(DECAY, mf.Vector(1.0), 1.0, 1e-17)
    assert caught.value.status is mf.Status.stalled and len(caught.value.solution) >= 1


def test_blow_up_ends_near_the_pole():
    """x' = x^2 from 1 has its pole at t = 1."""
    pole = e.Function(lambda x: -(x[0] ** 3) / 3.0, lambda x: -(np.asarray(x) ** 2))
    sol = auto(pole, mf.Vector(1.0), 2.0, 1e-2, scheme="explicit", throw=False)
    assert sol.status in (mf.Status.stalled, mf.Status.not_finite)
    assert_allclose(sol.outcome.t, 1.0, atol=2e-2)


# what the user's functions raise -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError, TypeError, RuntimeError, MemoryError, AttributeError, RecursionError])
def test_other_exceptions_pass_at_once_and_carry_the_flow(error):
    calls = []

    def f(x):
        if x[0] < 0.7:
            calls.append(1)
            raise error("lost")
        return 0.5 * np.sum(x**2)

    with pytest.raises(error, match="lost") as caught:
        mf.solve(e.Function(f, lambda x: np.asarray(x)), mf.Vector(1.0), 1.0, 0.1, scheme="explicit")
    assert type(caught.value) is error and len(calls) == 1
    flow = caught.value.solution
    assert_allclose(flow.t, [0.0, 0.1, 0.2, 0.3], rtol=1e-15)
    assert flow.status == "interrupted" and f"{error.__name__} in the step from t = 0.3" in flow.message
    assert any("attribute `solution`" in note for note in caught.value.__notes__)


def test_wrong_shapes_are_not_tried_again():
    calls = []

    def grad(x):
        calls.append(1)
        return np.ones(3) if x[0] < 0.7 else np.asarray(x)

    with pytest.raises(mf.CallbackError, match=r"in the step from t = .*shape") as caught:
        mf.solve(e.Function(lambda x: 0.0, grad), mf.Vector(1.0), 1.0, 0.1, scheme="explicit")
    assert len(calls) < 8 and len(caught.value.solution) == 4


def test_a_domain_error_is_a_reason_to_step_less():
    """math.sqrt raises ValueError below 0: halved steps go on to the edge of the domain."""
    import math

    energy = e.Function(lambda x: 2.0 * math.sqrt(x[0] - 0.5), lambda x: 1.0 / np.sqrt(np.asarray(x) - 0.5))
    sol = mf.solve(energy, mf.Vector(1.0), 1.0, 0.1, scheme="explicit", throw=False)
    assert sol.status in (mf.Status.not_converged, mf.Status.not_finite) and sol.info["rejected"] > 20
    assert 0.5 <= sol.states[-1].values[0] < 0.51


def test_every_status_has_a_sentence():
    stop = lambda t, x: t - 0.5  # noqa: E731
    stop.terminal = True
    ends = [
        mf.solve(DECAY, mf.Vector(1.0), 1.0, 0.1),
        mf.solve(DECAY, mf.Vector(1.0), 1.0, 0.1, events=stop),
        mf.solve(wall(), mf.Vector(1.0), 2.0, 0.1, throw=False),
    ]
    assert [sol.status for sol in ends] == ["done", "event", "not_finite"]
    assert [sol.success for sol in ends] == [True, True, False]
    for sol in ends:
        assert sol.message == sol.info["message"] and len(sol.message) > 20 and f"{sol.outcome.t:.3g}" in sol.message
