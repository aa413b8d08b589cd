"""Explanations of flows: what is known of problems with exact solutions is found, and what is suggested cures."""

from __future__ import annotations

import numpy as np
import pytest

import measureflow as mf
from measureflow import games as g
from measureflow import modes, problems
from measureflow.diagnostics.captured import found_modes
from measureflow.diagnostics.decay import fitted
from measureflow.diagnostics.rotation import rotation
from measureflow.modes.laws import random_neurons
from measureflow.problems.dirac import dirac_gan, nonsaturating_dirac_gan
from measureflow.problems.games import linear_quadratic, ring_gan
from measureflow.problems.modes import hopping, ring_law


def by_name(found):
    return {s.name: s for s in found.suggestions}


def again(problem, suggestion, scheme="rk4", tau=0.05, t=40.0):
    """Solve a problem with a suggested change."""
    options = {
        "problem": problem.problem,
        "t_span": t,
        "tau": tau,
        "scheme": scheme,
        "speeds": problem.speeds,
        **suggestion.change,
    }
    game, span, step = (options.pop(name) for name in ("problem", "t_span", "tau"))
    return mf.solve(game, problem.initial, span, step, **options)


# rotation -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["simultaneous", "alternating", "implicit", "extragradient", "vim implicit", "rk4"])
def test_rotation_of_the_bilinear_game_is_told_from_what_the_step_adds(name):
    tau, problem = 0.05, problems.get("G1")
    found = problem.solve(tau, name, t=20.0).explain()
    exact = np.log(problem.factors[name](tau)) / tau
    assert found.status == "rotates"
    assert abs(found.evidence["growth"] - exact.real) < 1e-8
    assert abs(found.evidence["frequency"] - abs(exact.imag)) < 1e-8
    assert abs(found.evidence["growth of the flow, linearised"]) < 1e-9
    assert ("made by the step" in found.text) == (abs(exact.real) > 1e-3)


@pytest.mark.parametrize("name", ["ridge", "unrolled", "scheme"])
def test_what_is_suggested_against_rotation_ends_it(name):
    problem = problems.get("G1")
    suggested = by_name(problem.solve(0.05, "alternating", t=20.0).explain())[name]
    cured = again(problem, suggested, "explicit", t=20.0).explain()
    if name == "scheme":  # damped by omega^2 tau/2 only
        assert abs(cured.evidence["growth"] + suggested.value) < 1e-3
        return
    assert cured.status == "converged"
    assert abs(cured.evidence["rate of the flow, linearised"] - 1.0) < 0.03  # critical damping of the frequency 1


@pytest.mark.parametrize("r2", [0.5, 2.0])
def test_period_of_the_dirac_gan(r2):
    problem = dirac_gan(r2)
    found = problem.solve(0.1, "rk4", t=30.0).explain()
    assert found.status == "rotates"
    assert abs(found.evidence["period"] / problem.constants["period"] - 1.0) < 1e-4
    cured = again(problem, by_name(found)["ridge"], tau=0.1, t=20.0).explain()
    assert cured.status == "converged"


@pytest.mark.parametrize(("label", "tau", "t"), [("G7", 0.04, 18.0), ("G8", 0.02, 25.0)])
def test_periods_of_clipped_and_penalised_games(label, tau, t):
    problem = problems.get(label)
    found = problem.solve(tau, "rk4", t=t).explain()
    assert found.status == "rotates"
    assert abs(found.evidence["period"] / problem.constants["period"] - 1.0) < 1e-3
    assert abs(found.evidence["growth"]) < 1e-3


def test_damped_games_converge_at_their_rates():
    found = problems.get("G5").solve(0.15, "rk4", t=45.0).explain()
    assert found.status == "converged"
    assert abs(found.evidence["rate"] - 0.15) < 1e-4
    assert abs(found.evidence["frequency"] - np.sqrt(0.25 - 0.0225)) < 1e-4
    slow = nonsaturating_dirac_gan().solve(0.4, "rk4", t=200.0).explain()
    assert slow.status == "converges"
    assert abs(slow.evidence["exponent of the speed"] - 0.5) < 0.02  # r^2 falls like 8/t (G4)


