"""Small network generators that do not collapse: the law takes the steps, the network follows.

Why it works. (1) Gradient descent in the parameters sees the force on the law through J J^T, whose eigenvalues fall off so fast
that what makes a mode sharp is hardly learnt; damped Gauss-Newton steps (`schemes.Projected`) undo that factor, and the network
moves as the law would. (2) The critic is the Kantorovich potential of the samples in its best response, that is the energy
W2^2/2: its force, the way to the place that optimal transport assigns, is as strong between two modes as anywhere, where the
force of a kernel dies out with the missing mass. And the flow of W2^2/2 keeps its assignment all along (it moves along a
geodesic), so that the network fits one fixed map, the Brenier map of its first law, and no moving target. A critic that lags
behind loses both: with potentials that are kept while the law moves, the network collapses to one mode. (3) The first law is a
Gaussian with the mean and the principal axes of the samples, which a network generates after one least-squares fit of its last
layer. From a law that is squeezed by random layers the cells of the assignment are thin, and the same flow stays at a third of
high quality.

The dual flow proper, against a law of neurons (`train_dual_network`), covers too once (1) and (3) hold: the network does what
the law of particles does against this critic, and that law covers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, EnergyDistance, SlicedWasserstein, SquaredWasserstein
from measureflow.games import GAN, Generated, MLPGenerator, NeuronCritic
from measureflow.games.tangent import Tangent
from measureflow.modes.definitions import Coverage
from measureflow.modes.laws import CRITIC_STEP, GENERATOR_STEP, SPREAD, random_neurons
from measureflow.modes.targets import Target
from measureflow.schemes import Projected
from measureflow.schemes.projected import OUTPUTS
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Particles, Vector, atoms

LATENT = 16
"""Largest dimension of the latent law by default."""

RIDGE = 1e-6
CRITICS = ("transport", "energy distance", "sliced")


@final
@dataclass(frozen=True, eq=False, repr=False)
class NetworkRun:
    """A network generator that was trained, and how.

    Attributes
    ----------
    target : Target
    generator : MLPGenerator
        In units in which the samples have mean 0 and root mean square spread 1.
    solution : Solution
        Of the parameters.
    mean : ndarray, shape (d,)
    scale : float
        From those units to the target's.
    cpu_seconds : float
        Of the flow and its preparation, all threads.
    """

    target: Target
    generator: MLPGenerator
    solution: Solution
    mean: np.ndarray
    scale: float
    cpu_seconds: float

    def sample(self, n: int, seed: Any = None, step: int = -1) -> np.ndarray:
        """Return n points (n, d) from fresh latent points, after a row of the solution."""
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((check.integer("n", n, least=1), self.generator.latent.dim))
        rows = self.solution.states[step]
        state = rows[0] if isinstance(rows, tuple) else rows
        assert isinstance(state, Vector)
        fresh = MLPGenerator(Particles(z), self.generator.dim, self.generator.widths, self.generator.activation)
        return self.mean + self.scale * fresh.points(state)[0]

    def cover(self, seed: int = 0, step: int = -1) -> Coverage:
        """Return the coverage by as many fresh samples as the target's evaluation has."""
        return self.target.cover(self.sample(self.target.samples, seed, step))

    @cached_property
    def coverage(self) -> tuple[Coverage, ...]:
        """The coverage after each row of the solution."""
        return tuple(self.cover(step=k) for k in range(len(self.solution.t)))

    def __repr__(self) -> str:
        return f"NetworkRun({self.target!r}, {self.generator!r}, {self.cpu_seconds:.1f} s)"


