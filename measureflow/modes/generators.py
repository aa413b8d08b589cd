"""Networks as generators of targets made of modes: runs, first parameters, and data in their units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.games import MLPGenerator
from measureflow.games.tangent import Tangent
from measureflow.modes.definitions import Coverage
from measureflow.modes.laws import spread_of
from measureflow.modes.run import AbstractRun
from measureflow.modes.targets import Target
from measureflow.states import Particles, Vector, atoms

LATENT = 16
"""Largest dimension of the latent law by default."""

RIDGE = 1e-6


@final
@dataclass(frozen=True, eq=False, repr=False)
class NetworkRun(AbstractRun):
    """What training did with a network generator on a target; all that is measured is measured at fresh latent points.

    Attributes
    ----------
    method, target, seed, solution, evaluations
        See `AbstractRun`; the solution is of the parameters.
    generator : MLPGenerator
        In units in which the samples have mean 0 and a spread of `1 / scale` of theirs.
    mean : ndarray, shape (d,)
    scale : float
        From those units to the target's.

    Examples
    --------
    >>> from measureflow import modes
    >>> two = modes.mixture([[0.0, 0.0], [3.0, 0.0]], 0.1)
    >>> run = modes.train_network(two, widths=(8,), samples=50, t=1.0, passes=20, rows=20)
    >>> run.sample(3, seed=0).shape, len(run.coverages)
    ((3, 2), 3)
    """

    generator: MLPGenerator
    mean: np.ndarray
    scale: float

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
    def coverages(self) -> list[Coverage]:
        """The coverage of the target at every row."""
        return [self.cover(step=k) for k in range(len(self.solution.t))]


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


def prepared(
    target: Target, seed: int, widths: Any, activation: str, latent: int | None, samples: int, spread: float, width: float
) -> tuple[Particles, MLPGenerator, Vector, np.ndarray, float]:
    """Return data of this spread, a generator, its first parameters (a law so wide), and what takes the data to the target's."""
    check.instance("target", target, Target, "a Target")
    count = check.integer("samples", samples, least=2)
    draws, latents, network = np.random.SeedSequence(check.seed("seed", seed)).spawn(3)
    data = target.sample(count, np.random.default_rng(draws))
    mean, scale = data.mean(axis=0), spread_of(data) / spread
    goal = (data - mean) / scale
    dim = min(target.dim, LATENT) if latent is None else check.integer("latent", latent, least=1)
    z = np.random.default_rng(latents).standard_normal((count, dim))
    generator = MLPGenerator(Particles(z), target.dim, widths, activation)
    first = linear_start(generator, width * principal_map(goal, dim), np.zeros(target.dim), int(network.generate_state(1)[0]))
    return Particles(goal), generator, first, mean, scale