def test_too_large_a_step_is_found_and_halved_below_the_threshold():
    problem = linear_quadratic()
    found = problem.solve(0.2, "explicit", t=20.0).explain()
    suggested = by_name(found)["tau"]
    assert "too large" in found.text
    assert abs(found.evidence["growth of the flow, linearised"] + 0.3) < 1e-6
    assert abs(2.0 * suggested.value / (0.6 / (0.09 + 4.0)) - 1.0) < 0.02
    cured = again(problem, suggested, "explicit").explain()
    assert cured.status == "converged"


# modes --------------------------------------------------------------------------------------------------------------


def test_one_atom_on_the_ring_rotates_or_freezes():
    turning = ring_gan(1.0, 0.6).solve(0.1, "rk4", t=20.0).explain()
    assert turning.status == "rotates"
    assert abs(turning.evidence["frequency"] - 0.8) < 1e-6
    still = ring_gan(1.0, 1.4).solve(0.1, "rk4", t=20.0).explain()
    assert still.status == "frozen"
    assert abs(still.evidence["gap in the features"] - 1.0) < 1e-9
    assert turning.suggestions[0].name == still.suggestions[0].name == "generator"


def test_hopping_between_two_modes_ends_with_the_ridge_that_is_suggested():
    problem = hopping(1.0, 0.0)
    found = problem.solve(0.1, "rk4", t=40.0).explain()
    assert found.status == "hops"
    assert found.evidence["changes of the heaviest mode"] > 3
    ridge = by_name(found)["ridge"]
    assert ridge.value > 1.0  # theta^2 = 1/2 is stable if and only if beta^2 eta > 1 (M4)
    assert again(problem, ridge, tau=0.05, t=20.0).explain().status == "frozen"
    assert hopping(2.0, 1.0).solve(0.2, "rk4", t=40.0).explain().status == "frozen"


def test_a_law_on_the_ring_rests_where_the_features_are_blind():
    found = ring_law(start=(0.5, 0.3 + 0.4j)).solve(0.1, "rk4", t=40.0).explain()
    assert found.status == "blind"
    assert abs(found.evidence["rate"] - 0.3) < 1e-3
    assert found.evidence["gap in the features"] < 1e-4 < found.evidence["W2 to the target"]


def random_features(bandwidth, p, seed=3):
    rng = np.random.default_rng(seed)
    w, b, a = rng.normal(size=(2, p)) / bandwidth, rng.uniform(0.0, 2.0 * np.pi, p), np.sqrt(2.0 / p)
    return g.FeatureCritic(lambda x: a * np.cos(x @ w + b), lambda x: -a * np.sin(x @ w + b)[:, :, None] * w.T[None])


def test_a_run_with_random_features_is_cured_by_the_ridge_that_is_suggested():
    layout = modes.ring(5, radius=3.0, std=0.2)
    start, critic = layout.start(80, 1, spread=0.3), mf.Vector(np.zeros(80))
    game = g.GAN(layout.particles(80, 0), critic=random_features(1.2, 80), penalty=g.Ridge(0.02))
    bad = mf.solve(game, (start, critic), 200.0, 0.25, scheme="explicit", save_at=8)
    found = bad.explain()
    assert found.status in ("hops", "collapsed")
    ridge = by_name(found)["ridge"]
    good = mf.solve(ridge.change["problem"], (start, critic), 400.0, 0.25, scheme="explicit", save_at=8)
    seen = good.explain(layout.centres, layout.std * 1.5)
    assert seen.status == "converged", seen
    assert layout.cover(good.states[-1][0]).visited == len(layout)


def neurons(layout, n, beta, eta, t, tau=0.2, count=100, **start):
    """A GAN with tanh neurons and the loss "wasserstein", which has a slow critic and hardly a ridge."""
    data = layout.particles(n, 0)
    game = g.GAN(data, critic=g.NeuronCritic(), penalty=g.Ridge(beta))
    pair = (layout.start(n, 1, **start), random_neurons(data.points, count, 0))
    scheme = mf.Explicit("alternating")
    return mf.solve(game, pair, t, tau, scheme=scheme, speeds=(1.0, eta), save_at=2, throw=False)


