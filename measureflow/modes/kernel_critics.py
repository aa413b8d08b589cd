"""Dual flows of a law of particles against critics that are linear in their weights: functions of a Hilbert space, or features.

The critic is a function D in the span of k(z_j, .), and ascends in the norm of the kernel's space (`games.RKHSCritic`), in turn
with the particles. What decides:

* *Where it can bend.* Half of the centres z_j are data, half lie at random places about twice as wide. With data alone the
  strays between the modes feel next to nothing: on the grid a third of the particles ends at high quality, not nine tenths.
* *The kernel's tail.* The kernels exp(-|x - y|/s), s the spread, and |x| + |y| - |x - y| have a kink, that is all scales at once,
  and reach everywhere. A Gaussian kernel has one scale: as wide as a quarter of the spread it resolves the ring, and leaves a
  seventh of the particles outside of the modes of the grid.
* *What damps.* Least squares forget at the rate E k(x, .) k(x, .)^T, which is small for sharp functions: there a ridge is needed,
  0.05 of k(x, x); without it the critic overshoots at the finest scale and throws particles out of the ring's modes. With the
  loss "wasserstein" the ridge alone damps; its best critic is the difference of kernel means over beta, and the flow that of the
  energy distance with inertia.

All modes of ring and grid are held by these critics. What is missing to full quality are strays, on which the pull falls with the
mass that is still wrong.

Features with random inner weights that stay (`feature_flow`) are neurons that cannot learn where to bend: 200 of them blur the
ring's modes, and see too little of the grid's.

Units, data and starts are those of `laws`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.kernels import EnergyKernel, GaussianKernel, Kernel, LaplaceKernel
from measureflow.games import GAN, FeatureCritic, Ridge, RKHSCritic
from measureflow.modes.laws import SPREAD, in_units, random_neurons, spread_of, stride
from measureflow.modes.run import Run
from measureflow.modes.targets import Target
from measureflow.schemes import Explicit
from measureflow.solve import solve
from measureflow.states import Particles, Vector


@final
class DistanceKernel(Kernel):
    """k(x, y) = |x| + |y| - |x - y|: the positive definite kernel of the energy distance.

    Its kernel means differ as those of -|x - y| do, up to a constant: half its squared MMD is the energy distance.

    Examples
    --------
    >>> DistanceKernel().integrate(np.array([[2.0, 0.0]]), np.array([[1.0, 0.0]]), np.ones(1))
    (array([2.]), array([[0., 0.]]))
    """

    cone = 1.0

    def integrate(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = EnergyKernel().integrate(x, y, weights)
        length, total = np.linalg.norm(x, axis=1), weights.sum()
        direction = x / np.where(length > 0.0, length, 1.0)[:, None]
        return values + total * length + weights @ np.linalg.norm(y, axis=1), slopes + total * direction

    def __repr__(self) -> str:
        return "DistanceKernel()"


@dataclass(frozen=True)
class _Choice:
    """What goes with a kernel: its width in units of the spread, loss, ridge, steps of generator and critic, number of steps."""

    kernel: Any
    width: float
    loss: str
    ridge: float
    generator_step: float
    critic_step: float
    steps: int


CHOICES = {
    "laplace": _Choice(LaplaceKernel, 1.0, "least squares", 0.05, 0.02, 1.0, 600),
    "energy": _Choice(lambda width: DistanceKernel(), 1.0, "wasserstein", 1.0, 0.15, 0.5, 700),
    "gaussian": _Choice(GaussianKernel, 0.25, "least squares", 0.05, 0.03, 1.0, 400),
}
"""By the kernel's name."""


def kernel_flow(
    target: Target,
    seed: int = 0,
    *,
    method: str | None = None,
    kernel: str = "laplace",
    ridge: float | None = None,
    particles: int | None = None,
    centres: int | None = None,
    wide: float = 0.5,
    steps: int | None = None,
    rows: int = 48,
    progress: bool = False,
) -> Run:
    """Solve the dual flow of particles against a critic in the space of a kernel, explicit steps in turn.

    Parameters
    ----------
    target : Target
    seed : int
    method : str, optional
        The name that the run gets; None: "kernel-" and the kernel's.
    kernel : {"laplace", "energy", "gaussian"}
        exp(-|x - y|/s) or exp(-|x - y|^2/(2 (s/4)^2)), s the spread, with the loss "least squares"; |x| + |y| - |x - y| with
        the loss "wasserstein".
    ridge : float, optional
        See `games.Ridge`; None: 0.05, 1 and 0.05. Steps of the critic are as short as a larger one needs.
    particles : int, optional
        Particles and data; None: 1000, and 10 a mode at least.
    centres : int, optional
        None: 500, and 8 a mode at least.
    wide : float
        Part of the centres that are not data, in [0, 1].
    steps : int, optional
        None: 600, 700 and 400.
    rows : int
        Number of rows that are kept besides the first.
    progress : bool

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from measureflow.modes import targets
    >>> run = kernel_flow(targets.ring(4, std=0.05), particles=200, centres=100, steps=200)
    >>> run.final.modes
    4
    """
    chosen = CHOICES[check.choice("kernel", kernel, tuple(CHOICES))]
    beta = chosen.ridge if ridge is None else check.scalar("ridge", ridge, least=0.0)
    data, first, origin, unit = _prepared(target, seed, particles)
    count = max(500, 8 * len(target)) if centres is None else check.integer("centres", centres, least=1)
    critic = RKHSCritic(chosen.kernel(chosen.width * SPREAD), centres_of(data, count, seed, wide))
    game = GAN(Particles(data), chosen.loss, critic=critic, penalty=Ridge(beta))
    step = chosen.critic_step * min(1.0, (1.0 + chosen.ridge) / (1.0 + beta))
    start = first, Vector(np.zeros(count))
    sol = _solved(game, start, chosen.steps if steps is None else steps, chosen.generator_step, step, rows, progress)
    return Run(f"kernel-{kernel}" if method is None else method, target, seed, sol, int(sol.info["steps"]), origin, unit)


