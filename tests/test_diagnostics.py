"""Diagnostics of computed flows: energy balance, duality gap, linearisation, averages, invariants."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow import problems
from measureflow.games.linear import quadratic_minimiser

COUPLINGS = ("simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic")


def order(taus, errors):
    return np.polyfit(np.log(taus), np.log(np.abs(errors)), 1)[0]


def pair(x, y):
    return mf.Vector(x), mf.Vector(y)


def at(game, x, y, speeds=None, **options):
    """Return the linearisation of a game's flow at a point."""
    sol = mf.solve(game, pair(x, y), 0.1, 0.1, speeds=speeds, scheme="explicit")
    return sol.linearisation(at=pair(x, y), **options)


# energy balance -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["G1", "G2", "G3", "G15"])
@pytest.mark.parametrize(
    "name", [*(f"{prefix}{name}" for prefix in ("", "explicit ") for name in COUPLINGS), "vim implicit", "bdf2 optimistic", "rk4"]
)
def test_changes_of_energy_add_up_for_every_scheme(label, name):
    p = problems.get(label)
    sol = p.solve(0.05, name, t=0.25)
    balance = sol.balance()
    energy = p.problem.energy
    for k in range(len(sol) - 1):
        old, new = sol.states[k], sol.states[k + 1]
        for i in range(2):
            crossed = energy(i, old).value(new[i])
            assert abs(balance.own[k, i] - (crossed - energy(i, old).value(old[i]))) < 1e-13
            assert abs(balance.opponent[k, i] - (energy(i, new).value(new[i]) - crossed)) < 1e-13
    assert_allclose(balance.energies, sol.energies, atol=1e-14)
    total = balance.cumulative("own") + balance.cumulative("opponent")
    assert_allclose(balance.energies - balance.energies[0], total, atol=1e-12)
    assert_allclose(balance.own, balance.residual - balance.dissipation, atol=1e-15)


@pytest.mark.parametrize("label", ["G1", "G2", "G3", "G15"])
@pytest.mark.parametrize("coupling", ["simultaneous", "alternating", "implicit"])
def test_exact_balance_of_minimizing_movements(label, coupling):
    """4.3: the change of E_i is minus De Giorgi's dissipation plus what the opponents' moves did, to 1e-12."""
    sol = problems.get(label).solve(0.1, coupling, t=0.4)
    balance = sol.balance(exact=True)
    bound = 1e-12 if label in ("G1", "G2") else 1e-9
    assert np.abs(balance.residual).max() < bound
    lost = balance.cumulative("opponent") - balance.cumulative("dissipation")
    assert_allclose(balance.energies[-1] - balance.energies[0], lost[-1], atol=10 * bound)


def test_player_one_of_simultaneous_and_alternating_steps_pays_with_frozen_opponents():
    """4.3 as it is written: E1(x+; y+) - E1(x+; y) with the old opponent, whatever the second player sees."""
    for coupling in ("simultaneous", "alternating"):
        sol = problems.get("G2").solve(0.1, coupling)
        assert_allclose(sol.balance().opponent[:, 0], sol.balance(exact=True).opponent[:, 0], atol=1e-15)


def test_residual_of_the_balance_is_of_third_order_in_a_step():
    taus = 0.1 / np.array([1.0, 2.0])
    for name in ("jko", "explicit", "alternating"):
        worst = [np.abs(problems.get("G2").solve(tau, name).balance().residual).max() for tau in taus]
        assert abs(order(taus, worst) - 3.0) < 0.2


def test_balance_of_single_flows():
    sol = mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.1)
    balance = sol.balance()
    assert balance.own.shape == balance.residual.shape == (10,) and balance.energies.shape == (11,)
    assert not balance.opponent.any() and balance.payoff_residual is None
    assert_allclose(balance.cumulative("own"), sol.energies - 0.5, atol=1e-15)
    assert np.abs(sol.balance(exact=True).residual).max() < 1e-12
    assert_allclose(balance.cumulative("work")[-1], np.sum(sol.info["distance"][1:] ** 2 / 0.1), rtol=1e-12)


