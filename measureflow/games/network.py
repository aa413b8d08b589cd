"""Parameters of multi-layer perceptrons as states: a `Vector` that holds, layer by layer, matrix (in, out) and biases (out,)."""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.states import State, Vector

ACTIVATIONS = ("tanh", "relu", "softplus")

Layers = tuple[int, ...]


def checked_widths(widths: Any) -> Layers:
    """Return the widths of the hidden layers as integers; none at all is an affine map."""
    if isinstance(widths, (tuple, list)) and not len(widths):
        return ()
    return tuple(check.integer("widths", k, least=1) for k in check.entries("widths", widths, None, "a positive integer a layer"))


def parameter_count(layers: Layers) -> int:
    """Return the number of parameters of a network with these layers."""
    return sum((n + 1) * m for n, m in zip(layers[:-1], layers[1:], strict=True))


def matrices(layers: Layers) -> list[tuple[slice, tuple[int, int]]]:
    """Return where the matrix of each layer lies in the parameters, and its shape (in, out)."""
    found, start = [], 0
    for n, m in zip(layers[:-1], layers[1:], strict=True):
        found.append((slice(start, start + n * m), (n, m)))
        start += (n + 1) * m
    return found


def random_parameters(layers: Layers, seed: Any, scale: Any) -> Vector:
    """Return matrices N(0, scale^2 / in) and biases 0."""
    rng = np.random.default_rng(check.seed("seed", seed))
    scale = check.scalar("scale", scale, above=0.0)
    values = np.zeros(parameter_count(layers))
    for cut, (n, m) in matrices(layers):
        values[cut] = rng.normal(scale=scale / np.sqrt(n), size=n * m)
    return Vector(values)


def check_parameters(name: str, state: State, layers: Layers) -> None:
    """Raise unless a state is the Vector of parameters of such a network."""
    vector = check.instance(name, state, Vector, "a Vector of network parameters")
    if len(vector) != parameter_count(layers):
        shape = " -> ".join(map(str, layers))
        raise ValueError(f"{name} must have the {parameter_count(layers)} parameters of the layers {shape}, got {vector!r}")
