"""States near a given one, drawn at random: second starts of contraction, test states of the EVI."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import numpy as np

from measureflow.states import Gaussian, Histogram, Particles, Quantiles, State

WIDTH = 0.5
"""Typical distance of a probe, in standard deviations of the law, or in sizes of the point."""


def probes(states: tuple[State, ...], count: int, seed: int) -> list[tuple[State, ...]]:
    """Return tuples of states near those given, of the same structure: in turn moved, stretched, and both and bent.

    Examples
    --------
    >>> from measureflow import Vector
    >>> [len(row) for row in probes((Vector([1.0, 2.0]), Vector(0.0)), 3, seed=0)]
    [2, 2, 2]
    """
    rng = np.random.default_rng(seed)
    ways = (moved, stretched, nearby)
    return [tuple(ways[k % 3](state, rng.normal) for state in states) for k in range(count)]


Normal = Callable[..., np.ndarray]


def moved(state: State, normal: Normal) -> State:
    """Return a law on R^d moved as it is; another state with one number added everywhere."""
    if isinstance(state, Gaussian):
        step = WIDTH * np.sqrt(np.trace(np.atleast_2d(state.cov)) / state.dim) * normal(size=np.shape(state.mean))
        return Gaussian(np.asarray(state.mean) + step, state.cov)
    if isinstance(state, Histogram):
        return nearby(state, normal)
    x = state.coordinates
    return state.replace(x + WIDTH * _size(x - x.mean(axis=0)) * normal(size=x.shape[1:]))


def stretched(state: State, normal: Normal) -> State:
    """Return a law on R^d stretched about its mean, a point or field about zero."""
    factor = float(np.exp(WIDTH * normal()))
    if isinstance(state, Gaussian):
        return Gaussian(state.mean, factor**2 * np.atleast_2d(state.cov))
    if isinstance(state, (Particles, Quantiles)):
        x = state.coordinates
        return state.replace(x.mean(axis=0) + factor * (x - x.mean(axis=0)))
    return nearby(state, normal) if isinstance(state, Histogram) else state.replace(factor * state.coordinates)


@singledispatch
def nearby(state: State, normal: Normal) -> State:
    """Return a state near one: moved, stretched and bent at random; points and fields are moved in every coordinate."""
    x = state.coordinates
    return state.replace(x + WIDTH * _size(x) * normal(size=x.shape))


@nearby.register
def _(state: Particles, normal: Normal) -> State:
    x = state.points
    bent = x + WIDTH * _size(x - x.mean(axis=0)) * (normal(size=x.shape[1]) + 0.5 * normal(size=x.shape))
    return Particles(bent, None if state.equal_weights else state.weights)


@nearby.register
def _(state: Quantiles, normal: Normal) -> State:
    x = np.asarray(state.values)
    mean, size = x.mean(), _size(x - x.mean())
    stretch = np.exp(WIDTH * normal())
    bent = stretch * (x - mean) + 0.3 * size * normal() * np.tanh((x - mean) / size)
    return Quantiles(np.sort(mean + WIDTH * size * normal() + bent))


@nearby.register
def _(state: Gaussian, normal: Normal) -> State:
    cov = np.atleast_2d(state.cov)
    turn = np.eye(len(cov)) + WIDTH * normal(size=cov.shape)
    spread = turn @ cov @ turn.T
    mean = np.asarray(state.mean) + WIDTH * np.sqrt(np.trace(cov)) * normal(size=np.shape(state.mean))
    return Gaussian(mean, 0.5 * (spread + spread.T))


@nearby.register
def _(state: Histogram, normal: Normal) -> State:
    grid = state.grid
    unit = [2.0 * np.pi * (axis - lo) / (hi - lo) for axis, (lo, hi) in zip(grid.axes, grid.bounds, strict=True)]
    tilt = sum(
        np.reshape(normal() * np.cos(x) + normal() * np.sin(x), [-1 if k == j else 1 for j in range(grid.dim)])
        for k, x in enumerate(unit)
    )
    masses = state.masses * np.exp(np.clip(2.0 * WIDTH * tilt, -20.0, 20.0))
    return state.replace(masses / masses.sum())


def _size(x: np.ndarray) -> float:
    """Return the root mean square, or 1 for zero."""
    return float(np.sqrt(np.mean(np.square(x)))) or 1.0
