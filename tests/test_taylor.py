"""`check_gradient`: slope 2 for every energy on every state it is defined on, slope 1 for wrong gradients."""

from __future__ import annotations

import numpy as np
import pytest

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g

RNG = np.random.default_rng(12)
GRID = mf.Grid([(-2.0, 3.0)], (12,))
PLANE_GRID = mf.Grid([(-2.0, 2.0), (-1.0, 2.0)], (5, 4))


def masses(shape):
    values = np.random.default_rng(5).random(shape) + 0.1
    return values / values.sum()


LINE = {
    "particles": mf.Particles(RNG.normal(size=(6, 1))),
    "weighted": mf.Particles(RNG.normal(size=(5, 1)), masses(5)),
    "quantiles": mf.Quantiles(np.cumsum(RNG.random(9) + 0.05) - 2.0),
    "gaussian": mf.Gaussian([0.4], [[1.3]]),
    "histogram": mf.Histogram(masses(12), GRID),
    "vector": mf.Vector([0.7]),
}
PLANE = {
    "particles": mf.Particles(RNG.normal(size=(6, 2))),
    "weighted": mf.Particles(RNG.normal(size=(5, 2)), masses(5)),
    "gaussian": mf.Gaussian([0.4, -1.0], [[1.3, 0.4], [0.4, 0.8]]),
    "histogram": mf.Histogram(masses((5, 4)), PLANE_GRID),
    "vector": mf.Vector([0.7, -0.3]),
}
ATOMS = ("particles", "weighted", "quantiles", "histogram")
DENSITIES = ("quantiles", "gaussian", "histogram")
POINTS = (*ATOMS, "gaussian", "vector")


def bump(x):
    return np.sum(np.sin(x), axis=-1) + 0.1 * np.sum(x**4, axis=-1)


def bump_slope(x):
    return np.cos(x) + 0.4 * x**3


def spring(z):
    return np.log1p(np.sum(z**2, axis=-1))


def spring_slope(z):
    return 2.0 * z / (1.0 + np.sum(z**2, axis=-1))[..., None]


def user_kernel(x, y):
    return (1.0 + x @ y.T) ** 2


def user_slope(x, y):
    return 2.0 * (1.0 + x @ y.T)[:, :, None] * y[None]


def line_cases():
    atoms = mf.Particles(RNG.normal(size=(4, 1)), masses(4))
    return {
        "potential": (e.Potential(bump, bump_slope), POINTS),
        "potential by differences": (e.Potential(bump), POINTS),
        "quadratic": (e.Quadratic(2.0, centre=[1.0], linear=[0.3]), POINTS),
        "interaction": (e.Interaction(spring, spring_slope), (*ATOMS, "gaussian")),
        "interaction by differences": (e.Interaction(spring), (*ATOMS, "gaussian")),
        "singular interaction": (
            e.Interaction(lambda z: -np.log(np.sum(z**2, axis=-1)), lambda z: -2.0 * z / np.sum(z**2, -1)[..., None], True),
            ATOMS,
        ),
        "entropy": (e.Entropy(0.7), DENSITIES),
        "porous medium": (e.PowerEntropy(2.0), DENSITIES),
        "porous medium 3.5": (e.PowerEntropy(3.5), DENSITIES),
        "fast diffusion": (e.PowerEntropy(0.5), DENSITIES),
        "KL": (e.KL(mf.Gaussian(0.3, 2.0)), DENSITIES),
        "KL on a grid": (e.KL(mf.Histogram(masses(12)[::-1], GRID)), ("histogram",)),
        "MMD gaussian": (e.MMD(atoms, "gaussian", 0.8), ATOMS),
        "MMD laplace": (e.MMD(atoms, "laplace", 0.8), ATOMS),
        "MMD user": (e.MMD(atoms, e.UserKernel(user_kernel, user_slope)), ATOMS),
        "MMD user by differences": (e.MMD(atoms, user_kernel), ATOMS),
        "MMD to a histogram": (e.MMD(mf.Histogram(masses(12), GRID), "gaussian"), ATOMS),
        "energy distance to a density": (e.EnergyDistance(mf.Histogram(masses(12)[::-1], GRID)), ATOMS),
        "W2 to quantiles": (e.SquaredWasserstein(mf.Quantiles(np.linspace(-1, 2, 9))), ("quantiles",)),
        "W2 to atoms": (e.SquaredWasserstein(atoms), ("quantiles", "particles", "weighted")),
        "W2 to a Gaussian": (e.SquaredWasserstein(mf.Gaussian(1.0, 2.0)), ("quantiles", "gaussian")),
        "W2 to a histogram": (e.SquaredWasserstein(mf.Histogram(masses(12), GRID)), ("quantiles",)),
        "box": (e.Box(-50.0, 50.0) + e.Potential(bump, bump_slope), ("particles", "quantiles", "vector")),
        "sum": (0.5 * e.Entropy() + e.Quadratic() - 0.1 * e.MMD(atoms, "gaussian"), ("quantiles", "histogram")),
        "function": (e.Function(lambda s: np.sum(np.asarray(s) ** 3), lambda s: 3.0 * np.asarray(s) ** 2), ("vector",)),
    }


