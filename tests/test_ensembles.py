"""Ensembles: the compiled loop takes the steps of `solve`, and members do not know of each other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import measureflow as mf
from measureflow import games as g
from measureflow.ensembles import LOSSES
from measureflow.kernels.draws import normals, shuffle

RNG = np.random.default_rng(0)
TARGET = mf.Particles(RNG.normal(size=(40, 2)) + 1.0)
CLOUD = mf.Particles(RNG.normal(size=(30, 2)))
LATENT = mf.Particles(RNG.normal(size=(30, 3)))
NEURONS = mf.Particles(RNG.normal(size=(20, 4)))


def players(network: bool, neurons: bool):
    """Return (generator argument, critic, initial states)."""
    generator = g.MLPGenerator(LATENT, 2, (5,)) if network else None
    critic = g.NeuronCritic() if neurons else g.MLPCritic((7, 6))
    return generator, critic, (generator.initial(1) if network else CLOUD, NEURONS if neurons else critic.initial(2, 0))


@pytest.mark.parametrize("coupling", ["simultaneous", "alternating"])
@pytest.mark.parametrize("neurons", [False, True])
@pytest.mark.parametrize("network", [False, True])
def test_members_take_the_steps_of_solve(network, neurons, coupling):
    generator, critic, start = players(network, neurons)
    for loss in LOSSES:
        penalty = [g.Ridge(0.3), g.R1(0.2)]
        game = g.GAN(TARGET, loss, critic=critic, generator=generator, penalty=penalty)
        sol = mf.solve(game, start, 0.5, 0.05, scheme=mf.Explicit(coupling), speeds=(1.0, 2.5), save_at=4)
        runs = mf.ensemble(game, start, 10, 0.05, speeds=(1.0, 2.5), coupling=coupling, save_at=4)
        assert_allclose(runs.t[:, 0], sol.t, atol=1e-14)
        for row, states in enumerate(sol.states):
            for ours, theirs in zip(runs.states(row, 0), states, strict=True):
                assert_allclose(ours.coordinates, theirs.coordinates, atol=1e-12)


def looked(network: bool, neurons: bool, pack: int):
    """Return (generator argument, critic, initial states) of a packed game."""
    generator, critic, start = players(network, neurons)
    atoms = mf.Particles(np.random.default_rng(4).normal(size=(20, 2 * pack + 2)))
    return generator, critic, (start[0], atoms if neurons else critic.initial(2 * pack, 0))


@pytest.mark.parametrize("neurons", [False, True])
@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize(
    ("pack", "noise", "unrolled", "coupling"),
    [
        (3, 0.0, 0, "alternating"),
        (1, 0.4, 0, "simultaneous"),
        (2, 0.4, 0, "alternating"),
        (1, 0.0, 1, "simultaneous"),
        (2, 0.2, 3, "alternating"),
        (1, 0.0, 0, "extragradient"),
        (2, 0.0, 2, "extragradient"),
    ],
)
def test_packs_noise_and_foresight_are_those_of_solve(network, neurons, pack, noise, unrolled, coupling):
    generator, critic, start = looked(network, neurons, pack)
    penalty = [g.Ridge(0.3), g.R1(0.2)]
    game = g.GAN(TARGET, "minimax", critic=critic, generator=generator, penalty=penalty, pack=pack, instance_noise=noise)
    sol = mf.solve(game, start, 0.25, 0.05, scheme=mf.Explicit(coupling, unrolled=unrolled), speeds=(1.0, 2.5))
    runs = mf.ensemble(game, start, 5, 0.05, speeds=(1.0, 2.5), coupling=coupling, unrolled=unrolled)
    for ours, theirs in zip(runs.states(-1, 0), sol.states[-1], strict=True):
        assert_allclose(ours.coordinates, theirs.coordinates, atol=1e-12)


@pytest.mark.parametrize("neurons", [False, True])
def test_tuples_and_noise_drawn_anew_are_a_game_in_a_higher_dimension(neurons):
    _, critic, start = looked(False, neurons, 2)
    options = {"critic": critic, "penalty": [g.Ridge(0.3), g.R1(0.2)]}
    game = g.GAN(TARGET, "non-saturating", **options, pack=2, instance_noise=0.3)
    runs = mf.ensemble(game, start, 1, 0.05, anew=True, seeds=5)
    seen, orders = [], []
    for side, points in enumerate((CLOUD.points, TARGET.points)):
        order, noise = np.zeros(len(points), np.int64), np.zeros((len(points), 4))
        shuffle(5, 0, 2 + side, order)
        normals(5, 0, 4 + side, 0.3, noise)
        assert sorted(order) == list(range(len(points)))
        seen.append(np.hstack([points, points[order]]) + noise)
        orders.append(order)
    wide = g.GAN(mf.Particles(seen[1]), "non-saturating", **options)
    sol = mf.solve(wide, (mf.Particles(seen[0]), start[1]), 0.05, 0.05, scheme="explicit")
    moves = sol.states[-1][0].points - seen[0]
    ends = CLOUD.points + moves[:, :2] + moves[np.argsort(orders[0]), 2:]
    assert_allclose(runs.generator[-1, 0], ends, atol=1e-12)
    assert_allclose(runs.states(-1, 0)[1].coordinates, sol.states[-1][1].coordinates, atol=1e-12)


def test_drawn_numbers_are_normal_and_orders_uniform():
    noise = np.zeros((40_000, 2))
    normals(3, 1, 4, 2.0, noise)
    assert stats.kstest(noise.ravel() / 2.0, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.02
    places = np.zeros((5, 5))
    order = np.zeros(5, np.int64)
    for update in range(2000):
        shuffle(3, update, 2, order)
        places[np.arange(5), order] += 1
    assert stats.chisquare(places.ravel(), np.full(25, 400.0), ddof=8).pvalue > 1e-3


def test_noise_that_is_averaged_is_the_mean_of_noise_that_is_drawn():
    game = g.GAN(TARGET, "minimax", critic=g.NeuronCritic(), instance_noise=0.15)
    drawn = mf.ensemble(game, (CLOUD, NEURONS), 1, 0.5, anew=True, seeds=range(2000))
    averaged = mf.ensemble(game, (CLOUD, NEURONS), 1, 0.5)
    error = drawn.critic[-1].mean(axis=0) - averaged.critic[-1, 0]
    scale = drawn.critic[-1].std(axis=0) / np.sqrt(2000)
    assert np.all(np.abs(error) < 5.0 * scale + 1e-9)


def test_parameters_differ_from_member_to_member():
    generator, critic, start = players(True, False)
    settings = [(0.05, (1.0, 2.0), 0.1, 0.0), (0.02, (0.5, 3.0), 0.0, 0.4), (0.1, (1.0, 1.0), 0.2, 0.3)]
    games = [g.GAN(TARGET, critic=critic, generator=generator, penalty=[g.Ridge(b), g.R1(c)]) for _, _, b, c in settings]
    starts = [(generator.initial(k), start[1]) for k in range(3)]
    runs = mf.ensemble(games, starts, 8, [s[0] for s in settings], speeds=[s[1] for s in settings])
    for k, (tau, eta, _, _) in enumerate(settings):
        sol = mf.solve(games[k], starts[k], 8 * tau, tau, scheme="explicit", speeds=eta)
        assert_allclose(runs.generator[-1, k], sol.states[-1][0].coordinates, atol=1e-12)
        assert_allclose(runs.t[-1, k], 8 * tau)
    assert len(runs) == 3 and runs.finite.all()


def test_batches_depend_on_seed_and_step_only():
    generator, critic, start = players(True, True)
    game = g.GAN(TARGET, "non-saturating", critic=critic, generator=generator)
    both = mf.ensemble(game, start, 12, 0.05, batch=8, seeds=[3, 4], save_at=5)
    alone = mf.ensemble(game, start, 12, 0.05, batch=8, seeds=4)
    assert_array_equal(both.generator[-1, 1], alone.generator[-1, 0])
    assert_array_equal(both.critic[-1, 1], alone.critic[-1, 0])
    assert np.any(both.generator[-1, 0] != both.generator[-1, 1])


def test_a_run_in_pieces_is_one_run(monkeypatch, capsys):
    generator, critic, start = looked(True, False, 2)
    game = g.GAN(TARGET, critic=critic, generator=generator, pack=2, instance_noise=0.2)
    whole = mf.ensemble(game, start, 20, 0.05, batch=8)
    monkeypatch.setattr("measureflow.ensembles.PIECE", 3)
    pieces = mf.ensemble(game, start, 20, 0.05, batch=8, save_at=7, progress=True)
    assert_array_equal(whole.generator[-1], pieces.generator[-1])
    assert "20/20" in capsys.readouterr().err


def test_members_that_blow_up_leave_the_others_alone():
    _, critic, start = players(False, False)
    game = g.GAN(TARGET, "least squares", critic=critic)
    runs = mf.ensemble(game, start, 200, [1e-3, 50.0])
    alone = mf.ensemble(game, start, 200, 1e-3)
    assert runs.finite.tolist() == [True, False] or not np.any(np.abs(runs.generator[-1, 1]) < 1e3)
    assert_array_equal(runs.generator[-1, 0], alone.generator[-1, 0])


def test_foresight_in_single_precision():
    single = g.GAN(TARGET, critic=g.NeuronCritic(dtype="float32"))
    double = g.GAN(TARGET, critic=g.NeuronCritic())
    one, two = (
        mf.ensemble(game, (CLOUD, NEURONS), 1, 0.5, unrolled=3).generator[-1, 0] - CLOUD.points for game in (single, double)
    )
    assert np.abs(one - two).max() < 5e-4 * np.abs(two).max()


def test_single_precision():
    single = g.GAN(TARGET, critic=g.MLPCritic((7, 6), dtype="float32"))
    double = g.GAN(TARGET, critic=g.MLPCritic((7, 6)))
    start = CLOUD, g.MLPCritic((7, 6)).initial(2, 0)
    ends = [mf.ensemble(game, start, 10, 0.05).generator[-1, 0] for game in (single, double)]
    assert ends[0].dtype == np.float32
    assert_allclose(ends[0], ends[1], atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"loss": "kl"}, "loss to be"),
        ({"critic": g.RKHSCritic("gaussian", [[0.0, 0.0]])}, "critic to be"),
        ({"penalty": g.R2(1.0)}, "penalty to be"),
        ({"target": mf.Particles([[0.0, 0.0], [1.0, 0.0]], [0.3, 0.7])}, "target to be"),
    ],
)
def test_what_is_not_compiled_is_refused(changed, text):
    arguments = {"target": TARGET, "critic": g.MLPCritic((3,))} | changed
    game = g.GAN(arguments.pop("target"), **arguments)
    with pytest.raises(mf.UnsupportedError, match=text):
        mf.ensemble(game, (CLOUD, g.MLPCritic((3,)).initial(2)), 2, 0.1)


def test_orders_that_are_not_compiled_are_refused():
    game, start = g.GAN(TARGET, "hinge", critic=g.NeuronCritic()), (CLOUD, NEURONS)
    with pytest.raises(mf.UnsupportedError, match="unrolled=2 needs a zero-sum game"):
        mf.ensemble(game, start, 2, 0.1, unrolled=2)
    with pytest.raises(ValueError, match="critic_steps must be 1"):
        mf.ensemble(game, start, 2, 0.1, coupling="extragradient", critic_steps=2)
    with pytest.raises(TypeError, match="anew must be True or False"):
        mf.ensemble(game, start, 2, 0.1, anew=1)


def test_lengths_must_fit():
    game = g.GAN(TARGET, critic=g.MLPCritic((3,)))
    start = CLOUD, g.MLPCritic((3,)).initial(2)
    with pytest.raises(ValueError, match="one pack"):
        mf.ensemble([game, g.GAN(TARGET, critic=g.MLPCritic((3,)), pack=2)], start, 2, 0.1)
    with pytest.raises(ValueError, match="tau must have one entry or one for each of the 3 members, got 2"):
        mf.ensemble(game, start, 2, [0.1, 0.2], seeds=range(3))
    with pytest.raises(ValueError, match="same target"):
        mf.ensemble([game, g.GAN(CLOUD, critic=g.MLPCritic((3,)))], start, 2, 0.1)
