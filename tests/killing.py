"""Flows that are killed while they write to a run directory, resumed, and compared bit for bit with flows that were left alone.

::

    python tests/killing.py                     # the names of all cases
    python tests/killing.py 40 vector wall      # kill these, 40 times each

All of it happens in a process without threads, which imports the package once and forks a child for every flow: `Driver` starts
one XX that change files.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import measureflow as mf
from measureflow import energies as e
from measureflow import files, store
from measureflow import games as g

THREADS = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Set to 1: threads do not survive a fork."""

LONGEST = 120
"""Seconds after which a child that hangs is ended."""

# the flows ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A flow: the arguments of `solve`, made anew in every child, and how it ends."""

    make: Callable[[], dict[str, Any]]
    ending: str
    own: bool
    """Whether the problem holds functions that files do not keep."""


CASES: dict[str, Case] = {}


def case(name: str, ending: str = "done", own: bool = False) -> Callable[..., Any]:
    def enter(make: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        CASES[name] = Case(make, ending, own)
        return make

    return enter


def flow(problem: Any, initial: Any, t_span: Any, tau: Any, **options: Any) -> dict[str, Any]:
    return {"problem": problem, "initial": initial, "t_span": t_span, "tau": tau, **options}


def cloud(n: int, d: int, seed: int, equal: bool = True) -> mf.Particles:
    rng = np.random.default_rng(seed)
    weights = rng.random(n) + 0.2
    return mf.Particles(rng.normal(size=(n, d)), None if equal else weights / weights.sum())


def event(function: Callable[[float, Any], float], terminal: bool = False, direction: float = 0.0) -> Any:
    def watched(t: float, state: Any) -> float:
        return function(t, state)

    watched.terminal, watched.direction = terminal, direction  # type: ignore[attr-defined]
    return watched


def shares(cells: int, seed: int) -> mf.Histogram:
    masses = np.random.default_rng(seed).random(cells) + 0.1
    return mf.Histogram(masses / masses.sum(), mf.Grid([(0.0, 1.0)], cells))


def pair(x: Any, y: Any) -> tuple[mf.Vector, mf.Vector]:
    return mf.Vector(x), mf.Vector(y)


@case("vector")
def _() -> dict[str, Any]:
    return flow(e.Quadratic(), mf.Vector([1.0, -2.0]), (2.0, 3.335), 0.01)


@case("cells, linearised")
def _() -> dict[str, Any]:
    wall, law = np.arange(9) == 7, shares(9, 3)
    start = law.replace(np.where(wall, 0.0, law.masses) / (1.0 - law.masses[7]))
    energy = e.PowerEntropy(2) + e.Quadratic() + e.Obstacle(wall)
    return flow(energy, start, 0.3, 0.005, scheme=mf.JKO(inner="linearised"))


@case("cells, bdf2")
def _() -> dict[str, Any]:
    return flow(e.KL(shares(9, 4)), shares(9, 3), 0.2, 0.004, scheme="bdf2")


@case("vector, strides")
def _() -> dict[str, Any]:
    return flow(e.Quadratic(2.0), mf.Vector([1.0, -2.0]), 1.0, 0.0014, scheme="explicit", save_at=5)


@case("vector, times")
def _() -> dict[str, Any]:
    return flow(e.Quadratic(), mf.Vector([1.0, 0.3]), 2.0, 0.01, save_at=np.linspace(0.013, 1.93, 301) ** 1.01)


@case("own function", own=True)
def _() -> dict[str, Any]:
    energy = e.Function(lambda x: float(np.sum(np.cosh(x))), np.sinh)
    return flow(energy, mf.Vector([1.0, -2.0, 0.4]), 0.49, 0.007)


@case("particles")
def _() -> dict[str, Any]:
    return flow(e.MMD(cloud(12, 2, 0), "gaussian"), cloud(9, 2, 1), 3.0, 0.02, scheme="explicit")


@case("weighted particles")
def _() -> dict[str, Any]:
    energy = e.MMD(cloud(5, 2, 0, equal=False), "gaussian") + 0.1 * e.Quadratic()
    return flow(energy, cloud(6, 2, 1, equal=False), 1.0, 0.015, speeds=2.0)


@case("weighted atoms of a line")
def _() -> dict[str, Any]:
    return flow(e.EnergyDistance(cloud(7, 1, 0, equal=False)), cloud(5, 1, 1, equal=False), 1.0, 0.015)


@case("blobs")
def _() -> dict[str, Any]:
    energy = e.BlobEntropy(0.5, 0.3) + e.BlobPowerEntropy(2.0, 0.4, mollifier="compact") + e.Quadratic()
    return flow(energy, cloud(9, 2, 1, equal=False), 0.6, 0.02)


@case("sliced, batches")
def _() -> dict[str, Any]:
    energy = e.SlicedWasserstein(cloud(40, 3, 0), 6, 1, 0.5) + 2.0 * e.SlicedEnergyDistance(cloud(30, 3, 2), 5)
    return flow(energy, cloud(9, 3, 1, equal=False), 0.6, 0.02, scheme="explicit", batch=10, seed=4)


@case("plan kept")
def _() -> dict[str, Any]:
    return flow(e.SquaredWasserstein(cloud(9, 2, 0)), cloud(9, 2, 1), 0.6, 0.02, scheme="explicit")


@case("sinkhorn divergence")
def _() -> dict[str, Any]:
    return flow(e.SinkhornDivergence(cloud(7, 2, 0, equal=False), 0.5), cloud(6, 2, 1), 0.5, 0.05, scheme="explicit")


@case("quantiles")
def _() -> dict[str, Any]:
    return flow(e.Entropy(0.5) + e.Quadratic(), mf.Quantiles(np.linspace(-1.0, 2.0, 9) ** 3), 1.0, 0.007)


@case("quantiles, auto")
def _() -> dict[str, Any]:
    start = mf.Quantiles(np.linspace(-1.0, 2.0, 9) ** 3)
    return flow(e.Entropy(0.5) + e.Quadratic(), start, 1.0, "auto", rtol=1e-2, save_at=2)


@case("gaussian")
def _() -> dict[str, Any]:
    start = mf.Gaussian([1.0, 2.0], [[2.0, 0.3], [0.3, 0.5]])
    return flow(e.Entropy() + e.Quadratic(), start, 1.0, 0.007)


@case("gaussian, explicit")
def _() -> dict[str, Any]:
    start = mf.Gaussian([1.0, 2.0], [[2.0, 0.3], [0.3, 0.5]])
    target = mf.Gaussian([0.0, 1.0], [[1.0, -0.2], [-0.2, 0.4]])
    return flow(e.SquaredWasserstein(target), start, 0.49, 0.007, scheme="explicit")


@case("field", own=True)
def _() -> dict[str, Any]:
    grid = mf.Grid([(0.0, 1.0), (-1.0, 2.0)], (3, 4), (True, False))
    energy = e.Function(lambda u: 0.5 * np.sum(u**2) * grid.cell_volume, lambda u: np.asarray(u))
    start = mf.Field(np.random.default_rng(1).normal(size=(3, 4)), grid)
    return flow(energy, start, 0.28, 0.007, metric=mf.Sobolev(-0.5))


@case("histogram")
def _() -> dict[str, Any]:
    masses = np.random.default_rng(3).random(12)
    start = mf.Histogram(masses / masses.sum(), mf.Grid([(0.0, 1.0)], 12))
    return flow(e.Entropy() + e.Quadratic(), start, 0.051, 0.00075)


@case("network that follows its law")
def _() -> dict[str, Any]:
    energy = g.Generated(e.EnergyDistance(cloud(30, 2, 1)), g.MLPGenerator(cloud(40, 2, 0), 2, (6,)))
    scheme = mf.Projected(passes=3, rows=16, seed=3)
    return flow(energy, energy.generator.initial(1), 1.0, 0.02, scheme=scheme)


@case("network GAN, batches of both sides")
def _() -> dict[str, Any]:
    generator, critic = g.MLPGenerator(cloud(40, 2, 0), 2, (6,)), g.MLPCritic((8, 5))
    penalty = [g.R1(0.1), g.GradientPenalty(0.2), g.Clip(2.0)]
    game = g.GAN(cloud(30, 2, 1), "non-saturating", critic=critic, generator=generator, penalty=penalty, pack=2)
    start = generator.initial(0), game.admissible(critic.initial(4, 1))
    return flow(game, start, 0.6, 0.015, scheme=mf.Explicit("alternating"), batch=(20, 15), seed=3)


@case("field critic, H1")
def _() -> dict[str, Any]:
    grid = mf.Grid([(-4.0, 4.0), (-4.0, 4.0)], (9, 8))
    game = g.GAN(cloud(30, 2, 1), "hinge", critic=g.FieldCritic(grid, 1.0), penalty=g.Ridge(0.5))
    start = cloud(20, 2, 0), mf.Field(np.zeros((9, 8)), grid)
    return flow(game, start, 0.6, 0.02, scheme="explicit", metric=(None, mf.Sobolev(1)), batch=(None, 7), seed=1)


@case("histogram, Fisher-Rao")
def _() -> dict[str, Any]:
    start = shares(9, 3)
    return flow(e.KL(shares(9, 4)) + e.Quadratic(), start, 0.49, 0.007, metric=mf.FisherRao())


@case("mirror, implicit")
def _() -> dict[str, Any]:
    energy = e.Entropy(0.3) + e.MMD(cloud(5, 1, 0), "gaussian")
    return flow(energy, shares(9, 3), 0.4, 0.01, scheme=mf.Mirror(implicit=True), metric=mf.FisherRao())


@case("matrix game, mirror")
def _() -> dict[str, Any]:
    game = g.MatrixGame(np.random.default_rng(0).normal(size=(3, 4)))
    return flow(game, (shares(3, 1), shares(4, 2)), 1.0, 0.015, scheme=mf.Mirror("optimistic"), metric=mf.FisherRao())


@case("atoms with weights that change, mirror")
def _() -> dict[str, Any]:
    energy = e.MMD(cloud(5, 2, 0, equal=False), "gaussian") + e.Box(-4.0, 4.0)
    return flow(energy, cloud(6, 2, 1), 2.0, 0.015, scheme=mf.Mirror(), metric=mf.WassersteinFisherRao(1.0, 2.0))


@case("atoms with weights that change, auto")
def _() -> dict[str, Any]:
    scheme, energy = mf.Splitting("vim", "rk2"), e.MMD(cloud(5, 2, 0), "gaussian")
    return flow(energy, cloud(6, 2, 1), 1.0, "auto", scheme=scheme, metric=mf.WassersteinFisherRao(), rtol=1e-4)


@case("weights of atoms, Fisher-Rao")
def _() -> dict[str, Any]:
    return flow(e.MMD(cloud(5, 2, 0), "gaussian"), cloud(6, 2, 1), 1.0, 0.015, metric=mf.FisherRao())


@case("game of laws with weights")
def _() -> dict[str, Any]:
    features = g.GAN(cloud(9, 3, 0), critic=g.NeuronCritic("tanh"), penalty=g.Ridge(0.5))
    start = cloud(7, 3, 1), cloud(6, 5, 2)
    return flow(features, start, 0.49, 0.007, scheme=mf.Explicit("alternating"), metric=(mf.WassersteinFisherRao(), None))


@case("histogram, split")
def _() -> dict[str, Any]:
    scheme = mf.Splitting(reaction="implicit mirror", symmetric=False)
    return flow(e.KL(shares(9, 4)), shares(9, 3), 0.2, 0.005, scheme=scheme, metric=mf.WassersteinFisherRao(0.1, 1.0))


@case("mode weights")
def _() -> dict[str, Any]:
    start = shares(4, 1), mf.Vector(np.zeros(4))
    return flow(g.ModeWeights(shares(4, 0), 0.2), start, 1.0, 0.015, metric=(mf.FisherRao(), None), speeds=(1.0, 2.0))


@case("regularised laws")
def _() -> dict[str, Any]:
    game = g.Regularised(g.LinearQuadratic(1.0, 2.0, 0.5), [e.Entropy(0.3), e.Entropy()])
    return flow(game, (mf.Gaussian(1.0, 2.0), mf.Gaussian(0.0, 0.1)), 1.0, 0.01, scheme=mf.JKO("alternating"))


@case("bilinear, simultaneous")
def _() -> dict[str, Any]:
    return flow(g.Bilinear([[1.0, 0.5], [0.0, 2.0]]), pair([1.0, 0.0], [0.3, -1.0]), 2.0, 0.01, scheme="explicit")


@case("bilinear, alternating")
def _() -> dict[str, Any]:
    return flow(g.Bilinear(1.0), pair(1.0, 0.5), 2.0, 0.01, scheme=mf.JKO("alternating"), speeds=(1.0, 3.0), save_at=2)


@case("bilinear, implicit")
def _() -> dict[str, Any]:
    return flow(g.Bilinear(1.0), pair(1.0, 0.5), 1.0, 0.015, scheme=mf.JKO("implicit"))


@case("bilinear, auto")
def _() -> dict[str, Any]:
    return flow(g.Bilinear(1.0), pair(1.0, 0.5), 1.0, "auto", scheme=mf.Explicit("alternating"), rtol=5e-3)


@case("dirac, inner steps")
def _() -> dict[str, Any]:
    return flow(g.DiracGAN("wgan"), pair(1.0, 0.2), 1.0, 0.01, scheme=mf.JKO("alternating", inner_steps=(1, 3)))


@case("dirac, stopped by an event", ending="event")
def _() -> dict[str, Any]:
    watched = [event(lambda t, z: z[1].values[0]), event(lambda t, z: z[0].values[0] + 0.5, terminal=True, direction=-1.0)]
    return flow(g.DiracGAN("wgan"), pair(1.0, -0.2), 9.0, 0.01, scheme=mf.Explicit("alternating"), events=watched)


@case("bilinear, noisy")
def _() -> dict[str, Any]:
    game = g.Noisy(g.Bilinear(np.eye(2)), ([0.5, 1.0], [0.0, 0.3]))
    return flow(game, pair([1.0, 0.0], [0.3, -1.0]), 0.49, 0.007, scheme=mf.Explicit("alternating"), batch=4, seed=11)


@case("quadratic game, cooperative")
def _() -> dict[str, Any]:
    return flow(g.QuadraticGame(1.0, -0.7, 0.5, -1.2), pair(1.0, 0.3), 0.49, 0.007, scheme=mf.JKO("symmetric"))


@case("pursuit")
def _() -> dict[str, Any]:
    start = mf.Quantiles(np.linspace(-1.0, 1.0, 5) ** 3)
    return flow(g.Pursuit(), (start, mf.Quantiles(2.0 + 2.0 * start.values)), 0.5, 0.007, scheme="explicit")


@case("bilinear, second order")
def _() -> dict[str, Any]:
    return flow(g.Bilinear([[1.0, 0.5], [0.0, 2.0]]), pair([1.0, 0.0], [0.3, -1.0]), 1.0, 0.007, scheme=mf.VIM("optimistic"))


@case("bdf2 of games")
def _() -> dict[str, Any]:
    return flow(g.LinearQuadratic(0.5, 1.5, 0.2), pair(1.0, 0.3), 1.0, 0.007, scheme=mf.BDF2("optimistic"), speeds=(1.0, 2.0))


@case("bdf2 of quantiles")
def _() -> dict[str, Any]:
    start = mf.Quantiles(np.linspace(-1.0, 2.0, 9) ** 3)
    return flow(e.Entropy(0.5) + e.Quadratic(), start, 1.0, 0.009, scheme="bdf2")


@case("extrapolated bdf2 of a gaussian")
def _() -> dict[str, Any]:
    start = mf.Gaussian([1.0, 2.0], [[2.0, 0.3], [0.3, 0.5]])
    return flow(e.Entropy() + e.Quadratic(), start, 0.5, 0.009, scheme="extrapolated-bdf2")


@case("extrapolated midpoints of quantiles")
def _() -> dict[str, Any]:
    start = mf.Quantiles(np.linspace(-1.0, 2.0, 9) ** 3)
    return flow(e.Entropy(0.01) + e.Quadratic(30.0), start, 1.0, 0.02, scheme="extrapolated-vim")


@case("midpoints of cells")
def _() -> dict[str, Any]:
    return flow(e.PowerEntropy(2.0) + e.Quadratic(3.0), shares(12, 3), 0.2, 0.005, scheme="vim")


@case("rk4 of cells")
def _() -> dict[str, Any]:
    return flow(e.Entropy() + e.Quadratic(3.0), shares(12, 3), 0.05, 0.0015, scheme="rk4")


@case("three stages of a gaussian, auto")
def _() -> dict[str, Any]:
    start = mf.Gaussian([1.0, 2.0], [[2.0, 0.3], [0.3, 0.5]])
    return flow(e.Entropy() + e.Quadratic(), start, 0.5, "auto", scheme="three-stage", rtol=1e-5, atol=1e-8)


@case("richardson of a porous medium")
def _() -> dict[str, Any]:
    return flow(e.PowerEntropy(2.0), mf.Quantiles(np.linspace(-1.0, 2.0, 9) ** 3), 1.0, 0.015, scheme="richardson")


@case("forward and backward of quantiles")
def _() -> dict[str, Any]:
    energy = e.Entropy(0.5) + e.MMD(cloud(5, 1, 0), "gaussian")
    return flow(energy, mf.Quantiles(np.linspace(-1.0, 2.0, 9) ** 3), 1.0, 0.01, scheme=mf.ForwardBackward(("MMD",)))


@case("vim of a gaussian, auto")
def _() -> dict[str, Any]:
    start = mf.Gaussian([1.0, 2.0], [[2.0, 0.3], [0.3, 0.5]])
    return flow(e.Entropy() + e.Quadratic(), start, 0.5, "auto", scheme="vim", rtol=1e-5, atol=1e-8)


@case("rk4 of a Dirac-GAN")
def _() -> dict[str, Any]:
    return flow(g.DiracGAN("gan"), pair(1.0, 0.2), 1.0, 0.015, scheme="rk4")


@case("adjoint steps")
def _() -> dict[str, Any]:
    return flow(g.DiracGAN("gan"), pair(1.0, 0.2), 1.0, 0.015, scheme=mf.JKO("adjoint"))


@case("langevin")
def _() -> dict[str, Any]:
    scheme = mf.Langevin((0.3, 0.0), "alternating", seed=5)
    return flow(g.Bilinear(1.0), (cloud(7, 1, 0), mf.Vector(0.5)), 1.0, 0.007, scheme=scheme)


@case("unrolled steps")
def _() -> dict[str, Any]:
    return flow(g.Bilinear(1.0), pair(1.0, 0.5), 0.7, 0.01, scheme=mf.Explicit("alternating", unrolled=3), speeds=(1.0, 2.0))


@case("consensus")
def _() -> dict[str, Any]:
    return flow(g.Consensus(g.DiracGAN("gan"), 0.3), pair(1.0, 0.5), 0.5, 0.025, scheme="explicit")


@case("dirac, gradient penalty")
def _() -> dict[str, Any]:
    game, start = g.DiracGAN("wgan", gradient_penalty=(0.7, 1.0)), pair(1.0, 0.2)
    return flow(game, start, 6.0, 0.05, scheme=mf.JKO("alternating", inner_steps=(1, 2)))


@case("dirac, regularised")
def _() -> dict[str, Any]:
    game = g.DiracGAN("nsgan", clip=1.5, r1=0.3, instance_noise=0.5, consensus=0.4)
    return flow(game, pair(1.0, 0.2), 0.7, 0.01, scheme=mf.Explicit("alternating"), speeds=(1.0, 3.0))


def neurons(penalty: float = 0.5) -> tuple[Any, Any]:
    game = g.GAN(cloud(40, 2, 0), critic=g.NeuronCritic("tanh"), penalty=g.Ridge(penalty))
    return game, (cloud(6, 2, 1), cloud(9, 4, 2))


@case("neurons in mini-batches")
def _() -> dict[str, Any]:
    options = {"scheme": mf.Explicit("alternating", inner_steps=(1, 2)), "speeds": (1.0, 5.0)}
    return flow(*neurons(), 0.7, 0.01, batch=8, seed=3, **options)


@case("neurons in mini-batches, auto")
def _() -> dict[str, Any]:
    return flow(*neurons(), 0.5, "auto", batch=8, seed=3, scheme="explicit", rtol=2e-3, save_at=2)


@case("one law in mini-batches, auto")
def _() -> dict[str, Any]:
    watched = event(lambda t, law: law.mean()[0] + 0.15)
    return flow(e.MMD(cloud(40, 2, 0), "gaussian"), cloud(6, 2, 1), 3.0, "auto", batch=30, seed=3, rtol=1e-2, events=watched)


@case("kernel game", own=True)
def _() -> dict[str, Any]:
    def difference(x: Any, y: Any) -> Any:
        return x[:, None, :] - y[None, :, :]

    game = g.KernelGame(
        lambda x, y: np.sin(difference(x, y)).sum(axis=2),
        lambda x, y: np.cos(difference(x, y)),
        lambda x, y: -np.cos(difference(x, y)),
        clip=(4.0, None),
    )
    return flow(
        game, (cloud(4, 1, 0), mf.Quantiles([-1.0, 0.0, 0.5])), 2.0, 0.012, scheme="explicit", save_at=np.arange(0, 2, 0.013)
    )


@case("kernel game, implicit", own=True)
def _() -> dict[str, Any]:
    game = g.KernelGame(lambda x, y: x @ y.T, lambda x, y: y[None] + 0.0 * x[:, None], lambda x, y: x[:, None] + 0.0 * y[None])
    return flow(game, (cloud(3, 2, 0), cloud(4, 2, 1, equal=False)), 0.2, 0.007, scheme=mf.JKO("implicit"))


@case("own game", own=True)
def _() -> dict[str, Any]:
    game = g.Game([lambda x, o: (0.5 * x @ x + x @ o[0], x + o[0]), lambda y, o: (0.25 * np.sum(y**4) - y @ o[0], y**3 - o[0])])
    return flow(
        game, pair([1.0, 2.0], [0.5, -1.0]), 1.4, 0.02, scheme=mf.JKO("alternating"), events=event(lambda t, z: z[0].values[0])
    )


def beyond(bound: float, energy: Callable[[Any], float], slope: Callable[[Any], Any]) -> Any:
    """Return an energy that is not a number where the first coordinate is beyond the bound."""
    return e.Function(
        lambda x: energy(x) if abs(x[0]) <= bound else np.nan, lambda x: slope(x) if abs(x[0]) <= bound else x * np.nan
    )


@case("wall", own=True)
def _() -> dict[str, Any]:
    """Whole steps lead from x to -1.5 x, and beyond the wall; half steps lead back."""
    energy = beyond(1.0, lambda x: 25.0 * float(x @ x), lambda x: 50.0 * x)
    return flow(energy, mf.Vector(0.9), 10.0, 0.05, scheme="explicit", save_at=1)


@case("wall, auto", own=True)
def _() -> dict[str, Any]:
    energy = beyond(
        1.0, lambda x: -float(np.sqrt(1.01 - x[0]) + 0.01 * x[1]), lambda x: np.array([0.5 / np.sqrt(1.01 - x[0]), -0.01])
    )
    return flow(energy, mf.Vector([0.99, 0.0]), 2.0, "auto", rtol=1e-2)


@case("no way on", ending="not_finite", own=True)
def _() -> dict[str, Any]:
    energy = e.Function(
        lambda x: 0.5 * float(x @ x) if x[0] > 0.5 else np.nan, lambda x: np.asarray(x) if x[0] > 0.5 else np.asarray(x) * np.nan
    )
    return flow(energy, mf.Vector(1.0), 2.0, 0.005, scheme="explicit")


@case("no way on, strides, auto", ending="not_finite", own=True)
def _() -> dict[str, Any]:
    energy = beyond(2.0, lambda x: -0.5 * float(x @ x), lambda x: -np.asarray(x))
    return flow(energy, mf.Vector(1.0), 2.0, "auto", rtol=2e-3, save_at=3, scheme="explicit")


@case("a solver that fails", own=True)
def _() -> dict[str, Any]:
    """Whole steps near the start need more iterations than there are."""
    energy = e.Function(
        lambda x: float(np.sum(x**4) + 0.1 * (x[0] - x[1]) ** 2),
        lambda x: 4.0 * x**3 + 0.2 * (x[0] - x[1]) * np.array([1.0, -1.0]),
    )
    return flow(energy, mf.Vector([3.0, -1.0]), 3.0, 0.02, scheme=mf.JKO(max_iterations=5))


# flows on which the tests act while they run -----------------------------------------------------------------------------

PLACE = 0.5
"""Where the energy of the case "act" calls `ACTION`, once: in step 139, after two segments."""

ACTION: list[Callable[[], None]] = []


@case("act", own=True)
def _() -> dict[str, Any]:
    def slope(x: Any) -> Any:
        if x[0] < PLACE and ACTION:
            ACTION.pop()()
        return np.asarray(x)

    return flow(e.Function(lambda x: 0.5 * float(x @ x), slope), mf.Vector(1.0), 1.0, 0.005, scheme="explicit")


def wait_for_go(folder: Path) -> None:
    """Say that the flow is there, and hold it until it may go."""
    beside(folder, "waits").touch()
    while not beside(folder, "go").exists():
        time.sleep(0.005)


def press(times: int = 1) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)