def test_balance_of_thinned_rows_and_of_histograms():
    sol = problems.get("G2").solve(0.01, save_at=10)
    balance = sol.balance()
    assert balance.own.shape == (10, 2)
    assert_allclose(
        balance.energies - balance.energies[0], balance.cumulative("own") + balance.cumulative("opponent"), atol=1e-13
    )
    with pytest.raises(ValueError, match=r"balance\(exact=True\) needs every step"):
        sol.balance(exact=True)
    grid = mf.Grid([(-3.0, 3.0)], (40,))
    law = mf.Histogram.from_density(lambda x: np.exp(-4.0 * (x[..., 0] - 1.0) ** 2), grid)
    flow = mf.solve(e.Quadratic() + 0.1 * e.Entropy(), law, 0.05, 0.05).balance()
    assert np.all(flow.own < 0.0) and np.all(flow.work > 0.0) and np.all(np.isnan(flow.dissipation))


@pytest.mark.parametrize("speeds", [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("name", ["simultaneous", "explicit alternating", "implicit"])
def test_energy_identity_of_zero_sum_games(speeds, name):
    """3.1: J(t) - J(s) = -int |x'|^2/eta_1 + int |y'|^2/eta_2, at first order in tau."""
    scheme = problems.base.SCHEMES[name]
    taus = 1.0 / np.array([20, 40])
    errors = []
    for tau in taus:
        sol = mf.solve(g.LinearQuadratic(0.3, 2.0, 0.5), pair(1.0, 0.7), 1.0, tau, scheme=scheme, speeds=speeds)
        errors.append(np.abs(sol.balance().payoff_residual).max())
    assert abs(order(taus, errors) - 1.0) < 0.2
    assert mf.solve(g.DiracGAN("nsgan"), pair(1.0, 1.0), 1.0, 0.5).balance().payoff_residual is None


def test_balance_of_one_row():
    balance = mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.5, save_at=[0.0]).balance()
    assert balance.own.shape == (0,)
    assert_array_equal(balance.cumulative("own"), [0.0])


def test_picture_of_a_balance():
    for sol, panels in ((mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.1), 1), (problems.get("G2").solve(0.1), 3)):
        balance = sol.balance()
        axes = balance.plot().axes
        assert len(axes) == panels and all(place.get_legend() for place in axes)
        lines = {line.get_label(): line.get_ydata() for line in axes[0].lines}
        first = balance.energies.reshape(11, -1)[:, 0]
        assert_allclose(lines["energy - first energy"], first - first[0])
        assert_allclose(lines["own moves"] + lines.get("opponents' moves", 0.0), first - first[0], atol=1e-14)


def test_questions_to_a_flow_without_rows():
    lost = e.Function(lambda x: 0.5 * np.sum(x**2), lambda x: x * (1.0 if x[0] > 0.7 else np.nan))
    sol = mf.solve(lost, mf.Vector(1.0), 1.0, 0.1, save_at=[0.9], scheme="explicit", throw=False)
    assert len(sol) == 0
    assert sol.balance().energies.shape == sol.duality_gap().shape == sol.regrets().shape == (0,)
    assert sol.averages().running == {} and sol.invariants() == {}
    with pytest.raises(ValueError, match="a solution with a row"):
        sol.linearisation()


# duality gap --------------------------------------------------------------------------------------------------------

CURVED = g.LinearQuadratic([[1.0, 0.2], [0.2, 0.5]], [[1.0], [-2.0]], 0.7)
"""Strongly convex-concave, in dimensions 2 and 1."""


def gap_of(game, x, y):
    """Return max J(x, .) - min J(., y) of a linear-quadratic game."""
    up, down = game.C.T @ x, game.C @ y
    own = x @ game.P @ x + y @ game.Q @ y
    return 0.5 * (own + up @ np.linalg.solve(game.Q, up) + down @ np.linalg.solve(game.P, down))


