"""Games: energies against payoffs written out, the zero-sum property, critics, and what the players do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from strategies import matrices, particles, vectors

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g

NUMBERS = st.integers(-300, 300).map(lambda k: k / 100.0)


def cloud(n: int, d: int, seed: int, equal: bool = True) -> mf.Particles:
    rng = np.random.default_rng(seed)
    w = rng.random(n) + 0.2
    return mf.Particles(rng.normal(size=(n, d)), None if equal else w / w.sum())


LAW = cloud(6, 2, 0, equal=False)
TARGET = cloud(5, 2, 1, equal=False)
NEURONS = cloud(7, 4, 2, equal=False)
X, Y = mf.Vector([1.0, -2.0]), mf.Vector([0.5, 3.0, -1.0])


def energies(game: g.AbstractGame, states: Sequence[mf.State]) -> list[float]:
    return [game.energy(k, states).value(x) for k, x in enumerate(states)]


def assert_gradients(game: g.AbstractGame, states: Sequence[mf.State], least: float = 1.75) -> None:
    """Every player's gradient fits its energy with the opponents frozen."""
    for k, x in enumerate(states):
        for seed in range(3):
            assert mf.check_gradient(game.energy(k, states), x, seed) > least


# --- games of the user's functions ----------------------------------------------------------------


def chase(x: Any, others: tuple[Any, ...]) -> tuple[float, np.ndarray]:
    offset = x - others[0]
    return 0.5 * float(offset @ offset), offset


def flee(x: Any, others: tuple[Any, ...]) -> tuple[float, np.ndarray]:
    value, slope = chase(x, others)
    return -value, -slope


@given(vectors(), vectors())
def test_game_evaluates_the_users_functions(x: mf.Vector, y: mf.Vector) -> None:
    game = g.Game([chase, flee])
    assert energies(game, (x, y)) == [chase(x, (y,))[0], flee(y, (x,))[0]]
    assert_array_equal(game.energy(0, (x, y)).gradient(x), x - y)
    assert_array_equal(game.energy(1, (x, y)).gradient(y), x - y)


def test_players_see_the_others_in_order() -> None:
    seen: dict[int, tuple[mf.State, ...]] = {}

    def player(k: int) -> Any:
        def energy(x: Any, others: tuple[mf.State, ...]) -> tuple[float, np.ndarray]:
            seen[k] = others
            return 0.0, x * 0.0

        return energy

    states = tuple(mf.Vector([float(k)]) for k in range(3))
    game = g.Game([player(k) for k in range(3)])
    assert game.players == 3
    energies(game, states)
    assert seen == {0: states[1:], 1: (states[0], states[2]), 2: states[:2]}


def test_an_energy_may_stand_for_a_player_that_ignores_the_others() -> None:
    alone = e.Quadratic()
    game = g.Game([alone, flee])
    assert game.energy(0, (X, X)) is alone


def test_frozen_energies_follow_the_opponents() -> None:
    game = g.Game([chase, flee])
    near, far = mf.Vector([1.0]), mf.Vector([5.0])
    own = mf.Vector([0.0])
    frozen = game.energy(0, (own, near))
    assert frozen is game.energy(0, (mf.Vector([2.0]), near)), "the player's own entry is ignored"
    assert game.energy(0, (own, far)).value(own) == 12.5
    assert frozen.value(own) == 0.5


def test_games_of_laws() -> None:
    """A crowd that is drawn to the mean of another crowd."""

    def follow(law: mf.Particles, others: tuple[Any, ...]) -> tuple[float, np.ndarray]:
        offset = law.points - others[0].mean()
        return 0.5 * float(law.weights @ np.sum(offset**2, axis=1)), offset

    assert_gradients(g.Game([follow, follow]), (LAW, TARGET))


def test_minibatches_of_a_game_replace_the_targets_of_its_energies() -> None:
    game = g.Game([e.MMD(TARGET, "gaussian"), chase])
    drawn = game.minibatch(2, np.random.default_rng(0))
    assert isinstance(drawn, g.Game)
    assert len(drawn.energies[0].target) == 2  # type: ignore[arg-type]
    assert drawn.energies[1] is chase
    assert g.Game([chase]).minibatch(2, np.random.default_rng(0)) is None


