"""Networks that follow their laws: tangents, projected steps, and coverage of the ring by a small network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow.games.tangent import Tangent, activated, slope
from measureflow.modes.generators import linear_start, principal_map
from measureflow.modes.networks import train_by_gradients, train_dual_network, train_network
from measureflow.modes.targets import mixture, ring, uneven
from measureflow.schemes.projected import gauss_newton

RNG = np.random.default_rng(0)
LATENT = mf.Particles(RNG.standard_normal((40, 2)))
DATA = mf.Particles(RNG.standard_normal((30, 2)) + 1.0)


def network(activation: str = "tanh", dim: int = 2, widths: Any = (7, 5)) -> tuple[g.MLPGenerator, np.ndarray]:
    generator = g.MLPGenerator(LATENT, dim, widths, activation)
    start = generator.initial(3).values
    return generator, start + 0.1 * np.random.default_rng(1).standard_normal(len(start))


# tangents ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
def test_activations_and_their_slopes(activation: str) -> None:
    x, h = np.linspace(-2.05, 2.0, 17), 1e-6
    found = (activated(x + h, activation) - activated(x - h, activation)) / (2.0 * h)
    assert np.allclose(slope(activated(x, activation), activation), found, atol=1e-8)


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
def test_a_tangent_is_the_derivative_of_the_network(activation: str) -> None:
    generator, theta = network(activation)
    tangent = Tangent(theta, generator.layers, activation, LATENT.points)
    assert np.allclose(tangent.outputs, generator.points(mf.Vector(theta))[0], atol=1e-13)
    change, h = RNG.standard_normal(len(theta)), 1e-6
    ends = [generator.points(mf.Vector(theta + s * h * change))[0] for s in (1.0, -1.0)]
    assert np.allclose(tangent.push(change), (ends[0] - ends[1]) / (2.0 * h), atol=1e-7)
    force = RNG.standard_normal((40, 2))
    assert np.isclose(np.sum(force * tangent.push(change)), tangent.pull(force) @ change, rtol=1e-12)
    assert np.allclose(tangent.pull(force), generator.gradient(mf.Vector(theta), np.zeros(40), 40.0 * force), atol=1e-12)


@pytest.mark.parametrize("widths", [(), (6,), (7, 5)])
def test_the_kernel_is_j_jt(widths: tuple[int, ...]) -> None:
    generator, theta = network(widths=widths)
    tangent = Tangent(theta, generator.layers, "tanh", LATENT.points[:9])
    jacobian = np.stack([tangent.push(unit).T.ravel() for unit in np.eye(len(theta))], axis=1)
    assert np.allclose(tangent.kernel(), jacobian @ jacobian.T, atol=1e-12)


def test_the_mean_kernel_is_the_mean_of_the_diagonal_blocks() -> None:
    generator, theta = network(dim=3)
    tangent = Tangent(theta, generator.layers, "tanh", LATENT.points[:6])
    blocks = tangent.kernel().reshape(3, 6, 3, 6)
    mean = np.mean([blocks[k, :, k] for k in range(3)], axis=0)
    rng = np.random.default_rng(0)
    found = np.mean([tangent.mean_kernel(rng) for _ in range(3000)], axis=0)
    assert np.allclose(found, mean, rtol=0.05)


# energies of networks ----------------------------------------------------------------------------------------------


def test_a_generated_energy_has_the_gradient_of_its_value() -> None:
    generator, theta = network()
    for energy in (e.Quadratic(), e.EnergyDistance(DATA), e.SquaredWasserstein(DATA)):
        found = mf.check_gradient(g.Generated(energy, generator), mf.Vector(theta))
        assert found > 1.8


def test_mini_batches_of_a_generated_energy() -> None:
    generator, theta = network()
    energy = g.Generated(e.EnergyDistance(DATA), generator)
    part = energy.minibatch(5, np.random.default_rng(0))
    assert part is not None and part.on_law().target.points.shape == (5, 2)  # type: ignore[attr-defined]
    assert g.Generated(e.Quadratic(), generator).minibatch(5, np.random.default_rng(0)) is None


# projected steps ---------------------------------------------------------------------------------------------------


def test_an_affine_network_takes_the_step_of_a_quadratic_well_exactly() -> None:
    generator = g.MLPGenerator(LATENT, 2, ())
    energy = g.Generated(e.Quadratic(), generator)
    start = mf.Vector([1.0, 0.2, -0.3, 2.0, 0.5, -1.0])
    for law, factor in (("explicit", 0.75), ("jko", 0.8)):
        scheme = mf.Projected(law, 300, rows=40, damping=1e-9, relaxation=1.0, memory=0.0)
        sol = mf.solve(energy, start, 0.25, 0.25, scheme=scheme)
        assert np.allclose(sol.states[-1].values, factor * start.values, atol=1e-6)
        assert sol.info["residual"][-1] < 1e-6


def test_one_whole_undamped_pass_is_the_gradient_in_the_metric_of_the_law() -> None:
    generator, theta = network(widths=(3,))
    energy, tau = g.Generated(e.EnergyDistance(DATA), generator), 1e-3
    tangent = Tangent(theta, generator.layers, "tanh", LATENT.points)
    jacobian = np.stack([tangent.push(unit).T.ravel() for unit in np.eye(len(theta))], axis=1)
    scheme = mf.Projected(passes=1, rows=40, damping=1e-12, relaxation=1.0, memory=0.0)
    sol = mf.solve(energy, mf.Vector(theta), tau, tau, scheme=scheme)
    natural = np.linalg.pinv(jacobian.T @ jacobian / 40.0, rcond=1e-9) @ energy.gradient(mf.Vector(theta))
    moved = (sol.states[-1].values - theta) / -tau
    assert np.allclose(jacobian @ moved, jacobian @ natural, atol=1e-4 * np.abs(jacobian @ natural).max())


def test_a_gan_moves_its_network_as_the_law_moves() -> None:
    """With enough parameters the network's points take the steps of the law generator; the critics agree."""
    latent = mf.Particles(LATENT.points[:12])
    generator = g.MLPGenerator(latent, 2, (64,))
    critic, penalty = g.NeuronCritic("tanh"), g.Ridge(0.5)
    theta, neurons = generator.initial(2), mf.Particles(0.5 * RNG.standard_normal((20, 4)))
    scheme = mf.Projected(passes=80, rows=12, damping=1e-10, relaxation=1.0, memory=0.0)
    dual = g.GAN(DATA, "non-saturating", critic=critic, penalty=penalty, generator=generator)
    free = g.GAN(DATA, "non-saturating", critic=critic, penalty=penalty)
    followed = mf.solve(dual, (theta, neurons), 1.0, 0.25, scheme=scheme, speeds=(1.0, 3.0))
    law = mf.Particles(generator.points(theta)[0])
    led = mf.solve(free, (law, neurons), 1.0, 0.25, scheme="explicit", speeds=(1.0, 3.0))
    assert np.allclose(generator.points(followed.states[-1][0])[0], led.states[-1][0].points, atol=2e-4)
    assert np.allclose(followed.states[-1][1].points, led.states[-1][1].points, atol=2e-4)