@pytest.mark.parametrize("name", ["simultaneous", "explicit alternating"])
def test_gap_of_linear_quadratic_games(name):
    sol = mf.solve(CURVED, pair([1.0, -0.5], [2.0]), 2.0, 0.1, scheme=problems.base.SCHEMES[name])
    expected = [gap_of(CURVED, x.values, y.values) for x, y in sol.states]
    assert_allclose(sol.duality_gap(), expected, rtol=1e-12)
    assert_allclose(sol.regrets().sum(axis=1), expected, rtol=1e-12)
    assert sol.regrets().shape == (21, 2) and np.all(sol.regrets() >= 0.0)
    assert_allclose(mf.solve(CURVED, pair([0.0, 0.0], [0.0]), 1.0, 0.5).duality_gap(), 0.0, atol=1e-15)


@pytest.mark.parametrize(
    ("game", "start"),
    [
        (problems.get("G2").problem, pair(1.0, 1.0)),
        (CURVED, pair([1.0, -0.5], [2.0])),
        (g.LinearQuadratic(0.02, 1.0, 0.02), pair(1.0, 0.5)),
    ],
)
def test_gap_of_averages_is_bounded(game, start):
    """D3: at most D_0^2/(2t), D_0 the distance of the start from the best responses to the averages."""
    sol = mf.solve(game, start, 8.0, 0.08, scheme=mf.JKO("implicit"), save_at=8)
    gap = sol.duality_gap(averaged=True)
    mean = sol.averages().running
    assert gap[0] == sol.duality_gap()[0]
    for k in range(1, len(sol)):
        states = mf.Vector(mean["player0_values"][k]), mf.Vector(mean["player1_values"][k])
        best = [game.best_response(i, states) for i in (0, 1)]
        bound = sum(np.sum((a - b) ** 2) for a, b in zip(start, best, strict=True)) / (2.0 * sol.t[k])
        assert 0.0 <= gap[k] <= 1.03 * bound


def test_averages_of_a_rotation_approach_its_centre():
    """D3 for a bilinear game on balls of radius 1: its gap stays on the orbit, and is at most D_0^2/(2t) for its averages."""

    def on_the_ball(player, states):
        pull = states[1 - player].values * (1.0 if player == 0 else -1.0)
        return mf.Vector(-pull / np.linalg.norm(pull))

    sol = mf.solve(g.Bilinear(np.eye(2)), pair([1.0, 0.0], [0.1, 0.0]), 12.0, 0.03, scheme=mf.Explicit("alternating"), save_at=4)
    now, mean = (sol.duality_gap(averaged, on_the_ball) for averaged in (False, True))
    assert np.all(now > 0.95)
    assert np.all(mean[1:] <= (2.0**2 + 1.1**2) / (2.0 * sol.t[1:]))


def test_gap_of_laws_and_of_their_mixtures():
    """A law's part of a quadratic payoff adds its variance to the gap; mixtures count the variance between times."""
    x, y = mf.Particles([[0.0], [2.0]], [0.25, 0.75]), mf.Quantiles([-1.0, 0.0, 3.0])
    sol = mf.solve(g.LinearQuadratic(1.0, 2.0, 0.5), (x, y), 1.0, 0.25)
    game = g.LinearQuadratic(1.0, 2.0, 0.5)
    for k, (mu, nu) in enumerate(sol.states):
        spread = 0.5 * (mu.covariance()[0, 0] + 0.5 * nu.covariance()[0, 0])
        assert_allclose(sol.duality_gap()[k], gap_of(game, mu.mean(), nu.mean()) + spread, rtol=1e-12)
    mean = {name: values[-1] for name, values in sol.averages().running.items()}
    spread = 0.5 * (mean["player0_covariance"] + 0.5 * mean["player1_covariance"])[0, 0]
    expected = gap_of(game, mean["player0_mean"], mean["player1_mean"]) + spread
    assert_allclose(sol.duality_gap(averaged=True)[-1], expected, rtol=1e-12)


def test_gap_of_single_flows():
    sol = mf.solve(e.Quadratic(2.0, centre=[1.0]), mf.Vector(0.0), 1.0, 0.25)
    assert_allclose(sol.duality_gap(), sol.energies, rtol=1e-14)
    assert sol.regrets().shape == (5,)
    well = mf.solve(e.Potential(lambda x: x[:, 0] ** 4, lambda x: 4.0 * x**3), mf.Vector(1.0), 1.0, 0.25)
    with pytest.raises(TypeError, match="player 0 of Game has no best response"):
        well.duality_gap()
    assert_allclose(well.duality_gap(best_response=lambda player, states: mf.Vector(0.0)), well.energies)