# --- zero-sum games -------------------------------------------------------------------------------


def payoff(x: Any, y: Any) -> tuple[float, np.ndarray, np.ndarray]:
    return (
        float(np.sin(x[0]) * y[1] + x[1] * y[0]),
        np.array([np.cos(x[0]) * y[1], y[0]]),
        np.array([x[1], np.sin(x[0])]),
    )


@given(vectors(2), vectors(2))
def test_zero_sum_players_share_one_payoff(x: mf.Vector, y: mf.Vector) -> None:
    game = g.ZeroSum(payoff)
    value, slope_x, slope_y = payoff(x, y)
    assert energies(game, (x, y)) == [value, -value]
    assert_array_equal(game.energy(0, (x, y)).gradient(x), slope_x)
    assert_array_equal(game.energy(1, (x, y)).gradient(y), -slope_y)


def test_zero_sum_game_of_laws() -> None:
    def mean_field(mu: Any, nu: Any) -> tuple[float, np.ndarray, np.ndarray]:
        phases = mu.points @ nu.points.T
        slopes = np.cos(phases)
        return (
            float(mu.weights @ np.sin(phases) @ nu.weights),
            np.einsum("nm,md,m->nd", slopes, nu.points, nu.weights),
            np.einsum("nm,nd,n->md", slopes, mu.points, mu.weights),
        )

    assert sum(energies(g.ZeroSum(mean_field), (LAW, TARGET))) == 0.0
    assert_gradients(g.ZeroSum(mean_field), (LAW, TARGET))


def test_zero_sum_gaussians_may_return_pairs() -> None:
    law = mf.Gaussian([1.0, 0.0], 1.0)
    game = g.ZeroSum(lambda a, y: (float(a.mean @ y), (np.asarray(y), np.zeros((2, 2))), a.mean))
    assert_array_equal(game.energy(0, (law, X)).gradient(law), np.vstack([X.values, np.zeros((2, 2))]))


# --- bilinear and linear-quadratic games ----------------------------------------------------------


@given(matrices(2, 3), vectors(2), vectors(3))
def test_bilinear_energies(C: np.ndarray, x: mf.Vector, y: mf.Vector) -> None:
    game, value = g.Bilinear(C), float(x.values @ C @ y.values)
    assert_allclose(energies(game, (x, y)), [value, -value], rtol=1e-12, atol=1e-12)
    assert_allclose(game.energy(0, (x, y)).gradient(x), C @ y.values, rtol=0.0, atol=1e-12)
    assert_allclose(game.energy(1, (x, y)).gradient(y), -C.T @ x.values, rtol=0.0, atol=1e-12)


@given(matrices(2, 2), matrices(2, 3), matrices(3, 3), vectors(2), vectors(3))
def test_linear_quadratic_energies(P: np.ndarray, C: np.ndarray, Q: np.ndarray, x: mf.Vector, y: mf.Vector) -> None:
    """Player 0 has J = x.P x/2 + x.C y - y.Q y/2, player 1 has -J."""
    P, Q = P + P.T, Q + Q.T
    game = g.LinearQuadratic(P, C, Q)
    a, b = x.values, y.values
    payoff = 0.5 * a @ P @ a + a @ C @ b - 0.5 * b @ Q @ b
    assert_allclose(energies(game, (x, y)), [payoff, -payoff], rtol=1e-11, atol=1e-10)
    assert_allclose(game.energy(0, (x, y)).gradient(x), P @ a + C @ b, rtol=1e-11, atol=1e-11)
    assert_allclose(game.energy(1, (x, y)).gradient(y), Q @ b - C.T @ a, rtol=1e-11, atol=1e-11)


def test_numbers_stand_for_multiples_of_the_identity() -> None:
    C = np.arange(6.0).reshape(2, 3)
    by_numbers, by_matrices = g.LinearQuadratic(0.5, C, 2.0), g.LinearQuadratic(0.5 * np.eye(2), C, 2.0 * np.eye(3))
    assert energies(by_numbers, (X, Y)) == energies(by_matrices, (X, Y))


