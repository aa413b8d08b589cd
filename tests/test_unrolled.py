"""Players who foresee steps of the critic, and consensus terms: gradients, exact linear flows, schemes that unroll."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow import problems

V = mf.Vector
MIX = np.array([[1.0, -0.6, 0.3], [0.5, 0.8, -0.2]])


def payoff(x, y):
    """J = sum log cosh x + x.C y + (3/10) sin(x_0 y_1) - |y|^2/4 - sum y^4/20."""
    x, y = np.asarray(x), np.asarray(y)
    sine, cosine = 0.3 * np.sin(x[0] * y[1]), 0.3 * np.cos(x[0] * y[1])
    value = np.sum(np.log(np.cosh(x))) + x @ MIX @ y + sine - 0.25 * y @ y - 0.05 * np.sum(y**4)
    down = np.tanh(x) + MIX @ y + cosine * np.array([y[1], 0.0])
    return value, down, MIX.T @ x + cosine * np.array([0.0, x[0], 0.0]) - 0.5 * y - 0.2 * y**3


def law_game(clip=(None, None)):
    return g.KernelGame(
        lambda x, y: np.cos(x[:, None, 0] - y[None, :, 0]) - 0.3 * y[None, :, 0] ** 2,
        lambda x, y: -np.sin(x[:, None, :] - y[None, :, :]),
        lambda x, y: np.sin(x[:, None, :] - y[None, :, :]) - 0.6 * y[None, :, :],
        clip,
    )


VECTORS = V([0.9, -0.7]), V([0.4, 0.8, -0.3])
LAWS = mf.Particles([[0.2], [1.1], [-0.6]], [0.2, 0.5, 0.3]), mf.Particles([[0.9], [-0.4]], [0.6, 0.4])
CRITIC = g.FeatureCritic(lambda x: np.sin(x), lambda x: np.cos(x)[:, :, None])
GAN = g.GAN(mf.Particles([[0.3], [1.0]]), critic=CRITIC, penalty=g.Ridge(0.7))
SMOOTH = {
    "vectors": (g.ZeroSum(payoff), VECTORS),
    "laws": (law_game(), LAWS),
    "gan": (GAN, (mf.Particles([[-0.4], [0.8], [0.1]]), V([0.6]))),
    "dirac": (g.DiracGAN("gan"), (V(0.8), V(-0.5))),
    "quantiles": (law_game(), (mf.Quantiles([-0.5, 0.1, 0.9]), LAWS[1])),
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("steps", [1, 4])
def test_gradients_through_critic_steps_fit_their_values(name, steps):
    game, states = SMOOTH[name]
    unrolled = g.Unrolled(game, steps, 0.3)
    for seed in range(3):
        assert_allclose(mf.check_gradient(unrolled.energy(0, states), states[0], seed), 2.0, atol=0.1)
    assert unrolled.energy(1, states).value(states[1]) == game.energy(1, states).value(states[1])


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_foresight_is_the_payoff_after_the_steps(steps):
    game, (x, y) = g.ZeroSum(payoff), VECTORS
    ahead = y
    for _ in range(steps):
        ahead = V(ahead - 0.2 * game.energy(1, (x, ahead)).gradient(ahead))
    assert_allclose(g.Unrolled(game, steps, 0.2).energy(0, (x, y)).value(x), payoff(x, ahead)[0], rtol=1e-14)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_bilinear_foresight(steps):
    """J = x.C y: the gradient is C y + 2 K eta C C^T x."""
    rng = np.random.default_rng(steps)
    C, x, y = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=3)
    found = g.Unrolled(g.Bilinear(C), steps, 0.05).energy(0, (V(x), V(y))).gradient(V(x))
    assert_allclose(found, C @ y + 2.0 * steps * 0.05 * C @ (C.T @ x), atol=1e-11)


def test_critics_that_have_a_field_and_a_metric():
    """Steps in H^1 smooth the critic's gradient: J = <phi, y> with y' = (I - Lap)^(-1) phi x."""
    grid = mf.Grid([(0.0, np.pi)], (16,))
    wave = np.cos(2.0 * grid.axes[0])
    cell = grid.cell_volume

    def pay(x, y):
        overlap = float(np.sum(wave * np.asarray(y))) * cell
        return x[0] * overlap, np.array([overlap]), x[0] * wave

    states = V([1.5]), mf.Field(0.1 * wave, grid)
    for metric, share in ((None, 1.0), (mf.Sobolev(1), 1.0 / 5.0)):
        energy = g.Unrolled(g.ZeroSum(pay), 3, 0.2, metric).energy(0, states)
        square = float(np.sum(wave**2)) * cell
        assert_allclose(energy.gradient(states[0]), 0.1 * square + 2.0 * 3 * 0.2 * share * square * 1.5, rtol=1e-11)
        assert_allclose(mf.check_gradient(energy, states[0]), 2.0)


def test_critics_in_a_box_stop_at_its_walls():
    game = law_game(clip=(None, 1.0))
    states = LAWS[0], mf.Particles([[0.95], [-0.4]], [0.6, 0.4])
    unrolled = g.Unrolled(game, 5, 0.6)
    assert_allclose(mf.check_gradient(unrolled.energy(0, states), states[0]), 2.0, atol=0.1)
    sol = mf.solve(unrolled, states, 1.0, 0.1, scheme="explicit")
    assert max(float(np.abs(row[1].points).max()) for row in sol.states) <= 1.0


EIGENVALUES = [({"unrolled": 3, "eta": 0.1, "omega": 2.0}, -1.2), ({"unrolled": 12, "eta": 0.1}, -1.2)]
EIGENVALUES += [({"consensus": 0.4, "omega": 1.5}, -0.9), ({"consensus": 0.0}, 0.0)]


@pytest.mark.parametrize(("parameters", "growth"), EIGENVALUES)
def test_damped_bilinear_games(parameters, growth):
    """G10: eigenvalues of the flow, multipliers of explicit steps, exact steps, and convergence to the exact flow."""
    p = problems.get("G10", **parameters)
    omega, overdamped = parameters.get("omega", 1.0), parameters.get("unrolled", 0) == 12
    if overdamped:
        assert p.constants["frequency"] == 0.0
        assert_allclose(p.constants["growth"], -1.2 + np.sqrt(1.2**2 - 1.0), rtol=1e-14)
    else:
        assert_allclose(p.constants["growth"], growth, atol=1e-14)
        square = growth**2 - omega**2 if "unrolled" in parameters else -(omega**2)
        assert_allclose(p.constants["frequency"], np.sqrt(-square), rtol=1e-14)
    tau = 0.1
    columns = []
    for start in ((1.0, 0.0), (0.0, 1.0)):
        end = mf.solve(p.problem, (V(start[0]), V(start[1])), tau, tau, scheme="explicit").states[-1]
        columns.append([end[0].values[0], end[1].values[0]])
    found = np.linalg.eigvals(np.array(columns).T)
    assert np.abs(found - p.factors["explicit"](tau)).min() < 1e-12
    assert np.abs((found - 1.0) / tau - (p.constants["growth"] + 1j * p.constants["frequency"])).min() < 1e-10
    for scheme in p.exact_step:
        sol = p.solve(tau, scheme, t=3 * tau)
        for old, new in zip(sol.states[:-1], sol.states[1:], strict=True):
            assert problems.distance_between(p.exact_step[scheme](old, tau), new) < 1e-12
    assert p.error(p.solve(0.1, "rk4", t=0.5)) < 1e-3


@pytest.mark.parametrize("scheme", [mf.Explicit, mf.JKO])
def test_schemes_that_unroll(scheme):
    """x+ = x - tau (y + 2 K eta tau x) or its implicit form, y+ from the old x; eta is the critic's speed."""
    tau, k, eta = 0.1, 4, 3.0
    start = V(1.0), V(0.5)
    sol = mf.solve(g.Bilinear(1.0), start, tau, tau, scheme=scheme(unrolled=k), speeds=(1.0, eta))
    damping = 2.0 * k * eta * tau
    x = (1.0 - tau * 0.5) / (1.0 + tau * damping) if scheme is mf.JKO else 1.0 - tau * (0.5 + damping)
    assert_allclose([z.values[0] for z in sol.states[-1]], [x, 0.5 + eta * tau], atol=1e-9 if scheme is mf.JKO else 1e-12)
    assert sol.energies.shape == (2, 2) and "unrolled=4" in repr(sol.scheme)
    assert_allclose(sol.energies[0], [0.5, -0.5])


