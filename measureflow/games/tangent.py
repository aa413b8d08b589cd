"""A network near its parameters: what it does to points, how outputs move with parameters, and its tangent kernel."""

from __future__ import annotations

from functools import cached_property
from typing import final

import numpy as np

from measureflow.games.network import Layers

PROBES = 8
"""Random combinations of outputs that the mean kernel of a network with many outputs is estimated from."""


@final
class Tangent:
    """A network G_theta, theta -> G_theta(z) in R^k, linearised on points z (n, d): J = dG/dtheta, (k n, p), is never formed.

    Parameters
    ----------
    parameters : ndarray, shape (p,)
        Laid out as in `MLPGenerator`.
    layers : tuple of int
        Widths (d, ..., k).
    activation : {"tanh", "relu", "softplus"}
    points : ndarray, shape (n, d)

    Examples
    --------
    >>> import numpy as np
    >>> line = Tangent(np.array([2.0, 1.0]), (1, 1), "tanh", np.array([[3.0]]))
    >>> line.outputs, line.push(np.array([0.5, 0.0])), line.pull(np.array([[1.0]])), line.kernel()
    (array([[7.]]), array([[1.5]]), array([3., 1.]), array([[10.]]))
    """

    def __init__(self, parameters: np.ndarray, layers: Layers, activation: str, points: np.ndarray) -> None:
        self.layers = layers
        self.activation = activation
        self.matrices, self.biases = split(parameters, layers)
        self.levels = [points]
        for k, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            sums = self.levels[-1] @ matrix + bias
            self.levels.append(sums if k == len(self.matrices) - 1 else activated(sums, activation))

    @property
    def outputs(self) -> np.ndarray:
        """G_theta(z), (n, k)."""
        return self.levels[-1]

    @cached_property
    def _slopes(self) -> list[np.ndarray]:
        """Slopes of the activations of the hidden layers, from their values."""
        return [slope(level, self.activation) for level in self.levels[1:-1]]

    def _deltas(self, seeds: np.ndarray) -> list[np.ndarray]:
        """Return the slopes of seeds . G in the sums of every layer, from seeds (..., n, k)."""
        found = [seeds]
        for matrix, slopes in zip(self.matrices[:0:-1], self._slopes[::-1], strict=True):
            found.append((found[-1] @ matrix.T) * slopes)
        return found[::-1]

    def pull(self, forces: np.ndarray) -> np.ndarray:
        """Return J^T forces, (p,), from forces (n, k)."""
        parts = zip(self.levels[:-1], self._deltas(forces), strict=True)
        return np.concatenate([part for level, delta in parts for part in ((level.T @ delta).ravel(), delta.sum(axis=0))])

    def push(self, change: np.ndarray) -> np.ndarray:
        """Return J change, (n, k), from a change of the parameters, (p,)."""
        moved = np.zeros_like(self.levels[0])
        for k, (matrix, bias) in enumerate(zip(*split(change, self.layers), strict=True)):
            moved = moved @ self.matrices[k] + self.levels[k] @ matrix + bias
            moved = moved if k == len(self._slopes) else moved * self._slopes[k]
        return moved

    def kernel(self) -> np.ndarray:
        """Return J J^T, (k n, k n), the outputs of a kind together."""
        n, k = self.outputs.shape
        units = np.broadcast_to(np.eye(k)[:, None, :], (k, n, k))
        total = np.zeros((k, n, k, n))
        for level, delta in zip(self.levels[:-1], self._deltas(units), strict=True):
            base = level @ level.T + 1.0
            if delta is units:
                for a in range(k):
                    total[a, :, a] += base
                continue
            for a, b in ((i, j) for i in range(k) for j in range(i + 1)):
                block = base * (delta[a] @ delta[b].T)
                total[a, :, b] += block
                if a != b:
                    total[b, :, a] += block.T
        return total.reshape(k * n, k * n)

    def mean_kernel(self, rng: np.random.Generator) -> np.ndarray:
        """Return the mean over the outputs of their own blocks of J J^T, (n, n), unbiased, from random combinations of them."""
        n, k = self.outputs.shape
        signs = rng.choice([-1.0, 1.0], size=(PROBES, 1, k)) / np.sqrt(PROBES * k)
        total = np.zeros((n, n))
        for level, delta in zip(self.levels[:-1], self._deltas(np.broadcast_to(signs, (PROBES, n, k))), strict=True):
            wide = np.moveaxis(delta, 0, 1).reshape(n, -1)
            total += (level @ level.T + 1.0) * (wide @ wide.T)
        return total


def split(parameters: np.ndarray, layers: Layers) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the matrices (in, out) and the biases (out,) of all layers, as views."""
    matrices, biases, start = [], [], 0
    for n, m in zip(layers[:-1], layers[1:], strict=True):
        matrices.append(parameters[start : start + n * m].reshape(n, m))
        biases.append(parameters[start + n * m : start + (n + 1) * m])
        start += (n + 1) * m
    return matrices, biases


def activated(sums: np.ndarray, activation: str) -> np.ndarray:
    """Return the activation of sums."""
    if activation == "tanh":
        return np.tanh(sums)
    return np.maximum(sums, 0.0) if activation == "relu" else np.logaddexp(sums, 0.0)


def slope(values: np.ndarray, activation: str) -> np.ndarray:
    """Return the slope of an activation from its values."""
    if activation == "tanh":
        return 1.0 - values**2
    return (values > 0.0).astype(float) if activation == "relu" else -np.expm1(-values)
