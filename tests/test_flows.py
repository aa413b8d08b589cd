"""Whole flows that must agree: one law in four representations, a fast critic and its limit, kinks and their exact holds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import measureflow as mf

e, g = mf.energies, mf.games

OU = e.KL(mf.Gaussian(0.5, 1.5))
START = mf.Gaussian(-1.0, 0.3)


def test_quantiles_follow_the_gaussian_flow() -> None:
    """A user who changes the representation must get the same flow."""
    exact = mf.solve(OU, START, 1.0, 0.1).states[-1]
    for n in (3, 50, 800):
        law = mf.solve(OU, START.to_quantiles(n), 1.0, 0.1).states[-1]
        assert mf.distance(law, exact.to_quantiles(n)) < 1e-9


def test_histograms_follow_the_gaussian_flow() -> None:
    """The same on grids: mean and variance at second order in the width of the cells."""
    exact = mf.solve(OU, START, 1.0, 0.1).states[-1]
    errors = []
    for n in (50, 100, 200):
        law = mf.solve(OU, START.to_histogram(mf.Grid([(-6.0, 7.0)], n)), 1.0, 0.1).states[-1]
        assert_allclose(law.mean(), exact.mean, atol=1e-4)
        errors.append(abs(law.covariance()[0, 0] - exact.cov[0, 0]))
    assert_allclose(np.polyfit(np.log([1 / 50, 1 / 100, 1 / 200]), np.log(errors), 1)[0], 2.0, atol=0.15)


def test_histograms_are_first_order_in_tau() -> None:
    """On a fixed grid, against its own fine steps."""
    law = mf.Gaussian(0.0, 1.0).to_histogram(mf.Grid([(-4.0, 4.0)], 40))
    fine = mf.solve(OU, law, 0.4, 0.4 / 256).states[-1]
    taus = [0.1, 0.05, 0.025]
    errors = [mf.distance(mf.solve(OU, law, 0.4, tau).states[-1], fine) for tau in taus]
    assert_allclose(np.polyfit(np.log(taus), np.log(errors), 1)[0], 1.0, atol=0.08)


def test_histogram_keeps_mass_and_sign() -> None:
    law = mf.Histogram([0.0, 0.5, 0.5, 0.0, 0.0, 0.0], mf.Grid([(0.0, 6.0)], 6))
    sol = mf.solve(e.PowerEntropy(2) + e.Quadratic(0.5, centre=[3.0]), law, 2.0, 0.1)
    for state in sol.states:
        assert state.masses.min() >= 0.0
        assert abs(state.masses.sum() - 1.0) <= 1e-12
    assert np.all(np.diff(sol.energies) <= 1e-12)


def features(x):
    return np.stack([np.cos(x[:, 0]), np.sin(x[:, 0])], axis=1)


def feature_slopes(x):
    return np.stack([-np.sin(x[:, 0]), np.cos(x[:, 0])], axis=1)[:, :, None]


def test_a_fast_critic_gives_the_flow_of_its_best_reply() -> None:
    """D9: with a ridge, the generator converges to the flow of max over critics of J at order one in 1 / eta."""
    target = mf.Particles([[0.3], [0.9], [1.4]])
    law = mf.Particles([[-1.0], [-0.2], [0.1], [2.5]])
    beta, horizon, tau = 0.8, 0.5, 1e-3

    def kernel(x, y):
        return features(x) @ features(y).T

    def kernel_slope(x, y):
        return np.einsum("npd,mp->nmd", feature_slopes(x), features(y))

    best = (1.0 / beta) * e.MMD(target, e.UserKernel(kernel, kernel_slope))
    limit = mf.solve(best, law, horizon, tau, scheme="explicit").states[-1]
    game = g.GAN(target, critic=g.FeatureCritic(features, feature_slopes), penalty=g.Ridge(beta))
    reply = mf.Vector((features(law.points).mean(0) - features(target.points).mean(0)) / beta)
    errors = []
    for eta in (25.0, 50.0, 100.0):
        sol = mf.solve(game, (law, reply), horizon, tau, scheme="explicit", speeds=(1.0, eta), save_at=500)
        errors.append(float(np.linalg.norm(sol.states[-1][0].points - limit.points)))
    slope = np.polyfit(np.log([1 / 25, 1 / 50, 1 / 100]), np.log(errors), 1)[0]
    assert_allclose(slope, 1.0, atol=0.1)


def test_without_a_ridge_the_time_average_matches_the_features() -> None:
    """D10: (1/T) int (Phi(mu) - Phi(nu)) dt = (w_T - w_0) / (eta T) for the explicit critic, exactly."""
    target = mf.Particles([[0.3], [0.9], [1.4]])
    law = mf.Particles([[-1.0], [-0.2], [0.1], [2.5]])
    game = g.GAN(target, critic=g.FeatureCritic(features, feature_slopes))
    tau, eta, steps = 0.02, 2.0, 200
    start = mf.Vector([0.1, -0.2])
    sol = mf.solve(game, (law, start), steps * tau, tau, scheme="explicit", speeds=(1.0, eta))
    gaps = [features(mu.points).mean(0) - features(target.points).mean(0) for mu, _ in sol.states[:-1]]
    average = np.mean(gaps, axis=0)
    assert_allclose(average, (sol.states[-1][1] - start) / (eta * steps * tau), atol=1e-13)


@pytest.mark.parametrize("energy", [e.EnergyDistance, e.Wasserstein1, lambda t: e.MMD(t, e.LaplaceKernel(1.0))])
def test_an_atom_stops_at_the_only_target(energy) -> None:
    """The cone at the target holds an atom that reaches it: exact arrival, no chatter."""
    target = mf.Particles([[1.0, 2.0]])
    sol = mf.solve(energy(target), mf.Particles([[0.0, 2.0]]), 4.0, 0.25)
    assert_allclose(sol.states[-1].points, target.points, atol=1e-9)
    assert sol.energies[-1] <= 1e-9
    assert sol.info["residual"].max() <= 1e-9


def test_two_atoms_share_a_target_only_as_far_as_it_holds_them() -> None:
    """Equal repulsion cancels half the cone of a target of weight 1: both atoms still stay; a third of weight would not."""
    target = mf.Particles([[0.0, 0.0], [3.0, 0.0]])
    both = mf.Particles([[0.0, 0.0], [0.0, 0.0]])
    kinks = e.EnergyDistance(target).kinks(both)
    assert_allclose(kinks.places, 0.0)
    assert_allclose(kinks.strengths, 0.5 - 0.5)
    apart = e.EnergyDistance(target).kinks(mf.Particles([[0.0, 0.0], [2.0, 0.0]]))
    assert_allclose(apart.places, [[0.0, 0.0], [3.0, 0.0]])
    assert_allclose(apart.strengths, 0.5)


def test_smooth_energies_have_no_kinks() -> None:
    target = mf.Particles([[0.0, 0.0]])
    assert e.MMD(target, "gaussian").kinks(target) is None
    assert (e.Quadratic() + e.MMD(target, "gaussian")).kinks(target) is None
    assert (2.0 * e.EnergyDistance(target)).kinks(mf.Particles([[1.0, 0.0]])).strengths == 2.0


def test_energy_distance_flow_covers_a_ring() -> None:
    """Eight modes of std 0.01: most of 320 particles within three standard deviations, every mode holds a fifth of its share."""
    angle = 2 * np.pi * np.arange(8) / 8
    centres = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rng = np.random.default_rng(0)
    target = mf.Particles(np.repeat(centres, 40, axis=0) + 0.01 * rng.normal(size=(320, 2)))
    law = mf.Particles(0.3 * rng.normal(size=(320, 2)))
    last = mf.solve(e.EnergyDistance(target), law, 30.0, 0.1, scheme="explicit", save_at=300).states[-1]
    gaps = np.linalg.norm(last.points[:, None] - centres, axis=2)
    good = gaps.min(axis=1) <= 0.03
    assert good.mean() >= 0.75
    assert np.bincount(gaps.argmin(axis=1)[good], minlength=8).min() >= 0.2 * 40