@pytest.mark.parametrize(
    ("layout", "n", "count"),
    [(modes.uneven(modes.ring(std=0.03), 10.0), 150, 100), (modes.mixture([[-1.0], [1.0]], 0.05), 40, 60)],
)
def test_neurons_that_lose_modes_are_cured_by_the_loss_that_is_suggested(layout, n, count):
    bad = neurons(layout, n, 0.001, 0.3, 100.0, count=count, spread=0.5)
    found = bad.explain()
    assert found.status in ("hops", "collapsed")
    assert found.evidence["modes over time"] > layout.cover(bad.states[-1][0]).fair_modes
    change = dict(by_name(found)["loss"].change)
    problem, span, tau = (change.pop(name) for name in ("problem", "t_span", "tau"))
    good = mf.solve(problem, bad.states[0], span, tau, save_at=10, **change)
    assert good.explain().status == "converged"
    assert layout.cover(good.states[-1][0]).fair_modes == len(layout)


def test_what_starts_in_one_mode_and_sees_no_other_has_collapsed_from_the_start():
    layout = modes.mixture([[-1.0], [1.0]], 0.05)

    def bump(x):
        return np.exp(-0.5 * ((x - 1.0) / 0.2) ** 2)

    critic = g.FeatureCritic(bump, lambda x: (-(x - 1.0) / 0.04 * bump(x))[:, :, None])
    game = g.GAN(layout.particles(50, 0), critic=critic, penalty=g.Ridge(1.0))
    pair = (layout.start(50, 1, spread=0.05, at=[-1.0]), mf.Vector([0.0]))
    found = mf.solve(game, pair, 40.0, 0.1, scheme="explicit").explain()
    assert found.status == "collapsed"
    assert (found.evidence["modes"], found.evidence["modes of the target"], found.evidence["since t"]) == (1, 2, 0)


def test_blurs_runs_that_go_on_and_runs_away_are_no_collapse():
    layout = modes.ring(std=0.03)
    short = neurons(layout, 100, 0.01, 1.0, 0.8, spread=0.5)
    assert short.explain().status == "undecided"
    target, start = layout.particles(100, 0), layout.start(100, 1)
    moving = mf.solve(mf.energies.SquaredWasserstein(target), start, 0.6, 0.05).explain()
    assert moving.status == "converges"
    wide = mf.solve(mf.energies.MMD(target, "gaussian", 3.0), start, 100.0, 2.0, scheme="explicit").explain()
    assert wide.status == "blurred"
    change = by_name(wide)["kernel"].change
    sharp = mf.solve(change["problem"], start, 40.0, change["tau"], scheme="explicit")
    assert sharp.explain().status == "converged"
    away = neurons(layout, 100, 0.0001, 30.0, 200.0, 2.0, spread=0.5).explain()
    assert away.status == "diverges"
    assert by_name(away)["tau"].value < 0.5


def test_weights_of_modes_rotate_and_networks_are_seen_through():
    found = problems.get("G13").solve(0.1, t=40.0).explain()
    assert found.status == "rotates"
    assert "conserves the KL" in found.text
    run = modes.train_network(modes.ring(4, std=0.05), widths=(16, 16), samples=150, t=4.0, passes=60, rows=64)
    seen = run.solution.explain()
    assert seen.evidence["modes of the target"] == 4
    assert seen.status in ("converged", "converges", "blurred")


def test_numbers_beyond_every_bound_are_said_to_diverge():
    sol = mf.solve(mf.games.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 4000.0, 10.0, scheme="explicit", throw=False)
    assert sol.explain().status == "diverges"