def test_many_outputs_descend_by_conjugate_gradients() -> None:
    generator, theta = network("relu", dim=12, widths=(20, 20))
    goal = RNG.standard_normal((40, 12))
    rng, far = np.random.default_rng(0), []
    for _ in range(60):
        tangent = Tangent(theta, generator.layers, "relu", LATENT.points)
        gap = goal - tangent.outputs
        far.append(float(np.linalg.norm(gap)))
        theta = theta + gauss_newton(tangent, 0.3 * gap, 1e-1, rng)
    assert far[-1] < 0.6 * far[0]


def test_states_that_are_no_network_take_the_steps_of_the_law() -> None:
    sol = mf.solve(e.Quadratic(), LATENT, 1.0, 0.25, scheme=mf.Projected())
    assert np.allclose(sol.states[-1].points, 0.75**4 * LATENT.points)


def test_runs_are_the_same_bits_and_seeds_matter() -> None:
    generator, theta = network()
    energy = g.Generated(e.EnergyDistance(DATA), generator)
    ends = [
        mf.solve(energy, mf.Vector(theta), 0.5, 0.25, scheme=mf.Projected(passes=4, rows=8, seed=s)).states[-1].values
        for s in (0, 0, 1)
    ]
    assert np.array_equal(ends[0], ends[1]) and not np.array_equal(ends[0], ends[2])


# starts and coverage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
def test_a_start_is_affine(activation: str) -> None:
    z = np.random.default_rng(2).standard_normal((500, 2))
    generator = g.MLPGenerator(mf.Particles(z), 3, (64, 64), activation)
    matrix, mean = np.array([[1.0, 0.5, 0.0], [0.0, -2.0, 1.0]]), np.array([1.0, 2.0, 3.0])
    points = generator.points(linear_start(generator, matrix, mean, seed=1))[0]
    assert np.sqrt(np.mean((points - mean - z @ matrix) ** 2)) < 0.05


