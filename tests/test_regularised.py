"""Regularised games, and games of laws under W2 with entropy (theory, 3.7, G11)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import expm

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow import problems
from measureflow.problems.mean_field import quantile_entropy
from measureflow.recipes import decode, encode, has_python

FR = mf.FisherRao()
GRID = mf.Grid([(0.0, 1.0)], (4,))
PAIR = (mf.Vector([1.0, -2.0]), mf.Vector([0.5, 3.0]))


def order(taus, errors):
    return float(np.polyfit(np.log(taus), np.log(errors), 1)[0])


# the game -----------------------------------------------------------------------------------------------------------


def test_energies_are_sums():
    own = (e.Quadratic(0.7), e.Box(-1.0, 4.0) + e.Quadratic(0.1))
    plain, game = g.Bilinear([[1.0, 0.5], [0.0, 2.0]]), g.Regularised(g.Bilinear([[1.0, 0.5], [0.0, 2.0]]), own)
    for k in (0, 1):
        value, gradient = game.energy(k, PAIR).value_and_gradient(PAIR[k])
        assert_allclose(value, plain.energy(k, PAIR).value(PAIR[k]) + own[k].value(PAIR[k]), rtol=1e-14)
        assert_allclose(gradient, plain.energy(k, PAIR).gradient(PAIR[k]) + own[k].gradient(PAIR[k]), rtol=1e-14)
    assert game.energy(1, PAIR).bounds == (-1.0, 4.0)
    assert not game.zero_sum and plain.zero_sum
    assert game.best_response(0, PAIR) is None


def test_nothing_added_is_the_game_itself():
    game = g.Regularised(g.DiracGAN("wgan"), [None, None])
    start = (mf.Vector(1.0), mf.Vector(0.3))
    flows = [mf.solve(each, start, 1.0, 0.1, scheme=mf.JKO("alternating")) for each in (game, game.game)]
    assert np.array_equal(flows[0].energies, flows[1].energies)


def test_quadratics_are_those_of_the_linear_quadratic_game():
    game = g.Regularised(g.Bilinear(2.0), [e.Quadratic(0.3), e.Quadratic(0.3)])
    p = problems.get("G2")
    for scheme in (mf.JKO("implicit"), mf.JKO("alternating"), mf.Explicit()):
        flows = [mf.solve(each, p.initial, 1.0, 0.1, scheme=scheme) for each in (game, p.problem)]
        assert problems.distance_between(flows[0].states[-1], flows[1].states[-1]) < 1e-10


def test_a_box_clips_one_player():
    """G7 by other means: the critic's steps are projected on the box."""
    game = g.Regularised(g.Bilinear(1.0), [None, e.Box(-0.5, 0.5)])
    sol = mf.solve(game, (mf.Vector(2.0), mf.Vector(0.0)), 6.0, 0.02, scheme="explicit")
    critic = np.array([states[1].values[0] for states in sol.states])
    assert critic.max() == 0.5 and critic.min() >= -0.5


def test_minibatches_of_game_and_energies():
    target = mf.Particles(np.random.default_rng(0).normal(size=(20, 1)))
    critic = g.FeatureCritic(lambda x: x, lambda x: np.ones((len(x), 1, 1)))
    start = (mf.Particles([[0.0], [1.0]]), mf.Vector([0.2]))
    gan, mmd = g.GAN(target, critic=critic, penalty=g.Ridge(1.0)), e.MMD(target, "gaussian")
    for game in (
        g.Regularised(gan, [None, e.Quadratic()]),
        g.Regularised(gan, [mmd, None]),
        g.Regularised(g.Game([mmd, mmd]), [None] * 2),
    ):
        batch = game.minibatch(5, np.random.default_rng(1))
        assert isinstance(batch, g.Regularised) and batch.energies[1] is game.energies[1]
        assert batch.energy(0, start).value(start[0]) != game.energy(0, start).value(start[0])
    assert g.Regularised(g.Bilinear(1.0), [e.Quadratic(), None]).minibatch(5, np.random.default_rng(1)) is None
    first, second = (mf.solve(g.Regularised(gan, [mmd, None]), start, 0.5, 0.1, batch=4, seed=3) for _ in range(2))
    assert np.array_equal(first.energies, second.energies)