def plane_cases():
    atoms = mf.Particles(RNG.normal(size=(4, 2)), masses(4))
    matrix = [[2.0, 0.3], [0.3, 0.5]]
    plane = ("particles", "weighted", "histogram")
    return {
        "potential": (e.Potential(bump, bump_slope), (*plane, "gaussian", "vector")),
        "quadratic": (e.Quadratic(matrix, centre=[1.0, 0.0]), (*plane, "gaussian", "vector")),
        "interaction": (e.Interaction(spring, spring_slope), (*plane, "gaussian")),
        "entropy": (e.Entropy(0.7), ("gaussian", "histogram")),
        "porous medium": (e.PowerEntropy(2.0), ("gaussian", "histogram")),
        "KL": (e.KL(mf.Gaussian([0.3, 1.0], matrix)), ("gaussian", "histogram")),
        "KL on a grid": (e.KL(mf.Histogram(masses((5, 4))[::-1], PLANE_GRID)), ("histogram",)),
        "MMD gaussian": (e.MMD(atoms, "gaussian", 0.8), plane),
        "MMD laplace": (e.MMD(atoms, "laplace", 0.8), plane),
        "MMD energy": (e.MMD(atoms, "energy"), plane),
        "MMD user": (e.MMD(atoms, e.UserKernel(user_kernel, user_slope)), plane),
        "energy distance": (e.EnergyDistance(atoms), plane),
        "W2 to atoms": (e.SquaredWasserstein(atoms), ("particles", "weighted")),
        "W2 to a Gaussian": (e.SquaredWasserstein(mf.Gaussian([1.0, 0.0], matrix)), ("gaussian",)),
        "W1 to atoms": (e.Wasserstein1(atoms), ("particles", "weighted")),
    }


CASES = [
    pytest.param(energy, states[kind], id=f"{where}-{name}-{kind}")
    for where, cases, states in (("line", line_cases(), LINE), ("plane", plane_cases(), PLANE))
    for name, (energy, kinds) in cases.items()
    for kind in kinds
]


@pytest.mark.parametrize(("energy", "state"), CASES)
def test_gradients_of_all_energies(energy, state):
    slopes = [mf.check_gradient(energy, state, seed=seed) for seed in range(4)]
    assert np.all(np.abs(np.array(slopes) - 2.0) <= 0.1), slopes