@pytest.mark.parametrize(
    ("layout", "n"),
    [
        (modes.ring(), 60),
        (modes.ring(std=0.1), 300),
        (modes.uneven(modes.ring(std=0.03), 10.0), 300),
        (modes.grid(), 300),
        (modes.spiral(), 300),
        (modes.grid(10, std=0.1), 1000),
        (modes.mixture([[0, 0], [3, 0], [0, 3], [3, 3], [1.5, 1.5]], [0.02, 0.3, 0.1, 0.05, 0.2]), 120),
        (modes.mixture([[0, 0], [3, 0]], [0.3, 0.1], [0.95, 0.05]), 300),
        (modes.mixture(np.random.default_rng(5).normal(size=(6, 50)), 0.3), 60),
    ],
)
def test_modes_are_found_in_few_samples(layout, n):
    found = found_modes(layout.particles(n, seed=1))
    assert len(found) == len(layout)
    nearest = np.linalg.norm(found.centres[:, None] - layout.centres, axis=2).argmin(axis=1)
    assert len(set(nearest)) == len(layout)


def test_no_modes_are_found_where_there_are_none():
    rng = np.random.default_rng(0)
    turn = 2.0 * np.pi * rng.uniform(size=200)
    lattice = np.stack(np.meshgrid(np.arange(15.0), np.arange(15.0)), axis=-1).reshape(-1, 2)
    laws = [rng.normal(size=shape) for shape in ((500, 2), (400, 1), (200, 5), (30, 2), (100, 40))]
    laws += [rng.uniform(size=(n, d)) for n in (30, 300) for d in (1, 2, 3)]
    laws += [rng.standard_t(3, size=(300, 2)), rng.exponential(size=(300, 2)), np.stack([np.cos(turn), np.sin(turn)], axis=1)]
    for points in (*laws, lattice, np.linspace(0.0, 1.0, 100)[:, None]):
        assert found_modes(mf.Particles(points)) is None


def test_modes_do_not_depend_on_units_order_or_place():
    points = modes.grid(3, std=0.15).sample(120, 0)
    moved = 1e-3 * points[np.random.default_rng(1).permutation(120)] + [5.0, -7.0]
    first, second = (found_modes(mf.Particles(x)) for x in (points, moved))
    where = first.centres * 1e-3 + [5.0, -7.0]
    same = np.linalg.norm(where[:, None] - second.centres, axis=2).argmin(axis=1)
    assert sorted(same) == list(range(9))
    assert np.abs(where - second.centres[same]).max() < 1e-9
    assert np.abs(first.radii * 1e-3 - second.radii[same]).max() < 1e-9


# single flows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("label", "rate"), [("S1", 1.0), ("E1", 1.0), ("S13", 1.0), ("S10", 2.0)])
def test_flows_converge_at_the_rate_of_their_steps(label, rate):
    tau = 0.05
    found = problems.get(label).solve(tau, t=8.0).explain()
    assert found.status == "converged"
    assert abs(found.evidence["rate"] - np.log(1.0 + rate * tau) / tau) < 2e-3


def test_flows_that_arrive_in_finite_time_or_algebraically():
    found = problems.get("E2").solve(0.05, t=4.0).explain()
    assert found.status == "converged"
    assert 0.7 <= found.evidence["time of arrival"] <= 0.8
    slow = problems.get("E3").solve(0.02, t=20.0).explain()
    assert slow.status == "converges"
    assert abs(slow.evidence["exponent of the distance"] - 0.5) < 0.02


def test_batches_shrink_the_spread_by_the_root_of_rho():
    rng = np.random.default_rng(0)
    target = mf.Particles(rng.normal(size=(400, 1)))
    energy = mf.energies.SlicedWasserstein(target, 1, seed=0)  # W2 on the line
    sol = mf.solve(energy, mf.Particles(2.0 * target.points), 30.0, 0.1, batch=3, seed=1)
    found = sol.explain()
    rho = np.mean(np.square([-0.8462843753, 0.0, 0.8462843753]))  # means of three sorted normal variables (N4)
    assert found.status == "shrunk"
    assert abs(found.evidence["spread, relative to the target's"] - np.sqrt(rho)) < 0.05
    assert abs(found.evidence["batch that shrinks so"] - 3.0) < 0.7
    cured = mf.solve(energy, sol.states[0], 15.0, 0.1, seed=1, **by_name(found)["batch"].change)
    spread = np.mean([np.std(cured.states[k].points) for k in range(-50, 0)]) / np.std(target.points)
    assert abs(spread - 0.99) < 0.012