def fail() -> None:
    raise KeyError("the user's own")


def fill(size: int = 2000) -> None:
    """Let no file grow beyond a size, as on a full disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def empty() -> None:
    """Let files grow again."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


ACTS: dict[str, Callable[[Path], None]] = {
    "wait": wait_for_go,
    "press": lambda folder: press(),
    "press twice": lambda folder: press(2),
    "fail": lambda folder: fail(),
    "fill": lambda folder: fill(),
    "remove": lambda folder: shutil.rmtree(folder),
}

# moments -----------------------------------------------------------------------------------------------------------------


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


DEEDS: dict[str, Callable[[], None]] = {"die": die, "refuse": refuse, "press": press}


class Moments:
    """Counts the moments around all calls that change files, and does something, once, at one of them."""

    def __init__(self, at: int | None = None, deed: str = "die") -> None:
        self.at = at
        self.deed = DEEDS[deed]
        self.seen: list[str] = []
        self.file = ""
        for name in ("open", "fsync", "replace", "unlink", "mkdir", "ftruncate"):
            setattr(os, name, self._around(name, getattr(os, name)))
        files.open = self._open  # type: ignore[attr-defined]

    def reach(self, when: str, what: str) -> None:
        self.seen.append(f"{when} {what} {self.file}".rstrip())
        if len(self.seen) - 1 == self.at:
            self.deed()

    def _around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            if args[0] == os.devnull:  # of a process that the standard library starts
                return call(*args, **options)
            if not isinstance(args[0], int) and (name != "open" or kind(args[0]) == "lock"):
                self.file = kind(args[0])
            self.reach("before", name)
            result = call(*args, **options)
            self.reach("behind", name)
            return result

        return wrapped

    def _open(self, path: Path, mode: str) -> Torn:
        self.file = kind(path)
        self.reach("before", "creating")
        return Torn(open(path, mode), self)