def test_best_responses_that_do_not_exist_are_named():
    rotation = mf.solve(g.Bilinear(1.0), pair(1.0, 0.0), 1.0, 0.5)
    with pytest.raises(mf.UnsupportedError, match="player 1 of LinearQuadratic has no best response .* unbounded"):
        mf.solve(g.LinearQuadratic(1.0, 1.0, 0.0), pair(1.0, 0.0), 1.0, 0.5).duality_gap()
    with pytest.raises(mf.UnsupportedError, match="player 1 of Bilinear"):
        rotation.duality_gap()
    with pytest.raises(mf.UnsupportedError, match="player 0 of GAN has no best response"):
        problems.get("G15").solve(0.5).duality_gap()
    with pytest.raises(mf.CallbackError, match="best_response must return a state or None, got 3"):
        rotation.duality_gap(best_response=lambda player, states: 3)
    gaussians = mf.solve(g.LinearQuadratic(1.0, 1.0, 1.0), (mf.Gaussian(0.0, 1.0), mf.Gaussian(0.0, 1.0)), 1.0, 0.5)
    assert np.all(gaussians.duality_gap() > 0.0)
    with pytest.raises(mf.UnsupportedError, match="player 0 has Gaussian"):
        gaussians.duality_gap(averaged=True)


def test_gap_of_a_gan_on_the_ring():
    """The critic's best reply is quadratic, the generator's is its angle opposite to the critic's, on a known circle."""
    beta = 0.6
    p = problems.get("G15", beta=beta)

    def lowest(player, states):
        return None if player else mf.Particles([[np.arctan2(*states[1].values[::-1]) + np.pi]])

    sol = p.solve(0.1, t=1.0)
    for k, regret in enumerate(sol.regrets(best_response=lowest)):
        critic, angle = sol.states[k][1], sol.states[k][0].points[0, 0]
        phi = np.array([np.cos(angle), np.sin(angle)])
        assert_allclose(regret[0], critic.values @ phi + np.linalg.norm(critic.values), rtol=1e-12)
        assert_allclose(regret[1], 0.5 * beta * np.sum((critic.values - phi / beta) ** 2), rtol=1e-11)


def test_gap_of_kernel_games_on_cells():
    """Against a law the best reply on a grid is one cell: with masses A it is the gap max_j (p A)_j - min_i (A q)_i."""
    grid = mf.Grid([(0.0, 1.0)], (5,))
    x = np.linspace(0.1, 0.9, 5)[:, None]
    game = g.KernelGame(lambda a, b: np.cos(3.0 * a - 4.0 * b.T), lambda a, b: 0.0, lambda a, b: 0.0)
    p, q = mf.Histogram([0.2] * 5, grid), mf.Histogram([0.1, 0.4, 0.0, 0.3, 0.2], grid)
    matrix = np.cos(3.0 * x - 4.0 * x.T)
    sol = mf.solve(game, (p, q), 0.2, 0.1, metric=mf.FisherRao(), scheme="explicit")
    for averaged in (False, True):
        assert np.all(sol.duality_gap(averaged) >= 0.0)
        assert_allclose(sol.duality_gap(averaged)[0], (p.masses @ matrix).max() - (matrix @ q.masses).min(), rtol=1e-12)
    atoms = mf.Particles([[0.0]])
    with pytest.raises(mf.UnsupportedError, match="player 0 of KernelGame"):
        sine = g.KernelGame(
            lambda a, b: a @ b.T, lambda a, b: np.broadcast_to(b, (1, 1, 1)), lambda a, b: np.broadcast_to(a, (1, 1, 1))
        )
        mf.solve(sine, (atoms, atoms), 0.2, 0.1).duality_gap()