def test_unrolled_steps_damp_rotations_by_an_artefact_of_size_tau():
    """The damping 2 K eta tau omega^2 vanishes with tau: the limit is the rotation."""
    radii = []
    for tau in (0.1, 0.05, 0.025):
        sol = mf.solve(g.Bilinear(1.0), (V(1.0), V(0.0)), 2.0, tau, scheme=mf.Explicit("alternating", unrolled=2))
        radii.append(np.hypot(sol.states[-1][0].values[0], sol.states[-1][1].values[0]))
    assert radii[0] < radii[1] < radii[2] < 1.0
    assert_allclose(np.log(radii[1]) / np.log(radii[2]), 2.0, atol=0.1)


def test_unrolling_needs_a_zero_sum_game():
    game = g.Game([e.Quadratic(), e.Quadratic()])
    with pytest.raises(mf.UnsupportedError, match="zero-sum game of two players"):
        g.Unrolled(game, 1, 0.1)
    with pytest.raises(mf.UnsupportedError, match="zero-sum game of two players"):
        mf.solve(game, (V(1.0), V(1.0)), 1.0, 0.5, scheme=mf.JKO(unrolled=1))
    with pytest.raises(mf.UnsupportedError, match="zero-sum game of two players"):
        mf.solve(e.Quadratic(), V(1.0), 1.0, 0.5, scheme=mf.Explicit(unrolled=1))
    assert not g.Unrolled(g.Bilinear(1.0), 1, 0.1).zero_sum and not g.Consensus(g.Bilinear(1.0), 0.1).zero_sum


