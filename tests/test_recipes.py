"""Recipes: every object of the package made again from data, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crafting import (
    CLOUD,
    DECAY,
    FLOWS,
    GRID,
    LINE,
    MASSES,
    NEURONS,
    RNG_FIELD,
    WEIGHTS,
    bits,
    differ,
    of_a_run,
    read_arrays,
    square_of_fields,
    write_arrays,
)

import measureflow as mf
from measureflow import energies as e
from measureflow import files, recipes
from measureflow import games as g

# recipes --------------------------------------------------------------------------------------------------------------


def square(x: Any) -> float:
    return 0.5 * float(np.sum(np.asarray(x) ** 2))


def itself(x: Any) -> np.ndarray:
    return np.array(x)


def halves(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * np.sum(x**2, axis=-1))


def shrunk(x: np.ndarray, tau: float) -> np.ndarray:
    return np.asarray(x / (1.0 + tau))


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(x @ y.T)


def product_x(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(y[None], (len(x), *y.shape))


def product_y(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x[:, None], (len(x), len(y), x.shape[1]))


def pull(own: mf.Vector, others: Any) -> tuple[float, np.ndarray]:
    return float(own @ others[0]), np.asarray(others[0])


def payoff(x: mf.Vector, y: mf.Vector) -> tuple[float, np.ndarray, np.ndarray]:
    return float(x @ y), np.asarray(y), np.asarray(x)


def flat(x: np.ndarray) -> np.ndarray:
    return np.asarray(x)


def unit(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.eye(x.shape[1]), (len(x), x.shape[1], x.shape[1]))


OWN = {f.__name__: f for f in (square, itself, halves, shrunk, product, product_x, product_y, pull, payoff, flat, unit)}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recipes hold the functions of these tests."""
    for name, function in OWN.items():
        monkeypatch.setitem(recipes.FUNCTIONS, f"test {name}", function)


LAW, OTHER, ON_LINE = mf.Particles(CLOUD, WEIGHTS), mf.Particles(CLOUD[:3] - 0.5), mf.Quantiles([-1.0, 0.25, 0.3, 2.0])
BELL, POINT, OTHER_POINT = mf.Gaussian([0.5, 0.1], [[1.0, 0.2], [0.2, 0.7]]), mf.Vector([1.0, -2.0]), mf.Vector([0.3, 0.1])
BINS, SHEET = mf.Histogram(MASSES, LINE), mf.Field(RNG_FIELD, GRID)
MATRIX = np.array([[2.0, 0.5], [0.5, 1.0]])

