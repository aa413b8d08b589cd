"""Dual flows of a law of particles against a law of neurons, with steps, speeds and neurons that the data choose.

What makes them cover (theory, sections 7.2 and 8):

* *The loss damps the game.* The payoff of "least squares" is strictly concave in the critic's values, -(1 - D)^2/2 on the
  generated side and -(1 + D)^2/2 on the data, so that the critic forgets at the rate E phi phi^T.
* *The critic divides by the density.* Its best reply is D = (mu - nu)/(mu + nu), whatever the masses: a particle far from all
  data feels as much as a heavy mode does. With the loss "wasserstein" its pull falls with the masses that are still wrong, and
  the last strays take the longest (an MMD flow).
* *Mass reacts.* Particles that have come to a mode stay: between modes D has walls. Then modes hold other masses than the data,
  often half as much or twice, and D keeps a peak where a mode is too full, which pushes its particles out, and a pit where it is
  too empty, in which they clump. In the Wasserstein-Fisher-Rao metric masses grow by minus the first variation, at the rate
  `reaction`, through every wall; D levels out, and with it its slopes. Without reaction 3 or 4 % of the mass on the grid stays
  outside of the modes, and now and then a mode is lost for some time; with it neither.
* *A little ridge.* What neurons have no use for decays at the rate `ridge`, which calms the critic once masses are right. Too
  much of it is no cure: a tanh(w.x + b) is of second order in the neuron near 0, and every neuron whose discrepancy is below
  the ridge dies; then the generator freezes wherever it is (0.01 and more on the grid). The bend of a neuron crosses some
  sqrt(k) of k modes in the plane and feels so much of the mass, hence 0.015/sqrt(k).
* *Players move in turn*: the critic has seen the particles that it pulls. At once, modes of unequal widths are lost.

What is scale-free: coordinates are taken in units in which the data have the spread s = 3 (root mean square of their standard
deviations), as W2 weighs slopes, which are lengths^-1, against outer weights, which are none. With r a typical distance to the
8th neighbour per coordinate, slopes of neurons are even in their logarithm from 1/s, which sees the whole, to 0.28/r, which sees
a mode; half of them bend at data, half at random places about twice as wide, since outside of all bends D is constant and strays
would rest there. A step of the critic has length 1 (its values are of order 1), a step of the generator 0.03 d s^2: a particle
that feels |grad D| = 1/s moves by 0.03 d of the spread; where D is 1 above its mean, mass decays by e^-0.3 in a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.games import GAN, NeuronCritic, Ridge
from measureflow.games.penalties import Penalty
from measureflow.metrics import Wasserstein, WassersteinFisherRao
from measureflow.modes.run import Run
from measureflow.modes.targets import Target
from measureflow.schemes import Explicit, Scheme
from measureflow.solve import solve
from measureflow.states import Particles

NEIGHBOUR = 8
LARGEST = 4000
SPREAD = 3.0
"""Spread of the data in the units of a dual flow."""
GENERATOR_STEP, CRITIC_STEP = 0.03, 1.0
"""Step of the generator in units of d spread^2, and of the critic."""
REACTION, RIDGE = 0.3, 0.015
"""Reaction in a step of the generator, and ridge on the critic times the root of the number of modes."""


@final
@dataclass(frozen=True)
class Scales:
    """Lengths of data, per coordinate.

    Attributes
    ----------
    spread : float
        Root mean square of the standard deviations.
    near : float
        Median distance to the 8th nearest datum over sqrt(d).

    Examples
    --------
    >>> scales = scales_of(np.random.default_rng(0).standard_normal((1000, 2)))
    >>> round(scales.spread, 1), scales.near < 0.2
    (1.0, True)
    """

    spread: float
    near: float


def spread_of(points: np.ndarray) -> float:
    """Return the root mean square of the standard deviations of data (n, d), which must differ."""
    spread = float(np.sqrt(np.mean(np.var(points, axis=0))))
    if not spread > 0.0:
        raise ValueError("target must have samples that differ")
    return spread


def scales_of(points: np.ndarray) -> Scales:
    """Return the scales of data (n, d), of at most 4000 of them."""
    from scipy.spatial import cKDTree

    spread = spread_of(points)
    some = points[:LARGEST]
    count = min(NEIGHBOUR + 1, len(some))
    near = float(np.median(cKDTree(some).query(some, k=count)[0][:, -1]) / np.sqrt(points.shape[1]))
    return Scales(spread, max(near, 1e-3 * spread))


def random_neurons(points: np.ndarray, count: int, seed: int, sharpness: float = 0.28) -> Particles:
    """Return a law of `count` neurons (a, w, b) for data (n, d): a = 0, slopes |w| from 1/spread to sharpness/near.

    Examples
    --------
    >>> random_neurons(np.random.default_rng(0).standard_normal((100, 2)), 30, 0)
    Particles(n=30, d=4, equal weights)
    """
    rng, scales, dim = np.random.default_rng(seed), scales_of(points), points.shape[1]
    low = 1.0 / scales.spread
    high = max(sharpness / scales.near, low)
    slope = low * (high / low) ** rng.random((count, 1))
    direction = rng.standard_normal((count, dim))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    wide = points.mean(axis=0) + 1.5 * scales.spread * rng.standard_normal((count, dim))
    bend = points[rng.integers(len(points), size=count)] + rng.standard_normal((count, dim)) / slope
    bend = np.where(rng.random((count, 1)) < 0.5, wide, bend)
    weights = slope * direction
    return Particles(np.hstack([np.zeros((count, 1)), weights, -np.sum(weights * bend, axis=1, keepdims=True)]))


def neuron_flow(
    target: Target,
    seed: int = 0,
    *,
    method: str = "neurons",
    loss: str = "least squares",
    penalty: Penalty | tuple[Penalty, ...] | None = None,
    scheme: Scheme | None = None,
    particles: int | None = None,
    neurons: int | None = None,
    steps: int | None = None,
    generator_step: float = GENERATOR_STEP,
    critic_step: float = CRITIC_STEP,
    reaction: float = REACTION,
    start: float = 0.5,
    rows: int = 48,
    progress: bool = False,
) -> Run:
    """Solve the dual flow of particles, which move and react, against a law of tanh neurons, explicit steps in turn.

    Parameters
    ----------
    target : Target
    seed : int
    method : str
        The name that the run gets.
    loss, penalty
        Of `GAN`; penalty None: ``Ridge(0.015 / sqrt(modes))``.
    scheme : Scheme, optional
        None: ``Explicit("alternating")``.
    particles : int, optional
        Particles and data; None: 1000, and 20 a mode at least.
    neurons : int, optional
        None: 400, and 10 a mode at least, at most 1500.
    steps : int, optional
        None: 60 modes^(3/4), at most 2000; about a quarter of them cover.
    generator_step, critic_step : float
        Steps of the generator in units of d spread^2, and of the critic.
    reaction : float
        Rate at which masses react times the step of the generator; 0: particles of equal weights, which only move.
    start : float
        Standard deviation of the first generator law, in units of the spread.
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
    >>> run = neuron_flow(targets.ring(4, std=0.05), particles=200, neurons=100, steps=200)
    >>> run.final.modes
    4
    """
    check.instance("target", target, Target, "a Target")
    seed, steps = check.seed("seed", seed), _steps(target) if steps is None else check.integer("steps", steps, least=1)
    count = max(1000, 20 * len(target)) if particles is None else check.integer("particles", particles, least=2)
    width = min(max(400, 10 * len(target)), 1500) if neurons is None else check.integer("neurons", neurons, least=1)
    data, first, origin, unit = in_units(target, count, seed, check.scalar("start", start, above=0.0))
    tau = check.scalar("generator_step", generator_step, above=0.0) * target.dim * SPREAD**2
    eta = check.scalar("critic_step", critic_step, above=0.0) / tau
    rate = check.scalar("reaction", reaction, least=0.0) / tau
    critic = NeuronCritic("tanh", dtype="float32")
    solution = solve(
        GAN(Particles(data), loss, critic=critic, penalty=Ridge(RIDGE / len(target) ** 0.5) if penalty is None else penalty),
        (first, random_neurons(data, width, seed)),
        steps * tau,
        tau,
        metric=(WassersteinFisherRao(1.0, rate) if rate else Wasserstein(), Wasserstein()),
        scheme=Explicit("alternating") if scheme is None else scheme,
        speeds=(1.0, eta),
        save_at=stride(steps, rows),
        progress=progress,
        throw=False,
    )
    return Run(method, target, seed, solution, _evaluations(solution.info["steps"], scheme), origin, unit)


def draws(target: Target, count: int, seed: int, start: float) -> tuple[np.ndarray, Particles]:
    """Return `count` data and as many particles N(mean, (start spread)^2 I) of a generator that knows nothing else of them."""
    data_seed, start_seed = np.random.SeedSequence(seed).spawn(2)
    data = target.sample(count, data_seed)
    noise = np.random.default_rng(start_seed).standard_normal(data.shape)
    return data, Particles(data.mean(axis=0) + start * spread_of(data) * noise)


def in_units(target: Target, count: int, seed: int, start: float) -> tuple[np.ndarray, Particles, np.ndarray, float]:
    """Return the `draws` in coordinates in which the data have mean 0 and spread 3, and origin and unit of these."""
    data, first = draws(target, count, seed, start)
    origin, unit = data.mean(axis=0), spread_of(data) / SPREAD
    return (data - origin) / unit, Particles((first.points - origin) / unit), origin, unit


def _steps(target: Target) -> int:
    return min(round(60.0 * len(target) ** 0.75), 2000)


def stride(steps: int, rows: int) -> int:
    """Return every how many steps to keep a row."""
    return max(1, steps // check.integer("rows", rows, least=1))


def _evaluations(steps: Any, scheme: Scheme | None) -> int:
    twice = scheme is not None and scheme.coupling in ("extragradient", "optimistic")
    return int(steps) * (2 if twice else 1)