@pytest.mark.parametrize("kind", ["particles", "weighted", "quantiles"])
@pytest.mark.parametrize(
    "energy",
    [
        e.EnergyDistance(mf.Quantiles([-1.0, 0.1, 0.9])),
        e.Wasserstein1(mf.Quantiles([-1.0, 0.1, 0.9])),
        e.Interaction(lambda z: np.abs(z[..., 0]), np.sign),
    ],
    ids=["energy distance", "W1", "attraction"],
)
def test_energies_that_are_piecewise_linear(energy, kind):
    """The gradient is right: the remainder vanishes for small steps, whatever kinks do at large ones."""
    slopes = [mf.check_gradient(energy, LINE[kind], seed=seed) for seed in range(60)]
    assert np.all(np.array(slopes) >= 1.9), slopes


# frozen energies of games -----------------------------------------------------------------------------------------------


def game_cases():
    rng = np.random.default_rng(20)
    cloud, line = PLANE["weighted"], LINE["particles"]
    target = mf.Particles(rng.normal(size=(7, 2)))
    features = g.FeatureCritic(
        lambda x: np.stack([np.sin(x[:, 0]), x[:, 1] ** 2, x[:, 0] * x[:, 1]], axis=1),
        lambda x: np.stack(
            [
                np.stack([np.cos(x[:, 0]), 0.0 * x[:, 0]], axis=1),
                np.stack([0.0 * x[:, 0], 2.0 * x[:, 1]], axis=1),
                x[:, ::-1],
            ],
            axis=1,
        ),
    )
    neurons = mf.Particles(rng.normal(size=(5, 4)), masses(5))
    vectors = mf.Vector([0.4]), mf.Vector([-1.1])
    torus = g.KernelGame(
        lambda x, y: np.cos(x[:, None, 0] - y[None, :, 0]),
        lambda x, y: -np.sin(x[:, None, :] - y[None, :, :]),
        lambda x, y: np.sin(x[:, None, :] - y[None, :, :]),
        (None, 9.0),
    )
    ridge = g.Ridge(0.7)
    return {
        "bilinear": (g.Bilinear(2.0), vectors),
        "bilinear laws": (g.Bilinear([[1.0, 2.0]]), (line, cloud)),
        "linear-quadratic": (g.LinearQuadratic(0.3, 2.0, 0.5), vectors),
        "linear-quadratic gaussians": (
            g.LinearQuadratic([[1.0, 0.2], [0.2, 2.0]], [[1.0], [0.5]], 0.5),
            (PLANE["gaussian"], LINE["gaussian"]),
        ),
        **{f"Dirac {variant}": (g.DiracGAN(variant), vectors) for variant in ("gan", "nsgan", "wgan")},
        "kernel game": (torus, (line, LINE["weighted"])),
        "feature GAN": (g.GAN(target, critic=features, penalty=ridge), (cloud, mf.Vector([0.3, -1.0, 2.0]))),
        "tanh GAN": (g.GAN(target, critic=g.NeuronCritic("tanh"), penalty=ridge), (cloud, neurons)),
        "tanh GAN to a histogram": (
            g.GAN(PLANE["histogram"], critic=g.NeuronCritic("tanh"), penalty=ridge),
            (cloud, neurons),
        ),
        "relu GAN": (g.GAN(target, critic=g.NeuronCritic("relu")), (cloud, neurons)),
        "zero sum": (
            g.ZeroSum(lambda x, y: (np.sin(x[0] * y[0]), y[0] * np.cos(x @ y) + 0 * x, x[0] * np.cos(x @ y) + 0 * y)),
            vectors,
        ),
        "user's game": (
            g.Game([lambda x, o: (np.sum(x**4 + x * o[0]), 4.0 * x**3 + o[0]), e.Quadratic()]),
            vectors,
        ),
    }


@pytest.mark.parametrize("name", game_cases())
@pytest.mark.parametrize("player", [0, 1])
def test_gradients_of_games(name, player):
    game, states = game_cases()[name]
    slopes = np.array([mf.check_gradient(game.energy(player, states), states[player], seed=seed) for seed in range(6)])
    assert np.all(slopes >= 1.9), slopes
    assert np.all(slopes <= 2.1) or name == "relu GAN", slopes


