"""Flows to a thousand modes of digits and to ten modes in 1200 dimensions: what they cover, and what limits it."""

from __future__ import annotations

import numpy as np
import pytest

from measureflow import modes
from measureflow.energies import SlicedWasserstein
from measureflow.modes import single
from measureflow.modes.laws import draws
from measureflow.modes.published import published
from measureflow.states import Particles

PARTICLES = 500


def test_transport_covers_all_modes_that_its_data_hold() -> None:
    target = modes.stacked_digits()
    run = single.transport_flow(target, 100, particles=PARTICLES, rows=1)
    data = target.cover(draws(target, PARTICLES, 100, 0.5)[0])
    end = run.final
    assert (end.visited, end.modes, end.fair_modes) == (data.visited, data.modes, data.fair_modes)
    assert end.high_quality == data.high_quality
    assert end.reverse_kl == pytest.approx(data.reverse_kl)


@pytest.mark.parametrize("flow", [single.sliced_flow, single.energy_distance_flow])
def test_sliced_flows_find_the_modes_of_digits(flow: single.Flow) -> None:
    target = modes.stacked_digits()
    run = flow(target, 100, particles=PARTICLES, steps=10, rows=1)
    start, end, data = *run.coverages, target.cover(draws(target, PARTICLES, 100, 0.5)[0])
    assert start.visited < 0.3 * data.visited
    assert end.visited > 0.9 * data.visited
    assert end.reverse_kl < data.reverse_kl + 0.2


def test_lines_of_the_data_part_modes_that_uniform_lines_do_not() -> None:
    target = modes.high_dimensional(300, 180)
    data, first = draws(target, 300, 0, 0.5)
    found = {}
    for adapted in (0.0, 0.5):
        energy = SlicedWasserstein(Particles(data), 40, 0, adapted)
        run = single.single_flow(target, 0, "sliced", energy, first, 40.0, 12, renewed=True, rows=1)
        found[adapted] = run.final.reverse_kl
    assert found[0.5] < 0.05 < 0.2 < found[0.0]


def test_data_miss_modes_by_chance() -> None:
    target = modes.stacked_digits()
    expected = np.exp(-1000 * target.weights).sum()
    assert 1000 - target.cover(target.sample(1000, 0)).visited == pytest.approx(expected, abs=4.0 * np.sqrt(expected))
    assert [single._count(one, None) for one in (modes.ring(), target)] == [1000, 8000]
    assert np.exp(-8000 * target.weights).sum() < 0.5


def test_steps_on_lines_follow_the_density_of_the_data() -> None:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(20_000, 3))
    assert single.crest(normal) == pytest.approx(1.0 / np.sqrt(2.0 * np.pi), rel=0.1)
    assert single.crest(8.0 * normal) == pytest.approx(single.crest(normal) / 8.0)
    flat = np.hstack([normal, np.ones((20_000, 9)), 1e-9 * normal])  # lines that see nothing of the data
    assert single.crest(flat) == pytest.approx(single.crest(normal))


def test_sliced_flows_cover_the_plane() -> None:
    for flow in (single.sliced_flow, single.energy_distance_flow):
        run = flow(modes.grid(3), 100, particles=400, steps=600, rows=4)
        assert run.covers and run.final.fair_modes == 9


def test_published_rows_of_other_data_say_so() -> None:
    assert len(published("high-dimensional")) == 4
    assert all("stacked MNIST" in row.source and row.high_quality is None for row in published("stacked-digits"))