def feature_flow(
    target: Target,
    seed: int = 0,
    *,
    method: str = "random-features",
    features: int = 200,
    particles: int | None = None,
    steps: int = 300,
    rows: int = 48,
    progress: bool = False,
) -> Run:
    """Solve the dual flow of particles against the outer weights of random neurons, least squares, explicit steps in turn.

    Parameters
    ----------
    target, seed, method, particles, steps, rows, progress
        As in `kernel_flow`, 300 steps.
    features : int
        Neurons tanh(w.x + b), as `laws.random_neurons` draws them; w and b stay.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from measureflow.modes import targets
    >>> run = feature_flow(targets.ring(4, std=0.05), particles=200, features=100, steps=100)
    >>> run.final.modes
    4
    """
    data, first, origin, unit = _prepared(target, seed, particles)
    count = check.integer("features", features, least=1)
    game = GAN(Particles(data), "least squares", critic=random_features(data, count, seed))
    sol = _solved(game, (first, Vector(np.zeros(count))), steps, 0.02, 1.0, rows, progress)
    return Run(method, target, seed, sol, int(sol.info["steps"]), origin, unit)


def _prepared(target: Target, seed: int, particles: int | None) -> tuple[np.ndarray, Particles, np.ndarray, float]:
    """Return data and first particles in the units of `laws`, and origin and unit of these."""
    check.instance("target", target, Target, "a Target")
    count = max(1000, 10 * len(target)) if particles is None else check.integer("particles", particles, least=2)
    return in_units(target, count, check.seed("seed", seed), 0.5)


def centres_of(data: np.ndarray, count: int, seed: int, wide: float = 0.5) -> np.ndarray:
    """Return centres (count, d) of a critic: data drawn at random, and a part of places from N(mean, (1.5 spread)^2 I).

    Examples
    --------
    >>> centres_of(np.random.default_rng(0).standard_normal((100, 2)), 30, 0).shape
    (30, 2)
    """
    rng = np.random.default_rng([seed, 1])
    around = round(count * check.scalar("wide", wide, least=0.0, most=1.0))
    places = data.mean(axis=0) + 1.5 * spread_of(data) * rng.standard_normal((around, data.shape[1]))
    inside = count - around
    return np.vstack([data[rng.choice(len(data), inside, replace=inside > len(data))], places])


def random_features(data: np.ndarray, count: int, seed: int) -> FeatureCritic:
    """Return the critic sum_j c_j tanh(w_j.x + b_j)/sqrt(count) with random neurons for data (n, d).

    Examples
    --------
    >>> critic = random_features(np.random.default_rng(0).standard_normal((100, 2)), 30, 0)
    >>> critic.values(Vector(np.ones(30)), np.zeros((5, 2))).shape
    (5,)
    """
    neurons = random_neurons(data, count, seed).points
    weights, bias, size = neurons[:, 1:-1], neurons[:, -1], 1.0 / np.sqrt(count)

    def features(x: np.ndarray) -> np.ndarray:
        return size * np.tanh(x @ weights.T + bias)

    def gradient(x: np.ndarray) -> np.ndarray:
        bent = size * (1.0 - np.tanh(x @ weights.T + bias) ** 2)
        return np.stack([bent * w for w in weights.T], axis=-1)

    return FeatureCritic(features, gradient)


def _solved(
    game: GAN, start: tuple[Particles, Vector], steps: int, generator_step: float, critic_step: float, rows: int, progress: bool
) -> Any:
    """Return the solution by explicit steps in turn, in the units of `laws`."""
    count = check.integer("steps", steps, least=1)
    tau = generator_step * start[0].dim * SPREAD**2
    return solve(
        game,
        start,
        count * tau,
        tau,
        scheme=Explicit("alternating"),
        speeds=(1.0, critic_step / tau),
        save_at=stride(count, rows),
        progress=progress,
        throw=False,
    )