EXAMPLES: list[tuple[Any, tuple[Any, ...]]] = [
    (LAW, ()),
    (ON_LINE, ()),
    (BINS, ()),
    (BELL, ()),
    (POINT, ()),
    (SHEET, ()),
    (GRID, ()),
    (mf.Wasserstein(1, "sliced", epsilon=0.1, projections=7, seed=2**32 - 1), ()),
    (mf.Wasserstein(1), (LAW, OTHER)),
    (mf.Wasserstein(), (BELL, mf.Gaussian([0.0, 0.0], MATRIX))),
    (mf.Euclidean(), (POINT, OTHER_POINT)),
    (mf.Sobolev(-0.3), (SHEET, mf.Field(RNG_FIELD**2, GRID))),
    (mf.JKO("alternating", (1, 2), tolerance=1e-7, max_iterations=77), ()),
    (mf.JKO(), ()),
    (mf.Explicit("implicit", (3,), unrolled=2), ()),
    (mf.VIM("symmetric", (1, 2), tolerance=1e-7, max_iterations=77), ()),
    (mf.BDF2("optimistic", tolerance=1e-7, max_iterations=77), ()),
    (mf.ExtrapolatedVIM("symmetric", (1, 2), tolerance=1e-7, max_iterations=77), ()),
    (mf.ExtrapolatedBDF2("optimistic", tolerance=1e-7, max_iterations=77), ()),
    (mf.ThreeStage("symmetric", (1, 2), tolerance=1e-7, max_iterations=77), ()),
    (mf.Richardson("alternating", turns=(1, 0), tolerance=1e-7, max_iterations=77), ()),
    (mf.ForwardBackward(("MMD", "Function"), "alternating", (1, 2), tolerance=1e-7, max_iterations=77), ()),
    (mf.RK2(), ()),
    (mf.RK4(), ()),
    (mf.Langevin((0.1, 0.0), "alternating", seed=2**70), ()),
    (mf.Projected("jko", 7, rows=9, damping=1e-3, relaxation=0.5, memory=0.1, coupling="alternating", seed=4), ()),
    (e.Box(-0.1, 3.0), (POINT,)),
    (e.MMD(LAW, e.GaussianKernel(0.7)), (OTHER,)),
    (e.MMD(BINS, e.UserKernel(product, product_x)), (ON_LINE,)),
    (e.EnergyDistance(ON_LINE), (mf.Quantiles([0.0, 1.0]),)),
    (e.BlobEntropy(0.7, 0.3, mollifier="compact"), (LAW,)),
    (e.BlobPowerEntropy(2.5, 0.7), (LAW,)),
    (e.SinkhornDivergence(LAW, 0.7, tolerance=1e-6, max_iterations=77), (OTHER,)),
    (e.SlicedEnergyDistance(LAW, 7, 2**70), (OTHER,)),
    (e.SlicedWasserstein(LAW, 7, 3), (OTHER,)),
    (e.KL(BELL), (mf.Gaussian([0.0, 0.0], MATRIX),)),
    (e.ChiSquared(BELL), (mf.Gaussian([0.0, 0.0], 0.1 * BELL.cov),)),
    (e.JensenShannon(BELL), (mf.Gaussian([0.0, 0.0], MATRIX),)),
    (e.NonSaturating(BELL), (mf.Gaussian([0.0, 0.0], MATRIX),)),
    (e.MMD(LAW, "gaussian", squared=False), (OTHER,)),
    (e.Entropy(0.3), (BELL,)),
    (e.PowerEntropy(2.5), (ON_LINE,)),
    (e.Function(square, itself, convexity=1.0), (SHEET,)),
    (e.Interaction(halves, itself, True, convexity=0.0), (LAW,)),
    (e.QuadraticInteraction(-1.5), (LAW,)),
    (e.EnergyKernel(), ()),
    (e.GaussianKernel(0.1), ()),
    (e.LaplaceKernel(3.0), ()),
    (e.UserKernel(product), ()),
    (e.Potential(halves, itself, prox=shrunk, convexity=1.0), (LAW,)),
    (e.Quadratic(MATRIX, [1.0, 2.0], [0.1, 0.2], -3.0), (LAW,)),
    (e.Quadratic(0.1), (POINT,)),
    (e.SquaredWasserstein(ON_LINE), (mf.Quantiles([0.0, 0.5, 0.7, 3.0]),)),
    (e.Wasserstein1(ON_LINE), (mf.Quantiles([0.0, 0.5, 0.7, 3.0]),)),
    (g.Game([pull, e.Quadratic(2.0)]), (POINT, OTHER_POINT)),
    (g.ZeroSum(payoff), (POINT, OTHER_POINT)),
    (g.FeatureCritic(flat, unit), (POINT,)),
    (g.NeuronCritic("relu", "float32"), (NEURONS,)),
    (g.DiracGAN("nsgan"), (mf.Vector(1.0), mf.Vector(2.0))),
    (g.GAN(LAW, critic=g.NeuronCritic(), penalty=g.Ridge(0.1)), (OTHER, NEURONS)),
    (g.GAN(BINS, critic=g.FeatureCritic(flat, unit)), (ON_LINE, mf.Vector(2.0))),
    (
        g.GAN(
            mf.Particles(CLOUD),
            "relativistic",
            critic=g.MLPCritic((3,), "softplus", "float32"),
            generator=g.MLPGenerator(mf.Particles(CLOUD - 0.1), 2, (), "relu"),
            penalty=(g.R1(0.1), g.SpectralBound(9.0)),
            pack=2,
            instance_noise=0.1,
        ),
        (mf.Vector([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), g.MLPCritic((3,)).initial(4, 0)),
    ),
    (g.MLPCritic((3, 2), "relu"), (g.MLPCritic((3, 2)).initial(2, 0),)),
    (g.MLPGenerator(LAW, 1, (2,), "softplus", "float32"), ()),
    (g.Generated(e.Quadratic(), g.MLPGenerator(LAW, 1, (2,))), ()),
    (g.LawGenerator(), ()),
    (g.RKHSCritic("laplace", CLOUD, 0.3), (mf.Vector(np.linspace(-1.0, 1.0, len(CLOUD))),)),
    (g.FieldCritic(GRID, -0.5), (SHEET,)),
    (g.FastCritic(g.GAN(LAW, critic=g.FeatureCritic(flat, unit), penalty=g.Ridge(0.1)), 2), (OTHER,)),
    (g.Ridge(0.3), ()),
    (g.R1(0.3), ()),
    (g.R2(0.3), ()),
    (g.GradientPenalty(0.3, 0.1, True, "generated"), ()),
    (g.Clip(0.3), ()),
    (g.SpectralBound(0.3), ()),
    (g.KernelGame(product, product_x, product_y, (9.0, None)), (LAW, OTHER)),
    (g.Bilinear([[1.0, 2.0], [0.1, 0.2]]), (POINT, OTHER_POINT)),
    (g.Bilinear(0.1), (mf.Vector(1.0), mf.Vector(2.0))),
    (g.LinearQuadratic(MATRIX, 0.1 * MATRIX, np.eye(2)), (POINT, OTHER_POINT)),
    (g.Unrolled(g.Bilinear(0.1), 2, 0.3, mf.Euclidean()), (mf.Vector(1.0), mf.Vector(2.0))),
    (g.Consensus(g.Bilinear(0.1), 0.3), (mf.Vector(1.0), mf.Vector(2.0))),
    (g.QuadraticGame(MATRIX, 0.1 * MATRIX, np.eye(2), MATRIX - 1.0), (POINT, OTHER_POINT)),
    (g.Noisy(g.Bilinear(0.1), (0.3, 0.0)), (mf.Vector(1.0), mf.Vector(2.0))),
    (g.Pursuit(cooperative=True), (mf.Quantiles([0.0, 0.5]), mf.Quantiles([0.7, 3.0]))),
    (g.Regularised(g.Bilinear(0.1), [e.Quadratic(0.3), None]), (mf.Vector(1.0), mf.Vector(2.0))),
    (g.MatrixGame(np.outer(MASSES, MASSES) - 0.1), (BINS, BINS)),
    (g.ModeWeights(BINS, 0.3), (BINS, mf.Vector(MASSES))),
    (e.CellPotential(MASSES**2, 0.7), (BINS,)),
    (e.Congestion(2.5), (BINS,)),
    (e.Obstacle(np.arange(len(MASSES)) == 0), (mf.Histogram([0.0, *MASSES[1:] / MASSES[1:].sum()], LINE),)),
    (mf.FisherRao(), (BINS, mf.Histogram(MASSES[::-1], LINE))),
    (mf.WassersteinFisherRao(2.0, 0.5), (mf.Particles(CLOUD), mf.Particles(CLOUD + 0.1))),
    (mf.Splitting("vim", "rk2", False, "alternating", turns=(1, 0)), ()),
    (mf.Mirror("alternating", (1, 2), implicit=True, tolerance=1e-7, max_iterations=77), ()),
    (e.Entropy() + 0.1 * e.KL(BELL) - 3.0 * e.Quadratic(0.1), (BELL,)),
]


def values_of(thing: Any, states: tuple[Any, ...]) -> Any:
    """Return what an object of the package does, as bits."""
    if isinstance(thing, e.Energy):
        return [bits(thing.value(x)) for x in states], [bits(thing.gradient(x)) for x in states], thing.convexity, thing.bounds
    if isinstance(thing, g.AbstractGame):
        return [values_of(thing.energy(k, states), (states[k],)) for k in range(len(states))]
    if isinstance(thing, mf.Metric):
        distances = [bits(float(thing.distance(*pair))) for pair in (states, states[::-1]) if pair]
        return [*distances, sorted(thing.__dict__.items())]
    if isinstance(thing, g.Critic):
        return [bits(part) for part in thing.values_and_slopes(*states, CLOUD)]
    if isinstance(thing, e.GaussianKernel | e.LaplaceKernel | e.EnergyKernel | e.UserKernel):
        return [bits(part) for part in thing.integrate(CLOUD, CLOUD + 1.0, WEIGHTS)]
    return bits(thing) if isinstance(thing, mf.State) else repr(thing) + repr(sorted(getattr(thing, "__dict__", {}).items()))


@pytest.mark.usefixtures("own")
def test_every_class_of_the_tables_has_an_example() -> None:
    assert {type(thing) for thing, _ in EXAMPLES} >= set(recipes.ARGUMENTS)
    assert recipes.CLASSES.keys() == {kind.__name__ for kind in recipes.ARGUMENTS}


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("k", range(len(EXAMPLES)), ids=lambda k: f"{k} {type(EXAMPLES[k][0]).__name__}")
def test_an_object_made_from_its_recipe_is_the_same_bit_for_bit(k: int, tmp_path: Path) -> None:
    thing, states = EXAMPLES[k]
    first: dict[str, np.ndarray] = {}
    recipe = recipes.encode(thing, first)
    assert not recipes.has_python(recipe)
    write_arrays(tmp_path / "a.npz", first)
    through_disk = files.from_text(files.to_text({"recipe": recipe}), "here")["recipe"]
    again = recipes.decode(through_disk, read_arrays(tmp_path / "a.npz"))
    assert type(again) is type(thing)
    second: dict[str, np.ndarray] = {}
    assert recipes.encode(again, second) == recipe == through_disk
    assert {name: bits(values) for name, values in first.items()} == {name: bits(values) for name, values in second.items()}
    assert values_of(again, states) == values_of(thing, states)
    assert recipes.differences("x", recipe, recipe, first, second) == []


@pytest.mark.parametrize("k", range(len(EXAMPLES)), ids=lambda k: f"{k} {type(EXAMPLES[k][0]).__name__}")
def test_functions_of_the_user_are_noted_by_name_and_not_kept(k: int) -> None:
    made: dict[str, np.ndarray] = {}
    recipe = recipes.encode(EXAMPLES[k][0], made)
    uses = [name for name in OWN if json.dumps({"python": name}) in json.dumps(recipe)]
    assert recipes.has_python(recipe) == bool(uses)
    if uses:
        with pytest.raises(mf.UnsupportedError, match="functions and classes of the user's"):
            recipes.decode(recipe, made)


class OwnMetric(mf.Metric):
    """The user's."""


def test_what_is_not_in_the_tables_is_the_users(library: Path) -> None:
    for value in (lambda x: x, square, OwnMetric, object(), np.array(["x"]), 1.0j, {"a": 1}, b"x", np.zeros(2, dtype=object)):
        assert recipes.has_python(recipes.encode([1, (value,)], {}))
    for value in (None, True, 1, 1.5, "x", [1], (), np.zeros(2), np.int64(3), np.float32(0.5), np.arange(3)):
        assert not recipes.has_python(recipes.encode([1, (value,)], {}))


DIFFERENT: list[tuple[Any, Any, str, str, str]] = [
    (e.Entropy(0.5), e.Entropy(0.25), "problem.temperature", "0.5", "0.25"),
    (e.Entropy(1.0), e.Entropy(np.nextafter(1.0, 2.0)), "problem.temperature", "1.0", "1.0000000000000002"),
    (e.Entropy(), DECAY, "problem", "Entropy", "Quadratic"),
    ((1, "x", 2.5), (1, "y", 2.5), "problem[1]", "'x'", "'y'"),
    ((1, 2), (1, 2, 3), "problem", "[1, 2]", "[1, 2, 3]"),
    (None, 1.5, "problem", "None", "1.5"),
    (2, 2.0, "problem", "2", "2.0"),
    (mf.Vector([1.0, 2.0]), mf.Vector([1.0, 3.0]), "problem.values", "entry 1 is 2.0", "3.0"),
    (mf.Vector([1.0, 0.0]), mf.Vector([1.0, -0.0]), "problem.values", "entry 1 is 0.0", "-0.0"),
    (mf.Vector([1.0, 2.0]), mf.Vector(1.0), "problem.values", "(2,)", "(1,)"),
    (e.MMD(LAW, "gaussian"), e.MMD(LAW, "gaussian", 2.0), "problem.kernel.bandwidth", "1.0", "2.0"),
    (e.MMD(LAW, "gaussian"), e.MMD(LAW, "laplace"), "problem.kernel", "GaussianKernel", "LaplaceKernel"),
    (e.Entropy() + DECAY, e.Entropy() + 2.0 * DECAY, "problem[1][0]", "1.0", "2.0"),
    (e.Function(square, itself), DECAY, "problem", "Function", "Quadratic"),
    (mf.Histogram(MASSES, LINE), mf.Histogram(MASSES, mf.Grid([(0.0, 2.0)], 6)), "problem.grid.bounds[0][1]", "1.0", "2.0"),
]


@pytest.mark.parametrize("k", range(len(DIFFERENT)))
def test_differences_are_named(k: int) -> None:
    old, new, where, there, here = DIFFERENT[k]
    (line,) = differ(old, new)
    assert line.startswith(f"{where} (")
    before, _, after = line.partition(" there, ")
    assert there in before
    assert here in after
    assert differ(old, old) == differ(new, new) == []


def test_every_difference_is_named_and_functions_of_the_user_are_none() -> None:
    assert len(differ((1, e.Entropy(0.5), mf.Vector(1.0)), (2, e.Entropy(0.25), mf.Vector(2.0)))) == 3
    assert differ(square_of_fields(), square_of_fields()) == []


@pytest.mark.parametrize("name", [name for name in FLOWS if name != "field"])
def test_solving_into_the_run_of_another_problem_names_the_difference(name: str, copied: Callable[[str], Path]) -> None:
    run = copied(name)
    before = {path: path.read_bytes() for path in of_a_run(run)}
    with pytest.raises(ValueError, match=r"holds the run of another problem; these differ: .*t_span\[1\] \(.*0\.75 here\)"):
        mf.solve(DECAY, mf.Vector(1.0), 0.75, 0.125, store=run)
    assert {path: path.read_bytes() for path in of_a_run(run)} == before