class Torn:
    """A file that is caught half written, more seldom the longer it gets."""

    def __init__(self, file: Any, moments: Moments) -> None:
        self.file = file
        self.moments = moments
        self.count = 0

    def write(self, data: Any) -> None:
        self.count += 1
        if self.count & (self.count - 1):
            self.file.write(data)
            return
        half = len(data) // 2
        self.file.write(data[:half])
        self.file.flush()
        self.moments.reach("within", "writing")
        self.file.write(data[half:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *reason: object) -> None:
        self.file.close()


def kind(path: Any) -> str:
    """Return what a file in a run directory is, without number and process."""
    name = Path(path).name.removeprefix(".").split(".")[0]
    return (
        "segment" if name.isdigit() else name if name in ("run", "inputs", "checkpoint", "done", "lock", "segments") else "folder"
    )


PACES = {"usual": (1.0, 0.02), "rare": (np.inf, 0.02), "often": (0.0, 1.0), "each": (0.0, np.inf)}
"""Values of SHORTEST and SHARE: checkpoints now and then, only with segments, half of the time, and after every step."""


# children ----------------------------------------------------------------------------------------------------------------


class ChildFailed(Exception):
    """A child ended otherwise than it should."""


def beside(folder: Path, name: str) -> Path:
    return folder.with_name(f"{folder.name}.{name}")


def fork(work: Callable[[], None], errors: Path) -> int:
    """Start a child; if its work raises, `errors` says what."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.alarm(LONGEST)
        work()
        code = 0
    except BaseException:
        errors.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def killed(pid: int, errors: Path) -> bool:
    """Wait for a child; return whether it was killed, rather than done."""
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise ChildFailed(errors.read_text() if errors.exists() else f"a child ended with status {status}")
    return False


def run(name: str, folder: Path, again: str = "solve", pace: str = "usual", **options: Any) -> mf.Solution:
    """Solve a case, or go on with it, in this process."""
    store.SHORTEST, store.SHARE = PACES[pace]
    made = CASES[name].make()
    if again == "resume" and (folder / "run.json").exists():
        problem = made["problem"] if CASES[name].own else None
        return mf.resume(folder, problem, events=made.get("events", ()), **options)
    return mf.solve(**made, store=folder, **options)


def perform(name: str, folder: Path, options: dict[str, Any]) -> None:
    """Solve a case in a child, with everything that may befall it, and write down what came of it."""
    act, at, deed = (options.pop(key, None) for key in ("act", "at", "deed"))
    ACTION[:] = [lambda: ACTS[act](folder)] if act else []
    if at is not None:
        Moments(at, deed)
    told: dict[str, Any] = {"raised": []}
    try:
        sol = run(name, folder, **options)
    except BaseException as error:
        told = {"raised": [kind.__name__ for kind in type(error).__mro__], "message": str(error)}
        told["notes"] = getattr(error, "__notes__", [])
        sol = getattr(error, "solution", None)
    empty()
    told["solution"] = None if sol is None else summary(sol)
    beside(folder, "told").write_text(json.dumps(told))


def summary(sol: mf.Solution) -> dict[str, Any]:
    """Return what a test asks of a flow in another process."""
    try:
        t, energies = sol.t.tolist(), sol.energies.tolist()
        last = sol.row(-1)[0].coordinates.tolist()
    except OSError as error:
        return {"status": str(sol.status), "lost": type(error).__name__}
    return {"status": str(sol.status), "t": t, "energies": energies, "last": last}


# what is compared --------------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, Any]:
    """Return what a run directory holds: bytes, and arrays by file and name; all but processor times and the lock."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock"):
        name = str(path.relative_to(folder))
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                found.update({f"{name}/{key}": (a.dtype.str, a.shape, a.tobytes()) for key, a in arrays.items()})
        elif name == "done.json":
            text = json.loads(path.read_text())
            del text["crc32"], text["outcome"]["cpu_seconds"]
            found[name] = text
        else:
            found[name] = path.read_bytes()
    return found