def linear_start(generator: MLPGenerator, matrix: np.ndarray, mean: np.ndarray, seed: int = 0) -> Vector:
    """Return parameters for which the network is near the affine map z -> mean + z matrix.

    Hidden layers are random, matrices N(0, 1/in) and biases N(0, 1); the last layer is fitted by least squares on the latent law.

    Parameters
    ----------
    generator : MLPGenerator
    matrix : ndarray, shape (latent dimension, d)
    mean : ndarray, shape (d,)
    seed : int

    Examples
    --------
    >>> import numpy as np
    >>> import measureflow as mf
    >>> z = np.random.default_rng(0).standard_normal((200, 2))
    >>> generator = mf.games.MLPGenerator(mf.Particles(z), 2, (64, 64), "relu")
    >>> points = generator.points(linear_start(generator, np.eye(2), np.zeros(2)))[0]
    >>> bool(np.abs(points - z).max() < 0.1)
    True
    """
    rng = np.random.default_rng(seed)
    parts = []
    for n, m in zip(generator.layers[:-2], generator.layers[1:-1], strict=True):
        parts += [rng.standard_normal(n * m) / np.sqrt(n), rng.standard_normal(m)]
    last = (generator.layers[-2] + 1) * generator.dim
    z, _ = atoms(generator.latent)
    tangent = Tangent(np.concatenate([*parts, np.zeros(last)]), generator.layers, generator.activation, z)
    hidden = np.column_stack([tangent.levels[-2], np.ones(len(z))])
    gram = hidden.T @ hidden
    gram[np.diag_indices(len(gram))] += RIDGE * np.trace(gram) / len(gram)
    return Vector(np.concatenate([*parts, np.linalg.solve(gram, hidden.T @ (mean + z @ matrix)).ravel()]))


def principal_map(samples: np.ndarray, latent: int) -> np.ndarray:
    """Return a matrix (latent, d) that takes N(0, I) to a Gaussian with the leading principal axes of centred samples.

    Examples
    --------
    >>> import numpy as np
    >>> np.abs(principal_map(np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 2)).round(3)
    array([[2.121, 0.   ],
           [0.   , 0.707]])
    """
    _, sizes, axes = np.linalg.svd(samples, full_matrices=False)
    kept = min(latent, samples.shape[1], len(sizes))
    matrix = np.zeros((latent, samples.shape[1]))
    matrix[:kept] = (sizes[:kept, None] / np.sqrt(len(samples))) * axes[:kept]
    return matrix


def train_network(
    target: Target,
    seed: int = 0,
    *,
    widths: Any = (128, 128),
    activation: str = "tanh",
    latent: int | None = None,
    samples: int = 2000,
    critic: str = "transport",
    t: float = 4.0,
    tau: float = 0.5,
    passes: int = 400,
    rows: int = 128,
    damping: float | None = None,
    store: Any = None,
) -> NetworkRun:
    """Train a network generator by the flow of its law, projected on what it can generate.

    Parameters
    ----------
    target : Target
    seed : int
        Of the training samples, the latent points and the first parameters.
    widths : sequence of int
        Hidden layers.
    activation : {"tanh", "relu", "softplus"}
    latent : int, optional
        Dimension of the Gaussian latent law; None: the target's, at most 16.
    samples : int
        Number of training samples, and of latent points that are pushed in training.
    critic : {"transport", "energy distance", "sliced"}
        In its best response: Kantorovich's potential (the energy W2^2/2), the energy distance, the mean over 50 lines.
    t, tau : float
        Time and step of the flow; for "transport" tau must be at most 1, and the distance falls by 1 - tau in a step.
    passes, rows : int
        See `Projected`.
    damping : float, optional
        See `Projected`; None: 1e-4, and 0.1 for more than four outputs, where smaller ones leave the range of the tangent.
    store : path, optional
        See `solve`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from measureflow.modes import mixture
    >>> two = mixture([[0.0, 0.0], [3.0, 0.0]], 0.1)
    >>> run = train_network(two, widths=(16, 16), samples=200, t=2.0, passes=100, rows=64)
    >>> run.cover().modes
    2
    """
    check.choice("critic", critic, CRITICS)
    started = time.process_time()
    goal, generator, start, mean, scale = _prepared(target, seed, widths, activation, latent, samples, 1.0, 1.0)
    chosen = (1e-4 if target.dim <= OUTPUTS else 0.1) if damping is None else damping
    scheme = Projected("explicit", passes, rows=rows, damping=chosen, seed=seed)
    energy = Generated(_energy(critic, goal), generator)
    sol = solve(energy, start, t, tau, scheme=scheme, store=store)
    return NetworkRun(target, generator, sol, mean, scale, time.process_time() - started)