def test_mini_batches_are_unrolled_and_damped_too():
    for wrapped in (g.Unrolled(GAN, 2, 0.1), g.Consensus(GAN, 0.2)):
        sol = mf.solve(wrapped, (mf.Particles([[-0.4], [0.8]]), V([0.6])), 0.3, 0.1, scheme="explicit", batch=1, seed=0)
        assert sol.status == "done"
        assert type(wrapped.minibatch(1, np.random.default_rng(0))) is type(wrapped)
    assert g.Consensus(g.Bilinear(1.0), 0.1).minibatch(1, np.random.default_rng(0)) is None


# consensus ------------------------------------------------------------------------------------------------------------------


def general(game):
    """Return the same game without its zero-sum structure: full matrices of differences are taken."""
    return g.Game(
        [
            lambda x, o: game.energy(0, (x, o[0])).value_and_gradient(x),
            lambda y, o: game.energy(1, (o[0], y)).value_and_gradient(y),
        ]
    )


@pytest.mark.parametrize("name", ["vectors", "laws", "gan", "dirac"])
def test_consensus_terms(name):
    game, states = SMOOTH[name]
    fast, slow = g.Consensus(game, 0.4), g.Consensus(general(game), 0.4)
    for k, x in enumerate(states):
        energy = fast.energy(k, states)
        assert_allclose(mf.check_gradient(energy, x), 2.0, atol=0.1)
        assert_allclose(energy.gradient(x), slow.energy(k, states).gradient(x), atol=1e-10)
        assert_allclose(energy.value(x), slow.energy(k, states).value(x), rtol=1e-13)
    speed = sum(mf.metrics.natural(x).slope(x, game.energy(k, states).gradient(x)) ** 2 for k, x in enumerate(states))
    paid = fast.energy(0, states).value(states[0]) - game.energy(0, states).value(states[0])
    assert_allclose(paid, 0.2 * speed, rtol=1e-12)


def test_consensus_of_three_players():
    def player(own, others):
        offset = own - np.tanh(others[0] - 0.5 * others[1])
        return 0.5 * float(offset @ offset), offset

    states = V([1.0, 0.2]), V([-0.5, 0.1]), V([0.8, -1.0])
    game = g.Consensus(g.Game([player] * 3), 0.7)
    for k, x in enumerate(states):
        for seed in range(3):
            assert_allclose(mf.check_gradient(game.energy(k, states), x, seed), 2.0, atol=0.1)


def test_consensus_damps_the_dirac_gan_at_the_rate_of_theory():
    """7.1: eigenvalues -gamma f'(0)^2 +- i f'(0) at the equilibrium, f'(0) = 1/2."""
    gamma, tau = 0.8, 1e-3
    small = 1e-4
    columns = []
    for start in ((small, 0.0), (0.0, small)):
        sol = mf.solve(g.Consensus(g.DiracGAN("gan"), gamma), (V(start[0]), V(start[1])), tau, tau, scheme="explicit")
        columns.append([z.values[0] / small for z in sol.states[-1]])
    found = (np.linalg.eigvals(np.array(columns).T) - 1.0) / tau
    assert_allclose(sorted(found, key=lambda z: z.imag), [-gamma / 4 - 0.5j, -gamma / 4 + 0.5j], atol=1e-6)


def test_large_general_games_are_refused():
    game = g.Consensus(general(g.Bilinear(np.eye(101))), 0.1)
    states = V(np.ones(101)), V(np.ones(101))
    with pytest.raises(mf.UnsupportedError, match="at most 200 coordinates"):
        game.energy(0, states).value(states[0])
    assert_allclose(g.Consensus(g.Bilinear(np.eye(101)), 0.1).energy(0, states).gradient(states[0]), 1.1, rtol=1e-10)
