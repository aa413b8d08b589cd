"""Moves that are so small that labels stay optimal, whatever the weights."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import measureflow as mf
from measureflow import energies as e
from measureflow.transport import optimal_plan
from measureflow.transport.labels import labels_optimal

W2 = mf.Wasserstein()


def weights(n: int, rng: np.random.Generator) -> np.ndarray:
    w = rng.random(n) + 0.05
    return np.asarray(w / w.sum())


@pytest.mark.parametrize("kind", ["noise", "linear", "symmetric"])
def test_never_certified_wrongly(kind: str) -> None:
    """Against the network simplex, on moves of all sizes."""
    rng = np.random.default_rng(["noise", "linear", "symmetric"].index(kind))
    certified = 0
    for _ in range(80):
        n, d = int(rng.integers(1, 25)), int(rng.integers(1, 4))
        x, w, a = rng.normal(size=(n, d)), weights(n, rng), rng.normal(size=(d, d))
        field = {"noise": rng.normal(size=(n, d)), "linear": x @ a, "symmetric": x @ (a + a.T)}[kind]
        move = 10.0 ** rng.uniform(-3.0, 0.5) * field
        if labels_optimal(x, x + move):
            certified += 1
            best = optimal_plan(x, w, x + move, w, p=2).cost
            assert np.sum(w * np.sum(move**2, axis=1)) <= best * (1.0 + 1e-9) + 1e-15
    assert 20 < certified < 80


def test_what_is_certified() -> None:
    """Shifts, and gradients of convex quadratics, of any size; moves below half the distance to the nearest atom."""
    x = np.random.default_rng(0).normal(size=(40, 3))
    assert labels_optimal(x, x + 7.0)
    assert labels_optimal(x, 0.2 * x) and not labels_optimal(x, -0.2 * x)
    assert labels_optimal(x, x @ np.diag([5.0, 0.1, 1.0]))
    pair = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert labels_optimal(pair, pair[::-1] * 0.2) is False
    turned = pair @ [[np.cos(1.0), np.sin(1.0)], [-np.sin(1.0), np.cos(1.0)]]
    assert labels_optimal(pair, turned)  # by less than a right angle
    assert labels_optimal(pair[:1], pair[1:])
    wide = np.random.default_rng(1).normal(size=(10, 100))
    assert labels_optimal(wide, wide + 0.01 * wide[::-1]) and not labels_optimal(wide, wide[::-1])


def test_equal_points_must_move_together() -> None:
    x = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    assert not labels_optimal(x, x + [[0.1, 0.0], [-0.1, 0.0], [0.0, 0.0]])


def test_steps_of_weighted_atoms() -> None:
    """Short steps are certified, so that the solution's distances are W2; `distance` says the same as the plan."""
    rng = np.random.default_rng(3)
    law = mf.Particles(rng.normal(size=(30, 2)), weights(30, rng))
    energy = e.Potential(lambda x: np.sum(np.cosh(x), axis=1), lambda x: np.sinh(x))
    sol = mf.solve(energy, law, 0.02, 0.005, scheme="vim")
    for old, new, length in zip(sol.states[:-1], sol.states[1:], sol.info["distance"][1:], strict=True):
        assert W2.labels_certified(old, new)
        plan = optimal_plan(old.points, old.weights, new.points, new.weights, p=2)
        assert_allclose([mf.distance(old, new), length], np.sqrt(plan.cost), rtol=1e-9)
    other = mf.Particles(law.points, weights(30, rng))
    assert not W2.labels_certified(law, other) and not W2.labels_certified(law, mf.Gaussian([0.0, 0.0], np.eye(2)))
    assert not mf.Wasserstein(1).labels_certified(law, law)