def differing(a: Path, b: Path) -> list[str]:
    """Return the names of what two run directories do not share."""
    x, y = contents(a), contents(b)
    return sorted(name for name in x.keys() | y.keys() if x.get(name) != y.get(name))


def bits(sol: mf.Solution, whole: bool = True) -> dict[str, list[bytes]]:
    """Return a flow's times and energies, or all its numbers, as the bytes of every row."""
    tables = {"t": sol.t, "energies": sol.energies}
    if whole:
        info = sol.info
        tables |= {name: info[name] for name in ("distance", "residual", "iterations")}
        tables |= {"speeds": sol.speeds, "slopes": sol.slopes}
    found = {name: [row.tobytes() for row in values] for name, values in tables.items()}
    if whole:
        found["states"] = [b"".join(part.tobytes() for x in sol.row(k) for part in parts(x)) for k in range(len(sol))]
    return found


def parts(x: Any) -> list[np.ndarray]:
    names = ("points", "weights", "values", "masses", "mean", "cov")
    return [getattr(x, name) for name in names if isinstance(getattr(x, name, None), np.ndarray)]


def require(true: bool, what: str) -> None:
    if not true:
        raise AssertionError(what)


# killing -----------------------------------------------------------------------------------------------------------------


class Victim:
    """One case, killed again and again."""

    def __init__(self, name: str, folder: Path, seed: int) -> None:
        self.name = name
        self.case = CASES[name]
        self.folder = folder
        self.errors = folder / "errors.txt"
        self.rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self.where: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)
        self.plain = mf.solve(**self.case.make(), throw=False)  # compiles what children need, too
        self.numbers = bits(self.plain)
        require(self.plain.status == self.case.ending, f"the flow ended with {self.plain!r}")
        gc.freeze()
        self.reference = folder / "reference"
        started = time.monotonic()
        self.moments = {"rare": self.counted(self.reference, "rare")}
        self.duration = time.monotonic() - started
        self.ended(self.reference, "resume", whole=True)

    def counted(self, folder: Path, pace: str) -> dict[str, list[int]]:
        """Solve, and return the numbers of all moments by what happens there."""
        notes = beside(folder, "json")

        def count() -> None:
            seen = Moments().seen
            run(self.name, folder, pace=pace, throw=False)
            notes.write_text(json.dumps(seen))

        self.child(count)
        self.compare(folder)
        found: dict[str, list[int]] = {}
        for k, moment in enumerate(json.loads(notes.read_text())):
            found.setdefault(moment, []).append(k)
        return found

    def child(self, work: Callable[[], None]) -> None:
        require(not killed(fork(work, self.errors), self.errors), "a child was killed by another process")

    def ended(self, folder: Path, again: str, pace: str = "usual", whole: bool = False) -> None:
        """Bring a run to its end, and compare; then ask for it again, which must change nothing."""
        self.looked_at(folder)
        sol = run(self.name, folder, again, pace, throw=False)
        self.same_ending(sol)
        for name, rows in bits(sol, whole).items():
            require(rows == self.numbers[name], f"{name} differs from the flow in memory")
        self.same_ending(run(self.name, folder, throw=False))

    def same_ending(self, sol: mf.Solution) -> None:
        mine, other = sol.outcome, replace(self.plain.outcome, cpu_seconds=sol.outcome.cpu_seconds)
        require(mine == other, f"{mine} is not {other}")

    def looked_at(self, folder: Path) -> None:
        """Read what a killed run left: the first rows of the reference, or nothing yet."""
        if not (folder / "run.json").exists():
            return
        for name, rows in bits(mf.load(folder), whole=False).items():
            require(rows == self.numbers[name][: len(rows)], f"{name} of a killed run are not those of the first rows")

    def compare(self, folder: Path) -> None:
        differ = differing(self.reference, folder)
        require(not differ, f"files differ from those of a run that was not killed: {differ}")

    def kill(self, folder: Path, again: str, pace: str, at: int | None, share: float) -> bool:
        """Go on with a run until it is killed: at a moment, or after a share of its time; return whether it was."""

        def work() -> None:
            if at is not None:
                Moments(at)
            run(self.name, folder, again, pace, throw=False)

        pid = fork(work, self.errors)
        if at is None:
            time.sleep(share * self.duration)
            os.kill(pid, signal.SIGKILL)
        return killed(pid, self.errors)

    def trial(self, most: int, moment: str | None = None, pace: str = "rare") -> int:
        """Kill a run up to `most` times, first at a moment if one is given, bring it to its end, compare; return the kills."""
        folder = self.folder / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        if self.case.ending not in ("done", "event") and moment is None and self.rng.random() < 0.5:
            shutil.copytree(self.reference, folder)  # a flow that failed tries again
        kills = 0
        for k in range(most):
            at, share = None, self.rng.uniform(0.0, 1.0 if k == 0 else 0.6)
            if moment is not None and k == 0:
                at = int(self.rng.choice(self.moments[pace][moment]))
            elif self.rng.random() < 0.5:
                pace, at = "each", int(self.rng.integers(0, self.rng.choice([12, 3 * len(self.plain)])))
            else:
                pace = str(self.rng.choice(["usual", "often"]))
            again = str(self.rng.choice(["solve", "resume"]))
            if not self.kill(folder, again, pace, at, share):
                break
            self.where[f"{moment}, {pace}" if moment is not None and k == 0 else "time" if at is None else "moment"] += 1
            kills += 1
        self.child(lambda: self.ended(folder, str(self.rng.choice(["solve", "resume"]))))
        self.compare(folder)
        return kills

    def report(self, started: float) -> dict[str, Any]:
        info = self.plain.info
        sizes = {"rows": len(self.plain), "segments": len(list((self.reference / "segments").iterdir()))}
        counts = {"rejected": info["rejected"], "events": len(info["events"]), "status": str(self.plain.status)}
        return {"kills": self.where.total(), "where": dict(self.where), "seconds": time.monotonic() - started, **sizes, **counts}