@pytest.mark.parametrize("order", [0.0, 1.0])
def test_fields(order):
    grid = mf.Grid([(0.0, 1.0), (0.0, 2.0)], (4, 5))
    field = mf.Field(np.random.default_rng(0).normal(size=(4, 5)), grid)
    energy = e.Function(lambda u: grid.cell_volume * np.sum(np.cos(u)), lambda u: -np.sin(u))
    assert abs(mf.check_gradient(energy, field) - 2.0) < 0.1
    assert abs(mf.check_gradient(order * energy + energy, field) - 2.0) < 0.1


# wrong gradients ----------------------------------------------------------------------------------------------------------


def wrong(energy, change):
    """The same value with another gradient."""
    return e.Function(energy.value, lambda state: change(energy.gradient(state), state))


CHANGES = {
    "sign": lambda gradient, state: -gradient,
    "factor 2": lambda gradient, state: 2.0 * gradient,
    "half a percent": lambda gradient, state: 1.005 * gradient,
    "missing weight": lambda gradient, state: gradient / len(state),
}
WRONG = {
    "potential-particles": (e.Potential(bump, bump_slope), PLANE["particles"]),
    "potential-vector": (e.Potential(bump, bump_slope), PLANE["vector"]),
    "interaction-weighted": (e.Interaction(spring, spring_slope), PLANE["weighted"]),
    "entropy-quantiles": (e.Entropy() + e.Quadratic(), LINE["quantiles"]),
    "KL-gaussian": (e.KL(mf.Gaussian([0.3, 1.0], 0.5)), PLANE["gaussian"]),
    "KL-histogram": (e.KL(mf.Gaussian(0.3, 2.0)), LINE["histogram"]),
    "MMD-particles": (e.MMD(mf.Particles([[0.0, 1.0]]), "gaussian"), PLANE["particles"]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_show_slope_one(name, change):
    energy, state = WRONG[name]
    found = [float(mf.check_gradient(wrong(energy, CHANGES[change]), state, seed=seed)) for seed in range(3)]
    assert np.median(found) < 1.3, found
    assert abs(mf.check_gradient(wrong(energy, lambda gradient, _: gradient), state) - 2.0) < 0.1


def test_one_wrong_entry_is_found():
    def slope(x):
        gradient = bump_slope(np.asarray(x))
        gradient[3, 1] += 0.01
        return gradient

    energy = e.Function(lambda law: law.weights @ bump(law.points), lambda law: slope(law.points))
    assert mf.check_gradient(energy, PLANE["particles"]) < 1.3


def test_noise_in_the_value_is_not_taken_for_a_wrong_gradient():
    assert mf.check_gradient(e.Function(lambda x: 5.0, lambda x: 0.0 * x), mf.Vector([1.0, 2.0])) == 2.0
    assert mf.check_gradient(e.Quadratic(0.0, linear=[1.0, 2.0]), mf.Vector([1.0, 2.0])) == 2.0


def test_what_is_returned():
    check = mf.check_gradient(e.Quadratic(), mf.Vector([1.0, 2.0]))
    assert isinstance(check, float) and isinstance(check, mf.TaylorCheck)
    assert check.slope == float(check)
    assert check.steps.shape == check.remainders.shape == (17,)
    assert np.all(np.diff(check.steps) < 0.0)
    assert mf.check_gradient(e.Quadratic(), PLANE["particles"], seed=3) == mf.check_gradient(
        e.Quadratic(), PLANE["particles"], seed=3
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mf.check_gradient(3.0, mf.Vector(1.0)), "energy must be an Energy"),
        (lambda: mf.check_gradient(e.Quadratic(), [1.0]), "state must be a state"),
        (lambda: mf.check_gradient(e.Quadratic(), mf.Vector(1.0), seed=-1), "seed must be an integer >= 0"),
        (lambda: mf.check_gradient(e.Entropy(), PLANE["particles"]), "Entropy is defined on Quantiles"),
        (lambda: mf.check_gradient(e.KL(mf.Gaussian(0.0, 1.0)), PLANE["gaussian"]), "dimension"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
