"""Mini-batches of the players' own atoms: unbiased, and of size sqrt(tau/B) beside the step's own error (theory, section 10)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import games as g

ATOMS = 64
SEEDS = range(60)


def laws():
    """Two laws with means (1, 1/2) whose atoms spread by one; in the bilinear game they translate with the opponent's mean."""
    spread = np.linspace(-1.0, 1.0, ATOMS) * np.sqrt(3.0 * (ATOMS - 1) / (ATOMS + 1))
    return mf.Particles(1.0 + spread[:, None]), mf.Particles(0.5 + spread[:, None])


def worst(tau, batch, seed):
    """Return the largest distance of the means from those of the full steps."""
    means = []
    for options in ({"batch": (None, batch), "seed": seed}, {}):
        sol = mf.solve(g.Bilinear(1.0), laws(), 1.0, tau, scheme="explicit", **options)
        means.append(np.array([[float(law.mean()[0]) for law in states] for states in sol.states]))
    return float(np.max(np.linalg.norm(means[0] - means[1], axis=1)))


@pytest.fixture(scope="module")
def errors():
    """Root mean squares over seeds by (tau, B)."""
    cases = [(0.1, 4), (0.025, 4), (0.1, 16)]
    return {case: np.sqrt(np.mean([worst(*case, seed) ** 2 for seed in SEEDS])) for case in cases}


def test_noise_of_own_atoms_scales_with_step_and_batch(errors):
    """sqrt(tau/B (1 - B/n)): four times smaller steps halve it, larger batches by the finite population's factor."""
    slack = 5.0 / np.sqrt(2.0 * len(SEEDS))  # five standard errors of the logarithm of a root mean square
    assert_allclose(np.log(errors[0.1, 4] / errors[0.025, 4]), np.log(2.0), atol=slack)
    shares = [(1.0 - b / ATOMS) / b for b in (4, 16)]
    assert_allclose(np.log(errors[0.1, 4] / errors[0.1, 16]), 0.5 * np.log(shares[0] / shares[1]), atol=slack)


def test_whole_batches_are_full_steps():
    sols = [mf.solve(g.Bilinear(1.0), laws(), 0.5, 0.1, **o) for o in ({"batch": (None, ATOMS), "seed": 0}, {})]
    assert_allclose(sols[0].states[-1][0].points, sols[1].states[-1][0].points, rtol=0.0, atol=0.0)


def test_pairs_are_checked():
    with pytest.raises(ValueError, match="batch must be one number for a problem of one player"):
        mf.solve(mf.energies.MMD(laws()[0], "gaussian"), laws()[1], 1.0, 0.1, batch=(3, 3), seed=0)
    with pytest.raises(ValueError, match="batch must be None for a problem without a target of atoms"):
        mf.solve(g.Bilinear(1.0), laws(), 1.0, 0.1, batch=(3, 3), seed=0)
    with pytest.raises(ValueError, match="seed must be given with batch"):
        mf.solve(g.Bilinear(1.0), laws(), 1.0, 0.1, batch=(None, 3))
