"""Adversarial games: losses, penalties, critics and generators against what is known exactly about them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow.games.losses import LOSSES, Sample
from measureflow.taylor import check_gradient

RNG = np.random.default_rng(0)
CLOUD = mf.Particles(RNG.normal(size=(12, 2)))
WEIGHTED = mf.Particles(RNG.normal(size=(9, 2)), RNG.dirichlet(np.ones(9)))
TARGET = mf.Particles(RNG.normal(size=(15, 2)) + 1.0)
GRID = mf.Grid([(-4.0, 4.0), (-4.0, 4.0)], (9, 8), (True, False))
NEURONS = mf.Particles(RNG.normal(size=(7, 4)))
LATENT = mf.Particles(RNG.normal(size=(20, 3)))
SETTINGS = settings(max_examples=20, deadline=None, derandomize=True)


def waves(x):
    return np.stack([np.sin(x[:, 0]), x[:, 1], x[:, 0] * x[:, 1]], axis=1)


def wave_slopes(x):
    zero, one = 0.0 * x[:, 0], 1.0 + 0.0 * x[:, 0]
    return np.stack([np.stack(pair, axis=1) for pair in ((np.cos(x[:, 0]), zero), (zero, one), (x[:, 1], x[:, 0]))], axis=1)


FEATURES = g.FeatureCritic(waves, wave_slopes)
CRITICS = {
    "features": (FEATURES, mf.Vector(RNG.normal(size=3))),
    "neurons": (g.NeuronCritic(), NEURONS),
    "kernel": (g.RKHSCritic("gaussian", TARGET.points[:6]), mf.Vector(RNG.normal(size=6))),
    "field": (g.FieldCritic(GRID, 1.0), mf.Field(RNG.normal(size=GRID.shape), GRID)),
    "network": (g.MLPCritic((7, 4)), g.MLPCritic((7, 4)).initial(2, 0, 1.5)),
}
PENALTIES = {
    "none": None,
    "ridge": g.Ridge(0.3),
    "R1": g.R1(0.7),
    "R2": g.R2(0.4),
    "two-sided": g.GradientPenalty(3.0),
    "one-sided": g.GradientPenalty(3.0, 0.5, True),
    "at the target": g.GradientPenalty(2.0, 0.3, where="target"),
    "several": [g.Ridge(0.1), g.R1(0.2), g.R2(0.3)],
}


def require_gradients(game, states):
    """Both players' gradients are those of their values, and the energies of a zero-sum game cancel."""
    orders = [check_gradient(game.energy(k, states), states[k]) for k in (0, 1)]
    assert min(orders) > 1.9, orders
    if game.zero_sum:
        assert_allclose(game.energy(0, states).value(states[0]), -game.energy(1, states).value(states[1]), atol=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", CRITICS)
def test_every_loss_with_every_critic(name, loss):
    critic, state = CRITICS[name]
    for law in (CLOUD, WEIGHTED):
        require_gradients(g.GAN(TARGET, loss, critic=critic, penalty=g.Ridge(0.2)), (law, state))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", CRITICS)
def test_every_penalty_with_every_critic(name, penalty):
    critic, state = CRITICS[name]
    require_gradients(g.GAN(TARGET, "minimax", critic=critic, penalty=PENALTIES[penalty]), (CLOUD, state))


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize("loss", ["wasserstein", "non-saturating", "relativistic"])
def test_inputs_of_the_critic_and_generators(loss, pack, noise):
    network = g.MLPGenerator(LATENT, 2, (6, 5), "softplus")
    critic = g.MLPCritic((7, 4))
    game = g.GAN(TARGET, loss, critic=critic, generator=network, pack=pack, instance_noise=noise, penalty=g.R2(0.3))
    require_gradients(game, (network.initial(1), critic.initial(2 * pack)))
    game = g.GAN(TARGET, loss, critic=critic, pack=pack, instance_noise=noise)
    require_gradients(game, (CLOUD, critic.initial(2 * pack)))


def test_gaussian_and_histogram_generators():
    bell = mf.Gaussian([0.2, 0.1], [[1.0, 0.3], [0.3, 0.5]])
    require_gradients(g.GAN(mf.Gaussian([1.0, 0.0], np.eye(2)), "minimax", critic=FEATURES), (bell, CRITICS["features"][1]))
    bins = [mf.Histogram(RNG.dirichlet(np.ones(72)).reshape(GRID.shape), GRID) for _ in range(2)]
    for loss in LOSSES:
        require_gradients(g.GAN(bins[0], loss, critic=CRITICS["field"][0]), (bins[1], CRITICS["field"][1]))


# the best critic of all functions: divergences (theory, section 7.2) -------------------------------------------------

CELLS = mf.Grid([(0.0, 5.0)], (5,))
P, Q = np.array([0.1, 0.3, 0.2, 0.25, 0.15]), np.array([0.3, 0.1, 0.15, 0.2, 0.25])
RATIO = P / Q
JS = 0.5 * np.sum(P * np.log(2 * P / (P + Q))) + 0.5 * np.sum(Q * np.log(2 * Q / (P + Q)))
BEST = {
    "minimax": (np.log(RATIO), 2.0 * JS - 2.0 * np.log(2.0)),
    "non-saturating": (np.log(RATIO), 2.0 * JS - 2.0 * np.log(2.0)),
    "js": (np.log(RATIO), 2.0 * JS),
    "kl": (np.log(RATIO), np.sum(P * np.log(RATIO))),
    "reverse kl": (np.log(RATIO), -np.sum(Q * np.log(RATIO))),
    "chi-squared": (RATIO - 1.0, 0.5 * np.sum(Q * (RATIO - 1.0) ** 2)),
    "least squares": ((P - Q) / (P + Q), -0.5 * np.sum(4.0 * P * Q / (P + Q))),
}


@pytest.mark.parametrize("loss", BEST)
def test_best_critic_of_all_functions_gives_the_divergence(loss):
    best, value = BEST[loss]
    laws = mf.Histogram(P, CELLS), mf.Histogram(Q, CELLS)
    game = g.GAN(laws[1], loss, critic=g.FieldCritic(CELLS))
    critic = mf.Field(best, CELLS)
    energy = game.energy(1, (laws[0], critic))
    assert_allclose(-energy.value(critic), value, rtol=1e-13)
    assert_allclose(energy.gradient(critic), 0.0, atol=1e-14)


def test_velocities_of_both_logistic_generators_add_to_that_of_kl():
    """sigmoid(h) + sigmoid(-h) = 1: at the best critic D = log(mu/nu) the forces add to grad D (theory, section 7.2)."""
    critic = mf.Field(BEST["kl"][0], CELLS)
    at = mf.Particles(np.linspace(0.7, 4.3, 9)[:, None])
    saturating, not_saturating = (
        g.GAN(mf.Histogram(Q, CELLS), loss, critic=g.FieldCritic(CELLS)).energy(0, (at, critic)).gradient(at)
        for loss in ("minimax", "non-saturating")
    )
    assert_allclose(saturating + not_saturating, g.FieldCritic(CELLS).values_and_slopes(critic, at.points)[1], atol=1e-14)


def test_relativistic_pairs_are_all_pairs():
    a, b, w, v = RNG.normal(size=6), RNG.normal(size=4), RNG.dirichlet(np.ones(6)), RNG.dirichlet(np.ones(4))
    total, q, fall = LOSSES["relativistic"].critic(a, w, b, v)
    pairs = a[:, None] - b
    assert_allclose(total, w @ -np.log1p(np.exp(-pairs)) @ v)
    assert_allclose(q, w * ((1.0 / (1.0 + np.exp(pairs))) @ v))
    assert_allclose(q.sum(), -fall.sum())


# infinitely fast critics ---------------------------------------------------------------------------------------------


def test_kernel_critic_with_a_ridge_is_mmd():
    centres = np.vstack([CLOUD.points, TARGET.points])
    critic = g.RKHSCritic("gaussian", centres, 1.3)
    game = g.GAN(TARGET, critic=critic, penalty=g.Ridge(0.5))
    mmd = e.MMD(TARGET, "gaussian", 1.3)
    fast = g.FastCritic(game, len(centres))
    assert_allclose(fast.value(CLOUD), mmd.value(CLOUD) / 0.5, rtol=1e-6)
    assert_allclose(fast.gradient(CLOUD), mmd.gradient(CLOUD) / 0.5, atol=1e-5)
    best = fast.best_critic(CLOUD)
    assert_allclose(game.energy(1, (CLOUD, best)).gradient(best), 0.0, atol=1e-9)
    assert check_gradient(fast, CLOUD) > 1.9


def test_fast_features_with_a_ridge_and_with_r1():
    game = g.GAN(TARGET, critic=FEATURES, penalty=g.Ridge(0.5))
    gap = waves(CLOUD.points).mean(axis=0) - waves(TARGET.points).mean(axis=0)
    assert_allclose(g.FastCritic(game, 3).value(CLOUD), gap @ gap / (2 * 0.5))
    flat = g.FastCritic(g.GAN(TARGET, critic=FEATURES, penalty=g.R1(2.0)), 3)
    slopes = wave_slopes(TARGET.points)
    matrix = 2.0 * np.einsum("npd,nqd->pq", slopes, slopes) / len(slopes)
    assert_allclose(flat.value(CLOUD), 0.5 * gap @ np.linalg.solve(matrix, gap))
    assert check_gradient(flat, CLOUD) > 1.9
    with pytest.raises(TypeError, match="known, unique best response"):
        g.FastCritic(g.GAN(TARGET, critic=FEATURES), 3).value(CLOUD)


def test_a_faster_critic_tends_to_the_fast_one():
    """D9: the generator of a critic of speed 1/eps is O(eps) from the flow of V."""
    game = g.GAN(TARGET, critic=FEATURES, penalty=g.Ridge(1.0))
    limit = mf.solve(g.FastCritic(game, 3), CLOUD, 0.5, 1 / 400, scheme="explicit").states[-1]
    start = game.best_response(1, (CLOUD, mf.Vector(np.zeros(3))))
    errors = []
    for eps in (0.04, 0.02, 0.01):
        end = mf.solve(game, (CLOUD, start), 0.5, 1 / 400, scheme="explicit", speeds=(1.0, 1.0 / eps)).states[-1][0]
        errors.append(np.sqrt(np.mean(np.sum((end.points - limit.points) ** 2, axis=1))))
    assert_allclose(np.diff(np.log(errors)) / np.log(0.5), 1.0, atol=0.15)


# critics -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CRITICS)
@given(seed=st.integers(0, 2**32 - 1))
@SETTINGS
def test_pullback_is_the_adjoint_of_values_and_slopes(name, seed):
    """<dc, pullback> is the derivative along dc of sum q D + sum u . grad D (in the pairing of the state's space)."""
    critic, state = CRITICS[name]
    rng = np.random.default_rng(seed)
    points, q, u = rng.normal(size=(5, 2)), rng.normal(size=5), rng.normal(size=(5, 2))
    direction = rng.normal(size=state.coordinates.shape)
    h = 1e-4

    def total(c):
        values, slopes = critic.values_and_slopes(state.replace(c), points)
        return q @ values + np.sum(u * slopes)

    c = state.coordinates
    steps = [total(c + k * h * direction) for k in (-2, -1, 1, 2)]
    difference = (steps[0] - 8 * steps[1] + 8 * steps[2] - steps[3]) / (12 * h)
    scale = {"neurons": 1.0 / len(NEURONS), "field": GRID.cell_volume}.get(name, 1.0)
    gradient = critic.pullback(state, points, q, u)
    assert_allclose(np.sum(gradient * direction) * scale, difference, rtol=1e-6, atol=1e-7)
    assert_allclose(critic.pullback(state, points, q) + critic.pullback(state, points, None, u), gradient, atol=1e-12)


@pytest.mark.parametrize("name", CRITICS)
def test_slopes_are_the_derivative_of_values(name):
    critic, state = CRITICS[name]
    points, h = RNG.uniform(-3.0, 3.0, size=(20, 2)), 1e-6
    slopes = critic.values_and_slopes(state, points)[1]
    for k in range(2):
        step = h * np.eye(2)[k]
        difference = (critic.values(state, points + step) - critic.values(state, points - step)) / (2 * h)
        assert_allclose(slopes[:, k], difference, atol=1e-6)


def test_field_critic_interpolates_and_keeps_mass():
    critic, grid = g.FieldCritic(GRID), GRID
    linear = mf.Field(grid.centres[..., 1], grid)
    points = RNG.uniform(-3.4, 3.4, size=(30, 2))
    assert_allclose(critic.values(linear, points), points[:, 1], atol=1e-12)
    shifted = points + [8.0, 0.0]  # one period
    field = mf.Field(RNG.normal(size=grid.shape), grid)
    assert_allclose(critic.values(field, shifted), critic.values(field, points), atol=1e-12)
    q = RNG.normal(size=30)
    assert_allclose(critic.pullback(field, points, q).sum() * grid.cell_volume, q.sum(), atol=1e-12)


def test_kernel_critic_has_the_norm_of_its_space():
    """|D|_H^2 = alpha . K alpha, and D reproduces: the pullback of a Dirac at a centre gives k(z, .) there."""
    centres = TARGET.points[:6]
    critic = g.RKHSCritic("laplace", centres, 0.7)
    c = critic.pullback(mf.Vector(np.zeros(6)), centres[:1], np.ones(1))
    gram = np.exp(-np.linalg.norm(centres[:, None] - centres, axis=2) / 0.7)
    assert_allclose(critic.values(mf.Vector(c), centres), gram[0], atol=1e-10)
    assert_allclose(c @ c, 1.0, atol=1e-10)
    with pytest.raises(ValueError, match="positive semidefinite"):
        g.RKHSCritic(lambda x, y: -np.exp(-np.abs(x - y.T)), centres[:, :1])


# penalties -----------------------------------------------------------------------------------------------------------


def test_penalties_of_a_linear_critic():
    """D = c.x has the slope c everywhere: R1 = R2 = gamma |c|^2/2, WGAN-GP = weight (|c| - slope)^2/2."""
    critic = g.FeatureCritic(lambda x: x, lambda x: np.broadcast_to(np.eye(2), (len(x), 2, 2)))
    c = mf.Vector([0.6, -0.8])
    base = g.GAN(TARGET, critic=critic).energy(1, (CLOUD, c)).value(c)
    for penalty, cost in [
        (g.R1(3.0), 1.5),
        (g.R2(3.0), 1.5),
        (g.GradientPenalty(4.0, 0.5), 0.5),
        (g.GradientPenalty(4.0, 1.5, one_sided=True), 0.0),
        (g.GradientPenalty(4.0, 1.5, where="generated"), 0.5),
    ]:
        assert_allclose(g.GAN(TARGET, critic=critic, penalty=penalty).energy(1, (CLOUD, c)).value(c) - base, cost, rtol=1e-12)
    flat = mf.Vector([0.0, 0.0])  # the kink: the derivative is taken as 0
    kink = g.GAN(TARGET, critic=critic, penalty=g.GradientPenalty(4.0)).energy(1, (CLOUD, flat))
    assert_allclose(kink.gradient(flat), g.GAN(TARGET, critic=critic).energy(1, (CLOUD, flat)).gradient(flat))


def test_r1_of_features_is_a_quadratic_form():
    state = CRITICS["features"][1]
    closed = FEATURES.roughness(TARGET.points, TARGET.weights)
    _, slopes = FEATURES.values_and_slopes(state, TARGET.points)
    assert_allclose(closed.value(state), 0.5 * np.mean(np.sum(slopes**2, axis=1)))


@pytest.mark.parametrize("scheme", ["jko", "explicit"])
def test_clipped_critics_stay_in_their_box(scheme):
    game = g.GAN(TARGET, critic=FEATURES, penalty=g.Clip(0.1))
    critic = game.admissible(mf.Vector([3.0, -0.05, 0.02]))
    assert_allclose(critic.values, [0.1, -0.05, 0.02])
    sol = mf.solve(game, (CLOUD, critic), 0.5, 0.1, scheme=scheme)
    assert max(np.abs(states[1].values).max() for states in sol.states) == 0.1
    assert np.all(np.isfinite(sol.energies))
    with pytest.raises(ValueError, match=r"initial\[1\] must satisfy Clip"):
        mf.solve(game, (CLOUD, mf.Vector([3.0, 0.0, 0.0])), 0.5, 0.1)


def test_spectral_bounds_project_matrices_and_neurons():
    network = g.MLPCritic((6, 5))
    game = g.GAN(TARGET, "hinge", critic=network, penalty=g.SpectralBound(0.8))
    start = game.admissible(network.initial(2, 3, 3.0))
    sol = mf.solve(game, (CLOUD, start), 0.5, 0.1, scheme="explicit")
    from measureflow.games.network import matrices

    for states in sol.states:
        for cut, shape in matrices((2, 6, 5, 1)):
            assert np.linalg.norm(states[1].values[cut].reshape(shape), 2) <= 0.8 * (1 + 1e-12)
    points = RNG.normal(size=(200, 2))
    slopes = network.values_and_slopes(sol.states[-1][1], points)[1]
    assert np.linalg.norm(slopes, axis=1).max() <= 0.8**3  # D is Lipschitz with the product of the bounds
    neurons = g.GAN(TARGET, critic=g.NeuronCritic(), penalty=g.SpectralBound(0.5))
    law = mf.solve(neurons, (CLOUD, neurons.admissible(NEURONS)), 0.5, 0.1, scheme="explicit").states[-1][1].points
    assert max(np.abs(law[:, 0]).max(), np.linalg.norm(law[:, 1:3], axis=1).max()) <= 0.5 * (1 + 1e-12)
    with pytest.raises(TypeError, match="take the scheme Explicit"):
        mf.solve(game, (CLOUD, start), 0.5, 0.1)
    with pytest.raises(TypeError, match="weight matrices"):
        g.GAN(TARGET, critic=FEATURES, penalty=g.SpectralBound(1.0)).check((CLOUD, CRITICS["features"][1]))


# what the critic sees ------------------------------------------------------------------------------------------------

SQUARE = g.FeatureCritic(lambda x: np.sum(x**2, axis=1, keepdims=True), lambda x: 2.0 * x[:, None, :])


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_instance_noise_blurs_both_laws(dim):
    """E |x + s xi|^2 = |x|^2 + s^2 d for both laws, so that J stays and each side moves by s^2 d."""
    laws = [mf.Particles(RNG.normal(size=(4, dim))) for _ in range(2)]
    c = mf.Vector([0.7])
    plain, noisy = (g.GAN(laws[1], critic=SQUARE, instance_noise=s) for s in (0.0, 0.5))
    for game in (plain, noisy):
        assert_allclose(game.energy(0, (laws[0], c)).gradient(laws[0]), 2.0 * 0.7 * laws[0].points, atol=1e-12)
    assert_allclose(noisy.energy(1, (laws[0], c)).value(c), plain.energy(1, (laws[0], c)).value(c), atol=1e-12)
    logistic = g.GAN(laws[1], "minimax", critic=SQUARE, instance_noise=0.5)
    assert logistic.energy(1, (laws[0], c)).value(c) != g.GAN(laws[1], "minimax", critic=SQUARE).energy(1, (laws[0], c)).value(c)


def test_packs_are_independent_tuples():
    """E over tuples of phi(x) phi(x') is the square of the mean: fresh tuples are unbiased, within 5 standard errors."""
    critic = g.FeatureCritic(lambda x: x[:, :1] * x[:, 1:], lambda x: np.stack([x[:, ::-1]], axis=1))
    target, law = mf.Particles(RNG.normal(size=(50, 1)) + 1.0), mf.Particles(RNG.normal(size=(40, 1)))
    game = g.GAN(target, critic=critic, pack=2)
    c = mf.Vector([1.0])
    rng = np.random.default_rng(1)
    draws = [game.minibatch(50, rng).energy(0, (law, c)) for _ in range(400)]
    values = np.array([draw.value(law) for draw in draws])
    wanted = law.points.mean() ** 2 - target.points.mean() ** 2
    bias = np.var(law.points) / 39 + np.var(target.points) / 49  # a permutation has each point once: cov = -var/(n - 1)
    assert abs(values.mean() - wanted) < bias + 5.0 * values.std() / 20.0
    forces = np.mean([draw.gradient(law) for draw in draws], axis=0)
    assert_allclose(forces, 2.0 * law.points.mean(), atol=0.6)  # the first variation has one term for each place
    with pytest.raises(ValueError, match="equal atoms to be packed"):
        game.energy(1, (mf.Particles([[0.0], [1.0]], [0.3, 0.7]), c))


def test_thinned_opponents_are_unbiased():
    """batch=(target, own): the critic sees random atoms of the generator; the mean of its force is the full one."""
    game, state = g.GAN(TARGET, critic=FEATURES), CRITICS["features"][1]
    full = game.energy(1, (CLOUD, state)).gradient(state)
    rng = np.random.default_rng(0)
    forces = np.array([game.thinned(4, rng).energy(1, (CLOUD, state)).gradient(state) for _ in range(2000)])
    error = forces.std(axis=0) / np.sqrt(2000)
    assert np.all(np.abs(forces.mean(axis=0) - full) < 5.0 * error)
    assert_allclose(
        game.thinned(4, rng).energy(0, (CLOUD, state)).gradient(CLOUD), game.energy(0, (CLOUD, state)).gradient(CLOUD)
    )
    generator = g.MLPGenerator(LATENT, 2, (4,))
    theta = generator.initial(0)
    network = g.GAN(TARGET, critic=FEATURES, generator=generator)
    pushes = [network.thinned(5, rng).energy(0, (theta, state)).gradient(theta) for _ in range(1000)]
    error = np.std(pushes, axis=0) / np.sqrt(1000)
    wanted = network.energy(0, (theta, state)).gradient(theta)
    assert np.all(np.abs(np.mean(pushes, axis=0) - wanted) < 5.0 * error + 1e-12)


def test_batches_of_both_sides_are_reproducible():
    critic = g.MLPCritic((8,), "relu")
    generator = g.MLPGenerator(LATENT, 2, (8,), "relu")
    game = g.GAN(TARGET, "non-saturating", critic=critic, generator=generator, penalty=g.R1(0.1))
    start = generator.initial(0), critic.initial(2, 0)
    runs = [mf.solve(game, start, 1.0, 0.1, scheme="explicit", batch=(6, 5), seed=seed) for seed in (0, 0, 1)]
    ends = [np.concatenate([x.coordinates for x in run.states[-1]]) for run in runs]
    assert ends[0].tobytes() == ends[1].tobytes() != ends[2].tobytes()


def test_affine_generator_moves_as_its_law_does():
    """An affine network of a fixed latent law in one dimension: its shift moves with minus the mean force."""
    generator = g.MLPGenerator(LATENT, 2, ())
    theta = generator.initial(0)
    points, weights = generator.points(theta)
    matrix, shift = theta.values[:6].reshape(3, 2), theta.values[6:]
    assert_allclose(points, LATENT.points @ matrix + shift)
    slopes = RNG.normal(size=points.shape)
    gradient = generator.gradient(theta, np.zeros(20), slopes)
    assert_allclose(gradient[6:], slopes.mean(axis=0), atol=1e-14)
    assert_allclose(gradient[:6].reshape(3, 2), LATENT.points.T @ slopes / 20, atol=1e-14)


def test_float32_critics_agree_with_double():
    for critic in (g.MLPCritic((16, 16)), g.NeuronCritic()):
        single = type(critic)(**{**({"widths": (16, 16)} if isinstance(critic, g.MLPCritic) else {}), "dtype": "float32"})
        state = critic.initial(2, 0) if isinstance(critic, g.MLPCritic) else NEURONS
        games = [g.GAN(TARGET, "minimax", critic=c, penalty=g.R1(0.5)) for c in (critic, single)]
        for k in (0, 1):
            double, rough = (game.energy(k, (CLOUD, state)).gradient((CLOUD, state)[k]) for game in games)
            assert_allclose(rough, double, atol=2e-6)


def test_kernel_and_numpy_losses_agree():
    """The traversal with the loss inside gives what two passes give, above three dimensions too."""
    from measureflow.games.critics import Critic

    for dim in (1, 2, 3, 5):
        points, weights = RNG.normal(size=(700, dim)), RNG.dirichlet(np.ones(700))
        law = mf.Particles(RNG.normal(size=(600, dim + 2)))
        sample = Sample(points, weights)
        for activation in ("tanh", "relu"):
            critic = g.NeuronCritic(activation)
            for loss in ("minimax", "least squares", "hinge", "kl", "reverse kl", "chi-squared"):
                for side in LOSSES[loss].sides:
                    fast = critic.traverse(law, sample, side, True)
                    slow = Critic.traverse(critic, law, sample, side, True)
                    for got, wanted in zip(fast, slow, strict=True):
                        assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"loss": "no such"}, "loss must be one of"),
        ({"generator": 3}, "generator must be an MLPGenerator or None"),
        ({"penalty": 3}, "penalty must be one of R1"),
        ({"penalty": [g.Ridge(1.0), 3]}, r"penalty\[1\] must be one of R1"),
        ({"pack": 0}, "pack must be"),
        ({"instance_noise": -1.0}, "instance_noise must be"),
    ],
)
def test_bad_arguments(bad, text):
    with pytest.raises((TypeError, ValueError), match=text):
        g.GAN(TARGET, **{"critic": FEATURES} | bad)


def test_bad_states():
    weights, dot = CRITICS["features"][1], mf.Field([0.0], mf.Grid([(0.0, 1.0)], (1,)))
    pushed = g.MLPGenerator(LATENT, 3)
    for game, states, text in [
        (g.GAN(TARGET, critic=g.MLPCritic((4,))), (CLOUD, mf.Vector([1.0])), r"initial\[1\] must have the 17 parameters"),
        (g.GAN(TARGET, critic=FEATURES), (mf.Vector([1.0]), weights), r"initial\[0\] must be"),
        (g.GAN(TARGET, critic=CRITICS["field"][0]), (CLOUD, dot), "the critic's grid"),
        (g.GAN(TARGET, critic=FEATURES, generator=pushed), (CLOUD, weights), "target's dimension 2"),
    ]:
        with pytest.raises((TypeError, ValueError), match=text):
            game.check(states)