def test_on_laws_the_payoff_is_a_double_integral() -> None:
    C = np.array([[1.0, 2.0], [-0.5, 0.3]])
    game = g.LinearQuadratic(0.4, C, 0.7)
    pairs = LAW.points @ C @ TARGET.points.T
    coupling = float(LAW.weights @ pairs @ TARGET.weights)
    bowls = [float(law.weights @ np.sum(law.points**2, axis=1)) for law in (LAW, TARGET)]
    payoff = 0.2 * bowls[0] + coupling - 0.35 * bowls[1]
    assert_allclose(energies(game, (LAW, TARGET)), [payoff, -payoff], rtol=1e-12)
    assert_gradients(game, (LAW, TARGET))
    mixed = (mf.Gaussian([1.0, 0.0], 0.5), mf.Vector([2.0, 1.0]))
    assert_allclose(energies(g.Bilinear(C), mixed), [4.0, -4.0], rtol=1e-13)


@pytest.mark.parametrize("scheme", ["jko", "explicit", mf.JKO("alternating"), mf.JKO("implicit")], ids=str)
def test_particles_move_rigidly_under_a_bilinear_game(scheme: Any) -> None:
    """Every particle moves with the opponent's mean, so that shapes stay and means play the game of vectors."""
    C = np.array([[1.0, 2.0], [-0.5, 0.3]])
    flow = mf.solve(g.Bilinear(C), (LAW, TARGET), 1.0, 0.1, scheme=scheme)
    means = mf.solve(g.Bilinear(C), (mf.Vector(LAW.mean()), mf.Vector(TARGET.mean())), 1.0, 0.1, scheme=scheme)
    for laws, points in zip(flow.states, means.states, strict=True):
        for law, start, point in zip(laws, (LAW, TARGET), points, strict=True):
            assert_allclose(law.mean(), point.values, rtol=0.0, atol=1e-9)
            assert_allclose(law.points - law.mean(), start.points - start.mean(), rtol=0.0, atol=1e-9)


def test_simultaneous_steps_of_a_bilinear_game_spiral_out_and_implicit_ones_in() -> None:
    """Theory, section 6: the squared norm grows by 1 + tau^2 a step, or shrinks by it."""
    start, tau = (mf.Vector(1.0), mf.Vector(0.0)), 0.1
    for scheme, factor in (
        ("explicit", 1.0 + tau**2),
        ("jko", 1.0 + tau**2),
        (mf.JKO("implicit"), 1.0 / (1.0 + tau**2)),
    ):
        flow = mf.solve(g.Bilinear(1.0), start, 2.0, tau, scheme=scheme)
        radii = np.array([float(x @ x + y @ y) for x, y in flow.states])
        assert_allclose(radii[1:] / radii[:-1], factor, rtol=1e-9)


# --- kernel games ---------------------------------------------------------------------------------


