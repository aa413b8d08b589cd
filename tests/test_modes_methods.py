"""Methods on targets made of modes: laws that cover, stay, and do not depend on scale; the table and the command."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import measureflow as mf
from measureflow import cli, modes
from measureflow.modes import kernel_critics, laws, methods, table
from measureflow.modes.published import PUBLISHED, published
from measureflow.modes.run import Run


@pytest.fixture(scope="module")
def ring_run() -> Run:
    return laws.neuron_flow(modes.ring(), 0, steps=300)


def test_neurons_cover_the_ring_and_stay(ring_run: Run) -> None:
    assert ring_run.stable
    assert ring_run.covers
    assert ring_run.final.fair_modes == 8
    assert ring_run.average.high_quality > 0.95
    assert ring_run.first is not None
    assert ring_run.first <= ring_run.t[-1] / 4.0
    assert ring_run.cpu_to_first is not None
    assert ring_run.cpu_to_first < ring_run.cpu_seconds


def test_neurons_cover_the_grid() -> None:
    run = laws.neuron_flow(modes.grid(), 3, steps=300)
    assert run.final.fair_modes == 25
    assert run.average.high_quality > 0.95


def test_reaction_gives_modes_the_masses_of_the_data() -> None:
    target = modes.grid()
    wanted = target.cover(laws.draws(target, 1000, 0, 0.5)[0]).histogram
    apart = [
        0.5 * float(np.abs(laws.neuron_flow(target, 0, steps=200, rows=2, reaction=reaction).final.histogram - wanted).sum())
        for reaction in (laws.REACTION, 0.0)
    ]
    assert apart[0] < 0.02 < 0.05 < apart[1]


def test_a_run_does_not_depend_on_the_unit_of_length() -> None:
    small, large = (
        laws.neuron_flow(modes.ring(4, radius=size, std=0.05 * size), 1, particles=100, neurons=60, steps=40)
        for size in (1.0, 1024.0)
    )
    assert small.final.modes == large.final.modes
    assert np.allclose(1024.0 * small.laws[-1].points, large.laws[-1].points, rtol=1e-4, atol=0.1)  # type: ignore[attr-defined]


def test_the_same_seed_gives_the_same_bits() -> None:
    a, b, c = (laws.neuron_flow(modes.ring(), seed, particles=60, neurons=20, steps=10).laws[-1].points for seed in (0, 0, 1))  # type: ignore[attr-defined]
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_slow_critic_loses_modes() -> None:
    slow = laws.neuron_flow(modes.grid(), 0, critic_step=0.02, steps=80)
    assert slow.final.fair_modes < 20
    assert not slow.covers


# critics in kernel spaces -------------------------------------------------------------------------------------------


def test_the_distance_kernel_is_that_of_the_energy_distance() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((7, 2)), rng.standard_normal((9, 2)) + 1.0
    kernel, points = kernel_critics.DistanceKernel(), np.vstack([x, y])
    gap = np.concatenate([np.full(7, 1.0 / 7.0), np.full(9, -1.0 / 9.0)])
    values, slopes = kernel.integrate(points, points, gap)
    known = mf.energies.EnergyDistance(mf.Particles(y)).value(mf.Particles(x))
    assert 0.5 * gap @ values == pytest.approx(known, rel=1e-12)
    h = 1e-6 * np.array([1.0, 0.0])
    ends = [kernel.integrate(x[:1] + sign * h, points, gap)[0][0] for sign in (1.0, -1.0)]
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slopes[0, 0], rel=1e-5)
    matrix = np.stack([kernel.integrate(points, points[j : j + 1], np.ones(1))[0] for j in range(16)])
    assert np.linalg.eigvalsh(matrix).min() > 0.0


@pytest.mark.parametrize("kernel", ["laplace", "energy", "gaussian"])
def test_kernel_critics_cover_a_ring(kernel: str) -> None:
    run = modes.kernel_flow(modes.ring(4, std=0.05), 1, kernel=kernel, particles=200, centres=120, steps=250)
    assert run.final.fair_modes == 4
    assert run.final.high_quality > 0.8 or kernel == "gaussian", "only kernels with a kink have all scales"
    assert run.evaluations == 250 and run.method == f"kernel-{kernel}"


def test_centres_among_the_data_alone_leave_strays() -> None:
    held = [
        modes.kernel_flow(modes.grid(3), 0, kernel="energy", wide=wide, particles=300, centres=150, steps=150).final.high_quality
        for wide in (0.0, 0.5)
    ]
    assert held[0] < held[1] - 0.1


def test_half_of_the_centres_are_data() -> None:
    data = modes.ring().sample(100, 0)
    centres = kernel_critics.centres_of(data, 60, 0)
    assert centres.shape == (60, 2)
    assert sum(bool(np.any(np.all(row == data, axis=1))) for row in centres) == 30


def test_random_features_have_the_slopes_of_their_values() -> None:
    critic = kernel_critics.random_features(modes.ring().sample(50, 0), 20, 0)
    state, x = mf.Vector(np.random.default_rng(0).standard_normal(20)), np.random.default_rng(1).standard_normal((5, 2))
    slopes = critic.values_and_slopes(state, x)[1]
    h = np.array([0.0, 1e-6])
    assert (critic.values(state, x + h) - critic.values(state, x - h)) / 2e-6 == pytest.approx(slopes[:, 1], rel=1e-5)


def test_few_features_do_not_see_a_grid() -> None:
    run = modes.feature_flow(modes.grid(), 0, features=50, particles=300, steps=60)
    assert run.final.fair_modes < 15
    assert not run.covers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": "cubic"}, "kernel"),
        ({"ridge": -1.0}, "ridge"),
        ({"particles": 1}, "particles"),
        ({"centres": 0}, "centres"),
        ({"wide": 1.5}, "wide"),
        ({"steps": 0}, "steps"),
        ({"rows": 0}, "rows"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_of_kernel_critics_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modes.kernel_flow(modes.ring(), **arguments)
    with pytest.raises(ValueError, match="features"):
        modes.feature_flow(modes.ring(), features=0)


# single flows, names, and the table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sliced", "transport"])
def test_single_flows_reach_all_modes(name: str) -> None:
    run = methods.METHODS[name].flow(modes.ring(), 0, particles=300)
    assert run.final.fair_modes == 8
    assert run.final.high_quality > 0.9
    assert run.evaluations == run.solution.info["steps"]


def test_transport_leaves_a_tenth_of_the_way_in_each_step() -> None:
    run = methods.METHODS["transport"].flow(modes.ring(), 0, particles=100)
    distances = np.sqrt(2.0 * run.solution.energies)
    assert distances[1:] == pytest.approx(0.1 * distances[:-1], rel=1e-6)


def test_scales_and_neurons_follow_the_data() -> None:
    points = modes.ring().sample(1000, 0)
    one, three = laws.scales_of(points), laws.scales_of(3.0 * points)
    assert (three.spread, three.near) == pytest.approx((3.0 * one.spread, 3.0 * one.near))
    neurons = laws.random_neurons(points, 500, 0).points
    slopes = np.linalg.norm(neurons[:, 1:-1], axis=1)
    assert slopes.min() >= 1.0 / one.spread * (1.0 - 1e-12)
    assert slopes.max() <= 0.28 / one.near * (1.0 + 1e-12)
    assert not neurons[:, 0].any()


def test_a_run_that_never_covers_says_so() -> None:
    run = laws.neuron_flow(modes.ring(), 0, particles=40, neurons=10, steps=3)
    assert run.first is None
    assert run.cpu_to_first is None
    assert not run.stable
    assert "Run('neurons', Mixture('ring'" in repr(run)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 0, "steps": 0}, "steps"),
        ({"seed": 0, "particles": 1}, "particles"),
        ({"seed": 0, "neurons": 0}, "neurons"),
        ({"seed": 0, "generator_step": 0.0}, "generator_step"),
        ({"seed": 0, "critic_step": -1.0}, "critic_step"),
        ({"seed": 0, "start": 0.0}, "start"),
        ({"seed": 0, "reaction": -1.0}, "reaction"),
        ({"seed": 0, "rows": 0}, "rows"),
        ({"seed": 0, "loss": "none"}, "loss"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        laws.neuron_flow(modes.ring(), **arguments)  # type: ignore[arg-type]


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="method must be one of 'neurons'"):
        methods.method("gan")
    with pytest.raises(ValueError, match="problem must be one of 'ring'"):
        table.measure_all(["rings"])
    with pytest.raises(ValueError, match="seeds must be"):
        table.measure_all(seeds=0)
    with pytest.raises(TypeError, match="target must be"):
        methods.METHODS["sliced"]("ring")  # type: ignore[arg-type]


def test_data_at_one_point_have_no_scale() -> None:
    with pytest.raises(ValueError, match="samples that differ"):
        laws.scales_of(np.zeros((5, 2)))


def test_published_rows_are_those_of_the_papers() -> None:
    assert len(PUBLISHED) == 34
    assert {row.source for row in published("grid")} == {"VEEGAN 2017, Table 1", "PacGAN 2018, Table 1"}
    assert max(row.modes for row in published("grid")) == 24.8


def test_the_command_prints_both_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["modes", "--problem", "ring", "--method", "sliced", "--seeds", "2", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "sliced" in out
    assert "PacGAN 2018, Table 1" in out
    assert "different architecture" in " ".join(out.split())
    assert "+-" in out


def test_every_method_makes_what_the_table_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each method's short run, by the name of its own: particles and networks alike."""
    for name, entry in methods.METHODS.items():
        run = entry.flow(modes.ring(3, std=0.1), 1, **entry.short)
        assert run.method == name and run.seed == 1 and run.evaluations >= 1
        assert len(run.coverages) == len(run.t) and run.final.modes <= 3
        assert set(entry.covers) <= set(methods.PLANE) <= set(modes.TARGETS)
    short = methods.METHODS["network"]
    monkeypatch.setitem(methods.METHODS, "network", replace(short, flow=partial(short.flow, **short.short)))
    found = table.measure("ring", "network", 0)
    assert found.method == "network" and found.evaluations == 1 and not found.covers
    assert "network" in table.table([found]) and "fresh latent points" in table.NOTE


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, entry in methods.METHODS.items() if entry.covers and "network" not in name])
def test_methods_cover_what_they_are_said_to(name: str) -> None:
    for target in methods.METHODS[name].covers:
        assert table.measure(target, name, 100).covers, target


def test_the_command_names_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--problem", "torus"], ["--method", "magic"], ["--seeds", "0"], ["--jobs", "0"]):
        assert cli.main(["modes", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 4
    assert cli.main(["modes", "--list"]) == 0
    assert "stacked-digits" in capsys.readouterr().out
