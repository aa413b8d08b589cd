"""Plans that are kept along geodesics: the same as those solved for anew, and refused wherever that is not proved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist

import measureflow as mf
from measureflow.energies import SquaredWasserstein
from measureflow.transport import Plan, kept, kept_plan, optimal_plan

SETTINGS = settings(max_examples=30, deadline=None, derandomize=True)


def matched(n: int, d: int, seed: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, Plan]:
    rng = np.random.default_rng(seed)
    x, y, a = scale * rng.normal(size=(n, d)), scale * (rng.normal(size=(n, d)) + 1.0), np.full(n, 1.0 / n)
    return x, y, a, optimal_plan(x, a, y, a)


@given(
    n=st.integers(1, 30),
    d=st.integers(2, 5),
    seed=st.integers(0, 10**6),
    part=st.floats(0.05, 0.999),
    scale=st.sampled_from([1.0, 1e-120, 1e120]),
)
@SETTINGS
def test_kept_plans_are_those_solved_for(n: int, d: int, seed: int, part: float, scale: float) -> None:
    x, y, a, plan = matched(n, d, seed, scale)
    moved = (1.0 - part) * x + part * y[plan.j]
    found, solved = kept_plan(plan, x, moved, y), optimal_plan(moved, a, y, a)
    assert found is not None
    for name in ("i", "j", "mass", "cost"):
        assert_array_equal(getattr(found, name), getattr(solved, name))
    assert found.f is not None and found.g is not None
    largest = float(cdist(moved, y, "sqeuclidean").max())
    assert np.min(cdist(moved, y, "sqeuclidean") - found.f[:, None] - found.g) >= -1e-12 * largest  # feasible potentials
    assert float(np.mean(found.f) + np.mean(found.g)) == pytest.approx(found.cost, rel=1e-9)
    assert found.gap <= 1e-12 * largest


def test_plans_are_not_kept_without_proof() -> None:
    x, y, a, plan = matched(12, 3, 0)
    on_the_way = 0.5 * x + 0.5 * y[plan.j]
    rng = np.random.default_rng(1)
    assert kept_plan(plan, x, on_the_way, y) is not None
    assert kept_plan(plan, x, x, y) is None  # not inside the geodesic
    assert kept_plan(plan, x, y[plan.j], y) is None
    assert kept_plan(plan, x, 1.5 * x - 0.5 * y[plan.j], y) is None  # away from the target
    assert kept_plan(plan, x, on_the_way + 1e-3 * rng.normal(size=x.shape), y) is None
    assert kept_plan(plan, x, on_the_way[:-1], y) is None
    other = plan.j[[1, 0, *range(2, 12)]]
    wrong = Plan(plan.i, other, plan.mass, plan.cost, 0.0, plan.f, plan.g)
    assert kept_plan(wrong, x, 0.9 * x + 0.1 * y[other], y) is None  # another matching is not optimal
    assert kept_plan(Plan(plan.i, plan.j, plan.mass, plan.cost, 0.0), x, on_the_way, y) is None  # no potentials, as on the line


def test_a_tie_is_never_decided_by_what_was_before() -> None:
    x, y = np.array([[0.0, 1.0], [0.0, -1.0]]), np.array([[1.0, 0.0], [-1.0, 0.0]])  # both matchings are optimal
    a = np.array([0.5, 0.5])
    plan = optimal_plan(x, a, y, a)
    middle = 0.5 * x + 0.5 * y[plan.j]
    assert kept_plan(plan, x, middle, y) is not None  # inside either geodesic the matching is unique
    twins = np.array([[1.0, 0.0], [1.0, 0.0]])
    plan = optimal_plan(x, a, twins, a)
    assert kept_plan(plan, x, 0.5 * x + 0.5 * twins, twins) is None


def test_plans_that_split_are_solved_for() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(4, 2))
    plan = optimal_plan(x, np.full(6, 1 / 6), y, np.full(4, 0.25))
    assert kept_plan(plan, x, 0.5 * x, y) is None


def test_a_flow_solves_once_and_ends_where_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    first, target = mf.Particles(rng.normal(size=(40, 3))), mf.Particles(rng.normal(size=(40, 3)) + 2.0)
    calls: list[int] = []

    def counted(*arguments: Any) -> Plan:
        calls.append(1)
        return optimal_plan(*arguments)

    monkeypatch.setattr("measureflow.energies.transport_distance.optimal_plan", counted)
    once = mf.solve(SquaredWasserstein(target), first, 2.0, 0.25, scheme="explicit")
    assert len(calls) == 1
    monkeypatch.setattr(kept, "LEAD", np.inf)  # nothing is proved
    always = mf.solve(SquaredWasserstein(target), first, 2.0, 0.25, scheme="explicit")
    assert len(calls) == 1 + 9
    assert_array_equal(once.states[-1].points, always.states[-1].points)
    assert_array_equal(once.energies, always.energies)
    assert_allclose(np.sqrt(once.energies[1:] / once.energies[:-1]), 0.75, rtol=1e-9)  # theory, S13, by explicit steps


def test_other_weights_are_solved_for_anew() -> None:
    rng = np.random.default_rng(5)
    points, target = rng.normal(size=(5, 2)), mf.Particles(rng.normal(size=(5, 2)))
    energy = SquaredWasserstein(target)
    moved = points - 0.5 * energy.gradient(mf.Particles(points))
    uneven = mf.Particles(moved, [0.4, 0.3, 0.1, 0.1, 0.1])
    assert energy.value(uneven) == SquaredWasserstein(target).value(uneven)