def test_states_are_checked_by_the_game():
    with pytest.raises(ValueError, match=r"initial\[0\] must have dimension 1 to fit C"):
        mf.solve(g.Regularised(g.Bilinear(1.0), [None, None]), PAIR, 1.0, 0.5)
    law = mf.Histogram([0.25] * 4, GRID)
    with pytest.raises(mf.UnsupportedError, match=r"energies\[1\] must not be a Box for a Histogram"):
        game = g.Regularised(g.MatrixGame(np.eye(4)), [None, e.Box(0.0, 1.0)])
        mf.solve(game, (law, law), 1.0, 0.5, metric=FR)


def test_a_failing_energy_names_the_player():
    game = g.Regularised(g.Bilinear(1.0), [None, e.Entropy()])
    with pytest.raises(mf.UnsupportedError, match="Entropy is defined on") as caught:
        mf.solve(game, (mf.Vector(1.0), mf.Vector(1.0)), 1.0, 0.5)
    assert caught.value.player == 1


def test_recipes_keep_regularised_games():
    game = g.Regularised(g.LinearQuadratic(1.0, np.eye(2), 0.5), [e.Entropy(0.5), None])
    arrays: dict = {}
    recipe = encode(game, arrays)
    again = decode(recipe, arrays)
    assert not has_python(recipe) and repr(again.energies) == repr(game.energies)
    assert isinstance(again.game, g.LinearQuadratic) and again.energies[0].temperature == 0.5


# G11 ----------------------------------------------------------------------------------------------------------------

LINE = {"P": 0.8, "C": 1.5, "Q": 0.4, "first": mf.Gaussian(1.0, 2.0), "second": mf.Gaussian(-1.0, 0.1)}
MIXED = {"C": [[1.0], [-2.0]], "Q": 0.7, "second": mf.Gaussian(0.5, 3.0)}


@pytest.mark.parametrize("parameters", [LINE, MIXED], ids=["line", "plane against line"])
def test_exact_steps_in_other_dimensions(parameters):
    p = problems.get("G11", **parameters)
    assert p.distance(p.exact(0.0), p.initial) < 1e-12
    for scheme, step in p.exact_step.items():
        sol = p.solve(0.1, scheme, t=0.3)
        for before, after in zip(sol.states[:-1], sol.states[1:], strict=True):
            assert p.distance(after, step(before, 0.1)) < 1e-9


@pytest.mark.parametrize("scheme", ["simultaneous", "alternating", "implicit", "explicit simultaneous", "explicit alternating"])
def test_entropic_game_is_of_first_order(scheme):
    p = problems.get("G11")
    taus = 1.0 / (np.array([12, 16, 22, 30]) if scheme == "implicit" else np.array([24, 36, 54, 81]))
    assert abs(order(taus, [p.error(p.solve(tau, scheme, save_at=10**6)) for tau in taus]) - 1.0) < 0.05