def killed_often(name: str, folder: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill a case so many times, at random times and moments."""
    started = time.monotonic()
    victim = Victim(name, folder, seed)
    done = trials = 0
    while done < kills:
        require(trials < 4 * kills + 10, f"{trials} trials gave {done} kills")
        trials += 1
        moment = str(victim.rng.choice(list(victim.moments["rare"]))) if trials % 2 else None
        done += victim.trial(min(int(victim.rng.integers(1, 4)), kills - done), moment)
    return victim.report(started)


def killed_everywhere(name: str, folder: Path, pace: str, step: int = 1, seed: int = 0) -> dict[str, Any]:
    """Kill a case at every kind of moment, or at every step-th."""
    started = time.monotonic()
    victim = Victim(name, folder, seed)
    if pace not in victim.moments:
        victim.moments[pace] = victim.counted(folder / "counted", pace)
    for moment in list(victim.moments[pace])[::step]:
        require(victim.trial(1, moment, pace) == 1, f"the run was not killed {moment}")
    return victim.report(started)


# the process -------------------------------------------------------------------------------------------------------------


def start(name: str, folder: Path, **options: Any) -> int:
    """Start a flow in a child."""
    beside(folder, "told").unlink(missing_ok=True)
    return fork(lambda: perform(name, folder, options), beside(folder, "errors"))


def wait(pid: int, folder: Path) -> dict[str, Any] | None:
    """Return what came of a child; None if it was killed."""
    if killed(pid, beside(folder, "errors")):
        return None
    told: dict[str, Any] = json.loads(beside(folder, "told").read_text())
    return told


def do(name: str, folder: Path, **options: Any) -> dict[str, Any] | None:
    """Start a flow in a child and wait for it."""
    return wait(start(name, folder, **options), folder)


def moments(name: str, folder: Path) -> dict[str, list[int]]:
    """Return the moments of a run, which stays as the folder "reference"."""
    return Victim(name, folder, 0).moments["rare"]


CALLS = {call.__name__: call for call in (killed_often, killed_everywhere, start, wait, do, moments)}


def answer(line: str) -> dict[str, Any]:
    name, options = json.loads(line)
    if "folder" in options:
        options["folder"] = Path(options["folder"])
    try:
        return {"result": CALLS[name](**options)}
    except Exception:
        return {"error": traceback.format_exc()}


def serve() -> None:
    """Answer one line of standard input after the other."""
    for line in sys.stdin:
        print(json.dumps(answer(line)), flush=True)


def one_thread() -> dict[str, str]:
    """Return an environment in which no library starts threads."""
    return {**os.environ, **dict.fromkeys(THREADS, "1")}


class Driver:
    """The process that forks, as its parent sees it."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "--serve"]
        self.process = subprocess.Popen(command, env=one_thread(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, call: str, **options: Any) -> Any:
        """Return the result of one of `CALLS`."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(
            json.dumps([call, {key: str(v) if isinstance(v, Path) else v for key, v in options.items()}]) + "\n"
        )
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the driver has died"
        found = json.loads(line)
        assert "error" not in found, found["error"]
        return found["result"]

    def close(self) -> None:
        self.process.communicate()


def main(words: list[str]) -> None:
    warnings.simplefilter("error")
    os.fsync = lambda descriptor: None  # what a killed process gave to the system is not lost
    if words == ["--serve"]:
        return serve()
    if not words:
        print("\n".join(CASES))
        return None
    for name in words[1:]:
        with tempfile.TemporaryDirectory() as home:
            report = killed_often(name, Path(home), int(words[0]), seed=int(time.time()))
        print(name, json.dumps(report, indent=1))
    return None


if __name__ == "__main__":
    if one_thread() != os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], one_thread())
    main(sys.argv[1:])