def test_minimisers_of_quadratics():
    energy = e.Quadratic([[2.0, 0.0], [0.0, 0.0]], linear=[4.0, 0.0])
    assert_allclose(quadratic_minimiser(energy, mf.Vector([5.0, 5.0])).values, [-2.0, 0.0])
    assert quadratic_minimiser(energy + e.Quadratic(0.0, linear=[0.0, 1.0]), mf.Vector([0.0, 0.0])) is None
    assert quadratic_minimiser(e.Quadratic(-1.0), mf.Vector([0.0])) is None
    assert quadratic_minimiser(e.Entropy() + e.Quadratic(), mf.Gaussian(0.0, 1.0)) is None
    law = quadratic_minimiser(3.0 * e.Quadratic(2.0, centre=[1.0]), mf.Particles([[0.0], [4.0]], [0.3, 0.7]))
    assert_allclose(law.points, 1.0)
    assert_allclose(law.weights, [0.3, 0.7])
    point = quadratic_minimiser(e.Quadratic(2.0, centre=[1.0]), mf.Gaussian(0.0, 1.0))
    assert_allclose(point.mean, 1.0) and assert_allclose(point.cov, 0.0)
    grid = mf.Grid([(-1.0, 1.0)], (4,))
    assert_array_equal(quadratic_minimiser(e.Quadratic(-1.0, centre=[0.1]), mf.Histogram([0.25] * 4, grid)).masses, [1, 0, 0, 0])


# linearisation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "frequency"), [("gan", 0.5), ("nsgan", 0.5), ("wgan", 1.0)])
@pytest.mark.parametrize("eta", [1.0, 4.0])
def test_eigenvalues_of_dirac_gans(variant, frequency, eta):
    """7.1: +-i f'(0), times the root of the critic's speed."""
    near = at(g.DiracGAN(variant), 0.0, 0.0, speeds=(1.0, eta))
    expected = 1j * frequency * np.sqrt(eta)
    assert_allclose(near.eigenvalues, [expected, -expected], atol=1e-10)
    assert abs(near.frequency - expected.imag) < 1e-10 and abs(near.damping) < 1e-10
    assert near.residual == 0.0 and not near.stable and near.tau is None
    assert "2 coordinates" in repr(near)


def test_residual_tells_equilibria_from_other_points():
    near = at(g.DiracGAN("wgan"), 3.0, 4.0, speeds=(1.0, 4.0))
    assert_allclose(near.residual, np.sqrt(4.0**2 + (4.0 * 3.0) ** 2 / 4.0), rtol=1e-14)


def test_roughness_tells_kinks():
    penalised = g.DiracGAN("wgan", gradient_penalty=(0.7, 1.0))
    kink, smooth = at(penalised, 0.0, 0.0), at(penalised, 0.0, 0.5)
    assert kink.roughness > 0.3 and "NOT SMOOTH" in repr(kink)
    assert smooth.roughness < 1e-10 and "NOT SMOOTH" not in repr(smooth)
    assert at(g.DiracGAN("gan"), 1.0, 2.0).roughness < 1e-5


def test_linearisation_of_linear_quadratic_games():
    near = at(CURVED, [1.0, -0.5], [2.0], speeds=(1.0, 3.0))
    own = np.block([[CURVED.P, CURVED.C], [-3.0 * CURVED.C.T, 3.0 * CURVED.Q]])
    assert_allclose(near.matrix, -own, atol=1e-11)
    assert_allclose(np.sort_complex(near.eigenvalues), np.sort_complex(np.linalg.eigvals(-own)), atol=1e-10)
    assert near.stable and np.all(np.diff(near.eigenvalues.real) <= 1e-9)


KNOWN = [(label, name) for label in ("G1", "G2") for name in problems.get(label).factors]


@pytest.mark.parametrize(("label", "name"), KNOWN)
@pytest.mark.parametrize("tau", [0.05, 0.7])
def test_multipliers_of_schemes(label, name, tau):
    """Section 6 and D7."""
    p = problems.get(label)
    near = p.solve(0.1, name, t=0.2).linearisation(step=True, tau=tau)
    factor = complex(p.factors[name](tau))
    assert np.abs(near.eigenvalues - factor).min() < 1e-8
    if abs(factor.imag) > 1e-6:
        assert np.abs(near.eigenvalues - factor.conjugate()).min() < 1e-8
        assert abs(near.damping + np.log(abs(factor)) / tau) < 1e-8
        assert abs(near.frequency - abs(np.angle(factor)) / tau) < 1e-8
    assert near.stable == (max(abs(near.eigenvalues)) < 1.0 - 1e-9 * tau)