def test_a_narrow_kernel_freezes_and_the_energy_distance_goes_on():
    target = mf.Particles([[9.0], [10.0], [11.0]])
    start = mf.Particles([[0.0], [3.0]])
    found = mf.solve(mf.energies.MMD(target, mf.energies.GaussianKernel(0.2)), start, 4.0, 0.1).explain()
    assert found.status == "frozen"
    cure = by_name(found)["kernel"].change["problem"]
    assert (
        mf.solve(cure, start, 20.0, 0.1).explain().evidence.get("W2 to the target", 0.0) < found.evidence["W2 to the target"] / 4
    )


def test_a_flow_that_runs_away_diverges():
    sol = mf.solve(mf.energies.Quadratic(-1.0), mf.Vector(1.0), 5.0, 0.05, scheme="rk4")
    assert sol.explain().status == "diverges"


# loaded runs, arguments, and the parts ------------------------------------------------------------------------------


def test_loaded_runs_are_explained_by_their_states(tmp_path):
    problem = problems.get("G1")
    found = mf.load(problem.solve(0.05, "simultaneous", t=20.0).save(tmp_path / "run.npz")).explain()
    assert found.status == "rotates"
    assert abs(found.evidence["growth"] - 0.5 * np.log1p(0.05**2) / 0.05) < 1e-8
    assert not found.suggestions
    hops = mf.load(hopping().solve(0.1, "rk4", t=40.0).save(tmp_path / "hops.npz"))
    assert hops.explain(centres=[[-1.0], [1.0]]).status == "hops"


def test_short_and_resting_runs():
    sol = mf.solve(mf.energies.Quadratic(), mf.Vector(0.0), 1.0, 0.5)
    assert sol.explain().status == "converged"
    assert "converged: " in repr(sol.explain())
    one = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.5, save_at=[1.0])
    assert one.explain().status == "undecided"


@pytest.mark.parametrize(
    ("centres", "std", "text"),
    [
        (None, 0.1, "std must be None without centres"),
        ([[0.0]], None, "centres must be two or more"),
        ([[0.0], [1.0]], -1.0, "std must be positive"),
        ([[0.0], [1.0]], [1.0, 1.0, 1.0], "std must be positive, one number or one a centre"),
        ([0.0, 1.0], None, "centres"),
    ],
)
def test_bad_modes_are_named(centres, std, text):
    sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.5)
    with pytest.raises(ValueError, match=text):
        sol.explain(centres, std)


def test_decays_are_told_apart():
    t = np.linspace(0.0, 20.0, 200)
    assert fitted(t, 3.0 * np.exp(-0.7 * t)).kind == "exponential"
    algebraic = fitted(t, (1.0 + t) ** -1.5)
    assert algebraic.kind == "algebraic"
    assert abs(algebraic.rate - 1.5) < 0.05
    assert fitted(t, np.where(t < 5.0, 1.0, 0.0)).kind == "finite"
    assert fitted(t, np.ones(200)) is None


@pytest.mark.parametrize("steps", [np.linspace(0.0, 15.0, 400), 15.0 * np.linspace(0.0, 1.0, 400) ** 1.3])
def test_rotation_about_any_centre_at_any_times(steps):
    spiral = np.exp(-0.1 * steps) * np.array([3.0 * np.cos(2.0 * steps), np.sin(2.0 * steps)])
    found = rotation(steps, (spiral + [[5.0], [-2.0]]).T)
    assert abs(found.frequency - 2.0) < 1e-3
    assert abs(found.growth + 0.1) < 1e-3
    assert np.abs(found.centre - [5.0, -2.0]).max() < 1e-2
    assert rotation(steps, np.stack([steps, steps**2], axis=1)) is None