def train_dual_network(
    target: Target,
    seed: int = 0,
    *,
    widths: Any = (128, 128),
    activation: str = "tanh",
    latent: int | None = None,
    samples: int = 1000,
    neurons: int = 400,
    loss: str = "least squares",
    steps: int = 400,
    passes: int = 10,
    rows: int = 128,
    save_at: int | None = None,
    store: Any = None,
) -> NetworkRun:
    """Train a network generator by the dual flow against a law of neurons, with the steps and speeds of `laws.neuron_flow`.

    Players move in turn; the generator's law takes an explicit step, which the network follows.

    Parameters
    ----------
    target, seed, widths, activation, latent, samples, rows, store
        As in `train_network`.
    neurons : int
        Atoms of the critic.
    loss : str
        See `games.GAN`.
    steps, passes : int
        Steps of the flow, and Gauss-Newton steps in each.
    save_at : int, optional
        Keep every so many steps; None: a tenth of them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from measureflow.modes import mixture
    >>> two = mixture([[0.0, 0.0], [3.0, 0.0]], 0.1)
    >>> run = train_dual_network(two, widths=(16, 16), samples=100, neurons=50, steps=60, passes=5, rows=50)
    >>> run.cover().modes
    2
    """
    count, steps = check.integer("neurons", neurons, least=1), check.integer("steps", steps, least=1)
    started = time.process_time()
    goal, generator, start, mean, scale = _prepared(target, seed, widths, activation, latent, samples, SPREAD, 0.5)
    tau = GENERATOR_STEP * target.dim * SPREAD**2
    sol = solve(
        GAN(goal, loss, critic=NeuronCritic("tanh", dtype="float32"), generator=generator),
        (start, random_neurons(goal.points, count, seed)),
        steps * tau,
        tau,
        scheme=Projected("explicit", passes, rows=rows, coupling="alternating", seed=seed),
        speeds=(1.0, CRITIC_STEP / tau),
        save_at=max(1, steps // 10) if save_at is None else save_at,
        store=store,
    )
    return NetworkRun(target, generator, sol, mean, scale, time.process_time() - started)


def _prepared(
    target: Target, seed: int, widths: Any, activation: str, latent: int | None, samples: int, spread: float, width: float
) -> tuple[Particles, MLPGenerator, Vector, np.ndarray, float]:
    """Return data of this spread, a generator, its first parameters (a law so wide), and what takes the data to the target's."""
    check.instance("target", target, Target, "a Target")
    count = check.integer("samples", samples, least=2)
    draws, latents, network = np.random.SeedSequence(check.seed("seed", seed)).spawn(3)
    data = target.sample(count, np.random.default_rng(draws))
    mean, scale = data.mean(axis=0), float(np.sqrt(np.mean(np.var(data, axis=0)))) / spread
    goal = (data - mean) / scale
    dim = min(target.dim, LATENT) if latent is None else check.integer("latent", latent, least=1)
    z = np.random.default_rng(latents).standard_normal((count, dim))
    generator = MLPGenerator(Particles(z), target.dim, widths, activation)
    first = linear_start(generator, width * principal_map(goal, dim), np.zeros(target.dim), int(network.generate_state(1)[0]))
    return Particles(goal), generator, first, mean, scale


def _energy(critic: str, goal: Particles) -> Energy:
    if critic == "transport":
        return SquaredWasserstein(goal)
    return EnergyDistance(goal) if critic == "energy distance" else SlicedWasserstein(goal, 50, seed=0)