@pytest.mark.parametrize(("critic_steps", "h"), [(1, 0.2), (5, 0.2), (5, 2.5)])
def test_multipliers_of_alternating_dirac_gans(critic_steps, h):
    """7.1: mu = 1 - a^2/2 +- sqrt((1 - a^2/2)^2 - 1) with a = sqrt(n_d) h f'(0), on the circle if and only if a <= 2."""
    scheme = mf.Explicit("alternating", inner_steps=(1, critic_steps))
    sol = mf.solve(g.DiracGAN("gan"), pair(0.1, 0.1), h, h, scheme=scheme)
    near = sol.linearisation(at=pair(0.0, 0.0), step=True)
    half = complex(1.0 - critic_steps * (0.5 * h) ** 2 / 2.0)
    roots = half + np.sqrt(half**2 - 1.0) * np.array([1.0, -1.0])
    assert_allclose(np.sort_complex(near.eigenvalues), np.sort_complex(roots), atol=1e-10)
    assert near.tau == h


def test_eigenvalues_of_gaussians():
    """S2 at its equilibrium N(0, A^-1): -a_i for the mean and -(a_i + a_j), i <= j, for the covariance."""
    a = np.array([[2.0, 0.7], [0.7, 0.5]])
    law = mf.Gaussian([0.0, 0.0], np.linalg.inv(a))
    near = mf.solve(e.KL(law), law, 0.1, 0.1).linearisation(at=law)
    p, q = np.linalg.eigvalsh(a)
    assert_allclose(np.sort(near.eigenvalues.real), np.sort([-p, -q, -2.0 * p, -2.0 * q, -p - q]), atol=1e-9)
    assert len(near.matrix) == 5 and near.residual < 1e-12 and near.stable and near.frequency == 0.0
    step = mf.solve(e.KL(law), law, 0.1, 0.1).linearisation(at=law, step=True)
    assert_allclose(np.sort(step.rates.real), np.sort(near.eigenvalues.real), rtol=0.3)


def test_eigenvalues_of_the_frozen_ring_gan():
    """M1 with beta^2 eta > 1: 0 along the ring, 1/beta - eta beta across it, -eta beta for the size of the critic."""
    p = problems.get("G15", eta=6.0, beta=0.5)
    near = p.solve(0.1).linearisation()
    assert_allclose(near.eigenvalues, [0.0, 2.0 - 3.0, -3.0], atol=1e-8)
    assert near.residual < 1e-9 and not near.stable


def test_eigenvalues_of_atoms_quantiles_and_fields():
    points = mf.Particles([[0.0], [1.0], [5.0]], [0.2, 0.3, 0.5])
    pull = e.Interaction(lambda x: 0.5 * np.sum(x**2, axis=-1), lambda x: x)
    assert_allclose(mf.solve(pull, points, 0.1, 0.1).linearisation().eigenvalues, [0.0, -1.0, -1.0], atol=1e-10)
    quantiles = mf.Quantiles([0.0, 1e-4, 1.0])  # steps of the differences are cut to stay increasing
    assert_allclose(mf.solve(e.Quadratic(2.0), quantiles, 0.1, 0.1).linearisation().eigenvalues, [-2.0] * 3, atol=1e-8)
    grid = mf.Grid([(0.0, np.pi)], (6,))
    square = e.Function(lambda u: 0.5 * np.sum(u**2) * grid.cell_volume, lambda u: u - 0.0)
    sol = mf.solve(square, mf.Field(np.ones(6), grid), 0.1, 0.1, metric=mf.Sobolev(1), scheme="explicit")
    assert_allclose(np.sort(sol.linearisation().eigenvalues.real), np.sort(-1.0 / (1.0 + np.arange(6.0) ** 2)), atol=1e-10)


