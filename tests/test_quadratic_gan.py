"""The variance game G12, and mode weights as a GAN: Gaussian and histogram generators."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import games as g
from measureflow.games.quadratic_critic import critic_of, monomial_slopes, monomials, parts_of
from measureflow.problems import get

PLANE = dict(
    target=mf.Gaussian([0.3, -0.2], [[1.0, 0.2], [0.2, 0.7]]),
    law=mf.Gaussian([0.0, 0.4], [[0.6, -0.1], [-0.1, 1.2]]),
    beta=0.2,
    t=2.0,
)


def test_printed_numbers():
    problem = get("G12")
    assert problem.reference["H"].error(problem.initial) < 0.0
    assert_allclose(problem.constants["largest deviation"], 2.753774777, atol=1e-9)
    assert_allclose(problem.constants["smallest deviation"], 0.3, atol=1e-12)


@pytest.mark.parametrize(("scheme", "order"), [("explicit", 1.0), ("jko", 1.0), ("vim implicit", 2.0)])
def test_orders(scheme, order):
    problem = get("G12", t=1.0)
    errors = [problem.error(problem.solve(tau, scheme, save_at=10**6)) for tau in (0.05, 0.025)]
    assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.06)


def test_runge_kutta_keeps_the_energy_and_the_turning_points():
    problem = get("G12")
    sol = problem.solve(0.05, "rk4", t=9.0)
    energy = [problem.invariants["H"](states) for states in sol.states]
    assert np.ptp(energy) < 1e-4
    assert_allclose(sol.invariants()["H, if centred"], energy)
    deviations = np.sqrt([states[0].cov[0, 0] for states in sol.states])
    assert_allclose([deviations.min(), deviations.max()], [0.3, 2.753774777], atol=2e-2)  # between rows at most


def test_gaussians_in_the_plane_follow_the_affine_flow():
    problem = get("G12", **PLANE)
    errors = [problem.error(problem.solve(tau, "rk4")) for tau in (0.1, 0.05)]
    assert errors[1] < 1e-7 and np.log2(errors[0] / errors[1]) > 3.7


def test_eigenvalues_at_the_target():
    """-beta/2 +- sqrt(beta^2/4 - g*^2) of the deviation and the curvature, -beta/2 +- sqrt(beta^2/4 - 1) of the means."""
    beta, square = 0.4, 1.69
    problem = get("G12", beta=beta)
    at = mf.Gaussian(0.0, square), mf.Vector([0.0, 0.0])
    found = problem.solve(0.1, "explicit", t=0.1).linearisation(at=at).eigenvalues
    wanted = [-beta / 2 + s * np.sqrt(complex(beta**2 / 4 - w)) for s in (1, -1) for w in (square, 1.0)]
    key = lambda z: (round(z.imag, 6), round(z.real, 6))  # noqa: E731
    assert_allclose(sorted(found, key=key), sorted(wanted, key=key), atol=1e-8)


def test_particles_move_affinely_too():
    """A law of particles with a quadratic critic: its mean and covariance follow the same equations."""
    problem = get("G12", **PLANE)
    atoms = mf.Particles(
        problem.initial[0].mean + np.sqrt(2.0) * np.vstack([r := np.linalg.cholesky(problem.initial[0].cov).T, -r])
    )
    assert_allclose(atoms.covariance(), problem.initial[0].cov, atol=1e-12)
    sol = mf.solve(problem.problem, (atoms, problem.initial[1]), 1.0, 0.05, scheme="rk4")
    end = problem.exact(1.0)
    assert_allclose(sol.states[-1][0].mean(), end[0].mean, atol=1e-6)
    assert_allclose(sol.states[-1][0].covariance(), end[0].cov, atol=1e-5)


def test_monomials_are_the_critic():
    rng = np.random.default_rng(0)
    psi, A = rng.normal(size=3), rng.normal(size=(3, 3))
    A = A + A.T
    x = rng.normal(size=(5, 3))
    c = critic_of(psi, A)
    assert_allclose(monomials(x) @ c.values, x @ psi + 0.5 * np.einsum("nd,de,ne->n", x, A, x))
    assert_allclose(np.einsum("npd,p->nd", monomial_slopes(x), c.values), psi + x @ A)
    assert_allclose(c.values[3:] @ c.values[3:], np.sum(A**2))
    assert_allclose(parts_of(c, 3)[1], A)


def test_mode_weights_are_a_gan_of_histograms():
    """G13 through GAN: a Histogram of modes under Fisher-Rao and a critic on its cells."""
    grid = mf.Grid([(0.0, 4.0)], (4,))
    q, p = (mf.Histogram(np.array(w) / np.sum(w), grid) for w in ([1.0, 2.0, 3.0, 4.0], [3.0, 1.0, 2.0, 2.0]))
    gan = g.GAN(q, critic=g.FieldCritic(grid), penalty=g.Ridge(0.3))
    weights = g.ModeWeights(q, 0.3)
    D = np.array([0.1, -0.2, 0.3, 0.0])
    runs = [
        mf.solve(game, (p, critic), 1.0, 0.05, scheme="explicit", metric=(mf.FisherRao(), None), speeds=(1.0, 2.0))
        for game, critic in ((gan, mf.Field(D, grid)), (weights, mf.Vector(D)))
    ]
    assert_allclose(runs[0].states[-1][0].masses, runs[1].states[-1][0].masses, atol=1e-13)
    assert_allclose(runs[0].states[-1][1].values, runs[1].states[-1][1].values, atol=1e-13)
    assert_allclose(runs[0].energies, runs[1].energies, atol=1e-13)