def test_principal_maps_have_the_covariance_of_the_samples() -> None:
    x = RNG.standard_normal((200, 3)) @ np.diag([3.0, 1.0, 0.1])
    x -= x.mean(axis=0)
    matrix = principal_map(x, 5)
    assert matrix.shape == (5, 3) and np.allclose(matrix.T @ matrix, x.T @ x / 200)
    assert np.linalg.matrix_rank(principal_map(x, 2)) == 2


def test_a_small_network_covers_a_ring() -> None:
    target = ring(5, std=0.05)
    run = train_network(target, 1, widths=(32, 32), samples=200, t=2.5, passes=100, rows=40)
    found = run.cover()
    assert found.modes == found.fair_modes == 5 and found.high_quality > 0.6
    assert len(run.coverages) == len(run.solution.t) and run.final.high_quality == found.high_quality
    assert run.coverages[0].high_quality < 0.3
    assert run.evaluations == run.solution.info["steps"] == 5 and run.cpu_seconds > 0.0
    assert not run.stable and run.average.fair_modes > 4.0
    assert run.sample(7, 0).shape == (7, 2) and np.array_equal(run.sample(7, 0), run.sample(7, 0))
    assert run.solution.energies[-1] < 0.05 * run.solution.energies[0]
    assert "NetworkRun" in repr(run)


def test_the_dual_flow_of_a_small_network_covers_a_ring() -> None:
    settings = {"samples": 200, "neurons": 150, "steps": 100, "passes": 6, "rows": 40, "widths": (32, 32)}
    run = train_dual_network(ring(5, std=0.05), 1, **settings)  # type: ignore[arg-type]
    assert run.cover().fair_modes == 5 and run.cover().high_quality > 0.5
    assert run.cover(step=0).high_quality < 0.3 and len(run.solution.t) == 11


def test_gradient_steps_of_a_small_network_do_not_cover_a_ring() -> None:
    run, again = (
        train_by_gradients(ring(5, std=0.05), 1, widths=(16, 16), samples=200, batch=100, steps=100, rows=4) for _ in range(2)
    )
    assert run.final.fair_modes < 5 and run.final.high_quality < 0.5
    assert len(run.coverages) == 5 and not run.good.any()
    assert np.array_equal(run.sample(20, 3), again.sample(20, 3))


def test_coverage_is_measured_at_fresh_latent_points() -> None:
    run = train_network(ring(5, std=0.05), 1, widths=(16, 16), samples=50, t=1.0, passes=10, rows=20)
    pushed = run.mean + run.scale * run.generator.points(run.solution.states[-1])[0]
    fresh = run.sample(2500, 0)
    assert not set(map(tuple, pushed)) & set(map(tuple, fresh))
    assert run.cover(0).n == 2500


def test_scale_and_place_of_a_target_do_not_matter() -> None:
    first, settings = uneven(ring(4, std=0.05), 3.0), {"widths": (16, 16), "samples": 100, "t": 1.0, "passes": 20, "rows": 32}
    far = mixture(100.0 * first.centres + 30.0, 100.0 * np.asarray(first.std), first.weights)
    near, moved = (train_network(target, 0, **settings) for target in (first, far))  # type: ignore[arg-type]
    assert np.allclose(100.0 * near.sample(50, 0) + 30.0, moved.sample(50, 0), atol=1e-3)


def test_other_critics() -> None:
    for critic in ("energy distance", "sliced"):
        run = train_network(ring(), 0, critic=critic, widths=(8,), samples=50, t=1.0, passes=10, rows=16)
        assert run.solution.energies[-1] < run.solution.energies[0]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("critic", {"critic": "wasserstein"}),
        ("samples", {"samples": 1}),
        ("latent", {"latent": 0}),
        ("widths", {"widths": (0,)}),
        ("activation", {"activation": "sine"}),
        ("passes", {"passes": 0}),
        ("rows", {"rows": 0}),
        ("damping", {"damping": 0.0}),
        ("seed", {"seed": -1}),
        ("tau", {"tau": 0.0}),
    ],
)
def test_bad_arguments(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"\b{name}\b"):
        train_network(ring(), **{"samples": 4, **settings})


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("batch", {"batch": 0}),
        ("steps", {"steps": 0}),
        ("step", {"step": 0.0}),
        ("loss", {"loss": "none"}),
        ("rows", {"rows": 0}),
    ],
)
def test_bad_arguments_of_gradient_training(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        train_by_gradients(ring(), **{"samples": 4, **settings})


def test_a_target_is_needed() -> None:
    with pytest.raises(TypeError, match="target"):
        train_network(np.zeros((3, 2)))  # type: ignore[arg-type]