def test_eigenvalues_of_replicator_dynamics():
    """G14: rock, paper, scissors turn with frequency 1/sqrt(3) around the centre; the mass is no coordinate."""
    game = g.MatrixGame([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    law = mf.Histogram([0.5, 0.3, 0.2], mf.Grid([(0.0, 3.0)], (3,)))
    centre = law.replace(np.full(3, 1.0 / 3.0))
    sol = mf.solve(game, (law, law), 0.1, 0.1, metric=mf.FisherRao(), scheme="explicit")
    near = sol.linearisation(at=(centre, centre))
    assert_allclose(near.eigenvalues, np.array([1j, 1j, -1j, -1j]) / np.sqrt(3.0), atol=1e-9)
    assert near.residual < 1e-15
    away = sol.linearisation()
    assert len(away.matrix) == 4 and away.residual > 0.01


def test_linearisations_that_are_refused():
    sol = mf.solve(g.Bilinear(1.0), pair(1.0, 0.0), 1.0, 0.5, scheme=mf.Langevin(0.1))
    with pytest.raises(mf.UnsupportedError, match="a scheme without memory or with one of states, got Langevin"):
        sol.linearisation(step=True)
    with pytest.raises(ValueError, match="tau must be None for the flow"):
        sol.linearisation(tau=0.1)
    with pytest.raises(ValueError, match="tau must be given"):
        problems.get("G1").solve(0.1, save_at=5).linearisation(step=True)
    with pytest.raises(mf.UnsupportedError, match="at most 400 coordinates, got 401"):
        mf.solve(e.Quadratic(), mf.Vector(np.ones(401)), 1.0, 0.5).linearisation()
    with pytest.raises(ValueError, match="states on all sides"):
        mf.solve(e.Quadratic(), mf.Quantiles([1.0, 1.0]), 1.0, 0.5).linearisation()


# averages -----------------------------------------------------------------------------------------------------------


def test_running_means_are_trapezoidal():
    sol = mf.solve(e.Quadratic(), mf.Vector([1.0, -2.0]), 1.0, 0.3)
    averages = sol.averages()
    values = np.array([x.values for x in sol.states])
    assert_array_equal(averages.t, sol.t)
    assert_array_equal(averages.instantaneous["values"], values)
    for k in range(1, len(sol)):
        expected = np.trapezoid(values[: k + 1], sol.t[: k + 1], axis=0) / sol.t[k]
        assert_allclose(averages.running["values"][k], expected, rtol=1e-14)


def test_averages_of_a_full_turn_vanish():
    """Section 6: |(1/T) int z| = 2 |sin(omega T/2)|/(omega T) |z_0|."""
    omega = 1.5
    sol = mf.solve(g.Bilinear(omega), pair(1.0, 0.5), 6.0, 0.03, scheme=mf.Explicit("symmetric"))
    running = sol.averages().running
    size = np.hypot(running["player0_values"], running["player1_values"])[1:, 0]
    angle = omega * sol.t[1:] / 2.0
    assert_allclose(size, np.abs(np.sin(angle) / angle) * np.hypot(1.0, 0.5), atol=1e-3)


def test_averages_of_laws_are_those_of_the_mixture():
    sol = mf.solve(e.Quadratic(), mf.Particles([[0.0, 1.0], [2.0, -1.0]], [0.4, 0.6]), 1.0, 0.2)
    averages, mixture = sol.averages(), None
    steps = np.diff(sol.t)
    shares = 0.5 * (np.append(steps, 0.0) + np.append(0.0, steps))
    points = np.concatenate([x.points for x in sol.states])
    mixture = mf.Particles(points, np.concatenate([s * x.weights for s, x in zip(shares, sol.states, strict=True)]))
    assert_allclose(averages.running["mean"][-1], mixture.mean(), rtol=1e-13)
    assert_allclose(averages.running["covariance"][-1], mixture.covariance(), rtol=1e-12)
    assert_allclose(averages.instantaneous["covariance"][-1], sol.states[-1].covariance())


def test_averages_of_histograms_and_of_files(tmp_path):
    grid = mf.Grid([(0.0, 1.0)], (8,))
    sol = mf.solve(e.Quadratic(), mf.Histogram(np.full(8, 0.125), grid), 0.2, 0.05)
    averages = sol.averages()
    assert set(averages.running) == {"masses", "mean", "covariance"}
    assert_allclose(averages.running["masses"].sum(axis=1), 1.0, rtol=1e-12)
    again = mf.load(sol.save(tmp_path / "flow.npz")).averages()
    assert_array_equal(again.running["masses"], averages.running["masses"])


def test_averages_satisfy_the_averaging_identity():
    """D10: the mean of Phi(mu) - Phi(target) is (w_T - w_0)/(eta T) + beta mean(w), exactly for the flow."""
    eta, beta = 1.0, 0.6
    p = problems.get("G15", eta=eta, beta=beta)
    start = mf.Particles([[0.3]]), mf.Vector([0.2, -0.4])
    errors, taus = [], np.array([0.04, 0.02])
    for tau in taus:
        sol = mf.solve(p.problem, start, 5.0, tau, speeds=p.speeds, scheme="explicit")
        means = sol.averages({"features": lambda states: p.problem.critic.features(states[0].points)[0]}).running
        change = (sol.states[-1][1].values - start[1].values) / (eta * 5.0)
        errors.append(np.abs(means["features"][-1] - change - beta * means["player1_values"][-1]).max())
    assert abs(order(taus, errors) - 1.0) < 0.1


def test_observables_are_checked():
    sol = mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.5)
    assert_allclose(sol.averages({"square": lambda x: float(x @ x)}).instantaneous["square"], 2.0 * sol.energies)
    with pytest.raises(ValueError, match="names of their own, got 'values'"):
        sol.averages({"values": lambda x: 1.0})
    with pytest.raises(mf.CallbackError, match="observables"):
        sol.averages({"bad": lambda x: "text"})


# invariants ---------------------------------------------------------------------------------------------------------

MATRIX = np.array([[1.0, 0.3], [-0.5, 0.8], [0.2, 0.0]])


@pytest.mark.parametrize("speeds", [(1.0, 1.0), (0.5, 3.0)])
def test_exact_rotations_conserve_the_radius(speeds):
    from scipy.linalg import expm

    game, z = g.Bilinear(MATRIX), np.array([1.0, -0.5, 0.3, 0.7, 2.0])
    (radius,) = game.invariants((mf.Euclidean(), mf.Euclidean()), speeds).values()
    turn = np.block([[np.zeros((3, 3)), -speeds[0] * MATRIX], [speeds[1] * MATRIX.T, np.zeros((2, 2))]])
    for t in (0.5, 3.0):
        moved = expm(turn * t) @ z
        assert_allclose(radius(pair(moved[:3], moved[3:])), radius(pair(z[:3], z[3:])), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "rate"), [("simultaneous", 1.0), ("implicit", -1.0), ("extragradient", -1.0), ("alternating", 0.0)]
)
def test_drift_of_invariants_shows_the_damping_of_schemes(name, rate):
    """Section 6: growth exp(+-omega^2 tau T) of the squared radius at first order; none in the mean for alternating steps."""
    p = problems.get("G1", omega=2.0)
    taus = np.pi / np.array([30, 60])
    logs = [np.log(p.solve(tau, name, t=np.pi).invariants()["squared radius"][-1] / 1.25) for tau in taus]
    assert_allclose(logs, rate * 4.0 * taus * np.pi, atol=20.0 * taus[0] ** 2)
    law = problems.get("G1", omega=2.0, laws=True)
    drift = law.solve(0.1, name).invariants(drift=True)["squared radius"]
    assert_allclose(drift, p.solve(0.1, name).invariants(drift=True)["squared radius"], atol=1e-9)


def test_games_without_invariants():
    assert problems.get("G2").solve(0.5).invariants() == {}
    assert mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.5).invariants() == {}


@pytest.mark.parametrize("name", ["balance", "duality_gap", "regrets", "linearisation", "invariants"])
def test_loaded_solutions_have_no_problem(tmp_path, name):
    loaded = mf.load(problems.get("G2").solve(0.5).save(tmp_path / "run.npz"))
    with pytest.raises(TypeError, match="needs the problem, which a file does not hold"):
        getattr(loaded, name)()
