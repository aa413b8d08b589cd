"""From points of a law to inputs of the critic: packing and instance noise, and forces on inputs back to forces on points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np

from measureflow.energies.quadrature import NODES, hermite_rule
from measureflow.games.losses import Sample


@final
@dataclass(frozen=True)
class Inputs:
    """What the critic sees of a law: tuples of `pack` independent points, blurred by N(0, noise^2 I).

    Tuple i holds point i and random other points, each point once in every place; the noise is a cubature rule: Gauss-Hermite up
    to dimension 3, else 2 d points of degree 3.
    """

    pack: int
    noise: float
    seed: int

    def of(self, points: np.ndarray, weights: np.ndarray) -> Sample:
        """Return the inputs made of points (n, d) and weights (n,)."""
        if self.pack > 1:
            orders = self.orders(len(points))
            points = np.concatenate([points[order] for order in orders], axis=1)
        if self.noise > 0.0:
            nodes, shares = rule(points.shape[1])
            points = (points[:, None, :] + self.noise * nodes).reshape(-1, points.shape[1])
            weights = (weights[:, None] * shares).ravel()
        return Sample(points, weights)

    def back(self, count: int, values: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return first variation (n,) and its gradient (n, d) at n points from those at their inputs."""
        if self.noise > 0.0:
            _, shares = rule(slopes.shape[1])
            values = values.reshape(count, -1) @ shares
            slopes = np.einsum("nkd,k->nd", slopes.reshape(count, len(shares), -1), shares)
        if self.pack > 1:
            places = [np.argsort(order) for order in self.orders(count)]
            d = slopes.shape[1] // self.pack
            slopes = np.sum([slopes[place, k * d : (k + 1) * d] for k, place in enumerate(places)], axis=0)
            values = np.sum([values[place] for place in places], axis=0)
        return values, slopes

    def orders(self, count: int) -> list[np.ndarray]:
        """Return which point is in which place of every tuple."""
        rng = np.random.default_rng((self.seed, count))
        return [np.arange(count), *(rng.permutation(count) for _ in range(self.pack - 1))]


@cache
def rule(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes (k, dim) and weights (k,) for averages under N(0, I)."""
    if dim == 1:
        return hermite_rule(1)
    if dim <= 3 and dim in NODES:
        x, w = np.polynomial.hermite_e.hermegauss(7 if dim == 2 else 5)
        nodes = np.stack(np.meshgrid(*[x] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
        shares = np.prod(np.stack(np.meshgrid(*[w / w.sum()] * dim, indexing="ij"), axis=-1).reshape(-1, dim), axis=1)
        return nodes, shares
    nodes = np.sqrt(dim) * np.vstack([np.eye(dim), -np.eye(dim)])
    return nodes, np.full(2 * dim, 0.5 / dim)