def k(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sin(x @ y[:, : x.shape[1]].T)


def grad_x(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.cos(x @ y[:, :2].T)[..., None] * y[None, :, :2]


def grad_y(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    slope = np.cos(x @ y[:, :2].T)[..., None] * x[:, None, :]
    return np.concatenate([slope, np.zeros((*slope.shape[:2], y.shape[1] - 2))], axis=2)


@given(particles(dim=2), particles(dim=3))
def test_kernel_game_is_a_double_sum(mu: mf.Particles, nu: mf.Particles) -> None:
    game = g.KernelGame(k, grad_x, grad_y)
    value = float(mu.weights @ k(mu.points, nu.points) @ nu.weights)
    assert_allclose(energies(game, (mu, nu)), [value, -value], rtol=1e-12, atol=1e-13)
    slope_x = np.einsum("nmd,m->nd", grad_x(mu.points, nu.points), nu.weights)
    slope_y = np.einsum("nmd,n->md", grad_y(mu.points, nu.points), mu.weights)
    assert_allclose(game.energy(0, (mu, nu)).gradient(mu), slope_x, rtol=1e-12, atol=1e-13)
    assert_allclose(game.energy(1, (mu, nu)).gradient(nu), -slope_y, rtol=1e-12, atol=1e-13)


def test_kernel_game_of_quantiles_and_histograms() -> None:
    line = mf.Quantiles([-0.5, 0.2, 0.9])
    grid = mf.Histogram([0.2, 0.3, 0.5], mf.Grid([(-1.0, 1.0)], (3,)))
    game = g.KernelGame(
        lambda x, y: x**2 @ y.T,
        lambda x, y: (2.0 * x @ y.T)[..., None],
        lambda x, y: np.repeat(x**2, len(y), 1)[..., None],
    )
    value = np.mean(line.values**2) * float(grid.mean()[0])
    assert_allclose(energies(game, (line, grid)), [value, -value], rtol=1e-13)
    assert game.energy(0, (line, grid)).gradient(line).shape == (3,)
    assert game.energy(1, (line, grid)).gradient(grid).shape == (3,)


@pytest.mark.parametrize("scheme", ["jko", "explicit", mf.JKO("implicit")], ids=str)
def test_clip_keeps_atoms_in_the_box(scheme: Any) -> None:
    """J = x y pushes both players out; each stays in its own box and reaches a face of it."""
    game = g.KernelGame(
        lambda x, y: x @ y.T,
        lambda x, y: np.repeat(y[None], len(x), 0),
        lambda x, y: np.repeat(x[:, None], len(y), 1),
        clip=(0.5, 1.0),
    )
    start = (mf.Particles([[-0.2], [-0.4]]), mf.Particles([[0.6], [0.9]]))
    flow = mf.solve(game, start, 3.0, 0.1, scheme=scheme)
    for mu, nu in flow.states:
        assert np.abs(mu.points).max() <= 0.5 + 1e-12
        assert np.abs(nu.points).max() <= 1.0 + 1e-12
    assert flow.states[10][0].points.min() == -0.5
    free = mf.solve(g.KernelGame(game.k, game.grad_x, game.grad_y), start, 3.0, 0.1, scheme="explicit")
    assert min(mu.points.min() for mu, _ in free.states) < -0.5


def test_clip_projects_the_explicit_step() -> None:
    game = g.KernelGame(
        lambda x, y: x @ y.T,
        lambda x, y: np.repeat(y[None], len(x), 0),
        lambda x, y: np.repeat(x[:, None], len(y), 1),
        clip=(0.5, None),
    )
    start = (mf.Particles([[-0.2], [0.4]]), mf.Particles([[2.0]]))
    clipped = mf.solve(game, start, 0.25, 0.25, scheme="explicit").states[-1][0]
    assert_allclose(clipped.points, np.clip(start[0].points - 0.25 * 2.0, -0.5, 0.5), rtol=1e-15)


# --- the Dirac-GAN --------------------------------------------------------------------------------


def log_sigmoid(t: float) -> float:
    return -float(np.log1p(np.exp(-t)))


DIRAC = {
    "gan": (lambda t, p: log_sigmoid(t * p) + log_sigmoid(0.0), lambda t, p: -log_sigmoid(t * p) - log_sigmoid(0.0)),
    "nsgan": (lambda t, p: -log_sigmoid(-t * p), lambda t, p: -log_sigmoid(t * p) - log_sigmoid(0.0)),
    "wgan": (lambda t, p: t * p, lambda t, p: -t * p),
}


@pytest.mark.parametrize("variant", DIRAC)
@given(theta=NUMBERS, psi=NUMBERS)
def test_dirac_gan_is_its_formula(variant: str, theta: float, psi: float) -> None:
    game, states = g.DiracGAN(variant), (mf.Vector(theta), mf.Vector(psi))
    for player, f in enumerate(DIRAC[variant]):
        own, h = states[player], 1e-5
        assert_allclose(game.energy(player, states).value(own), f(theta, psi), rtol=1e-12, atol=1e-12)
        ahead, behind = ((theta + s * h, psi) if player == 0 else (theta, psi + s * h) for s in (1.0, -1.0))
        slope = (f(*ahead) - f(*behind)) / (2.0 * h)
        assert_allclose(game.energy(player, states).gradient(own), [slope], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("variant", ["gan", "wgan"])
def test_saturating_dirac_gans_are_zero_sum(variant: str) -> None:
    values = energies(g.DiracGAN(variant), (mf.Vector(0.7), mf.Vector(-1.3)))
    assert values[0] == -values[1]


@pytest.mark.parametrize("variant", DIRAC)
def test_dirac_gan_does_not_overflow(variant: str) -> None:
    for size in (30.0, -30.0, 1e4, -1e4):
        states = (mf.Vector(size), mf.Vector(1e3))
        game = g.DiracGAN(variant)
        assert np.all(np.isfinite(energies(game, states)))
        assert np.all(np.isfinite(game.energy(0, states).gradient(states[0])))


# --- generative adversarial games -----------------------------------------------------------------


def features(x: np.ndarray) -> np.ndarray:
    return np.stack([x[:, 0], np.sin(x[:, 1]), x[:, 0] * x[:, 1]], axis=1)


def features_slope(x: np.ndarray) -> np.ndarray:
    one, zero = np.ones(len(x)), np.zeros(len(x))
    rows = [[one, zero], [zero, np.cos(x[:, 1])], [x[:, 1], x[:, 0]]]
    return np.moveaxis(np.array(rows), -1, 0)


CRITIC = g.FeatureCritic(features, features_slope)
WEIGHTS = mf.Vector([0.7, -1.2, 0.4])


def direct_neurons(state: Any, x: np.ndarray, activation: str) -> np.ndarray:
    a, w, b = state.points[:, 0], state.points[:, 1:-1], state.points[:, -1]
    z = x @ w.T + b
    return np.asarray((a * (np.tanh(z) if activation == "tanh" else np.maximum(z, 0.0))) @ state.weights)


def test_feature_critic_is_a_linear_combination() -> None:
    values, slopes = CRITIC.values_and_slopes(WEIGHTS, LAW.points)
    assert_allclose(values, features(LAW.points) @ WEIGHTS.values, rtol=1e-14)
    assert_allclose(slopes, np.einsum("npd,p->nd", features_slope(LAW.points), WEIGHTS.values), rtol=1e-14)
    assert_array_equal(CRITIC.values(WEIGHTS, LAW.points), values)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_neuron_critic_is_a_mean_over_neurons(activation: str, dim: int) -> None:
    state, points = cloud(9, dim + 2, dim, equal=False), cloud(11, dim, 3).points
    critic = g.NeuronCritic(activation)
    values, slopes = critic.values_and_slopes(state, points)
    assert_allclose(values, direct_neurons(state, points, activation), rtol=1e-11, atol=1e-13)
    for axis in range(dim):
        shift = 1e-6 * np.eye(dim)[axis]
        ahead, behind = (direct_neurons(state, points + s * shift, activation) for s in (1.0, -1.0))
        assert_allclose(slopes[:, axis], (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-8)
    assert_allclose(critic.values(state, points), values, rtol=1e-13)


CRITICS: dict[str, tuple[g.Critic, Any]] = {
    "features": (CRITIC, WEIGHTS),
    "tanh": (g.NeuronCritic("tanh"), NEURONS),
    "relu": (g.NeuronCritic("relu"), NEURONS),
}


def square(state: Any) -> float:
    """|c|^2 of a vector, its mean under a law of neurons."""
    return float(np.sum(state.values**2) if isinstance(state, mf.Vector) else state.weights @ np.sum(state.points**2, axis=1))


@pytest.mark.parametrize("kind", CRITICS)
@pytest.mark.parametrize("penalty", [None, g.Ridge(0.6)], ids=repr)
def test_gan_is_an_integral_probability_metric_with_a_penalty(kind: str, penalty: g.Ridge | None) -> None:
    """J = E_mu D - E_target D - (beta/2)|c|^2; the generator descends J; the critic ascends it."""
    critic, state = CRITICS[kind]
    game = g.GAN(TARGET, critic=critic, penalty=penalty)
    direct = (lambda x: features(x) @ state.values) if kind == "features" else (lambda x: direct_neurons(state, x, kind))
    J = (
        LAW.weights @ direct(LAW.points)
        - TARGET.weights @ direct(TARGET.points)
        - 0.5 * (penalty.beta if penalty else 0.0) * square(state)
    )
    assert_allclose(energies(game, (LAW, state)), [J, -J], rtol=1e-10, atol=1e-12)
    assert_gradients(game, (LAW, state), least=1.75)


@given(particles(dim=2))
def test_gan_of_equal_laws_has_a_blind_critic(law: mf.Particles) -> None:
    game = g.GAN(law, critic=CRITIC)
    assert_allclose(energies(game, (law, WEIGHTS)), 0.0, rtol=0.0, atol=1e-12)
    assert_allclose(game.energy(1, (law, WEIGHTS)).gradient(WEIGHTS), 0.0, rtol=0.0, atol=1e-12)


def test_best_ridge_critic_is_the_difference_of_mean_features() -> None:
    game = g.GAN(TARGET, critic=CRITIC, penalty=g.Ridge(0.5))
    gap = LAW.weights @ features(LAW.points) - TARGET.weights @ features(TARGET.points)
    best = mf.Vector(gap / 0.5)
    assert_allclose(game.energy(1, (LAW, best)).gradient(best), 0.0, rtol=0.0, atol=1e-13)
    assert_allclose(energies(game, (LAW, best))[0], gap @ gap, rtol=1e-12)  # |gap|^2 / (2 beta)


def test_gan_takes_targets_of_every_atomic_kind() -> None:
    critic = g.FeatureCritic(lambda x: np.hstack([x, x**2]), lambda x: np.stack([np.ones_like(x), 2.0 * x], axis=1))
    line, weights = mf.Quantiles([0.0, 1.0, 3.0]), mf.Vector([1.0, 0.5])
    histogram = mf.Histogram([0.5, 0.0, 0.5], mf.Grid([(0.0, 3.0)], (3,)))
    for target in (line, line.to_particles(), histogram):
        game = g.GAN(target, critic=critic)
        x, w = (target.grid.points, target.masses) if target is histogram else (line.values[:, None], np.full(3, 1 / 3))
        D = (x + 0.5 * x**2)[:, 0]
        assert_allclose(energies(game, (mf.Quantiles([1.0]), weights))[0], 1.5 - w @ D, rtol=1e-13)
    assert g.GAN(histogram, critic=critic).minibatch(1, np.random.default_rng(0)) is None


def test_minibatch_of_a_gan_draws_from_its_target() -> None:
    game = g.GAN(cloud(30, 2, 0), critic=CRITIC, penalty=g.Ridge(0.1))
    drawn = game.minibatch(10, np.random.default_rng(0))
    assert isinstance(drawn, g.GAN)
    assert len(drawn.target) == 10
    assert (drawn.critic, drawn.penalty, drawn.loss) == (game.critic, game.penalty, game.loss)
    flow = mf.solve(game, (cloud(8, 2, 1), WEIGHTS), 0.3, 0.1, batch=10, seed=1)
    again = mf.solve(game, (cloud(8, 2, 1), WEIGHTS), 0.3, 0.1, batch=10, seed=1)
    other = mf.solve(game, (cloud(8, 2, 1), WEIGHTS), 0.3, 0.1, batch=10, seed=2)
    assert_array_equal(flow.states[-1][0], again.states[-1][0])
    assert not np.array_equal(flow.states[-1][1], other.states[-1][1])


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (g.Ridge(0.5), "Ridge(beta=0.5)"),
        (g.DiracGAN("nsgan"), "DiracGAN('nsgan')"),
        (g.NeuronCritic("relu"), "NeuronCritic('relu')"),
    ],
)
def test_repr(thing: Any, text: str) -> None:
    assert repr(thing) == text