def test_entropic_game_contracts_at_the_rate_of_d2():
    """D2 in the true W2: e^{min(l1, l2) t} D(t) does not increase, and implicit steps contract by 1/(1 + l tau)."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        roots = rng.normal(size=(4, 2, 2))
        laws = [mf.Gaussian(rng.normal(size=2), r @ r.T + 0.1 * np.eye(2)) for r in roots]
        flows = [problems.get("G11", first=a, second=b) for a, b in (laws[:2], laws[2:])]
        rate, times = flows[0].constants["rate of D2"], np.linspace(0.0, 3.0, 13)
        apart = np.array([flows[0].distance(flows[0].exact(t), flows[1].exact(t)) for t in times])
        assert np.all(np.diff(np.exp(rate * times) * apart) <= 1e-12)
    sols = [p.solve(0.4, "simultaneous", t=8.0, save_at=20) for p in flows]
    assert flows[0].distance(sols[0].states[-1], sols[1].states[-1]) < 0.1 * apart[0]


def test_both_players_relax_to_their_own_temperature():
    """The sign of player 2: J = ... - T Ent(nu) is ascended, so that nu spreads, to the covariance T Q^(-1)."""
    p = problems.get("G11", temperature=0.5)
    for law, own in zip(p.exact(40.0), (p.problem.game.P, p.problem.game.Q), strict=True):
        assert_allclose(law.cov, 0.5 * np.linalg.inv(own), atol=1e-9)
    assert_allclose(np.concatenate([law.mean for law in p.exact(40.0)]), 0.0, atol=1e-9)


def test_means_are_those_of_the_game_without_entropy():
    p = problems.get("G11")
    game = p.problem.game
    field = np.block([[game.P, game.C], [-game.C.T, game.Q]])
    start = np.concatenate([law.mean for law in p.initial])
    assert_allclose(np.concatenate([law.mean for law in p.exact(0.7)]), expm(-0.7 * field) @ start, rtol=1e-12)


# 3.7 ----------------------------------------------------------------------------------------------------------------


def test_quadratic_kernel_exchanges_entropy_exactly():
    p = problems.get("3.7")
    for t in (0.3, 1.0):
        changes = [quantile_entropy(b) - quantile_entropy(a) for a, b in zip(p.initial, p.exact(t), strict=True)]
        assert_allclose(changes, [t, -t], rtol=1e-12)


def test_entropy_of_quantiles_is_that_of_the_law():
    levels = (np.arange(2000) + 0.5) / 2000
    assert_allclose(quantile_entropy(mf.Quantiles(3.0 * levels)), -np.log(3.0), atol=1e-12)
    assert_allclose(quantile_entropy(mf.Quantiles(levels**2 + levels)), 1.0 - 1.5 * np.log(3.0), atol=1e-6)


@pytest.mark.parametrize("scheme", ["explicit simultaneous", "explicit alternating", "jko"])
def test_sum_of_entropies_drifts_at_first_order(scheme):
    """3.7: individual entropies move by 0.7, their sum by O(tau)."""
    p = problems.get("3.7", kernel="waves", n=50)
    (total,) = p.invariants.values()
    taus = 1.0 / np.array([32, 48, 72, 108])
    flows = [p.solve(tau, scheme, save_at=10**6) for tau in taus]
    drift = [total(sol.states[-1]) - total(p.initial) for sol in flows]
    assert abs(order(taus, np.abs(np.array(drift) + 1.9e-4)) - 1.0) < 0.1  # less the part due to n, see below
    moved = quantile_entropy(flows[-1].states[-1][0]) - quantile_entropy(p.initial[0])
    assert moved < -0.6 and abs(drift[-1]) < 0.05 * abs(moved)


def test_sum_of_entropies_is_conserved_up_to_the_resolution():
    drift = []
    for n in (50, 100, 200):
        p = problems.get("3.7", kernel="waves", n=n)
        (total,) = p.invariants.values()
        drift.append(abs(total(p.solve(0.05, "rk4").states[-1]) - total(p.initial)))
    assert_allclose([drift[0] / drift[1], drift[1] / drift[2]], 4.0, rtol=0.15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: problems.get("G11", temperature=0.0), "temperature must be a finite number > 0"),
        (lambda: problems.get("G11", P=[[1.0, 2.0], [2.0, 1.0]]), "P must be positive definite"),
        (lambda: problems.get("G11", first=mf.Vector([1.0])), "first and second must be a Gaussian or None"),
        (lambda: problems.get("G11", first=mf.Gaussian(0.0, 1.0)), r"initial\[0\] must have dimension 2"),
        (lambda: problems.get("3.7", kernel="cubic"), "kernel must be one of"),
        (lambda: problems.get("3.7", n=2), "n must be an integer >= 3"),
    ],
)
def test_bad_parameters_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
